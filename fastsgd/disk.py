"""Sparse rows on a disk: a folder of plain .npy files that training maps into memory.

The folder holds `fastsgd.json`, which names the arrays' files and says how many bytes each has and their checksum, and
those files. A new set of rows is written under new names beside the old one, and comes into force when the .json is
replaced: at every moment the folder holds all of the old rows, or all of the new.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ._arrays import Array
from ._blocks import PathLike, Source
from ._svmlight import ZeroBased
from .core.svmlight import Chunk
from .io import CSR, replacing, sync_folder
from .svmlight import parsed

__all__ = ["convert_svmlight", "load_csr", "save_csr"]

INDEX = "fastsgd.json"
_FORMAT, _VERSION = "fastsgd-csr", 1
_PIECE = 8 << 20  # bytes copied or checked at a time


def save_csr(path: PathLike, X: Any, y: npt.ArrayLike | None = None) -> None:
    """Write sparse rows to a folder, for `load_csr`.

    The folder appears complete or not at all; one that is there already keeps its rows until the new ones are whole.

    Parameters
    ----------
    path : str or path-like
        The folder; made if it does not exist, but not its parent.
    X : CSR or scipy.sparse matrix of shape (n, d)
    y : array_like of shape (n,), optional
        Labels or targets, of any dtype without Python objects.

    Raises
    ------
    TypeError
        If X is not sparse or y holds Python objects.
    ValueError
        If X is malformed or not finite, or y has another length.
    OSError
        If the folder cannot be written, or holds other things.
    """
    from ._validation import check_rows

    if not isinstance(X, CSR) and not hasattr(X, "tocsr"):
        raise TypeError(f"X is a {type(X).__name__}; save_csr takes sparse rows (keep a dense array with numpy.save)")
    rows = check_rows(X)
    arrays: dict[str, Any] = {"data": rows.data[: rows.nnz], "indices": rows.indices[: rows.nnz], "indptr": rows.indptr}
    if y is not None:
        arrays["y"] = np.asarray(y)
        if arrays["y"].dtype.hasobject:
            raise TypeError("y holds Python objects; convert it to numbers or to a fixed-width string dtype")
        if arrays["y"].shape != rows.shape[:1]:
            raise ValueError(f"y has shape {arrays['y'].shape}; X has {rows.shape[0]} rows")
    with _Writer(path) as writer:
        for name, array in arrays.items():
            column = writer.column(name, array.dtype)
            for first in range(0, array.size, _PIECE):
                column.append(array[first : first + _PIECE])
        writer.commit(rows.shape)


def load_csr(path: PathLike, *, verify: bool = False) -> tuple[CSR, Array | None]:
    """Map the rows of a folder that `save_csr` or `convert_svmlight` wrote.

    Nothing is read yet: an estimator reads from the disk what it trains on. To train on more than memory holds, give it
    `shuffle="blocks"`, which visits the rows in an order that a disk can follow.

    Parameters
    ----------
    path : str or path-like
    verify : bool, default=False
        Whether to read everything and compare the checksums. Otherwise only sizes and types are compared, which finds a
        truncated or foreign file, but not a flipped bit.

    Returns
    -------
    X : CSR
        Its arrays are read-only numpy.memmap.
    y : ndarray of shape (n,), mapped too, or None if there are no labels

    Raises
    ------
    OSError
        If there is no such folder or it cannot be read.
    ValueError
        If the folder holds no complete rows, a file is damaged (its name is given), or comes from a newer version.
    """
    shape, _, arrays = open_csr(path, verify=verify)
    return CSR(arrays["data"], arrays["indices"], arrays["indptr"], shape), arrays.get("y")


def open_csr(path: PathLike, *, verify: bool = False) -> tuple[tuple[int, int], dict[str, Any], dict[str, Array]]:
    """Shape, what the writer noted, and the arrays by name, mapped."""
    while True:
        header = _read_index(path)
        try:
            arrays = {name: _map(path, name, entry, verify) for name, entry in header["arrays"].items()}
            break
        except FileNotFoundError:
            if _read_index(path) == header:  # else a writer has just replaced the rows
                raise
    n, _ = shape = (int(header["shape"][0]), int(header["shape"][1]))
    sizes = {"indptr": n + 1, "data": header["nnz"], "indices": header["nnz"], "y": n}
    for name in (*list(sizes)[:3], *arrays):
        if name not in arrays or arrays[name].shape != (sizes[name],):
            raise ValueError(f"{os.fsdecode(path)}: {INDEX} contradicts itself about {name}; convert the rows again")
    return shape, header["notes"], arrays


def convert_svmlight(
    source: Source,
    path: PathLike,
    *,
    n_features: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    zero_based: ZeroBased = "auto",
    n_jobs: int | None = None,
) -> None:
    """Turn a file in svmlight format into a folder for `load_csr`, in memory that does not grow with the file.

    Parameters
    ----------
    source : str, path-like or binary file
        As for `load_svmlight`.
    path : str or path-like
        The folder, as for `save_csr`: it appears complete or not at all.
    n_features, dtype, zero_based, n_jobs
        As for `load_svmlight`.

    Raises
    ------
    OSError, ValueError
        As for `load_svmlight` and `save_csr`.
    """
    base = Base(n_features, zero_based)
    with RowWriter(path, dtype, base) as writer:
        for chunk in parsed(source, n_features, dtype, zero_based, n_jobs):
            shift = base.see(chunk)
            writer.write(chunk, base.indices(chunk), shift)
        writer.finish()


class _Column:
    """One .npy file that grows."""

    def __init__(self, file: IO[bytes], dtype: npt.DTypeLike, durable: bool) -> None:
        self.file, self.dtype, self.durable, self.size, self.crc = file, np.dtype(dtype), durable, 0, 0
        self._write_header()
        self.offset = file.tell()

    def _write_header(self) -> None:
        # numpy pads a header so that the first length can grow in place.
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.size,)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def append(self, values: Array) -> None:
        raw = np.ascontiguousarray(values, self.dtype).view(np.uint8).data
        self.file.write(raw)
        if self.durable:
            self.crc = zlib.crc32(raw, self.crc)
        self.size += values.size

    def pieces(self) -> Iterator[Array]:
        """What has been written, read back."""
        self.file.seek(self.offset)
        while raw := self.file.read(_PIECE):
            yield np.frombuffer(raw, self.dtype)

    def close(self) -> dict[str, Any]:
        """Complete the file; its entry for the index."""
        self.file.seek(0)
        self._write_header()
        self.file.flush()
        if self.durable:
            os.fsync(self.file.fileno())
        self.file.close()
        return {"dtype": self.dtype.str, "size": self.size, "crc32": self.crc}


class _Writer:
    """Arrays on their way into a folder; leaving without `commit` removes what was written."""

    def __init__(self, path: PathLike, durable: bool = True) -> None:
        self.path, self.durable = os.fsdecode(path), durable
        self.columns: dict[str, _Column] = {}
        self.notes: dict[str, Any] = {}
        self.made = False

    def __enter__(self) -> Any:
        try:
            os.mkdir(self.path)
            self.made = True
        except FileExistsError:
            _refuse_foreign(self.path)
        self.lock = _lock(self.path)
        _sweep(self.path)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for column in self.columns.values():
            column.file.close()
        if kind is not None:
            _sweep(self.path)
            if self.made:
                with suppress(OSError):
                    os.rmdir(self.path)
        if self.lock is not None:
            os.close(self.lock)

    def column(self, name: str, dtype: npt.DTypeLike) -> _Column:
        generation = 1 + max((_generation(file) for file in os.listdir(self.path)), default=0)
        if self.columns:
            generation = _generation(os.path.basename(next(iter(self.columns.values())).file.name))
        file = open(os.path.join(self.path, f"{name}.{generation}.npy"), "w+b")  # noqa: SIM115
        self.columns[name] = _Column(file, dtype, self.durable)
        return self.columns[name]

    def commit(self, shape: tuple[int, int]) -> None:
        """Put the new rows in force, and remove the old ones."""
        entries = {
            name: {"file": os.path.basename(column.file.name), **column.close()}
            for name, column in self.columns.items()
        }
        sync_folder(self.path)
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "shape": list(shape),
            "nnz": entries["data"]["size"],
            "notes": self.notes,
            "arrays": entries,
        }
        with replacing(os.path.join(self.path, INDEX)) as file:
            file.write(json.dumps({**content, "crc32": _crc(content)}, indent=1).encode())
        sync_folder(self.path)
        _sweep(self.path)


class Base:
    """Whether a text counts its features from 0 or from 1, as far as one can know yet, and how many there are.

    While no id 0 has been seen, a text that may count from 1 is taken to do so.
    """

    def __init__(self, n_features: int | None = None, zero_based: ZeroBased = "auto") -> None:
        self.n_features = n_features
        self.first, self.high = 0 if zero_based is True else 1, -1

    def see(self, chunk: Chunk) -> int:
        """By how much the columns of the chunks before move up: 1 at the first id 0, else 0."""
        self.high = max(self.high, chunk.high)
        shift = self.first if chunk.low == 0 else 0
        self.first -= shift
        return shift

    def indices(self, chunk: Chunk) -> Array:
        dtype = np.int32 if chunk.high - self.first <= np.iinfo(np.int32).max else np.int64
        indices = np.empty(chunk.ids.size, dtype)
        np.subtract(chunk.ids, self.first, out=indices, casting="unsafe")
        return indices

    @property
    def width(self) -> int:
        return max(self.high + 1 - self.first, 0) if self.n_features is None else self.n_features


class RowWriter(_Writer):
    """Parsed chunks on their way into a folder. Without `durable` it is for this run only: no checksums, no fsync."""

    def __init__(self, path: PathLike, dtype: npt.DTypeLike, base: Base, durable: bool = True) -> None:
        super().__init__(path, durable)
        self.dtype, self.base, self.nnz = np.dtype(dtype), base, 0

    def __enter__(self) -> RowWriter:
        super().__enter__()
        for name, dtype in (("data", self.dtype), ("indices", np.int32), ("indptr", np.int64), ("y", np.float64)):
            self.column(name, dtype)
        self.columns["indptr"].append(np.zeros(1, np.int64))
        return self

    def write(self, chunk: Chunk, indices: Array, shift: int) -> None:
        """Add a chunk; `shift` and `indices` are what the base says of it."""
        columns = self.columns
        dtype = np.int64 if indices.dtype == np.int64 else columns["indices"].dtype
        if self.base.high - self.base.first > np.iinfo(np.int32).max:
            dtype = np.dtype(np.int64)
        if shift or dtype != columns["indices"].dtype:
            self._rewrite_indices(shift, dtype)
        columns["data"].append(chunk.values)
        columns["indices"].append(indices)
        columns["indptr"].append(self.nnz + np.cumsum(chunk.lengths))
        columns["y"].append(chunk.labels)
        self.nnz += chunk.values.size

    def _rewrite_indices(self, shift: int, dtype: npt.DTypeLike) -> None:
        old = self.columns["indices"]
        with open(old.file.name + ".tmp", "w+b") as file:
            new = _Column(file, dtype, self.durable)
            for piece in old.pieces():
                new.append(piece.astype(dtype) + shift)
            file.flush()
            os.replace(file.name, old.file.name)
        old.file.close()
        new.file = open(old.file.name, "r+b")  # noqa: SIM115
        new.file.seek(0, os.SEEK_END)
        self.columns["indices"] = new

    def finish(self) -> tuple[int, int]:
        """Put the rows in force; their shape."""
        self.notes["zero_based"] = self.base.first == 0
        shape = (self.columns["y"].size, self.base.width)
        self.commit(shape)
        return shape


def _crc(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _generation(file: str) -> int:
    """Of a file `name.7.npy`: 7; of any other 0."""
    parts = file.split(".")
    return int(parts[1]) if len(parts) > 2 and parts[2] == "npy" and parts[1].isdecimal() else 0


def _refuse_foreign(path: str) -> None:
    """A folder of other things is not written to."""
    foreign = [f for f in os.listdir(path) if f != INDEX and not _generation(f) and not f.endswith(".tmp")]
    if foreign:
        raise FileExistsError(17, f"the folder holds other files ({foreign[0]}); name a new one", path)


def _sweep(path: str) -> None:
    """Remove what is not in force: what an interrupted writer left, or rows that were replaced."""
    try:
        kept = {entry["file"] for entry in _read_index(path)["arrays"].values()}
    except FileNotFoundError:
        kept = set()
    except ValueError:
        return  # damaged or newer: nothing is removed that may be of use
    for file in os.listdir(path):
        if (_generation(file) and file not in kept) or file.endswith(".tmp"):
            with suppress(OSError):
                os.unlink(os.path.join(path, file))


def _read_index(path: PathLike) -> dict[str, Any]:
    name = os.fsdecode(path)
    try:
        with open(os.path.join(name, INDEX), "rb") as file:
            text = file.read()
    except FileNotFoundError as error:
        if not os.path.isdir(name):
            raise FileNotFoundError(error.errno, error.strerror, name) from error
        raise FileNotFoundError(
            error.errno, "the folder holds no complete rows; convert or save them into it first", name
        ) from error
    try:
        header = json.loads(text)
        if header["format"] != _FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        newer = header["version"] > _VERSION
        if not newer and header.pop("crc32") != _crc(header):
            raise ValueError("its checksum is another")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{os.path.join(name, INDEX)}: foreign or corrupted ({error}); convert the rows again"
        ) from error
    if newer:
        raise ValueError(
            f"{name}: written by a newer fastsgd (version {header['version']} of the folder, this one reads up to "
            f"{_VERSION}); upgrade fastsgd"
        )
    return dict(header)


def _map(path: PathLike, name: str, entry: Mapping[str, Any], verify: bool) -> Array:
    file = os.path.join(os.fsdecode(path), entry["file"])
    try:
        # An empty file cannot be mapped.
        array: Array = np.load(file, mmap_mode="r" if entry["size"] else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file}: truncated or corrupted ({error}); convert the rows again") from error
    if array.shape != (entry["size"],) or array.dtype.str != entry["dtype"]:
        raise ValueError(
            f"{file}: holds {array.shape} of {array.dtype}, not the {entry['size']} of {entry['dtype']} that {INDEX} "
            "says; convert the rows again"
        )
    if verify:
        crc = 0
        for first in range(0, array.size, _PIECE):
            crc = zlib.crc32(array[first : first + _PIECE].view(np.uint8).data, crc)
        if crc != entry["crc32"]:
            raise ValueError(f"{file}: corrupted, its checksum is another than {INDEX} says; convert the rows again")
    return array


def _lock(path: str) -> int | None:
    """Keep other writers out of the folder for as long as this process lives; None where there are no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise OSError(error.errno, "another process is writing to the folder", path) from error
    return lock
