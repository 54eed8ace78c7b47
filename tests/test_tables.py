"""Tables of pandas, polars and pyarrow, sparse columns, and arrays of other libraries."""

import datetime
import sys
import tracemalloc
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from bad_input import X, Y, classifier, regressor, run

from fastsgd import _frames
from fastsgd._validation import check_rows

N, D = X.shape
NAMES = list("abcde")
COLUMNS = dict(zip(NAMES, X.T, strict=True))
MIXED = {
    "a": X[:, 0].astype("f4"), "b": (X[:, 1] * 4).astype("i2"), "c": X[:, 2], "d": X[:, 3] > 0,
    "e": (X[:, 4] * 4 + 16).astype("u1"),
}  # fmt: skip
MATRIX = np.column_stack([column.astype(np.float64) for column in MIXED.values()])
NULLABLE = {"int16": "Int16", "float32": "Float32", "bool": "boolean", "uint8": "UInt8"}
ARROW = {"int16": "int16[pyarrow]", "float64": "double[pyarrow]", "bool": "bool[pyarrow]", "uint8": "uint8[pyarrow]"}


def nullable(frame, kinds):
    return frame.astype({name: kinds.get(str(kind), kind) for name, kind in frame.dtypes.items()})


LIBRARIES = {
    "pandas": pd.DataFrame,
    "pandas nullable": lambda columns: nullable(pd.DataFrame(columns), NULLABLE),
    "pandas arrow": lambda columns: nullable(pd.DataFrame(columns), ARROW),
    "pandas object": lambda columns: pd.DataFrame(columns).astype(object),
    "pandas sparse": lambda columns: pd.DataFrame({name: pd.arrays.SparseArray(v) for name, v in columns.items()}),
    "pandas, some sparse": lambda columns: pd.DataFrame(columns).assign(b=pd.arrays.SparseArray(columns["b"])),
    "polars": pl.DataFrame,
    "polars in chunks": lambda columns: pl.concat(
        [pl.DataFrame(columns)[:7], pl.DataFrame(columns)[7:]], rechunk=False
    ),
    "pyarrow": pa.table,
    "pyarrow batch": pa.RecordBatch.from_pydict,
    "pyarrow in chunks": lambda columns: pa.concat_tables([pa.table(columns)[:7], pa.table(columns)[7:]]),
}
FEW = ["pandas", "polars", "pyarrow"]


def rows_of(table, **options):
    rows = check_rows(table, **options)
    if rows.sparse:
        return sp.csr_array((rows.data, rows.indices, rows.indptr), rows.shape).toarray()
    return rows.data.reshape(rows.shape)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("columns", [COLUMNS, MIXED])
def test_a_table_trains_as_its_matrix(library, columns):
    table, matrix = LIBRARIES[library](columns), X if columns is COLUMNS else MATRIX
    np.testing.assert_array_equal(rows_of(table), matrix)
    for make, y in ((classifier, Y), (regressor, X[:, 0] + 1)):
        options = {"learning_rate": "constant", "eta0": 1e-3}
        model, usual = make(**options).fit(table, y), make(**options).fit(matrix, y)
        assert list(model.feature_names_in_) == NAMES
        assert model.feature_names_in_.dtype == object
        np.testing.assert_allclose(model.coef_, usual.coef_, rtol=1e-9)
        np.testing.assert_allclose(model.predict(table), usual.predict(matrix), rtol=1e-9)
        assert model.partial_fit(table, y).score(table, y) == pytest.approx(
            usual.partial_fit(matrix, y).score(matrix, y)
        )


@pytest.mark.parametrize("library", FEW)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (1, 3), (5, 1), (1000, 200), (3, 2000)])
def test_tables_of_all_sizes(library, n, d):
    A = np.random.default_rng(n).normal(size=(n, d))
    A[:, d // 2] = A[:, d // 2].round()
    columns = {f"x{j}": A[:, j] if j != d // 2 else A[:, j].astype(int) for j in range(d)}
    np.testing.assert_array_equal(rows_of(LIBRARIES[library](columns)), A)


@pytest.mark.parametrize("library", LIBRARIES)
def test_dtypes_of_tables(library):
    f4 = {name: values.astype("f4") for name, values in COLUMNS.items()}
    assert rows_of(LIBRARIES[library](COLUMNS)).dtype == np.float64
    assert rows_of(LIBRARIES[library](f4)).dtype == (np.float64 if "object" in library else np.float32)
    assert rows_of(LIBRARIES[library](MIXED), dtype=np.float32).dtype == np.float32
    overflow = {**f4, "c": np.full(N, 1e300)}
    with pytest.raises(ValueError, match=r"infinity at row 0, column 2 \('c'\)"):
        check_rows(LIBRARIES[library](overflow), dtype=np.float32)


def test_one_block_is_not_copied():
    A = np.ones((1000, 4000), np.float32)
    batch = {"x": pa.array(A.reshape(-1))}
    for table in (pd.DataFrame(A, copy=False), pa.table(batch), pl.DataFrame(pl.from_arrow(pa.table(batch)))):
        tracemalloc.start()
        try:
            rows = check_rows(table)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
        assert np.shares_memory(rows.data, A)


def test_sparse_columns_stay_sparse():
    d, n = 2000, 20_000  # 320 MB as a matrix
    rng = np.random.default_rng(1)
    A = sp.coo_array((rng.normal(size=n * 2), (rng.integers(0, n, n * 2), rng.integers(0, d, n * 2))), (n, d)).tocsc()
    frame = pd.DataFrame.sparse.from_spmatrix(A)
    frame[7] = 1.0  # a dense column among them
    A = A.tolil()
    A[:, [7]] = 1.0
    tracemalloc.start()
    try:
        rows = check_rows(frame)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    got = sp.csr_array((rows.data, rows.indices, rows.indptr), rows.shape)
    assert got.has_canonical_format
    assert abs(got - A.tocsr()).nnz == 0


# fmt: off
def day(n):
    return [datetime.date(2020, 1, 2)] * n


BAD_COLUMNS = {  # for every library: values, what the message says of them
    "text": (["red"] * N, r"'red' at row 0, column 1 \('hue', dtype "),
    "text after nothing": ([None, None, "red"] * (N // 3) + [None], r"'red' at row 2, column 1 \('hue', dtype "),
    "numbers as text": (["1.5"] * N, r"'1.5' at row 0, column 1 \('hue', dtype "),
    "dates": (day(N), r"2020.* at row 0, column 1 \('hue', dtype "),
}
BAD_FRAMES = {
    "pandas category": (pd.Series(list("abcd") * 10, dtype="category"), r"'a' at row 0, .*'hue', dtype category"),
    "pandas category of numbers": (pd.Series([1, 2] * 20, dtype="category"), r"1 at row 0, .*'hue', dtype category"),
    "pandas mixed": (pd.Series([1, 2, 3, "red"] * 10, dtype=object), r"'red' at row 3, .*'hue', dtype object"),
    "pandas NA": (pd.Series([1, pd.NA] * 20, dtype=object), r"NaN at row 1, column 1 \('hue'\)"),
    "pandas list": (pd.Series([[1]] * N), r"\[1\] at row 0, .*'hue', dtype object"),
    "pandas complex": (pd.Series([1j] * N), r"1j at row 0, .*'hue', dtype complex128"),
    "pandas dates": (pd.to_datetime(pd.Series(["2020-01-02"] * N), utc=True), r"2020.*'hue', dtype datetime64.*UTC"),
    "polars category": (pl.Series(["a"] * N, dtype=pl.Categorical), r"'a' at row 0, .*'hue', dtype Categorical"),
    "polars enum": (pl.Series(["a"] * N, dtype=pl.Enum(["a"])), r"'a' at row 0, .*'hue', dtype Enum"),
    "polars list": (pl.Series([[1, 2]] * N), r"'hue', dtype List"),
    "polars null": (pl.Series([None] * N), r"no number in column 1 \('hue', dtype Null\)"),
    "pyarrow dictionary": (pa.array(["a"] * N).dictionary_encode(), r"'a' at row 0, .*'hue', dtype dictionary"),
    "pyarrow null": (pa.nulls(N), r"column 1 \('hue', dtype null\)"),
}
# fmt: on


@pytest.mark.parametrize("library", FEW)
@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_a_column_of_no_numbers_is_named(library, case):
    values, message = BAD_COLUMNS[case]
    model = classifier().fit(LIBRARIES[library]({"a": X[:, 0], "hue": X[:, 1]}), Y)
    for how in (classifier().fit, model.partial_fit, model.score):
        with pytest.raises(ValueError, match=message):
            how(LIBRARIES[library]({"a": X[:, 0], "hue": values}), Y)


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_a_column_of_a_librarys_own_kind_is_named(case):
    values, message = BAD_FRAMES[case]
    with pytest.raises((ValueError, TypeError), match=message):
        classifier().fit(LIBRARIES[case.split()[0]]({"a": X[:, 0], "hue": values}), Y)


@pytest.mark.parametrize("library", FEW)
@pytest.mark.parametrize("values", [[1, None, 3, 4], [1.5, None, 3.0, 4.0], [True, None, False, True]])
def test_missing_values(library, values):
    message = r"NaN at row 1, column 1 \('age'\)"
    table = LIBRARIES[library]({"a": [1.0, 2.0, 3.0, 4.0], "age": values})
    tables = [table]
    if library == "pandas":
        kind = {int: "Int64", float: "Float32", bool: "boolean"}[type(values[0])]
        arrow = {int: "int64[pyarrow]", float: "float[pyarrow]", bool: "bool[pyarrow]"}[type(values[0])]
        tables += [table.assign(age=pd.array(values, dtype=kind)), table.assign(age=pd.array(values, dtype=arrow))]
        tables += [table.assign(age=pd.arrays.SparseArray([1, np.nan, 0, 0]))]
    for table in tables:
        with pytest.raises(ValueError, match=message):
            classifier().fit(table, [0, 1, 0, 1])


def test_numbers_that_numpy_has_not():
    cents = [Decimal("1.25"), Decimal("-3.5")]
    for table in (
        pl.DataFrame({"a": cents}), pa.table({"a": cents}), pd.DataFrame({"a": cents}),
        pd.DataFrame({"a": pd.array(cents, dtype=pd.ArrowDtype(pa.decimal128(5, 2)))}),
    ):  # fmt: skip
        np.testing.assert_array_equal(rows_of(table), [[1.25], [-3.5]])
    wide = pl.DataFrame({"a": pl.Series([2**100, -1], dtype=pl.Int128), "b": [1.0, 2.0]})
    np.testing.assert_array_equal(rows_of(wide), [[2.0**100, 1], [-1, 2]])


def test_what_is_no_table_yet():
    with pytest.raises(ValueError, match=r"LazyFrame.*collect\(\)"):
        classifier().fit(pl.LazyFrame(COLUMNS), Y)
    for series in (pd.Series(X[:, 0]), pl.Series(X[:, 0]), pa.array(X[:, 0])):
        with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
            classifier().fit(series, Y)
    for library in FEW:
        with pytest.raises(ValueError, match="0 sample"):
            classifier().fit(LIBRARIES[library]({"a": np.empty(0)}), [])
    for empty in (pd.DataFrame(index=range(3)), pl.DataFrame(), pa.table({})):
        with pytest.raises(ValueError, match=r"Found array with 0 (sample|feature)"):
            classifier().fit(empty, [0, 1, 0])


# --- names


@pytest.mark.parametrize("library", FEW)
@pytest.mark.parametrize("kind", [classifier, regressor])
def test_names_are_checked_with_scikit_learns_words(library, kind):
    from sklearn.linear_model import SGDClassifier, SGDRegressor

    peer = {classifier: SGDClassifier, regressor: SGDRegressor}[kind](tol=None, max_iter=1)
    table = LIBRARIES[library](COLUMNS)
    model, peer = kind().fit(table, Y), peer.fit(table, Y)
    other = {
        "order": dict(reversed(COLUMNS.items())),
        "one more": {**COLUMNS, "f": X[:, 0]},
        "one less": {name: COLUMNS[name] for name in "abcd"},
        "others": {name.upper(): column for name, column in COLUMNS.items()} | {"z": X[:, 0], "a": X[:, 0]},
        "seven more": COLUMNS | {f"x{j}": X[:, 0] for j in range(7)},
    }
    for columns in other.values():
        with pytest.raises(ValueError, match="feature names should match") as expected:
            peer.predict(LIBRARIES[library](columns))
        for how in (model.predict, lambda table: model.partial_fit(table, Y), lambda table: model.score(table, Y)):
            with pytest.raises(ValueError, match="feature names should match") as caught:
                how(LIBRARIES[library](columns))
            assert str(caught.value) == str(expected.value)
    for fitted, given in ((table, X), (X, table)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kind().fit(fitted, Y).predict(given)
            peer.fit(fitted, Y).predict(given)
        ours, theirs = (str(warning.message) for warning in caught if warning.category is UserWarning)
        assert ours.replace("fastsgd.", "") == theirs
        assert caught[0].filename == __file__
    assert not hasattr(model.fit(X, Y), "feature_names_in_")


def test_names_that_are_no_text():
    frame = pd.DataFrame(X)
    assert not hasattr(classifier().fit(frame, Y), "feature_names_in_")
    model = classifier().fit(X, Y)
    before = model.coef_.copy()
    with pytest.raises(TypeError, match=r"only supported if all input features have string names.*\['int', 'str'\]"):
        model.fit(frame.rename(columns={0: "a"}), Y)
    np.testing.assert_array_equal(model.coef_, before)


# --- y, weights and arrays of other libraries


@pytest.mark.parametrize("series", [pd.Series, pl.Series, pa.array, lambda v: pa.chunked_array([v[:7], v[7:]])])
def test_targets_and_weights_from_tables(series):
    w = np.arange(1.0, N + 1)
    usual = classifier().fit(X, Y, sample_weight=w)
    np.testing.assert_array_equal(classifier().fit(X, series(Y), sample_weight=series(w)).coef_, usual.coef_)
    text = np.where(Y, "yes", "no")
    model = classifier().fit(X, series(text.tolist()), sample_weight=series(w))
    assert model.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(model.coef_, usual.coef_)
    with pytest.raises(ValueError, match=r"y contains NaN"):
        classifier().fit(X, series([*Y[:-1].tolist(), None]))


class Foreign:
    """An array that only speaks DLPack, or only `__array__`."""

    def __init__(self, values, protocol):
        self.values, self.shape = values, values.shape
        if protocol == "array":
            self.__class__ = type(
                "ForeignArray", (Foreign,), {"__array__": lambda s, *a, **k: np.asarray(s.values, *a)}
            )
        else:
            methods = {name: lambda s, *a, name=name, **k: getattr(s.values, name)(*a, **k) for name in DLPACK}
            self.__class__ = type("ForeignDLPack", (Foreign,), methods)


DLPACK = ("__dlpack__", "__dlpack_device__")


@pytest.mark.parametrize("protocol", ["array", "dlpack"])
def test_arrays_of_other_libraries(protocol):
    usual = classifier().fit(X, Y, sample_weight=np.ones(N))
    rows, y, w = (Foreign(values, protocol) for values in (X, Y, np.ones(N)))
    np.testing.assert_array_equal(classifier().fit(rows, y, sample_weight=w).coef_, usual.coef_)
    assert np.shares_memory(check_rows(rows).data, X)


def test_dlpack_of_another_device():
    class Remote:
        __dlpack_device__ = staticmethod(lambda: (2, 0))

        def __dlpack__(self, **options):
            raise BufferError("is on cuda:0")

    with pytest.raises(ValueError, match="X is not an array in main memory: is on cuda:0"):
        classifier().fit(Remote(), Y)


def test_masked_values_are_not_taken_for_numbers():
    masked = np.ma.masked_array(X, np.zeros((N, D), bool))
    np.testing.assert_array_equal(classifier().fit(masked, Y).coef_, classifier().fit(X, Y).coef_)
    masked[3, 2] = np.ma.masked
    model = classifier().fit(X, Y)
    for how in (classifier().fit, model.partial_fit, model.score):
        with pytest.raises(ValueError, match="X contains a masked value at row 3, column 2"):
            how(masked, Y)
    for make, y in ((classifier, Y), (regressor, X[:, 0])):
        with pytest.raises(ValueError, match="y contains a masked value at row 5"):
            make().fit(X, np.ma.masked_array(y, np.arange(N) == 5))
        with pytest.raises(ValueError, match="sample_weight contains a masked value at row 5"):
            make().fit(X, y, sample_weight=np.ma.masked_array(np.ones(N), np.arange(N) == 5))


def test_no_table_library_is_imported():
    names = "pandas", "polars", "pyarrow", "scipy", "sklearn"
    code = f"""if True:
        import sys, fastsgd
        fastsgd.SGDClassifier(max_iter=2, tol=None).fit([[0.0], [1.0]], [0, 1]).predict([[2.0]])
        print([name for name in {names} if name in sys.modules])"""
    assert run(code) == (0, "[]\n")
    assert not {"pandas", "polars", "pyarrow"} & {name for name in vars(_frames) if name in sys.modules}
