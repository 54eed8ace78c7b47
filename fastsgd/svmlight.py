"""Sparse rows in svmlight / LIBSVM text, read whole or in blocks."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from ._blocks import Source
from ._svmlight import Columns, Options, Rows, ZeroBased, chunks, index, split
from .core.svmlight import Chunk
from .io import CSR

__all__ = ["iter_svmlight", "load_svmlight"]


@overload
def load_svmlight(
    path: Source,
    *,
    n_features: int | None = ...,
    dtype: npt.DTypeLike = ...,
    multilabel: Literal[False] = ...,
    zero_based: ZeroBased = ...,
    query_id: Literal[False] = ...,
    offset: int = ...,
    length: int = ...,
    ensure_all_finite: bool = ...,
    n_jobs: int | None = ...,
) -> tuple[CSR, npt.NDArray[np.float64]]: ...
@overload
def load_svmlight(
    path: Source,
    *,
    n_features: int | None = ...,
    dtype: npt.DTypeLike = ...,
    multilabel: bool = ...,
    zero_based: ZeroBased = ...,
    query_id: bool = ...,
    offset: int = ...,
    length: int = ...,
    ensure_all_finite: bool = ...,
    n_jobs: int | None = ...,
) -> tuple[Any, ...]: ...
def load_svmlight(
    path: Source,
    *,
    n_features: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    multilabel: bool = False,
    zero_based: ZeroBased = "auto",
    query_id: bool = False,
    offset: int = 0,
    length: int = -1,
    ensure_all_finite: bool = True,
    n_jobs: int | None = None,
) -> tuple[Any, ...]:
    """Read a file in svmlight / LIBSVM format.

    Each line is `label [qid:N] index:value index:value ... [# comment]`; blank lines and comments are skipped, and
    pairs may come in any order. Values are rounded as Python's float() rounds them, then to `dtype`; zeros that the
    file spells out are stored. The parameters are those of scikit-learn's `load_svmlight_file`, and more.

    Parameters
    ----------
    path : str, path-like or file opened in binary mode
        Plain text, gzip, bzip2 or xz, which are recognised by their first bytes. "-" reads standard input. An open file
        is read from where it stands, and stays open.
    n_features : int, optional
        Columns of the result; by default as many as the file uses. Give a test file those of its training file.
    dtype : data-type, default numpy.float32
        float32 or float64, the type of the values.
    multilabel : bool, default False
        Whether a row has any number of labels, written `1,4,5`.
    zero_based : bool or "auto", default "auto"
        Whether the file counts features from 0 (True) or from 1 (False; ids are then shifted down by one).
        "auto" takes a file without an id 0 to count from 1, as scikit-learn does. A test file that happens to lack
        an id 0 that its training file has needs zero_based=True. With an offset or a length, "auto" means True, as in
        scikit-learn, because one range of a file does not tell.
    query_id : bool, default False
        Whether to return the query ids; every row must have one then. They are ignored otherwise.
    offset, length : int, default 0 and -1
        Read only the lines that begin in a range: after byte `offset` (at it, if that is 0) and up to byte
        `offset + length`; -1 is the end of the file. Ranges that adjoin share out the lines of a file, each to one of
        them. Bytes are counted in the text, so that a compressed file is decompressed up to the range.
        `n_features` is needed then.
    ensure_all_finite : bool, default True
        Whether `nan`, `inf` and numbers too large for their type are errors. If False, they are read as float()
        reads them.
    n_jobs : int, optional
        Threads to parse with: None is 1, -1 is one for each CPU. The result does not depend on it.

    Returns
    -------
    X : CSR
        Shape (n, d), columns increasing in each row; `indices` int32 if the ids fit, else int64; `indptr` int64.
    y : ndarray of float64, shape (n,), or list of n tuples of float if `multilabel`
        The labels; those of one row in increasing order.
    query_id : ndarray of int64, shape (n,)
        Only if `query_id` is True.

    Raises
    ------
    OSError
        If the file cannot be read, or changes while it is read.
    ValueError
        If a line is malformed (with its number, the text at fault and what to do), a feature id occurs twice in
        a row or does not fit `n_features`, the file holds no rows, or compressed data are damaged.

    References
    ----------
    https://www.cs.cornell.edu/people/tj/svm_light/
    """
    options = Options(
        path, n_features, dtype, multilabel, zero_based, query_id, offset, length, ensure_all_finite, n_jobs
    )
    return _load(options)[0]


def read_svmlight(
    path: Source,
    n_features: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    zero_based: ZeroBased = "auto",
    n_jobs: int | None = None,
) -> tuple[CSR, npt.NDArray[np.float64], bool]:
    """`load_svmlight`, and whether the file was found, or said, to count features from 0."""
    (X, y), first = _load(Options(path, n_features, dtype, zero_based=zero_based, n_jobs=n_jobs))
    return X, y, first == 0


def _load(options: Options) -> tuple[tuple[Any, ...], int]:
    columns = Columns(options)
    rows = Rows(columns)
    for chunk in chunks(options, 0 if options.threads == 1 else options.threads):
        rows.append(columns.check(chunk))
    columns.settle()
    return rows.finish(), columns.first


@overload
def iter_svmlight(
    path: Source,
    *,
    rows: int = ...,
    n_features: int | None = ...,
    dtype: npt.DTypeLike = ...,
    multilabel: Literal[False] = ...,
    zero_based: ZeroBased = ...,
    query_id: Literal[False] = ...,
    offset: int = ...,
    length: int = ...,
    ensure_all_finite: bool = ...,
    n_jobs: int | None = ...,
) -> Iterator[tuple[CSR, npt.NDArray[np.float64]]]: ...
@overload
def iter_svmlight(
    path: Source,
    *,
    rows: int = ...,
    n_features: int | None = ...,
    dtype: npt.DTypeLike = ...,
    multilabel: bool = ...,
    zero_based: ZeroBased = ...,
    query_id: bool = ...,
    offset: int = ...,
    length: int = ...,
    ensure_all_finite: bool = ...,
    n_jobs: int | None = ...,
) -> Iterator[tuple[Any, ...]]: ...
def iter_svmlight(
    path: Source,
    *,
    rows: int = 100_000,
    n_features: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    multilabel: bool = False,
    zero_based: ZeroBased = "auto",
    query_id: bool = False,
    offset: int = 0,
    length: int = -1,
    ensure_all_finite: bool = True,
    n_jobs: int | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Read a file in svmlight / LIBSVM format in blocks of rows, without ever holding all of it.

    Parameters
    ----------
    path : str, path-like or file opened in binary mode
        As in `load_svmlight`.
    rows : int, default 100,000
        Rows of a block; the last one may have fewer.
    n_features : int, optional
        Columns of each block. By default as many as the file has used so far, which may grow from block to block;
        `partial_fit` wants them the same in all, so give it.
    zero_based : bool or "auto", default "auto"
        As in `load_svmlight`. Whether there is an id 0 is known only at the end of a file, so "auto" decides when the
        first block is complete, and an id 0 that comes up later is an error: columns are those of `load_svmlight`, or
        there are none.
    dtype, multilabel, query_id, offset, length, ensure_all_finite
        As in `load_svmlight`.
    n_jobs : int, optional
        Threads that read and parse ahead, by a few megabytes of text, while the caller works on a block: None is 1,
        -1 is one for each CPU. The blocks do not depend on it.

    Yields
    ------
    X, y or X, y, query_id
        As `load_svmlight` returns them, of the next rows.

    Raises
    ------
    OSError, ValueError
        As in `load_svmlight`, when the iterator gets there.

    Examples
    --------
    >>> import fastsgd
    >>> model = fastsgd.SGDClassifier(loss="log_loss")
    >>> for X, y in fastsgd.iter_svmlight("tests/data/a9a.gz", rows=5_000, n_features=123):
    ...     model = model.partial_fit(X, y, classes=[-1, 1])
    """
    size = index(rows, "rows")
    if size < 1:
        raise ValueError(f"rows is {rows}; it must be at least 1")
    options = Options(
        path, n_features, dtype, multilabel, zero_based, query_id, offset, length, ensure_all_finite, n_jobs
    )
    return _iterate(options, size)


def parsed(
    path: Source,
    n_features: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    zero_based: ZeroBased = "auto",
    n_jobs: int | None = None,
) -> Generator[Chunk]:
    """The file in chunks of about a megabyte of text, checked, ids as in the text; parameters as in `iter_svmlight`."""
    options = Options(path, n_features, dtype, zero_based=zero_based, n_jobs=n_jobs)
    columns = Columns(options)
    for chunk in chunks(options, options.threads):
        yield columns.check(chunk)
    columns.settle()


def _iterate(options: Options, size: int) -> Iterator[tuple[Any, ...]]:
    columns = Columns(options)
    rows, room = Rows(columns), size
    for chunk in chunks(options, options.threads):
        rest = columns.check(chunk)
        while rest.lengths.size >= room:
            first, rest = split(rest, room)
            rows.append(first)
            columns.settle()
            yield rows.finish()
            rows, room = Rows(columns), size
        rows.append(rest)
        room -= rest.lengths.size
    columns.settle()
    if room < size:
        yield rows.finish()
