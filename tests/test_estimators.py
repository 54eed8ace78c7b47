"""What a user of scikit-learn expects of the estimators: shapes, labels, state, files, tools, threads, signals."""

import copy

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Perceptron as SklearnPerceptron
from sklearn.linear_model import SGDClassifier as SklearnClassifier
from sklearn.linear_model import SGDRegressor as SklearnRegressor
from sklearn.metrics import accuracy_score, r2_score
from small_data import (
    ALL,
    LAYOUTS,
    WEIGHTS,
    Y3,
    D,
    N,
    T,
    X,
    Y,
    classifier,
    make,
    regressor,
    same,
    target,
)

import fastsgd
from fastsgd import Perceptron, SGDClassifier, SGDRegressor

# --- parameters


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [(SGDClassifier, SklearnClassifier), (SGDRegressor, SklearnRegressor), (Perceptron, SklearnPerceptron)],
)
def test_parameters_are_scikit_learns(kind, theirs):
    ours, names = kind().get_params(), theirs().get_params()
    assert {name: ours.get(name, "missing") for name in names} == names
    more = {"batch_size", "intercept_decay", "scoring", "callbacks", "optimizer"} | ({"n_jobs"} - set(names))
    more |= set() if kind is Perceptron else {"tune_eta0"}
    assert set(ours) - set(names) == more


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
    with pytest.raises(ValueError, match=r"1 samples .*empty"):
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
