"""Epochs: row order, slices, stopping, history. The only caller of core.sgd's training pass."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ._validation import Array, Rows
from .core import checks, sgd
from .core.losses import Loss

# Work between two looks at Python's signals: about a hundredth of a second.
NONZEROS_PER_SLICE = 1_000_000


class Divergence(ValueError):
    """The weights grew beyond what floating point holds."""


@dataclass
class Plan:
    """How long to train, and in which order.

    `score`, if given, rates a state on held-out rows, higher being better, and decides when to stop.
    """

    epochs: int
    tol: float | None
    n_iter_no_change: int
    shuffle: bool
    seed: int
    adaptive: bool = False
    passive: bool = False
    verbose: int = 0
    score: Callable[[sgd.State], float] | None = None


@dataclass
class History:
    """What happened: the objective of each epoch, whether the criterion was met, derivatives clipped."""

    objectives: list[float] = field(default_factory=list)
    converged: bool = False
    clipped: int = 0


def new_state(n_outputs: int, n_features: int, dtype: np.dtype, feature_major: bool) -> sgd.State:
    return sgd.State(np.zeros(n_outputs * n_features, dtype), np.zeros(n_outputs), feature_major)


def coefficients(state: sgd.State, flat: Array) -> Array:
    """A flat array of the state's layout, seen as (K, d)."""
    outputs = state.bias.size
    return flat.reshape(-1, outputs).T if state.feature_major else flat.reshape(outputs, -1)


def lay_out(state: sgd.State, feature_major: bool) -> None:
    """Give the state's arrays the layout for dense rows (class-major) or CSR (feature-major)."""
    if state.feature_major == feature_major:
        return
    if state.bias.size > 1:
        for name in ("weights", "average", "received"):
            flat = getattr(state, name)
            if flat is not None:
                matrix = coefficients(state, flat)
                setattr(state, name, np.ascontiguousarray(matrix.T if feature_major else matrix).reshape(-1))
    state.feature_major = feature_major


def solution(state: sgd.State) -> tuple[Array, Array]:
    """The model that the state stands for: (K, d) coefficients and (K,) intercepts.

    The mean of the iterates if there is one, else the last iterate: the weights themselves, not a copy, once settled.
    """
    flat, bias = state.weights, state.bias
    if state.average is not None and state.average_bias is not None and state.averaged:
        flat = ((state.average_scale * flat.astype(np.float64) - state.average) / state.averaged).astype(flat.dtype)
        bias = state.average_bias
    elif state.scale != 1:
        flat = flat * flat.dtype.type(state.scale)
    return coefficients(state, flat), bias.astype(flat.dtype)


def decision(rows: Rows, coef: Array, intercept: Array, order: Array | None = None) -> Array:
    """Scores W x + b, (n, K) of the rows' dtype; only of the rows `order` if given."""
    dtype = rows.data.dtype
    if not rows.sparse and order is None:
        with np.errstate(over="ignore", invalid="ignore"):
            scores: Array = rows.data.reshape(rows.shape) @ coef.T.astype(dtype, copy=False)
            scores += intercept.astype(dtype, copy=False)
        return scores
    out = np.empty((rows.shape[0] if order is None else order.size, intercept.size), dtype)
    flat = np.ascontiguousarray(coef.T if rows.sparse else coef, dtype).reshape(-1)
    sgd.scores(rows.data, rows.indices, rows.indptr, order, flat, intercept.astype(np.float64), out)
    return out


def train(
    loss: Loss,
    settings: sgd.Settings,
    state: sgd.State,
    rows: Rows,
    targets: Array,
    weights: Array | None,
    order: Array,
    plan: Plan,
) -> History:
    """Train `state` in place for at most `plan.epochs` passes over the rows `order`.

    Raises
    ------
    Divergence
        If a score or a weight is not finite any more; the state is of no use then.
    """
    check_state(state, rows, targets)
    history = History()
    random = np.random.default_rng(plan.seed)
    lay_out(state, rows.sparse)
    if weights is not None and not weights[order].all():
        order = order[weights[order] != 0]
    per_slice = slice_length(rows, state.bias.size, settings.batch_size)
    best, best_state, stale = -np.inf, None, 0
    for epoch in range(plan.epochs):
        if plan.shuffle:
            sgd.shuffle(order, int(random.integers(2**63)))
        started = time.perf_counter()
        if epoch or state.t > 1 or state.sum_squares:  # else all weights are 0 yet
            sgd.measure(state, state.weights)
        totals = sgd.Totals()
        for first in range(0, order.size, per_slice):
            sgd.train(
                loss, settings, state, rows.data, rows.indices, rows.indptr, targets, weights,
                order[first : first + per_slice], totals,
            )  # fmt: skip
            if totals.bad_row >= 0:
                raise _divergence(f"the score of row {totals.bad_row} is not finite", epoch)
        objective = (totals.loss + (0.0 if plan.passive else totals.penalty)) / totals.weight
        if np.isnan(objective):
            raise _divergence("the objective is not a number", epoch)
        history.objectives.append(objective)
        history.clipped += totals.clipped
        merit = plan.score(state) if plan.score else -objective
        if plan.verbose:
            seconds = time.perf_counter() - started
            score = f"  validation score {merit:.4f}" if plan.score else ""
            speed = order.size / seconds
            print(f"epoch {epoch + 1:3d}  objective {objective:.6f}{score}  {speed:,.0f} rows/s", flush=True)
        # scikit-learn's rules: a score has to reach best + tol, an objective to fall to best - tol.
        improves = merit >= best + plan.tol if plan.tol is not None else True
        stale = 0 if improves else stale + 1
        if merit > best:
            best = merit
            best_state = copy.deepcopy(state) if plan.score else None
        if stale >= plan.n_iter_no_change:
            if plan.adaptive and settings.eta0 > 1e-6:
                settings.eta0, stale = settings.eta0 / 5, 0
            else:
                history.converged = True
                break
    if best_state is not None:
        restore(state, best_state)
    sgd.settle(state, state.weights)
    with np.errstate(over="ignore", invalid="ignore"):
        coef, intercept = solution(state)
    if checks.first_nonfinite(np.ravel(coef, order="K")) >= 0 or not np.isfinite(intercept).all():
        raise _divergence("a weight is not finite", len(history.objectives) - 1)
    return history


def check_state(state: sgd.State, rows: Rows, targets: Array) -> None:
    """That the state fits the rows: the kernel trusts it, and its arrays may come from a file or from the caller."""
    outputs, dtype = state.bias.size, rows.data.dtype
    size = outputs * rows.shape[1]
    likes = [array for array in (state.weights, state.average, state.received) if array is not None]
    biases = [array for array in (state.bias, state.average_bias) if array is not None]
    if (
        any(array.shape != (size,) or array.dtype != dtype for array in likes)
        or any(array.shape != (outputs,) or array.dtype != np.float64 for array in biases)
        or (state.average is None) != (state.average_bias is None)
        or targets.shape[1] not in (1, outputs)
        or (targets.shape[1] == 1 < outputs and not targets.max() < outputs)
    ):
        raise ValueError("the model's state does not fit the data: fit the model again")


def slice_length(rows: Rows, n_outputs: int, batch_size: int) -> int:
    """Rows per call of the kernel: whole batches, of about NONZEROS_PER_SLICE multiply-adds."""
    per_row = max(1, rows.nnz * n_outputs // rows.shape[0])
    return max(1, NONZEROS_PER_SLICE // per_row // batch_size) * batch_size


def restore(state: sgd.State, earlier: sgd.State) -> None:
    for name in sgd.STATE_FIELDS:
        setattr(state, name, getattr(earlier, name))


def _divergence(what: str, epoch: int) -> Divergence:
    return Divergence(
        f"Floating-point under-/overflow occurred at epoch #{epoch + 1}: {what}. Scale the features (to zero mean and "
        "unit variance, or rows to unit length) or lower the step size: eta0, or a larger alpha for 'optimal'."
    )
