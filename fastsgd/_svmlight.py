"""Parsed chunks of svmlight text put together: what to read, from where its ids count, its rows."""

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
from .core.svmlight import LARGEST_ID, Chunk, Malformed, Room, parse
from .io import CSR

Array: TypeAlias = npt.NDArray[Any]
ZeroBased: TypeAlias = bool | Literal["auto"]
Labels: TypeAlias = npt.NDArray[np.float64] | list[tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Options:
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
        if self.n_features is not None and not 1 <= index(self.n_features, "n_features") <= LARGEST_ID + 1:
            raise ValueError(f"n_features is {self.n_features}; it must be at least 1 and at most {LARGEST_ID + 1}")
        if index(self.offset, "offset") < 0:
            raise ValueError(f"offset is {self.offset}; it must be at least 0")
        if index(self.length, "length") < 1 and self.length != -1:
            raise ValueError(f"length is {self.length}; it must be at least 1, or -1 for all that follows")
        if self.partial and self.n_features is None:
            raise ValueError("n_features is needed with offset or length: one range of a file may not use all columns")
        count_threads(None if self.n_jobs is None else index(self.n_jobs, "n_jobs"))

    @property
    def partial(self) -> bool:
        return self.offset > 0 or self.length >= 0

    @property
    def name(self) -> str:
        return _blocks.name_of(self.path) + (f" from byte {self.offset}" if self.offset else "")

    @property
    def threads(self) -> int:
        return count_threads(self.n_jobs)


def index(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it must be an int") from None


def chunks(options: Options, threads: int) -> Iterator[Chunk]:
    """The whole file in pieces, parsed by that many threads (0: by this one), their lines counted from 1."""
    texts = _blocks.whole_lines(options.path, options.offset, options.length)
    work = partial(
        parse,
        dtype=np.dtype(options.dtype),
        multilabel=options.multilabel,
        query_id=options.query_id,
        finite=options.finite,
        room=Room(),
    )
    line = 1
    try:
        for chunk in _blocks.in_order(work, texts, threads):
            yield chunk._replace(low_line=line + chunk.low_line, high_line=line + chunk.high_line)
            line += chunk.lines
    except Malformed as fault:
        raise ValueError(f"{options.name}, line {line + fault.line}: {fault.problem}") from None


class Columns:
    """The range of feature ids: whether they count from 0 or from 1, and how many columns that makes."""

    def __init__(self, options: Options) -> None:
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


def split(chunk: Chunk, rows: int) -> tuple[Chunk, Chunk]:
    """The first rows, and the others."""

    def halves(array: Array | None, at: int) -> tuple[Any, Any]:
        return (None, None) if array is None else (array[:at], array[at:])

    entries = int(chunk.lengths[:rows].sum())
    at = {"labels": rows if chunk.counts is None else int(chunk.counts[:rows].sum()), "ids": entries, "values": entries}
    names = ("labels", "counts", "queries", "lengths", "ids", "values")
    parts = {name: halves(getattr(chunk, name), at.get(name, rows)) for name in names}
    first, rest = (chunk._replace(**{name: parts[name][i] for name in names}) for i in (0, 1))
    return first, rest


class _Growing:
    """An array that takes more at its end: in place, as far as the system can, so that two are never needed."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.array = np.empty(1000, dtype)
        self.size = 0

    def append(self, part: Array) -> None:
        end = self.size + part.size
        if part.dtype.itemsize > self.array.dtype.itemsize:
            self.array = self.array.astype(part.dtype)
        if end > self.array.size:
            self.array.resize(max(end, self.array.size + self.array.size // 4), refcheck=False)
        self.array[self.size : end] = part
        self.size = end

    def finish(self) -> Array:
        self.array.resize(self.size, refcheck=False)
        return self.array


class Rows:
    """Chunks put together."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.parts = {name: _Growing(np.int64) for name in ("counts", "queries", "lengths")}
        self.parts |= {"labels": _Growing(np.float64), "ids": _Growing(np.int32)}
        self.parts["values"] = _Growing(columns.options.dtype)

    def append(self, chunk: Chunk) -> None:
        for name, part in self.parts.items():
            if (array := getattr(chunk, name)) is not None:
                part.append(array)

    def finish(self) -> tuple[Any, ...]:
        """(X, y) or (X, y, query_id)."""
        counts, queries, lengths, labels, ids, values = (part.finish() for part in self.parts.values())
        width, options = self.columns.width, self.columns.options
        ids -= self.columns.first
        ids = ids.astype(np.int32 if width <= np.iinfo(np.int32).max + 1 else np.int64, copy=False)
        indptr = np.zeros(lengths.size + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        X = CSR(values, ids, indptr, (lengths.size, width))
        y: Labels = _tuples(labels, counts) if options.multilabel else labels
        return (X, y, queries) if options.query_id else (X, y)


def _tuples(labels: Array, counts: Array) -> list[tuple[float, ...]]:
    flat, ends = labels.tolist(), np.cumsum(counts).tolist()
    return [tuple(sorted(flat[end - n : end])) for n, end in zip(counts.tolist(), ends, strict=True)]
