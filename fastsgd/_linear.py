"""What the linear estimators share: their parameters' checks, the life of their state, scores and files."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import _validation as check
from ._arrays import Array
from ._holdout import Rating, rate_by, rate_loss, rate_scores, split
from ._labels import Task
from ._sklearn import ConvergenceWarning, Estimator, NotFittedError, known_as, warn
from ._threads import count_threads
from ._training import (
    BLOCKS,
    Divergence,
    Plan,
    Progress,
    Session,
    Source,
    Stored,
    coefficients,
    decision,
    finish,
    new_state,
    restore,
    solution,
    train,
)
from ._validation import Rows
from .core import sgd
from .core.losses import Loss
from .io import PathLike, load_archive, save_archive

SCHEDULES = tuple(sgd.SCHEDULES)
# What a model file keeps beside state and classes.
KEPT = ("n_iter_", "n_features_in_", "loss_curve_", "validation_scores_", "multilabel_")


class LinearSGD(Estimator):
    """K linear scores W x + b and the state their training carries on.

    Fitted, it has `coef_`, `intercept_`, `n_iter_`, `t_`, `loss_curve_` and `n_features_in_`. `_state` is the truth
    and `coef_` a view of it, unless the caller has put something else in its place: then that is what counts. After
    `partial_fit` they are made when somebody asks for them, since that costs as much as there are weights.
    """

    __slots__ = ("_checked",)  # not in __dict__: no part of the model

    # The parameters, as the subclasses' __init__ sets them.
    loss: str
    n_jobs: int | None
    penalty: str | None
    alpha: float
    l1_ratio: float | None
    fit_intercept: bool
    max_iter: int
    tol: float | None
    shuffle: bool | str
    verbose: int
    epsilon: float
    random_state: Any
    learning_rate: str
    eta0: float
    power_t: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    average: bool | int
    batch_size: int
    intercept_decay: float | str
    scoring: Any
    callbacks: Any

    coef_: Array
    intercept_: Array
    n_iter_: int
    t_: float
    loss_curve_: list[float]
    validation_scores_: list[float]
    n_features_in_: int
    _state: sgd.State
    feature_names_in_: Array
    _session: Session | None = None
    _published: tuple[Array, Array, Array | None, Array]

    def _keep(self, arguments: Mapping[str, Any]) -> None:
        """Keep the arguments of __init__, its locals(), under their names and unchanged."""
        for name, value in arguments.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("coef_", "intercept_") and "_state" in vars(self):
                self._publish()
                return vars(self)[name]
            return super().__getattribute__(name)  # raises what it raised

    def _check_parameters(self) -> None:
        """Check each parameter, unless all are the very objects that passed last time, and none may have changed."""
        kind: Any = type(self)
        present = _reader(kind)(self)
        checked: tuple[Any, ...] = getattr(self, "_checked", ())
        if len(checked) == len(present) and all(map(operator.is_, checked, present)) and not self.callbacks:
            return
        self._check_each_parameter()
        self._checked = present

    def _check_each_parameter(self) -> None:
        check.check_choice(self, "penalty", ("l2", "l1", "elasticnet", None))
        check.check_choice(self, "learning_rate", SCHEDULES)
        for name in ("fit_intercept", "early_stopping", "warm_start"):
            check.check_flag(self, name)
        if not (isinstance(self.shuffle, str) and self.shuffle == BLOCKS):
            check.check_flag(self, "shuffle", f"True, False or {BLOCKS!r}")
        check.check_number(self, "alpha", 0)
        check.check_number(self, "l1_ratio", 0, 1, none=True)
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError("l1_ratio must be set when penalty is 'elasticnet': a float in the range [0, 1]")
        check.check_number(self, "max_iter", 1, integer=True)
        check.check_number(self, "tol", 0, none=True)
        if not isinstance(self.verbose, (bool, np.bool_)):
            check.check_number(self, "verbose", 0)
        if not isinstance(self.random_state, (np.random.Generator, np.random.RandomState)):
            check.check_number(self, "random_state", 0, 2**32 - 1, integer=True, none=True)
        check.check_number(self, "epsilon", 0)
        check.check_number(self, "eta0", 0, open_low=True)
        check.check_number(self, "power_t", -np.inf, open_low=True)
        if self.power_t < 0:
            warn("Negative values for `power_t` make steps grow; as in scikit-learn they are deprecated", FutureWarning)
        check.check_number(self, "validation_fraction", 0, 1, open_low=True, open_high=True)
        check.check_number(self, "n_iter_no_change", 1, integer=True)
        check.check_number(self, "batch_size", 1, integer=True)
        check.check_number(self, "n_jobs", -np.inf, integer=True, none=True)
        if not isinstance(self.average, (bool, np.bool_)):
            check.check_number(self, "average", 1, integer=True)
        if self.intercept_decay != "auto":
            check.check_number(self, "intercept_decay", 0)
        if not (self.scoring is None or isinstance(self.scoring, str) or callable(self.scoring)):
            check.refuse(self, "scoring", "'loss', the name of a scorer, a callable (estimator, X, y) or None")
        callbacks = () if self.callbacks is None else self.callbacks
        if not isinstance(callbacks, (list, tuple)) or not all(callable(callback) for callback in callbacks):
            check.refuse(self, "callbacks", "a list of callables, called with a record of each epoch, or None")
        if self.learning_rate == "optimal" and self.alpha == 0:
            raise ValueError(
                "alpha must be > 0 since learning_rate is 'optimal'. alpha is used to compute the optimal step size."
            )

    def _settings(self, sparse: bool, n_rows: int | None = None) -> sgd.Settings:
        decay = (0.01 if sparse else 1.0) if self.intercept_decay == "auto" else float(self.intercept_decay)
        ratios = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": float(self.l1_ratio or 0)}
        return sgd.Settings(
            schedule=self.learning_rate,
            eta0=self.eta0,
            power_t=self.power_t,
            alpha=self.alpha,
            strength=self.alpha if self.penalty else 0.0,
            l1_ratio=ratios[self.penalty],
            intercept_decay=decay,
            fit_intercept=self.fit_intercept,
            batch_size=min(self.batch_size, n_rows or self.batch_size),
            average_from=int(self.average),
        )

    def _fit(
        self, rows: Rows, task: Task, weights: Array | None, state: sgd.State, *, epochs: int | None,
        validation: tuple[Array, Rating] | None = None, fitted: dict[str, Any],
    ) -> Self:  # fmt: skip
        """Train `state` on the rows and become its model, with the attributes `fitted` besides.

        epochs=None is one pass of partial_fit, without a criterion to stop by.
        """
        brief = epochs is None and rows.nnz * state.bias.size < state.weights.size
        if brief and "coef_" in vars(self):
            state.weights = state.weights.copy()  # whoever holds coef_ must not see weights without their scale
        order = np.arange(rows.shape[0], dtype=np.uint32) if validation is None else validation[0]
        source = Stored(
            rows, task.targets, weights, order, self.shuffle if self.shuffle == BLOCKS else bool(self.shuffle),
            _seed(self.random_state),
        )  # fmt: skip
        self._run(
            source, task.loss, state, self._settings(rows.sparse, rows.shape[0]), fitted, epochs=epochs,
            score=None if validation is None else validation[1], touched=rows.indices[: rows.nnz] if brief else None,
        )  # fmt: skip
        return self

    def _run(
        self, source: Source, loss: Loss, state: sgd.State, settings: sgd.Settings, fitted: dict[str, Any], *,
        epochs: int | None, score: Rating | None = None, touched: Array | None = None,
    ) -> None:  # fmt: skip
        """Train `state` on a source of rows, as far as `_session` has not, and become its model."""
        if not self.average:
            state.average = state.average_bias = None
            state.average_scale = state.averaged = 0
        elif state.average is None:
            state.average, state.average_bias = np.zeros_like(state.weights), np.zeros_like(state.bias)
        if self.penalty not in ("l1", "elasticnet"):
            state.received, state.penalty_total = None, 0
        elif state.received is None:
            state.received, state.sum_squares = np.zeros_like(state.weights), np.inf
        session, progress = self._session or Session(), Progress()
        rate = session.rate
        plan = Plan(
            epochs=epochs or 1,
            tol=self.tol if epochs else None,
            n_iter_no_change=self.n_iter_no_change,
            adaptive=self.learning_rate == "adaptive",
            passive=self.learning_rate in ("pa1", "pa2"),
            penalised=bool(self.penalty),
            touched=touched,
            threads=count_threads(self.n_jobs),
            verbose=self.verbose,
            score=score if rate is None else lambda state: rate(state, fitted.get("classes_")),
            callbacks=tuple(self.callbacks or ()),
            watch=session.watch,
        )
        goes_on = state is vars(self).get("_state")
        started = state.t
        if session.resume is not None:
            earlier, progress, settings.eta0, settings.average_from = session.resume
            restore(state, earlier)
        try:
            train(loss, settings, state, source, plan, progress)
        except Divergence:
            if goes_on:
                self._withdraw()
                del vars(self)["_state"]
            raise
        except BaseException:  # interrupted: what has been learnt so far is a model
            if goes_on or state.t > started:
                source.close(state)
                finish(state, progress)
                self._take(state, progress, bool(epochs), fitted)
            raise
        self._take(state, progress, bool(epochs), fitted)
        if progress.clipped:
            warn(
                f"{progress.clipped} derivatives exceeded 1e12 and were cut off: training diverges. Scale the features "
                "(to zero mean and unit variance, or rows to unit length) or lower eta0.",
                ConvergenceWarning,
            )
        elif epochs and self.tol is not None and not progress.converged:
            warn(
                "Maximum number of iteration reached before convergence. Consider increasing max_iter to improve the "
                "fit, or tol=None for a fixed number of epochs.",
                ConvergenceWarning,
            )

    def _take(self, state: sgd.State, progress: Progress, fresh: bool, fitted: dict[str, Any]) -> None:
        """Become the model that the state is of, all at once: a second Ctrl-C finds all of it or nothing."""
        curve = [] if fresh else vars(self).get("loss_curve_", [])
        curve += progress.objectives
        published = self._published_by(state) if fresh else {}
        self._withdraw()
        vars(self).update(
            **fitted, **published, _state=state, t_=state.t, n_iter_=progress.epoch, loss_curve_=curve,
            n_features_in_=state.weights.size // state.bias.size,
        )  # fmt: skip
        if progress.scores:
            self.validation_scores_ = progress.scores
        elif fresh:
            vars(self).pop("validation_scores_", None)
        if vars(self).get("feature_names_in_", ()) is None:  # they exist only where X has names
            del self.feature_names_in_

    def _publish(self) -> None:
        """Set coef_ and intercept_, but for one that the caller has set already."""
        vars(self).update(self._published_by(self._state) | vars(self))

    def _withdraw(self) -> None:
        if not self._is_unseen():
            for name in ("_published", "coef_", "intercept_"):
                vars(self).pop(name, None)

    def _published_by(self, state: sgd.State) -> dict[str, Any]:
        """`coef_` and `intercept_`, and what tells later whether they were replaced."""
        flat, intercept = solution(state)
        coef = self._shape_coef(flat)
        # Changes made in place have to be seen; of coefficients that are the state's own memory they are.
        copy = None if np.may_share_memory(flat, state.weights) else flat.copy()
        published = (coef, intercept, copy, intercept.copy())
        return {"coef_": coef, "intercept_": intercept, "_published": published}

    def _shape_coef(self, coef: Array) -> Array:
        return coef

    def _coefficients(self) -> tuple[Array, Array]:
        """(K, d) and (K,), whatever is in coef_ and intercept_ now."""
        if not hasattr(self, "coef_"):
            name = type(self).__name__
            raise known_as(NotFittedError)(
                f"This {name} instance is not fitted yet. Call 'fit' with appropriate arguments before using this "
                "estimator."
            )
        coef: Any = self.coef_
        coef = np.atleast_2d(coef.toarray() if hasattr(coef, "toarray") else np.asarray(coef))
        intercept = np.atleast_1d(self.intercept_)
        expected = (self._state.bias.size, self.n_features_in_)
        if coef.shape != expected or intercept.shape != expected[:1]:
            raise ValueError(
                f"coef_ and intercept_ have shapes {coef.shape} and {intercept.shape}; "
                f"those of the model are {expected} and {expected[:1]}"
            )
        return coef, intercept

    def _state_now(self) -> sgd.State:
        """The state to train on: the one left by the last call, unless coef_ or intercept_ were replaced since."""
        if not self._is_published():
            coef, intercept = self._coefficients()
            outputs, features = coef.shape
            dtype = self._state.weights.dtype
            state = self._new_state(outputs, features, dtype, self._state.feature_major, coef, intercept)
            state.t = self._state.t
            self._state = state
        return self._state

    def _is_unseen(self) -> bool:
        return "coef_" not in vars(self) and "intercept_" not in vars(self)

    def _is_published(self) -> bool:
        """Whether the state is the truth still: nobody has seen its coefficients, or those seen are unchanged."""
        if "_published" not in vars(self):
            return self._is_unseen()
        coef, intercept, coef_was, intercept_was = self._published
        return (
            self.coef_ is coef
            and self.intercept_ is intercept
            and (coef_was is None or np.array_equal(np.atleast_2d(coef), coef_was))
            and np.array_equal(intercept, intercept_was)
        )

    @staticmethod
    def _new_state(
        n_outputs: int, n_features: int, dtype: Any, feature_major: bool, coef: Any = None, intercept: Any = None
    ) -> sgd.State:
        state = new_state(n_outputs, n_features, dtype, feature_major)
        shape = (n_outputs, n_features)
        single = n_outputs == 1
        if coef is not None:
            fits = (shape, (n_features,)) if single else (shape,)
            coefficients(state, state.weights)[:] = check.check_initial(coef, fits, "coef_init").reshape(shape)
            state.sum_squares = np.inf  # not measured yet
        if intercept is not None:
            state.bias[:] = check.check_initial(
                intercept, ((n_outputs,), ()) if single else ((n_outputs,),), "intercept_init"
            )
        return state

    def _starting_state(self, rows: Rows, n_outputs: int, coef_init: Any, intercept_init: Any) -> sgd.State:
        """The state that `fit` starts from: zeros, what the caller gives, or the last solution (warm start)."""
        if self.warm_start and hasattr(self, "coef_"):
            coef, intercept = self._coefficients()
            coef_init = coef if coef_init is None else coef_init
            intercept_init = intercept if intercept_init is None else intercept_init
        return self._new_state(n_outputs, rows.shape[1], rows.data.dtype, rows.sparse, coef_init, intercept_init)

    def _hold_out(
        self, rows: Rows, task: Task, weights: Array | None, sample_weight: Array | None, fitted: dict[str, Any]
    ) -> tuple[Array, Rating]:
        """Rows to train on, and a rating by the others: what `scoring` says."""
        training, held = split(rows.shape[0], self.validation_fraction, _seed(self.random_state), weights, task.codes)
        if self.scoring is None:
            truth, chosen = task.truth[held], None if sample_weight is None else sample_weight[held]
            return training, rate_scores(rows, held, lambda scores: self._rate(scores, truth, chosen))
        if isinstance(self.scoring, str) and self.scoring == "loss":
            return training, rate_loss(rows, held, task.loss, task.targets, weights)
        model = object.__new__(type(self))
        vars(model).update(vars(self), n_features_in_=rows.shape[1], **fitted)
        vars(model).pop("feature_names_in_", None)
        return training, rate_by(self.scoring, model, rows, held, task.answers(held), sample_weight)

    def _rate(self, scores: Array, truth: Array, sample_weight: Array | None) -> float:
        """What `score` returns, from scores W x + b and a `Task`'s truth."""
        raise NotImplementedError

    def _scores(self, X: Any) -> Array:
        state, scale = vars(self).get("_state"), 1.0
        if state is not None and self._is_unseen() and not state.averaged:
            # Online learning: no look at all weights between two rows.
            coef, intercept, scale = coefficients(state, state.weights), state.bias, state.scale
        else:
            coef, intercept = self._coefficients()
        return decision(self._known_rows(X), coef, intercept, scale=scale, threads=count_threads(self.n_jobs))

    def _known_rows(self, X: Any, dtype: Any = None) -> Rows:
        """Checked rows whose columns are those of the model."""
        name = type(self).__name__
        check.check_names(X, vars(self).get("feature_names_in_"), name)
        rows = check.check_rows(X, dtype=dtype)
        check.check_features(rows, self.n_features_in_, name)
        return rows

    def densify(self) -> Self:
        """Make `coef_` an ndarray again, after `sparsify`.

        Returns
        -------
        self
        """
        self._coefficients()
        coef: Any = self.coef_
        if hasattr(coef, "toarray"):
            self.coef_ = self._shape_coef(coef.toarray())
        return self

    def sparsify(self) -> Self:
        """Make `coef_` a scipy.sparse matrix, which saves memory where most weights are 0 (l1).

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If scipy is not installed.
        """
        self._coefficients()
        from scipy.sparse import csr_matrix

        self.coef_ = csr_matrix(self.coef_)
        return self

    def __getstate__(self) -> dict[str, Any]:
        kept = dict(vars(self))
        if self._is_published():
            for name in ("coef_", "intercept_", "_published"):
                kept.pop(name, None)
        return kept

    def save(self, path: PathLike) -> None:
        """Write the fitted model to a file without pickle, atomically.

        Parameters
        ----------
        path : str or path-like
            Used as given; by custom it ends in .npz.

        Raises
        ------
        NotFittedError
            If there is nothing to save yet.
        TypeError
            If a parameter cannot be kept as text: random_state must be None or an int. Callbacks and a `scoring`
            that is a function are left out.
        """
        save_archive(path, *self.to_archive())

    def to_archive(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The model as `fastsgd.io.save_archive` takes it: a header for JSON, and arrays. Errors as for `save`."""
        self._coefficients()
        state = self._state_now()
        parameters = self.get_params() | {"callbacks": None}
        if callable(self.scoring):
            parameters["scoring"] = None
        if isinstance(parameters.get("class_weight"), dict):
            parameters["class_weight"] = [[_plain(k), _plain(w)] for k, w in parameters["class_weight"].items()]
        values = {name: getattr(state, name) for name in sgd.STATE_FIELDS}
        arrays = {f"state.{name}": value for name, value in values.items() if isinstance(value, np.ndarray)}
        header = {
            "estimator": type(self).__name__,
            "parameters": {name: _plain(value) for name, value in parameters.items()},
            "state": {name: value for name, value in values.items() if isinstance(value, (bool, int, float))},
            "fitted": {name: getattr(self, name) for name in KEPT if hasattr(self, name)},
        }
        classes = getattr(self, "classes_", None)
        if classes is not None:
            arrays["classes_"] = np.array(classes.tolist()) if classes.dtype == object else classes
            header["object_labels"] = classes.dtype == object
        return header, arrays

    @classmethod
    def _restore(cls, header: dict[str, Any], arrays: dict[str, Array]) -> Self:
        parameters = dict(header["parameters"])
        if isinstance(parameters.get("class_weight"), list):
            parameters["class_weight"] = dict(parameters["class_weight"])
        model = cls(**parameters)
        model._state = state = sgd.State(arrays["state.weights"], arrays["state.bias"], True)
        for name in sgd.STATE_FIELDS:
            setattr(state, name, header["state"].get(name, arrays.get(f"state.{name}")))
        vars(model).update(header["fitted"], t_=state.t)
        size = state.bias.size * model.n_features_in_
        if any(
            array is not None and array.shape != (size,) for array in (state.weights, state.average, state.received)
        ):
            raise KeyError("arrays of the sizes that the header says")
        if "classes_" in arrays:
            classes = arrays["classes_"]
            vars(model)["classes_"] = classes.astype(object) if header["object_labels"] else classes
        model._publish()
        return model


@cache
def _reader(kind: Any) -> Callable[[LinearSGD], tuple[Any, ...]]:
    """What reads the parameters of an estimator of this class."""
    return operator.attrgetter(*kind._parameters())


def _plain(value: Any) -> Any:
    """A parameter as JSON has it."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is not None and not isinstance(value, (bool, int, float, str, list)):
        raise TypeError(f"a model file cannot keep the parameter value {value!r}; set it to a number, text or None")
    return value


def _seed(random_state: Any) -> int:
    """A seed for one call, as scikit-learn reads `random_state`: None is numpy's global state."""
    if random_state is None:
        return int(np.random.randint(2**31 - 1))  # noqa: NPY002
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state)


def load(path: PathLike) -> LinearSGD:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    SGDClassifier, SGDRegressor or Perceptron
        Predicts and trains on as the saved one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a model file, is damaged, or comes from a newer version.
    """
    try:
        return from_archive(*load_archive(path))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no model of this version: {error}") from error


def from_archive(header: dict[str, Any], arrays: dict[str, Array]) -> LinearSGD:
    """The model that `to_archive` took apart; KeyError or TypeError if something is missing."""
    kinds = {kind.__name__: kind for kind in _kinds(LinearSGD)}
    return kinds[header["estimator"]]._restore(header, arrays)


def _kinds(cls: type[LinearSGD]) -> list[type[LinearSGD]]:
    return [cls, *(kind for below in cls.__subclasses__() for kind in _kinds(below))]
