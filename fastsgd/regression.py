"""SGDRegressor: targets and shapes around the common base."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from . import _validation as check
from ._arrays import Array
from ._labels import Task
from ._linear import LinearSGD
from ._validation import Rows
from .losses import LOSSES, get_loss

REAL_LOSSES = tuple(name for name, loss in LOSSES.items() if loss.targets == "real")


class SGDRegressor(LinearSGD):
    """Linear regression trained by stochastic gradient descent.

    Parameters
    ----------
    loss : {'squared_error', 'huber', 'epsilon_insensitive', 'squared_epsilon_insensitive'}, default='squared_error'
        Formulas in `fastsgd.losses.LOSSES`.
    learning_rate : {'invscaling', 'constant', 'optimal', 'adaptive', 'pa1', 'pa2'}, default='invscaling'
    power_t : float, default=0.25
        Exponent of 'invscaling'.
    penalty, alpha, l1_ratio, fit_intercept, max_iter, tol, shuffle, verbose, epsilon, random_state, eta0, \
early_stopping, validation_fraction, n_iter_no_change, warm_start, average, batch_size, intercept_decay, scoring, \
callbacks, n_jobs
        As for `SGDClassifier`; early stopping goes by R^2.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
    intercept_ : ndarray of shape (1,) or (n_outputs,)
    n_iter_, t_, loss_curve_, validation_scores_, n_features_in_, feature_names_in_
        As for `SGDClassifier`.

    Notes
    -----
    Scale the features to zero mean and unit variance first: with raw columns the steps overshoot and training
    diverges, which is reported. Differences from scikit-learn as for `SGDClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import SGDRegressor
    >>> X = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> model = SGDRegressor(max_iter=200, tol=None, random_state=0).fit(X, 3 * X[:, 0] + 1)
    >>> print(model.predict([[0.5]]).round(1))
    [2.5]
    """

    _estimator_type = "regressor"

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool | str = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        random_state: Any = None,
        learning_rate: str = "invscaling",
        eta0: float = 0.01,
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: bool | int = False,
        batch_size: int = 1,
        intercept_decay: float | str = "auto",
        scoring: Any = None,
        callbacks: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None, sample_weight: Any = None) -> Self:
        """Train from scratch, or from the last solution with `warm_start`.

        Parameters
        ----------
        X : {array-like, CSR, sparse matrix, table} of shape (n, d)
            Features. float32 and float64 arrays, C-contiguous or CSR, are used as they are, anything else is copied.
            A table is one of pandas, polars or pyarrow, with columns of numbers; sparse columns stay sparse.
        y : array-like of shape (n,) or (n, n_outputs)
            Targets; trained on in X's dtype, all outputs in the same visit to a row.
        coef_init : array-like of the shape of `coef_`, optional
            Weights to start from.
        intercept_init : array-like of the shape of `intercept_`, optional
            Intercept to start from.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows, >= 0; rows of weight 0 are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the data is invalid (the message says what and where) or training diverges.
        """
        self._check_parameters()
        rows = check.check_rows(X)
        task, weights = self._task(y, rows), check.check_weights(sample_weight, rows.shape[0])
        state = self._starting_state(rows, task.n_outputs, coef_init, intercept_init)
        fitted = {"feature_names_in_": check.feature_names(X)}
        validation = self._hold_out(rows, task, weights, weights, fitted) if self.early_stopping else None
        return self._fit(rows, task, weights, state, epochs=self.max_iter, validation=validation, fitted=fitted)

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
        self._check_parameters()
        if self.early_stopping:
            raise ValueError("early_stopping should be False with partial_fit")
        first = not hasattr(self, "_state")
        rows = check.check_rows(X) if first else self._known_rows(X, self._state.weights.dtype)
        task, weights = self._task(y, rows), check.check_weights(sample_weight, rows.shape[0])
        fitted = {"feature_names_in_": check.feature_names(X)} if first else {}
        if not first and task.n_outputs != self._state.bias.size:
            raise ValueError(f"y has {task.n_outputs} columns, {self._state.bias.size} in earlier calls")
        if first:
            state = self._new_state(task.n_outputs, rows.shape[1], rows.data.dtype, rows.sparse)
        else:
            state = self._state_now()
        return self._fit(rows, task, weights, state, epochs=None, fitted=fitted)

    def predict(self, X: Any) -> Array:
        """W x + b.

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

    def _check_each_parameter(self) -> None:
        super()._check_each_parameter()
        check.check_choice(self, "loss", REAL_LOSSES)

    def _shape_coef(self, coef: Array) -> Array:
        return coef.reshape(-1) if len(coef) == 1 else coef

    def _task(self, y: Any, rows: Rows) -> Task:
        truth = check.check_real_targets(y, rows.shape[0], rows.data.dtype)
        targets = np.ascontiguousarray(truth).reshape(rows.shape[0], -1)
        return Task(get_loss(self.loss, epsilon=self.epsilon), targets, targets.shape[1], truth)

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
