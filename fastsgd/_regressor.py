"""What the regressors share, whatever their scores come from: targets, predictions."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from . import _validation as check
from ._arrays import Array
from ._labels import Task
from ._threads import lock_of, one_at_a_time
from ._trained import Trained
from ._validation import Rows
from .losses import get_loss


class Regressor(Trained):
    """K scores, which are the predictions."""

    _estimator_type = "regressor"

    @one_at_a_time
    def _fit_targets(self, X: Any, y: Any, sample_weight: Any, **initial: Any) -> Self:
        """What `fit` does; `initial` goes to `_starting_state`."""
        self._check_parameters()
        rows = self._new_rows(X, values=not self._meets_all(sample_weight))
        task, weights = self._task(y, rows), check.check_weights(sample_weight, rows.shape[0])
        state = self._starting_state(rows, task.n_outputs, **initial)
        fitted = {"feature_names_in_": check.feature_names(X)}
        validation = self._hold_out(rows, task, weights, weights, fitted) if self.early_stopping else None
        return self._fit(rows, task, weights, state, epochs=self.max_iter, validation=validation, fitted=fitted, X=X)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Make one pass over a chunk of the data, going on from the present state.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As for `fit`.
        """
        with lock_of(self):
            return self._fit_chunk(X, y, sample_weight)

    def _fit_chunk(self, X: Any, y: Any, sample_weight: Any) -> Self:
        self._check_parameters()
        if self.early_stopping:
            raise ValueError("early_stopping should be False with partial_fit")
        first = not hasattr(self, "_state")
        rows = self._new_rows(X) if first else self._known_rows(X, self._state.weights.dtype)
        task, weights = self._task(y, rows), check.check_weights(sample_weight, rows.shape[0])
        fitted = {"feature_names_in_": check.feature_names(X)} if first else {}
        if not first and task.n_outputs != self._state.outputs:
            raise ValueError(f"y has {task.n_outputs} columns, {self._state.outputs} in earlier calls")
        state = self._first_state(rows, task.n_outputs) if first else self._state_now()
        return self._fit(rows, task, weights, state, epochs=None, fitted=fitted)

    def predict(self, X: Any) -> Array:
        """Scores, W x + b of a linear model.

        Parameters
        ----------
        X : {array-like, CSR, sparse matrix, table} of shape (n, d)

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X is invalid or has another number of columns than the model.
        """
        return _squeezed(self._scores(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 = 1 - sum s (y - prediction)^2 / sum s (y - mean)^2; 0 where y is constant and not met. Of several
        outputs, the mean.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        float
        """
        predicted = self.predict(X)
        targets = check.check_real_targets(y, len(predicted))
        return _r_squared(predicted, targets, check.check_weights(sample_weight, len(predicted)))

    def _task(self, y: Any, rows: Rows, classes: Any = None, *, chunk: bool = False) -> Task:
        truth = check.check_real_targets(y, rows.shape[0], rows.data.dtype)
        targets = np.ascontiguousarray(truth).reshape(rows.shape[0], -1)
        return Task(get_loss(self.loss, epsilon=self._threshold), targets, targets.shape[1], truth)

    def _rate(self, scores: Array, truth: Array, sample_weight: Array | None) -> float:
        return _r_squared(_squeezed(scores), truth, sample_weight)


def _squeezed(scores: Array) -> Array:
    return scores.reshape(-1) if scores.shape[1] == 1 else scores


def _r_squared(predicted: Array, targets: Array, weights: Array | None) -> float:
    """The mean over the columns where there are several, as in scikit-learn."""
    if predicted.shape != targets.shape:
        raise ValueError(f"y has shape {targets.shape}, what is predicted has {predicted.shape}")
    targets = targets.astype(np.float64)
    mean = np.average(targets, axis=0, weights=weights)
    error = np.atleast_1d(np.average((targets - predicted) ** 2, axis=0, weights=weights))
    spread = np.atleast_1d(np.average((targets - mean) ** 2, axis=0, weights=weights))
    share = np.divide(error, spread, out=(error != 0).astype(np.float64), where=spread != 0)
    return float(np.mean(1 - share))
