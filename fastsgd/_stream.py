"""Text that is never held: trained on while it is parsed, and from then on read back from a copy on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _blocks
from ._arrays import CHUNK, Array
from ._team import Piece
from ._training import BLOCKS, Stored
from ._validation import Rows
from .core import sgd
from .core.losses import Loss
from .core.state import State
from .core.svmlight import Chunk
from .disk import Base, RowWriter, open_csr

LOOKS = 64  # places of a file where the first look reads a label


@dataclass
class Coder:
    """Labels to targets as the kernel takes them, and to weights of rows.

    Attributes
    ----------
    classes : ndarray of float64, sorted, or None for a regression
    numbers : ndarray of shape (n_classes, 1)
        What stands for each class.
    per_class : ndarray of float64, or None
        The weight of each class.
    fitted : dict
        What the fitted estimator says of its classes.
    """

    name: str
    dtype: Any
    loss: Loss
    n_outputs: int = 1
    classes: Array | None = None
    numbers: Array | None = None
    per_class: Array | None = None
    fitted: dict[str, Any] = field(default_factory=dict)

    def __call__(self, labels: Array, first_row: int) -> tuple[Array, Array | None]:
        if self.classes is None or self.numbers is None:
            return labels.astype(self.dtype).reshape(-1, 1), None
        codes = np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)
        strangers = np.flatnonzero(self.classes[codes] != labels)
        if strangers.size:
            line = _line_of(self.name, first_row + int(strangers[0]))
            raise ValueError(
                f"{self.name}, {line}: label {labels[strangers[0]]:g} is not among those that a first look at the file "
                f"found, {', '.join(f'{c:g}' for c in self.classes[:5])}; name all labels with --classes"
            )
        return self.numbers[codes], None if self.per_class is None else self.per_class[codes]

    def all(self, labels: Array) -> tuple[Array, Array | None]:
        """Of a mapped column, in little memory besides."""
        targets = np.empty((labels.size, 1), self.dtype)
        weights = None if self.per_class is None else np.empty(labels.size)
        for first in range(0, labels.size, CHUNK):
            part = slice(first, first + CHUNK)
            targets[part], some = self(labels[part], first)
            if weights is not None:
                weights[part] = some
        return targets, weights


def _line_of(name: str, row: int) -> str:
    """Where a row is; its line if the file can be read again."""
    number = -1
    with suppress(OSError, ValueError):
        if os.path.isfile(name):
            lines = (line for text in _blocks.whole_lines(name) for line in text.split(b"\n")[:-1] or [text])
            for at, line in enumerate(lines, 1):
                number += bool(line.partition(b"#")[0].strip())
                if number == row:
                    return f"line {at}"
    return f"row {row}, counting from 0 the lines that hold one"


@dataclass
class Streamed:
    """Rows of a text: in the first epoch as they come, shuffled within a chunk; later by blocks from the cache.

    The state gets new columns as features turn up. While a text seems to count features from 1, column 0 is feature 1;
    should a feature 0 turn up after all, the columns move up by one. So the model is that of the whole text.

    Attributes
    ----------
    chunks : callable
        Parses the text from its beginning.
    cache : str or None
        A folder to keep the rows in, without which there is one epoch.
    durable : bool
        Whether the cache is to outlive the run.
    rows_per_epoch : int or None
        A guess at first.
    first : int
        The feature that column 0 of the state is.
    head : Chunk or None
        The first rows, for `sample`.
    """

    chunks: Callable[[], Iterator[Chunk]]
    coder: Coder
    state: State
    base: Callable[[], Base]
    shuffle: bool
    seed: int
    cache: str | None
    durable: bool
    rows_per_epoch: int | None
    first: int = 1
    notes: dict[str, Any] = field(default_factory=dict)
    known: Callable[[int], object] = lambda rows: None
    head: Chunk | None = None
    _used: Base | None = None
    _parsed: bool = False
    _stored: Stored | None = None

    def epoch(self, number: int) -> Iterator[Piece]:
        if number == 0:
            yield from self._train_on_text()
        else:
            if not self._parsed:  # resumed: the cache is to be made once more
                for _ in self._parse():
                    pass
                self._end_text()
            yield from self._open().epoch(number)

    def sample(self, size: int) -> Piece:
        assert self.head is not None
        self._used = self.base()
        self._used.see(self.head)
        indices = self._used.indices(self.head)
        random = np.random.default_rng((self.seed, 2**32))
        order = random.permutation(self.head.labels.size)[:size].astype(np.uint32)
        piece = self._piece(self.head.values, indices, self.head.lengths, self.head.labels, 0, order)
        return piece if self.shuffle else piece._replace(order=np.sort(piece.order))

    def _train_on_text(self) -> Iterator[Piece]:
        random = np.random.default_rng((self.seed, 0))
        for data, indices, lengths, labels, first_row in self._parse():
            order = np.arange(labels.size, dtype=np.uint32)
            seed = int(random.integers(2**63))
            if self.shuffle:
                sgd.shuffle(order, seed)
            yield self._piece(data, indices, lengths, labels, first_row, order)
        self._end_text()

    def _piece(
        self, data: Array, indices: Array, lengths: Array, labels: Array, first_row: int, order: Array
    ) -> Piece:  # fmt: skip
        """Rows of a chunk in this order, those of weight 0 left out; the state has room for them."""
        targets, weights = self.coder(labels, first_row)
        if weights is not None:
            order = order[weights[order] != 0]
        self._make_room()
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return Piece(Rows(data, indices, indptr, (labels.size, self.state.features)), targets, weights, order)

    def _end_text(self) -> None:
        self._make_room()
        self.close(self.state)
        self.known(self.rows_per_epoch or 0)

    def _parse(self) -> Iterator[tuple[Array, Array, Array, Array, int]]:
        base = self._used = self.base()
        rows = 0
        writer = RowWriter(self.cache, self.coder.dtype, base, self.durable) if self.cache else None
        with writer or nullcontext():
            for chunk in self.chunks():
                shift = base.see(chunk)
                indices = base.indices(chunk)
                if writer is not None:
                    writer.write(chunk, indices, shift)
                if chunk.labels.size:
                    yield chunk.values, indices, chunk.lengths, chunk.labels, rows
                rows += chunk.labels.size
            if writer is not None:
                writer.notes.update(self.notes)
                writer.finish()
        self.rows_per_epoch, self._parsed = rows, True

    def _open(self) -> Stored:
        if self._stored is None:
            assert self.cache is not None
            shape, _, arrays = open_csr(self.cache)
            data, indices, indptr, y = (np.asarray(arrays[name]) for name in ("data", "indices", "indptr", "y"))
            targets, weights = self.coder.all(y)
            order = np.arange(shape[0], dtype=np.uint32)
            rows = Rows(data, indices, indptr, shape)
            whole = Piece(rows, targets, weights, order)
            self._stored = Stored(whole, BLOCKS if self.shuffle else False, self.seed)
        return self._stored

    def _make_room(self) -> None:
        """Columns for the features seen so far, and some to spare."""
        assert self._used is not None
        state = self.state
        if self._used.first < self.first:
            _resize(state, lambda flat, each: np.concatenate([np.zeros(each, flat.dtype), flat]))
            self.first = self._used.first
        missing = self._used.width - state.features
        if missing > 0:
            more = missing if self._used.n_features else missing + self._used.width // 4
            _resize(state, lambda flat, each: np.concatenate([flat, np.zeros(more * each, flat.dtype)]))

    def close(self, state: State) -> None:
        if self._used is not None and self.first == self._used.first:
            size = max(self._used.width, 1)
            _resize(state, lambda flat, each: flat[: size * each].copy() if flat.size > size * each else flat)


def _resize(state: State, change: Callable[[Array, int], Array]) -> None:
    """Change the arrays that have so many numbers for each feature."""
    for name in ("weights", "average", "received", "gradient"):
        flat = getattr(state, name)
        if flat is not None:
            setattr(state, name, change(flat, state.pitch if name == "weights" else state.width))


def look_at_labels(path: str, chunk: Chunk) -> Array:
    """The labels of the first chunk, and of some lines all over the file if it is plain text that can be sought in."""
    found = set(chunk.labels.tolist())
    if os.path.isfile(path):
        with open(path, "rb") as file:
            compressed = file.read(1).strip(b"+-.0123456789 \t\r\n#\xef")
            size = 0 if compressed else os.fstat(file.fileno()).st_size
            for i in range(1, LOOKS):
                file.seek(size * i // LOOKS)
                file.readline()
                token = file.readline().split(None, 1)[:1]
                with suppress(ValueError):
                    found.update(map(float, token))
    return np.array(sorted(found))
