"""SGDClassifier: parameters around the common bases."""

from __future__ import annotations

from typing import Any, Self

from ._classifier import Classifier
from ._linear import LinearSGD
from .losses import get_loss


class SGDClassifier(Classifier, LinearSGD):
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
        Strength of the penalty; also sets the step size of 'optimal'. Under the other optimisers than 'sgd' it is
        counted once beside the sum of all rows' losses; see the notes.
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
        Under the other optimisers 'optimal' and 'invscaling', the estimators' defaults, stand for the optimiser's own
        steps, which need no setting, 'constant' and 'adaptive' for its source's with eta0; 'pa1' and 'pa2' are refused.
    eta0 : float, default=0.01
        Step size, or the aggressiveness C of 'pa1' and 'pa2'. With 'optimal' without effect, unless `tune_eta0`.
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
        True: `coef_` is the mean of the iterates of all steps [2]_; an int: of the steps from that one on. With
        `optimizer='normalized'`, its own steps and a loss of real targets, False means a mean as well, in which the
        iterate of step t counts t times [11]_: there the steps are longer, and the last rows would decide.
    batch_size : int, default=1
        Rows scored at the same weights before one step with their mean gradient; n or more is full-batch descent. A
        batch takes `batch_size` x n_outputs x 8 bytes.
    intercept_decay : float or 'auto', default='auto'
        Factor of the intercept's step. 'auto' is scikit-learn's choice, 0.01 on sparse and 1 on dense input; a number
        makes the two train the same model. Under the other optimisers than 'sgd', 'auto' is 1.
    scoring : str, callable or None, default=None
        What `early_stopping` goes by, higher being better: None, what `score` returns; 'loss', the mean loss, negated;
        another str, that scorer of scikit-learn, which has to be installed; a callable (estimator, X, y) -> float,
        called with `sample_weight` by name as well if `fit` got one.
    callbacks : list of callables or None, default=None
        Each is called after every pass with an `fastsgd.Epoch`, which tells epoch, loss, seconds and validation score,
        and the coefficients if asked. One that returns True ends training, as if the criterion had been met.
    optimizer : {'sgd', 'adagrad', 'normalized', 'ftrl', 'adam'}, default='sgd'
        How the derivatives of a row become a step: 'sgd', one step size for all weights; or one for each weight, of
        what it has seen so far, with nothing to tune. 'adagrad' by the sum of its squared gradients [6]_.
        'normalized' likewise, and by the scale of its column, so that no unit of a column matters; a row's weight
        counts as so many rows [7]_ [8]_. 'ftrl' is adagrad with l1 that gives zeros, FTRL-proximal [9]_. 'adam' by
        running means, those of columns that a row lacks staying as they are [10]_.
    tune_eta0 : bool, default=False
        Whether to look for eta0 before training, with `optimizer='sgd'`: the best of the steps eta0 2^k, k whole, in
        one pass over about 1000 rows each, by the objective on these rows (Bottou [3]_, section 5.2). With 'optimal',
        t0 is 1 / (alpha eta0) then. The parameter eta0 stays as it is, where the search begins; `eta0_` is what it
        found. `partial_fit` looks in the first chunk it is given, which should have 100 rows or more, and then keeps
        it. Refused with the perceptron's losses, whose models the step only scales.

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
        Mean objective of each pass; without the penalty for 'pa1' and 'pa2' and under other optimisers than 'sgd'.
    validation_scores_ : list of float
        Score on the rows held out after each pass; only with `early_stopping`.
    eta0_ : float
        What `tune_eta0` found.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, only if X was a table with names of text; checked by the other methods.

    Notes
    -----
    With `shuffle=False` and the same parameters, coefficients equal those of scikit-learn's SGDClassifier (on float32
    rows, of which log_loss with two classes is computed in float32, to that type's digits), except:

    - l1 reaches every weight once more at the end of a call, so that rare features are as shrunk as frequent ones, and
      on dense rows, as on sparse ones, only a row's non-zero features while training goes on;
    - the average with l1 is that of the truncated iterates;
    - the l1 account runs on over calls of `partial_fit`, as if they were one;
    - rows of weight 0 are left out altogether, and the objective that decides when to stop is the weighted one;
    - ||W||^2 in that objective is that of all weights, on sparse input too;
    - one-versus-rest outputs share the row order, the epochs and, in 'adaptive', the step size; a class weight counts
      for its rows in all K outputs, not only in the class's own;
    - `early_stopping` keeps the best weights, not the last.

    A `random_state` gives another row order and validation split than there.

    Threads of the caller's: `fit` and `partial_fit` of one estimator wait for each other, and whoever copies, pickles
    or saves it or asks for `coef_` waits for them. Scores do not wait, and may be wrong while the estimator trains. A
    callback must not wait for another thread that uses the estimator.

    With `n_jobs` > 1 each thread trains a copy of the model on its share of the rows, and up to 128 times in a pass the
    copies become their mean, moved on by a share 1 - 1 / n_jobs of the model's last change, which makes up for the
    smaller steps of a mean [5]_. The same data, seed and `n_jobs` give the same bits whatever else the machine does.
    Where merging would cost more than it saves (small data, or so many weights that a pass has fewer than 8 n_jobs
    non-zeros for each), fewer threads train, down to one; that depends on the sizes of the data alone. The copies take
    n_jobs + 1 times the memory of the weights. No thread outlives the call.

    Under the other optimisers than 'sgd' the penalty is counted once beside the sum of the rows' losses, not beside
    each row's, as by FTRL-proximal, by scikit-learn's MLPClassifier and by LogisticRegression, whose C is 1 / alpha:
    alpha n here is alpha with 'sgd', and the default is next to none. In FTRL-proximal an l2 penalty is nothing but
    alpha in the denominator of each step; the others take that over. l1 needs 'ftrl'.

    'normalized' takes a row of weight s as s rows in succession with steps that shrink to nothing, so that the score
    never overshoots the label: exactly, at rates held fixed, with 'log_loss', 'hinge', 'squared_hinge',
    'squared_error' and the losses with a threshold; otherwise by the derivative. Under all others s
    multiplies the derivative.

    With `set_params(optimizer=...)` between calls of `partial_fit`, or coefficients set by hand, the weights stay and
    the optimiser begins anew with what it keeps beside them.

    'pa1' and 'pa2' work with every loss; the derivation in [1]_ is for 'hinge' and 'epsilon_insensitive'.

    Entries of a CSR row that name the same column add up, as everywhere; only ||x||^2, which 'pa1', 'pa2' and the
    penalty's part of `loss_curve_` use, takes them for different columns. `X.sum_duplicates()` settles that. The other
    optimisers than 'sgd' train on a copy of such rows with the entries added up.

    References
    ----------
    .. [1] Crammer, Dekel, Keshet, Shalev-Shwartz, Singer: Online Passive-Aggressive Algorithms, JMLR 7 (2006).
    .. [2] Xu: Towards Optimal One Pass Large Scale Learning with Averaged Stochastic Gradient Descent (2011).
    .. [3] Bottou: Stochastic Gradient Descent Tricks (2012).
    .. [4] Tsuruoka, Tsujii, Ananiadou: Stochastic Gradient Descent Training for L1-regularized Log-linear Models with
       Cumulative Penalty, ACL (2009).
    .. [5] Chen, Huo: Scalable Training of Deep Learning Machines by Incremental Block Training with Intra-block
       Parallel Optimization and Blockwise Model-Update Filtering, ICASSP (2016).
    .. [6] Duchi, Hazan, Singer: Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, JMLR 12
       (2011).
    .. [7] Ross, Mineiro, Langford: Normalized Online Learning, UAI (2013), algorithm 3.
    .. [8] Karampatziakis, Langford: Online Importance Weight Aware Updates, UAI (2011).
    .. [9] McMahan et al.: Ad Click Prediction: a View from the Trenches, KDD (2013), algorithm 1.
    .. [10] Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR (2015).
    .. [11] Lacoste-Julien, Schmidt, Bach: A simpler approach to obtaining an O(1/t) convergence rate for the projected
       stochastic subgradient method, arXiv:1212.2002 (2012).

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
        return self._fit_labels(X, y, sample_weight, coef_init=coef_init, intercept_init=intercept_init)

    def _check_each_parameter(self) -> None:
        super()._check_each_parameter()
        try:
            get_loss(self.loss)
        except ValueError as error:
            name = type(self).__name__
            raise ValueError(f"The 'loss' parameter of {name} must be another, got {self.loss!r}: {error}") from error
        if self.class_weight is not None and not isinstance(self.class_weight, dict):
            self._check_choice("class_weight", ("balanced", None))
