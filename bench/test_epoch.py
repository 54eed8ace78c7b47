"""One epoch by loss, layout and dtype, each beside scikit-learn in the same run.

    pytest bench                    about 180,000 x 47,000 with 73 nonzeros a row
    pytest bench --size tiny        seconds, to see that every benchmark runs

extra_info of each case: rows, nnz, ns_per_nonzero, and ratio, scikit-learn's best time over ours.
"""

from functools import cache

import numpy as np
import pytest
import sklearn.linear_model
from workloads import SIZES, nonzeros, race, rcv1_like

import fastsgd

# Our loss, and the nearest that scikit-learn has.
BINARY = {name: name for name, loss in fastsgd.losses.LOSSES.items() if not loss.joint}
BINARY["logistic_squared_error"] = "log_loss"
MULTICLASS = {
    "log_loss": "log_loss",
    "softmax": "log_loss",
    "multiclass_hinge": "hinge",
    "multiclass_perceptron": "perceptron",
}
EPOCH = {"max_iter": 1, "tol": None, "random_state": 0}


@cache
def sparse_rows(size, dtype):
    return rcv1_like(size, dtype)[:2]


@cache
def dense_rows(size, dtype, columns, classes):
    random = np.random.default_rng(0)
    n = SIZES[size][0] // 3
    X = random.standard_normal((n, columns)).astype(dtype)
    scores = X @ random.standard_normal((columns, classes)) + random.standard_normal((n, classes))
    return X, scores.argmax(axis=1)


@cache
def sparse_classes(size, dtype, classes=20):
    """The sparse rows with labels of 20 classes."""
    X, _ = sparse_rows(size, dtype)
    scores = X @ np.random.default_rng(1).standard_normal((X.shape[1], classes))
    n = SIZES[size][0] // 6
    return X[:n], scores.argmax(axis=1)[:n]


def run(benchmark, data, ours, theirs):
    X, y = data
    ours, theirs = fastsgd.SGDClassifier(**EPOCH, **ours), sklearn.linear_model.SGDClassifier(**EPOCH, **theirs)
    result = race(lambda: ours.fit(X, y), lambda: theirs.fit(X, y), rounds=3)
    benchmark.pedantic(ours.fit, args=(X, y), rounds=5, warmup_rounds=1)
    best = min(result.seconds, benchmark.stats.stats.min) if benchmark.stats else result.seconds
    benchmark.extra_info.update(
        rows=X.shape[0], nnz=nonzeros(X), ns_per_nonzero=1e9 * best / nonzeros(X), ratio=result.peer / best
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", BINARY)
def test_sparse_binary(benchmark, size, loss, dtype):
    # A constant step: the first steps of 'optimal' are too long for the squared losses.
    options = {"learning_rate": "constant", "eta0": 0.01}
    run(benchmark, sparse_rows(size, dtype), {"loss": loss, **options}, {"loss": BINARY[loss], **options})


@pytest.mark.parametrize(
    "options", [{"penalty": None}, {"penalty": "l1"}, {"penalty": "elasticnet"}, {"average": True}]
)
def test_sparse_options(benchmark, size, options):
    options = {"loss": "log_loss", **options}
    run(benchmark, sparse_rows(size, np.float32), options, options)


def test_sparse_int64(benchmark, size):
    X, y = sparse_rows(size, np.float32)
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    ours = fastsgd.SGDClassifier("log_loss", **EPOCH)
    narrow = race(lambda: ours.fit(wide, y), lambda: ours.fit(X, y), rounds=5)
    benchmark.pedantic(ours.fit, args=(wide, y), rounds=3)
    # scikit-learn refuses int64 indices, so the peer is our own int32.
    benchmark.extra_info.update(
        rows=X.shape[0], nnz=X.nnz, ns_per_nonzero=1e9 * narrow.seconds / X.nnz, ratio_to_int32=narrow.ratio
    )


@pytest.mark.parametrize("loss", MULTICLASS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_multiclass(benchmark, size, loss, dtype):
    run(benchmark, sparse_classes(size, dtype), {"loss": loss}, {"loss": MULTICLASS[loss]})


@pytest.mark.parametrize("columns", [20, 200])
@pytest.mark.parametrize("loss", BINARY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_binary(benchmark, size, loss, columns, dtype):
    options = {"learning_rate": "constant", "eta0": 1e-4}
    run(
        benchmark,
        dense_rows(size, dtype, columns, 2),
        {"loss": loss, **options},
        {"loss": BINARY[loss], **options},
    )


@pytest.mark.parametrize("loss", MULTICLASS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_multiclass(benchmark, size, loss, dtype):
    run(benchmark, dense_rows(size, dtype, 784, 10), {"loss": loss}, {"loss": MULTICLASS[loss]})
