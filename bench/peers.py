"""Time to quality beside other trainers of logistic regression: how soon is the test log loss within 0.5 % of the best?

    python bench/peers.py --data FOLDER             train what peers.json lacks, then table and plot (about 20 minutes)
    python bench/peers.py --data FOLDER --only a9a  one data set; --redo trains again what is there
    python bench/peers.py --draw                    table and plot from peers.json alone

Wall time from arrays in memory to the model, of the run with the right budget and settings: each contender tries the
same grid, l2 strengths ALPHAS and, if it has a step size, STEPS, with 1, 2 and 4 epochs (or iterations of a solver),
the better half of them with 8, and so on by doubling, for SECONDS in all or until nothing changes. The best is the
lowest test log loss that any of them reaches. "fastsgd adagrad" and "fastsgd normalized" try nothing: they have no
setting but the budget. On SMALL data, where a seed can decide, every point is a mean over SEEDS of them, where the
contender has a seed. Vowpal Wabbit reads its cache file, written before; all others read
arrays of float32. One thread each but for "fastsgd, 2 threads". Every contender runs in a process of its own, and one
that fails, or is not installed, is left out and named.

FOLDER holds `load.py` as for table.py. Needs the extra `peers`, and takes vowpalwabbit, snapml and cyanure if they are
installed.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp

HERE = Path(__file__).parent
DATA = ["a9a", "sms_spam", "RCV1-like", "imdb_bigram", "newsgroups20", "fashion_mnist"]
ALPHAS = [1e-7, 1e-6, 1e-5, 1e-4]
# "optimal" is 1 / (alpha (t0 + t)); a number s is a step of s over the rows' mean squared length, falling with
# t^-0.25, or constant under averaging.
STEPS = ["optimal", 0.1, 1.0, 10.0, "averaged 0.3"]
VW_STEPS = [0.1, 0.5, 2.0]  # its updates are normalised already; 0.5 is its default
BUDGETS = [2**i for i in range(11)]
SECONDS = 25
SMALL, SEEDS = ("a9a", "sms_spam"), 5


class Data:
    """Rows to train on and to test with; labels are 0 .. K-1."""

    def __init__(self, name):
        from workloads import a9a, rcv1_like, shared

        load = {"RCV1-like": rcv1_like, "a9a": a9a}.get(name, lambda: shared(name))
        self.X, y, self.X_test, y_test = load()
        self.classes, self.y = np.unique(y, return_inverse=True)
        self.y_test = np.searchsorted(self.classes, y_test)
        self.K, self.n = len(self.classes), self.X.shape[0]
        squares = self.X.multiply(self.X) if sp.issparse(self.X) else self.X**2
        self.length = float(squares.sum() / self.n)

    def loss(self, proba):
        chosen = np.asarray(proba, np.float64)[np.arange(len(self.y_test)), self.y_test]
        return float(-np.log(np.maximum(chosen, 1e-15)).mean())


def stochastic(estimator, loss_of, **more):
    """Settings of fastsgd's and scikit-learn's SGDClassifier, which are the same."""

    def train(data, alpha, step, budget, seed):
        options = {"learning_rate": "optimal"}
        if isinstance(step, float):
            options = {"learning_rate": "invscaling", "eta0": step / data.length, "power_t": 0.25}
        elif step != "optimal":
            size = float(step.split()[1]) / data.length
            options = {"learning_rate": "constant", "eta0": size, "average": True}
        model = estimator(
            loss=loss_of(data), alpha=alpha, max_iter=budget, tol=None, random_state=seed, **options, **more
        )
        return model.fit, model.predict_proba

    return train


def fastsgd(n_jobs):
    from fastsgd import SGDClassifier

    return stochastic(SGDClassifier, lambda data: "log_loss" if data.K == 2 else "softmax", n_jobs=n_jobs)


def untuned(optimizer):
    from fastsgd import SGDClassifier

    def train(data, alpha, step, budget, seed):
        loss = "log_loss" if data.K == 2 else "softmax"
        model = SGDClassifier(loss, optimizer=optimizer, max_iter=budget, tol=None, random_state=seed)
        return model.fit, model.predict_proba

    return train


def sklearn_sgd():
    from sklearn.linear_model import SGDClassifier

    return stochastic(SGDClassifier, lambda data: "log_loss")


def sklearn_solver(solver):
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    def train(data, alpha, step, budget, seed):
        model = LogisticRegression(solver=solver, C=1 / (alpha * data.n), max_iter=budget, tol=1e-12, random_state=seed)
        if solver == "liblinear" and data.K > 2:
            model = OneVsRestClassifier(model)
        return model.fit, model.predict_proba

    return train


def snapml():
    from snapml import LogisticRegression

    def train(data, alpha, step, budget, seed):
        model = LogisticRegression(
            max_iter=budget, regularizer=alpha * data.n, tol=1e-12, n_jobs=1, fit_intercept=True, random_state=seed
        )
        return model.fit, model.predict_proba

    return train


def cyanure():
    from cyanure.estimators import Classifier

    def train(data, alpha, step, budget, seed):
        loss = "logistic" if data.K == 2 else "multiclass-logistic"
        model = Classifier(
            loss=loss, lambda_1=alpha, max_iter=budget, tol=1e-12, n_threads=1, verbose=False, duality_gap_interval=1000
        )

        def proba(X):
            z = np.asarray(model.decision_function(X), np.float64)
            z = np.column_stack([-z, z]) / 2 if data.K == 2 else z
            z = np.exp(z - z.max(axis=1, keepdims=True))
            return z / z.sum(axis=1, keepdims=True)

        return model.fit, proba

    return train


def vowpal_wabbit(folder):
    from vowpalwabbit import Workspace

    def write(X, y, path, K):
        X = sp.csr_matrix(X)
        labels = 2 * y - 1 if K == 2 else y + 1
        with open(path, "w") as file:
            for i, label in enumerate(labels):
                row = slice(X.indptr[i], X.indptr[i + 1])
                pairs = " ".join(f"{j}:{v:.7g}" for j, v in zip(X.indices[row], X.data[row], strict=True))
                file.write(f"{label} | {pairs}\n")

    def drive(arguments):
        workspace = Workspace(arguments + " --quiet")
        workspace.run_parser()
        workspace.finish()

    def train(data, alpha, step, budget, seed):
        rows, test, model, out = (f"{folder}/{name}" for name in ("train", "test", "model", "out"))
        kind = "--loss_function logistic" + (f" --oaa {data.K} --probabilities" if data.K > 2 else "")
        kind += f" -b {max(18, int(data.X.shape[1]).bit_length() + 1)}"
        if not os.path.exists(test):
            write(data.X, data.y, rows, data.K)
            write(data.X_test, data.y_test, test, data.K)
            drive(f"-d {rows} --cache_file {rows}.cache {kind}")

        def fit(X, y):
            drive(f"-d {rows} --cache_file {rows}.cache {kind} --passes {budget} -l {step} --l2 {alpha} "
                  f"--holdout_off -f {model}")  # fmt: skip

        def proba(X):
            drive(
                f"-d {test} -t -i {model} -p {out} --link=logistic"
                if data.K == 2
                else f"-d {test} -t -i {model} -p {out}"
            )
            if data.K == 2:
                p = np.loadtxt(out)
                return np.column_stack([1 - p, p])
            lines = [line.split() for line in Path(out).read_text().splitlines()]
            return np.array([[float(pair.split(":")[1]) for pair in line[: data.K]] for line in lines])

        return fit, proba

    return train


CONTENDERS = {
    "fastsgd": (lambda folder: fastsgd(1), STEPS),
    "fastsgd, 2 threads": (lambda folder: fastsgd(2), STEPS),
    "fastsgd adagrad": (lambda folder: untuned("adagrad"), None),
    "fastsgd normalized": (lambda folder: untuned("normalized"), None),
    "scikit-learn SGD": (lambda folder: sklearn_sgd(), STEPS),
    "scikit-learn liblinear": (lambda folder: sklearn_solver("liblinear"), [None]),
    "scikit-learn saga": (lambda folder: sklearn_solver("saga"), [None]),
    "scikit-learn lbfgs": (lambda folder: sklearn_solver("lbfgs"), [None]),
    "Vowpal Wabbit": (vowpal_wabbit, VW_STEPS),
    "snapml": (lambda folder: snapml(), [None]),
    "cyanure": (lambda folder: cyanure(), [None]),
}
SEEDLESS = ("scikit-learn liblinear", "scikit-learn lbfgs", "Vowpal Wabbit", "snapml", "cyanure")  # or next to


def attempt(data, fit, proba):
    """(seconds, test log loss) of one run."""
    started = time.perf_counter()
    try:
        fit(data.X, data.y)
        seconds = time.perf_counter() - started
        return seconds, data.loss(proba(data.X_test))
    except ValueError as error:  # divergence
        print(f"  {error}", file=sys.stderr)
        return time.perf_counter() - started, np.inf


def run(name, contender, limit):
    """All points of one contender on one data set: (alpha, step, budget, seconds, test log loss)."""
    make, steps = CONTENDERS[contender]
    data, points, spent = Data(name), [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        train = make(folder)
        settings = [(alpha, step) for alpha in ALPHAS for step in steps] if steps else [(None, None)]
        seeds = SEEDS if name in SMALL and contender not in SEEDLESS else 1
        fit, _ = train(data, *settings[0], 1, 0)  # what the first call alone does: imports, caches, pages
        fit(data.X, data.y)
        for budget in BUDGETS:
            results = []
            for alpha, step in settings:
                if spent > limit:
                    return points
                tries = [attempt(data, *train(data, alpha, step, budget, seed)) for seed in range(seeds)]
                seconds, loss = (float(np.mean(column)) for column in zip(*tries, strict=True))
                spent += seconds * seeds
                results.append((loss, (alpha, step)))
                points.append((alpha, step, budget, seconds, loss))
            results.sort(key=lambda result: result[0])
            if budget >= 4:  # earlier, the first steps decide and not the settings
                settings = [setting for _, setting in results[: max(3, (len(results) + 1) // 2)]]
            before = [loss for *_, b, _, loss in points if b == budget // 2]
            if before and budget > 8 and abs(min(before) - results[0][0]) < 1e-5 * results[0][0]:
                return points
    return points


def measure(arguments, path):
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in arguments.only or DATA:
        for contender in arguments.contenders or CONTENDERS:
            known = results.setdefault(name, {})
            if known.get(contender) and not arguments.redo:
                continue
            command = [sys.executable, __file__, "--child", name, contender, "--seconds", str(arguments.seconds)]
            environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            if arguments.data:
                environment["FASTSGD_DATA"] = arguments.data
            try:
                done = subprocess.run(
                    command, env=environment, stdout=subprocess.PIPE, text=True, timeout=300 + 4 * arguments.seconds
                )
                known[contender] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
            except subprocess.TimeoutExpired:
                known[contender] = None
            best = min((loss for *_, loss in known[contender] or []), default=None)
            print(
                f"{name}, {contender}: " + ("failed" if best is None else f"best test log loss {best:.4f}"), flush=True
            )
            path.write_text(json.dumps(results) + "\n")


def summary(results):
    """By data set: the loss to reach, and each contender's seconds to it (None: never)."""
    for name, contenders in results.items():
        losses = [loss for points in contenders.values() for *_, loss in points or []]
        if not losses:
            continue
        goal = 1.005 * min(losses)
        times = {}
        for contender, points in contenders.items():
            times[contender] = min((s for *_, s, loss in points or [] if loss <= goal), default=None)
        yield name, goal, times


def table(results):
    rows = list(summary(results))
    print("| seconds to a test log loss of | " + " | ".join(f"{name} {goal:.4f}" for name, goal, _ in rows) + " |")
    print("|---" * (len(rows) + 1) + "|")
    for contender in CONTENDERS:
        cells = []
        for *_, times in rows:
            best, own = min(filter(None, times.values())), times.get(contender)
            cell = "–" if own is None else f"{own:.3g}"
            cells.append(f"**{cell}**" if own == best else cell)
        print(f"| {contender} | " + " | ".join(cells) + " |")


COLORS = dict(
    zip(
        CONTENDERS,
        [
            "#d62728",
            "#7f0000",
            "#e377c2",
            "#bcbd22",
            "#1f77b4",
            "#17becf",
            "#2ca02c",
            "#98c379",
            "#9467bd",
            "#ff7f0e",
            "#8c564b",
        ],
        strict=True,
    )
)


def draw(results, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = list(summary(results))
    if not rows:
        return
    columns = min(3, len(rows))
    height = -(-len(rows) // columns)
    figure, axes = plt.subplots(height, columns, figsize=(4 * columns, 3.1 * height + 0.7), squeeze=False)
    for axis in axes.flat[len(rows) :]:
        axis.set_visible(False)
    for axis, (name, goal, _) in zip(axes.flat, rows, strict=False):
        best = goal / 1.005
        for contender, points in results[name].items():
            if not points:
                continue
            reached, seconds, losses = np.inf, [], []
            for *_, s, loss in sorted(points, key=lambda point: point[-2]):
                if loss < reached:  # nobody would wait longer for less
                    reached = loss
                    seconds.append(s)
                    losses.append(loss)
            style = {"color": COLORS[contender], "lw": 2.2 if "fastsgd" in contender else 1.3, "ms": 3.5}
            axis.plot(seconds, losses, "o-", label=contender, zorder=3 if "fastsgd" in contender else 2, **style)
        axis.axhline(goal, color="0.4", lw=0.8, ls="--", zorder=1)
        axis.set(xscale="log", title=name, ylim=(best - 0.03 * best, best * 1.4))
        axis.grid(alpha=0.25, which="major")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("test log loss")
    for axis in axes[-1]:
        axis.set_xlabel("seconds of training")
    found = {label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    order = [contender for contender in CONTENDERS if contender in found]
    figure.legend(
        [found[c] for c in order], order, loc="lower center", ncols=min(5, 2 * columns), frameon=False, fontsize=9
    )
    figure.tight_layout(rect=(0, 0.75 / (3.1 * height + 0.7), 1, 1))
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the data sets (default: FASTSGD_DATA)")
    parser.add_argument("--only", nargs="+", choices=DATA, metavar="NAME", help=f"of {', '.join(DATA)}")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, metavar="NAME", help="some of them")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="training time of a contender on a data set")
    parser.add_argument("--redo", action="store_true", help="train again what peers.json has")
    parser.add_argument("--draw", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of peers.json and peers.png")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(sys.stderr):
            points = run(*arguments.child, arguments.seconds)
        return print(json.dumps(points))
    path = arguments.out / "peers.json"
    if not arguments.draw:
        measure(arguments, path)
    results = json.loads(path.read_text())
    table(results)
    draw(results, arguments.out / "peers.png")


if __name__ == "__main__":
    main()
