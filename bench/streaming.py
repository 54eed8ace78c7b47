"""From a text to a model, beside Vowpal Wabbit: python bench/streaming.py [--size tiny] [--folder DIR]

RCV1-like rows written as text, in the format of each; logistic loss, one pass and five. Vowpal Wabbit keeps its cache
for the later passes as we do. Both are processes of their own, pinned to two CPUs where the system can; times are the
best of --rounds, of whole processes, in turns. Test log loss is of the model that each wrote,
with a step size that suits each (of 0.1, 0.5, 2 and 10 for Vowpal Wabbit, whose default is 0.5).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from workloads import SIZES, rcv1_like

import fastsgd

OURS = ["--quiet", "--intercept-decay", "1", "--alpha", "1e-6", "--learning-rate", "constant"]
EPOCHS = {1: ["--eta0", "4"], 5: ["--eta0", "1"]}
RATE = {1: "10", 5: "2"}


def write(folder, name, X, y, copies=1):
    """svmlight, and the same with Vowpal Wabbit's bar."""
    if not Path(folder, f"{name}.vw").exists():
        fastsgd.dump_svmlight(X, np.where(y, 1, -1), Path(folder, f"{name}.svm"), zero_based=False)
        rows = Path(folder, f"{name}.svm").read_bytes()
        Path(folder, f"{name}.svm").write_bytes(rows * copies)
        with open(Path(folder, f"{name}.svm"), "rb") as rows, open(Path(folder, f"{name}.vw"), "wb") as file:
            file.writelines(row.replace(b" ", b" | ", 1) for row in rows)


def timed(command, folder):
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def log_loss(y, scores):
    return float(np.mean(np.logaddexp(0, -np.where(y, 1, -1) * scores)))


def peer_scores(command, folder):
    options = ["-t", "-i", "model.vw", "-d", "test.vw", "-r", "raw.txt", "--quiet"]
    subprocess.run([*command, *options], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    return np.array([float(line.split()[0]) for line in Path(folder, "raw.txt").read_text().splitlines()])


def measure(folder, y_test, epochs, rounds, pin, peer):
    train = ["train", "train.svm", "--stream", "--epochs", str(epochs), "--model", "model.npz", "--threads", "2"]
    ours = [*pin, sys.executable, "-P", "-m", "fastsgd", *train, *OURS, *EPOCHS[epochs]]
    options = "-d train.vw --loss_function logistic -f model.vw --quiet -b 18"
    theirs = [*pin, *peer, *options.split(), "-l", RATE[epochs]]
    if epochs > 1:
        theirs += ["--passes", str(epochs), "-c", "-k", "--holdout_off"]
    best = [np.inf, np.inf]
    for _ in range(rounds):
        best = [min(b, timed(command, folder)) for b, command in zip(best, (ours, theirs), strict=True)]
    model = fastsgd.load(Path(folder, "model.npz"))
    X_test, _ = fastsgd.load_svmlight(Path(folder, "test.svm"), n_features=model.n_features_in_, zero_based=False)
    our_loss = log_loss(y_test, model.decision_function(X_test))
    their_loss = log_loss(y_test, peer_scores(peer, folder))
    times = f"{best[0]:.2f} s | {best[1]:.2f} s | {best[1] / best[0]:.1f}x"
    print(f"| {epochs} | {times} | {our_loss:.4f} | {their_loss:.4f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="full")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the texts are kept between runs (default: a temporary folder)")
    parser.add_argument("--copies", type=int, default=1, help="of the rows in the text, to make it longer")
    parser.add_argument("--peer", default=f"{sys.executable} -m vowpalwabbit", help="command of Vowpal Wabbit")
    args = parser.parse_args()
    X, y, X_test, y_test = rcv1_like(args.size)
    random = np.random.default_rng(0).permutation(X.shape[0])
    X, y = X[random], y[random]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or temporary
        write(folder, "train", X, y, args.copies)
        write(folder, "test", X_test, y_test)
        print(f"{os.path.getsize(Path(folder, 'train.svm')) / 1e6:.0f} MB of text, {args.copies * X.shape[0]:,} rows\n")
        print(
            "| passes | fastsgd | Vowpal Wabbit | ratio | test log loss | Vowpal Wabbit's |\n|---|---|---|---|---|---|"
        )
        pin = ["taskset", "-c", "0,1"] if os.path.exists("/usr/bin/taskset") else []
        for epochs in EPOCHS:
            measure(folder, y_test, epochs, args.rounds, pin, args.peer.split())


if __name__ == "__main__":
    main()
