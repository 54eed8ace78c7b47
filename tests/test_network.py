"""Networks against their reference, by finite differences, and beside scikit-learn's."""

import pickle
from itertools import product

import numpy as np
import pytest
from common import LAYOUTS, PRECISION, as_targets, assert_close, lay_out, make_data
from reference_network import ACTIVATIONS, ReferenceNetwork
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor

import fastsgd
from fastsgd import MLPClassifier, MLPRegressor

LOSSES = ("log_loss", "softmax", "hinge", "squared_error", "squared_hinge", "multiclass_hinge")
UNITS = 5


def network(y, loss="log_loss", **parameters):
    """For classes or real targets, rows in order, a fixed number of epochs."""
    kind = MLPRegressor if y.dtype.kind == "f" else MLPClassifier
    options = {"hidden_layer_sizes": (UNITS,), "shuffle": False, "tol": None, "max_iter": 3, "alpha": 0.0}
    options |= {"random_state": 0, "learning_rate_init": 0.1, "solver": "sgd", "batch_size": 1}
    return kind(loss=loss, **options | parameters)


def first_weights(X, y, **parameters):
    """(W1, b1, W2, b2) that training begins with: one step of size 0, or as good as that."""
    model = network(y, **{**parameters, "learning_rate_init": 1e-300, "alpha": 0.0, "max_iter": 1, "tol": None})
    model.fit(X, y)
    return model.coefs_[0].T, model.intercepts_[0], model.coefs_[1].T, model.intercepts_[1]


def reference_loss(loss, y):
    """What the name stands for with so many classes."""
    if y.dtype.kind == "f":
        return loss
    if y.max() == 1:
        return {"softmax": "log_loss", "multiclass_hinge": "hinge"}.get(loss, loss)
    return "softmax" if loss == "log_loss" else loss


def compare(X, y, loss="log_loss", *, dtypes=PRECISION, layouts=LAYOUTS, sample_weight=None, **parameters):
    name = reference_loss(loss, y)
    taken = ("activation", "alpha", "learning_rate", "learning_rate_init", "power_t", "batch_size", "solver")
    taken += ("beta_1", "beta_2", "epsilon")
    options = {key: value for key, value in ({"learning_rate_init": 0.1} | parameters).items() if key in taken}
    for dtype, layout in product(dtypes, layouts):
        A = lay_out(X, layout, dtype)
        start = first_weights(A, y, loss=loss, **parameters)
        stopping = {key: parameters[key] for key in ("tol", "n_iter_no_change") if key in parameters}
        expected = ReferenceNetwork(name, start, sparse=layout != "dense", **options)
        expected.fit(X, as_targets(y, name), sample_weight, epochs=parameters.get("max_iter", 3), **stopping)
        model = network(y, loss, **parameters).fit(A, y, sample_weight=sample_weight)
        message = f"{loss} {np.dtype(dtype)} {layout} {parameters}"
        assert_same_network(model, expected, PRECISION[dtype], message)
        assert {w.dtype for w in model.coefs_ + model.intercepts_} == {np.dtype(dtype)}


def assert_same_network(model, expected, tolerance, message=""):
    coefs, intercepts = expected.solution
    for actual, wanted in zip(model.coefs_ + model.intercepts_, coefs + intercepts, strict=True):
        assert_close(actual, wanted, tolerance, message)
    assert_close(model.loss_curve_, expected.loss_curve, tolerance, f"{message}: loss_curve_")
    assert model.t_ == expected.t, message


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_loss_activation_batch_dtype_and_layout(loss, activation):
    for K, batch_size, alpha in product((2, 4), (1, 7), (0.0, 0.05)):
        X, y, _ = make_data(K=K)
        compare(X, y, loss, activation=activation, batch_size=batch_size, alpha=alpha)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_regression(activation):
    X, _, reals = make_data()
    for batch_size, alpha in product((1, 7, 40), (0.0, 0.05)):
        compare(X, reals, "squared_error", activation=activation, batch_size=batch_size, alpha=alpha)


@pytest.mark.parametrize(("d", "units"), [(1, 1), (3, 64), (70, 5), (130, 65), (300, 33), (64, 130)])
def test_long_rows_and_many_units(d, units):
    X, y, _ = make_data(n=30, d=d, K=3, zeros=0.1)
    for batch_size in (1, 8):
        compare(X, y, hidden_layer_sizes=(units,), batch_size=batch_size, alpha=0.01)


@pytest.mark.filterwarnings("ignore::fastsgd.ConvergenceWarning")
@pytest.mark.parametrize("schedule", ["invscaling", "adaptive"])
def test_step_sizes_and_the_criterion(schedule):
    X, y, _ = make_data(K=3)
    stopping = {"tol": 0.3, "n_iter_no_change": 2} if schedule == "adaptive" else {"power_t": 0.3}
    compare(X, y, activation="tanh", learning_rate=schedule, max_iter=12, alpha=0.01, **stopping)


def test_a_penalty_that_folds_the_scale():
    X, y, _ = make_data(K=3)
    compare(X, y, activation="tanh", alpha=2.0, learning_rate_init=0.4, batch_size=3)


def test_sample_weights_and_rows_left_out():
    X, y, _ = make_data(K=3)
    weights = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    for batch_size in (1, 4):
        compare(X, y, sample_weight=weights, alpha=0.01, batch_size=batch_size)


@pytest.mark.parametrize("solver", ["adagrad", "adam"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_step_for_each_weight(activation, solver):
    for (loss, K), batch_size in product((("hinge", 2), ("log_loss", 4)), (1, 7)):
        X, y, _ = make_data(K=K)
        options = {"activation": activation, "solver": solver, "batch_size": batch_size, "learning_rate_init": 0.01}
        for alpha in (0.0, 0.5):
            compare(X, y, loss, alpha=alpha, **options)
    X, _, reals = make_data()
    compare(X, reals, "squared_error", **options, alpha=0.1)
    compare(X, reals, "squared_error", **options | {"batch_size": 1000, "beta_1": 0.5, "beta_2": 0.7, "epsilon": 0.1})
    weights = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    compare(X, y, sample_weight=weights, alpha=0.1, **options)


@pytest.mark.parametrize("solver", ["adagrad", "adam"])
@pytest.mark.parametrize(("d", "units"), [(1, 1), (3, 64), (70, 5), (300, 33), (64, 300)])
def test_steps_for_long_rows_and_many_units(d, units, solver):
    X, y, _ = make_data(n=30, d=d, K=3, zeros=0.1)
    options = {"solver": solver, "learning_rate_init": 0.01, "max_iter": 2}
    for batch_size in (1, 8):
        compare(X, y, hidden_layer_sizes=(units,), batch_size=batch_size, alpha=0.1, **options)


@pytest.mark.parametrize("solver", ["adagrad", "adam"])
def test_dense_rows_equal_sparse_ones(solver):
    """Of adam if no column is missing, so that no mean stays as it is; else of adagrad without a penalty."""
    X, y, _ = make_data(K=3, zeros=0.0 if solver == "adam" else 0.5)
    options = {"solver": solver, "learning_rate_init": 0.01, "alpha": 0.1 * (solver == "adam")}
    for batch_size in (1, 7):
        models = [network(y, batch_size=batch_size, **options).fit(lay_out(X, layout), y) for layout in LAYOUTS]
        for sparse in models[1:]:
            for mine, theirs in zip(models[0].coefs_, sparse.coefs_, strict=True):
                assert_close(mine, theirs, 1e-12)


def test_zeros_stored_in_sparse_rows_change_nothing():
    X, y, _ = make_data(K=3)
    A = lay_out(X, "csr32")
    full = fastsgd.CSR(X.ravel(), np.tile(np.arange(7), 40), np.arange(0, 281, 7), X.shape)
    for solver, batch_size in product(("adagrad", "adam"), (1, 7)):
        one, other = (network(y, solver=solver, batch_size=batch_size, alpha=0.1).fit(rows, y) for rows in (A, full))
        for mine, theirs in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
            assert_close(mine, theirs, 1e-12)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [1, 16, "auto"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_weights_are_scikit_learns(activation, batch_size, solver):
    """First weights, steps and objectives, in a shorter last batch too; its default momentum is another method."""
    common = {"hidden_layer_sizes": (9,), "activation": activation, "solver": solver, "batch_size": batch_size}
    common |= {"max_iter": 4, "shuffle": False, "random_state": 3, "learning_rate_init": 0.05, "n_iter_no_change": 99}
    common |= {"alpha": 0.2}
    X, y3, reals = make_data(n=75 if batch_size == 16 else 210, K=3)
    for ours, theirs, y in (
        (MLPClassifier, TheirClassifier, y3), (MLPClassifier, TheirClassifier, y3 > 0),
        (MLPRegressor, TheirRegressor, reals), (MLPRegressor, TheirRegressor, np.c_[reals, -2 * reals]),
    ):  # fmt: skip
        model = ours(**common, tol=None).fit(X, y)
        with pytest.warns(UserWarning, match="Maximum iterations"):
            peer = theirs(**common, momentum=0, nesterovs_momentum=False).fit(X, y)
        for mine, yours in zip(model.coefs_ + model.intercepts_, peer.coefs_ + peer.intercepts_, strict=True):
            assert_close(mine, yours, 1e-10)
        if ours is MLPClassifier or y.ndim == 1:
            assert_close(model.loss_curve_, peer.loss_curve_, 1e-10)
        np.testing.assert_allclose(model.predict(X), peer.predict(X), rtol=1e-9)
        if ours is MLPClassifier:
            np.testing.assert_allclose(model.predict_proba(X), peer.predict_proba(X), rtol=1e-9)
            assert model.out_activation_ == peer.out_activation_
        assert (model.n_layers_, model.n_outputs_, model.n_iter_) == (peer.n_layers_, peer.n_outputs_, peer.n_iter_)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scores_are_those_of_the_attributes(activation, layout):
    X, y, _ = make_data(K=3)
    model = network(y, activation=activation).fit(lay_out(X, layout), y)
    (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
    z = ACTIVATIONS[activation][0](X @ W1 + b1) @ W2 + b2
    np.testing.assert_allclose(model.decision_function(lay_out(X, layout)), z, rtol=1e-12)
    model.coefs_[1], model.intercepts_ = 2 * W2, [b1, 2 * b2]
    np.testing.assert_allclose(model.decision_function(lay_out(X, layout)), 2 * z, rtol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_set_by_hand_are_trained_on(layout):
    X, y, _ = make_data(K=3)
    A = lay_out(X, layout)
    twice = network(y, max_iter=2).fit(A, y)
    for how in ("replaced", "in place", "pickled"):
        once, other = network(y, max_iter=1).fit(A, y), network(y, max_iter=1, random_state=1).fit(A, y)
        if how == "replaced":
            other.coefs_, other.intercepts_ = [c.copy() for c in once.coefs_], [b.copy() for b in once.intercepts_]
        elif how == "in place":
            for mine, theirs in zip(other.coefs_ + other.intercepts_, once.coefs_ + once.intercepts_, strict=True):
                mine[:] = theirs
        else:
            other = pickle.loads(pickle.dumps(once))
        other.partial_fit(A, y)
        for mine, theirs in zip(other.coefs_ + other.intercepts_, twice.coefs_ + twice.intercepts_, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def test_dense_and_sparse_chunks_may_alternate():
    X, y, _ = make_data(K=3)
    models = [network(y, alpha=0.01) for _ in range(2)]
    for i in range(6):
        part = slice(5 * i, 5 * i + 5)
        for model, layout in zip(models, ("dense", ("csr32", "dense")[i % 2]), strict=True):
            model.partial_fit(lay_out(X[part], layout), y[part], classes=[0, 1, 2])
    one, other = (model.coefs_ + model.intercepts_ for model in models)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (10, 10)}, "asks for 2 hidden layers, and MLPClassifier has one"),
        ({"hidden_layer_sizes": ()}, "'hidden_layer_sizes' parameter"),
        ({"hidden_layer_sizes": (0,)}, "'hidden_layer_sizes' parameter"),
        ({"hidden_layer_sizes": (2.5,)}, "'hidden_layer_sizes' parameter"),
        ({"hidden_layer_sizes": "many"}, "'hidden_layer_sizes' parameter"),
        ({"activation": "sigmoid"}, "'activation' parameter .* 'relu'"),
        ({"solver": "momentum"}, "'solver' parameter .* 'adam', 'sgd', 'adagrad'"),
        ({"solver": "lbfgs"}, "'lbfgs' is no stochastic gradient descent"),
        ({"beta_1": 1.0}, "'beta_1' parameter"),
        ({"beta_2": -0.1}, "'beta_2' parameter"),
        ({"epsilon": 0.0}, "'epsilon' parameter"),
        ({"batch_size": "all"}, "'batch_size' parameter"),
        ({"loss": "huber"}, "'loss' parameter"),
        ({"learning_rate": "optimal"}, "'learning_rate' parameter"),
        ({"learning_rate_init": 0.0}, "'learning_rate_init' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"alpha": -1.0}, "'alpha' parameter"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**parameters).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_divergence_is_told(activation):
    """As an error or, where the units' scores saturate and all stays finite, as a warning."""
    X, _, reals = make_data()
    for learning_rate_init in (1e2, 1e10, 1e300):
        model = MLPRegressor(activation=activation, learning_rate_init=learning_rate_init, random_state=0)
        model.set_params(solver="sgd", batch_size=1)
        with pytest.raises((ValueError, UserWarning), match=r"lower the step size"):
            model.fit(X, reals)


def moons(n, noise, seed):
    """Two half circles, one hooked into the other, as scikit-learn's make_moons."""
    rng = np.random.default_rng(seed)
    angle, y = np.pi * rng.random(n), np.arange(n) % 2
    X = np.where(y[:, None], np.c_[1 - np.cos(angle), 0.5 - np.sin(angle)], np.c_[np.cos(angle), np.sin(angle)])
    return X + noise * rng.normal(size=(n, 2)), y


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_two_moons(activation):
    """A network separates what a line does not; seen are 1000 points."""
    (X, y), (X_test, y_test) = moons(1000, 0.2, 0), moons(10_000, 0.2, 1)
    for seed in range(3):
        model = MLPClassifier(activation=activation, solver="sgd", batch_size=1, learning_rate_init=0.01)
        model.set_params(max_iter=100, random_state=seed, tol=None)
        assert model.fit(X, y).score(X_test, y_test) >= 0.96
    linear = fastsgd.SGDClassifier(loss="log_loss", random_state=0, max_iter=60, tol=None).fit(X, y)
    assert linear.score(X_test, y_test) < 0.9
