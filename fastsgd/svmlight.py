"""Sparse rows in svmlight / LIBSVM text: read whole, read in blocks, written."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from . import _blocks
from ._blocks import Source
from ._threads import count_threads
from .core.svmlight import LARGEST_ID, Chunk, Malformed, parse
from .io import CSR

__all__ = ["iter_svmlight", "load_svmlight"]

Array: TypeAlias = npt.NDArray[Any]
ZeroBased: TypeAlias = bool | Literal["auto"]
Labels: TypeAlias = npt.NDArray[np.float64] | list[tuple[float, ...]]


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
    options = _Options(
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
    (X, y), first = _load(_Options(path, n_features, dtype, zero_based=zero_based, n_jobs=n_jobs))
    return X, y, first == 0


def _load(options: _Options) -> tuple[tuple[Any, ...], int]:
    columns = _Columns(options)
    chunks = [columns.check(chunk) for chunk in _chunks(options, 0 if options.threads == 1 else options.threads)]
    columns.settle()
    return _join(chunks, columns), columns.first


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
    size = _index(rows, "rows")
    if size < 1:
        raise ValueError(f"rows is {rows}; it must be at least 1")
    options = _Options(
        path, n_features, dtype, multilabel, zero_based, query_id, offset, length, ensure_all_finite, n_jobs
    )
    return _iterate(options, size)


def parsed(
    path: Source,
    n_features: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    zero_based: ZeroBased = "auto",
    n_jobs: int | None = None,
) -> Iterator[Chunk]:
    """The file in chunks of about a megabyte of text, checked, ids as in the text; parameters as in `iter_svmlight`."""
    options = _Options(path, n_features, dtype, zero_based=zero_based, n_jobs=n_jobs)
    columns = _Columns(options)
    for chunk in _chunks(options, options.threads):
        yield columns.check(chunk)
    columns.settle()


def _iterate(options: _Options, rows: int) -> Iterator[tuple[Any, ...]]:
    columns = _Columns(options)
    held: list[Chunk] = []
    n = 0
    for chunk in _chunks(options, options.threads):
        held.append(columns.check(chunk))
        n += chunk.lengths.size
        while n >= rows:
            columns.settle()
            n -= rows
            held[-1], rest = _split(held[-1], held[-1].lengths.size - n)
            yield _join(held, columns)
            held = [rest]
    columns.settle()
    if n:
        yield _join(held, columns)


@dataclass(frozen=True, slots=True)
class _Options:
    """What to read and how, checked."""

    path: Source
    n_features: int | None = None
    dtype: npt.DTypeLike = np.float32
    multilabel: bool = False
    zero_based: ZeroBased = "auto"
    query_id: bool = False
    offset: int = 0
    length: int = -1
    finite: bool = True
    n_jobs: int | None = None

    def __post_init__(self) -> None:
        if np.dtype(self.dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype is {np.dtype(self.dtype)}; svmlight files are read as float32 or float64")
        if self.zero_based not in (True, False, "auto"):
            raise ValueError(f"zero_based is {self.zero_based!r}; it must be True, False or 'auto'")
        if self.n_features is not None and not 1 <= _index(self.n_features, "n_features") <= LARGEST_ID + 1:
            raise ValueError(f"n_features is {self.n_features}; it must be at least 1 and at most {LARGEST_ID + 1}")
        if _index(self.offset, "offset") < 0:
            raise ValueError(f"offset is {self.offset}; it must be at least 0")
        if _index(self.length, "length") < 1 and self.length != -1:
            raise ValueError(f"length is {self.length}; it must be at least 1, or -1 for all that follows")
        if self.partial and self.n_features is None:
            raise ValueError("n_features is needed with offset or length: one range of a file may not use all columns")
        count_threads(None if self.n_jobs is None else _index(self.n_jobs, "n_jobs"))

    @property
    def partial(self) -> bool:
        return self.offset > 0 or self.length >= 0

    @property
    def name(self) -> str:
        return _blocks.name_of(self.path) + (f" from byte {self.offset}" if self.offset else "")

    @property
    def threads(self) -> int:
        return count_threads(self.n_jobs)


def _index(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it must be an int") from None


def _chunks(options: _Options, threads: int) -> Iterator[Chunk]:
    """The whole file in pieces, parsed by that many threads (0: by this one), their lines counted from 1."""
    texts = _blocks.whole_lines(options.path, options.offset, options.length)
    work = partial(
        parse,
        dtype=np.dtype(options.dtype),
        multilabel=options.multilabel,
        query_id=options.query_id,
        finite=options.finite,
    )
    line = 1
    try:
        for chunk in _blocks.in_order(work, texts, threads):
            yield chunk._replace(low_line=line + chunk.low_line, high_line=line + chunk.high_line)
            line += chunk.lines
    except Malformed as fault:
        raise ValueError(f"{options.name}, line {line + fault.line}: {fault.problem}") from None


class _Columns:
    """The range of feature ids: whether they count from 0 or from 1, and how many columns that makes."""

    def __init__(self, options: _Options) -> None:
        self.options = options
        self.rows, self.low, self.high, self.high_line = 0, LARGEST_ID, -1, 0
        self.known = options.zero_based != "auto" or options.partial
        self.first = 0 if self.known and options.zero_based else 1

    @property
    def width(self) -> int:
        return self.options.n_features or max(self.high + 1 - self.first, 0)

    def check(self, chunk: Chunk) -> Chunk:
        """The same chunk, if its ids agree with what is known."""
        name, n_features = self.options.name, self.options.n_features
        self.rows += chunk.lengths.size
        self.low = min(self.low, chunk.low)
        if self.known and self.low < self.first:
            why = "no row of the first block has one"
            if self.options.zero_based != "auto":
                why = "zero_based=False says that the file counts from 1"
            raise ValueError(
                f"{name}, line {chunk.low_line}: feature 0, but {why}; correct the line or pass zero_based=True"
            )
        self.first = min(self.first, self.low)
        if chunk.high > self.high:
            self.high, self.high_line = chunk.high, chunk.high_line
        if n_features is not None and self.high - self.first >= n_features:
            raise ValueError(
                f"{name}, line {self.high_line}: feature {self.high} is beyond n_features={n_features}, counting "
                f"from {self.first}; pass n_features={self.high + 1 - self.first} or more"
            )
        return chunk

    def settle(self) -> None:
        """From here on the ids count from where they seem to."""
        self.known = True
        if not self.rows and not self.options.partial:
            raise ValueError(f"{self.options.name}: no rows; the file is empty or holds only comments")


def _split(chunk: Chunk, rows: int) -> tuple[Chunk, Chunk]:
    """The first rows, and the others."""

    def halves(array: Array | None, at: int) -> tuple[Any, Any]:
        return (None, None) if array is None else (array[:at], array[at:])

    entries = int(chunk.lengths[:rows].sum())
    at = {"labels": rows if chunk.counts is None else int(chunk.counts[:rows].sum()), "ids": entries, "values": entries}
    names = ("labels", "counts", "queries", "lengths", "ids", "values")
    parts = {name: halves(getattr(chunk, name), at.get(name, rows)) for name in names}
    first, rest = (chunk._replace(**{name: parts[name][i] for name in names}) for i in (0, 1))
    return first, rest


def _join(chunks: list[Chunk], columns: _Columns) -> tuple[Any, ...]:
    """(X, y) or (X, y, query_id) of all rows. The list is emptied, and each part freed once it is copied."""
    labels, counts, queries, lengths, ids, values = ([getattr(c, name) for c in chunks] for name in Chunk._fields[:6])
    chunks.clear()
    indptr = np.zeros(sum(part.size for part in lengths) + 1, np.int64)
    np.cumsum(_concatenate(lengths, np.int64), out=indptr[1:])
    data = _concatenate(values, columns.options.dtype)
    narrow = columns.width <= np.iinfo(np.int32).max + 1
    indices = _concatenate(ids, np.int32 if narrow else np.int64, columns.first)
    X = CSR(data, indices, indptr, (indptr.size - 1, columns.width))
    flat = _concatenate(labels, np.float64)
    y: Labels = _tuples(flat, _concatenate(counts, np.int64)) if columns.options.multilabel else flat
    return (X, y, _concatenate(queries, np.int64)) if columns.options.query_id else (X, y)


def _concatenate(parts: list[Array], dtype: npt.DTypeLike, less: int = 0) -> Array:
    """One array of all parts, `less` subtracted."""
    whole = np.empty(sum(part.size for part in parts), dtype)
    at = whole.size
    while parts:
        part = parts.pop()
        at -= part.size
        if less:
            np.subtract(part, less, out=whole[at : at + part.size], casting="unsafe")
        else:
            whole[at : at + part.size] = part
    return whole


def _tuples(labels: Array, counts: Array) -> list[tuple[float, ...]]:
    flat, ends = labels.tolist(), np.cumsum(counts).tolist()
    return [tuple(sorted(flat[end - n : end])) for n, end in zip(counts.tolist(), ends, strict=True)]
