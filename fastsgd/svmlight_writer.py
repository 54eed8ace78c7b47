"""Rows to svmlight / LIBSVM text."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from . import _blocks
from ._arrays import Array, as_array, as_floats
from ._validation import Rows, check_values, read_rows
from .core.svmlight import LARGEST_ID
from .core.svmlight_writer import format_rows
from .io import replacing

__all__ = ["dump_svmlight"]

_ENTRIES = 1 << 16  # of X, that are made text at a time


def dump_svmlight(
    X: Any,
    y: Any,
    path: _blocks.Source,
    *,
    zero_based: bool = False,
    comment: str | bytes | None = None,
    query_id: npt.ArrayLike | None = None,
    multilabel: bool = False,
    ensure_all_finite: bool = True,
) -> None:
    """Write rows in svmlight / LIBSVM format.

    `load_svmlight` with X's dtype reads the same bits back: numbers are written as short as that allows. The parameters
    are those of scikit-learn's `dump_svmlight_file`; only the default of `zero_based` differs.

    Parameters
    ----------
    X : CSR, scipy.sparse matrix or array, table, array or nested sequence, (n, d)
        Stored zeros of a sparse matrix are written, zeros of a dense one are not. Columns need not be sorted.
    y : array_like of numbers, shape (n,)
        The labels. With `multilabel` n tuples of numbers, as `load_svmlight` returns them, or an (n, K) array or sparse
        matrix, of which the columns that are not 0 are the labels of a row.
    path : str, path-like or file opened in binary mode
        Suffix .gz, .bz2 or .xz compresses. A file of that name is replaced once the new one is complete. "-" writes to
        standard output. An open file stays open.
    zero_based : bool, default False
        Whether column 0 is written as 0 or as 1. A file that counts from 0 looks as if it counted from 1 if no row
        uses column 0; that, and what SVMlight and LIBSVM read, is why the default is not scikit-learn's.
    comment : str or bytes, optional
        Text for the top of the file.
    query_id : array_like of int, shape (n,), optional
        Written as `qid:N`; at least 0.
    multilabel : bool, default False
        Whether a row has any number of labels.
    ensure_all_finite : bool, default True
        Whether NaN and infinities are errors. If False, they are written, and `load_svmlight` reads them with the
        same option.

    Raises
    ------
    ValueError
        If X, y or query_id is malformed or they differ in length, a row has a column twice, or one has neither
        labels nor query id nor features, which the format cannot hold.
    OSError
        If the file cannot be written.

    References
    ----------
    Giulietti, The Schubfach way to render doubles (2020), for the shortest decimals.
    """
    rows = read_rows(X)
    n, d = rows.shape
    if d + 1 > LARGEST_ID:
        raise ValueError(f"X has {d} columns; ids up to {LARGEST_ID} fit")
    labels, ends = _label_sets(y, n) if multilabel else _labels(y, n)
    queries = None if query_id is None else _queries(query_id, n)
    if ensure_all_finite:
        _check_finite(rows, labels, ends)
    with _open(path) as file:
        if comment is not None:
            lines = (comment.encode() if isinstance(comment, str) else comment).splitlines()
            file.write(b"".join(b"# %s\n" % line for line in lines))
        for first, indptr, columns, values in _pieces(rows):
            last = first + indptr.size - 1
            text, twice = format_rows(
                labels[ends[first] : ends[last]],
                ends[first : last + 1] - ends[first],
                None if queries is None else queries[first:last],
                values,
                columns,
                indptr,
                0 if zero_based else 1,
            )
            if twice >= 0:
                raise ValueError(f"X has a column twice in row {first + twice}; sum_duplicates() of scipy merges them")
            if multilabel and queries is None:
                _check_not_empty(first, ends[first : last + 1], indptr)
            file.write(text.data)


def _labels(y: Any, n: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """One label a row: all labels, and where each row's end, after a 0."""
    labels = as_floats(as_array(y, "y"), np.float64, "y")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels.ravel()
    if labels.shape != (n,):
        raise ValueError(f"y has shape {labels.shape}, X has {n} rows; several labels a row need multilabel=True")
    return labels, np.arange(n + 1)


def _label_sets(y: Any, n: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Any number of labels a row: all labels, and where each row's end, after a 0."""
    if isinstance(y, (list, tuple)) and all(isinstance(row, tuple) for row in y):
        counts = np.array([len(row) for row in y], np.int64)
        labels = as_floats(as_array([label for row in y for label in row], "y"), np.float64, "y")
    else:
        matrix = read_rows(y)
        if matrix.indptr is None:
            rows, columns = np.nonzero(matrix.data.reshape(matrix.shape))
        else:
            used = np.flatnonzero(matrix.data[: matrix.nnz])
            rows, columns = np.searchsorted(matrix.indptr, used, side="right") - 1, matrix.indices[used]
        counts = np.bincount(rows, minlength=matrix.shape[0])
        labels = columns.astype(np.float64)
    if counts.size != n:
        raise ValueError(f"y has {counts.size} rows, X has {n}")
    return labels, np.concatenate(([0], np.cumsum(counts)))


def _queries(query_id: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    queries = as_array(query_id, "query_id")
    if queries.dtype.kind not in "iu" or queries.shape != (n,):
        raise ValueError(f"query_id has dtype {queries.dtype} and shape {queries.shape}, not integers of shape {(n,)}")
    bad = np.flatnonzero((queries < 0) | (queries > LARGEST_ID))
    if bad.size:
        raise ValueError(f"query_id is {queries[bad[0]]} in row {bad[0]}; it must be from 0 to {LARGEST_ID}")
    return queries.astype(np.int64)


def _check_finite(rows: Rows, labels: Array, ends: Array) -> None:
    advice = "drop it, or pass ensure_all_finite=False to write it"
    check_values(rows, advice=advice)
    bad = np.flatnonzero(~np.isfinite(labels))
    if bad.size:
        row = int(np.searchsorted(ends, bad[0], side="right")) - 1
        raise ValueError(f"Input y contains {labels[bad[0]]} in row {row}; {advice}")


def _check_not_empty(first: int, ends: Array, indptr: Array) -> None:
    """A row of nothing would be a blank line, which holds no row."""
    empty = np.flatnonzero((np.diff(ends) == 0) & (np.diff(indptr) == 0))
    if empty.size:
        raise ValueError(f"row {first + empty[0]} has neither labels nor features, which the format cannot hold")


def _pieces(rows: Rows) -> Iterator[tuple[int, Array, Array, Array]]:
    """(first row, indptr, columns, values) of some rows at a time; the first of indptr need not be 0."""
    n, d = rows.shape
    first = 0
    while first < n:
        if rows.indptr is None:
            last = min(n, first + max(1, _ENTRIES // max(d, 1)))
            block = rows.data[first * d : last * d].reshape(last - first, d)
            at, columns = np.nonzero(block)
            indptr = np.searchsorted(at, np.arange(last - first + 1))
            yield first, indptr, np.ascontiguousarray(columns), block[at, columns]
        else:
            last = int(np.searchsorted(rows.indptr, rows.indptr[first] + _ENTRIES, side="right")) - 1
            last = min(n, max(last, first + 1), first + _ENTRIES)
            yield first, rows.indptr[first : last + 1].astype(np.int64), rows.indices, rows.data
        first = last


@contextmanager
def _open(path: _blocks.Source) -> Iterator[IO[bytes]]:
    if not isinstance(path, (str, os.PathLike)):
        try:
            path.write(b"")
        except (AttributeError, TypeError):
            raise TypeError(
                f"a path or a file opened in binary mode, 'wb', is needed, not {type(path).__name__}"
            ) from None
        yield path
    elif path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        suffix = os.path.splitext(os.fsdecode(path))[1]
        with _naming(path), replacing(path) as file, _compressing(file, suffix) as compressed:
            yield compressed


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """An error of writing says where."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or os.fsdecode(path)
        raise


def _compressing(file: IO[bytes], suffix: str) -> AbstractContextManager[Any]:
    if suffix == ".gz":
        import gzip

        return gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6)
    if suffix == ".bz2":
        import bz2

        return bz2.open(file, "wb")
    if suffix == ".xz":
        import lzma

        return lzma.open(file, "wb")
    return nullcontext(file)
