"""What the user passes -> numpy arrays of native floats, or an error that names the place. No copy without need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
CHUNK = 1 << 16  # values that a temporary array holds where one of all would cost memory
PIECE = 1 << 20  # values between two looks at Python's signals, and a thread's share; from memory half a millisecond


def as_array(values: Any, name: str) -> Array:
    """The values as numpy reads them, by `__array__`, `__dlpack__` or as a sequence; nothing masked."""
    if type(values) is np.ndarray:
        return values
    try:
        if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            return np.from_dlpack(values)
        array = np.asarray(values)
    except (ValueError, BufferError) as error:
        raise ValueError(f"{name} is not an array in main memory: {error}") from error
    mask = np.ma.getmask(values)
    if mask is not np.ma.nomask and np.any(mask):
        where = place(tuple(np.argwhere(np.broadcast_to(mask, array.shape))[0]))
        raise ValueError(f"Input {name} contains a masked value at {where}; impute or drop such values first.")
    return array


def as_matrix(X: Any) -> Array:
    array = as_array(X, "X")
    if array.ndim == 2:
        return array
    if array.ndim == 0:
        raise ValueError(f"Expected 2D array, got scalar array instead: {X!r:.80}")
    if array.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array instead of length {array.size}. Reshape your data either using "
            "array.reshape(-1, 1) if it has a single feature or array.reshape(1, -1) if it is a single sample."
        )
    raise ValueError(f"Found array with dim {array.ndim}. Expected a matrix of shape (n_samples, n_features).")


def float_type(dtype: np.dtype) -> Any:
    """float32 and float64 are kept, float16 becomes float32 and everything else float64."""
    native = dtype.newbyteorder("=")
    return native if native in FLOATS else np.float32 if native == np.float16 else np.float64


def as_floats(array: Array, dtype: Any, name: str) -> Array:
    """The array in native float32 or float64, C-contiguous, itself if it is that already."""
    if (array.dtype in FLOATS if dtype is None else array.dtype == dtype) and array.flags.c_contiguous:
        return array
    kind = array.dtype.kind
    if kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {array.dtype}")
    if kind not in "fiubO":
        strangers = (item for item in np.ndenumerate(array) if not is_number(item[1]))
        position, value = next(strangers, ((), None))
        where = f", for example {value!r} at {place(position)}" if position else ""
        raise ValueError(f"{name} has dtype {array.dtype} where numbers belong{where}; encode it as numbers first")
    dtype = float_type(array.dtype) if dtype is None else dtype
    if kind != "O":
        with np.errstate(over="ignore"):  # what overflows to infinity is reported by the check for that
            return converted(array, np.dtype(dtype))
    try:
        with np.errstate(over="ignore"):
            return converted(array, np.dtype(dtype))
    except (TypeError, ValueError, OverflowError):
        for position, value in np.ndenumerate(array):
            try:
                float(value)
            except (TypeError, ValueError, OverflowError) as error:
                fault = ValueError if isinstance(value, (str, bytes, int)) else TypeError
                raise fault(
                    f"{name} has {value!r:.80} at {place(position)} where a number belongs "
                    "(argument must be a string or a number)"
                ) from error
        raise


def converted(array: Array, dtype: np.dtype[Any]) -> Array:
    """The array in a dtype and C-contiguous, itself if it is that; piece by piece, so that Ctrl-C gets through."""
    if array.dtype == dtype and array.flags.c_contiguous:
        return array
    if array.size <= PIECE:
        return np.ascontiguousarray(array, dtype)
    converted = np.empty(array.shape, dtype)
    step = max(1, PIECE // (array.size // len(array)))
    for first in range(0, len(array), step):
        converted[first : first + step] = array[first : first + step]
    return converted


def is_number(value: Any) -> bool:
    if isinstance(value, np.complexfloating):  # float() would drop the imaginary part
        return False
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def is_missing(value: Any) -> bool:
    """None, and NaN and pandas.NA, which do not equal themselves; the latter's comparison is not even a bool."""
    differs = value != value
    return value is None or (np.ndim(differs) == 0 and not (isinstance(differs, (bool, np.bool_)) and not differs))


def place(position: tuple[int, ...]) -> str:
    return ", ".join(f"{what} {i}" for what, i in zip(("row", "column"), position, strict=False))
