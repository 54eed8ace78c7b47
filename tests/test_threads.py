"""One model trained by several threads: equal to a plain description, as good as with one, the same bits every time."""

import copy
import itertools
import os
import pickle
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from common import JOINT, LAYOUTS, PRECISION, as_targets, assert_same_model, estimator, lay_out, make_data
from reference import LOSSES, Reference
from small_data import ALL, Y3, T, X, Y, classifier, make, regressor, same, target

import fastsgd
from fastsgd import SGDClassifier, _states, _team, _training
from fastsgd._merging import merge_cells

ROUNDS = 4  # as small_shares says

pytestmark = pytest.mark.usefixtures("small_shares")


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


def test_divergence_is_reported():
    with pytest.raises(ValueError, match="under-/overflow"):
        regressor(n_jobs=2, learning_rate="constant", eta0=1e30).fit((X * 1e30).astype(np.float32), T)


# --- a step for each weight


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
