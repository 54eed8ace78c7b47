"""What a user of scikit-learn expects of the estimators: shapes, labels, state, files, tools, threads, signals."""

import copy
import pickle
import signal
import subprocess
import sys
import threading
import time

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Perceptron as SklearnPerceptron
from sklearn.linear_model import SGDClassifier as SklearnClassifier
from sklearn.linear_model import SGDRegressor as SklearnRegressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastsgd
from fastsgd import Perceptron, SGDClassifier, SGDRegressor

N, D = 120, 6
RNG = np.random.default_rng(5)
X = RNG.normal(size=(N, D)) * (RNG.random((N, D)) < 0.7)
NOISE = RNG.normal(size=N)
Y = (X @ np.arange(D) + NOISE > 0).astype(int)
Y3 = np.digitize(X @ np.arange(D) + NOISE, [-2, 2])
T = X @ np.arange(D) + 0.1 * NOISE + 3
WEIGHTS = RNG.random(N) + 0.1
LAYOUTS = {"dense": np.asarray, "csr": sp.csr_array}
ALL = [SGDClassifier, SGDRegressor, Perceptron]


def classifier(loss="log_loss", **parameters):
    return SGDClassifier(loss, **{"max_iter": 5, "tol": None, "random_state": 0, **parameters})


def regressor(**parameters):
    return SGDRegressor(**{"max_iter": 5, "tol": None, "random_state": 0, **parameters})


def make(kind, **parameters):
    return kind(**{"max_iter": 5, "tol": None, "random_state": 0, **parameters})


def target(kind):
    return T if kind is SGDRegressor else Y3


def same(a, b):
    """Equal bit for bit, in what they are and in what they predict."""
    for name in ("coef_", "intercept_", "n_iter_", "t_", "loss_curve_", "n_features_in_", "classes_"):
        assert hasattr(a, name) == hasattr(b, name)
        if hasattr(a, name):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.coef_.dtype == b.coef_.dtype
    predicted = a.predict(X), b.predict(X)
    np.testing.assert_array_equal(*predicted)
    assert predicted[0].dtype == predicted[1].dtype


# --- parameters


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [(SGDClassifier, SklearnClassifier), (SGDRegressor, SklearnRegressor), (Perceptron, SklearnPerceptron)],
)
def test_parameters_are_scikit_learns(kind, theirs):
    ours, names = kind().get_params(), theirs().get_params()
    assert {name: ours[name] for name in names if name in ours} == {n: v for n, v in names.items() if n in ours}
    assert set(names) <= set(ours)
    assert set(ours) - set(names) == {"batch_size", "intercept_decay"}


@pytest.mark.parametrize("kind", ALL)
def test_get_set_clone_repr(kind):
    model = kind(alpha=0.5, shuffle=False)
    assert model.set_params(max_iter=7, tol=None) is model
    assert repr(model) == f"{kind.__name__}(alpha=0.5, max_iter=7, tol=None, shuffle=False)"
    assert repr(kind()) == f"{kind.__name__}()"
    for name, value in kind().get_params().items():
        assert kind(**{name: value}).get_params()[name] is value
    fitted = model.fit(X, target(kind))
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "coef_")
    with pytest.raises(ValueError, match=rf"Invalid parameter 'gamma' for estimator {kind.__name__}\(.*'alpha'"):
        model.set_params(gamma=1, alpha=9)
    assert model.alpha == 0.5
    assert (is_classifier(model), is_regressor(model)) == (kind is not SGDRegressor, kind is SGDRegressor)


# --- labels, shapes, probabilities


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "labels",
    [["b", "a"], [7, -3], [True, False], [2.0, -1.0], ["z", "ß", "a"], [5, -9, 0], [b"y", b"x"], np.uint8([200, 3]),
     np.int8([127, -128, 0]), [2**63 - 1, -(2**63)], np.uint64([2**63 + 5, 2**63 + 1]), [1e300, -1e300, 0.0],
     np.array([3, 10**6, -5], ">i4"), np.array([True, False], object)], ids=repr,
)  # fmt: skip
def test_labels(labels, layout):
    labels = np.asarray(labels)
    order = np.argsort(labels)
    codes = Y if len(labels) == 2 else Y3
    y = labels[order][codes]
    rows = LAYOUTS[layout](X)
    expected = classifier().fit(rows, codes)
    for model in (
        classifier().fit(rows, y),
        classifier().fit(rows, y.tolist()),
        classifier(max_iter=1)
        .partial_fit(rows[:1], y[:1], classes=labels)
        .fit(rows, y)
        .set_params(max_iter=5)
        .fit(rows, y),
    ):
        np.testing.assert_array_equal(model.classes_, labels[order])
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        predicted = model.predict(rows)
        np.testing.assert_array_equal(predicted, labels[order][expected.predict(rows)])
        assert predicted.dtype == model.classes_.dtype
        assert model.score(rows, y) == expected.score(rows, codes) > 0.6


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", [loss for loss in fastsgd.losses.LOSSES if loss != "zero_one"])
def test_shapes_and_decisions(layout, dtype, loss):
    rows = LAYOUTS[layout](X.astype(dtype))
    for y, k in ((Y, 1), (Y3, 3)):
        model = classifier(loss, learning_rate="constant").fit(rows, y)
        assert (model.coef_.shape, model.intercept_.shape) == ((k, D), (k,))
        assert model.coef_.dtype == model.intercept_.dtype == dtype
        scores = model.decision_function(rows)
        np.testing.assert_allclose(scores, (X @ model.coef_.T + model.intercept_).squeeze(), rtol=1e-4, atol=1e-4)
        assert scores.shape == ((N,) if k == 1 else (N, 3))
        winners = (scores > 0).astype(int) if k == 1 else scores.argmax(axis=1)
        np.testing.assert_array_equal(model.predict(rows), winners)
    if loss in ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"):
        model = regressor(loss=loss).fit(rows, T)
        assert (model.coef_.shape, model.intercept_.shape, model.predict(rows).shape) == ((D,), (1,), (N,))
        np.testing.assert_allclose(model.predict(rows), X @ model.coef_ + model.intercept_, rtol=1e-4, atol=1e-4)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("y", [Y, Y3], ids=["two", "three"])
@pytest.mark.parametrize("loss", ["log_loss", "logistic_squared_error", "softmax", "modified_huber"])
def test_probabilities(loss, y):
    model = classifier(loss, learning_rate="constant").fit(X, y)
    z = model.decision_function(X).reshape(N, -1)
    if z.shape[1] == 1:
        z = np.hstack([-z, z])
    scores = (np.clip(z, -1, 1) + 1) / 2 if loss == "modified_huber" else sigmoid(z)
    if loss == "softmax" and y is Y3:
        scores = np.exp(z)
    P, L = model.predict_proba(X), model.predict_log_proba(X)
    assert P.dtype == np.float64
    np.testing.assert_allclose(P, scores / scores.sum(axis=1, keepdims=True), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-14)
    positive = P > 0
    np.testing.assert_allclose(L[positive], np.log(P[positive]), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(model.classes_[P.argmax(axis=1)], model.predict(X))


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e300])
@pytest.mark.parametrize("y", [Y, Y3], ids=["two", "three"])
@pytest.mark.parametrize("loss", ["log_loss", "logistic_squared_error", "softmax", "modified_huber"])
def test_probabilities_of_extreme_scores(loss, y, scale):
    model = classifier(loss, learning_rate="constant").fit(X, y)
    P, L = model.predict_proba(X * scale), model.predict_log_proba(X * scale)
    assert not np.isnan(P).any()
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-14)
    if loss != "modified_huber":  # whose probabilities are 0
        assert np.isfinite(L).all()
        assert L.min() < -300
        assert L.max() <= 0


def test_scores_beyond_float32():
    for y in (Y, Y3):
        model = classifier().fit(X.astype("f"), y)
        model.coef_ = np.full_like(model.coef_, -1e30)
        assert not np.isnan(model.predict_proba(np.full((2, D), 1e30, "f"))).any()


def test_modified_huber_far_from_every_class_is_uniform():
    model = classifier("modified_huber").fit(X, Y3)
    model.coef_, model.intercept_ = np.zeros((3, D)), np.full(3, -5.0)
    np.testing.assert_array_equal(model.predict_proba(X), np.full((N, 3), 1 / 3))


@pytest.mark.parametrize(
    ("joint", "single"),
    [("softmax", "log_loss"), ("multiclass_hinge", "hinge"), ("multiclass_perceptron", "perceptron")],
)
def test_two_classes_have_one_output(joint, single):
    a, b = classifier(joint).fit(X, Y), classifier(single).fit(X, Y)
    same(a, b)
    if joint == "softmax":
        np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))
        same(classifier("softmax").fit(X, np.eye(2)[Y]), b)
        same(classifier("softmax").fit(X, np.eye(3)[Y3]), classifier("softmax").fit(X, Y3))


def test_score():
    model = classifier().fit(X, Y3)
    assert model.score(X, Y3) == accuracy_score(Y3, model.predict(X))
    assert model.score(X, Y3, WEIGHTS) == pytest.approx(accuracy_score(Y3, model.predict(X), sample_weight=WEIGHTS))
    model = regressor().fit(X, T)
    assert 0.5 < model.score(X, T) == pytest.approx(r2_score(T, model.predict(X)))
    assert model.score(X, T, WEIGHTS) == pytest.approx(r2_score(T, model.predict(X), sample_weight=WEIGHTS))


# --- the course of training


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ALL)
def test_starting_points(kind, layout):
    rows, y = LAYOUTS[layout](X), target(kind)
    cold = make(kind).fit(rows, y)
    again = make(kind, warm_start=True).fit(rows, y)
    same(again, cold)
    warm = copy.deepcopy(again).fit(rows, y)
    assert not np.array_equal(warm.coef_, cold.coef_)
    start = {"coef_init": cold.coef_.copy(), "intercept_init": cold.intercept_.copy()}
    same(make(kind).fit(rows, y, **start), warm)
    same(cold.fit(rows, y), again)  # without warm_start: from zero
    assert warm.t_ == 5 * N + 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", [{}, {"learning_rate": "invscaling"}, {"average": 50}, {"batch_size": 7}])
@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor])
def test_partial_fit_goes_on(kind, options, layout):
    rows, y = LAYOUTS[layout](X), target(kind)
    parameters = {"shuffle": False, "penalty": None, "learning_rate": "constant", **options}
    whole = make(kind, **parameters).fit(rows, y)
    parts = make(kind, **parameters)
    for i in range(5):
        extra = {"classes": [0, 1, 2]} if i == 0 and kind is SGDClassifier else {}
        assert parts.partial_fit(rows, y, **extra) is parts
        steps = -(-N // options.get("batch_size", 1))
        assert (parts.t_, parts.n_iter_, len(parts.loss_curve_)) == (1 + steps * (i + 1), 1, i + 1)
    assert (whole.t_, whole.n_iter_) == (parts.t_, 5)
    np.testing.assert_array_equal(parts.coef_, whole.coef_)
    np.testing.assert_array_equal(parts.loss_curve_, whole.loss_curve_)


@pytest.mark.parametrize("y", [Y, Y3, T], ids=["two", "three", "real"])
def test_loss_curve_of_gradient_descent_decreases(y):
    parameters = {"batch_size": N, "learning_rate": "constant", "eta0": 0.05, "max_iter": 200}
    model = (regressor(**parameters) if y is T else classifier("softmax", **parameters)).fit(X, y)
    assert len(model.loss_curve_) == model.n_iter_ == 200
    assert (np.diff(model.loss_curve_) < 0).all()
    assert model.loss_curve_[0] == pytest.approx(np.mean(T**2) / 2 if y is T else np.log(2 if y is Y else 3))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("n_iter_no_change", [1, 4])
def test_tol_stops_as_the_loss_curve_says(kind, n_iter_no_change):
    options = {"max_iter": 300, "n_iter_no_change": n_iter_no_change, "learning_rate": "constant"}
    options = {name: value for name, value in options.items() if name in kind().get_params()}
    curve = make(kind, **options).fit(X, target(kind)).loss_curve_
    best, stale, expected = np.inf, 0, 0
    while stale < n_iter_no_change:
        stale = 0 if curve[expected] <= best - 0.01 else stale + 1
        best = min(best, curve[expected])
        expected += 1
    model = make(kind, **options).set_params(tol=0.01).fit(X, target(kind))
    assert model.n_iter_ == expected < 300
    np.testing.assert_array_equal(model.loss_curve_, curve[:expected])


def test_convergence_warning_at_max_iter():
    with pytest.warns(ConvergenceWarning, match=r"Maximum number of iteration.*max_iter") as caught:
        model = SGDClassifier(max_iter=2, tol=1e-9).fit(X, Y)
    assert caught[0].filename == __file__
    assert model.n_iter_ == 2
    with pytest.warns(fastsgd.ConvergenceWarning):
        model.fit(X, Y)


def test_a_model_whose_warning_is_an_error_is_whole():
    model = classifier(max_iter=1, tol=1e-9)
    for y in (Y, Y3):
        with pytest.raises(ConvergenceWarning):
            model.fit(X, y)
        if hasattr(model, "coef_"):
            assert set(model.predict(X)) <= set(y)
            assert len(model.coef_) == (1 if y is Y else 3)


def test_adaptive_lowers_the_step_until_it_is_tiny():
    options = {"max_iter": 2000, "tol": 1e-4, "eta0": 0.1}
    constant = regressor(learning_rate="constant", **options).fit(X, T)
    adaptive = regressor(learning_rate="adaptive", **options).fit(X, T)
    assert adaptive.n_iter_ >= constant.n_iter_ + 5 * 7  # 0.1 / 5^8 < 1e-6
    assert adaptive.loss_curve_[-1] < constant.loss_curve_[-1]
    assert adaptive.eta0 == 0.1


@pytest.mark.parametrize("kind", ALL)
def test_early_stopping_keeps_the_best_weights(kind, capsys):
    options = {
        "early_stopping": True,
        "validation_fraction": 0.3,
        "verbose": 1,
        "eta0": 0.1,
        "learning_rate": "constant",
    }
    options = {name: value for name, value in options.items() if name in kind().get_params()}
    model = make(kind, **options, max_iter=200).set_params(tol=1e-3).fit(X, target(kind))
    lines = capsys.readouterr().out.splitlines()
    scores = [float(line.split("validation score")[1].split()[0]) for line in lines]
    assert len(scores) == model.n_iter_ < 200
    best = int(np.argmax(scores))
    assert best < model.n_iter_ - 1
    until = make(kind, **options, max_iter=best + 1).fit(X, target(kind))
    np.testing.assert_array_equal(model.coef_, until.coef_)
    assert model.t_ == until.t_


def test_early_stopping_is_stratified():
    rare = np.zeros(40, int)
    rare[[3, 30]] = 1
    for seed in range(20):  # one of the two is held out, never both
        model = classifier(early_stopping=True, validation_fraction=0.5, random_state=seed, max_iter=1)
        assert model.fit(X[:40], rare).t_ == 21


def test_early_stopping_with_too_few_rows():
    with pytest.raises(ValueError, match=r"early_stopping.*two rows a class"):
        classifier(early_stopping=True).fit(X[:2], [0, 1])
    with pytest.raises(ValueError, match=r"6 samples .*validation_fraction=0\.95 .*empty"):
        regressor(early_stopping=True, validation_fraction=0.95).fit(X[:6], T[:6])
    with pytest.raises(ValueError, match=r"sample weights .*validation set.*zero"):
        classifier(early_stopping=True).fit(X, Y, sample_weight=np.eye(N)[0])


def test_class_weight():
    balanced = N / (3 * np.bincount(Y3))
    for weight, rows in (
        ({0: 2.0, 1: 0.5, 2: 3}, [2, 0.5, 3]),
        ({0: 2, 1: 1, 2: 3}, [2, 1, 3]),
        ({0: np.float32(2), 1: np.float32(1), 2: np.float32(3)}, [2, 1, 3]),
        ({1: 4}, [1, 4, 1]),
        ("balanced", balanced),
    ):
        expected = classifier().fit(X, Y3, sample_weight=WEIGHTS * np.array(rows)[Y3])
        same(classifier(class_weight=weight).fit(X, Y3, sample_weight=WEIGHTS), expected)
        same(classifier(class_weight=weight).fit(X, Y3), classifier().fit(X, Y3, sample_weight=np.array(rows)[Y3]))
    names = np.array(["no", "yes"])[Y]
    expected = classifier(class_weight={1: 9}).fit(X, Y)
    np.testing.assert_array_equal(classifier(class_weight={"yes": 9}).fit(X, names).coef_, expected.coef_)
    assert expected.predict(X).mean() > classifier().fit(X, Y).predict(X).mean()
    same(
        classifier(class_weight={1: 9}).partial_fit(X, Y, [0, 1]), classifier(class_weight={1: 9}, max_iter=1).fit(X, Y)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("average", "first"), [(True, 1), (1, 1), (100, 100), (N, N), (10**6, None)])
def test_average_is_the_mean_of_the_iterates(average, first, layout):
    options = {"shuffle": False, "learning_rate": "constant", "eta0": 0.1, "max_iter": 1, "alpha": 0.01}
    for model, y in ((classifier(**options), Y3), (regressor(**options), T)):
        rows, iterates = LAYOUTS[layout](X), []
        for i in range(N):
            extra = {"classes": [0, 1, 2]} if y is Y3 else {}
            model.partial_fit(rows[[i]], y[[i]], **extra)
            iterates.append(np.append(model.coef_, model.intercept_))
        averaged = clone(model).set_params(average=average).fit(rows, y)
        expected = iterates[-1] if first is None else np.mean(iterates[first - 1 :], axis=0)
        np.testing.assert_allclose(np.append(averaged.coef_, averaged.intercept_), expected, rtol=1e-9, atol=1e-12)


# --- coefficients in other hands


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sparsify_and_densify(kind, layout):
    rows, y = LAYOUTS[layout](X), target(kind)
    model = make(kind, penalty="l1", alpha=0.05).fit(rows, y)
    coef, predicted = model.coef_.copy(), model.predict(rows)
    assert model.densify() is model
    assert model.sparsify() is model
    assert sp.issparse(model.coef_)
    assert model.coef_.nnz == np.count_nonzero(coef)
    np.testing.assert_array_equal(model.predict(rows), predicted)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model).partial_fit(rows, y)):
        other.predict(rows)
    model.densify()
    assert model.coef_.shape == coef.shape
    np.testing.assert_array_equal(model.coef_, coef)


# How a user may set the coefficients: all at once, another dtype, integers, lists, in place.
def replace(model, coef, intercept):
    model.coef_, model.intercept_ = coef, intercept


def in_place(model, coef, intercept):
    model.coef_[:], model.intercept_[:] = coef, intercept


REPLACE = {
    "arrays": replace,
    "float32": lambda m, c, i: replace(m, c.astype("f"), i.astype("f")),
    "integers": lambda m, c, i: replace(m, c.astype(int), i.astype(int)),
    "lists": lambda m, c, i: replace(m, c.tolist(), i.tolist()),
    "in place": in_place,
}


@pytest.mark.parametrize("how", REPLACE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_coefficients_set_by_hand_count(how, dtype, average, layout):
    rows = LAYOUTS[layout](X.astype(dtype))
    for kind, y in ((SGDClassifier, Y), (SGDClassifier, Y3), (SGDRegressor, T)):
        model = make(kind, learning_rate="constant", average=average, shuffle=False).fit(rows, y)
        coef = np.arange(1.0, model.coef_.size + 1).reshape(model.coef_.shape)
        intercept = np.arange(5.0, 5 + model.intercept_.size)
        REPLACE[how](model, coef, intercept)
        for other in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            scores = other.predict(rows) if y is T else other.decision_function(rows)
            np.testing.assert_allclose(scores, (X @ coef.T + intercept).squeeze(), rtol=1e-5, atol=1e-4)
        expected = make(kind, learning_rate="constant", average=average, shuffle=False, max_iter=1)
        expected.fit(rows, y, coef_init=coef, intercept_init=intercept)
        model.partial_fit(rows, y)
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-4)
        np.testing.assert_allclose(model.intercept_, expected.intercept_, rtol=1e-4)
        assert model.t_ == 6 * N + 1


@pytest.mark.parametrize(
    "shape", ["coef_ (1, 3)", "coef_ (1, 7)", "coef_ (3, 6)", "intercept_ (10**6,)", "intercept_ 0"]
)
def test_coefficients_of_wrong_shape_are_refused_not_read_beyond(shape):
    name, shape = shape.split(maxsplit=1)
    code = f"""if True:
        import numpy as np, scipy.sparse as sp, fastsgd
        rows, y = sp.csr_array(np.eye(4, {D})), [0, 1, 0, 1]
        for call in ("predict(rows)", "decision_function(rows)", "partial_fit(rows, y)"):
            model = fastsgd.SGDClassifier(max_iter=1, tol=None).fit(rows, y)
            model.{name} = np.zeros({shape})
            try: eval("model." + call)
            except ValueError as error: print("refused")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "refused\n" * 3), done.stderr


# --- round trips


def saved(model, path):
    model.save(path / "model.npz")
    return fastsgd.load(path / "model.npz")


def joblibbed(model, path):
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib")


ROUND_TRIPS = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, path: copy.deepcopy(model),
    "joblib": joblibbed,
    "save": saved,
}
STATES = {
    "plain": {},
    "average": {"average": True},
    "average later": {"average": 150},
    "l1": {"penalty": "l1", "alpha": 0.01},
    "elasticnet average": {"penalty": "elasticnet", "alpha": 0.01, "average": True},
    "class weight": {"class_weight": {0: 2.0, 1: 3}},
    "all": {"penalty": "l1", "learning_rate": "invscaling", "batch_size": 3, "intercept_decay": 0.5, "average": 9},
}


@pytest.mark.parametrize("trip", ROUND_TRIPS)
@pytest.mark.parametrize("options", STATES.values(), ids=STATES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip_in_mid_training(trip, options, layout, tmp_path):
    for kind, y, dtype in (
        (SGDClassifier, Y, "d"),
        (SGDClassifier, Y3, "f"),
        (SGDRegressor, T, "f"),
        (Perceptron, Y3, "d"),
    ):
        rows = LAYOUTS[layout](X.astype(dtype))
        chosen = {name: value for name, value in options.items() if name in kind().get_params()}
        model = make(kind, **chosen).fit(rows, y).partial_fit(rows[:50], y[:50])
        other = ROUND_TRIPS[trip](model, tmp_path)
        assert type(other) is kind
        assert other.get_params() == model.get_params()
        same(other, model)
        for part in (slice(50, 80), slice(80, N)):
            model.partial_fit(rows[part], y[part])
            other.partial_fit(rows[part], y[part])
            same(other, model)
        other.partial_fit(LAYOUTS["csr" if layout == "dense" else "dense"](X.astype(dtype)), y)
        assert not np.array_equal(other.coef_, model.coef_)  # and shares nothing


@pytest.mark.parametrize("trip", ROUND_TRIPS)
@pytest.mark.parametrize(
    "labels", [["no", "yes"], [-1, 1], [False, True], [0.0, 1.0], [b"n", b"y"], np.array(["no", "yes"], object),
               np.array([3, 4], object), np.array([False, True], object)], ids=repr,
)  # fmt: skip
def test_round_trip_of_labels(trip, labels, tmp_path):
    model = classifier().fit(X, np.asarray(labels)[Y])
    other = ROUND_TRIPS[trip](model, tmp_path)
    same(other, model)
    assert [type(label) for label in other.predict(X).tolist()] == [type(label) for label in model.predict(X).tolist()]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("trip", ["pickle", "deepcopy", "joblib"])
def test_round_trip_unfitted(kind, trip, tmp_path):
    other = ROUND_TRIPS[trip](kind(alpha=0.5), tmp_path)
    assert repr(other) == repr(kind(alpha=0.5))
    other.set_params(max_iter=1, tol=None).fit(X, target(kind))


def test_save_refuses_what_a_file_cannot_keep(tmp_path):
    model = classifier(random_state=np.random.default_rng(0)).fit(X, Y)
    with pytest.raises(TypeError, match=r"cannot keep the parameter value Generator"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


# --- output, randomness


@pytest.mark.parametrize("kind", ALL)
def test_verbose_prints_a_line_an_epoch(kind, capsys):
    make(kind).fit(X, target(kind))
    assert capsys.readouterr() == ("", "")
    model = make(kind, verbose=1).fit(X, target(kind))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_ == 5
    for i, line in enumerate(lines):
        assert line.split()[:4] == ["epoch", str(i + 1), "objective", f"{model.loss_curve_[i]:.6f}"]


def test_random_state():
    def fit(state):
        return classifier(random_state=state, max_iter=1).fit(X, Y).coef_

    for state in (3, np.int64(3), np.uint32(3)):
        np.testing.assert_array_equal(fit(state), fit(3))
    assert not np.array_equal(fit(3), fit(4))
    for kind in (np.random.RandomState, np.random.default_rng):
        state = kind(0)
        first = fit(state)
        assert not np.array_equal(fit(state), first)  # it has moved on
        np.testing.assert_array_equal(fit(kind(0)), first)
    np.random.seed(1)  # noqa: NPY002
    first = fit(None)
    assert not np.array_equal(fit(None), first)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(fit(None), first)
    assert not np.array_equal(fit(0), classifier(shuffle=False, max_iter=1).fit(X, Y).coef_)


# --- scikit-learn's tools


def test_pipeline_and_cross_validation():
    cancer, iris, diabetes = (load(return_X_y=True) for load in (load_breast_cancer, load_iris, load_diabetes))
    pipe = make_pipeline(StandardScaler(), classifier(alpha=1e-3, max_iter=20))
    for scoring, least in ((None, 0.95), ("roc_auc", 0.98), ("neg_log_loss", -0.2)):
        assert cross_val_score(pipe, *cancer, scoring=scoring).min() > least
    assert cross_val_score(make_pipeline(StandardScaler(), Perceptron()), *cancer).mean() > 0.94
    assert cross_val_score(pipe.set_params(sgdclassifier__loss="softmax"), *iris).mean() > 0.9
    least_squares = cross_val_score(LinearRegression(), *diabetes).mean()
    pipe = make_pipeline(StandardScaler(), regressor(max_iter=100))
    assert cross_val_score(pipe, *diabetes).mean() > least_squares - 0.01
    assert "SGDRegressor" in pipe._repr_html_()


def test_grid_search():
    rows, y = load_breast_cancer(return_X_y=True)
    rows = StandardScaler().fit_transform(rows)
    search = GridSearchCV(classifier(), {"alpha": [1e-3, 1e3], "loss": ["log_loss", "hinge"]}, cv=3).fit(rows, y)
    assert search.best_params_["alpha"] == 1e-3
    assert search.best_score_ > 0.95
    assert search.score(rows, y) > 0.96
    scores = search.cv_results_["mean_test_score"]
    assert scores.min() < 0.95 < scores.max()


# --- threads, signals, imports


def test_two_threads_fit_at_once():
    rows = np.random.default_rng(0).normal(size=(20000, 20))
    y = [(rows[:, :k] @ np.ones(k) > 0).astype(int) for k in (3, 9)]
    serial = [classifier().fit(rows, y[i]).coef_ for i in range(2)]
    models = [classifier(), classifier()]
    threads = [threading.Thread(target=models[i].fit, args=(rows, y[i])) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model, expected in zip(models, serial, strict=True):
        np.testing.assert_array_equal(model.coef_, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gil_is_released(layout, monkeypatch):
    """Another thread goes on counting during single calls of the kernel."""
    rows = LAYOUTS[layout](np.ones((100, 50_000), "f"))
    ticks, inside, done, kernel = [0], [], threading.Event(), fastsgd._training.sgd.train

    def count():
        while not done.wait(0.001):
            ticks[0] += 1

    def counted(*arguments):
        before = ticks[0]
        kernel(*arguments)
        inside.append(ticks[0] - before)

    monkeypatch.setattr(fastsgd._training.sgd, "train", counted)
    counter = threading.Thread(target=count)
    counter.start()
    classifier("softmax", batch_size=100, max_iter=1, eta0=1e-9, learning_rate="constant").fit(
        rows, np.arange(100) % 16
    )
    done.set()
    counter.join()
    assert len(inside) == 1
    assert inside[0] >= 5


def test_ctrl_c_stops_a_fit_at_once():
    """One epoch, of 2e10 multiply-adds, takes seconds."""
    code = """if True:
        import numpy as np, fastsgd
        rows, y = np.ones((50000, 100), "f"), np.arange(50000) % 2000
        model = fastsgd.SGDClassifier("softmax", max_iter=1, tol=None)
        print("ready", flush=True)
        try: model.fit(rows, y)
        except KeyboardInterrupt: print("interrupted", hasattr(model, "coef_"), flush=True)"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        started = time.perf_counter()
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
        assert time.perf_counter() - started < 1
        assert rest == "interrupted False\n"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_interrupted_partial_fit_leaves_a_whole_model(layout, monkeypatch):
    rows = LAYOUTS[layout](X)
    model = classifier(alpha=0.1, shuffle=False).partial_fit(rows, Y, classes=[0, 1])
    kernel, calls = fastsgd._training.sgd.train, []

    def interrupted(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(kernel(*arguments))

    monkeypatch.setattr(fastsgd._training, "NONZEROS_PER_SLICE", 100)
    monkeypatch.setattr(fastsgd._training.sgd, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(rows, Y)
    if hasattr(model, "coef_"):  # then it is that of some step
        same(pickle.loads(pickle.dumps(model)), model)


def test_imports_neither_scipy_nor_sklearn():
    code = """if True:
        import sys, io, fastsgd
        model = fastsgd.SGDClassifier(max_iter=3, tol=None).fit([[0.0, 1], [1, 0]], [0, 1])
        X = fastsgd.CSR([1.0], [0], [0, 1], (1, 2))
        print(model.predict(X), model, sorted({"scipy", "sklearn", "pandas"} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[1] SGDClassifier(max_iter=3, tol=None) []\n", "")
