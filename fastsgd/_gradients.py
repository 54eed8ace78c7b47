"""The gradient that training a model descends, against finite differences of its objective."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ._arrays import Array
from ._holdout import losses_of
from ._labels import Task
from ._scores import scores_of
from ._states import bare
from ._team import Piece
from ._trained import Trained
from ._validation import Rows
from .core.state import Settings, State, Totals, measure, settle


def check_model(model: Trained, X: Any, y: Any) -> float:
    """What `fastsgd.check_gradient` returns for a model."""
    model._coefficients()  # is it fitted?
    rows = model._known_rows(X, np.float64)
    task = model._task(y, rows, None, chunk=True)
    weights = model._weights(task, None)
    state, l2 = bare(model._present_state(np.dtype(np.float64), rows.sparse)), model._l2(rows.shape[0])
    gradients = _gradients(state, rows, task, weights, l2)
    biased = bool(getattr(model, "fit_intercept", True))
    worst = 0.0
    for values, gradient in zip((state.weights, state.bias), gradients, strict=True):
        for i in range(values.size if values is state.weights or biased else 0):
            was = values[i]
            step = max(1.0, abs(was)) * np.finfo(np.float64).eps ** (1 / 3)
            values[i] = above = was + step
            higher = _objective(state, rows, task, weights, l2)
            values[i] = below = was - step
            difference = (higher - _objective(state, rows, task, weights, l2)) / (above - below)
            values[i] = was
            worst = max(worst, abs(difference - gradient[i]) / max(1.0, abs(gradient[i])))
    return float(worst)


def _objective(state: State, rows: Rows, task: Task, weights: Array | None, l2: float) -> float:
    losses = losses_of(task.loss, scores_of(state, rows), task.targets)
    mean = float(np.mean(losses if weights is None else weights * losses))
    return mean + 0.5 * l2 * float(state.weights @ state.weights)


def _gradients(
    state: State, rows: Rows, task: Task, weights: Array | None, l2: float
) -> tuple[Array, Array]:  # fmt: skip
    """Of weights and bias: what one step of full-batch descent takes away, in units of its size."""
    eta, n = 1.0 if l2 <= 0.5 else 0.5 / l2, rows.shape[0]
    settings = Settings(
        schedule="constant", eta0=eta, power_t=0.5, alpha=l2, strength=l2, l1_ratio=0.0, intercept_decay=1.0,
        fit_intercept=True, batch_size=n, average_from=0,
    )  # fmt: skip
    after = copy.deepcopy(state)
    measure(after, after.weights)
    piece, totals = Piece(rows, task.targets, weights, np.arange(n, dtype=np.uint32)), Totals()
    piece.train(task.loss, settings, after, totals)
    if totals.bad_row >= 0:
        raise ValueError(f"the score of row {totals.bad_row} is not finite")
    if totals.clipped:
        raise ValueError("derivatives beyond 1e12 are cut off, so there is no gradient to compare")
    settle(after, after.weights)
    return (state.weights - after.weights) / eta, (state.bias - after.bias) / eta
