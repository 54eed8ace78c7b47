"""Epochs: row order, slices, stopping, history. The only caller of core.sgd's training pass."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from ._arrays import Array
from ._scores import NONZEROS_PER_SLICE, slice_length
from ._states import (
    check_state,
    count_weights,
    is_finite,
    lay_out,
    layers,
    motionless,
    restore,
    settled,
    solution,
)
from ._team import Crew, Piece, Team
from .core import sgd
from .core.losses import Loss
from .core.state import Settings, State, Totals, measure, settle

# The norms of W follow the steps by differences; after so many they are measured afresh.
STEPS_BETWEEN_MEASURES = 1024

# shuffle="blocks": what a disk reads in one go, and how many of these are mixed, which stay in memory meanwhile.
BLOCKS = "blocks"
BLOCK_BYTES = 1 << 20
WINDOW = 64


PASSIVE = ("pa1", "pa2")


# Fewer derivatives that are cut off are no error, as in scikit-learn; rows that tell what weights of 0 would lose.
FEWEST_CUTS = 1000
ROWS_LOOKED_AT = 1000


class Divergence(ValueError):
    """The weights grew beyond what floating point holds."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a callback is told about a pass over the data.

    Attributes
    ----------
    epoch : int
        Its number in this call of `fit`, from 1.
    loss : float
        Its mean objective: the entry of `loss_curve_`.
    seconds : float
        Time it took, without validation and callbacks.
    validation_score : float or None
        With `early_stopping`, the entry of `validation_scores_`.
    """

    epoch: int
    loss: float
    seconds: float
    validation_score: float | None
    _state: list[State] = field(repr=False)

    def coefficients(self) -> tuple[Any, Any]:
        """The model so far: what `fit` would leave were it to end here.

        Returns
        -------
        coef : ndarray of shape (n_outputs, n_features)
        intercept : ndarray of shape (n_outputs,)
            Copies, made by this call. Of a network, lists as its `coefs_` and `intercepts_`.

        Raises
        ------
        RuntimeError
            Once the callback has returned: training has moved on.
        """
        if not self._state:
            raise RuntimeError("coefficients() works only while the callback runs: keep what it returns")
        state = settled(self._state[0])
        if state.hidden:
            coefs, intercepts = layers(state)
            return [np.array(coef) for coef in coefs], intercepts
        coef, intercept = solution(state)
        return np.array(coef), intercept


@dataclass(slots=True)
class Plan:
    """How long to train.

    `score`, if given, rates a state on held-out rows, higher being better, and decides when to stop. `watch` is called
    after every slice, when state and progress are those of one moment, with the rows of the epoch if they are known.
    A callback ends training by returning True. `touched`, if given, are the columns of CSR rows that have few of the
    features, and more such rows will follow: then what costs as much as all features is put off. `threads` are how many
    may train side by side. `alarm` is told, once, when derivatives begin to be cut off.
    """

    epochs: int
    tol: float | None
    n_iter_no_change: int
    learning_rate: str = "optimal"
    penalised: bool = True
    touched: Array | None = None
    threads: int = 1
    verbose: int = 0
    score: Callable[[State], float] | None = None
    callbacks: Sequence[Callable[[Epoch], object]] = ()
    watch: Callable[[State, Settings, Progress, int | None], None] | None = None
    alarm: Callable[[str], None] | None = None


@dataclass(slots=True)
class Progress:
    """Where training stands: with the state and eta0, all that it takes to go on as if it had never stopped.

    `position` is the number of rows visited since the last whole epoch, and `totals` are theirs. `converged` means that
    the criterion to stop is met, or that a callback wants to. `velocity` is what threads carry on (see `Team`). `last`
    are the rows that were visited last.
    """

    position: int = 0
    totals: Totals = field(default_factory=Totals)
    objectives: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: float = -np.inf
    best_state: State | None = None
    stale: int = 0
    clipped: int = 0
    converged: bool = False
    velocity: State | None = None
    last: Piece | None = None
    alarmed: bool = False

    @property
    def epoch(self) -> int:
        """Whole epochs so far."""
        return len(self.objectives)


class Resume(NamedTuple):
    """A point to go on from."""

    state: State
    progress: Progress
    eta0: float
    average_from: float


@dataclass(frozen=True)
class Session:
    """What the command line adds to a run: `watch` as in Plan, a rating by rows of its own, a point to go on from.

    `rate` takes the classes, None of a regression, and a settled state.
    """

    watch: Callable[[State, Settings, Progress, int | None], None] | None = None
    rate: Callable[[Array | None, State], float] | None = None
    resume: Resume | None = None


class Source(Protocol):
    """Where the rows of an epoch come from: always the same pieces. Epochs are asked for in rising order."""

    @property
    def rows_per_epoch(self) -> int | None: ...

    def epoch(self, number: int) -> Iterable[Piece]: ...

    def sample(self, size: int) -> Piece:
        """About so many of the rows, to try settings on; asked for before any epoch, and without effect on them."""
        ...

    def close(self, state: State) -> None:
        """Make the state fit to end training with, in the midst of an epoch."""


@dataclass(slots=True)
class Stored:
    """All the rows, in memory or mapped from a file: `all`, in rising order at first; the order is overwritten.

    Shuffled by blocks, neighbouring rows stay together: blocks come in random order, WINDOW of them at a time, and rows
    in random order within these. That is what a disk can read.
    """

    all: Piece
    shuffle: bool | str
    seed: int
    _random: np.random.PCG64 | None = None
    _shuffled: int = 0

    def __post_init__(self) -> None:
        weights, order = self.all.weights, self.all.order
        if weights is not None and not weights[order].all():
            self.all = self.all._replace(order=order[weights[order] != 0])

    @property
    def rows_per_epoch(self) -> int:
        return self.all.order.size

    def epoch(self, number: int) -> Iterable[Piece]:
        if self.shuffle == BLOCKS:
            return self._windows(np.random.default_rng((self.seed, number)))
        if self.shuffle and self.all.order.size > 1:
            self._random = self._random or np.random.PCG64(self.seed)
            while self._shuffled <= number:  # each epoch shuffles the order of the one before
                sgd.shuffle(self.all.order, self._random.random_raw() >> 1)
                self._shuffled += 1
        return (self.all,)

    def sample(self, size: int) -> Piece:
        random, order = np.random.default_rng((self.seed, 2**32)), self.all.order  # a number that no epoch has
        chosen = random.choice(order.size, min(size, order.size), replace=False)
        return self.all._replace(order=order[chosen if self.shuffle else np.sort(chosen)])

    def close(self, state: State) -> None:
        pass

    def _windows(self, random: np.random.Generator) -> Iterator[Piece]:
        rows, visits = self.all.rows, self.all.order
        per_row = rows.nnz / rows.shape[0] * (rows.data.itemsize + (rows.indices.itemsize if rows.sparse else 0))
        per_block = max(1, int(BLOCK_BYTES / max(per_row, 1)))
        starts = random.permutation(np.arange(0, visits.size, per_block))
        for first in range(0, starts.size, WINDOW):
            order = np.concatenate([visits[s : s + per_block] for s in starts[first : first + WINDOW]])
            sgd.shuffle(order, int(random.integers(2**63)))
            yield self.all._replace(order=order)


def train(loss: Loss, settings: Settings, state: State, source: Source, plan: Plan, progress: Progress) -> None:
    """Train `state` in place until `plan.epochs` passes are made or the criterion is met, going on from `progress`.

    Stopped by an exception, `state` is that of some step, and `finish` makes a model of it.

    Raises
    ------
    Divergence
        If a score or a weight is not finite any more, or most derivatives are cut off; the state is of no use then.
    """
    average_scale = state.average_scale
    if plan.threads > 1:
        with Crew() as crew:
            _pass_over(loss, settings, state, source, plan, progress, Team(crew, plan.threads))
    else:
        _pass_over(loss, settings, state, source, plan, progress, None)
    if plan.touched is None or state.received is not None:
        finish(state, progress)
    if state.received is not None or not plan.penalised:
        state.sum_squares = np.inf  # not followed: to be measured before it is used
    # A weight untouched is as finite as before, and so is its average unless the scale was folded into it.
    if not is_finite(state, plan.touched if state.average_scale >= average_scale else None):
        raise _divergence("a weight is not finite", progress.epoch - 1)


def _pass_over(
    loss: Loss, settings: Settings, state: State, source: Source, plan: Plan, progress: Progress,
    team: Team | None,
) -> None:  # fmt: skip
    """Epoch after epoch."""
    while progress.epoch < plan.epochs and not progress.converged:
        started, before = time.perf_counter(), progress.position
        _visit(loss, settings, state, source, plan, progress, team)
        totals = progress.totals
        objective = (totals.loss + (0.0 if plan.learning_rate in PASSIVE else totals.penalty)) / totals.weight
        if math.isnan(objective):
            raise _divergence("the objective is not a number", progress.epoch)
        seconds, visited = time.perf_counter() - started, progress.position - before
        score = plan.score(settled(state)) if plan.score else None
        _close_epoch(settings, state, plan, progress, objective, score)
        if plan.verbose or plan.callbacks:
            record = Epoch(progress.epoch, objective, seconds, score, [state])
            progress.converged |= _tell(plan, record, visited)


def _visit(
    loss: Loss, settings: Settings, state: State, source: Source, plan: Plan, progress: Progress,
    team: Team | None,
) -> None:  # fmt: skip
    """The rest of an epoch, slice by slice, or round by round where threads share the work."""
    done, known, per_slice = 0, None, 1
    if plan.penalised and not progress.position and needs_measure(state, source.rows_per_epoch):
        measure(state, state.weights)
    number = progress.epoch
    for piece in source.epoch(number):
        rows, visits = piece.rows, piece.order.size
        if rows is not known:
            check_state(state, rows, piece.targets)
            lay_out(state, rows.sparse)
            # Some hundredths of a second between two looks at Python's signals: a call costs more than of scores.
            per_slice, known = slice_length(rows, state.width, settings.batch_size, 8 if rows.sparse else 64), rows
        ends = None if team is None else team.divide(rows, visits, state, settings.batch_size)
        calls: Iterable[Sequence[int]] = ((end,) for end in range(per_slice, visits + per_slice, per_slice))
        if team is not None and ends:
            calls = [ends[i : i + team.rounds_per_call] for i in range(0, len(ends), team.rounds_per_call)]
        for call in calls:
            first, end = progress.position - done, call[-1]
            if end <= first:
                continue
            part = piece.part(first, end)
            if team is not None and ends:
                if progress.velocity is None or progress.velocity.weights.size != count_weights(state):
                    progress.velocity = motionless(state)
                lay_out(progress.velocity, state.feature_major)
                stops = [stop - first for stop in call if stop > first]
                team.train(loss, settings, state, part, stops, progress.totals, progress.velocity)
            else:
                progress.velocity = None
                _learn(loss, settings, state, part, progress.totals)
            progress.position += part.order.size
            if progress.totals.bad_row >= 0:
                raise _divergence(f"the score of row {progress.totals.bad_row} is not finite", number)
            progress.last = part
            if progress.totals.clipped:
                _notice_cuts(state, plan, progress, part)
            if plan.watch:
                plan.watch(state, settings, progress, source.rows_per_epoch)
        done += visits


def _notice_cuts(state: State, plan: Plan, progress: Progress, part: Piece) -> None:
    """Where most derivatives were cut off nothing is learnt, unless the targets are so far away; else there may be."""
    cut, seen = progress.totals.clipped, progress.position * state.outputs
    epoch = progress.epoch + 1
    what = f"Training diverges at epoch #{epoch}: {cut} of {seen} derivatives exceeded 1e12 and were cut off."
    if cut >= FEWEST_CUTS and 2 * cut > seen and np.abs(part.targets).max() < 1e12:
        raise Divergence(what)
    if plan.alarm and not progress.alarmed:
        progress.alarmed = True
        plan.alarm(what)


def loss_at_zero(loss: Loss, rows: Piece, outputs: int) -> float:
    """The mean loss of a model whose weights are all 0, by the last of these rows."""
    if loss.joint or loss.targets == "sign" or rows.targets.shape[1] != outputs:  # classes
        return _class_loss_at_zero(loss, outputs)
    targets = rows.targets[rows.order[-ROWS_LOOKED_AT:]]
    return float(loss.value(np.zeros(targets.shape), targets).sum(axis=1).mean())


@functools.lru_cache(maxsize=16)
def _class_loss_at_zero(loss: Loss, outputs: int) -> float:
    if loss.joint:
        return float(loss.value(np.zeros(outputs), 0))
    return outputs * float(loss.value(0.0, 1.0))  # each output has -1 or 1


def _learn(loss: Loss, settings: Settings, state: State, piece: Piece, totals: Totals) -> None:
    """The pass over a slice. A long batch is interrupted in its midst: then the step has not been made."""
    before = copy.deepcopy(state) if 1 < piece.order.size <= settings.batch_size and _is_long(piece, state) else None
    try:
        piece.train(loss, settings, state, totals)
    except BaseException:
        if before is not None:
            restore(state, before)
        raise


def _is_long(piece: Piece, state: State) -> bool:
    """Whether the kernel, were this one batch, would look at signals: LONG_WORK in core/job.pxd is some times more."""
    rows, order = piece.rows, piece.order
    nnz = order.size * rows.shape[1]
    if rows.indptr is not None:
        nnz = int((rows.indptr[order + 1] - rows.indptr[order]).sum())
    return nnz * state.width + order.size * state.hidden * state.outputs > NONZEROS_PER_SLICE


def _close_epoch(
    settings: Settings, state: State, plan: Plan, progress: Progress, objective: float, score: float | None
) -> None:
    """Whether to go on. As in scikit-learn a score has to reach best + tol, an objective to fall to best - tol."""
    merit = -objective if score is None else score
    improves = merit >= progress.best + plan.tol if plan.tol is not None else True
    stale = 0 if improves else progress.stale + 1
    if merit > progress.best:
        progress.best = merit
        progress.best_state = copy.deepcopy(state) if plan.score else None
    if stale >= plan.n_iter_no_change:
        if plan.learning_rate == "adaptive" and settings.eta0 > 1e-6:
            settings.eta0, stale = settings.eta0 / 5, 0
        else:
            progress.converged = True
    progress.stale = stale
    progress.clipped += progress.totals.clipped
    progress.totals, progress.position = Totals(), 0
    progress.objectives.append(objective)
    if score is not None:
        progress.scores.append(score)


def _tell(plan: Plan, record: Epoch, visited: int) -> bool:
    """Print an epoch's line and call the callbacks; whether one of them wants to stop."""
    if plan.verbose:
        score = "" if record.validation_score is None else f"  validation score {record.validation_score:.4f}"
        speed = visited / record.seconds
        print(f"epoch {record.epoch:3d}  objective {record.loss:.6f}{score}  {speed:,.0f} rows/s", flush=True)
    try:
        answers = [callback(record) for callback in plan.callbacks]
    finally:
        record._state.clear()
    return any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers)


def finish(state: State, progress: Progress) -> None:
    """Make the state that of a model: the best one if there was a score, every weight with its scale and penalty."""
    if progress.best_state is not None:
        restore(state, progress.best_state)
    settle(state, state.weights)


def needs_measure(state: State, steps: int | None) -> bool:
    """Whether the norms are unknown, or will have been followed by differences for long enough."""
    if not math.isfinite(state.sum_squares):
        return True
    return state.t > 1 and (steps is None or state.t % STEPS_BETWEEN_MEASURES < steps)


def _divergence(what: str, epoch: int) -> Divergence:
    return Divergence(f"Floating-point under-/overflow occurred at epoch #{epoch + 1}: {what}.")
