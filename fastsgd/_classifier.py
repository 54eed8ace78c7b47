"""What the classifiers share, whatever their scores come from: labels, targets, predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from . import _validation as check
from ._arrays import Array
from ._labels import Task, class_task, combine_weights, encode, encode_known, encode_targets, label_task
from ._probabilities import PROBABILISTIC, log_probabilities, probabilities
from ._threads import lock_of, one_at_a_time
from ._trained import Trained
from ._validation import Rows
from .core.scores import winners


class Classifier(Trained):
    """K scores, one for each class; with two classes a single one, positive for the second."""

    _estimator_type = "classifier"
    class_weight: Any = None
    classes_: Array
    multilabel_: bool

    @property
    def _loss_of_classes(self) -> str:
        """The loss where a row has one label."""
        return self.loss

    @one_at_a_time
    def _fit_labels(self, X: Any, y: Any, sample_weight: Any, **initial: Any) -> Self:
        """What `fit` does; `initial` goes to `_starting_state`."""
        self._check_parameters()
        rows = self._new_rows(X, values=not self._meets_all(sample_weight))
        sample_weight = check.check_weights(sample_weight, rows.shape[0])
        task = self._task(y, rows)
        weights = self._weights(task, sample_weight)
        state = self._starting_state(rows, task.n_outputs, **initial)
        fitted = {**self._fitted(task), "feature_names_in_": check.feature_names(X)}
        validation = self._hold_out(rows, task, weights, sample_weight, fitted) if self.early_stopping else None
        task.truth = task.truth[:0].copy()  # two bytes a row, of no more use
        return self._fit(rows, task, weights, state, epochs=self.max_iter, validation=validation, fitted=fitted, X=X)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Make one pass over a chunk of the data, going on from the present state.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like of shape (n_classes,)
            All labels that will ever come; required by the first call unless y is a matrix of 0 and 1.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As for `fit`, and if y has a label that `classes` has not.
        """
        with lock_of(self):  # sooner than `one_at_a_time`: of one row its call would be a twentieth of the time
            return self._fit_chunk(X, y, classes, sample_weight)

    def _fit_chunk(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Self:
        self._check_parameters()
        first = not hasattr(self, "_state")
        if self.early_stopping:
            raise ValueError("early_stopping should be False with partial_fit")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight {self.class_weight!r} is not supported for partial_fit. Compute the weights from a "
                "large sample, n / (K bincount(y)), and pass them as a dict."
            )
        rows = self._new_rows(X) if first else self._known_rows(X, self._state.weights.dtype)
        sample_weight = check.check_weights(sample_weight, rows.shape[0])
        task = self._task(y, rows, classes, chunk=True)
        weights = self._weights(task, sample_weight)
        fitted = self._fitted(task)
        if first:
            fitted["feature_names_in_"] = check.feature_names(X)
            state = self._first_state(rows, task.n_outputs)
        else:
            state = self._state_now()
        return self._fit(rows, task, weights, state, epochs=None, fitted=fitted)

    def _known_classes(self, classes: Any, matrix: Array | None) -> Array:
        if not hasattr(self, "classes_"):
            if classes is None and matrix is not None and self.loss != "softmax":
                return np.arange(matrix.shape[1])
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            known = encode(check.check_labels(classes, np.size(np.asarray(classes)), "classes"))[0]
            if len(known) < 2:
                raise ValueError(f"The number of classes has to be greater than one; got {len(known)} class")
            return known
        if classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        if self.multilabel_ and matrix is None:
            raise ValueError(f"y was a matrix of {len(self.classes_)} labels before and is one label a row now")
        if matrix is not None and not self.multilabel_ and self.loss != "softmax":
            raise ValueError("y was one label a row before and is a matrix now")
        return self.classes_

    def _task(self, y: Any, rows: Rows, classes: Any = None, *, chunk: bool = False) -> Task:
        """What to learn; of a chunk, the classes are those given to the first call of partial_fit."""
        n, dtype, y = rows.shape[0], rows.data.dtype, check.as_targets(y)
        matrix = check.target_matrix(y, n)
        known = self._known_classes(classes, matrix) if chunk else None
        if matrix is not None:
            labels = np.arange(matrix.shape[1]) if known is None else known
            if len(labels) != matrix.shape[1]:
                raise ValueError(f"y has {matrix.shape[1]} columns for {len(labels)} classes")
            if self.loss != "softmax":
                check.check_indicator(matrix)
                return label_task(self.loss, self._threshold, matrix, labels, dtype)
            check.check_probabilities(matrix)
            codes = matrix.argmax(axis=1)
        elif known is None:
            labels, codes = encode_targets(y, n)
        else:
            labels, codes = known, encode_known(check.check_labels(y, n), known)
        if len(labels) < 2:
            raise ValueError(
                f"The number of classes has to be greater than one; got {len(labels)} class: {labels.tolist()[0]!r} in "
                "every row"
            )
        return class_task(self._loss_of_classes, self._threshold, codes, labels, matrix, dtype)

    def _weights(self, task: Task, sample_weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        if task.classes is None or task.codes is None:
            raise ValueError("class_weight is for one label a row, and y is a matrix: use sample_weight instead")
        return combine_weights(self.class_weight, task.classes, task.codes, sample_weight)

    def _fitted(self, task: Task) -> dict[str, Any]:
        return {"classes_": task.classes, "multilabel_": task.multilabel}

    def _rate(self, scores: Array, truth: Array, sample_weight: Array | None) -> float:
        right = ((scores > 0) == truth).all(axis=1) if truth.ndim == 2 else _winners(scores) == truth
        return float(np.average(right, weights=sample_weight))

    def decision_function(self, X: Any) -> Array:
        """Scores, W x + b of a linear model.

        Parameters
        ----------
        X : {array-like, CSR, sparse matrix, table} of shape (n, d)

        Returns
        -------
        ndarray of shape (n,) for two classes, positive meaning `classes_[1]`, else (n, n_classes); with several labels
        a row always (n, n_labels), positive meaning that the row has the label

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X is invalid or has another number of columns than the model.
        """
        scores = self._scores(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Array:
        """Labels of the highest scores; parameters and errors as for `decision_function`.

        Returns
        -------
        ndarray of shape (n,), or (n, n_labels) of 0 and 1 if a row may have several labels
        """
        scores = self._scores(X)
        return (scores > 0).astype(np.int64) if self.multilabel_ else self.classes_[_winners(scores)]

    @property
    def predict_proba(self) -> Callable[[Any], Array]:
        """Probabilities of the classes, (n, n_classes) float64, for an X as in `decision_function`.

        sigma(z) for 'log_loss' and 'logistic_squared_error', normalised to sum to 1 with more than two classes
        (Zadrozny, Elkan 2002); softmax(z) for 'softmax'; (clip(z, -1, 1) + 1) / 2 for 'modified_huber' (Zhang 2004),
        normalised likewise. If a row may have several labels, that of each label, not normalised.

        Raises
        ------
        AttributeError
            For the other losses, whose scores are no probabilities.
        """
        self._check_probabilistic("predict_proba")
        return self._predict_proba

    @property
    def predict_log_proba(self) -> Callable[[Any], Array]:
        """Logarithms of `predict_proba`, exact where the probability itself is too small to tell from 0."""
        self._check_probabilistic("predict_log_proba")
        return self._predict_log_proba

    def _check_probabilistic(self, method: str) -> None:
        if self.loss not in PROBABILISTIC:
            raise AttributeError(
                f"This {type(self).__name__!r} has no attribute {method!r}, since probability estimates are not "
                f"available for loss={self.loss!r}: use decision_function, or train with loss='log_loss', 'softmax' or "
                "'modified_huber', or calibrate the scores"
            )

    def _predict_proba(self, X: Any) -> Array:
        scores = self._scores(X)
        loss = self.loss if self.multilabel_ else self._loss_of_classes
        return probabilities(loss, scores, multilabel=self.multilabel_)

    _predict_proba.__name__ = "predict_proba"  # which meta-estimators go by

    def _predict_log_proba(self, X: Any) -> Array:
        scores = self._scores(X)
        loss = self.loss if self.multilabel_ else self._loss_of_classes
        return log_probabilities(loss, scores, multilabel=self.multilabel_)

    _predict_log_proba.__name__ = "predict_log_proba"

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the rows, by weight, whose label is predicted; of several labels a row, all have to be.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        float
        """
        predicted = self.predict(X)
        n = len(predicted)
        y = check.as_targets(y)
        matrix = check.target_matrix(y, n) if self.multilabel_ else None
        if matrix is not None and matrix.shape == predicted.shape:
            check.check_indicator(matrix)
            right = (predicted == matrix).all(axis=1)
        else:
            right = predicted == check.check_labels(y, n)
        return float(np.average(right, weights=check.check_weights(sample_weight, n)))


def _winners(scores: Array) -> Array:
    """Class numbers: the sign of one score, z = 0 being class 0, or the highest of K."""
    codes = np.empty(len(scores), np.intp)
    winners(scores, codes)
    return codes
