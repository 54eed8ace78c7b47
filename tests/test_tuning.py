"""tune_eta0: Bottou's search for the step to begin with, on a sample of the rows."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import fastsgd
from fastsgd import SGDClassifier, SGDRegressor, load_svmlight, losses
from fastsgd._team import Piece
from fastsgd._training import Stored
from fastsgd._validation import check_rows

RNG = np.random.default_rng(11)
N = 400
X = RNG.normal(size=(N, 5)) * [1, 3, 0.2, 1, 1] + 0.5
Y = (X @ [1, -1, 3, 0, 1] + RNG.normal(size=N) > 0).astype(int)
Y3 = np.digitize(X @ [1, -1, 3, 0, 1] + RNG.normal(size=N), [-1, 1])
T = X @ [1, -1, 3, 0, 1] + 0.1 * RNG.normal(size=N)
WEIGHTS = RNG.random(N) + 0.1
DATA = Path(__file__).parent / "data"
SCHEDULES = ["constant", "optimal", "invscaling", "adaptive", "pa1", "pa2"]


def make(y, **parameters):
    defaults = {"max_iter": 3, "tol": None, "random_state": 0, "intercept_decay": 1.0, "alpha": 1e-3}
    if y is T:
        return SGDRegressor(**{**defaults, **parameters})
    return SGDClassifier(**{**defaults, "loss": "log_loss", **parameters})


def objective(model, y, weights=None):
    """Of a model on the rows it was trained on."""
    z = model.predict(X) if y is T else model.decision_function(X)
    if not np.isfinite(z).all():
        return np.inf
    loss = losses.LOSSES[model.loss] if y is not T else losses.get_loss(model.loss, epsilon=model.epsilon)
    if y is Y3:
        values = loss.value(z, y if loss.joint else 2 * np.eye(3)[y] - 1).reshape(N, -1).sum(axis=1)
    else:
        values = loss.value(z, y if y is T else 2 * y - 1)
    W = np.abs(model.coef_)
    rho = {None: 0, "l2": 0, "l1": 1, "elasticnet": model.l1_ratio}[model.penalty]
    strength = model.alpha if model.penalty else 0
    return np.average(values, weights=weights) + strength * ((1 - rho) / 2 * (W**2).sum() + rho * W.sum())


def brute_force(y, weights=None, **parameters):
    """The objective after one pass by each eta0 of a grid."""
    costs = {}
    for power in range(-25, 16):
        model = make(y, **{**parameters, "max_iter": 1, "eta0": 0.01 * 2.0**power, "shuffle": False, "average": False})
        with warnings.catch_warnings():
            warnings.simplefilter("error", fastsgd.ConvergenceWarning)
            try:
                cost = objective(model.fit(X, y, sample_weight=weights), y, weights)
            except (ValueError, UserWarning):
                cost = np.inf
        costs[model.eta0] = cost
    return costs


@pytest.mark.parametrize(
    "options",
    [
        *({"learning_rate": name} for name in SCHEDULES if name != "optimal"),
        {"penalty": "l1"},
        {"penalty": "elasticnet", "alpha": 0.05, "average": True},
        {"penalty": None, "batch_size": 16},
        {"fit_intercept": False, "learning_rate": "constant", "eta0": 0.01 * 2.0**14},
        {"learning_rate": "constant", "eta0": 0.01 * 2.0**-24},
    ],
)
@pytest.mark.parametrize("y", [Y, Y3, T], ids=["two", "three", "real"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
def test_equals_a_search_of_all_steps(y, weights, options):
    options = {"learning_rate": "invscaling", "shuffle": False, **options}
    costs = brute_force(y, weights, **options)
    model = make(y, **options, tune_eta0=True).fit(X, y, sample_weight=weights)
    assert model.eta0_ in costs
    assert costs[model.eta0_] == pytest.approx(min(costs.values()), rel=1e-9)


def test_optimal_begins_with_it():
    """eta_t = 1 / (alpha (t0 + t - 1)) with t0 = 1 / (alpha eta0)."""
    model = make(Y, tune_eta0=True, shuffle=False, max_iter=1).fit(X, Y)
    w, b, alpha = np.zeros(5), 0.0, model.alpha
    for t, (x, label) in enumerate(zip(X, 2 * Y - 1, strict=True), 1):
        eta = 1 / (alpha * (1 / (alpha * model.eta0_) + t - 1))
        g = -label / (1 + np.exp(label * (w @ x + b)))
        w, b = w * (1 - eta * alpha) - eta * g * x, b - eta * g
    np.testing.assert_allclose(model.coef_[0], w, rtol=1e-9)
    assert model.eta0_ != model.eta0


@pytest.mark.parametrize(
    ("schedule", "y"),
    [*((name, y) for name in ("constant", "invscaling", "adaptive", "pa1") for y in (Y, T)), ("pa2", Y)],
)
def test_training_is_that_with_the_step_found(schedule, y):
    """Bit for bit: neither row order nor the state know of the trials. The parameter stays what it was."""
    for options in ({}, {"early_stopping": True}, {"average": True, "penalty": "l1"}, {"random_state": 5}):
        options = {"learning_rate": schedule, **options}
        model = make(y, tune_eta0=True, **options)
        before = model.get_params()
        model.fit(X, y)
        assert model.get_params() == before
        expected = make(y, **{**options, "eta0": model.eta0_}).fit(X, y)
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        assert model.loss_curve_ == expected.loss_curve_
        assert make(y, tune_eta0=True, **options).fit(X, y).eta0_ == model.eta0_


def test_generators_draw_the_same_numbers():
    for kind in (np.random.RandomState, np.random.default_rng):
        model = make(Y, random_state=kind(3), tune_eta0=True, learning_rate="constant").fit(X, Y)
        expected = make(Y, random_state=kind(3), eta0=model.eta0_, learning_rate="constant").fit(X, Y)
        np.testing.assert_array_equal(model.coef_, expected.coef_)


def test_the_sample_is_of_the_rows_to_train_on():
    n = 5000
    weights = np.ones(n)
    weights[::2] = 0
    rows = check_rows(np.zeros((n, 1)))
    for shuffle in (True, "blocks", False):
        piece = Piece(rows, np.zeros((n, 1)), weights, np.arange(n - 10, dtype=np.uint32))
        source = Stored(piece, shuffle, 3)
        order = source.sample(1000).order
        assert order.dtype == np.uint32
        assert np.unique(order).size == order.size == 1000
        assert (order % 2).all()
        assert order.max() < n - 10 < 20 + order.max()
        assert (np.diff(order.astype(int)) > 0).all() == (shuffle is False)
        np.testing.assert_array_equal(order, source.sample(1000).order)
        assert source.sample(10**6).order.size == n // 2 - 5


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "softmax"])
def test_rescues_raw_columns(loss):
    rows, y = load_svmlight(DATA / "a9a.gz")
    held, truth = load_svmlight(DATA / "a9a.t.gz", n_features=rows.shape[1])
    for array in (rows.data, held.data):
        array *= 100
    options = {"max_iter": 5, "tol": None, "random_state": 0, "intercept_decay": 1.0, "learning_rate": "invscaling"}
    tuned = SGDClassifier(loss, tune_eta0=True, **options).fit(rows, y)
    assert tuned.score(held, truth) > 0.845
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastsgd.ConvergenceWarning)
        untuned = SGDClassifier(loss, **options).fit(rows, y)
    assert tuned.score(held, truth) > untuned.score(held, truth) + 0.02


def test_rescues_a_regression():
    rows = X * [1, 30, 300, 1000, 1]
    with pytest.warns(fastsgd.ConvergenceWarning, match="tune_eta0"):
        assert SGDRegressor(max_iter=20, tol=None, random_state=0).fit(rows, T).score(rows, T) < -1e6
    assert SGDRegressor(max_iter=200, tol=None, random_state=0, tune_eta0=True).fit(rows, T).score(rows, T) > 0.3


@pytest.mark.parametrize("layout", [np.asarray, sp.csr_array])
def test_partial_fit_finds_it_in_its_first_chunk(layout, tmp_path):
    rows = layout(X)
    options = {"tune_eta0": True, "learning_rate": "constant", "shuffle": False}
    model = make(Y, **options).partial_fit(rows[:150], Y[:150], classes=[0, 1])
    assert model.eta0_ == make(Y, **options).fit(rows[:150], Y[:150]).eta0_
    found, copy = model.eta0_, pickle.loads(pickle.dumps(model))
    model.save(tmp_path / "m")
    for one in (model, copy, fastsgd.load(tmp_path / "m")):
        assert one.partial_fit(layout(1e6 * X[150:]), Y[150:]).eta0_ == found
        expected = make(Y, learning_rate="constant", shuffle=False, eta0=found)
        expected.partial_fit(rows[:150], Y[:150], classes=[0, 1]).partial_fit(layout(1e6 * X[150:]), Y[150:])
        np.testing.assert_array_equal(one.coef_, expected.coef_)
    model.set_params(tune_eta0=False).partial_fit(rows, Y)
    assert not hasattr(model, "eta0_")


def test_few_rows_are_told_of():
    with pytest.warns(UserWarning, match="3 rows"):
        make(Y, tune_eta0=True).partial_fit(X[:3], Y[:3], classes=[0, 1])


def test_warm_start_searches_from_the_last_solution():
    options = {"learning_rate": "constant", "shuffle": False, "tune_eta0": True, "warm_start": True}
    model = make(Y, **options).fit(X, Y)
    coef, intercept = model.coef_.copy(), model.intercept_.copy()
    model.fit(X, Y)
    again = make(Y, **options | {"warm_start": False}).fit(X, Y, coef_init=coef, intercept_init=intercept)
    assert model.eta0_ == again.eta0_
    np.testing.assert_array_equal(model.coef_, again.coef_)


def test_threads_train_with_what_one_found():
    rows = RNG.normal(size=(60_000, 30))
    y = (rows.sum(axis=1) > 0).astype(int)
    found = {make(y, tune_eta0=True, n_jobs=n, learning_rate="constant", max_iter=1).fit(rows, y).eta0_ for n in (1, 2)}
    assert len(found) == 1


def test_where_it_has_no_meaning():
    for loss in ("perceptron", "multiclass_perceptron"):
        with pytest.raises(ValueError, match="tune_eta0 has nothing to find"):
            make(Y, loss=loss, tune_eta0=True).fit(X, Y)
    with pytest.raises(ValueError, match="tune_eta0 is for optimizer='sgd'"):
        make(Y, optimizer="adagrad", tune_eta0=True).fit(X, Y)
    with pytest.raises(ValueError, match=r"not finite.*optimizer='normalized'"):  # nothing to be found
        make(T, tune_eta0=True).fit(X * 1e300, T)
