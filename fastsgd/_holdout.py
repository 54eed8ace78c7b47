"""The rows that `early_stopping` holds out, and how a state of the training is rated on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from ._arrays import Array
from ._scores import scores_of
from ._validation import Rows
from .core.losses import Loss
from .core.state import State
from .io import CSR

Rating = Callable[[State], float]


def split(n: int, fraction: float, seed: int, weights: Array | None, codes: Array | None) -> tuple[Array, Array]:
    """Row numbers to train on and to hold out, each class in its share where there are `codes`.

    Rows of weight 0 are in neither, so that they change nothing.
    """
    present = np.arange(n) if weights is None else np.flatnonzero(weights)
    n = present.size
    size = int(np.ceil(fraction * n))
    shuffled = present[np.random.default_rng(seed).permutation(n)].astype(np.uint32)
    if codes is not None:
        shuffled = shuffled[np.argsort(codes[shuffled], kind="stable")]
    # Every k-th row of the sorted ones, k = n / size, takes the same share of each class.
    held = np.zeros(n, bool)
    held[((np.arange(size) + 0.5) * (n / size)).astype(np.int64)] = True
    training, validation = shuffled[~held], shuffled[held]
    if not training.size:
        raise ValueError(
            f"Splitting {n} samples (those of weight 0 do not count) into a train set and a validation set with "
            f"validation_fraction={fraction!r} led to an empty set. Change validation_fraction, add samples, or "
            "disable early_stopping."
        )
    if codes is not None and np.unique(codes[training]).size < np.unique(codes[present]).size:
        raise ValueError("early_stopping leaves a class without a row to train on; it needs two rows a class")
    return np.sort(training), np.sort(validation)


def rate_scores(rows: Rows, held: Array, rate: Callable[[Array], float]) -> Rating:
    """`rate` takes the scores of the rows `held`."""
    return lambda state: rate(scores_of(state, rows, held))


def rate_loss(rows: Rows, held: Array, loss: Loss, targets: Array, weights: Array | None) -> Rating:
    """The mean loss, negative, so that higher is better as with every other rating."""
    targets, chosen = targets[held], None if weights is None else weights[held]

    def rating(scores: Array) -> float:
        if not np.isfinite(scores).all():
            return -np.inf
        return -float(np.average(losses_of(loss, scores, targets), weights=chosen))

    return rate_scores(rows, held, rating)


def losses_of(loss: Loss, scores: Array, targets: Array) -> Array:
    """The loss of each row, (n,), of targets as the kernel takes them."""
    K = scores.shape[1]
    if targets.shape[1] == K:
        values = loss.value(scores, targets)
    else:  # class numbers
        indicator = np.eye(K)[targets[:, 0].astype(np.intp)]
        values = loss.value(scores, indicator if loss.joint else 2 * indicator - 1)
    total: Array = np.asarray(values).reshape(len(scores), -1).sum(axis=1)
    return total


def rate_by(scoring: Any, model: Any, rows: Rows, held: Array, y: Array, sample_weight: Array | None) -> Rating:
    """By a scorer's name or a callable (estimator, X, y), given `sample_weight=` too if the caller of `fit` gave it.

    `model` is an estimator that lacks coefficients only.
    """
    if isinstance(scoring, str):
        try:
            from sklearn.metrics import get_scorer
        except ImportError as error:
            raise ImportError(
                f"scoring={scoring!r} names a scorer of scikit-learn, which is not installed: give a callable "
                "(estimator, X, y) -> float, 'loss' or None"
            ) from error
        scorer = get_scorer(scoring)
    else:
        scorer = scoring
    X, given = _take(rows, held), {} if sample_weight is None else {"sample_weight": sample_weight[held]}

    def rating(state: State) -> float:
        vars(model).update(model._published_by(state), _state=state)
        score = scorer(model, X, y, **given)
        if not isinstance(score, Real) or np.isnan(float(score)):
            raise ValueError(f"scoring={scoring!r} returned {score!r} where a number belongs")
        return float(score)

    return rating


def _take(rows: Rows, chosen: Array) -> Any:
    """Some of the rows as a matrix: of scipy.sparse if that is loaded, since scorers may look at it."""
    if rows.indptr is None:
        return rows.data.reshape(rows.shape)[chosen]
    lengths = np.diff(rows.indptr)[chosen]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    stored = np.repeat(rows.indptr[chosen] - indptr[:-1], lengths) + np.arange(indptr[-1])
    taken = CSR(rows.data[stored], rows.indices[stored], indptr, (len(chosen), rows.shape[1]))
    return taken.to_scipy() if "scipy.sparse" in sys.modules else taken
