"""What the optimisers reach with nothing set, beside `sgd` tuned on the test set: python bench/optimizers.py

    python bench/optimizers.py --data FOLDER             all data sets, means over 5 seeds (about 10 minutes)
    python bench/optimizers.py --data FOLDER --only a9a  one of them; --part losses or --part units: one table
    python bench/optimizers.py --quick                   a9a alone, one seed, a small grid: seconds

The first table has test log losses after 1 and 5 passes, as per cent above the best of `sgd` over ALPHAS and these
schedules, m being the rows' mean squared length: "optimal"; "invscaling" with eta0 = s / m, s in SIZES, and power_t
0.25 and 0.5; "constant" with the same eta0, averaged or not. The best is chosen by the test loss itself: at one seed
and then, of the best FINALISTS, by the mean over the seeds. The optimisers have nothing set but `optimizer`, `loss`
and `max_iter`.

The second has what `normalized` reaches in any units: every column is multiplied by a random power of ten between 1e-4
and 1e4.

FOLDER holds `load.py` as for table.py. Exits with 1 if `adagrad` misses its bounds on FITTED, or `normalized` its own.
"""

import argparse
import warnings
from functools import cache

import numpy as np
import scipy.sparse as sp
from workloads import a9a, rcv1_like, shared

from fastsgd import SGDClassifier, SGDRegressor

OPTIMIZERS = ["adagrad", "normalized", "ftrl", "adam"]
FITTED = ["a9a", "imdb_bigram", "newsgroups20", "RCV1-like"]  # the constants of the optimisers were chosen on these
OTHERS = ["sms_spam", "fashion_mnist"]
ALPHAS = [1e-8, 1e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4]
SIZES = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
FINALISTS = 5
MISS = {1: 3.0, 5: 1.0}  # per cent that adagrad may be above the best, by passes
CHANGE = 1.0  # per cent that units may change what normalized reaches
HOUSING = 0.57  # R^2 on raw columns after 20 passes


@cache
def data(name, folder):
    """(X, y, X_test, y_test), or None where there is no folder; y of classes is 0 .. K-1."""
    found = {"RCV1-like": rcv1_like, "a9a": a9a}.get(name, lambda: shared(name, folder))()
    if found is None or name == "california_housing":
        return found
    X, y, X_test, y_test = found
    classes, y = np.unique(y, return_inverse=True)
    return X, y, X_test, np.searchsorted(classes, y_test)


def loss_of(model, X_test, y_test):
    chosen = model.predict_proba(X_test)[np.arange(len(y_test)), y_test]
    return float(-np.log(np.maximum(chosen, 1e-15)).mean())


def trained(rows, passes, seed, **options):
    X, y = rows[:2]
    loss = "softmax" if y.max() > 1 else "log_loss"
    return SGDClassifier(loss, max_iter=passes, tol=None, random_state=seed, **options).fit(X, y)


def mean_loss(rows, passes, seeds, **options):
    """Mean test log loss over the seeds; infinite where one of them diverges."""
    try:
        return float(np.mean([loss_of(trained(rows, passes, s, **options), *rows[2:]) for s in range(seeds)]))
    except ValueError:
        return np.inf


def grid(X, alphas, sizes):
    squares = X.multiply(X) if sp.issparse(X) else X**2
    length = float(squares.sum() / X.shape[0])
    falling = [{"learning_rate": "invscaling", "power_t": power} for power in (0.25, 0.5)]
    constant = [{"learning_rate": "constant", "average": average} for average in (True, False)]
    for alpha in alphas:
        yield {"alpha": alpha, "learning_rate": "optimal"}
        for schedule in falling + constant:
            for size in sizes:
                yield {"alpha": alpha, "eta0": size / length, **schedule}


def best_of_sgd(rows, passes, seeds, alphas, sizes):
    """(mean test log loss, the options) of the best."""
    settings = list(grid(rows[0], alphas, sizes))
    settings.sort(key=lambda options: mean_loss(rows, passes, 1, **options))
    finalists = [(mean_loss(rows, passes, seeds, **options), options) for options in settings[:FINALISTS]]
    return min(finalists, key=lambda pair: pair[0])


def compare_losses(names, folder, seeds, alphas, sizes):
    """The first table; the misses."""
    misses = []
    heads = ["data", "passes", "tuned sgd", "its setting", *OPTIMIZERS, "sgd, nothing set"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for name in names:
        rows = data(name, folder)
        if rows is None:
            continue
        for passes in MISS:
            best, options = best_of_sgd(rows, passes, seeds, alphas, sizes)
            reached = {name: mean_loss(rows, passes, seeds, optimizer=name) for name in [*OPTIMIZERS, "sgd"]}
            above = {optimizer: 100 * (loss / best - 1) for optimizer, loss in reached.items()}
            setting = ", ".join(f"{key} {value:.3g}" if type(value) is float else f"{key} {value}"
                                for key, value in options.items())  # fmt: skip
            cells = " | ".join(f"{percent:+.1f} %" for percent in above.values())
            print(f"| {name} | {passes} | {best:.4f} | {setting} | {cells} |", flush=True)
            if name in FITTED and above["adagrad"] > MISS[passes]:
                misses.append(f"{name}, {passes} passes: adagrad is {above['adagrad']:.2f} % above the best sgd")
    return misses


def rescaled(rows, seed):
    """The columns in other units."""
    X, y, X_test, y_test = rows
    factors = (10.0 ** np.random.default_rng(seed).integers(-4, 5, X.shape[1])).astype(X.dtype)
    times = (lambda A: (A @ sp.diags(factors)).tocsr()) if sp.issparse(X) else lambda A: A * factors
    return times(X), y, times(X_test), y_test


def reached_by_normalized(name, rows, passes, seed):
    """What to compare, by name."""
    X, y, X_test, y_test = rows
    options = {"optimizer": "normalized", "max_iter": passes, "tol": None, "random_state": seed}
    if name == "california_housing":
        return {"R^2": SGDRegressor(**options).fit(X, y).score(X_test, y_test)}
    model = trained(rows, passes, seed, optimizer="normalized")
    return {"accuracy": model.score(X_test, y_test), "log loss": loss_of(model, X_test, y_test)}


def compare_units(names, folder, seeds):
    """The second table; the misses."""
    misses = []
    print(f"\n| data | passes | of | mean | worst seed | mean in other units | largest change |\n{'|---' * 7}|")
    for name in names:
        rows = data(name, folder)
        if rows is None:
            continue
        for passes in (1, 20) if name == "california_housing" else (1, 5):
            usual = [reached_by_normalized(name, rows, passes, seed) for seed in range(seeds)]
            other = [reached_by_normalized(name, rescaled(rows, seed), passes, seed) for seed in range(seeds)]
            for metric in usual[0]:
                before, after = (np.array([found[metric] for found in side]) for side in (usual, other))
                change = 100 * np.abs(after / before - 1).max()
                worst = before.max() if metric == "log loss" else before.min()
                cells = f"{before.mean():.4f} | {worst:.4f} | {after.mean():.4f} | {change:.2f} %"
                print(f"| {name} | {passes} | {metric} | {cells} |", flush=True)
                if change > CHANGE:
                    misses.append(f"{name}, {passes} passes: units change the {metric} by {change:.2f} %")
                if metric == "R^2" and passes == 20 and before.min() < HOUSING:
                    misses.append(f"{name}: R^2 {before.min():.4f} after 20 passes, wanted {HOUSING}")
    return misses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the data sets (default: FASTSGD_DATA)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="data sets")
    parser.add_argument("--part", choices=["losses", "units"], help="one of the tables")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a9a, one seed and a small grid")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    only, seeds, alphas, sizes = arguments.only, arguments.seeds, ALPHAS, SIZES
    if arguments.quick:
        only, seeds, alphas, sizes = ["a9a"], 1, [1e-8, 1e-4], [0.3, 1.0, 10.0]
    misses = []
    if arguments.part != "units":
        misses += compare_losses(only or FITTED + OTHERS, arguments.data, seeds, alphas, sizes)
    if arguments.part != "losses":
        misses += compare_units(only or ["a9a", "sms_spam", "california_housing"], arguments.data, seeds)
    if misses:
        raise SystemExit("\n".join(["", "missed:", *misses]))


if __name__ == "__main__":
    main()
