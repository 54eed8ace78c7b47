"""The life of a model, whatever it is of: training, what is held out, what becomes of it when training ends."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np

from . import _validation as check
from ._archive import Archived
from ._arrays import Array
from ._duplicates import summed
from ._holdout import Rating, rate_by, rate_loss, rate_scores, split
from ._labels import Task
from ._parameters import Common, seed
from ._scales import scale_columns
from ._sklearn import ConvergenceWarning, warn
from ._states import restore
from ._team import Piece
from ._threads import count_threads, lock_of, one_at_a_time
from ._training import (
    BLOCKS,
    Divergence,
    Plan,
    Progress,
    Session,
    Source,
    Stored,
    finish,
    loss_at_zero,
    train,
)
from ._validation import Rows
from .core.losses import Loss
from .core.state import Settings, State

# A last pass that loses so many times what weights of 0 do is divergence, though nothing has overflowed; of the
# losses of numbers that grow with the error and not with its square, the root of that.
FAR_TOO_MUCH = 1e4

# Attributes of models that some calls of `fit` leave, and some do not.
OPTIONAL = ("feature_names_in_", "eta0_", "validation_scores_")


class Solution:
    """`coef_` and the like while the model has none of its own: made from the state when asked for.

    What is in the model's __dict__ comes first, unlike with a property; and unlike __getattr__ this slows down no other
    attribute.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: Trained | None, kind: type) -> Any:
        if model is None:
            return self
        if "_state" in vars(model):
            with lock_of(model):
                if "_state" in vars(model):  # still: another thread's training may have diverged
                    model._publish()
                    return vars(model)[self.name]
        raise AttributeError(f"{kind.__name__!r} object has no attribute {self.name!r}", name=self.name, obj=model)


class Trained(Common, Archived):
    """An estimator and the state its training carries on.

    Fitted, it has `n_iter_`, `t_`, `loss_curve_`, `n_features_in_` and the attributes `_solution`, which are the model.
    `_state` is the truth and these are views of it, unless the caller has put something else in their place: then that
    is what counts.
    """

    _solution: ClassVar[tuple[str, str]]
    tune_eta0: bool = False
    n_iter_: int
    t_: float
    loss_curve_: list[float]
    validation_scores_: list[float]
    n_features_in_: int
    feature_names_in_: Array
    _session = Session()
    _published: tuple[Any, ...]

    def _fit(
        self, rows: Rows, task: Task, weights: Array | None, state: State, *, epochs: int | None,
        validation: tuple[Array, Rating] | None = None, fitted: dict[str, Any], X: Any = None,
    ) -> Self:  # fmt: skip
        """Train `state` on the rows, those of X, and become its model, with the attributes `fitted` besides.

        epochs=None is one pass of partial_fit, without a criterion to stop by.
        """
        if state.optimizer:  # its kernels gather what belongs to a row's columns, and put it back
            rows = summed(rows)
        brief = epochs is None and rows.nnz * state.pitch < state.first
        if brief and not self._is_unseen():
            state.weights = state.weights.copy()  # whoever holds coef_ must not see weights without their scale
        order = np.arange(rows.shape[0], dtype=np.uint32) if validation is None else validation[0]
        source = Stored(
            Piece(rows, task.targets, weights, order), self.shuffle if self.shuffle == BLOCKS else bool(self.shuffle),
            seed(self.random_state) if order.size > 1 else 0,
        )  # fmt: skip
        if state.optimizer:
            scale_columns(state, rows, source.all.order)
        settings = self._settings(rows.sparse, task.loss, rows.shape[0])
        score, touched = validation[1] if validation else None, rows.indices[: rows.nnz] if brief else None
        try:
            self._run(source, task.loss, state, settings, fitted, epochs=epochs, score=score, touched=touched)
        except Divergence:
            try:
                check.check_values(rows, X)  # see _meets_all
            except ValueError as fault:
                raise fault from None
            raise
        return self

    def _run(
        self, source: Source, loss: Loss, state: State, settings: Settings, fitted: dict[str, Any], *,
        epochs: int | None, score: Rating | None = None, touched: Array | None = None,
    ) -> None:  # fmt: skip
        """Train `state` on a source of rows, as far as `_session` has not, and become its model."""
        self._equip(state)
        session, progress = self._session, Progress()
        plan = Plan(
            epochs=epochs or 1,
            tol=self.tol if epochs else None,
            n_iter_no_change=self.n_iter_no_change,
            learning_rate=self._schedule,
            penalised=self._penalised,
            touched=touched,
            threads=count_threads(self.n_jobs),
            verbose=self.verbose,
            score=score if session.rate is None else partial(session.rate, fitted.get("classes_")),
            callbacks=tuple(self.callbacks or ()),
            watch=session.watch,
            alarm=self._alarm,
        )
        goes_on = state is vars(self).get("_state")
        started = state.t
        if self.tune_eta0:
            fitted["eta0_"] = self._tune(source, loss, state, settings, fresh=not goes_on, partial=not epochs)
        if session.resume is not None:
            earlier, progress, settings.eta0, settings.average_from = session.resume
            restore(state, earlier)
        try:
            train(loss, settings, state, source, plan, progress)
        except Divergence as error:
            if goes_on:
                self._withdraw()
                del vars(self)["_state"]
            raise Divergence(f"{error} {self._remedy()}") from None
        except BaseException:  # interrupted: what has been learnt so far is a model
            if goes_on or state.t > started:
                source.close(state)
                finish(state, progress)
                self._take(state, progress, bool(epochs), fitted)
            raise
        self._take(state, progress, bool(epochs), fitted)
        if epochs:
            self._judge(loss, state, progress)

    def _alarm(self, what: str) -> None:
        warn(f"{what} {self._remedy()}", ConvergenceWarning)

    def _judge(self, loss: Loss, state: State, progress: Progress) -> None:
        """Warn about what `fit` has come to, unless there was an alarm already."""
        if progress.clipped:
            return
        last, reached = progress.last, progress.objectives[-1]
        idle = loss_at_zero(loss, last, state.outputs) if last else 0.0  # all was done before, by an earlier run
        much = FAR_TOO_MUCH**0.5 if loss.name in ("huber", "epsilon_insensitive") else FAR_TOO_MUCH
        if reached > much * idle > 0:
            warn(
                f"Training diverges: the mean loss of the last pass is {reached:.3g}, that of weights of 0 {idle:.3g}. "
                f"{self._remedy()}",
                ConvergenceWarning,
            )
        elif self.tol is not None and not progress.converged:
            warn(
                "Maximum number of iteration reached before convergence. Consider increasing max_iter to improve the "
                "fit, or tol=None for a fixed number of epochs.",
                ConvergenceWarning,
            )

    def _take(self, state: State, progress: Progress, fresh: bool, fitted: dict[str, Any]) -> None:
        """Become the model that the state is of, all at once: a second Ctrl-C finds all of it or nothing."""
        mine = vars(self)
        curve = [] if fresh else mine.get("loss_curve_", [])
        curve += progress.objectives
        published = self._published_by(state) if fresh else {}
        self._withdraw()
        if progress.scores:
            fitted["validation_scores_"] = progress.scores
        mine.update({
            **fitted, **published, "_state": state, "t_": state.t, "n_iter_": progress.epoch, "loss_curve_": curve,
            "n_features_in_": state.features,
        })  # fmt: skip
        for name in OPTIONAL if fresh else ("eta0_",):
            if name in mine and fitted.get(name) is None:
                del mine[name]

    def _publish(self) -> None:
        """Set what the state stands for, but for what the caller has set already."""
        mine = vars(self)
        mine.update({name: value for name, value in self._published_by(self._state).items() if name not in mine})

    def _withdraw(self) -> None:
        if not self._is_unseen():
            for name in ("_published", *self._solution):
                vars(self).pop(name, None)

    def _is_unseen(self) -> bool:
        (first, second), mine = self._solution, vars(self)
        return first not in mine and second not in mine

    def _published_by(self, state: State) -> dict[str, Any]:
        """The attributes `_solution`, and in `_published` what tells later whether they were replaced."""
        raise NotImplementedError

    def _is_published(self) -> bool:
        """Whether the state is the truth still: nobody has seen its solution, or what was seen is unchanged."""
        raise NotImplementedError

    def _equip(self, state: State) -> None:
        """Give the state the arrays that this kind of training needs, and take away others."""

    def _tune(
        self, source: Source, loss: Loss, state: State, settings: Settings, *, fresh: bool, partial: bool
    ) -> float:  # fmt: skip
        """Begin the settings with an eta0 that is found on the rows; only if `tune_eta0`.

        The state is a fresh one or is trained on; `partial` is a call of partial_fit.
        """
        raise NotImplementedError

    @property
    def _schedule(self) -> str:
        """How the step size falls."""
        return self.learning_rate

    @property
    def _threshold(self) -> float:
        """Epsilon of the losses that have one."""
        raise NotImplementedError

    def _task(self, y: Any, rows: Rows, classes: Any = None, *, chunk: bool = False) -> Task:
        """What to learn of y; `classes` and `chunk` concern classifiers."""
        raise NotImplementedError

    def _weights(self, task: Task, sample_weight: Array | None) -> Array | None:
        """The rows' weights, with those of classes."""
        return sample_weight

    def _present_state(self, dtype: Any, feature_major: bool) -> State:
        """A new state of what the attributes `_solution` are now."""
        raise NotImplementedError

    def _remedy(self) -> str:
        """What to do when training diverges."""
        raise NotImplementedError

    def _l2(self, rows: int) -> float:
        """Strength of the l2 penalty in a step on so many rows."""
        raise NotImplementedError

    @property
    def _penalised(self) -> bool:
        """Whether the objective has a penalty."""
        raise NotImplementedError

    def _first_state(self, rows: Rows, n_outputs: int) -> State:
        """A state that has learnt nothing."""
        raise NotImplementedError

    def _starting_state(self, rows: Rows, n_outputs: int, **initial: Any) -> State:
        """The state that `fit` starts from: what the caller gives, a first one, or the last solution (warm start)."""
        raise NotImplementedError

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

    def _scores(self, X: Any) -> Array:
        """(n, K) of a checked X, from what the model's attributes are now."""
        raise NotImplementedError

    def _settings(self, sparse: bool, loss: Loss, n_rows: int | None = None) -> Settings:
        raise NotImplementedError

    def _rate(self, scores: Array, truth: Array, sample_weight: Array | None) -> float:
        """What `score` returns, from scores W x + b and a `Task`'s truth."""
        raise NotImplementedError

    def _new_rows(self, X: Any, *, values: bool = True) -> Rows:
        return check.check_rows(X, values=values, threads=count_threads(self.n_jobs))

    def _meets_all(self, sample_weight: Any) -> bool:
        """Whether the first pass of `fit` scores every row before anything else is made of the values.

        A value that is not finite makes such a score, whatever the weights; so none has to be looked for before.
        """
        return False

    def _known_rows(self, X: Any, dtype: Any = None, *, scored: bool = False) -> Rows:
        """Rows checked as by `check_rows`, whose columns are those of the model; it is to score them, maybe."""
        name = type(self).__name__
        check.check_names(X, vars(self).get("feature_names_in_"), name)
        scored_by = self.n_features_in_ if scored else None
        rows = check.check_rows(X, dtype=dtype, scored_by=scored_by, threads=count_threads(self.n_jobs))
        check.check_features(rows, self.n_features_in_, name)
        return rows

    @one_at_a_time
    def __getstate__(self) -> dict[str, Any]:
        kept = dict(vars(self))
        if "_state" in kept:  # as it is now, whatever this one or the copy learns later
            kept |= {"_state": copy.deepcopy(self._state), "loss_curve_": list(self.loss_curve_)}
        if self._is_published():
            for name in (*self._solution, "_published"):
                kept.pop(name, None)
        return kept
