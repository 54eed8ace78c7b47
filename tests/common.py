"""Data for the tests, and how the estimators are compared with the reference."""

import numpy as np
import scipy.sparse as sp
from reference import LOSSES, Reference

import fastsgd
from fastsgd import SGDClassifier, SGDRegressor

PENALTIES = (None, "l2", "l1", "elasticnet")
SCHEDULES = ("constant", "optimal", "invscaling", "adaptive", "pa1", "pa2")
JOINT = ("softmax", "multiclass_hinge", "multiclass_perceptron")
REAL = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
ONE_SCORE = tuple(name for name in LOSSES if name not in JOINT)
# Strong enough that the steps of 'optimal' start at 2 and that l1 truncates.
ALPHA = 0.05
PRECISION = {np.float64: 1e-10, np.float32: 1e-4}  # relative to the largest coefficient
LAYOUTS = ("dense", "csr32", "csr64")
CASES = [  # losses, and the classes to train them on
    *((loss, 2) for loss in ONE_SCORE),
    *((loss, 4) for loss in (*ONE_SCORE, *JOINT)),
    *((loss, "real") for loss in REAL),
]


def make_data(n=40, d=7, K=2, *, zeros=0.35, seed=0):
    """Rows of length about 1, a share of entries 0; classes 0 .. K-1; real targets. float32 holds all values."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) >= zeros)
    X = (X / np.sqrt(d)).astype(np.float32).astype(np.float64)
    scores = X @ rng.normal(size=(d, K)) + 0.2 * rng.normal(size=(n, K))
    y = scores.argmax(axis=1)
    y[:K] = np.arange(K)
    return X, y, (2 * scores[:, 0] + 0.3).astype(np.float32).astype(np.float64)


def lay_out(X, layout, dtype=np.float64):
    """X as a dense array, or as CSR with indices of 32 or 64 bits."""
    X = np.ascontiguousarray(X, dtype)
    if layout == "dense":
        return X
    A, index = sp.csr_array(X), np.int32 if layout == "csr32" else np.int64
    return fastsgd.CSR(A.data, A.indices.astype(index), A.indptr.astype(index), A.shape)


def as_targets(y, loss):
    """Classes 0 .. K-1, or real targets, as the reference takes them."""
    if y.dtype.kind == "f":
        return y if y.ndim == 2 else y[:, None]
    indicator = np.eye(y.max() + 1)[y]
    if indicator.shape[1] == 2:
        return 2 * indicator[:, 1:] - 1
    return indicator if loss in JOINT else 2 * indicator - 1


def train_reference(
    loss, X, y, *, sample_weight=None, max_iter=3, tol=None, n_iter_no_change=5, start=None, **parameters
):  # fmt: skip
    """The reference after `max_iter` epochs; start = (W, b) to begin with."""
    T = as_targets(y, loss)
    model = Reference(loss, T.shape[1], X.shape[1], **{"intercept_decay": 1.0, "eta0": 0.1, **parameters})
    if start is not None:
        model.W, model.b = start
    return model.fit(X, T, sample_weight, epochs=max_iter, tol=tol, n_iter_no_change=n_iter_no_change)


def estimator(loss, y, **parameters):
    """For the classes or the real targets y, rows in order, a fixed number of epochs; else as the reference."""
    kind = SGDRegressor if y.dtype.kind == "f" and y.ndim == 1 else SGDClassifier
    defaults = {"shuffle": False, "tol": None, "max_iter": 3, "intercept_decay": 1.0, "penalty": None}
    defaults |= {"learning_rate": "constant", "eta0": 0.1, "power_t": 0.5}
    return kind(loss=loss, **{**defaults, **parameters})


def assert_close(actual, expected, tolerance, message=""):
    """Equal, the largest difference relative to the largest value expected."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, message
    assert np.isfinite(expected).all(), f"{message}: the reference diverges"
    largest, worst = np.abs(expected).max(), np.abs(actual - expected).max()
    assert worst <= tolerance * largest, f"{message}: {worst:.2g} off, where the largest is {largest:.2g}"


def solution(model):
    """Coefficients and intercepts, (K, d + 1)."""
    return np.c_[np.atleast_2d(model.coef_), model.intercept_]


def assert_identical(one, other):
    """The same bits, objectives and number of steps."""
    assert np.array_equal(solution(one), solution(other))
    assert one.loss_curve_ == other.loss_curve_
    assert one.t_ == other.t_


def assert_same_model(model, expected, tolerance, message=""):
    """An estimator against the reference: coefficients, intercepts, objectives, number of steps."""
    W, b = expected.solution
    assert_close(solution(model), np.c_[W, b], tolerance, f"{message}: coef_")
    assert_close(model.loss_curve_, expected.loss_curve, tolerance, f"{message}: loss_curve_")
    assert model.t_ == expected.t, f"{message}: t_"


def compare(loss, X, y, *, dtypes=PRECISION, layouts=LAYOUTS, sample_weight=None, **parameters):
    """The estimator equals the reference in every dtype and layout."""
    expected = train_reference(loss, X, y, sample_weight=sample_weight, **parameters)
    for dtype in dtypes:
        for layout in layouts:
            model = estimator(loss, y, **parameters)
            model.fit(lay_out(X, layout, dtype), y, sample_weight=sample_weight)
            assert model.coef_.dtype == model.intercept_.dtype == dtype
            settings = ", ".join(f"{name}={value}" for name, value in parameters.items())
            assert_same_model(model, expected, PRECISION[dtype], f"{loss} {np.dtype(dtype)} {layout} {settings}")
    return expected
