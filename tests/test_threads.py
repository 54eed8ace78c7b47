"""One model trained by several threads: equal to a plain description, the same bits every time, leaving nothing."""

import copy
import faulthandler
import itertools
import os
import pickle
import queue
import signal
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
from common import JOINT, LAYOUTS, PRECISION, as_targets, assert_same_model, estimator, lay_out, make_data
from reference import LOSSES, Reference
from small_data import ALL, Y3, T, X, Y, classifier, make, regressor, same, target

import fastsgd
from fastsgd import SGDClassifier, _states, _team, _training
from fastsgd._merging import merge_cells
from fastsgd.core.merge import Rounds

ROUNDS = 4


@pytest.fixture(autouse=True)
def small_shares(monkeypatch):
    """Little data is shared out as much data is."""
    for name in ("SHORTEST_SHARE", "SHORTEST_OF_NETWORK", "ROUNDS_PER_THREAD"):
        monkeypatch.setattr(_team, name, 1)
    monkeypatch.setattr(_team, "SHARE_PER_WEIGHT", 0)
    monkeypatch.setattr(_team, "MOST_ROUNDS", ROUNDS)
    yield
    assert threading.enumerate() == [threading.main_thread()]


@pytest.fixture
def ends_in_time():
    """Threads that wait for each other in a kernel do not listen to Ctrl-C."""
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


# --- the scheme


def train_together(loss, X, y, threads, s, *, max_iter, **parameters):
    """The reference, its copies on shares of the rows, merged `ROUNDS` times an epoch."""
    targets = as_targets(y, loss)
    s = np.ones(len(X)) if s is None else s
    X, targets, s = X[s > 0], targets[s > 0], s[s > 0]
    model = Reference(loss, targets.shape[1], X.shape[1], intercept_decay=1.0, **parameters)
    batches = [slice(i, i + model.batch_size) for i in range(0, len(X), model.batch_size)]
    velocity = np.zeros_like(model.W), np.zeros_like(model.b)
    for _ in range(max_iter):
        total, ends = 0, [i * len(batches) // ROUNDS for i in range(ROUNDS + 1)]
        for first, end in itertools.pairwise(ends):
            copies, n = [], end - first
            for i in range(threads):
                copies.append(copy.deepcopy(model))
                copies[i].t += i * n // threads
                for rows in batches[first + i * n // threads : first + (i + 1) * n // threads]:
                    total += copies[i].step(X[rows], targets[rows], s[rows])
            velocity = merge(model, copies, *velocity)
        model.loss_curve.append(total / s.sum())
    model.truncate(np.full(X.shape[1], True))
    return model


def merge(model, copies, V, v):
    """The mean of the copies, carried on by a share of the last change; what accounts gained adds up; l1 is paid."""
    share, mean = 1 - 1 / len(copies), np.mean([c.W for c in copies], axis=0)
    W, b = mean + share * V, np.mean([c.b for c in copies], axis=0) + share * v
    if model.rho and model.strength:  # not past 0
        W = np.where(np.sign(W) == np.sign(mean), W, 0)
    V, v = W - model.W, b - model.b
    for name in ("u", "q", "W_sum", "b_sum", "averaged"):
        before = getattr(model, name)
        setattr(model, name, before + sum(getattr(c, name) - before for c in copies))
    model.W, model.b, model.t = W, b, copies[-1].t
    model.q = np.clip(model.q, -model.u, model.u)  # no more than was due
    model.truncate(np.full(W.shape[1], True))
    return V, v


CASES = [
    {},
    {"penalty": "l2", "alpha": 0.01, "learning_rate": "optimal"},
    {"penalty": "l1", "alpha": 0.01},
    {"penalty": "elasticnet", "alpha": 0.01, "learning_rate": "invscaling", "eta0": 0.5},
    {"average": 1, "penalty": "l2", "alpha": 0.01},
    {"average": 30, "penalty": "l1", "alpha": 0.005},
    {"batch_size": 4, "penalty": "l2", "alpha": 0.01},
    {"batch_size": 3, "average": 5, "penalty": "elasticnet", "alpha": 0.01},
    {"learning_rate": "pa1", "eta0": 0.5},
    {"fit_intercept": False},
]


@pytest.mark.filterwarnings("ignore:Training diverges")  # it does
@pytest.mark.parametrize("parameters", CASES, ids=str)
@pytest.mark.parametrize("threads", [2, 3])
def test_equals_the_plain_description(parameters, threads):
    for loss, K in (("log_loss", 2), ("log_loss", 3), ("softmax", 4), ("squared_error", 1)):
        X, classes, real = make_data(n=90, K=K)
        y = real if loss == "squared_error" else classes
        s = None if K == 3 else np.arange(len(X)) % 5 / 2.0  # a fifth of the rows has weight 0
        parameters = {"learning_rate": "constant", "eta0": 0.1, **parameters}
        expected = train_together(loss, X, y, threads, s, max_iter=3, **parameters)
        for layout, dtype in itertools.product(LAYOUTS, PRECISION):
            model = estimator(loss, y, **parameters, n_jobs=threads)
            model.fit(lay_out(X, layout, dtype), y, sample_weight=s)
            assert_same_model(model, expected, PRECISION[dtype], f"{loss} K={K} {layout} {np.dtype(dtype)}")


def test_partial_fit_equals_the_plain_description():
    X, y, _ = make_data(n=60)
    expected = train_together("log_loss", X, y, 2, None, max_iter=1, eta0=0.1)
    model = estimator("log_loss", y, n_jobs=2).partial_fit(X, y, classes=[0, 1])
    assert_same_model(model, expected, 1e-10)
    assert model.partial_fit(X, y).t_ == 121


def test_how_work_is_divided(monkeypatch):
    monkeypatch.undo()  # the real sizes

    def rows(n, d, nnz, sparse):
        return type("Rows", (), {"shape": (n, d), "nnz": nnz, "sparse": sparse})

    def divide(rows, K, threads, batch=1):
        state = _states.new_state(K, rows.shape[1], np.dtype("f4"), False)
        return len(_team.Team(None, threads).divide(rows, rows.shape[0], state, batch))

    large = rows(180_000, 47_000, 13_000_000, True)
    assert divide(large, 1, 2) == 6
    assert divide(large, 1, 2, batch=100_000) == divide(large, 1, 2, batch=10**6) == 0
    assert divide(rows(60_000, 784, 60_000 * 784, False), 10, 2) == 128
    assert divide(rows(10**8, 100, 10**11, True), 1, 2) == 5080
    for little in (rows(10_000, 100, 10**6, True), rows(25_000, 1_500_000, 6 * 10**6, True), rows(3, 3, 9, False)):
        assert divide(little, 1, 64) == 0
    for threads in (2, 3, 4, 8, 16):
        team = _team.Team(None, threads)
        ends = team.divide(large, large.shape[0], _states.new_state(1, 47_000, np.dtype("f4"), False), 1)
        assert team._threads == min(threads, 7)
        assert len(ends) >= 2 * team._threads
        assert ends == sorted(set(ends))
        assert ends[-1] == 180_000
    team = _team.Team(None, 1000)
    state = _states.new_state(1, 100, np.dtype("f4"), False)
    assert len(team.divide(rows(10**8, 100, 10**10, True), 10**8, state, 1)) >= 64
    assert team._threads == _team.LARGEST_CREW


# --- it learns


@pytest.mark.parametrize(("penalty", "n_jobs"), [("l2", 2), ("l2", 4), ("l1", 2)])
def test_objective_is_within_one_percent(n_jobs, penalty, monkeypatch):
    monkeypatch.setattr(_team, "MOST_ROUNDS", 32)
    A, y = fastsgd.load_svmlight(os.path.join(os.path.dirname(__file__), "data", "a9a.gz"), dtype=np.float32)
    objectives, options = [], {"penalty": penalty, "max_iter": 5, "tol": None, "random_state": 0, "average": len(y)}
    for jobs in (1, n_jobs):
        model = SGDClassifier("log_loss", n_jobs=jobs, **options).fit(A, y)
        loss = np.logaddexp(0, -y * model.decision_function(A)).mean()
        W = model.coef_.astype(float)
        objectives.append(loss + 1e-4 * ((W**2).sum() / 2 if penalty == "l2" else np.abs(W).sum()))
    assert objectives[1] < 1.01 * objectives[0]


@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
@pytest.mark.parametrize("average", [False, True])
def test_every_loss_learns(penalty, average):
    A, y, real = make_data(n=300, d=10, K=3)
    for loss in LOSSES:
        regression = loss not in JOINT and loss in fastsgd.regression.REAL_LOSSES
        kind, goal = (fastsgd.SGDRegressor, real) if regression else (SGDClassifier, y)
        options = {"penalty": penalty, "average": average, "learning_rate": "constant", "eta0": 0.1, "max_iter": 10}
        one, many = (
            kind(loss, tol=None, random_state=0, n_jobs=n, **options).fit(sp.csr_array(A), goal).score(A, goal)
            for n in (1, 3)
        )
        assert many > one - 0.05, loss


# --- the same bits, whatever else goes on


@pytest.mark.parametrize("kind", ALL)
def test_bits_do_not_depend_on_the_load(kind):
    stop = threading.Event()

    def burn():
        while not stop.is_set():
            np.linalg.norm(np.ones(1000))

    options = {"n_jobs": 3, "penalty": "elasticnet", "shuffle": True}
    quiet = make(kind, **options).fit(X, target(kind))
    burner = threading.Thread(target=burn)
    burner.start()
    try:
        for _ in range(3):
            same(make(kind, **options).fit(X, target(kind)), quiet)
    finally:
        stop.set()
        burner.join()
    assert not np.array_equal(make(kind, penalty="elasticnet").fit(X, target(kind)).coef_, quiet.coef_)


def one_round_a_call(monkeypatch):
    one = property(lambda self: 1, lambda self, value: None)
    monkeypatch.setattr(_team.Team, "rounds_per_call", one, raising=False)


def test_a_run_goes_on_from_any_round(monkeypatch):
    """As the command line does: from a state and progress, to the same bits."""
    one_round_a_call(monkeypatch)
    points = []

    def watch(state, settings, progress, rows):
        points.append(copy.deepcopy((state, progress)))

    rows = fastsgd._validation.check_rows(X)
    loss, plan = fastsgd.losses.LOSSES["softmax"], _training.Plan(3, None, 5, threads=2, watch=watch)
    settings = classifier(penalty="l1")._settings(rows, loss)

    def train(state, progress):
        piece = _team.Piece(rows, Y3.astype(float).reshape(-1, 1), None, np.arange(len(X), dtype=np.uint32))
        _training.train(loss, settings, state, _training.Stored(piece, True, 7), plan, progress)
        return state

    state = _states.new_state(3, X.shape[1], np.dtype(float), False)
    state.received = np.zeros_like(state.weights)
    whole = train(state, _training.Progress())
    assert len(points) == 3 * ROUNDS
    for at in (0, 5, 11):
        again = train(*copy.deepcopy(points[at]))
        np.testing.assert_array_equal(again.weights, whole.weights)
        assert (again.t, again.penalty_total) == (whole.t, whole.penalty_total)


@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("average", [False, 40])
@pytest.mark.parametrize("kind", [SGDClassifier, fastsgd.SGDRegressor])
def test_rounds_in_one_call_are_rounds_one_by_one(kind, average, penalty, monkeypatch):
    options = {"n_jobs": 3, "penalty": penalty, "average": average, "shuffle": True, "batch_size": 2}
    monkeypatch.setattr(_team, "LONGEST_SHARE", 10**9)
    calls = count_calls(monkeypatch)
    together = make(kind, **options).fit(X, target(kind))
    one_round_a_call(monkeypatch)
    few = len(calls)
    one_by_one = make(kind, **options).fit(X, target(kind))
    assert len(calls) - few > few
    for name in ("coef_", "intercept_", "t_"):
        np.testing.assert_array_equal(getattr(together, name), getattr(one_by_one, name))
    np.testing.assert_allclose(together.loss_curve_, one_by_one.loss_curve_, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
@pytest.mark.parametrize("batch_size", [1, 7])  # 7: the last batch is a shorter one, with its own share of the penalty
def test_rounds_of_a_network_in_one_call_are_rounds_one_by_one(batch_size, monkeypatch):
    options = {"solver": "sgd", "alpha": 0.1, "batch_size": batch_size, "max_iter": 3, "n_jobs": 2, "random_state": 0}
    monkeypatch.setattr(_team, "LONGEST_SHARE", 10**9)
    calls = count_calls(monkeypatch)
    together = fastsgd.MLPClassifier((5,), **options).fit(X[:110], Y3[:110])
    few = len(calls)
    one_round_a_call(monkeypatch)
    one_by_one = fastsgd.MLPClassifier((5,), **options).fit(X[:110], Y3[:110])
    assert len(calls) - few > few == 3
    for ours, theirs in zip(
        together.coefs_ + together.intercepts_, one_by_one.coefs_ + one_by_one.intercepts_, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def count_calls(monkeypatch):
    calls, train = [], _team.Team.train

    def counted(*arguments):
        calls.append(1)
        train(*arguments)

    monkeypatch.setattr(_team.Team, "train", counted)
    return calls


# --- as with one thread


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("n_jobs", [1000, -1])
def test_more_threads_than_rows(kind, n_jobs):
    model = make(kind, n_jobs=n_jobs).fit(X[:7], target(kind)[:7])
    assert np.isfinite(model.coef_).all()
    assert model.t_ == 36
    alone = make(kind, n_jobs=1).fit(X[:7], target(kind)[:7])
    full = make(kind, n_jobs=2, batch_size=1000).fit(X[:7], target(kind)[:7])  # one batch cannot be shared
    assert np.array_equal(full.coef_, make(kind, batch_size=1000).fit(X[:7], target(kind)[:7]).coef_)
    assert alone.t_ == model.t_


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_rows_of_weight_zero_change_nothing(n_jobs):
    weights = np.tile([0.0, 1, 2], len(X) // 3)
    kept = weights > 0
    some = classifier(n_jobs=n_jobs).fit(X, Y, sample_weight=weights)
    same(some, classifier(n_jobs=n_jobs).fit(X[kept], Y[kept], sample_weight=weights[kept]))
    with pytest.raises(ValueError, match="weight"):
        classifier(n_jobs=n_jobs).fit(X, Y, sample_weight=np.zeros(len(X)))


@pytest.mark.parametrize("kind", ALL)
def test_life_of_a_model(kind, tmp_path):
    y, calls = target(kind), []
    model = make(kind, n_jobs=2, warm_start=True, tol=1e-3, early_stopping=True, max_iter=30, callbacks=[calls.append])
    model.fit(X, y).fit(X, y)
    assert len(model.loss_curve_) == len(model.validation_scores_) == model.n_iter_ <= 30
    assert len(calls) >= model.n_iter_
    model = make(kind, n_jobs=2, penalty="l1").fit(X, y)
    model.save(tmp_path / "model.npz")
    others = [pickle.loads(pickle.dumps(model)), fastsgd.load(tmp_path / "model.npz"), copy.deepcopy(model)]
    model.partial_fit(X, y)
    for other in others:
        assert other.n_jobs == 2
        same(other.partial_fit(X, y), model)
    layout = sp.csr_array(X)
    same(model.partial_fit(layout, y), others[0].partial_fit(layout, y))


def test_coefficients_in_the_callers_hands_stay():
    model = classifier(n_jobs=2).fit(X, Y)
    coef, were = model.coef_, model.coef_.copy()
    model.partial_fit(X, Y)
    np.testing.assert_array_equal(coef, were)
    assert not np.array_equal(model.coef_, were)


@pytest.mark.filterwarnings("ignore:Training diverges")  # before, with derivatives that are cut off
def test_divergence_in_a_later_round_of_a_call(ends_in_time):
    """One thread finds it, and no other waits for that one."""
    rows, y = np.tile(X, (10, 1)), np.tile(T, 10)
    for row in (10, 400, 700, 1190):
        bad = rows.copy()
        bad[row : row + 2] *= 1e300
        with pytest.raises(ValueError, match="under-/overflow"):
            regressor(n_jobs=3, shuffle=False, max_iter=1).fit(bad, y)


def test_divergence_is_reported():
    with pytest.raises(ValueError, match="under-/overflow"):
        regressor(n_jobs=2, learning_rate="constant", eta0=1e30).fit((X * 1e30).astype(np.float32), T)


# --- nothing is left behind


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_a_model_and_no_thread(error):
    def fail(epoch):
        if epoch.epoch == 2:
            raise error

    model = classifier(n_jobs=3, callbacks=[fail])
    with pytest.raises(error):
        model.fit(X, Y)
    same(model.set_params(callbacks=None), classifier(n_jobs=3, max_iter=2).fit(X, Y).set_params(max_iter=5))


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


@pytest.mark.parametrize("optimizer", ["adagrad", "normalized", "ftrl", "adam"])
def test_optimisers_with_a_step_for_each_weight(optimizer, monkeypatch):
    """As good as one thread, the same bits every time, dense as sparse; l1 of ftrl leaves zeros."""
    monkeypatch.setattr(_team, "MOST_ROUNDS", 32)
    A, y, _ = make_data(n=4000, d=30, K=3)
    for penalty in ("l2", "l1") if optimizer == "ftrl" else ("l2",):
        options = {"optimizer": optimizer, "learning_rate": "optimal", "penalty": penalty, "max_iter": 4}
        options["alpha"] = 5.0 if penalty == "l1" else 1.0
        one, two, again, dense, four = (
            estimator("softmax", y, n_jobs=threads, **options).fit(lay_out(A, layout), y)
            for threads, layout in ((1, "csr32"), (2, "csr32"), (2, "csr32"), (2, "dense"), (4, "csr32"))
        )
        assert np.array_equal(two.coef_, again.coef_)
        assert not np.array_equal(one.coef_, two.coef_)
        np.testing.assert_allclose(dense.coef_, two.coef_, rtol=1e-6, atol=1e-9)
        assert two.t_ == one.t_
        assert two.loss_curve_[-1] < 1.03 * one.loss_curve_[-1]
        if penalty == "l2":  # of shares as small as those of four threads here, l1 takes 8 % more
            assert four.loss_curve_[-1] < 1.03 * one.loss_curve_[-1]
        else:
            assert 0 < (two.coef_ == 0).sum() < two.coef_.size


@pytest.mark.parametrize("layout", LAYOUTS)
def test_normalized_knows_no_units_with_threads(layout):
    A, y, _ = make_data(n=1000)
    units = 2.0 ** np.random.default_rng(0).integers(-40, 40, A.shape[1])
    options = {"optimizer": "normalized", "learning_rate": "optimal", "n_jobs": 3}
    plain = estimator("log_loss", y, **options).fit(lay_out(A, layout), y).coef_
    scaled = estimator("log_loss", y, **options).fit(lay_out(A * units, layout), y).coef_ * units
    np.testing.assert_allclose(scaled, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("optimizer", ["adagrad", "normalized", "ftrl", "adam"])
def test_averages_of_optimisers(optimizer, layout):
    """The mean of all the iterates there have been, in whichever copy."""
    A, y, real = make_data(n=90, K=3)
    rows = [lay_out(A[i : i + 30], layout) for i in (0, 30, 60)]
    for loss, goal, average in (("softmax", y, 5), ("squared_error", real, optimizer != "normalized")):
        options = {"optimizer": optimizer, "learning_rate": "optimal", "average": average, "max_iter": 1}
        before = estimator(loss, goal, **options).fit(rows[0], goal[:30])
        parts = [copy.deepcopy(before).partial_fit(rows[i], goal[30 * i : 30 * i + 30]) for i in (1, 2)]
        states = [copy.deepcopy(model._state) for model in (before, *parts)]
        signs = (-1, 1, 1)
        wanted = sum(sign * s.averaged * np.c_[_states.solution(s)] for sign, s in zip(signs, states, strict=True))
        count = sum(sign * s.averaged for sign, s in zip(signs, states, strict=True))
        merge_cells(states[0], states[1:], _states.motionless(states[0]), 0.0, 0.0)
        assert states[1].averaged == count > before._state.averaged > 0
        np.testing.assert_allclose(np.c_[_states.solution(states[1])], wanted / count, rtol=1e-9, atol=1e-12)
