"""Accuracy and speed on real data, as in the README: python bench/table.py [--data FOLDER]

One thread, float32, log_loss unless said. Speed is one epoch, all of `fit`, against scikit-learn's in the same run.
FOLDER holds `load.py` with a function load(name) -> (X, y, X_test, y_test), X a scipy CSR matrix or an array of
float32; without it only the RCV1-like rows, which are generated, are measured.
"""

import argparse
import warnings

import sklearn.linear_model
from workloads import race, rcv1_like, shared

from fastsgd import SGDClassifier, SGDRegressor

# data, loss, epochs, options of both sides, ours for accuracy, rounds of the race
ROWS = [
    ("a9a", "log_loss", 20, {}, {"average": 16281 * 20}, 60),
    ("imdb_bigram", "log_loss", 5, {"alpha": 1e-5}, {}, 20),
    ("newsgroups20", "log_loss", 10, {"alpha": 1e-5}, {}, 10),
    ("newsgroups20", "softmax", 10, {"alpha": 1e-5}, {}, 10),
    ("fashion_mnist", "softmax", 20, {"learning_rate": "constant"}, {"average": 60000 * 10}, 4),
    ("RCV1-like", "log_loss", 5, {}, {}, 20),
]


def classify(name, loss, epochs, options, more, rounds, folder):
    data = rcv1_like() if name == "RCV1-like" else shared(name, folder)
    if data is None:
        return
    X, y, X_test, y_test = data
    fixed = {"tol": None, "random_state": 0, **options}
    model = SGDClassifier(loss, max_iter=epochs, **fixed, **more).fit(X, y)
    peer_loss = "log_loss" if loss == "softmax" else loss
    peer = sklearn.linear_model.SGDClassifier(loss=peer_loss, max_iter=epochs, **fixed, **more).fit(X, y)
    ours = SGDClassifier(loss, max_iter=1, **fixed)
    theirs = sklearn.linear_model.SGDClassifier(loss=peer_loss, max_iter=1, **fixed)
    result = race(lambda: ours.fit(X, y), lambda: theirs.fit(X, y), rounds)
    print(
        f"| {name} | {loss} | {epochs} | {model.score(X_test, y_test):.4f} | {peer.score(X_test, y_test):.4f} | "
        f"{1e3 * result.seconds:.1f} ms | {1e3 * result.peer:.1f} ms | {result.ratio:.1f}x |",
        flush=True,
    )


def regress(folder):
    data = shared("california_housing", folder)
    if data is None:
        return
    X, y, X_test, y_test = data
    mean, scale = X.mean(axis=0), X.std(axis=0)
    X, X_test = (X - mean) / scale, (X_test - mean) / scale
    least_squares = sklearn.linear_model.LinearRegression().fit(X, y).score(X_test, y_test)
    model = SGDRegressor(max_iter=200, tol=None, random_state=0, eta0=0.001, average=True).fit(X, y)
    print(
        f"\nCalifornia housing, standardised, SGDRegressor after 200 epochs: R^2 {model.score(X_test, y_test):.4f}, "
        f"least squares {least_squares:.4f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the data sets")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| data | loss | epochs | test accuracy | scikit-learn's | an epoch | scikit-learn's | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for row in ROWS:
        classify(*row, arguments.data)
    regress(arguments.data)
