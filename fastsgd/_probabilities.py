"""From the scores of a classifier to probabilities."""

from __future__ import annotations

import numpy as np

from ._arrays import Array

SIGMOIDS = ("log_loss", "logistic_squared_error")
PROBABILISTIC = (*SIGMOIDS, "softmax", "modified_huber")


def probabilities(loss: str, scores: Array, *, multilabel: bool) -> Array:
    """(n, n_classes) of float64 from scores (n, 1) for two classes or (n, n_classes); rows sum to 1 unless
    `multilabel`.
    """
    if loss != "modified_huber":
        proba: Array = np.exp(log_probabilities(loss, scores, multilabel=multilabel))
        return proba
    likely: Array = (np.clip(scores.astype(np.float64), -1, 1) + 1) / 2
    if multilabel:
        return likely
    if likely.shape[1] == 1:
        return np.hstack([1 - likely, likely])
    likely[likely.sum(axis=1) == 0] = 1
    likely /= likely.sum(axis=1, keepdims=True)
    return likely


def log_probabilities(loss: str, scores: Array, *, multilabel: bool) -> Array:
    """The logarithms, exact where a probability itself is too small to tell from 0."""
    if loss == "modified_huber":
        with np.errstate(divide="ignore"):
            return np.log(probabilities(loss, scores, multilabel=multilabel))
    z = scores.astype(np.float64)
    several = z.shape[1] > 1
    if not several:
        z = np.hstack([-z, z])
    z = np.clip(z, -np.finfo(np.float64).max / 4, np.finfo(np.float64).max / 4)
    logs = z if loss == "softmax" and several else -np.logaddexp(0, -z)
    if several and not multilabel:
        logs = logs - logs.max(axis=1, keepdims=True)
        logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
    return logs
