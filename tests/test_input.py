"""Divergence is never silent; unusual good input trains the usual model and is never changed."""

import copy
import pickle
import re
import tracemalloc
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from bad_input import (
    LAYOUTS,
    Y3,
    D,
    N,
    T,
    X,
    Y,
    classifier,
    parts,
    regressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.exceptions import NotFittedError as SklearnNotFittedError

from fastsgd import CSR, SGDClassifier

# --- divergence


def wild(eta0, **more):
    return regressor(**{"eta0": eta0, "penalty": None, "learning_rate": "constant", "max_iter": 50, **more})


# fmt: off
KEEPS_ON = {"loss": "epsilon_insensitive", "fit_intercept": False}
DIVERGING = {
    "unscaled regression": (regressor(max_iter=50), X * 1e6, T * 1e6),
    "unscaled regression, float32": (regressor(max_iter=50), (X * 1e6).astype("f"), T * 1e6),
    "average": (regressor(max_iter=50, average=True), X * 1e6, T * 1e6),
    "batches": (regressor(max_iter=50, batch_size=8), X * 1e6, T * 1e6),
    "l1": (regressor(max_iter=50, penalty="l1"), X * 1e6, T * 1e6),
    "unscaled squared hinge": (classifier(loss="squared_hinge", max_iter=50), X * 1e9, Y),
    "three classes": (classifier(loss="squared_hinge", max_iter=50), X * 1e9, Y3),
    "eta0 huge": (wild(1e30), X, T),
    "eta0 huge, float32": (wild(1e30), X.astype("f"), T),
    "eta0 largest": (wild(1e308), X, T),
    "float32 overflows": (wild(1e25), (X * 1e20).astype("f"), T),
    "float32 near its limit": (regressor(max_iter=5), (X * 1e38).astype("f"), T),
    "float64 near its limit": (regressor(max_iter=5), X * 1e307, T),
    "classifier near the limit": (classifier(max_iter=5, learning_rate="constant", eta0=10.0), X * 1e307, Y),
    "intercept alone": (wild(1e300, max_iter=1), np.zeros((1, 2)), [1e10]),
    "intercept alone, float32": (wild(1e30, max_iter=1), np.zeros((1, 2), "f"), [1e10]),
    "average alone, float32": (wild(1e35, average=True, **KEEPS_ON), np.ones((20, 1), "f"), np.full(20, 3e38)),
    "average alone": (wild(1e305, average=True, **KEEPS_ON), np.ones((20, 1)), np.full(20, 1e308)),
    "squared norm overflows": (wild(1e170, penalty="l1", alpha=1e-300, **KEEPS_ON), X[:9] * 1e-5, np.arange(9.0)),
}
# fmt: on


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", DIVERGING)
def test_divergence_is_never_silent(how, layout, case):
    model, rows, y = copy.deepcopy(DIVERGING[case])
    rows = LAYOUTS[layout](rows)
    extra = {"classes": np.unique(y)} if how == "partial_fit" and isinstance(model, SGDClassifier) else {}
    said = []
    for _ in range(1 if how == "fit" else model.max_iter):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                getattr(model, how)(rows, y, **extra)
            except ValueError as error:
                said.append(str(error))
        assert all(issubclass(warning.category, ConvergenceWarning) for warning in caught), [str(w) for w in caught]
        said += [str(warning.message) for warning in caught]
        if not hasattr(model, "coef_"):
            with pytest.raises(SklearnNotFittedError):
                model.predict(rows)
            break
        assert np.isfinite(model.coef_).all()
        assert np.isfinite(model.intercept_).all()
        assert not np.isnan(model.loss_curve_).any()
    assert said or case == "squared norm overflows"  # its weights are finite
    assert all(re.search(r"[Ss]cale the features.*eta0", message) for message in said)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_after_divergence(layout):
    """A diverged fit leaves the last model, a diverged partial_fit an unfitted estimator."""
    rows, wild = LAYOUTS[layout](X), LAYOUTS[layout](X * 1e300)
    model = regressor().fit(rows, T)
    expected = model.coef_.copy()
    for how in ("fit", "partial_fit"):
        np.testing.assert_array_equal(model.coef_, expected)
        with pytest.raises(ValueError, match=r"Scale the features .*eta0.*optimizer='normalized'"):
            getattr(model, how)(wild, T)
    assert not any(hasattr(model, name) for name in ("coef_", "intercept_"))
    with pytest.raises(SklearnNotFittedError):
        model.predict(rows)
    model.partial_fit(rows, T)  # from zero again
    np.testing.assert_array_equal(model.coef_, regressor().partial_fit(rows, T).coef_)


# --- input that just works


def readonly(array):
    array = np.array(array)
    array.setflags(write=False)
    return array


def frozen(A):
    A = sp.csr_matrix(A)
    A.data, A.indices, A.indptr = map(readonly, parts(A))
    return A


def roomy(A):
    """CSR arrays with room beyond indptr[-1], where anything may be."""
    data, indices, indptr = parts(A)
    return CSR(np.append(data, [np.nan] * 9), np.append(indices, [-(10**6)] * 9), indptr, A.shape)


def unsorted(A):
    data, indices, indptr = parts(A)
    order = np.concatenate([np.arange(a, b)[::-1] for a, b in pairwise(indptr)])
    return CSR(data[order], indices[order], indptr, A.shape)


def with_zeros(A):
    return CSR(A.ravel().copy(), np.tile(np.arange(D), N), np.arange(0, A.size + 1, D), A.shape)


CSR_ARRAYS = {
    "int64": lambda a: a.astype("i8") if a.dtype.kind == "i" else a,
    "short integers": lambda a: a.astype("u8" if len(a) == N + 1 else "u1") if a.dtype.kind == "i" else a,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": readonly,
    "strided": lambda a: np.repeat(a, 2)[::2],
    "lists": lambda a: a.tolist(),
}
DTYPES = ["f8", ">f8", "f4", ">f4", "f2", "g", "i8", ">i4", "i1", "u1", "?", "O"]
GOOD = {
    "list": lambda A: A.tolist(),
    "tuple": lambda A: tuple(map(tuple, A.tolist())),
    "list of arrays": list,
    "read-only": readonly,
    "every other row": lambda A: np.repeat(A, 2, axis=0)[::2],
    "reversed": lambda A: A[::-1, ::-1].copy()[::-1, ::-1],
    "some columns": lambda A: np.hstack([A, A])[:, :D],
    "Fortran": np.asfortranarray,
    "unaligned": lambda A: np.frombuffer(b"\0" + A.tobytes(), A.dtype, offset=1).reshape(A.shape),
    "matrix": np.asmatrix,
    "DataFrame": pd.DataFrame,
    "DataFrame of kinds": lambda A: pd.DataFrame((A * 4).astype(int)).astype({0: float, 1: "Int64", 2: "f4"}),
    "scipy read-only": frozen,
    "roomy": roomy,
    "unsorted": unsorted,
    "explicit zeros": with_zeros,
    "duplicates": lambda A: CSR(*(np.repeat(a, 2) for a in (parts(A)[0] / 2, parts(A)[1])), parts(A)[2] * 2, A.shape),
    **{f"CSR {name}": lambda A, f=f: CSR(*map(f, parts(A)), A.shape) for name, f in CSR_ARRAYS.items()},
    **{f"dtype {dtype}": lambda A, dtype=dtype: (A * 4 + 4).astype(dtype) for dtype in DTYPES},
}
GOOD |= {
    f"{form}_{kind}": getattr(sp, f"{form}_{kind}")
    for form in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
    for kind in ("matrix", "array")
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("name", GOOD)
def test_unusual_input_trains_the_usual_model(name):
    good = GOOD[name](X)
    expected = X if isinstance(good, CSR) else np.array(good.toarray() if sp.issparse(good) else good, np.float64)
    close = dict.fromkeys(("rtol", "atol"), 1e-3 if name in ("dtype f4", "dtype >f4", "dtype f2") else 1e-9)
    before = pickle.dumps(good)
    for make, y in ((classifier, Y3), (classifier, Y), (regressor, T)):
        options = {"penalty": "elasticnet", "learning_rate": "constant", "eta0": 1e-3}
        model, usual = make(**options).fit(good, y), make(**options).fit(expected, y)
        for _ in range(2):
            np.testing.assert_allclose(model.coef_, usual.coef_, **close)
            np.testing.assert_allclose(model.intercept_, usual.intercept_, **close)
            model.partial_fit(good, y)
            usual.partial_fit(expected, y)
        np.testing.assert_allclose(model.predict(good), usual.predict(expected), **close)
        np.testing.assert_allclose(model.score(good, y), usual.score(expected, y), **close)
    assert pickle.dumps(good) == before


def test_memory_mapped_input(tmp_path):
    np.save(tmp_path / "X.npy", X)
    for mode in ("r", "c"):
        mapped = np.load(tmp_path / "X.npy", mmap_mode=mode)
        np.testing.assert_array_equal(classifier().fit(mapped, Y).coef_, classifier().fit(X, Y).coef_)
        assert mapped.tobytes() == X.tobytes()


@pytest.mark.parametrize(
    "convert",
    [list, tuple, readonly, pd.Series, lambda y: pd.Series(y, index=range(N)[::-1]), lambda y: np.repeat(y, 2)[::2],
     lambda y: y.astype(y.dtype.newbyteorder(">")), lambda y: y.astype(object), lambda y: y.astype(float), memoryview],
)  # fmt: skip
def test_unusual_y_and_weights_train_the_usual_model(convert):
    weights = np.random.default_rng(1).random(N) + 0.5
    for make, y in ((classifier, Y3), (regressor, T)):
        usual, good, w = make().fit(X, y, sample_weight=weights), convert(y), convert(weights)
        np.testing.assert_array_equal(make().fit(X, good, sample_weight=w).coef_, usual.coef_)
        assert usual.score(X, good, w) == usual.score(X, y, weights)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_callers_arrays_never_change(layout, dtype):
    rows, w = LAYOUTS[layout](X.astype(dtype)), np.random.default_rng(1).random(N)
    for make, y, shape in ((classifier, Y, (1, D)), (classifier, Y3, (3, D)), (regressor, T.astype(dtype), (D,))):
        start = {"coef_init": np.ones(shape, dtype), "intercept_init": np.ones(3 if y is Y3 else 1, dtype)}
        before = pickle.dumps((rows, y, w, start))
        for options in ({}, {"average": True, "penalty": "l1"}, {"batch_size": 7}):
            model = make(**options).fit(rows, y, sample_weight=w, **start).partial_fit(rows, y, sample_weight=w)
            model.predict(rows)
            model.score(rows, y, w)
        assert pickle.dumps((rows, y, w, start)) == before


@pytest.mark.parametrize("layout", ["dense", "scipy", "CSR", "CSR int64"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_not_copied(layout, dtype):
    n, d = 500, 40_000_000 // 500 // np.dtype(dtype).itemsize
    rows = np.ones((n, d), dtype)
    if layout != "dense":
        index = np.int64 if layout == "CSR int64" else np.int32
        arrays = rows.reshape(-1), np.tile(np.arange(d, dtype=index), n), np.arange(0, n * d + 1, d, dtype=index)
        rows = sp.csr_matrix(arrays, (n, d), copy=False) if layout == "scipy" else CSR(*arrays, (n, d))
    y = np.arange(n) % 2
    model = classifier(max_iter=1, learning_rate="constant", eta0=1e-6)
    for call in (lambda: model.fit(rows, y), lambda: model.partial_fit(rows, y), lambda: model.predict(rows)):
        tracemalloc.start()
        try:
            call()
            assert 0 < tracemalloc.get_traced_memory()[1] < 3_000_000
        finally:
            tracemalloc.stop()
