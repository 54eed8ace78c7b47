"""The step to begin with, from trials on some of the rows (Bottou: Stochastic Gradient Descent Tricks, 2012, 5.2)."""

from __future__ import annotations

import copy
import math

import numpy as np

from ._holdout import losses_of
from ._scores import scores_of
from ._states import check_state, lay_out, overwrite
from ._team import Piece
from .core.losses import Loss
from .core.state import Settings, State, Totals, measure, settle

ROWS = 1000
FEWEST = 100  # of a chunk, of which there may be more
FACTOR = 2.0
LOWEST, HIGHEST = 1e-300, 1e300  # steps to try


def find_eta0(loss: Loss, settings: Settings, state: State, sample: Piece) -> float:
    """The best of the steps eta0 2^k, k whole: from the eta0 of the settings up or down as long as the trials improve.

    A trial is one pass over the sample from this state, by the settings' schedule, without averaging; it is judged by
    the objective of its model on the sample. Where that is worse than before the pass, the trial has diverged: among
    steps that are far too long, chance decides which is better. Leaves the settings with the eta0 of the last trial.
    If all diverge, the first is returned.
    """
    check_state(state, sample.rows, sample.targets)
    lay_out(state, sample.rows.sparse)
    start = copy.copy(state)
    start.average = start.average_bias = None
    start.average_scale = start.averaged = 0
    trial = copy.deepcopy(start)

    def cost(eta0: float) -> float:
        overwrite(trial, start)
        settings.begin_with(eta0)
        totals = Totals()
        sample.train(loss, settings, trial, totals)
        objective = math.inf if totals.bad_row >= 0 or totals.clipped else _objective(loss, settings, trial, sample)
        return objective if objective <= before else math.inf

    before = _objective(loss, settings, trial, sample)
    eta0 = best = settings.eta0
    least = cost(eta0)
    factor = FACTOR if cost(eta0 * FACTOR) < least else 1 / FACTOR
    while LOWEST < (eta0 := eta0 * factor) < HIGHEST:
        value = cost(eta0)
        if value < least:
            best, least = eta0, value
        elif math.isfinite(least):
            break
    return best


def _objective(loss: Loss, settings: Settings, state: State, sample: Piece) -> float:
    """On the sample, of the model that the state becomes; infinite if it is not finite."""
    settle(state, state.weights)
    measure(state, state.weights)
    scores = scores_of(state, sample.rows, sample.order)
    if not np.isfinite(scores).all():
        return math.inf
    weights = None if sample.weights is None else sample.weights[sample.order]
    mean = float(np.average(losses_of(loss, scores, sample.targets[sample.order]), weights=weights))
    ridge, lasso = (1 - settings.l1_ratio) * state.sum_squares / 2, settings.l1_ratio * state.sum_abs
    objective = mean + (settings.strength * (ridge + lasso) if settings.strength else 0.0)
    return objective if math.isfinite(objective) else math.inf
