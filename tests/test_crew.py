"""Threads of one call: where one fails, or Ctrl-C comes, no other waits for it, and nothing is left behind."""

import copy
import faulthandler
import gc
import os
import queue
import signal
import threading
import time
import weakref

import numpy as np
import pytest
from small_data import T, X, Y, classifier, regressor, same

import fastsgd
from fastsgd import _states, _team
from fastsgd.core.merge import Rounds
from fastsgd.core.state import Totals

pytestmark = pytest.mark.usefixtures("small_shares")


@pytest.fixture
def ends_in_time(capfd):
    """Threads that wait for each other in a kernel do not listen to Ctrl-C: then all ends, and says where it was."""
    with capfd.disabled():
        stderr = os.dup(2)
    faulthandler.dump_traceback_later(60, exit=True, file=stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    os.close(stderr)


@pytest.mark.filterwarnings("ignore:Training diverges")  # before, with derivatives that are cut off
def test_divergence_in_a_later_round_of_a_call(ends_in_time):
    """One thread finds it, and no other waits for that one."""
    rows, y = np.tile(X, (10, 1)), np.tile(T, 10)
    for row in (10, 400, 700, 1190):
        bad = rows.copy()
        bad[row : row + 2] *= 1e300
        with pytest.raises(ValueError, match="under-/overflow"):
            regressor(n_jobs=3, shuffle=False, max_iter=1).fit(bad, y)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_a_model_and_no_thread(error):
    def fail(epoch):
        if epoch.epoch == 2:
            raise error

    model = classifier(n_jobs=3, callbacks=[fail])
    with pytest.raises(error):
        model.fit(X, Y)
    same(model.set_params(callbacks=None), classifier(n_jobs=3, max_iter=2).fit(X, Y).set_params(max_iter=5))


@pytest.mark.parametrize("first", range(3))
def test_the_error_that_has_stopped_the_others_is_raised(first):
    """And it keeps nothing of the data: no cycle of errors and the frames that they came through."""

    def fail():
        stopped, data = threading.Event(), np.zeros(1)

        def work(i, data=data):
            if i == first:
                raise MemoryError
            assert stopped.wait(60)
            raise InterruptedError

        with _team.Crew() as crew:
            try:
                crew.do(work, 3, stopped.set)
            except MemoryError:
                return weakref.ref(data)

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()


def test_an_error_in_a_thread_is_raised_when_all_have_ended():
    ended = []

    def work(i):
        if i == 1:
            raise MemoryError
        time.sleep(0.05)
        ended.append(i)

    with _team.Crew() as crew:
        with pytest.raises(MemoryError):
            crew.do(work, 3)
        assert sorted(ended) == [0, 2]
        crew.do(ended.append, 4)
    assert sorted(ended) == [0, 0, 1, 2, 2, 3]


@pytest.mark.parametrize("failing", [0, 2])
def test_who_waits_for_a_thread_that_fails_is_told(failing, ends_in_time):
    told, error = threading.Event(), MemoryError

    def work(i):
        if i == failing:
            raise error
        told.wait()

    with _team.Crew() as crew, pytest.raises(error):
        crew.do(work, 3, told.set)


@pytest.mark.parametrize("fault", ["dtype", "size", "bias", "strides", "read-only"])
def test_a_velocity_that_does_not_fit_is_refused(fault):
    """It may come from a file; the kernel writes to it."""
    state = _states.new_state(1, 50, np.dtype(float), False)
    velocity, copies = _states.motionless(state), [_states.duplicate(state), _states.duplicate(state)]
    Rounds(state, velocity, copies, np.array([4], np.intp), 1)
    if fault == "bias":
        velocity.bias = np.zeros(0)
    elif fault == "read-only":
        velocity.weights.flags.writeable = False
    else:
        velocity.weights = {
            "dtype": np.zeros(50, np.float32), "size": np.zeros(49), "strides": np.zeros(100)[::2]
        }[fault]  # fmt: skip
    with pytest.raises(ValueError, match="does not fit"):
        Rounds(state, velocity, copies, np.array([4], np.intp), 1)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_thread_that_fails_keeps_no_other_waiting(failing, monkeypatch, ends_in_time):
    """The rounds of a call need all threads."""
    model = classifier(n_jobs=3, penalty="l1").fit(X, Y)
    before, train = copy.deepcopy(model), _team.Piece.train

    def fail(self, *arguments):
        if arguments[-1] == failing:
            raise MemoryError("here")
        train(self, *arguments)

    monkeypatch.setattr(_team.Piece, "train", fail)
    with pytest.raises(MemoryError, match="here"):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.coef_, before.coef_)
    assert model.t_ == before.t_


def test_ctrl_c_before_the_work_begins_keeps_no_thread_waiting(monkeypatch, ends_in_time):
    model, jobs = classifier(n_jobs=3), queue.SimpleQueue.put

    class Interrupted(queue.SimpleQueue):
        def put(self, job):
            jobs(self, job)
            if isinstance(job, tuple) and job[1] == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(_team.queue, "SimpleQueue", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)


def test_a_long_batch_ends_once_nobody_waits_for_it():
    """Ctrl-C reaches the main thread, and what the others do is of no use then."""
    rows = fastsgd._validation.check_rows(np.tile(X, (100, 1)))
    state = _states.new_state(200, rows.shape[1], np.dtype(float), False)
    copies, settings = (
        [_states.duplicate(state), _states.duplicate(state)],
        classifier(batch_size=6000)._settings(False, fastsgd.losses.LOSSES["softmax"]),
    )
    order = np.arange(rows.shape[0], dtype=np.uint32)
    piece = _team.Piece(rows, np.zeros((rows.shape[0], 1)), None, order)
    rounds = Rounds(state, _states.motionless(state), copies, np.array([order.size], np.intp), 6000)
    rounds.abandon()
    with pytest.raises(InterruptedError):
        piece.train(fastsgd.losses.LOSSES["softmax"], settings, copies[1], Totals(), rounds, 1)
    assert not copies[1].weights.any()
    assert copies[1].t == 1


def test_ctrl_c(monkeypatch):
    monkeypatch.setattr(_team, "MOST_ROUNDS", 64)
    A = np.random.default_rng(0).standard_normal((20_000, 50))
    y = (A[:, 0] > 0).astype(int)
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for delay in (0.05, 0.051, 0.0523):
            model = classifier(n_jobs=2, penalty="l1", average=True, max_iter=10**6)
            signal.setitimer(signal.ITIMER_REAL, delay)
            started = time.perf_counter()
            with pytest.raises(KeyboardInterrupt):
                model.fit(A, y)
            assert time.perf_counter() - started < 2
            assert model.score(A, y) > 0.9
            state = model._state
            assert state.scale == 1
            assert state.t == model.t_ > 1
            model.partial_fit(A, y)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_after_fit():
    model = classifier(n_jobs=2).fit(X, Y)
    child = os.fork()
    if child == 0:
        try:
            same(classifier(n_jobs=2).fit(X, Y), model)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
