"""Whatever data the user passes -> checked arrays, or an error that says what is wrong and where.

The only place that checks data: the kernels trust what comes from here. Arrays are copied only where the kernels
cannot read them as they are (another dtype, byte order or memory layout).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from ._arrays import CHUNK, PIECE, Array, as_array, as_floats, as_matrix, converted, is_missing
from ._frames import column_names, is_plain, unpack
from ._sklearn import DataConversionWarning, warn
from ._threads import for_each
from .core import checks
from .io import CSR

INDICES = (np.dtype(np.int32), np.dtype(np.int64))
NO_COLUMNS = np.empty(0, np.uint8)  # how the kernels tell dense rows
SCALING = "Scale the features (to zero mean and unit variance, or rows to unit length)"
LARGEST_ROW_NUMBER = np.iinfo(np.uint32).max


class Rows:
    """A checked matrix as the kernels take it; `indptr` is None for dense rows, whose `data` is flat."""

    __slots__ = ("data", "indices", "indptr", "nnz", "shape", "sparse")

    def __init__(self, data: Array, indices: Array, indptr: Array | None, shape: tuple[int, int]) -> None:
        self.data, self.indices, self.indptr, self.shape = data, indices, indptr, shape
        self.sparse = indptr is not None
        self.nnz: int = data.size if indptr is None else indptr.item(-1)

    def part(self, first: int, last: int) -> Rows:
        """The rows first .. last - 1; of CSR rows, their indptr begins where they do."""
        shape = (last - first, self.shape[1])
        if self.indptr is None:
            return Rows(self.data[first * shape[1] : last * shape[1]], self.indices, None, shape)
        return Rows(self.data, self.indices, self.indptr[first : last + 1], shape)

    def bounds(self) -> list[Array]:
        """The indptr of CSR rows in parts of about PIECE values, so that Ctrl-C gets through between them."""
        assert self.indptr is not None
        n = self.shape[0]
        step = max(1, PIECE * n // max(1, self.nnz))
        return [self.indptr[first : first + step + 1] for first in range(0, n, step)]


def check_rows(
    X: Any, *, dtype: Any = None, values: bool = True, scored_by: int | None = None, threads: int = 1
) -> Rows:
    """Check a matrix of features.

    Parameters
    ----------
    X : CSR, scipy.sparse matrix or array, table, array or nested sequence, (n, d)
        A table is one of pandas, polars or pyarrow; an array anything that numpy reads.
    dtype : dtype, optional
        float32 or float64 to convert to; by default these are kept and everything else becomes float64
        (float16 becomes float32).
    values : bool, default=True
        Whether to look for NaN and infinities. Who does not has to go by scores that are not finite (`check_values`).
    scored_by : int, optional
        How many features the model has that scores the rows next. What rows of as many hold is not looked at then: a
        wrong column or value makes a score that is not finite, and the caller goes by that (`check_contents`).
    threads : int, default=1
        How many look at large data.

    Raises
    ------
    ValueError, TypeError
        If X is not two-dimensional, is empty, has text, NaN, infinities or malformed CSR arrays.
    """
    rows = read_rows(X, dtype, values, threads, scored_by)
    n, d = rows.shape
    if not n or not d:
        what = "feature(s)" if n else "sample(s)"
        raise ValueError(f"Found array with 0 {what} (shape={rows.shape}) while a minimum of 1 is required.")
    if n > LARGEST_ROW_NUMBER:
        raise ValueError(f"X has {n} rows; at most {LARGEST_ROW_NUMBER} can be trained on at once: use partial_fit")
    if values and not rows.sparse and d != scored_by:
        check_values(rows, X, threads=threads)
    return rows


def read_rows(X: Any, dtype: Any = None, values: bool = False, threads: int = 1, scored_by: int | None = None) -> Rows:
    """`check_rows` without a check of the counts and of dense values; of those of CSR rows, if not `values`."""
    plain = unpack(X, dtype)
    if isinstance(plain, CSR):
        return _check_csr(plain, X, dtype, values, threads, scored_by)
    if hasattr(plain, "tocsr"):
        if plain.ndim != 2:
            raise ValueError(f"Expected a 2-dimensional sparse container, got {plain.ndim} dimensions")
        if plain.format != "csr":
            _check_convertible(plain)
            plain = plain.tocsr()
        return _check_csr(plain, X, dtype, values, threads, scored_by)
    dense = as_floats(as_matrix(plain), dtype, "X")
    return Rows(dense.reshape(-1), NO_COLUMNS, None, dense.shape)


def check_values(
    rows: Rows, X: Any = None, advice: str = "impute or drop such values first.", threads: int = 1
) -> None:
    """No NaN and no infinities; else a ValueError that names the place, and the column if the table X has names."""
    bad = _first(checks.first_nonfinite, rows.data if rows.indptr is None else rows.data[: rows.nnz], threads=threads)
    if bad >= 0:
        d, names = rows.shape[1], feature_names(X)
        row = bad // d if rows.indptr is None else int(np.searchsorted(rows.indptr, bad, side="right")) - 1
        column = bad % d if rows.indptr is None else int(rows.indices[bad])
        what = "NaN" if np.isnan(rows.data[bad]) else "infinity"
        name = "" if names is None else f" ({names[column]!r})"
        raise ValueError(f"Input X contains {what} at row {row}, column {column}{name}; {advice}")


def _check_convertible(X: Any) -> None:
    """scipy's conversions to CSR write where the indices say, whatever they say."""
    try:
        if X.format in ("csc", "bsr"):
            X.check_format(full_check=True)
        elif X.format == "coo":
            for i, length in zip(X.coords, X.shape, strict=True):
                if i.size != X.data.size or (i.size and not (i.min() >= 0 and i.max() < length)):
                    raise ValueError(f"a coordinate is outside 0 .. {length - 1}")
    except ValueError as error:
        raise ValueError(f"malformed {X.format} matrix: {error}") from error


def _first(find: Callable[[Array], int], array: Array, piece: int = PIECE, threads: int = 1) -> int:
    """The first position that `find` finds, or -1; piece by piece, so that Ctrl-C gets through."""
    if array.size <= piece:
        return find(array)
    found = list[int]()

    def look(first: int) -> None:
        position = find(array[first : first + piece])
        if position >= 0:
            found.append(first + position)

    for_each(look, range(0, array.size, piece), threads)
    return min(found, default=-1)


def _check_csr(csr: Any, X: Any, dtype: Any, values: bool, threads: int, scored_by: int | None) -> Rows:
    """CSR that the caller gave, maybe as the table X; also a check of the values where `values`, in the same pass."""
    data = as_floats(np.asarray(csr.data), dtype, "X")
    indices, indptr = _as_indices(csr.indices, "indices"), _as_indices(csr.indptr, "indptr")
    try:
        n, d = csr.shape
        n, d = operator.index(n), operator.index(d)
    except (TypeError, ValueError) as error:
        raise ValueError(f"malformed CSR: shape is {csr.shape!r}, not two integers") from error
    if data.ndim != 1 or data.size != indices.size:
        raise ValueError(f"malformed CSR: data has shape {data.shape}, indices {indices.shape}")
    if n < 0 or d < 0 or indptr.size != n + 1:
        raise ValueError(f"malformed CSR: indptr has length {indptr.size}, which does not fit shape {(n, d)}")
    rows = Rows(data, indices, indptr, (n, d))
    sound, names = indptr.item(0) == 0 <= rows.nnz <= data.size, d != scored_by
    if sound and rows.nnz <= PIECE:
        sound = checks.is_sound(data, indices, indptr, d, names, names and values)
    elif sound:
        sound = _are_sound(rows, names, names and values, threads)
    if not sound:
        _check_bounds(rows)
        check_contents(rows, X)
    return rows


def check_contents(rows: Rows, X: Any) -> None:
    """What rows hold: columns that there are, no NaN and no infinities."""
    if rows.sparse:
        _check_columns(rows)
    check_values(rows, X)


def _are_sound(rows: Rows, names: bool, values: bool, threads: int) -> bool:
    answers = list[bool]()

    def look(bounds: Array) -> None:
        answers.append(checks.is_sound(rows.data, rows.indices, bounds, rows.shape[1], names, values))

    for_each(look, rows.bounds(), threads)
    return all(answers)


def _check_bounds(rows: Rows) -> None:
    indptr, size = rows.indptr, rows.data.size
    assert indptr is not None
    if indptr[0] != 0:
        raise ValueError(f"malformed CSR: indptr begins with {indptr[0]}, not 0")
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        row = falls[0]
        raise ValueError(f"malformed CSR: indptr decreases at row {row}, from {indptr[row]} to {indptr[row + 1]}")
    if indptr[-1] > size:
        row = int(np.searchsorted(indptr, size, side="right")) - 1
        raise ValueError(f"malformed CSR: row {row} ends at {indptr[row + 1]}, beyond the {size} stored values")


def _check_columns(rows: Rows) -> None:
    indptr, indices, d = rows.indptr, rows.indices, rows.shape[1]
    assert indptr is not None
    bad = _first(lambda part: _first_false((part >= 0) & (part < d)), indices[: rows.nnz])
    if bad >= 0:
        row = int(np.searchsorted(indptr, bad, side="right")) - 1
        raise ValueError(f"malformed CSR: row {row} names column {indices[bad]}, outside 0 .. {d - 1}")


def _first_false(fits: Array) -> int:
    return -1 if fits.all() else int(fits.argmin())


def _as_indices(values: Any, name: str) -> Array:
    array: Array = np.asarray(values)
    if array.ndim == 1 and array.dtype in INDICES and array.flags.c_contiguous:
        return array
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"malformed CSR: {name} has dtype {array.dtype} and shape {array.shape}, not (n,) integers")
    native = array.dtype.newbyteorder("=")
    if native.kind == "u" and native.itemsize == 8 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"malformed CSR: {name} has a value beyond 2^63")
    return converted(array, native if native in INDICES else np.dtype(np.int64))


def feature_names(X: Any) -> Array | None:
    """The names of a table's columns if all of them are text, else None.

    Raises
    ------
    TypeError
        If some are text and some are not.
    """
    names = column_names(X)
    if not names:
        return None
    kinds = sorted({type(name).__qualname__ for name in names})
    if len(kinds) > 1 and "str" in kinds:
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{kinds} as feature name / column name types. If you want feature names to be stored and validated, you "
            "must convert them all to strings, by using X.columns = X.columns.astype(str) for example."
        )
    return np.array(names, dtype=object) if kinds == ["str"] else None


def check_names(X: Any, known: Array | None, estimator: str) -> None:
    """Columns in another order than those trained on would be scored in silence; `known` are the names at `fit`."""
    if known is None and is_plain(X):
        return
    names = feature_names(X)
    if names is None and known is None:
        return
    if known is None:
        return warn(f"X has feature names, but {estimator} was fitted without feature names", UserWarning)
    if names is None:
        return warn(f"X does not have valid feature names, but {estimator} was fitted with feature names", UserWarning)
    if np.array_equal(names, known):
        return
    unseen, missing = sorted(set(names) - set(known)), sorted(set(known) - set(names))
    message = "The feature names should match those that were passed during fit.\n"
    message += _listed("Feature names unseen at fit time:", unseen)
    message += _listed("Feature names seen at fit time, yet now missing:", missing)
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    raise ValueError(message)


def _listed(what: str, names: list[str]) -> str:
    lines = [f"- {name}" for name in names[:5]] + ["- ..."] * (len(names) > 5)
    return "\n".join([what, *lines, ""]) if names else ""


def check_features(rows: Rows, expected: int, estimator: str) -> None:
    if rows.shape[1] != expected:
        raise ValueError(f"X has {rows.shape[1]} features, but {estimator} is expecting {expected} features as input.")


def as_column(y: Any, n: int, name: str) -> Array:
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    array = as_array(y, name)
    if array.ndim == 2 and array.shape[1] == 1:
        warn(
            f"A column-vector {name} was passed when a 1d array was expected. Please change the shape of {name} to "
            "(n_samples,), for example using ravel().",
            DataConversionWarning,
        )
        array = array.ravel()
    if array.ndim != 1:
        raise ValueError(f"{name} should be a 1d array, got an array of shape {array.shape} instead.")
    if array.size != n:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: [{n}, {array.size}]")
    return array


def check_real_targets(y: Any, n: int, dtype: Any = None) -> Array:
    """Targets of a regression: (n,) or, K >= 2, (n, K) finite float32 or float64."""
    y = as_targets(y)
    matrix = target_matrix(y, n)
    if matrix is not None:
        return matrix if dtype is None else matrix.astype(dtype, copy=False)
    values = as_floats(as_column(y, n, "y"), dtype, "y")
    _check_finite(values, "y")
    return values


def check_labels(y: Any, n: int, name: str = "y") -> Array:
    """Labels of a classification: (n,) of integers, booleans, strings or whole floats."""
    labels = as_column(y, n, name)
    kind = labels.dtype.kind
    if kind == "f":
        _check_finite(as_floats(labels, None, name), name)
        bad = _first(lambda part: _first_false(part == np.floor(part)), labels, piece=CHUNK)
        if bad >= 0:
            raise ValueError(
                f"Unknown label type: continuous, {labels[bad]} for example. Maybe you are trying to fit a "
                "classifier, which expects discrete classes on a regression target with continuous values."
            )
    elif kind == "O":
        for row, label in enumerate(labels):
            if is_missing(label):
                raise ValueError(f"Input {name} contains NaN or None at row {row}")
            if not isinstance(label, (str, bytes, Real, np.bool_)):
                raise ValueError(f"{name} has {label!r:.80} at row {row} where a label belongs: text or a number")
            if isinstance(label, Real) and label % 1:
                raise ValueError(f"Unknown label type: continuous, {label} at row {row} for example")
        if len({type(label) if isinstance(label, (str, bytes)) else Real for label in labels}) > 1:
            raise ValueError(f"{name} mixes text and numbers; make all labels of one kind")
    elif kind not in "iubSU":
        raise ValueError(f"Unknown label type: dtype {labels.dtype}")
    return labels


def as_targets(y: Any) -> Array | None:
    """y as an array, of whatever shape; None stays None."""
    if y is None:
        return None
    return as_array(y.toarray() if hasattr(y, "tocsr") else y, "y")


def target_matrix(y: Array | None, n: int) -> Array | None:
    """y as an (n, K) matrix, K >= 2, of finite float32 or float64; None if it is something else."""
    if y is None or y.ndim != 2 or y.shape[1] < 2:
        return None
    if y.shape[0] != n:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: [{n}, {y.shape[0]}]")
    matrix = as_floats(y, None, "y")
    _check_finite(matrix.reshape(-1), "y")
    return matrix


def check_probabilities(matrix: Array) -> None:
    """That the rows of a `target_matrix` are probabilities."""
    bad = np.flatnonzero((matrix < 0).any(axis=1) | (np.abs(matrix.sum(axis=1, dtype=np.float64) - 1) > 1e-5))
    if bad.size:
        raise ValueError(
            f"y is a matrix, so with loss='softmax' its rows are probabilities >= 0 that sum to 1; row {bad[0]} is "
            "not. For several labels a row take a loss of one score, such as 'log_loss'."
        )


def check_indicator(matrix: Array) -> None:
    """That a `target_matrix` says 1 or 0 for each label of each row."""
    bad = _first(lambda part: _first_false((part == 0) | (part == 1)), matrix.reshape(-1))
    if bad >= 0:
        row, column = divmod(bad, matrix.shape[1])
        raise ValueError(
            "y should be a 1d array, or a matrix of 0 and 1 for several labels a row, got an array of shape "
            f"{matrix.shape} with {matrix[row, column]} at row {row}, column {column} instead."
        )


def check_weights(sample_weight: Any, n: int, name: str = "sample_weight") -> Array | None:
    """Weights of the rows: None, or (n,) finite float64 >= 0, not all of them 0."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n, float(sample_weight))
    weights = as_array(sample_weight, name)
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, not of shape {weights.shape}")
    if weights.size != n:
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n,)}!")
    weights = as_floats(weights, np.float64, name)
    _check_finite(weights, name)
    if weights.min() < 0:
        raise ValueError(f"{name} is {weights.min()} at row {weights.argmin()}; weights are >= 0")
    if weights.max() == 0:
        raise ValueError(f"{name}: Sample weights must contain at least one non-zero number.")
    return weights


def check_initial(values: Any, shapes: tuple[tuple[int, ...], ...], name: str) -> Array:
    """Initial weights: a finite float64 array of one of the shapes."""
    array = as_floats(as_array(values, name), np.float64, name)
    if array.shape not in shapes:
        expected = " or ".join(map(str, shapes))
        raise ValueError(
            f"Provided {name} does not match dataset: {name} has shape {array.shape}, it should be {expected}."
        )
    _check_finite(array.reshape(-1), name)
    return array


def _check_finite(values: Array, name: str) -> None:
    bad = _first(checks.first_nonfinite, values)
    if bad >= 0:
        raise ValueError(f"Input {name} contains {'NaN' if np.isnan(values[bad]) else 'infinity'} at position {bad}.")
