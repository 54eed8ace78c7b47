"""CSR rows that are not canonical: columns out of order, or named more than once, which adds up."""

import numpy as np
import pytest
import scipy.sparse as sp
from common import assert_close

import fastsgd
from fastsgd import SGDClassifier
from fastsgd._arrays import PIECE
from fastsgd._duplicates import summed
from fastsgd._validation import check_rows

N, D = 60, 12
RNG = np.random.default_rng(4)
LENGTHS = RNG.integers(0, 9, N)
INDPTR = np.r_[0, np.cumsum(LENGTHS)]
COLUMNS = RNG.integers(0, D, INDPTR[-1])  # in any order, many of them several times in a row
VALUES = RNG.integers(-16, 17, INDPTR[-1]) / 16  # which add up without rounding
REPEATED = fastsgd.CSR(VALUES, COLUMNS, INDPTR, (N, D))
CANONICAL = sp.csr_array((VALUES, COLUMNS, INDPTR), shape=(N, D), copy=True)
CANONICAL.sum_duplicates()
Y = {1: RNG.integers(0, 2, N), 3: RNG.integers(0, 3, N)}
OPTIMIZERS = ["sgd", "adagrad", "normalized", "ftrl", "adam"]


def as_csr(A, index=np.int64, dtype=np.float64):
    return fastsgd.CSR(A.data.astype(dtype), A.indices.astype(index), A.indptr.astype(index), A.shape)


def model(optimizer, **parameters):
    chosen = {"max_iter": 3, "tol": None, "random_state": 0, "intercept_decay": 1.0, **parameters}
    return SGDClassifier("log_loss", optimizer=optimizer, **chosen)


def assert_same(a, b, tolerance=1e-10):
    assert_close(np.c_[a.coef_, a.intercept_], np.c_[b.coef_, b.intercept_], tolerance)


@pytest.mark.parametrize("K", Y)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_model_is_that_of_the_rows_added_up(optimizer, K):
    for batch_size in (1, 7):
        options = {"batch_size": batch_size, "eta0": 0.1}
        expected = model(optimizer, **options).fit(CANONICAL.toarray(), Y[K])
        for index in (np.int32, np.int64):
            assert_same(model(optimizer, **options).fit(as_csr(REPEATED, index), Y[K]), expected)
        single = model(optimizer, **options).fit(as_csr(REPEATED, dtype=np.float32), Y[K])
        assert_same(single, model(optimizer, **options).fit(CANONICAL.astype(np.float32), Y[K]), 1e-4)


@pytest.mark.parametrize("K", Y)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_row_by_row_and_from_a_disk(optimizer, K, tmp_path):
    repeated = sp.csr_array((VALUES, COLUMNS, INDPTR), shape=(N, D))
    one, two = model(optimizer, shuffle=False), model(optimizer, shuffle=False)
    for i in range(N):
        one.partial_fit(repeated[[i]], Y[K][[i]], classes=np.unique(Y[K]))
        two.partial_fit(CANONICAL[[i]], Y[K][[i]], classes=np.unique(Y[K]))
    assert_same(one, two)
    fastsgd.save_csr(tmp_path / "rows", REPEATED, Y[K])
    X, y = fastsgd.load_csr(tmp_path / "rows")
    expected = model(optimizer, early_stopping=True).fit(CANONICAL, Y[K])
    assert_same(model(optimizer, early_stopping=True).fit(X, y), expected)


def test_the_callers_arrays_stay_as_they_are():
    X = as_csr(REPEATED)
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    model("adagrad").fit(X, Y[1])
    np.testing.assert_array_equal(X.indices, COLUMNS)


def test_rows_that_need_no_adding_up_are_not_copied():
    backwards = CANONICAL.copy()
    for first, last in zip(CANONICAL.indptr, CANONICAL.indptr[1:], strict=False):
        backwards.indices[first:last] = CANONICAL.indices[first:last][::-1]
        backwards.data[first:last] = CANONICAL.data[first:last][::-1]
    for index in (np.int32, np.int64):
        for A in (CANONICAL, backwards, sp.csr_array((3, 2)), CANONICAL[[0]], CANONICAL.toarray()):
            rows = check_rows(A if isinstance(A, np.ndarray) else as_csr(A, index))
            assert summed(rows) is rows
    assert_same(model("ftrl").fit(backwards, Y[1]), model("ftrl").fit(CANONICAL, Y[1]))


def test_many_rows_are_looked_at_in_parts():
    """The one row that repeats a column is in the last part, or at the border of two."""
    n, k = PIECE // 4 + 3, 6
    columns = np.tile(np.arange(k, dtype=np.int32), n)
    rows = check_rows(fastsgd.CSR(np.ones(n * k, np.float32), columns, np.arange(0, n * k + 1, k), (n, k)))
    assert summed(rows) is rows
    for row in (n - 1, PIECE // k, PIECE // k - 1, 0):
        columns[row * k + 3] = 5
        new = summed(rows)
        assert new.nnz == n * k - 1
        found = slice(row * k, (row + 1) * k - 1)
        np.testing.assert_array_equal(new.indices[found], [0, 1, 2, 5, 4])
        np.testing.assert_array_equal(new.data[found], [1, 1, 1, 2, 1])
        assert np.diff(new.indptr).sum() == new.nnz == new.indptr[-1]
        assert np.flatnonzero(np.diff(new.indptr) != k).tolist() == [row]
        columns[row * k + 3] = 3


def test_what_adds_up_to_infinity_is_told():
    X = fastsgd.CSR(np.full(2, 1e308), np.zeros(2, int), np.array([0, 2, 2]), (2, 1))
    with pytest.raises(ValueError, match="infinity at row 0, column 0; the sum of values of the same column"):
        model("adagrad").fit(X, [0, 1])
