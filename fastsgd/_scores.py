"""Scores of rows by a model: linear, or a network of one hidden layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ._arrays import CHUNK, Array
from ._states import layers, solution
from ._threads import for_each
from ._validation import NO_COLUMNS, Rows
from .core import checks
from .core import scores as kernel
from .core.state import State

# Multiply-adds that scores are shared out by: about a thousandth of a second.
NONZEROS_PER_SLICE = 1_000_000
NUMBERS_PER_BLOCK = 1 << 20  # of dense rows, so that they stay in the cache and Ctrl-C gets through between two;
FEWEST_ROWS = 32  # but with fewer the weights would be read too often


def slice_length(rows: Rows, n_outputs: int, batch_size: int, times: int = 1) -> int:
    """Rows per call of the kernel: whole batches, of about NONZEROS_PER_SLICE multiply-adds, or so many times that and
    at most NONZEROS_PER_SLICE rows."""
    per_row = max(rows.nnz * n_outputs // rows.shape[0], times)
    return (NONZEROS_PER_SLICE * times // per_row // batch_size or 1) * batch_size


def decision(
    rows: Rows, coef: Array, intercept: Array, order: Array | None = None, *, scale: float = 1.0, threads: int = 1,
    checked: bool = True,
) -> Array:  # fmt: skip
    """Scores scale W x + b, (n, K) of the rows' dtype; only of the rows `order` if given.

    Dense rows go through BLAS, which has threads of its own. If nobody has `checked` what the rows hold, a wrong column
    or value makes a score that is not finite.
    """
    dtype, bias = rows.data.dtype, intercept.astype(np.float64, copy=False)
    if not rows.sparse:
        if coef.shape[1] != rows.shape[1]:  # another thread has fitted the model to other data since that was checked
            raise ValueError(f"X has {rows.shape[1]} features, but the model is expecting {coef.shape[1]} features")
        coef = np.ascontiguousarray(coef, dtype)
    elif coef.dtype != dtype or not _is_feature_major(coef):
        coef = np.ascontiguousarray(coef.T, dtype).T
    n = rows.shape[0] if order is None else order.size
    out, step = np.empty((n, bias.size), dtype), slice_length(rows, bias.size, 1)
    if not rows.sparse and order is None and n > 1:
        _multiply(rows, coef, out, checked)
        kernel.shift(out, scale, bias)
        return out
    if n <= step:
        kernel.scores(rows.data, rows.indices, rows.indptr, order, coef, bias, scale, out)
        return out

    def score(first: int) -> None:
        indptr, part = rows.indptr, None
        if order is not None:
            part = order[first : first + step]
        elif indptr is not None:
            indptr = indptr[first : first + step + 1]
        kernel.scores(rows.data, rows.indices, indptr, part, coef, bias, scale, out[first : first + step])

    for_each(score, range(0, n, step), threads)
    return out


def _multiply(rows: Rows, coef: Array, out: Array, checked: bool) -> None:
    """X W^T by BLAS. Not a finite number if a value of the row is none.

    Where weights are 0 this takes a look at the values, since BLAS may leave out what it multiplies by 0: at rows that
    fit the cache, so that X is not read from memory once more.
    """
    X, W = rows.data.reshape(rows.shape), coef.T
    checked = checked or (len(out) > len(coef) and bool(W.all()))  # fewer rows are the shorter look
    step = max(FEWEST_ROWS, NUMBERS_PER_BLOCK // rows.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, len(out), step):
            part = X[first : first + step]
            if not checked and checks.first_nonfinite(part.reshape(-1)) >= 0:
                out.fill(np.nan)
                return
            np.dot(part, W, out[first : first + step])


def _is_feature_major(coef: Array) -> bool:
    """Whether (K, d) coefficients are laid out as weights for CSR rows are, other numbers between features or not."""
    across, along = coef.strides
    one = coef.itemsize
    return (across == one or len(coef) == 1) and coef.shape[1] > 0 and along % one == 0 and along >= len(coef) * one


def scores_of(state: State, rows: Rows, order: Array | None = None, *, threads: int = 1) -> Array:
    """Scores of the model that the state stands for, as `decision`."""
    if state.hidden:
        return forward(rows, *layers(state), str(state.activation), order, threads=threads)
    return decision(rows, *solution(state), order, threads=threads)


def forward(
    rows: Rows, coefs: Sequence[Array], intercepts: Sequence[Array], activation: str, order: Array | None = None, *,
    threads: int = 1,
) -> Array:  # fmt: skip
    """Scores of a network, (n, K) of the rows' dtype; only of the rows `order` if given."""
    dtype, n = rows.data.dtype, rows.shape[0] if order is None else order.size
    out = np.empty((n, intercepts[1].size), dtype)
    second = np.ascontiguousarray(coefs[1].T, dtype)
    step = max(1, 16 * CHUNK // intercepts[0].size)
    for first in range(0, n, step):
        part, chosen = rows, None
        if order is not None:
            chosen = order[first : first + step]
        elif n > step:
            part = rows.part(first, min(n, first + step))
        units = decision(part, coefs[0].T, intercepts[0], chosen, threads=threads)
        ACTIVATIONS[activation](units)
        inner = Rows(units.reshape(-1), NO_COLUMNS, None, units.shape)
        out[first : first + step] = decision(inner, second, intercepts[1])
    return out


def _logistic(a: Array) -> None:
    with np.errstate(over="ignore"):
        np.negative(a, out=a)
        np.exp(a, out=a)
        a += 1
        np.reciprocal(a, out=a)


# In place.
ACTIVATIONS: dict[str, Callable[[Array], object]] = {
    "identity": lambda a: None,
    "logistic": _logistic,
    "tanh": lambda a: np.tanh(a, out=a),
    "relu": lambda a: np.maximum(a, 0, out=a),
}
