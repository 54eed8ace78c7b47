"""SGDClassifier: labels, targets and shapes around the common base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np

from . import _validation as check
from ._arrays import Array
from ._labels import Task, class_task, combine_weights, encode, encode_known, label_task
from ._linear import LinearSGD
from ._probabilities import PROBABILISTIC, log_probabilities, probabilities
from ._validation import Rows
from .losses import get_loss


class SGDClassifier(LinearSGD):
    """Linear classifier trained by stochastic gradient descent.

    Minimises the weighted mean of a loss plus a penalty, one row (or `batch_size` rows) at a time. With more than two
    classes the losses of one score train one output per class against the rest, all in the same visit to a row;
    'softmax', 'multiclass_hinge' and 'multiclass_perceptron' train the outputs jointly. With two classes there is one
    output, and these three are 'log_loss', 'hinge' and 'perceptron'. With several labels a row, y a matrix of 0 and 1,
    the losses of one score train one output per label, again in the same visit.

    Parameters
    ----------
    loss : str, default='hinge'
        A name of `fastsgd.losses.LOSSES`, whose docstrings give the formulas: 'hinge', 'log_loss', 'modified_huber',
        'squared_hinge', 'perceptron', 'logistic_squared_error', 'softmax', 'multiclass_hinge',
        'multiclass_perceptron', or one for regression, with targets -1 and +1.
    penalty : {'l2', 'l1', 'elasticnet', None}, default='l2'
        alpha ||W||^2 / 2, alpha ||W||_1 or a mixture; the intercept is not penalised.
    alpha : float, default=0.0001
        Strength of the penalty; also sets the step size of 'optimal'.
    l1_ratio : float, default=0.15
        Share of l1 in 'elasticnet', in [0, 1].
    fit_intercept : bool, default=True
        Whether scores have an intercept.
    max_iter : int, default=1000
        Passes over the data that `fit` makes at most.
    tol : float or None, default=1e-3
        `fit` stops once `n_iter_no_change` passes in a row have failed to lower the mean objective of a pass (each
        row's loss taken before its own update) by `tol` below the best so far. None: always `max_iter` passes.
    shuffle : bool or 'blocks', default=True
        Whether every pass visits the rows in a new random order. 'blocks': about a megabyte of neighbouring rows at a
        time, 64 of these blocks mixed, for data on a disk (`fastsgd.load_csr`).
    verbose : int, default=0
        1 prints a line per pass: objective, validation score if there is one, and rows per second.
    epsilon : float, default=0.1
        Threshold of 'huber', 'epsilon_insensitive' and 'squared_epsilon_insensitive'.
    n_jobs : int or None, default=None
        Threads that train, and that score sparse rows: None is one, -1 one for each CPU. Another number makes another
        model, equally good; see the notes.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the shuffling and of the validation split.
    learning_rate : {'optimal', 'constant', 'invscaling', 'adaptive', 'pa1', 'pa2'}, default='optimal'
        Step t = 1, 2, ...: 'constant' eta0; 'optimal' 1 / (alpha (t0 + t - 1)) with Bottou's t0 = alpha^(-3/4);
        'invscaling' eta0 / t^power_t; 'adaptive' eta0, divided by 5 whenever the criterion would stop training;
        'pa1' min(eta0, L / ||x||^2) and 'pa2' L / (||x||^2 + 1 / (2 eta0)), the passive-aggressive steps [1]_.
    eta0 : float, default=0.01
        Step size, or the aggressiveness C of 'pa1' and 'pa2'.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    early_stopping : bool, default=False
        Hold out `validation_fraction` of the rows, stratified, stop by the score there, keep the best weights.
    validation_fraction : float, default=0.1
        Share of rows held out by `early_stopping`.
    n_iter_no_change : int, default=5
        Passes without improvement that end training.
    class_weight : dict, 'balanced' or None, default=None
        Weight of each class, multiplied into the rows' weights; 'balanced' is n / (K bincount(y)).
    warm_start : bool, default=False
        Whether `fit` starts from the last solution.
    average : bool or int, default=False
        True: `coef_` is the mean of the iterates of all steps [2]_; an int: of the steps from that one on.
    batch_size : int, default=1
        Rows scored at the same weights before one step with their mean gradient; n or more is full-batch descent. A
        batch takes `batch_size` x n_outputs x 8 bytes.
    intercept_decay : float or 'auto', default='auto'
        Factor of the intercept's step. 'auto' is scikit-learn's choice, 0.01 on sparse and 1 on dense input; a number
        makes the two train the same model.
    scoring : str, callable or None, default=None
        What `early_stopping` goes by, higher being better: None, what `score` returns; 'loss', the mean loss, negated;
        another str, that scorer of scikit-learn, which has to be installed; a callable (estimator, X, y) -> float,
        called with `sample_weight` by name as well if `fit` got one.
    callbacks : list of callables or None, default=None
        Each is called after every pass with an `fastsgd.Epoch`, which tells epoch, loss, seconds and validation score,
        and the coefficients if asked. One that returns True ends training, as if the criterion had been met.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; 0 .. K-1 where y is a matrix.
    multilabel_ : bool
        Whether a row may have several labels.
    coef_ : ndarray of shape (1, n_features) for two classes, else (n_classes, n_features)
        Weights, of X's dtype.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    n_iter_ : int
        Passes made.
    t_ : float
        Steps made, plus 1.
    loss_curve_ : list of float
        Mean objective of each pass; without the penalty for 'pa1' and 'pa2'.
    validation_scores_ : list of float
        Score on the rows held out after each pass; only with `early_stopping`.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, only if X was a table with names of text; checked by the other methods.

    Notes
    -----
    With `shuffle=False` and the same parameters, coefficients equal those of scikit-learn's SGDClassifier, except:

    - l1 reaches every weight once more at the end of a call, so that rare features are as shrunk as frequent ones, and
      on dense rows, as on sparse ones, only a row's non-zero features while training goes on;
    - the average with l1 is that of the truncated iterates;
    - the l1 account runs on over calls of `partial_fit`, as if they were one;
    - rows of weight 0 are left out altogether, and the objective that decides when to stop is the weighted one;
    - ||W||^2 in that objective is that of all weights, on sparse input too;
    - one-versus-rest outputs share the row order, the epochs and, in 'adaptive', the step size; a class weight counts
      for its rows in all K outputs, not only in the class's own;
    - `early_stopping` keeps the best weights, not the last.

    A `random_state` gives another row order and validation split than there. While an estimator trains, no other
    thread may use it.

    With `n_jobs` > 1 each thread trains a copy of the model on its share of the rows, and up to 128 times in a pass the
    copies become their mean, moved on by a share 1 - 1 / n_jobs of the model's last change, which makes up for the
    smaller steps of a mean [5]_. The same data, seed and `n_jobs` give the same bits whatever else the machine does.
    Where merging would cost more than it saves (small data, or so many weights that a pass has fewer than 8 n_jobs
    non-zeros for each), fewer threads train, down to one; that depends on the sizes of the data alone. The copies take
    n_jobs + 1 times the memory of the weights. No thread outlives the call.

    'pa1' and 'pa2' work with every loss; the derivation in [1]_ is for 'hinge' and 'epsilon_insensitive'.

    Entries of a CSR row that name the same column add up, as everywhere; only ||x||^2, which 'pa1', 'pa2' and the
    penalty's part of `loss_curve_` use, takes them for different columns. `X.sum_duplicates()` settles that.

    References
    ----------
    .. [1] Crammer, Dekel, Keshet, Shalev-Shwartz, Singer: Online Passive-Aggressive Algorithms, JMLR 7 (2006).
    .. [2] Xu: Towards Optimal One Pass Large Scale Learning with Averaged Stochastic Gradient Descent (2011).
    .. [3] Bottou: Stochastic Gradient Descent Tricks (2012).
    .. [4] Tsuruoka, Tsujii, Ananiadou: Stochastic Gradient Descent Training for L1-regularized Log-linear Models with
       Cumulative Penalty, ACL (2009).
    .. [5] Chen, Huo: Scalable Training of Deep Learning Machines by Incremental Block Training with Intra-block
       Parallel Optimization and Blockwise Model-Update Filtering, ICASSP (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import SGDClassifier
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> y = np.array(["left", "left", "right", "right"])
    >>> model = SGDClassifier(loss="log_loss", max_iter=20, tol=None, random_state=0).fit(X, y)
    >>> print(model.predict([[-0.8, -1.0]])[0])
    left
    """

    _estimator_type = "classifier"
    class_weight: Any
    classes_: Array
    multilabel_: bool

    def __init__(
        self,
        loss: str = "hinge",
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
        n_jobs: int | None = None,
        random_state: Any = None,
        learning_rate: str = "optimal",
        eta0: float = 0.01,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        average: bool | int = False,
        batch_size: int = 1,
        intercept_decay: float | str = "auto",
        scoring: Any = None,
        callbacks: Any = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None, sample_weight: Any = None) -> Self:
        """Train from scratch, or from the last solution with `warm_start`.

        Parameters
        ----------
        X : {array-like, CSR, sparse matrix, table} of shape (n, d)
            Features. float32 and float64 arrays, C-contiguous or CSR, are used as they are, anything else is copied.
            A table is one of pandas, polars or pyarrow, with columns of numbers; sparse columns stay sparse.
        y : array-like of shape (n,) or (n, K)
            Labels: integers, booleans or strings. Or 1 where a row has the label 0 .. K-1 and 0 where not, an array or
            a sparse matrix; for loss='softmax' the probability of each.
        coef_init : array-like of the shape of `coef_`, optional
            Weights to start from.
        intercept_init : array-like of the shape of `intercept_`, optional
            Intercepts to start from.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows, >= 0; rows of weight 0 are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the data is invalid (the message says what and where), y has one class only, or
            training diverges.
        """
        self._check_parameters()
        rows = check.check_rows(X)
        sample_weight = check.check_weights(sample_weight, rows.shape[0])
        task = self._task(y, rows)
        weights = self._weights(task, sample_weight)
        state = self._starting_state(rows, task.n_outputs, coef_init, intercept_init)
        fitted = {**self._fitted(task), "feature_names_in_": check.feature_names(X)}
        validation = self._hold_out(rows, task, weights, sample_weight, fitted) if self.early_stopping else None
        task = replace(task, truth=task.truth[:0].copy())  # two bytes a row, of no more use
        return self._fit(rows, task, weights, state, epochs=self.max_iter, validation=validation, fitted=fitted)

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
        self._check_parameters()
        first = not hasattr(self, "_state")
        if self.early_stopping:
            raise ValueError("early_stopping should be False with partial_fit")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight {self.class_weight!r} is not supported for partial_fit. Compute the weights from a "
                "large sample, n / (K bincount(y)), and pass them as a dict."
            )
        rows = check.check_rows(X) if first else self._known_rows(X, self._state.weights.dtype)
        sample_weight = check.check_weights(sample_weight, rows.shape[0])
        task = self._task(y, rows, classes, chunk=True)
        weights = self._weights(task, sample_weight)
        fitted = self._fitted(task)
        if first:
            fitted["feature_names_in_"] = check.feature_names(X)
            state = self._new_state(task.n_outputs, rows.shape[1], rows.data.dtype, rows.sparse)
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

    def _check_each_parameter(self) -> None:
        super()._check_each_parameter()
        try:
            get_loss(self.loss)
        except ValueError as error:
            name = type(self).__name__
            raise ValueError(f"The 'loss' parameter of {name} must be another, got {self.loss!r}: {error}") from error
        if self.class_weight is not None and not isinstance(self.class_weight, dict):
            check.check_choice(self, "class_weight", ("balanced", None))

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
                return label_task(self.loss, self.epsilon, matrix, labels, dtype)
            check.check_probabilities(matrix)
            codes = matrix.argmax(axis=1)
        elif known is None:
            labels, codes = encode(check.check_labels(y, n))
        else:
            labels, codes = known, encode_known(check.check_labels(y, n), known)
        if len(labels) < 2:
            raise ValueError(
                f"The number of classes has to be greater than one; got {len(labels)} class: {labels[0]!r} in every row"
            )
        return class_task(self.loss, self.epsilon, codes, labels, matrix, dtype)

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
        """Scores W x + b.

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
        return probabilities(self.loss, scores, multilabel=self.multilabel_)

    _predict_proba.__name__ = "predict_proba"  # which meta-estimators go by

    def _predict_log_proba(self, X: Any) -> Array:
        scores = self._scores(X)
        return log_probabilities(self.loss, scores, multilabel=self.multilabel_)

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
    winners: Array = (scores[:, 0] > 0).astype(np.intp) if scores.shape[1] == 1 else scores.argmax(axis=1)
    return winners
