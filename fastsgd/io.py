"""The container of sparse rows, and the archive that models are kept in."""

from __future__ import annotations

import io
import json
import os
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["CSR", "load_archive", "save_archive"]

Array: TypeAlias = npt.NDArray[Any]
PathLike: TypeAlias = str | os.PathLike[str]


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
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
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
def replacing(path: PathLike) -> Iterator[IO[bytes]]:
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
        sync_folder(os.path.dirname(target))
    except BaseException as error:
        with suppress(OSError):
            os.unlink(partial)
        if isinstance(error, OSError) and error.filename == partial:
            error.filename = os.fsdecode(path)
        raise


def sync_folder(path: str) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name == "posix":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
