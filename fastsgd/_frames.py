"""Tables of pandas, polars and pyarrow -> a matrix, or CSR where columns are sparse, and the names of the columns.

None of these libraries is imported: whoever passes a table has imported its own. A table of any other library is read
as numpy reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from ._arrays import Array, float_type, is_missing, is_number
from .io import CSR

NO_TABLES = (np.ndarray, CSR, list)
VALUES_PER_BLOCK = 1 << 16  # half a megabyte of float64: what a block of rows writes stays in the cache


class Column(NamedTuple):
    """A column as its library has it, and whether that says that it holds numbers."""

    values: Any
    numeric: bool
    place: str  # for messages: "column 2 ('age', dtype str)"


def column_names(X: Any) -> list[Any] | None:
    """The names of a table's columns, whatever their types; None if X is no table."""
    if is_plain(X):
        return None
    _refuse_lazy(X)
    names = getattr(X, "column_names", None)  # pyarrow, whose `columns` are the values
    names = getattr(X, "columns", None) if names is None else names
    return None if names is None or callable(names) else list(names)


def unpack(X: Any, dtype: Any) -> Any:
    """A table as an ndarray, a view where it is one block of numbers, or as CSR; what is no table as it is.

    Raises
    ------
    ValueError
        If a column holds text, categories, dates or anything else that is no number; the message names it.
    """
    if is_plain(X):
        return X
    _refuse_lazy(X)
    if _is_a(X, "pandas", "DataFrame"):
        kinds = set(X.dtypes)
        if len(kinds) == 1 and isinstance(kind := kinds.pop(), np.dtype) and kind.kind in "fiub":
            return X.to_numpy()
        columns = list(_pandas_columns(X))
        if any(hasattr(column.values.dtype, "fill_value") for column in columns):
            return _join(columns, len(X), dtype)
    elif _is_a(X, "polars", "DataFrame"):
        columns = list(_polars_columns(X))
    elif _is_a(X, "pyarrow", "Table", "RecordBatch"):
        columns = list(_arrow_columns(X))
    else:
        return X
    return _stack([_numbers(column) for column in columns], X.shape, dtype)


def is_plain(X: Any) -> bool:
    """Whether X is of the commonest kinds that are no tables, told at once."""
    kind = type(X)  # a table may have a column `tocsr`, its type has not
    return kind in NO_TABLES or hasattr(kind, "tocsr")


def _refuse_lazy(X: Any) -> None:
    if _is_a(X, "polars", "LazyFrame"):
        raise ValueError("X is a LazyFrame, whose rows are not there yet; pass X.collect()")


def _is_a(X: Any, library: str, *kinds: str) -> bool:
    module = sys.modules.get(library)
    return any(isinstance(X, getattr(module, kind, ())) for kind in kinds)


def _place(j: int, name: Any, dtype: Any) -> str:
    return f"column {j} ({name!r}, dtype {dtype})"


def _pandas_columns(X: Any) -> Iterator[Column]:
    types = sys.modules["pandas"].api.types
    for j, (name, series) in enumerate(X.items()):
        dtype = series.dtype
        numeric = types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype) or types.is_object_dtype(dtype)
        if numeric and not isinstance(dtype, np.dtype) and not hasattr(dtype, "fill_value"):
            # Nullable: what is missing becomes NaN.
            small = np.dtype(getattr(dtype, "numpy_dtype", "O")) in (np.float32, np.float16)
            series = series.to_numpy(dtype=np.float32 if small else np.float64, na_value=np.nan)
        yield Column(series, numeric, _place(j, name, dtype))


def _polars_columns(X: Any) -> Iterator[Column]:
    polars = sys.modules["polars"]
    for j, series in enumerate(X.get_columns()):
        dtype = series.dtype
        if dtype.is_decimal() or str(dtype).endswith("128"):  # numpy has no such numbers
            series = series.cast(polars.Float64)
        numeric = dtype.is_numeric() or dtype in (polars.Boolean, polars.Object)
        yield Column(series, numeric, _place(j, series.name, dtype))


def _arrow_columns(X: Any) -> Iterator[Column]:
    types = sys.modules["pyarrow"].types
    for j, (name, column) in enumerate(zip(X.column_names, X.columns, strict=True)):
        tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
        yield Column(column, any(test(column.type) for test in tests), _place(j, name, column.type))


def _numbers(column: Column) -> Array:
    """The column as a numpy array of numbers, a view if it is one."""
    array = np.asarray(column.values)
    if column.numeric and array.dtype.kind in "fiub":
        return array
    values = array.tolist() if array.dtype.kind in "OUfiubc" else array
    if column.numeric and array.dtype.kind == "O" and not any(isinstance(value, (str, bytes)) for value in values):
        with suppress(TypeError, ValueError, OverflowError):
            return array.astype(np.float64)  # None becomes NaN
    for row, value in enumerate(values):
        number = column.numeric and not isinstance(value, (str, bytes)) and is_number(value)
        if not number and not is_missing(value):
            raise ValueError(
                f"X has {value!r:.80} at row {row}, {column.place}, where numbers belong; encode the column as numbers "
                "first, for example one-hot, or leave it out"
            )
    if column.numeric:
        return np.array([np.nan if is_missing(value) else float(value) for value in values])
    raise ValueError(f"X has no number in {column.place}; leave the column out")


def _stack(columns: list[Array], shape: tuple[int, int], dtype: Any) -> Array:
    """Columns -> a C-contiguous matrix, written once, some rows at a time."""
    if not columns:
        return np.empty(shape)
    if len(columns) == 1:
        return columns[0].reshape(shape)
    if dtype is None:
        dtype = float_type(reduce(np.promote_types, {column.dtype for column in columns}))
    matrix = np.empty(shape, dtype)
    step = max(128, VALUES_PER_BLOCK // len(columns))
    with np.errstate(over="ignore"):  # what overflows to infinity is reported by the check for that
        for first in range(0, shape[0], step):
            block = slice(first, first + step)
            for j, column in enumerate(columns):
                matrix[block, j] = column[block]
    return matrix


def _join(columns: list[Column], n: int, dtype: Any) -> CSR:
    """Columns, sparse ones and others -> CSR, without a dense matrix on the way."""
    entries = [_nonzeros(column) for column in columns]
    indptr = np.zeros(n + 1, np.int64)
    for rows, _ in entries:
        indptr[1:][rows] += 1
    np.cumsum(indptr, out=indptr)
    if dtype is None:
        dtype = float_type(reduce(np.promote_types, {values.dtype for _, values in entries}))
    data, indices = np.empty(indptr[-1], dtype), np.empty(indptr[-1], np.int32)
    ends = indptr[:-1].copy()  # of each row as far as it is filled
    with np.errstate(over="ignore"):
        for j, (rows, values) in enumerate(entries):
            at = ends[rows]
            data[at], indices[at] = values, j
            ends[rows] += 1
    return CSR(data, indices, indptr, (n, len(columns)))


def _nonzeros(column: Column) -> tuple[Array, Array]:
    """Row numbers and values of a column's entries."""
    if column.numeric and getattr(getattr(column.values, "dtype", None), "fill_value", None) == 0:
        array = column.values.array
        return array.sp_index.to_int_index().indices, array.sp_values
    values = _numbers(column)
    rows = np.flatnonzero(values)
    return rows, values[rows]
