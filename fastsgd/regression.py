"""SGDRegressor: parameters around the common bases."""

from __future__ import annotations

from typing import Any, Self

from ._arrays import Array
from ._linear import LinearSGD
from ._regressor import Regressor
from .losses import LOSSES

REAL_LOSSES = tuple(name for name, loss in LOSSES.items() if loss.targets == "real")


class SGDRegressor(Regressor, LinearSGD):
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
callbacks, n_jobs, optimizer, tune_eta0
        As for `SGDClassifier`; early stopping goes by R^2.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
    intercept_ : ndarray of shape (1,) or (n_outputs,)
    n_iter_, t_, loss_curve_, validation_scores_, eta0_, n_features_in_, feature_names_in_
        As for `SGDClassifier`.

    Notes
    -----
    Scale the features to zero mean and unit variance first: with raw columns the steps overshoot and training
    diverges, which is reported. Or take `optimizer='normalized'`, which does not mind the columns' units, and
    whose model is a mean of its iterates (see `average`). Bring large targets to unit variance there, too: the steps
    do not grow with them, and training takes long. Differences from scikit-learn as for `SGDClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import SGDRegressor
    >>> X = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> model = SGDRegressor(max_iter=200, tol=None, random_state=0).fit(X, 3 * X[:, 0] + 1)
    >>> print(model.predict([[0.5]]).round(1))
    [2.5]
    """

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
        optimizer: str = "sgd",
        tune_eta0: bool = False,
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
        return self._fit_targets(X, y, sample_weight, coef_init=coef_init, intercept_init=intercept_init)

    def _check_each_parameter(self) -> None:
        super()._check_each_parameter()
        self._check_choice("loss", REAL_LOSSES)

    def _remedy(self) -> str:
        remedy = super()._remedy()  # of normalized it speaks of targets already
        return remedy if self.optimizer == "normalized" else f"{remedy} Large targets have to be scaled in any case."

    def _shape_coef(self, coef: Array) -> Array:
        return coef.reshape(-1) if len(coef) == 1 else coef
