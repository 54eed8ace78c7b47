"""Networks of one hidden layer: what they reach on real data, and how soon, beside scikit-learn's in the same run.

    FASTSGD_DATA=FOLDER python bench/network.py                  some minutes
    python bench/network.py --size tiny                          seconds, of generated rows, to see that it runs

Seconds are those of training alone, epoch by epoch, until the test accuracy is reached. scikit-learn is given each of
BATCHES and its best counts. Threads: ours are `n_jobs`, its own those of BLAS. "Defaults" are estimators with
nothing set but `max_iter` and the seed.
"""

import argparse
import warnings

import numpy as np
import sklearn.neural_network
from threadpoolctl import threadpool_limits
from workloads import seconds, shared, zipf_rows

from fastsgd import MLPClassifier, SGDClassifier

BATCHES = (32, 64, 128, 200)
# Two epochs of large steps and then small ones: 0.2 is more than an epoch gains, so that the criterion lowers the step.
FAST = {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.2, "n_iter_no_change": 1}
FAST |= {"batch_size": 8, "learning_rate_init": 0.05}
GOOD = {**FAST, "tol": 0.02}
MOONS = {"learning_rate_init": 0.01, "max_iter": 100, "tol": None}


def data(name, size):
    if size == "full":
        X, y, X_test, y_test = shared(name)
        return X, np.unique(y, return_inverse=True)[1], X_test, np.unique(y_test, return_inverse=True)[1]
    random = np.random.default_rng(0)
    dense = name == "fashion_mnist"
    X = random.random((800, 50), np.float32) if dense else zipf_rows(random, 800, 500, 20, np.float32)
    y = (X @ random.standard_normal((X.shape[1], 3))).argmax(axis=1)
    return X[:600], y[:600], X[600:], y[600:]


def ours_to(goal, rows, epochs, **options):
    """Seconds and epochs until the test accuracy is reached, or None."""
    X, y, X_test, y_test = rows
    spent = []

    def watch(epoch):
        (W1, W2), (b1, b2) = epoch.coefficients()
        z = np.maximum(X_test @ W1 + b1, 0) @ W2 + b2
        spent.append(epoch.seconds)
        return bool(((z[:, 0] > 0 if z.shape[1] == 1 else z.argmax(axis=1)) == y_test).mean() >= goal)

    with threadpool_limits(1):  # else threads of BLAS, once `watch` has woken them, are in the way
        model = MLPClassifier((128,), max_iter=epochs, callbacks=[watch], **options).fit(X, y)
    return (sum(spent), len(spent)) if model.score(X_test, y_test) >= goal else None


def theirs_to(goal, rows, epochs, **options):
    X, y, X_test, y_test = rows
    model, spent = sklearn.neural_network.MLPClassifier((128,), **options), 0.0
    for epoch in range(epochs):
        spent += seconds(lambda: model.partial_fit(X, y, classes=np.unique(y)))
        if model.score(X_test, y_test) >= goal:
            return spent, epoch + 1
    return None


def told(found):
    return "never" if found is None else f"{found[0]:.2f} s, {found[1]} epochs"


def moons(n, noise, seed):
    """Two half circles, one hooked into the other."""
    rng = np.random.default_rng(seed)
    angle, y = np.pi * rng.random(n), np.arange(n) % 2
    X = np.where(y[:, None], np.c_[1 - np.cos(angle), 0.5 - np.sin(angle)], np.c_[np.cos(angle), np.sin(angle)])
    return X + noise * rng.normal(size=(n, 2)), y


def fitted(kind, rows, seed, **options):
    """Test accuracy, and seconds."""
    X, y, X_test, y_test = rows
    model = kind(random_state=seed, **options)
    spent = seconds(lambda: model.fit(X, y))
    return model.score(X_test, y_test), spent


def tell(name, results):
    scores, times = zip(*results, strict=True)
    print(f"{name}: {', '.join(f'{s:.4f}' for s in scores)}, {np.median(times):.2f} s", flush=True)


def defaults(name, rows, seeds, passes):
    with threadpool_limits(1):
        for epochs in passes:
            tell(f"{name}, defaults, {epochs} epochs", [fitted(MLPClassifier, rows, s, max_iter=epochs) for s in seeds])
            theirs = sklearn.neural_network.MLPClassifier
            tell("    scikit-learn", [fitted(theirs, rows, s, max_iter=epochs) for s in list(seeds)[:1]])


def speed(rows, goal, seeds):
    for threads in (1, 2):
        with threadpool_limits(threads):
            mine, theirs = [], {batch: [] for batch in BATCHES}
            for seed in range(seeds):
                mine.append(ours_to(goal, rows, 10, random_state=seed, n_jobs=threads, **FAST))
                for batch in BATCHES:
                    theirs[batch].append(theirs_to(goal, rows, 12, random_state=seed, batch_size=batch))
        print(f"seconds to {goal}, {threads} threads: fastsgd {'; '.join(map(told, mine))}")
        for batch, found in theirs.items():
            print(f"    scikit-learn, batches of {batch}: {'; '.join(map(told, found))}")
        ends = {batch: np.median([np.inf if f is None else f[0] for f in found]) for batch, found in theirs.items()}
        best, own = min(ends, key=ends.get), np.median([np.inf if f is None else f[0] for f in mine])
        print(
            f"    medians: {own:.2f} s, {ends[best]:.2f} s with batches of {best}: {ends[best] / own:.1f}x", flush=True
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("moons", "fashion_mnist", "newsgroups20"))
    parser.add_argument("--what", choices=("quality", "speed"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    tiny, seeds = arguments.size == "tiny", range(arguments.seeds)
    if arguments.only in (None, "moons") and arguments.what != "speed":
        rows = (*moons(200 if tiny else 1000, 0.2, 0), *moons(10_000, 0.2, 1))
        tell("two moons, 100 relu units", [fitted(MLPClassifier, rows, s, **MOONS) for s in seeds])
        tell("    a line", [fitted(SGDClassifier, rows, s, loss="log_loss") for s in seeds])
        defaults("two moons", rows, seeds, (200,))
    if arguments.only in (None, "fashion_mnist"):
        rows = data("fashion_mnist", arguments.size)
        if arguments.what != "speed":
            options = {"hidden_layer_sizes": (128,), "max_iter": 15, **GOOD}
            tell(
                "fashion_mnist, 128 relu units, at most 15 epochs",
                [fitted(MLPClassifier, rows, s, **options) for s in seeds],
            )
            defaults("fashion_mnist", rows, seeds, (5, 15))
        if arguments.what != "quality":
            speed(rows, 0.5 if tiny else 0.87, arguments.seeds)
    if arguments.only in (None, "newsgroups20"):
        rows = X, y, *_ = data("newsgroups20", arguments.size)
        if arguments.what != "speed":
            options = {"loss": "softmax", "alpha": 1e-5, "max_iter": 10, "tol": None}
            tell("newsgroups20, softmax regression", [fitted(SGDClassifier, rows, s, **options) for s in seeds])
            defaults("newsgroups20", rows, seeds, (3, 10))
        if arguments.what != "quality":
            for threads in (1, 2):
                with threadpool_limits(threads):
                    model = MLPClassifier((100,), max_iter=1, tol=None, random_state=0, n_jobs=threads)
                    peer = sklearn.neural_network.MLPClassifier((100,), random_state=0)
                    own = min(seconds(lambda model=model: model.fit(X, y)) for _ in range(3))
                    theirs = seconds(lambda peer=peer: peer.partial_fit(X, y, classes=np.unique(y)))
                print(f"newsgroups20, an epoch, {threads} threads: {own:.3f} s, scikit-learn {theirs:.2f} s: "
                      f"{theirs / own:.0f}x", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
