"""Files: sparse rows in svmlight text, and the archive that models are kept in."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import secrets
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import IO, Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from .core.svmlight import parse

__all__ = ["CSR", "load_archive", "load_svmlight", "save_archive"]

Array: TypeAlias = npt.NDArray[Any]
PathLike: TypeAlias = str | os.PathLike[str]
ZeroBased: TypeAlias = bool | Literal["auto"]

_BLOCK = 8 << 20  # bytes of text parsed at a time


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CSR:
    """Sparse rows: row i holds `data[indptr[i]:indptr[i+1]]` in the columns `indices[indptr[i]:indptr[i+1]]`.

    Parameters
    ----------
    data : ndarray of float32 or float64, shape (nnz,)
        The stored values.
    indices : ndarray of int32 or int64, shape (nnz,)
        Their columns, counted from 0.
    indptr : ndarray of int32 or int64, shape (n + 1,)
        Where each row begins, and where the last one ends.
    shape : tuple of int
        (n, d): rows and columns.

    Notes
    -----
    A container only: the arrays are checked where they are used.
    """

    data: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"CSR({rows} x {columns}, {len(self.data)} stored, {self.data.dtype})"

    def to_scipy(self) -> Any:
        """The same rows as a scipy.sparse array.

        Returns
        -------
        scipy.sparse.csr_array
            Shares `data`; scipy copies an index array where it wants both of one width.

        Raises
        ------
        ImportError
            If scipy is not installed.
        """
        try:
            from scipy.sparse import csr_array
        except ImportError as error:
            raise ImportError("to_scipy needs scipy; install it, or pass the CSR itself to an estimator") from error
        return csr_array((self.data, self.indices, self.indptr), shape=self.shape)


def load_svmlight(
    path: PathLike,
    *,
    n_features: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    zero_based: ZeroBased = "auto",
) -> tuple[CSR, npt.NDArray[np.float64]]:
    """Read a file in svmlight / LIBSVM format.

    Each line is `label [qid:N] index:value index:value ... [# comment]`; blank lines and comments are skipped,
    query ids are ignored, and pairs may come in any order. Values are rounded as Python's float() rounds them,
    then to `dtype`; zeros that the file spells out are stored.

    Parameters
    ----------
    path : str or path-like
        Plain text or gzip, which is recognised by its first bytes; "-" reads standard input.
    n_features : int, optional
        Columns of the result; by default as many as the file uses. Give a test file those of its training file.
    dtype : data-type, default numpy.float32
        float32 or float64, the type of the values.
    zero_based : bool or "auto", default "auto"
        Whether the file counts features from 0 (True) or from 1 (False; ids are then shifted down by one).
        "auto" takes a file without an id 0 to count from 1, as scikit-learn does. A test file that happens to lack
        an id 0 that its training file has needs zero_based=True.

    Returns
    -------
    X : CSR
        Shape (n, d), columns increasing in each row; `indices` int32 if the ids fit, else int64; `indptr` int64.
    y : ndarray of float64, shape (n,)
        The labels.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If a line is malformed (with its number, the text at fault and what to do), a feature id occurs twice in
        a row or does not fit `n_features`, or the file holds no rows.

    References
    ----------
    https://www.cs.cornell.edu/people/tj/svm_light/
    """
    X, y, _ = read_svmlight(path, n_features, dtype, zero_based)
    return X, y


def read_svmlight(
    path: PathLike,
    n_features: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    zero_based: ZeroBased = "auto",
) -> tuple[CSR, npt.NDArray[np.float64], bool]:
    """`load_svmlight`, and whether the file was found, or said, to count features from 0."""
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype is {dtype}; svmlight files are read as float32 or float64")
    if zero_based not in (True, False, "auto"):
        raise ValueError(f"zero_based is {zero_based!r}; it must be True, False or 'auto'")
    if n_features is not None and n_features < 1:
        raise ValueError(f"n_features is {n_features}; it must be at least 1")
    name = "<stdin>" if path == "-" else os.fsdecode(path)
    labels: list[Array] = []
    lengths: list[Array] = []
    indices: list[Array] = []
    values: list[Array] = []
    first, low, high, high_line, line = 1, 1, -1, 0, 1
    for text in _whole_lines(path, name):
        chunk = parse(text.removeprefix(codecs.BOM_UTF8) if line == 1 else text, dtype, name, line)
        line += chunk.lines
        low = min(low, chunk.low)
        if low == 0 and not zero_based:
            raise ValueError(
                f"{name}, line {chunk.low_line}: feature 0, but zero_based=False says that the file counts from 1; "
                "correct the line or pass zero_based=True"
            )
        first = low if zero_based == "auto" else int(not zero_based)
        if chunk.high > high:
            high, high_line = chunk.high, chunk.high_line
        if n_features is not None and high - first >= n_features:
            raise ValueError(
                f"{name}, line {high_line}: feature {high} is beyond n_features={n_features}, counting "
                f"from {first}; pass n_features={high + 1 - first} or more"
            )
        labels.append(chunk.labels)
        lengths.append(chunk.lengths)
        indices.append(chunk.ids.astype(np.int32) if chunk.high <= np.iinfo(np.int32).max else chunk.ids)
        values.append(chunk.values)
    y = _join(labels) if labels else np.empty(0)
    if y.size == 0:
        raise ValueError(f"{name}: no rows; the file is empty or holds only comments")
    indptr = np.zeros(y.size + 1, np.int64)
    np.cumsum(_join(lengths), out=indptr[1:])
    columns = _join(indices)
    columns -= first
    shape = (y.size, max(high + 1 - first, 0) if n_features is None else n_features)
    return CSR(_join(values), columns, indptr, shape), y, first == 0


def _join(parts: list[Array]) -> Array:
    """One array of them all; the parts are freed."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


@contextmanager
def _open(path: PathLike) -> Iterator[IO[bytes]]:
    with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as stream:
        # No line begins with byte 0x1f: the first byte of gzip's magic decides, and a slow pipe has one to peek at.
        if cast(io.BufferedReader, stream).peek(1)[:1] == b"\x1f":
            with gzip.GzipFile(fileobj=stream) as unzipped:
                yield cast(IO[bytes], unzipped)
        else:
            yield stream


def _whole_lines(path: PathLike, name: str) -> Iterator[bytes]:
    """Pieces of about _BLOCK bytes, cut after a newline; a line longer than that is a piece of its own."""
    pending: list[bytes] = []
    with _open(path) as stream:
        while block := _read(stream, name):
            lines, newline, rest = block.rpartition(b"\n")
            if newline:
                yield b"".join((*pending, lines, newline))
                pending.clear()
            pending.append(rest)
    if any(pending):
        yield b"".join(pending)


def _read(stream: IO[bytes], name: str) -> bytes:
    try:
        return stream.read(_BLOCK)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{name}: truncated or corrupted gzip ({error}); fetch or compress it again") from error


# An archive is a zip file: first _HEADER, as JSON, then each array as NumPy's .npy, so numpy.load opens it too.
_HEADER = "fastsgd.json"
_FORMAT, _VERSION = "fastsgd", 1

# What zipfile, zlib, json and numpy raise on damaged bytes.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError,
    AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


def save_archive(path: PathLike, header: Mapping[str, Any], arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write a header and named arrays to a file that holds no pickle.

    The file appears complete or not at all: it is written beside `path` and renamed.

    Parameters
    ----------
    path : str or path-like
        Used as given; no suffix is added.
    header : mapping
        Anything that JSON holds. "format", "version" and "arrays" are reserved.
    arrays : mapping of str to array_like
        Of any shape and any dtype without Python objects.

    Raises
    ------
    TypeError
        If an array holds Python objects, or the header holds something that is not JSON.
    OSError
        If the file cannot be written.
    """
    text = json.dumps({**header, "format": _FORMAT, "version": _VERSION, "arrays": list(arrays)}, indent=1)
    checked = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in checked.items():
        if array.dtype.hasobject:
            raise TypeError(
                f"array {name!r} holds Python objects, which a file without pickle cannot; "
                "convert it to numbers or to a fixed-width string dtype"
            )
    with _replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        # ZipInfo's fixed date makes equal models equal files.
        archive.writestr(zipfile.ZipInfo(_HEADER), text)
        for name, array in checked.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def load_archive(path: PathLike) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what `save_archive` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    header : dict
        As given to `save_archive`.
    arrays : dict of str to ndarray

    Raises
    ------
    OSError
        If the file cannot be read; FileNotFoundError if there is none.
    ValueError
        If it is no fastsgd file, is truncated or corrupted, or comes from a newer fastsgd.
    """
    name = os.fsdecode(path)
    with open(path, "rb") as file:
        start = file.read(30 + len(_HEADER))  # a zip entry names itself at byte 30
        if start[:4] != b"PK\x03\x04" or not _HEADER.encode().startswith(start[30:]):
            raise ValueError(
                f"{name}: not a fastsgd model file, or its beginning is damaged; give one that save() wrote"
            )
        try:
            with zipfile.ZipFile(file) as archive:
                header = json.loads(archive.read(_HEADER))
                if header.pop("format") != _FORMAT:
                    raise ValueError(f"{_HEADER} is of another format")
                version = int(header.pop("version"))
                arrays = {} if version > _VERSION else _read_arrays(archive, header.pop("arrays"))
        except _DAMAGE as error:
            raise ValueError(f"{name}: truncated or corrupted model file ({error}); save or copy it again") from error
    if version > _VERSION:
        raise ValueError(
            f"{name}: written by a newer fastsgd (file version {version}, this one reads up to "
            f"{_VERSION}); upgrade fastsgd"
        )
    return header, arrays


def _read_arrays(archive: zipfile.ZipFile, names: list[str]) -> dict[str, Array]:
    # Each entry is read whole first: that checks its CRC before its shape is believed.
    entries = ((name, io.BytesIO(archive.read(f"{name}.npy"))) for name in names)
    return {name: np.lib.format.read_array(entry, allow_pickle=False) for name, entry in entries}


@contextmanager
def _replacing(path: PathLike) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` once it is complete and on disk."""
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as file:  # a device or a pipe is written to, never replaced
            yield file
        return
    partial = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.tmp")
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(partial)
        if isinstance(error, OSError) and error.filename == partial:
            error.filename = os.fsdecode(path)
        raise
