"""Bad rows and targets are refused with a message that says what is wrong and where."""

import copy
import gc
import itertools
import re
import weakref

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
    put,
    refuses,
    regressor,
    run,
)
from common import assert_close

import fastsgd
from fastsgd import CSR, SGDClassifier

# --- X


@pytest.mark.parametrize("how", ["fit", "partial_fit", "predict", "decision_function", "score"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nonfinite_is_named_with_its_row_and_column(how, dtype, layout):
    for value, what in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")):
        for row, column in ((0, 0), (N - 1, D - 1), (3, 1), (17, 2)):
            bad = put(put(X, 2, 0), (row, column), value).astype(dtype)  # row 2 is empty in CSR
            refuses(how, LAYOUTS[layout](bad), rf"{what} at row {row}, column {column}\b")


@pytest.mark.parametrize("learning_rate", ["optimal", "adaptive", "pa1", "pa2"])
@pytest.mark.parametrize("loss", fastsgd.losses.LOSSES)
def test_nonfinite_is_found_by_the_scores_of_every_way_to_train(loss, learning_rate):
    bad = put(X, (17, 2), np.nan)
    for layout, batch_size, penalty, average in itertools.product(
        LAYOUTS.values(), (1, 7, N), ("l2", "l1"), (False, True)
    ):
        model = classifier(
            loss=loss, learning_rate=learning_rate, eta0=1.0, batch_size=batch_size, penalty=penalty, average=average,
            max_iter=1,
        )  # fmt: skip
        for y in (Y, Y3):
            with pytest.raises(ValueError, match=r"NaN at row 17, column 2\b"):
                model.fit(layout(bad), y)
        assert not hasattr(model, "coef_")


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(("value", "error"), [(np.nan, "NaN at row 17"), (1e300, "not finite")])
def test_refused_rows_are_not_kept_in_memory(value, error, n_jobs):
    gc.disable()  # nothing may be left for it
    try:
        bad = put(X, 17, value)
        kept = weakref.ref(bad)
        with pytest.raises(ValueError, match=error) as raised:
            regressor(max_iter=99, n_jobs=n_jobs).fit(bad, Y)
        assert raised.value.__suppress_context__  # one error, not two
        del bad, raised
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nonfinite_is_found_at_every_position(dtype):
    for d in (1, 7, 16, 33, 64, 100):
        for column in range(d):
            with pytest.raises(ValueError, match=rf"NaN at row 1, column {column}\b"):
                classifier().fit(put(np.ones((2, d), dtype), (1, column), np.nan), [0, 1])


@pytest.mark.parametrize("convert", [np.asarray, sp.csr_array, lambda A: A.astype(object), lambda A: A.astype("g")])
def test_overflow_in_conversion_is_infinity(convert):
    model = classifier().fit(X.astype(np.float32), Y)
    refuses("partial_fit", convert(np.full((N, D), 1e300)), r"infinity at row 0, column 0\b", model=model)


def mixed(value):
    return put(X.astype(object), (6, 3), value)


# fmt: off
EITHER = (ValueError, TypeError)
NOT_NUMBERS = {
    "text": (mixed("red"), r"'red'.* at row 6, column 3\b"), "None": (mixed(None), r"row 6, column 3\b"),
    "object": (mixed(object()), r"object.* at row 6, column 3\b"), "NA": (mixed(pd.NA), r"<NA> at row 6, column 3\b"),
    "nested": (mixed([1, 2]), r"\[1, 2\] at row 6, column 3\b"), "huge int": (mixed(10**400), r"row 6, column 3\b"),
    "text list": ([[1.0, 2.0], [3.0, "red"]], r"red.* row 1, column 1\b"),
    "text array": (np.full((N, D), "blue"), r"<U4.*'blue'"),
    "text column": (pd.DataFrame({**dict(enumerate(X.T)), 5: "red"}), r"'red'.* at row 0, column 5\b"),
    "date column": (
        pd.DataFrame({5: pd.Timestamp("2020-01-02"), **dict(enumerate(X.T))}), r"2020-01-02.* row 0, column 0 \(5,",
    ),
    "dates": (np.full((N, D), "2020-01-02", "M8[D]"), r"datetime64\[D\].*2020-01-02"),
    "complex": (X + 1j, r"omplex.*complex128"), "sparse complex": (sp.csr_array(X + 1j), r"omplex.*complex128"),
    "1j": (mixed(1j), r"1j at row 6, column 3\b"),
    "no rows": (np.empty((0, D)), r"0 sample.*\(0, 5\)"), "no columns": (np.empty((N, 0)), r"0 feature.*\(40, 0\)"),
    "sparse, no rows": (sp.csr_array((0, D)), r"0 sample.*\(0, 5\)"), "empty": ([], r"Expected 2D array, got 1D array"),
    "sparse, no columns": (sp.csr_array((N, 0)), r"0 feature.*\(40, 0\)"), "3-D": (X[None], r"dim 3"),
    "1-D": (X[0], r"Expected 2D array, got 1D array.* 5\b.*reshape"),
    "sparse 1-D": (sp.csr_array(X[0]), r"2-dimensional.* 1 "),
    "ragged": ([[1.0, 2.0], [3.0]], r"X is not an array.*inhomogeneous"),
    **{str(X): (X, "Expected 2D array, got scalar") for X in (None, 3.0, "text", {1: 2}, iter([]))},
}
# fmt: on


@pytest.mark.parametrize("how", ["fit", "partial_fit", "predict"])
@pytest.mark.parametrize("case", NOT_NUMBERS)
def test_what_is_no_matrix_of_numbers(how, case):
    refuses(how, *NOT_NUMBERS[case], EITHER if case in ("object", "NA", "nested", "date column", "1j") else ValueError)


@pytest.mark.parametrize("how", ["partial_fit", "predict", "decision_function", "score"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_number_of_features_changes(how, layout):
    for columns in (1, D - 1, D + 1, 1000):
        rows, message = LAYOUTS[layout](np.ones((N, columns))), rf"X has {columns} features, but {{}} is expecting {D} "
        refuses(how, rows, message.format("SGDClassifier"))
        if how != "decision_function":
            refuses(how, rows, message.format("SGDRegressor"), model=regressor().fit(X, T))


# fmt: off
MALFORMED = {  # scikit-learn 1.9 reads beyond the arrays on some of these
    "column d": (lambda v, j, p: (v, put(j, 5, D), p), r"row \d+ names column 5, outside 0 .. 4"),
    "last column d": (lambda v, j, p: (v, put(j, -1, D), p), rf"row {N - 1} names column 5, outside 0 .. 4"),
    "column huge": (lambda v, j, p: (v, put(j, 0, np.iinfo(j.dtype).max), p), r"row 0 names column \d{10,}, outside"),
    "column -1": (lambda v, j, p: (v, put(j, 0, -1), p), r"row 0 names column -1, outside"),
    "column least": (lambda v, j, p: (v, put(j, -1, np.iinfo(j.dtype).min), p), r"names column -\d{10,}, outside"),
    "decreasing": (lambda v, j, p: (v, j, put(p, 4, p[3] - 1)), r"indptr decreases at row 3, from \d+ to \d+"),
    "negative bound": (lambda v, j, p: (v, j, put(p, 4, -5)), r"indptr decreases at row 3, from \d+ to -5"),
    "beyond": (lambda v, j, p: (v, j, put(p, -1, v.size + 1)), rf"row {N - 1} ends at \d+, beyond the \d+ stored"),
    "far beyond": (lambda v, j, p: (v, j, put(p, -1, np.iinfo(p.dtype).max)), r"beyond the \d+ stored values"),
    "all beyond": (lambda v, j, p: (v[:3], j[:3], p), r"row \d ends at \d+, beyond the 3 stored"),
    "not from 0": (lambda v, j, p: (v, j, put(p, 0, 1)), r"indptr begins with 1, not 0"),
    "indptr short": (lambda v, j, p: (v, j, p[:-1]), rf"indptr has length {N}, .*\({N}, 5\)"),
    "indptr long": (lambda v, j, p: (v, j, np.append(p, p[-1])), rf"indptr has length {N + 2}"),
    "float indices": (lambda v, j, p: (v, j.astype(float), p), r"indices has dtype float64"),
    "float indptr": (lambda v, j, p: (v, j, p.astype(float)), r"indptr has dtype float64"),
    "2-D indices": (lambda v, j, p: (v, j[None], p), r"indices has .* shape \(1, \d+\)"),
    "2-D data": (lambda v, j, p: (v[None], j, p), r"data has shape \(1, \d+\)"),
    "data short": (lambda v, j, p: (v[:-1], j, p), r"data has shape \(\d+,\), indices \(\d+,\)"),
    "2^63": (lambda v, j, p: (v, put(j.astype(np.uint64), 0, 2**63), p), r"indices has a value beyond 2\^63"),
}
# fmt: on


@pytest.mark.parametrize("how", ["fit", "partial_fit", "predict", "decision_function"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_csr(how, index, fault):
    data, indices, indptr = parts(X)
    faulty = MALFORMED[fault][0](data, indices.astype(index), indptr.astype(index))
    for bad in (CSR(*faulty, X.shape), sp.csr_matrix(X), sp.csr_array(X)):
        if not isinstance(bad, CSR):
            bad.data, bad.indices, bad.indptr = faulty
        refuses(how, bad, "malformed CSR: .*" + MALFORMED[fault][1])


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_faults_are_named_in_large_data(n_jobs, monkeypatch):
    """Which is looked at piece by piece, by several threads."""
    monkeypatch.setattr(fastsgd._validation, "PIECE", 8)
    model = classifier(n_jobs=n_jobs)
    for index in (np.int32, np.int64):
        for fault, message in MALFORMED.values():
            data, indices, indptr = parts(X)
            bad = CSR(*fault(data, indices.astype(index), indptr.astype(index)), X.shape)
            refuses("fit", bad, "malformed CSR: .*" + message, model=model)
    for layout in LAYOUTS.values():
        for row, column in ((0, 0), (17, 2), (N - 1, D - 1)):
            bad = put(put(X, (row, column), np.nan), (N - 1, D - 1), np.inf if row < N - 1 else np.nan)
            refuses("fit", layout(bad), rf"NaN at row {row}, column {column}\b", model=model)
        np.testing.assert_array_equal(model.fit(layout(X), Y).coef_, classifier().fit(layout(X), Y).coef_)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 3, 20])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_scores_of_many_rows_name_the_fault(index, dtype, classes, n_jobs, monkeypatch):
    """Their columns are looked at some thousands of nonzeros at a time, just before these are scored."""
    monkeypatch.setattr(fastsgd._scores, "NONZEROS_PER_SLICE", 6000)
    random, d = np.random.default_rng(0), 30
    lengths = np.append(random.integers(0, d, 700), 0)
    bounds = np.append(0, np.cumsum(lengths)).astype(index)
    indices = np.concatenate([random.permutation(d)[:length] for length in lengths]).astype(index)
    good = CSR(random.standard_normal(indices.size).astype(dtype), indices, bounds, (lengths.size, d))
    model = SGDClassifier(max_iter=1, tol=None, random_state=0, n_jobs=n_jobs)
    model.fit(random.standard_normal((200, d)).astype(dtype), np.arange(200) % classes)
    scores = model.decision_function(good)
    expected = good.to_scipy() @ model.coef_.T + model.intercept_
    assert_close(scores.reshape(expected.shape), expected, 1e-5 if dtype == np.float32 else 1e-12)
    one_by_one = [model.decision_function(good.to_scipy()[[i]])[0] for i in range(0, lengths.size, 20)]
    np.testing.assert_array_equal(scores[::20], one_by_one)
    for position in (0, 2047, 2048, 2049, 4095, 4096, 6000, indices.size // 2, indices.size - 1):
        row = np.searchsorted(bounds, position, side="right") - 1
        for column in (-1, d, np.iinfo(index).max, np.iinfo(index).min):
            bad = CSR(good.data, put(indices, position, column), bounds, good.shape)
            with pytest.raises(ValueError, match=rf"^malformed CSR: row {row} names column {column}, outside 0 .. 29$"):
                model.decision_function(bad)
            later = CSR(put(good.data, position - 1, np.nan), bad.indices, bounds, (lengths.size, d + 1))
            wrong = "malformed CSR" if column != d else "NaN at row"  # before the number of columns
            with pytest.raises(ValueError, match=wrong):
                model.decision_function(later)
        bad = CSR(put(good.data, position, np.inf), indices, bounds, good.shape)
        with pytest.raises(ValueError, match=f"infinity at row {row}, column {indices[position]};"):
            model.predict(bad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 5])
def test_scores_of_many_dense_rows_name_the_fault(dtype, classes, monkeypatch):
    """They are looked at block by block where a weight is 0, since that would hide it; otherwise the scores tell."""
    monkeypatch.setattr(fastsgd._scores, "NUMBERS_PER_BLOCK", 400)
    monkeypatch.setattr(fastsgd._scores, "FEWEST_ROWS", 1)
    random, d = np.random.default_rng(0), 30
    good = random.standard_normal((101, d)).astype(dtype)
    model = SGDClassifier(max_iter=1, tol=None, random_state=0).fit(good, np.arange(101) % classes)
    scores = model.decision_function(good).reshape(101, -1)
    assert_close(scores, good @ model.coef_.T + model.intercept_, 1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(
        model.predict(good), scores.argmax(axis=1) if classes > 2 else (scores[:, 0] > 0).astype(int)
    )
    assert model.coef_.all()
    for coef in (model.coef_, put(model.coef_, (0, 7), 0.0), np.zeros_like(model.coef_)):
        model.coef_ = coef
        for row, value in itertools.product((0, 12, 13, 50, 100), (np.nan, np.inf, -np.inf)):
            with pytest.raises(ValueError, match=rf"(NaN|infinity) at row {row}, column 7\b"):
                model.predict(put(good, (row, 7), value))
            with pytest.raises(ValueError, match=r"(NaN|infinity) at row 0, column 7\b"):
                model.predict(put(good, (row, 7), value)[row : row + 1])


@pytest.mark.parametrize("shape", [(N, D, 1), (N,), (N, -1), (-1, D), (N + 1, D), (None, D), "ab"])
def test_csr_of_impossible_shape(shape):
    with pytest.raises(ValueError, match=r"malformed CSR.*shape"):
        classifier().fit(CSR(*parts(X), shape), Y)


def test_random_csr_is_refused_exactly_if_malformed():
    rng, right = np.random.default_rng(3), []
    for _ in range(1500):
        index = rng.choice([np.int32, np.int64])
        n, d, stored = rng.integers(1, 4), rng.integers(1, 4), rng.integers(0, 6)
        indices = rng.integers(0, d, stored).astype(index)
        indptr = np.sort(rng.integers(0, stored + 1, n + 1)).astype(index)
        indptr[0] *= rng.random() < 0.1
        for array in (indices, indptr):
            if array.size and rng.random() < 0.3:
                array[rng.integers(array.size)] = rng.choice([-1, d, stored + 1, 0, np.iinfo(index).max])
        good = indptr[0] == 0 and (np.diff(indptr.astype(object)) >= 0).all() and indptr[-1] <= stored
        used = indices[: indptr[-1]] if good else indices
        right.append(bool(good and (used >= 0).all() and (used < d).all()))
        rows, model = CSR(np.ones(stored), indices, indptr, (n, d)), classifier().fit(np.eye(2, d), [0, 1])
        for call in (lambda m, R: m.predict(R), lambda m, R: m.partial_fit(R, np.zeros(R.shape[0], int))):
            if right[-1]:
                call(model, rows)
            else:
                with pytest.raises(ValueError, match="malformed CSR"):
                    call(model, rows)
    assert 200 < sum(right) < 1300


@pytest.mark.parametrize("fault", ["csc indices[3]", "csc indptr[3]", "coo coords[0][3]", "bsr indices[0]"])
def test_malformed_matrix_of_another_format_is_an_error_not_a_crash(fault):
    form, place = fault.split()
    code = f"""if True:
        import numpy as np, scipy.sparse as sp, fastsgd
        A = sp.{form}_matrix(np.ones((40, 40)))
        A.{place} = 10**8
        try: fastsgd.SGDClassifier().fit(A, [0, 1] * 20)
        except ValueError as error: print("refused", error)"""
    status, output = run(code)
    assert (status, output[:8]) == (0, "refused "), output


# --- y and classes

# fmt: off
OBJECTS, TEXT, HALVES = Y.astype(object), Y.astype(str).astype(object), np.full((N, 2), 0.5)
BAD_Y = {
    "short": (Y[:-1], r"\[40, 39\]"), "long": (np.append(Y, 1), r"\[40, 41\]"),
    "None": (None, r"y is None|requires y"), "scalar": (1, r"y should be a 1d array.*\(\)"),
    "3-D": (Y.reshape(-1, 1, 1), r"y should be a 1d array.*\(40, 1, 1\)"),
    "ragged": ([[1], [1, 2]] * 20, r"\by is not"), "complex": (Y + 0j, r"complex128"),
    "NaN": (put(Y * 1.0, 9, np.nan), r"y contains NaN.* 9\b"), "dates": (Y.astype("M8[D]"), r"datetime64"),
    "inf": (put(Y * 1.0, 9, np.inf), r"y contains infinity.* 9\b"),
    "list in it": (put(OBJECTS, 9, [1, 2]), r"y (has|contains) .*\[1, 2\].* row 9\b"),
    "None in it": (put(OBJECTS, 9, None), r"y .*(None|NaN).* 9\b"),
}
BAD_LABELS = BAD_Y | {
    "2-D": (np.column_stack([Y, Y + 1]), r"y should be a 1d array.*\(40, 2\)"),
    "continuous": (put(Y * 1.0, 9, 0.25), r"continuous.*0\.25"), "mixed": (put(OBJECTS, 9, "a"), r"text and numbers"),
    "continuous objects": (put(OBJECTS, 9, 0.25), r"continuous.*0\.25"),
    "NaN in text": (put(TEXT, 9, np.nan), r"contains NaN.* row 9"), "NA": (put(TEXT, 9, pd.NA), r"contains .* row 9\b"),
}
BAD_TARGETS = BAD_Y | {
    "text": (np.where(Y, "a", "b"), r"y has dtype <U1"), "mixed": (put(OBJECTS, 9, "a"), r"'a' at row 9\b"),
}
BAD_SOFT = {name: BAD_Y[name] for name in ("short", "None", "ragged", "NaN")} | {
    "sum": (put(HALVES, 9, 0.6), r"sum to 1; row 9 "), "negative": (put(HALVES, 9, [1.5, -0.5]), r">= 0.*row 9 "),
    "rows": (np.eye(2), r"\[40, 2\]"), "text": (np.full((N, 2), "a"), "dtype <U1"), "NaN all": (HALVES * np.nan, "NaN"),
}
MODELS = {
    "hinge": (classifier(), BAD_LABELS), "real": (regressor(), BAD_TARGETS),
    "softmax": (classifier(loss="softmax"), BAD_SOFT),
}
# fmt: on


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind in MODELS for case in MODELS[kind][1]])
def test_bad_y(kind, case):
    model, (bad, message) = copy.deepcopy(MODELS[kind][0]), MODELS[kind][1][case]
    first = {} if kind == "real" else {"classes": [0, 1]}
    for how in ("fit", "partial_fit") if kind == "softmax" else ("fit", "partial_fit", "score"):
        if how == "score":
            model.fit(X, Y)
        with pytest.raises(EITHER if case == "list in it" else ValueError, match=message):
            getattr(model, how)(X, bad, **(first if how == "partial_fit" else {}))


def test_one_class():
    for y, label in ((np.ones(N, int), "1"), (["only"] * N, "'only'")):
        with pytest.raises(ValueError, match=f"number of classes.*one; got 1 class: {label} in every row"):
            classifier().fit(X, y)


def test_column_y_is_taken_with_a_warning():
    for make, y in ((classifier, Y), (regressor, T)):
        with pytest.warns(UserWarning, match="column-vector y") as caught:
            model = make().fit(X, y[:, None])
        assert caught[0].filename == __file__
        np.testing.assert_array_equal(model.coef_, make().fit(X, y).coef_)


def test_target_beyond_float32_is_refused_on_float32_rows():
    for how in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=r"y .*(infinity|float32|large)"):
            getattr(regressor(), how)(X.astype(np.float32), put(T, 9, 1e300))


# fmt: off
CLASSES = [  # of the first partial_fit
    (None, Y, "classes must be passed on the first call"), ([0], Y * 0, r"number of classes.* 1 class"),
    ([], Y, r"number of classes.* 0 class"), ([[0, 1]], Y, r"classes .*1d.*\(1, 2\)"),
    ([0, None], Y, r"classes .*None.* 1\b"),
    (3, Y, r"\bclasses\b"), ({0, 1}, Y, r"\bclasses\b"), ([0, 1], put(Y, 7, 5), r"label .*5.* row 7,.*\[0, 1\]"),
    ([1, 2], Y, r"label .*0.* row \d+,.*\[1, 2\]"), ([0, 1], put(Y, 7, -1), r"label .*-1.* row 7,"),
    (["a", "b"], put(np.where(Y, "a", "b"), 7, "c"), r"label .*'c'.* row 7,.*\['a', 'b'\]"),
    (["a", "b"], Y, r"label .* row 0,.*\['a', 'b'\]"), ([0, 1], Y.astype(str), r"label .* row 0,.*\[0, 1\]"),
    ([0, 1], Y.astype(str).astype(object), r"label .* row 0,.*\[0, 1\]"),
]
# fmt: on


@pytest.mark.parametrize(("classes", "y", "message"), CLASSES, ids=lambda value: str(value)[:12])
def test_classes_of_the_first_partial_fit(classes, y, message):
    model = classifier()
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, y, classes=classes)
    assert not hasattr(model, "coef_")


def test_classes_of_a_later_partial_fit():
    model = classifier().partial_fit(X, Y, classes=[0, 1])
    for classes in ([0, 2], [0, 1, 2], [0], ["a", "b"]):
        with pytest.raises(ValueError, match=rf"classes={re.escape(repr(classes))}.*not the same.*\[0, 1\]"):
            model.partial_fit(X, Y, classes=classes)
    refuses("partial_fit", X, r"'balanced' is not supported", model=classifier(class_weight="balanced").fit(X, Y))
    refuses("partial_fit", X, r"early_stopping .*partial_fit", model=classifier(early_stopping=True).fit(X, Y))
    with pytest.raises(ValueError, match=r"label .*2.* row 3,.*\[0, 1\]"):
        model.partial_fit(X, put(Y, 3, 2))
    model.partial_fit(X[:3], Y[:3], classes=[1, 0])
    with pytest.raises(ValueError, match="2 columns for 3 classes"):
        classifier(loss="softmax").fit(X, Y3).partial_fit(X, np.full((N, 2), 0.5))
