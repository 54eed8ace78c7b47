"""One model trained by several threads: copies of its state, each on rows of its own, merged many times an epoch."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from ._arrays import Array
from ._merging import merge_cells
from ._states import duplicate, overwrite, restore
from ._validation import Rows
from .core import network, sgd
from .core.losses import Loss
from .core.merge import LARGEST_CREW, Rounds
from .core.state import OPTIMIZERS, Settings, State, Totals, swap

# Multiply-adds, DENSE times as many on dense rows and OF_ROW more for each row: what a thread does between two merges
# at least (also so many for each weight, which a merge reads and writes several times), and at most in one call, for
# Ctrl-C waits for it. The second numbers are those of networks, whose multiply-adds take longer.
SHORTEST_SHARE, SHORTEST_OF_NETWORK = 150_000, 400_000
DENSE, DENSE_NETWORK = 12, 8
OF_ROW = 16
SHARE_PER_WEIGHT = 2
LONGEST_SHARE = 10_000_000
MOST_ROUNDS = 128  # in a piece of data; more gain nothing
# Times the shortest share that is worth it where there is more: dense linear models bear least between two merges.
SPARSE, NETWORK = 8, 3
ROUNDS_PER_THREAD = 2  # at least: fewer leave the copies too far apart, and there are fewer threads then


Done = queue.SimpleQueue["BaseException | None"]
Job = tuple[Callable[[int], object], int, Done, Callable[[], object] | None]


class Crew:
    """Threads that do the same work at the same time, again and again; the caller's is one of them."""

    def __init__(self) -> None:
        self._helpers: list[tuple[threading.Thread, queue.SimpleQueue[Job | None]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupted, ended = None, False
        while not ended:
            try:
                for _, jobs in self._helpers:  # also of one that was interrupted while it started
                    jobs.put(None)
                for thread, _ in self._helpers:
                    if thread.is_alive():
                        thread.join()
                ended = True
            except BaseException as late:
                interrupted = late
        if interrupted is not None:
            raise interrupted

    def do(self, work: Callable[[int], object], size: int, stop: Callable[[], object] | None = None) -> None:
        """work(0), ..., work(size - 1) side by side. An error in one is raised when all have ended.

        With an error `stop` is called at once, for those that would wait for the one that has failed.
        """
        while len(self._helpers) < size - 1:
            jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
            thread = threading.Thread(target=_serve, args=(jobs,), daemon=True)
            self._helpers.append((thread, jobs))
            thread.start()
        done: Done = queue.SimpleQueue()
        try:
            for i in range(1, size):
                self._helpers[i - 1][1].put((work, i, done, stop))
            work(0)
            answers = [done.get() for _ in range(1, size)]
        except BaseException as caught:
            if stop is not None:
                stop()
            self._wait_until_idle()
            if not isinstance(caught, InterruptedError):
                raise
            answers = [caught]
            while not done.empty():
                answers.append(done.get())
        errors = [answer for answer in answers if answer is not None]
        if errors:
            try:
                # InterruptedError is what a kernel raises when another thread has failed: that one's error says why.
                raise min(errors, key=lambda error: isinstance(error, InterruptedError))
            finally:
                del answers[:], errors[:]  # their tracebacks hold the data, and this frame

    def _wait_until_idle(self) -> None:
        """Whatever of the last work was handed out: a job put behind it tells when it is done. For each Ctrl-C anew."""
        while True:
            idle: Done = queue.SimpleQueue()
            try:
                alive = [jobs for thread, jobs in self._helpers if thread.is_alive()]
                for jobs in alive:
                    jobs.put((int, 0, idle, None))
                for _ in alive:
                    idle.get()
                return
            except BaseException:  # an error is raised anyway
                continue


def _serve(jobs: queue.SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        work, i, done, stop = job
        error = None
        try:
            work(i)
        except BaseException as caught:
            error = caught
            if stop is not None:
                stop()
        del work, stop, job  # they hold the data
        done.put(error)


class Piece(NamedTuple):
    """Rows to visit in one go, in the order `order`."""

    rows: Rows
    targets: Array
    weights: Array | None
    order: Array

    def part(self, first: int, last: int) -> Piece:
        """The visits first .. last - 1."""
        return self if first == 0 and last >= self.order.size else self._replace(order=self.order[first:last])

    def train(
        self, loss: Loss, settings: Settings, state: State, totals: Totals, rounds: Rounds | None = None,
        thread: int = 0,
    ) -> None:  # fmt: skip
        """The pass over these rows, of the kernel for the state's kind of model."""
        rows = self.rows
        kernel = network.train if state.hidden else sgd.train
        kernel(
            loss, settings, state, rows.data, rows.indices, rows.indptr, self.targets, self.weights, self.order,
            totals, rounds, thread,
        )  # fmt: skip


class Team:
    """Trains a state by a crew, round after round. When a call has ended, the state is that of a complete round."""

    def __init__(self, crew: Crew, threads: int) -> None:
        self._crew, self._most, self._threads = crew, min(threads, LARGEST_CREW), 1
        self._copies = list[State]()
        self.rounds_per_call = 1

    def divide(self, rows: Rows, visits: int, state: State, batch_size: int) -> list[int]:
        """Where each round of so many visits to rows ends; none if the work is too little to share.

        Given the numbers it is always the same, whatever the machine does: another division makes another model.
        """
        batches = -(-visits // batch_size)
        shortest, dense = (SHORTEST_OF_NETWORK, DENSE_NETWORK) if state.hidden else (SHORTEST_SHARE, DENSE)
        work = rows.nnz / rows.shape[0] * state.width * visits / (1 if rows.sparse else dense)
        work += state.hidden * state.outputs * visits / dense + OF_ROW * visits
        share = max(shortest, SHARE_PER_WEIGHT * state.weights.size)
        # So many that each has this share of the work, and a batch, in each of that many rounds.
        threads = min(self._most, *(math.isqrt(int(n / ROUNDS_PER_THREAD)) for n in (work / share, batches)))
        if threads < 2:
            return []
        most = MOST_ROUNDS // 4 if state.hidden and state.optimizer else MOST_ROUNDS  # larger merges, and as good
        patience = NETWORK if state.hidden else SPARSE if rows.sparse else 1
        rounds = min(most, int(work / (threads * share * patience)))
        rounds = max(rounds, ROUNDS_PER_THREAD * threads, int(work / (threads * LONGEST_SHARE)))
        rounds, self._threads = min(rounds, batches // threads), threads
        # What merges in Python is given one round at a time.
        self.rounds_per_call = 1 if state.optimizer else max(1, int(LONGEST_SHARE * threads * rounds / work))
        return [min(visits, (i + 1) * batches // rounds * batch_size) for i in range(rounds)]

    def train(
        self, loss: Loss, settings: Settings, state: State, piece: Piece, ends: list[int], totals: Totals,
        velocity: State,
    ) -> None:  # fmt: skip
        """As Piece.train, in rounds that end after so many visits; in each a thread takes a share of the batches, at
        the steps' numbers that they have in the order.

        `velocity` has what weights and bias carry on.
        """
        if self._copies and self._copies[0].weights.size != state.weights.size:  # features have turned up
            self._copies.clear()
        if not self._copies:  # the arrays of the state may be in the caller's hands
            restore(state, duplicate(state))
        while len(self._copies) < self._threads:
            self._copies.append(duplicate(state))
        parts = [Totals() for _ in range(self._threads)]
        if state.optimizer == OPTIMIZERS["sgd"]:
            self._train_in_rounds(loss, settings, state, piece, ends, parts, velocity)
        else:
            self._train_one_round(loss, settings, state, piece, parts, velocity)
        for part in parts:
            for name in ("loss", "penalty", "weight", "clipped"):
                setattr(totals, name, getattr(totals, name) + getattr(part, name))
            totals.bad_row = max(totals.bad_row, part.bad_row)

    def _train_in_rounds(
        self, loss: Loss, settings: Settings, state: State, piece: Piece, ends: list[int], parts: list[Totals],
        velocity: State,
    ) -> None:  # fmt: skip
        copies = self._copies[: self._threads]
        rounds = Rounds(state, velocity, copies, np.array(ends, np.intp), settings.batch_size)

        def learn(i: int) -> None:
            piece.train(loss, settings, copies[i], parts[i], rounds, i)

        self._crew.do(learn, self._threads, rounds.abandon)

    def _train_one_round(
        self, loss: Loss, settings: Settings, state: State, piece: Piece, parts: list[Totals], velocity: State
    ) -> None:
        batch, copies = settings.batch_size, self._copies[: self._threads]
        batches = -(-piece.order.size // batch)
        starts = [i * batches // self._threads for i in range(self._threads + 1)]

        def learn(i: int) -> None:
            overwrite(copies[i], state)
            copies[i].t = state.t + starts[i]
            share = piece.order[starts[i] * batch : starts[i + 1] * batch]
            piece._replace(order=share).train(loss, settings, copies[i], parts[i])

        self._crew.do(learn, self._threads)
        if all(part.bad_row < 0 for part in parts):
            l1 = settings.strength * settings.l1_ratio
            merge_cells(state, copies, velocity, l1, settings.strength - l1)
            copies[0].t = copies[-1].t
            swap(state, copies[0])
