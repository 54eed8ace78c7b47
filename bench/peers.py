"""Time to quality beside other trainers of logistic regression: how soon is the test log loss within 0.5 % of the best?

    python bench/peers.py --data FOLDER             train what peers.json lacks, then table and plot
    python bench/peers.py --data FOLDER --only a9a  one data set; --redo trains again what is there
    python bench/peers.py --draw --within 2         from peers.json alone; the target 2 % above the best

Seconds are wall time from arrays of float32 in memory to the model (Vowpal Wabbit: from its cache file, rows shuffled
once, -b large enough for every weight), of the one run with the right setting and number of passes. The target is 0.5 %
(--within) above the lowest test log loss that any contender reaches; all are tuned on the test loss. Every contender
has a process of its own, the same strengths of l2, ALPHAS (per row), and if it has a step size, a grid of them: STEPS
for plain SGD, ours and scikit-learn's, OWN for our other optimisers (ours with softmax and one-versus-rest), VW_STEPS
for Vowpal Wabbit (with a tenth of ALPHAS). It trains with 1 pass (or iteration of a solver), then 2, 4 and so on by
doubling, the best settings of the round before first, until a fifth of the time left is gone, two settings at least;
from 8 passes on with the better half of them. It ends when its time on that data set (DATA: seconds, runs) is over,
evaluation included, or when from 16 passes on another doubling gains less than 0.01 %. A point is the mean loss and the
median time of so many runs, each with its own seed if there is one. One thread each but where the name says more, and
Vowpal Wabbit, which reads in a second one.

FOLDER holds `load.py` as for table.py. Needs the extra `peers`. A contender that fails, or is not installed, is named
with the reason, and the exit status is 1.
"""

import argparse
import contextlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from contenders import ALPHAS, CONTENDERS, OWN, STEPS, VW_STEPS, settings_of

HERE = Path(__file__).parent
# Seconds of each contender, about 23 minutes in all, and runs a point: many where a seed decides.
DATA = {
    "a9a": (7, 5),
    "sms_spam": (7, 20),
    "RCV1-like": (16, 1),
    "imdb_bigram": (14, 1),
    "newsgroups20": (16, 1),
    "fashion_mnist": (18, 1),
}
BUDGETS = [2**i for i in range(11)]


class Data:
    """Rows to train on and to test with; labels are 0 .. K-1."""

    def __init__(self, name):
        from workloads import a9a, rcv1_like, shared

        load = {"RCV1-like": rcv1_like, "a9a": a9a}.get(name, lambda: shared(name))
        self.X, y, self.X_test, y_test = load()
        classes, self.y = np.unique(y, return_inverse=True)
        self.y_test = np.searchsorted(classes, y_test)
        self.K, self.n = len(classes), self.X.shape[0]
        squares = self.X.multiply(self.X) if sp.issparse(self.X) else self.X**2
        self.length = float(squares.sum() / self.n)
        self.runs = DATA[name][1]

    def loss(self, proba):
        chosen = np.asarray(proba, np.float64)[np.arange(len(self.y_test)), self.y_test]
        return float(-np.log(np.maximum(chosen, 1e-15)).mean())


def attempt(data, fit, proba):
    """(seconds, test log loss) of one run."""
    started = time.perf_counter()
    try:
        fit(data.X, data.y)
        seconds = time.perf_counter() - started
        return seconds, data.loss(proba(data.X_test))
    except ValueError as error:
        if "diverge" not in str(error) and "overflow" not in str(error).lower():
            raise
        return time.perf_counter() - started, np.inf


def run(data, contender, limit):
    """All points of one contender on one data set: (alpha, step, budget, seconds, test log loss)."""
    train, points = CONTENDERS[contender][0](), []
    settings = settings_of(contender, data.K)
    alive, took, best = range(len(settings)), {}, np.inf
    fit, proba = train(data, *settings[0], 1, 0)  # what the first call alone does: imports, caches, pages
    fit(data.X, data.y)
    proba(data.X_test)
    end = time.perf_counter() + limit
    for budget in BUDGETS:
        losses, began = {}, time.perf_counter()
        for i in alive:
            begun = time.perf_counter()
            expected = 2 * took[i] if budget > 1 else max(took.values(), default=0.0)
            if begun + expected > (end if len(losses) < 2 else began + (end - began) / 5):
                break
            tries = [attempt(data, *train(data, *settings[i], budget, seed)) for seed in range(data.runs)]
            took[i] = time.perf_counter() - begun
            seconds, losses[i] = float(np.median([t for t, _ in tries])), float(np.mean([loss for _, loss in tries]))
            if np.isfinite(losses[i]):
                points.append((*settings[i], budget, seconds, losses[i]))
        alive = sorted(losses, key=losses.get)
        if budget >= 4:  # earlier, the first steps decide and not the settings
            alive = alive[: max(2, (len(alive) + 1) // 2)]
        if not losses or (budget >= 16 and losses[alive[0]] > (1 - 1e-4) * best):
            break
        best = min(best, losses[alive[0]])
    return points


def launch(path, contender, seconds):
    """The points of `run` in a process of its own, or why there are none."""
    command = [sys.executable, __file__, "--child", str(path), contender, "--seconds", str(seconds)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    most = 60 + 3 * seconds
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=most)
    except subprocess.TimeoutExpired:
        return f"failed: more than {most:.0f} seconds"
    if done.returncode:
        return "failed: " + (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return json.loads(done.stdout.splitlines()[-1]) or "failed: every run diverged"


def child(path, contender, seconds):
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):
        points = run(pickle.loads(Path(path).read_bytes()), contender, seconds)
    print(json.dumps(points))


def measure(arguments, path):
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in arguments.only or DATA:
        known = {} if arguments.redo else results.get(name, {})
        wanted = [c for c in arguments.contenders or CONTENDERS if not isinstance(known.get(c), list)]
        if not wanted:
            continue
        results.setdefault(name, {})
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            data.write_bytes(pickle.dumps(Data(name), protocol=5))
            for contender in wanted:
                started = time.perf_counter()
                results[name][contender] = points = launch(data, contender, arguments.seconds or DATA[name][0])
                path.write_text(json.dumps(results) + "\n")
                said = points
                if isinstance(points, list):
                    alpha, step, passes, seconds, loss = min(points, key=lambda point: point[-1])
                    said = f"{loss:.4f} after {passes} passes, {seconds:.3g} s; alpha {alpha:g}, step {step or 'own'}"
                print(f"{name}, {contender}: {said} [{time.perf_counter() - started:.0f} s in all]", flush=True)


def summary(results, within):
    """By data set: the best loss, the loss to reach, and each contender's seconds to it (None: never, or text: why)."""
    for name, contenders in results.items():
        losses = [points[-1] for tried in contenders.values() if isinstance(tried, list) for points in tried]
        if losses:
            goal = (1 + within / 100) * min(losses)
            times = {}
            for contender, points in contenders.items():
                times[contender] = points if isinstance(points, str) else first(points, goal)
            yield name, min(losses), goal, times


def first(points, goal):
    return min((seconds for *_, seconds, loss in points if loss <= goal), default=None)


def table(results, within):
    """Print it, in Markdown, and what failed; returns how many did."""
    columns = [["seconds to the target", "best test log loss", "target", *CONTENDERS, "lead"]]
    for name, best, goal, times in summary(results, within):
        reached = {c: t for c, t in times.items() if isinstance(t, float)}
        cells = []
        for contender in CONTENDERS:
            time_ = times.get(contender)
            cell = f"{time_:.3g}" if isinstance(time_, float) else "failed" if time_ else "-"
            cells.append(f"**{cell}**" if time_ == min(reached.values()) else cell)
        ours, theirs = ([t for c, t in reached.items() if c.startswith("fastsgd") == own] for own in (True, False))
        lead = f"{min(theirs) / min(ours):.2g}" if ours and theirs else "-"
        columns.append([name, f"{best:.4f}", f"{goal:.4f}", *cells, lead])
    head, *lines = zip(*columns, strict=True)
    print()
    for line in (head, ["---"] * len(head), *lines):
        print("| " + " | ".join(line) + " |")
    print("\nlead: seconds of the first other trainer over those of the first fastsgd.")
    failed = [f"{n}, {c}: {t}" for n, tried in results.items() for c, t in tried.items() if isinstance(t, str)]
    print("\n".join(failed))
    return len(failed)


def frontier(points):
    """Seconds and losses that nothing sooner is better than: nobody would wait longer for less."""
    reached = np.inf
    for *_, seconds, loss in sorted(points, key=lambda point: point[-2]):
        if loss < reached:
            reached = loss
            yield seconds, loss


def draw(results, within, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = list(summary(results, within))
    if not rows:
        return
    columns = min(3, len(rows))
    height = -(-len(rows) // columns)
    figure, axes = plt.subplots(height, columns, figsize=(4.6 * columns, 3.6 * height + 0.9), squeeze=False)
    for axis in axes.flat[len(rows) :]:
        axis.set_visible(False)
    for axis, (name, best, goal, _) in zip(axes.flat, rows, strict=False):
        for contender, (*_, color) in CONTENDERS.items():
            points = results[name].get(contender)
            if isinstance(points, list):
                ours = contender.startswith("fastsgd")
                line = "--" if "threads" in contender else "-"
                style = {"color": color, "ls": line, "lw": 2.0 if ours else 1.2, "ms": 3.5, "zorder": 3 if ours else 2}
                marker = "o" if ours else "s"
                axis.plot(*zip(*frontier(points), strict=True), marker=marker, label=contender, **style)
        axis.axhline(goal, color="0.4", lw=0.8, ls=":", zorder=1)
        axis.set(xscale="log", title=name, ylim=(0.985 * best, 1.2 * best))
        axis.xaxis.set_minor_formatter("")  # its labels would overlap
        axis.grid(alpha=0.25, which="major")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("test log loss")
    for axis in axes[-1]:
        axis.set_xlabel("seconds of training")
    found = {label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    order = [contender for contender in CONTENDERS if contender in found]
    lines = [found[contender] for contender in order]
    wide = min(5, 2 * columns)
    figure.legend(lines, order, loc="lower center", ncols=wide, frameon=False, fontsize=9, handlelength=3)
    figure.tight_layout(rect=(0, 0.9 / (3.6 * height + 0.9), 1, 1))
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the data sets (default: FASTSGD_DATA)")
    parser.add_argument("--only", nargs="+", choices=DATA, metavar="NAME", help=f"of {', '.join(DATA)}")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, metavar="NAME", help="some of them")
    parser.add_argument("--seconds", type=float, help="time of a contender on a data set, instead of DATA's")
    parser.add_argument("--within", type=float, default=0.5, help="per cent that the target is above the best")
    parser.add_argument("--redo", action="store_true", help="train again what peers.json has")
    parser.add_argument("--draw", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of peers.json and peers.png")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(*arguments.child, arguments.seconds)
    if arguments.data:
        os.environ["FASTSGD_DATA"] = arguments.data
    path = arguments.out / "peers.json"
    if not arguments.draw:
        measure(arguments, path)
    results = json.loads(path.read_text())
    failed = table(results, arguments.within)
    print("\n" + __doc__.split("\n\n")[2])  # the rules
    print(f"\nALPHAS {ALPHAS}\nSTEPS {STEPS}\nOWN {OWN}\nVW_STEPS {VW_STEPS}\nDATA {DATA}")
    if arguments.seconds:
        print(f"but {arguments.seconds:g} seconds")
    draw(results, arguments.within, arguments.out / "peers.png")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
