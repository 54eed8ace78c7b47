"""MLPClassifier and MLPRegressor: networks of one hidden layer."""

from __future__ import annotations

from typing import Any, Self

from ._classifier import Classifier
from ._network import Network
from ._regressor import Regressor
from .losses import LOSSES

# Of the losses with a threshold there is no parameter to set it.
CLASS_LOSSES = tuple(name for name, loss in LOSSES.items() if not hasattr(loss, "epsilon"))


class MLPClassifier(Classifier, Network):
    """Network of one hidden layer for classification, trained by stochastic gradient descent.

    Scores are z = W2 g(W1 x + b1) + b2. A step descends on the mean of a loss of z over m rows plus the penalty
    alpha (||W1||^2 + ||W2||^2) / (2 m). A sparse row of nnz values costs O(nnz h), however many features there are.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of one int, default=(100,)
        (h,), the number of hidden units. More layers are refused.
    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
        g: a, 1 / (1 + e^-a), tanh(a) or max(0, a).
    solver : {'adam', 'sgd', 'adagrad'}, default='adam'
        How a gradient becomes a step: 'adam' by running means of the gradient and its square [3]_; 'adagrad' by the sum
        of the squares [4]_; 'sgd' with one step size for all weights, without momentum. What 'adam' and 'adagrad' keep
        of each weight takes twice and once the memory of the weights. Where the parameter is called `optimizer`, these
        are the same; 'lbfgs', which is no stochastic descent, does not exist.
    alpha : float, default=0.0001
        Strength of the l2 penalty on W1 and W2, shared by the m rows of a step, as in scikit-learn. b1 and b2 are not
        penalised.
    batch_size : int or 'auto', default='auto'
        m: rows whose gradients are taken at the same weights before one step with their mean; n or more is full-batch
        descent, 1 goes row by row. 'auto' is min(200, n). A batch takes 24 bytes for each of its rows and hidden units.
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        With solver='sgd', step t = 1, 2, ...: 'constant' learning_rate_init; 'invscaling' learning_rate_init
        / t^power_t (in scikit-learn it falls between passes only); 'adaptive' learning_rate_init, divided by 5 whenever
        the criterion would stop training. The other solvers always have 'constant'.
    learning_rate_init : float, default=0.001
        Step size. The default suits 'adam'; 'sgd' and 'adagrad' want about 0.01 with single rows and 0.1 with batches
        of 20.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Passes over the data that `fit` makes at most.
    shuffle : bool or 'blocks', default=True
        As for `SGDClassifier`.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the first weights, of the shuffling and of the validation split. An int gives the first weights that
        scikit-learn draws.
    tol : float or None, default=1e-4
        `fit` stops once `n_iter_no_change` passes in a row have failed to lower the mean objective of a pass (each
        row's loss taken before its own update) by `tol` below the best so far. None: always `max_iter` passes.
    verbose : int, default=0
        1 prints a line per pass: objective, validation score if there is one, and rows per second.
    warm_start : bool, default=False
        Whether `fit` starts from the last solution.
    early_stopping : bool, default=False
        Hold out `validation_fraction` of the rows, stratified, stop by the score there, keep the best weights.
    validation_fraction : float, default=0.1
        Share of rows held out by `early_stopping`.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay of the means of 'adam', of gradients and of their squares; in [0, 1).
    epsilon : float, default=1e-8
        Beside the root of the mean square in the denominator of 'adam'.
    n_iter_no_change : int, default=10
        Passes without improvement that end training.
    loss : str, default='log_loss'
        'log_loss' or, another name of it, 'softmax': cross-entropy, of softmax(z) with more than two classes, of
        sigma(z) with two and, for 'log_loss', with several labels a row. Or any other name of `fastsgd.losses.LOSSES`
        without a threshold, 'hinge' or 'squared_error' say; of a loss of one score there is then one output per class,
        against the rest.
    n_jobs : int or None, default=None
        Threads that train, and that score sparse rows: None is one, -1 one for each CPU. Another number makes another
        model; see the notes of `SGDClassifier`.
    scoring, callbacks
        As for `SGDClassifier`; `Epoch.coefficients` returns two lists, like `coefs_` and `intercepts_`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; 0 .. K-1 where y is a matrix.
    multilabel_ : bool
        Whether a row may have several labels.
    coefs_ : list of two ndarrays, (n_features, h) and (h, n_outputs)
        The transposes of W1 and W2, of X's dtype.
    intercepts_ : list of two ndarrays, (h,) and (n_outputs,)
        b1 and b2.
    loss_, best_loss_ : float
        Mean objective of the last pass, and the least of a pass.
    loss_curve_ : list of float
        Mean objective of each pass.
    validation_scores_ : list of float
        Score on the rows held out after each pass; only with `early_stopping`.
    n_iter_ : int
        Passes made.
    t_ : float
        Steps made, plus 1.
    n_layers_, n_outputs_ : int
        3; and the number of scores: 1 for two classes, else one for each class or label.
    out_activation_ : {'logistic', 'softmax', 'identity'}
        What makes probabilities of the scores; 'identity' if the loss has none.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, only if X was a table with names of text; checked by the other methods.

    Notes
    -----
    With `shuffle=False` and dense rows the weights equal those of scikit-learn's MLPClassifier, to rounding: with
    solver='adam' and, if its momentum is set to 0, with 'sgd'. Differences from there: momentum, 'lbfgs' and more than
    one hidden layer do not exist; a batch's gradient is divided by its rows, not their weights; rows of weight 0 are
    left out; `n_iter_no_change` passes without improvement end training, not one more; 'adagrad',
    `decision_function`, `loss`, `n_jobs`, `scoring` and `callbacks` are added.

    On sparse rows 'adam' and 'adagrad' leave a feature that no row of the batch has as it is, its weights in W1 and
    what they keep of them (a dense row's zeros count as values; without a penalty 'adagrad' makes no difference).
    That costs a small part of the time and, of 'adam', learns rare features faster: their means do not decay between
    two visits.

    Scale the features first: to zero mean and unit variance, or rows to unit length.

    References
    ----------
    .. [1] Rumelhart, Hinton, Williams: Learning representations by back-propagating errors, Nature 323 (1986).
    .. [2] Glorot, Bengio: Understanding the difficulty of training deep feedforward neural networks, AISTATS (2010).
    .. [3] Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR (2015); epsilon as at the end of its section 2.
    .. [4] Duchi, Hazan, Singer: Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, JMLR 12
       (2011).

    Examples
    --------
    >>> from fastsgd import MLPClassifier
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]  # no line separates these
    >>> model = MLPClassifier((8,), learning_rate_init=0.1, max_iter=1000, tol=None, random_state=0).fit(X, y)
    >>> print(model.predict(X))
    [0 1 1 0]
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool | str = True,
        random_state: Any = None,
        tol: float | None = 1e-4,
        verbose: int = 0,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        loss: str = "log_loss",
        n_jobs: int | None = None,
        scoring: Any = None,
        callbacks: Any = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train from first weights, or from the last solution with `warm_start`.

        Parameters
        ----------
        X : {array-like, CSR, sparse matrix, table} of shape (n, d)
            Features. float32 and float64 arrays, C-contiguous or CSR, are used as they are, anything else is copied.
            A table is one of pandas, polars or pyarrow, with columns of numbers; sparse columns stay sparse.
        y : array-like of shape (n,) or (n, K)
            Labels: integers, booleans or strings. Or 1 where a row has the label 0 .. K-1 and 0 where not, an array or
            a sparse matrix; for loss='softmax' the probability of each.
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
        return self._fit_labels(X, y, sample_weight)

    @property
    def out_activation_(self) -> str:
        if self.loss in ("log_loss", "softmax", "logistic_squared_error"):
            joint = self._state.outputs > 1 and not self.multilabel_ and self.loss != "logistic_squared_error"
            return "softmax" if joint else "logistic"
        return "identity"

    @property
    def _loss_of_classes(self) -> str:
        return "softmax" if self.loss == "log_loss" else self.loss

    def _check_each_parameter(self) -> None:
        super()._check_each_parameter()
        self._check_choice("loss", CLASS_LOSSES)


class MLPRegressor(Regressor, Network):
    """Network of one hidden layer for regression, trained by stochastic gradient descent.

    Predictions are z = W2 g(W1 x + b1) + b2. A step descends on the mean of (z - t)^2 / 2 over m rows plus the penalty
    alpha (||W1||^2 + ||W2||^2) / (2 m).

    Parameters
    ----------
    loss : {'squared_error'}, default='squared_error'
        (z - t)^2 / 2, summed over the outputs where there are several.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
shuffle, random_state, tol, verbose, warm_start, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
n_iter_no_change, n_jobs, scoring, callbacks
        As for `MLPClassifier`; early stopping goes by R^2.

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_, n_iter_, t_, n_layers_, n_outputs_, \
n_features_in_, feature_names_in_
        As for `MLPClassifier`.
    out_activation_ : str
        'identity'.

    Notes
    -----
    Scale features and targets first: to zero mean and unit variance; derivatives of squared errors have no bound, and
    with solver='sgd' too long a step diverges. Of several outputs scikit-learn
    descends on the sum of their squared errors and reports their mean; here it is the sum, as for `SGDRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd import MLPRegressor
    >>> X = np.linspace(-2, 2, 200).reshape(-1, 1)
    >>> model = MLPRegressor(hidden_layer_sizes=(20,), batch_size=10, learning_rate_init=0.01, random_state=0)
    >>> print(model.fit(X, np.sin(2 * X[:, 0])).score(X, np.sin(2 * X[:, 0])) > 0.99)
    True
    """

    out_activation_ = "identity"

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool | str = True,
        random_state: Any = None,
        tol: float | None = 1e-4,
        verbose: int = 0,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        n_jobs: int | None = None,
        scoring: Any = None,
        callbacks: Any = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train from first weights, or from the last solution with `warm_start`.

        Parameters
        ----------
        X, sample_weight
            As for `MLPClassifier.fit`.
        y : array-like of shape (n,) or (n, n_outputs)
            Targets; trained on in X's dtype.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the data is invalid (the message says what and where) or training diverges.
        """
        return self._fit_targets(X, y, sample_weight)

    def _check_each_parameter(self) -> None:
        super()._check_each_parameter()
        self._check_choice("loss", ("squared_error",))
