"""What the linear estimators share: the life of their state, and scores."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import _validation as check
from ._archive import Archived
from ._arrays import Array
from ._holdout import Rating, rate_by, rate_loss, rate_scores, split
from ._labels import Task
from ._parameters import Parameters, seed
from ._sklearn import ConvergenceWarning, NotFittedError, known_as, warn
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


class Solution:
    """`coef_` or `intercept_` while the model has none of its own: made from the state when asked for.

    What is in the model's __dict__ comes first, unlike with a property; and unlike __getattr__ this slows down no other
    attribute.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: LinearSGD | None, kind: type) -> Any:
        if model is None:
            return self
        if "_state" not in vars(model):
            raise AttributeError(f"{kind.__name__!r} object has no attribute {self.name!r}", name=self.name, obj=model)
        model._publish()
        return vars(model)[self.name]


class LinearSGD(Parameters, Archived):
    """K linear scores W x + b and the state their training carries on.

    Fitted, it has `coef_`, `intercept_`, `n_iter_`, `t_`, `loss_curve_` and `n_features_in_`. `_state` is the truth
    and `coef_` a view of it, unless the caller has put something else in its place: then that is what counts. After
    `partial_fit` they are made when somebody asks for them, since that costs as much as there are weights.
    """

    if TYPE_CHECKING:
        coef_: Array
        intercept_: Array
    else:
        coef_, intercept_ = Solution(), Solution()
    n_iter_: int
    t_: float
    loss_curve_: list[float]
    validation_scores_: list[float]
    n_features_in_: int
    feature_names_in_: Array
    _session = Session()
    _published: tuple[Array, Array, Array | None, Array]

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
            seed(self.random_state),
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
        session, progress = self._session, Progress()
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
        mine = vars(self)
        curve = [] if fresh else mine.get("loss_curve_", [])
        curve += progress.objectives
        published = self._published_by(state) if fresh else {}
        self._withdraw()
        mine.update(
            **fitted, **published, _state=state, t_=state.t, n_iter_=progress.epoch, loss_curve_=curve,
            n_features_in_=state.weights.size // state.bias.size,
        )  # fmt: skip
        if progress.scores:
            self.validation_scores_ = progress.scores
        elif fresh:
            mine.pop("validation_scores_", None)
        if mine.get("feature_names_in_", ()) is None:  # they exist only where X has names
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
        if not self._state.weights.flags.writeable:  # mapped from a file, as joblib does for its processes
            self._state = copy.deepcopy(self._state)
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
        training, held = split(rows.shape[0], self.validation_fraction, seed(self.random_state), weights, task.codes)
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
