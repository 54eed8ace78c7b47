"""The losses in public: values and derivatives over arrays, and a check of one against the other.

`LOSSES` maps each name to an object with `value(z, t)`, `gradient(z, t)`, `convex`, and its formula as docstring.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .core import cross_entropy, losses
from .core.losses import EpsilonLoss, Loss

__all__ = ["LOSSES", "Loss", "check_gradient", "get_loss", "zero_one"]


def _classes() -> list[type[Loss]]:
    """All that are compiled and have a name, by what their targets are."""
    found = [item for module in (cross_entropy, losses) for item in vars(module).values() if isinstance(item, type)]
    named = [cls for cls in found if issubclass(cls, Loss) and cls.name]
    return sorted(named, key=lambda cls: ("sign", "real", "class").index(cls.targets))


LOSSES: Mapping[str, Loss] = MappingProxyType({cls.name: cls() for cls in _classes()})


def get_loss(name: str, *, epsilon: float = 0.1) -> Loss:
    """The loss of that name, its threshold set where it has one.

    Parameters
    ----------
    name : str
        A key of `LOSSES`.
    epsilon : float, default=0.1
        Threshold of 'huber', 'epsilon_insensitive' and 'squared_epsilon_insensitive', in the target's units.

    Raises
    ------
    ValueError
        If there is no such loss to train on.
    """
    loss = LOSSES.get(name) if isinstance(name, str) else None
    if loss is not None:
        return type(loss)(epsilon) if isinstance(loss, EpsilonLoss) else loss
    if name == "zero_one":
        raise ValueError(
            "zero_one has derivative 0 almost everywhere, so there is nothing to descend: train on a surrogate such "
            "as 'log_loss', 'hinge', 'modified_huber' or 'perceptron', and evaluate with fastsgd.losses.zero_one"
        )
    raise ValueError(f"there is no loss {name!r}; choose one of {', '.join(map(repr, LOSSES))}")


def zero_one(z: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
    """1 where sign(z) != t, else 0; z = 0 counts as -1. For evaluation: it cannot be trained on.

    Parameters
    ----------
    z : array_like of float
        Scores.
    t : array_like
        Targets -1 / +1, broadcast against z.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        If z is NaN somewhere or t is not -1 or +1.
    """
    scores, targets = np.asarray(z, np.float64), np.asarray(t, np.float64)
    if np.isnan(scores).any() or not (np.abs(targets) == 1).all():
        raise ValueError("zero_one takes scores that are not NaN and targets -1 or +1")
    errors: NDArray[np.float64] = ((scores > 0) != (targets > 0)).astype(np.float64)
    return errors


def check_gradient(loss: str | Any, z: ArrayLike | Any, t: ArrayLike | Any) -> float:
    """Compare a derivative with two-sided finite differences: a loss's, or the gradient that trains a whole model.

    ``check_gradient(loss, z, t)`` moves every score, ``check_gradient(model, X, y)`` every weight and intercept of a
    fitted model, linear or network, by h = max(1, abs(value)) eps^(1/3) each way, which balances rounding and
    truncation. Of a model the objective is the mean loss of the rows X, weighted by `class_weight`, plus the l2
    penalty, all in float64; l1 is left out. Its gradient is what the compiled kernel takes away in one step of
    full-batch descent, so what is checked is the very code that trains. That costs twice as many looks at X as there
    are parameters.

    Near a kink (of 'hinge' at a margin of 1, of a relu at 0) one-sided slopes differ, and so will the two.

    Parameters
    ----------
    loss : str, object or estimator
        A name of `LOSSES`, any object with `value(z, t)` and `gradient(z, t)`, or a fitted estimator of this package.
    z : array_like of float
        Scores, (n,) or, for a loss of K scores, (n, K). Of an estimator: X, as for its `fit`.
    t : array_like
        Targets as the loss takes them. Of an estimator: y.

    Returns
    -------
    float
        The largest absolute difference, relative to the derivative where that exceeds 1. About 1e-9 is right; where an
        error is in the derivative, it is as large as the error.

    Raises
    ------
    ValueError
        If z and t, or X and y, are invalid.
    NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from fastsgd import MLPClassifier, check_gradient
    >>> X, y = [[0.0, 1.0], [1.0, -1.0], [2.0, 0.5]], [0, 1, 2]
    >>> model = MLPClassifier((4,), "tanh", max_iter=3, tol=None, random_state=0).fit(X, y)
    >>> check_gradient(model, X, y) < 1e-8
    True
    """
    if not isinstance(loss, str) and hasattr(loss, "_known_rows"):
        from ._gradients import check_model

        return check_model(loss, z, t)
    if isinstance(loss, str):
        loss = LOSSES[loss] if loss in LOSSES else get_loss(loss)
    scores = np.asarray(z, np.float64)
    gradient = np.asarray(loss.gradient(scores, t))
    step = np.maximum(1.0, np.abs(scores)) * np.finfo(np.float64).eps ** (1 / 3)
    differences = np.empty_like(gradient)
    # A loss of K scores is differentiated one column at a time, another one everywhere at once.
    joint = np.ndim(loss.value(scores, t)) < scores.ndim
    moved: list[Any] = [(..., column) for column in range(scores.shape[-1])] if joint else [...]
    for at in moved:
        above, below = scores.copy(), scores.copy()
        above[at] += step[at]
        below[at] -= step[at]
        differences[at] = (loss.value(above, t) - loss.value(below, t)) / (above[at] - below[at])
    if not gradient.size:
        raise ValueError("there are no scores to check at")
    return float(np.max(np.abs(differences - gradient) / np.maximum(1.0, np.abs(gradient))))
