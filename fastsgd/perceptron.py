"""Perceptron: SGDClassifier with the settings of Rosenblatt's algorithm."""

from __future__ import annotations

from typing import Any

from .classification import SGDClassifier


class Perceptron(SGDClassifier):
    """Rosenblatt's perceptron: `SGDClassifier` with loss 'perceptron', a constant step and no penalty.

    A row on the wrong side of the boundary, or on it, is added to the weights with the sign of its class; the others
    change nothing (Rosenblatt 1958). With `batch_size` of n or more it is the full-batch perceptron.

    Parameters
    ----------
    penalty : {'l2', 'l1', 'elasticnet', None}, default=None
    eta0 : float, default=1.0
        Step size; without a penalty and from zero weights it only scales the model.
    random_state : int, RandomState, Generator or None, default=0
    alpha, l1_ratio, fit_intercept, max_iter, tol, shuffle, verbose, n_jobs, early_stopping, validation_fraction, \
n_iter_no_change, class_weight, warm_start, batch_size, intercept_decay, scoring, callbacks, optimizer
        As for `SGDClassifier`, with its attributes and methods.

    See Also
    --------
    SGDClassifier : its `loss='multiclass_perceptron'` is the joint rule for more than two classes.

    Examples
    --------
    >>> from fastsgd import Perceptron
    >>> Perceptron(max_iter=5, tol=None).fit([[0.0, 1.0], [1.0, 0.0]], [0, 1]).predict([[2.0, 1.0]])
    array([1])
    """

    def __init__(
        self,
        *,
        penalty: str | None = None,
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool | str = True,
        verbose: int = 0,
        eta0: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        batch_size: int = 1,
        intercept_decay: float | str = "auto",
        scoring: Any = None,
        callbacks: Any = None,
        optimizer: str = "sgd",
    ) -> None:
        super().__init__(
            "perceptron",
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            shuffle=shuffle,
            verbose=verbose,
            n_jobs=n_jobs,
            random_state=random_state,
            learning_rate="constant",
            eta0=eta0,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            class_weight=class_weight,
            warm_start=warm_start,
            batch_size=batch_size,
            intercept_decay=intercept_decay,
            scoring=scoring,
            callbacks=callbacks,
            optimizer=optimizer,
        )
