"""Training from a disk: python bench/disk.py [--gigabytes 4] [--folder DIR] [--data FOLDER]

First the private memory (RssAnon of Linux, sampled) and time of a fit on mapped RCV1-like rows of that many gigabytes.
Then, with --data or FASTSGD_DATA (as in table.py), what shuffling by blocks costs in accuracy against shuffling all
rows, on imdb_bigram, whose rows are in class order: means over seeds.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from workloads import SIZES, rcv1_like, shared

import fastsgd
from fastsgd import _training
from fastsgd.disk import _Writer


def write(folder, gigabytes, size):
    """The RCV1-like rows over and over, in bounded memory."""
    X, y, _, _ = rcv1_like(size)
    copies = max(1, round(gigabytes * 1e9 / (8 * X.nnz)))
    with _Writer(folder) as writer:
        dtypes = (("data", np.float32), ("indices", np.int32), ("indptr", np.int64), ("y", np.float64))
        columns = {name: writer.column(name, dtype) for name, dtype in dtypes}
        columns["indptr"].append(np.zeros(1, np.int64))
        for copy in range(copies):
            columns["data"].append(X.data)
            columns["indices"].append(X.indices)
            columns["indptr"].append(copy * X.nnz + X.indptr[1:].astype(np.int64))
            columns["y"].append(y)
        writer.commit((copies * X.shape[0], X.shape[1]))


def private():
    """MB of this process's own memory."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


def fit(folder):
    """One pass over the mapped rows; peak of private memory."""
    peak, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.005):
            peak[0] = max(peak[0], private())

    watcher = threading.Thread(target=watch)
    watcher.start()
    X, y = fastsgd.load_csr(folder)
    size = sum(array.nbytes for array in (X.data, X.indices, X.indptr, y)) / 1e9
    started = time.perf_counter()
    fastsgd.SGDClassifier("log_loss", max_iter=1, tol=None, shuffle="blocks", random_state=0).fit(X, y)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    rows = f"{size:.1f} GB, {X.shape[0]:,} rows"
    print(f"{rows}: one pass, checks included, {seconds:.1f} s; private memory {peak[0]:.0f} MB")


def compare_shuffles(data, seeds=10):
    X, y, X_test, y_test = data
    bytes_of_rows = 8 * X.nnz
    print("\n| imdb_bigram: shuffle | blocks | epochs 1 | 5 |\n|---|---|---|---|")
    cases = [("True", True, None), ("False", False, None)]
    cases += [(f"'blocks', {size / 1e6:.2f} MB, {window} mixed", "blocks", (size, window))
              for size, window in ((1 << 20, 64), (1 << 20, 16), (1 << 18, 16), (1 << 18, 64))]  # fmt: skip
    for name, shuffle, case in cases:
        if case:
            _training.BLOCK_BYTES, _training.WINDOW = case
        scores = []
        for epochs in (1, 5):
            options = {"max_iter": epochs, "tol": None, "alpha": 1e-5, "shuffle": shuffle, "average": 12500 * epochs}
            models = (fastsgd.SGDClassifier("log_loss", random_state=seed, **options) for seed in range(seeds))
            scores.append(np.mean([model.fit(X, y).score(X_test, y_test) for model in models]))
        blocks = f"{bytes_of_rows / case[0]:.0f}" if case else ""
        print(f"| {name} | {blocks} | {scores[0]:.4f} | {scores[1]:.4f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--size", choices=sorted(SIZES), default="full", help="of the rows that are repeated")
    parser.add_argument("--folder", help="where the rows are written (default: a temporary folder)")
    parser.add_argument("--data", help="folder with the data sets")
    parser.add_argument("--fit", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.fit:
        fit(args.fit)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        rows = Path(temporary, "rows")
        write(rows, args.gigabytes, args.size)
        subprocess.run([sys.executable, __file__, "--fit", rows], check=True)
    data = shared("imdb_bigram", args.data)
    if data is not None:
        compare_shuffles(data)


if __name__ == "__main__":
    main()
