"""The same rows laid out otherwise, in pieces or in slices: the same model."""

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from common import (
    ALPHA,
    CASES,
    JOINT,
    LAYOUTS,
    PENALTIES,
    PRECISION,
    as_targets,
    assert_close,
    assert_identical,
    assert_same_model,
    estimator,
    lay_out,
    make_data,
    solution,
    train_reference,
)

import fastsgd

# Forms of CSR


@pytest.mark.parametrize("loss", ["log_loss", "softmax"])
def test_csr_with_unsorted_columns_empty_rows_and_stored_zeros(loss):
    X, y, _ = make_data(K=3)
    X[[0, 9, 39]] = 0
    rng, tidy = np.random.default_rng(3), sp.csr_array(np.where(X == 0, 7.0, X))
    tidy.data[tidy.data == 7.0] = 0  # every entry stored, zeros as well
    rows = [rng.permutation(np.arange(begin, end)) for begin, end in zip(tidy.indptr, tidy.indptr[1:], strict=False)]
    rows[9] = rows[9][:0]
    order, lengths = np.concatenate(rows), [len(row) for row in rows]
    messy = fastsgd.CSR(tidy.data[order], tidy.indices[order], np.cumsum([0, *lengths]), tidy.shape)
    for penalty, average in product(PENALTIES, (False, True)):
        options = {"penalty": penalty, "alpha": ALPHA, "average": average, "learning_rate": "invscaling"}
        model = estimator(loss, y, **options).fit(messy, y)
        assert_same_model(model, train_reference(loss, X, y, **options), 1e-10)
    assert_close(model.decision_function(messy), model.decision_function(X), 1e-12)


@pytest.mark.parametrize("K", [3, 4, 21, 70])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "normalized", "ftrl", "adam"])
def test_weights_that_do_not_fit_the_cache(optimizer, K):
    """Memory is asked for them ahead, along rows of any length: of that nothing may show."""
    rng, n, d, far = np.random.default_rng(4), 150, 200, 8000 // K
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < rng.random((n, 1)))  # from a few columns to nearly all
    X[[0, 30, -1]] = 0
    y = np.arange(n) % K
    options = {"optimizer": optimizer, "max_iter": 2, "shuffle": True, "random_state": 3}
    options |= {"early_stopping": True, "validation_fraction": 0.5}
    for dtype, itype in product(PRECISION, (np.int32, np.int64)):
        near = sp.csr_array(X.astype(dtype))
        indptr, columns = near.indptr.astype(itype), near.indices.astype(itype)
        near = fastsgd.CSR(near.data, columns, indptr, (n, d))
        apart = fastsgd.CSR(near.data, columns * far, indptr, (n, (d - 1) * far + 1))
        small, large = (estimator("softmax", y, **options).fit(rows, y) for rows in (near, apart))
        np.testing.assert_array_equal(large.coef_[:, ::far], small.coef_)
        assert np.count_nonzero(large.coef_) == np.count_nonzero(small.coef_) > 0
        np.testing.assert_array_equal(large.decision_function(apart), small.decision_function(near))
        assert large.validation_scores_ == small.validation_scores_


@pytest.mark.parametrize("kept", [{"penalty": "l1"}, {"penalty": "elasticnet"}, {"average": True}, {"average": 100}])
@pytest.mark.parametrize("itype", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", PRECISION)
def test_weights_beside_what_is_kept_of_them(dtype, itype, kept):
    """One output's share cells while a pass is long for so many columns: spread over more, they must learn the same."""
    rng, n, d, far = np.random.default_rng(5), 300, 40, 200
    tidy = sp.csr_array(rng.standard_normal((n, d)) * (rng.random((n, d)) < rng.random((n, 1))))
    tidy.data[rng.random(tidy.nnz) < 0.1] = 0  # stored
    some = rng.random(n) < 0.3  # rows with columns in any order, one of them maybe twice
    for begin, end in zip(tidy.indptr[:-1][some], tidy.indptr[1:][some], strict=True):
        tidy.indices[begin:end] = rng.integers(0, d, end - begin)
    values, columns, indptr = tidy.data.astype(dtype), tidy.indices.astype(itype), tidy.indptr.astype(itype)
    near = fastsgd.CSR(values, columns, indptr, (n, d))
    apart = fastsgd.CSR(values, columns * far, indptr, (n, (d - 1) * far + 1))
    y = (tidy @ rng.standard_normal(d) > 0).astype(int)
    for loss, alpha in product(("log_loss", "hinge"), (1e-3, 0.03)):  # then the scale is folded into the weights
        options = {"alpha": alpha, "eta0": 0.5, "penalty": "l2", **kept}
        small, large = (estimator(loss, y, **options).fit(rows, y) for rows in (near, apart))
        np.testing.assert_array_equal(large.coef_[:, ::far], small.coef_)
        np.testing.assert_array_equal(large.intercept_, small.intercept_)
        assert np.count_nonzero(large.coef_) == np.count_nonzero(small.coef_) > 0
        np.testing.assert_allclose(large.loss_curve_, small.loss_curve_, rtol=PRECISION[dtype])


@pytest.mark.parametrize("itype", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", PRECISION)
def test_a_column_twice_anywhere_in_a_row_counts_with_both_values(dtype, itype):
    """As if the values were one, although vectors of weights are stepped at once."""
    rng, n, d, nnz = np.random.default_rng(6), 200, 60, 19
    columns = np.array([np.sort(rng.choice(d, nnz, replace=False)) for _ in range(n)])
    columns[np.arange(n), np.arange(n) % (nnz - 1)] = columns[np.arange(n), np.arange(n) % (nnz - 1) + 1]
    rows = [rng.standard_normal(n * nnz).astype(dtype), columns.ravel().astype(itype), np.arange(0, n * nnz + 1, nnz)]
    X, y = fastsgd.CSR(*rows, (n, d)), rng.integers(0, 2, n)
    merged = sp.csr_array(tuple(rows), (n, d), copy=True)
    merged.sum_duplicates()
    for kept in ({"average": True}, {"penalty": "elasticnet", "l1_ratio": 0, "alpha": 1e-3}):
        twice, once = (estimator("log_loss", y, **kept).fit(A, y) for A in (X, merged))
        assert_close(twice.coef_, once.coef_, PRECISION[dtype])


def test_values_beyond_the_last_row_are_not_read():
    X, y, _ = make_data()
    A = sp.csr_array(X)
    padded = fastsgd.CSR(np.append(A.data, [np.nan] * 3), np.append(A.indices, [99] * 3), A.indptr, A.shape)
    assert_identical(estimator("hinge", y).fit(padded, y), estimator("hinge", y).fit(A, y))


# Layouts, chunks, calls


@pytest.mark.parametrize(("loss", "K"), [(loss, K) for loss, K in CASES if loss in ("hinge", *JOINT, "huber")])
def test_dense_equals_csr(loss, K):
    X, y, reals = make_data(n=80, d=12, K=4 if K == 4 else 2)
    y = reals if K == "real" else y
    for penalty, average in product(PENALTIES, (False, True)):
        options = {"penalty": penalty, "alpha": ALPHA, "average": average, "shuffle": True, "random_state": 3}
        dense, csr32, csr64 = (estimator(loss, y, **options).fit(lay_out(X, layout), y) for layout in LAYOUTS)
        assert_close(solution(csr32), solution(dense), 1e-12)
        assert_identical(csr32, csr64)


def test_intercept_decay_auto_depends_on_the_layout():
    X, y, _ = make_data()
    for layout, factor in (("dense", 1.0), ("csr32", 0.01), ("csr64", 0.01)):
        A = lay_out(X, layout)
        auto = estimator("log_loss", y, intercept_decay="auto").fit(A, y)
        assert_identical(auto, estimator("log_loss", y, intercept_decay=factor).fit(A, y))
        assert auto.intercept_ != estimator("log_loss", y, intercept_decay=0.5).fit(A, y).intercept_


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("average", [False, True, 30])
def test_partial_fit_in_pieces(average, layout):
    """Without l1 it is one epoch of `fit`; with l1 every call ends by giving each weight its due."""
    X, y, reals = make_data(K=4)
    pieces = [slice(0, 1), slice(1, 18), slice(18, 40)]
    for penalty, (loss, target) in product(PENALTIES, [("softmax", y), ("hinge", y), ("squared_error", reals)]):
        options = {"penalty": penalty, "alpha": ALPHA, "average": average, "learning_rate": "invscaling", "eta0": 0.3}
        first = {} if target is reals else {"classes": np.arange(4)}
        model = estimator(loss, target, **options)
        expected = train_reference(loss, X, target, max_iter=0, **options)
        for piece in pieces:
            model.partial_fit(lay_out(X[piece], layout), target[piece], **first)
            expected.fit(X[piece], as_targets(target, loss)[piece])
            assert_same_model(model, expected, 1e-10, f"{loss} {options}")
        if penalty in (None, "l2"):
            whole = estimator(loss, target, max_iter=1, **options).fit(lay_out(X, layout), target)
            assert_close(solution(model), solution(whole), 1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", ["softmax", "hinge"])
def test_partial_fit_on_dense_and_csr_in_turn(loss, dtype):
    X, y, _ = make_data(K=4)
    for penalty, average in product(PENALTIES, (False, 10)):
        options = {"penalty": penalty, "alpha": ALPHA, "average": average, "learning_rate": "invscaling"}
        model, dense = estimator(loss, y, **options), estimator(loss, y, **options)
        for layout in ("csr32", "dense", "csr64", "csr32", "dense", "dense"):
            model.partial_fit(lay_out(X, layout, dtype), y, classes=np.arange(4))
            dense.partial_fit(lay_out(X, "dense", dtype), y, classes=np.arange(4))
            assert_close(solution(model), solution(dense), 1e-12 if dtype == np.float64 else 1e-5)
            assert_close(model.decision_function(X), X @ model.coef_.T + model.intercept_, 1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_slices_of_an_epoch_do_not_show(layout, monkeypatch):
    X, y, _ = make_data(n=100, K=4)
    A = lay_out(X, layout)
    for batch_size, penalty in product((1, 7, 100), ("l2", "elasticnet")):
        options = {"batch_size": batch_size, "penalty": penalty, "alpha": ALPHA, "average": True, "shuffle": True}
        whole = estimator("softmax", y, random_state=0, **options).fit(A, y)
        with monkeypatch.context() as patch:
            patch.setattr("fastsgd._scores.NONZEROS_PER_SLICE", 20)
            sliced = estimator("softmax", y, random_state=0, **options).fit(A, y)
        assert np.array_equal(solution(whole), solution(sliced))
        assert_close(sliced.loss_curve_, whole.loss_curve_, 1e-14)  # a sum of other partial sums
