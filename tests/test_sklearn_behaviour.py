"""What scikit-learn's tests of its own SGD and Perceptron assert of them holds here, but for what the README lists."""

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.preprocessing import scale
from small_data import LAYOUTS, NOISE, WEIGHTS, Y3, D, N, T, X, Y, classifier, make, regressor, same, target

from fastsgd import Perceptron, SGDClassifier, SGDRegressor

KINDS = [SGDClassifier, SGDRegressor]
SCHEDULES = ["constant", "optimal", "invscaling", "adaptive"]
IRIS, SPECIES = load_iris(return_X_y=True)
LINE = np.linspace(-5, 5, 100).reshape(-1, 1)
SLOPE = 0.5 * LINE.ravel()
# Five points: the weights of the classes decide about AT.
FIVE, FIVE_Y, AT = np.array([[-1, -1], [-1, 0], [-0.8, -1], [1, 1], [1, 0]]), np.array([1, 1, 1, -1, -1]), [[0.1, -1]]


@pytest.fixture(params=LAYOUTS)
def laid(request):
    return LAYOUTS[request.param]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_warm_start_is_a_start_from_given_coefficients(kind, schedule, laid):
    rows, y = laid(X), target(kind)
    options = {"learning_rate": schedule, "eta0": 0.01, "shuffle": False, "loss": "huber", "epsilon": 1.0}
    first = make(kind, alpha=0.01, **options).fit(rows, y)
    given = make(kind, alpha=0.001, **options).fit(rows, y, first.coef_.copy(), first.intercept_.copy())
    warm = make(kind, alpha=0.01, warm_start=True, **options).fit(rows, y)
    same(warm, first)
    same(warm.set_params(alpha=0.001).fit(rows, y), given)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_with_other_parameters(kind, laid):
    changed = clone(make(kind, alpha=0.01, penalty="l1")).set_params(penalty="l2")
    same(changed.fit(laid(X), target(kind)), make(kind, alpha=0.01).fit(laid(X), target(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_average_that_begins_too_late_is_none(kind, laid):
    rows, y, first = laid(X), target(kind), {"classes": [0, 1, 2]} if kind is SGDClassifier else {}
    late, none = make(kind, average=10 * N), make(kind)
    for _ in range(5):
        late.partial_fit(rows, y, **first)
        none.partial_fit(rows, y, **first)
    np.testing.assert_allclose(late.coef_, none.coef_, rtol=0, atol=1e-13)
    np.testing.assert_allclose(late.intercept_, none.intercept_, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_stopping(kind, early_stopping, laid):
    rows, y, options = laid(scale(IRIS)), SPECIES, {"random_state": 0, "intercept_decay": 1.0}
    passes = [
        kind(early_stopping=early_stopping, n_iter_no_change=patience, tol=1e-4, **options).fit(rows, y).n_iter_
        for patience in (2, 3, 10)
    ]
    assert 2 <= passes[0] <= passes[1] <= passes[2] < 1000
    adaptive, constant = (
        kind(learning_rate=rate, eta0=0.01, **options).fit(rows, y).n_iter_ for rate in ("adaptive", "constant")
    )
    assert adaptive > constant


@pytest.mark.parametrize("kind", KINDS)
def test_rows_held_out_are_not_trained_on_and_as_many_as_asked_for(kind, laid):
    y, seen = target(kind), []
    options = {"shuffle": False, "learning_rate": "constant", "max_iter": 4}
    model = make(kind, early_stopping=True, validation_fraction=0.4, **options)
    model.set_params(scoring=lambda model, X, y: len(seen) + bool(seen.append((X, y))))  # later is better
    model.fit(laid(X), y)
    held, y_held = seen[0]
    held = held.toarray() if sp.issparse(held) else held
    is_held = (X[:, None] == held[None]).all(axis=2).any(axis=1)
    assert is_held.sum() == len(held) == int(N * 0.4)
    np.testing.assert_array_equal(y[is_held], y_held)
    expected = make(kind, **options).fit(laid(X[~is_held]), y[~is_held])
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    with pytest.raises(ValueError, match="empty"):
        make(kind, early_stopping=True, validation_fraction=0.99).fit(laid(X[:8]), y[:8])


@pytest.mark.parametrize("kind", [*KINDS, Perceptron])
def test_the_share_of_l1(kind, laid):
    rows, y = laid(X), target(kind)

    def fitted(penalty, ratio):
        return make(kind, penalty=penalty, l1_ratio=ratio, alpha=0.01).fit(rows, y).coef_

    for penalty, at in (("l1", 1), ("l2", 0)):
        alone = fitted(penalty, None)
        np.testing.assert_array_equal(fitted(penalty, 0.7), alone)
        np.testing.assert_allclose(fitted("elasticnet", at), alone, rtol=1e-12)
        np.testing.assert_allclose(fitted("elasticnet", abs(at - 1e-10)), alone, rtol=1e-5)
    assert not np.allclose(fitted("elasticnet", 0), fitted("elasticnet", 0.5))
    with pytest.raises(ValueError, match="l1_ratio must be set when penalty is 'elasticnet'"):
        fitted("elasticnet", None)


@pytest.mark.parametrize("kind", KINDS)
def test_negative_power_t_is_deprecated(kind):
    model = make(kind, power_t=-0.5, learning_rate="constant")
    with pytest.warns(FutureWarning, match="Negative values for `power_t` are deprecated"):
        model.fit(X, target(kind))
    assert model.set_params(power_t=0.0).fit(X, target(kind)).coef_.any()


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "log_loss", "modified_huber", "perceptron", "squared_error",
                                  "huber", "epsilon_insensitive", "squared_epsilon_insensitive"])  # fmt: skip
def test_points_that_can_be_separated_are(loss, laid):
    corners = np.array([[-2, -1], [-1, -1], [-1, -2], [1, 1], [1, 2], [2, 1]])
    names = np.repeat(["near", "far"], 3)
    model = classifier(loss, alpha=0.01, learning_rate="constant", max_iter=20).fit(laid(corners), names)
    assert model.predict(laid(np.array([[-1, -1], [2, 2], [3, 2]]))).tolist() == ["near", "far", "far"]
    three = np.repeat(["one", "two", "three"], 3)
    around = np.array(
        [[-1, 1], [-0.75, 0.5], [-1.5, 1.5], [1, 1], [0.75, 0.5], [1.5, 1.5], [-1, -1], [0, -0.5], [1, -1]]
    )
    start = {"coef_init": np.zeros((3, 2)), "intercept_init": np.zeros(3)}
    for n_jobs in (None, 2):
        model = classifier(loss, alpha=0.01, learning_rate="constant", eta0=0.05, max_iter=40, n_jobs=n_jobs)
        model.fit(laid(around), three, **start)
        assert model.coef_.shape == (3, 2)
        assert model.intercept_.shape == (3,)
        assert model.decision_function(laid(np.zeros((1, 2)))).shape == (1, 3)
        assert model.predict(laid(np.array([[-1.5, 0.5], [1, 2], [0, -2]]))).tolist() == ["one", "two", "three"]


def test_starts_of_the_wrong_shape(laid):
    for given in ({"coef_init": np.zeros(3)}, {"intercept_init": np.zeros(3)}, {"coef_init": np.zeros((3, D))}):
        with pytest.raises(ValueError, match=f"Provided {next(iter(given))} does not match dataset"):
            classifier().fit(laid(X), Y, **given)
    for given in ({"coef_init": np.zeros((2, D))}, {"intercept_init": np.zeros(1)}):
        with pytest.raises(ValueError, match="does not match dataset"):
            classifier().fit(laid(X), Y3, **given)
    for given in ({"intercept_init": 0}, {"intercept_init": [0.0]}, {"coef_init": np.zeros((1, D))}):
        same(classifier().fit(laid(X), Y, **given), classifier().fit(laid(X), Y))


def test_calls_that_cannot_be(laid):
    with pytest.raises(ValueError, match="early_stopping should be False with partial_fit"):
        classifier(early_stopping=True).partial_fit(laid(X), Y)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        classifier().partial_fit(laid(X), Y)
    with pytest.raises(ValueError, match="class_weight 'balanced' is not supported for partial_fit"):
        classifier(class_weight="balanced").partial_fit(laid(X), Y, classes=[0, 1])
    with pytest.raises(ValueError, match="greater than one"):
        classifier().fit(laid(X), np.ones(N))
    with pytest.raises(ValueError, match=r"classes, \[2\]"):
        classifier(class_weight={2: 0.5}).fit(laid(X), Y)
    with pytest.raises(ValueError, match="sample_weight"):
        classifier().fit(laid(X), Y, sample_weight=np.arange(7))
    for loss in ("hinge", "perceptron", "squared_error"):
        for method in ("predict_proba", "predict_log_proba"):
            assert not hasattr(classifier(loss), method)
            with pytest.raises(AttributeError, match=f"has no attribute '{method}'.*not available for loss='{loss}'"):
                getattr(classifier(loss), method)


def test_weights_turn_the_boundary(laid):
    options = {"alpha": 0.1, "max_iter": 1000, "fit_intercept": False, "average": True}
    light = np.where(FIVE_Y == 1, 0.001, 1)
    for seed in range(3):
        model = classifier("hinge", **options, random_state=seed)
        before = model.fit(laid(FIVE), FIVE_Y).decision_function(AT)
        by_rows = model.fit(laid(FIVE), FIVE_Y, sample_weight=light).decision_function(AT)
        by_class = model.set_params(class_weight={1: 0.001}).fit(laid(FIVE), FIVE_Y).decision_function(AT)
        assert before > 0 > by_rows
        np.testing.assert_array_equal(by_class, by_rows)


def test_weights_multiply_and_equal_ones_change_nothing_but_the_step(laid):
    product = WEIGHTS * np.where(Y == 1, 0.6, 0.3)
    weighted = classifier(class_weight={0: 0.3, 1: 0.6}).fit(laid(X), Y, sample_weight=WEIGHTS)
    np.testing.assert_allclose(weighted.coef_, classifier().fit(laid(X), Y, sample_weight=product).coef_, rtol=1e-12)
    options = {"alpha": 0.1, "max_iter": 1000}
    halves = classifier(**options, class_weight={0: 0.5, 1: 0.5}).fit(laid(X), Y)
    twice = classifier(**options | {"alpha": 0.2}).fit(laid(X), Y)
    np.testing.assert_allclose(halves.coef_, twice.coef_, atol=0.05)


def test_balanced_classes(laid):
    rows, y = scale(IRIS), SPECIES
    options = {"shuffle": False, "max_iter": 300, "alpha": 0.001}
    plain = classifier("hinge", **options).fit(laid(rows), y)
    np.testing.assert_allclose(
        plain.coef_, classifier("hinge", **options, class_weight="balanced").fit(laid(rows), y).coef_
    )
    assert f1_score(y, plain.predict(laid(rows)), average="weighted") > 0.9
    rare = (X @ np.arange(D) + NOISE > 6.5).astype(int)
    assert rare.mean() < 0.15
    options = {"alpha": 0.1, "max_iter": 50, "intercept_decay": 1.0}
    for loss in ("hinge", "log_loss", "softmax"):
        for y in (rare, rare + (X @ np.arange(D) < -6) * 2):
            models = [classifier(loss, class_weight=weight, **options) for weight in (None, "balanced")]
            scores = [balanced_accuracy_score(y, model.fit(laid(X), y).predict(laid(X))) for model in models]
            assert scores[0] + 0.2 < scores[1] > 0.65


@pytest.mark.parametrize("y", [Y, Y3], ids=["two", "three"])
@pytest.mark.parametrize("average", [False, N])
def test_chunks(y, average, laid):
    outputs = 1 if y is Y else 3
    model = classifier(alpha=0.01, average=average)
    for chunk in (slice(0, 40), slice(40, N)):
        model.partial_fit(laid(X)[chunk], y[chunk], classes=np.unique(y))
        assert model.coef_.shape == (outputs, D)
        assert model.intercept_.shape == (outputs,)
        assert model.decision_function(laid(np.zeros((1, D)))).shape == ((1,) if y is Y else (1, 3))
    assert model.score(laid(X), y) > 0.6
    model.fit(laid(X), y).partial_fit(laid(X), y)
    chunks = regressor().partial_fit(laid(X)[:40], T[:40]).partial_fit(laid(X)[40:], T[40:])
    assert chunks.coef_.shape == (D,)
    assert chunks.intercept_.shape == chunks.predict(laid(np.zeros((1, D)))).shape == (1,)


def test_a_second_fit_starts_anew_with_other_features_and_labels(laid):
    model = classifier().fit(laid(X), Y).fit(laid(X[:, :-1]), np.array(["ham", "spam", "jam"])[Y3])
    same_as = classifier().fit(laid(X[:, :-1]), np.array(["ham", "spam", "jam"])[Y3])
    np.testing.assert_array_equal(model.coef_, same_as.coef_)


@pytest.mark.parametrize("noise", [0, 1])
@pytest.mark.parametrize(("loss", "epsilon"), [("squared_error", 0.1), ("huber", 0.1), ("epsilon_insensitive", 0.01)])
def test_a_line_is_found(loss, epsilon, noise, laid):
    y = SLOPE + noise * np.random.default_rng(0).normal(size=100)
    model = regressor(loss=loss, epsilon=epsilon, alpha=0.1, max_iter=20, fit_intercept=False).fit(laid(LINE), y)
    assert model.score(laid(LINE), y) > (0.5 if noise else 0.99)
    twins = regressor(alpha=0.1, fit_intercept=False).fit(laid(np.array([[0, 0], [1, 1], [2, 2]])), [0, 1, 2])
    assert twins.coef_[0] == twins.coef_[1] > 0


@pytest.mark.parametrize("l1_ratio", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("alpha", [0.01, 0.001])
def test_elastic_net_is_what_coordinate_descent_finds(alpha, l1_ratio, laid):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1000, 5))
    y = rows @ rng.normal(size=5)
    options = {"alpha": alpha, "l1_ratio": l1_ratio, "fit_intercept": False}
    expected = ElasticNet(**options).fit(rows, y).coef_
    model = regressor(penalty="elasticnet", max_iter=50, **options).fit(laid(rows), y)
    np.testing.assert_allclose(model.coef_, expected, atol=0.01)


def test_epsilon_may_be_changed_on_the_way(laid):
    options = {"loss": "epsilon_insensitive", "learning_rate": "constant", "shuffle": False}
    changed = regressor(epsilon=0.1, **options).partial_fit(laid(X), T)
    unchanged = regressor(epsilon=0.1, **options).partial_fit(laid(X), T).partial_fit(laid(X), T)
    before = changed.coef_.copy()
    np.testing.assert_array_equal(changed.set_params(epsilon=1e9).partial_fit(laid(X), T).coef_ != 0, before != 0)
    assert np.abs(changed.coef_ - before).max() < 1e-3  # nothing is beyond epsilon: the penalty alone
    assert not np.allclose(changed.coef_, unchanged.coef_)


def test_columns_that_are_not_scaled_and_the_same_scaled(laid):
    rows = np.random.default_rng(0).normal(size=(50, 8)) * 10.0 ** np.arange(150, 158)
    y = (rows[:, -1] > 0).astype(int)
    options = {"alpha": 0.1, "loss": "squared_hinge", "max_iter": 50}
    with pytest.raises(ValueError, match=r"Floating-point under-/overflow occurred at epoch #\d+.*Scale the features"):
        classifier(**options).fit(laid(rows), y)
    assert np.isfinite(classifier(**options).fit(laid(rows / np.abs(rows).max(axis=0)), y).coef_).all()


def test_a_huge_penalty_leaves_nothing_without_a_floating_point_error():
    for penalty in ("l2", "l1", "elasticnet"):
        model = classifier("hinge", alpha=1e5, learning_rate="constant", eta0=0.1, penalty=penalty, shuffle=False)
        with np.errstate(all="raise"):
            model.fit(IRIS, SPECIES)
        np.testing.assert_allclose(model.coef_, 0, atol=1e-6)


def test_tol():
    rows, y = scale(IRIS), SPECIES == 1
    assert SGDClassifier(tol=None, random_state=0, max_iter=42).fit(rows, y).n_iter_ == 42
    passes = [SGDClassifier(tol=tol, random_state=0, max_iter=2000).fit(rows, y).n_iter_ for tol in (0, 0.1)]
    assert 2000 > passes[0] > passes[1] > 3
    with pytest.warns(ConvergenceWarning, match="Maximum number of iteration reached before convergence"):
        assert SGDClassifier(max_iter=3, tol=1e-3, random_state=0).fit(rows, y).n_iter_ == 3


def test_many_jobs_and_early_stopping():
    model = SGDClassifier(alpha=1e-3, early_stopping=True, n_iter_no_change=100, random_state=0, n_jobs=2)
    model.fit(IRIS, SPECIES)
    assert 100 <= model.n_iter_ < 130
    assert model.score(IRIS, SPECIES) > 0.8


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_every_backend_of_joblib(backend):
    rng = np.random.default_rng(42)
    rows, y = sp.random_array((200, 2000), density=0.02, format="csr", rng=rng), rng.integers(20, size=200)
    alone = classifier(n_jobs=1).fit(rows, y)
    with joblib.parallel_backend(backend):
        same_as = classifier(n_jobs=4).fit(rows, y)
    np.testing.assert_array_equal(same_as.coef_, alone.coef_)


@pytest.mark.parametrize("kind", [*KINDS, Perceptron])
def test_seeds(kind):
    first, again, other = (make(kind, random_state=seed, max_iter=1).fit(X, target(kind)) for seed in (1, 1, 2))
    same(first, again)
    assert np.abs(first.coef_ - other.coef_).max() > 1e-3


@pytest.mark.parametrize("kind", [*KINDS, Perceptron])
def test_single_and_double_precision(kind, laid):
    models = [
        make(kind, shuffle=False, max_iter=22, alpha=0.01).fit(laid(X.astype(t)), target(kind).astype(t))
        for t in ("f", "d")
    ]
    assert [model.coef_.dtype for model in models] == [np.float32, np.float64]
    np.testing.assert_allclose(models[0].coef_, models[1].coef_, rtol=2e-3, atol=2e-3)


def test_the_perceptron_is_rosenblatts(laid):
    signs, w, b = np.where(Y == 1, 1, -1), np.zeros(D), 0.0
    for _ in range(2):
        for x, sign in zip(X, signs, strict=True):
            if np.sign(w @ x + b) != sign:
                w, b = w + sign * x, b + sign
    model = Perceptron(max_iter=2, shuffle=False, tol=None, intercept_decay=1.0).fit(laid(X), Y)
    np.testing.assert_allclose(model.coef_[0], w, rtol=1e-12, atol=1e-12)
    assert model.intercept_[0] == b
    mixed = np.random.default_rng(0).permutation(150)
    rows, y = laid(IRIS[mixed]), SPECIES[mixed]
    assert Perceptron(max_iter=100, tol=None, shuffle=False).fit(rows, y).score(rows, y) > 0.7
