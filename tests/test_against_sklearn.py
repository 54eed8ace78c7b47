"""Coefficients equal scikit-learn's, with the rows in order, wherever the two are meant to agree."""

import warnings
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from common import PENALTIES, REAL, assert_close, make_data
from sklearn import exceptions, linear_model

import fastsgd

SIGN = ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron")
SCHEDULES = ("constant", "optimal", "invscaling", "adaptive")
CASES = [
    *(("classifier", loss, 2) for loss in (*SIGN, *REAL)),
    *(("classifier", loss, 4) for loss in (*SIGN, *REAL)),
    *(("regressor", loss, 2) for loss in REAL),
]
KINDS = {
    "classifier": (fastsgd.SGDClassifier, linear_model.SGDClassifier),
    "regressor": (fastsgd.SGDRegressor, linear_model.SGDRegressor),
    "perceptron": (fastsgd.Perceptron, linear_model.Perceptron),
}
LAYOUTS = {"dense": np.asarray, "csr": sp.csr_array}


def train_both(kind, X, y, *, sample_weight=None, coef_init=None, intercept_init=None, **parameters):
    """(ours, scikit-learn's), both fitted with the same arguments."""
    settings = {"shuffle": False, "tol": None, "max_iter": 4, "alpha": 0.05, "eta0": 0.1, **parameters}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Maximum number of iteration reached")
        return tuple(
            of(**settings).fit(X, y, sample_weight=sample_weight, coef_init=coef_init, intercept_init=intercept_init)
            for of in KINDS[kind]
        )


def assert_same(ours, theirs, message="", tolerance=1e-6):
    """SPEC asks for 1e-6; in float64 the two differ by rounding only."""
    both = [np.c_[np.atleast_2d(model.coef_), model.intercept_] for model in (ours, theirs)]
    assert ours.coef_.shape == theirs.coef_.shape, message
    assert ours.intercept_.shape == theirs.intercept_.shape, message
    assert_close(*both, tolerance, message)
    assert ours.t_ == theirs.t_, message


def data(K, layout, *, kind="classifier", zeros=0.35):
    X, y, reals = make_data(n=60, K=K, zeros=zeros)
    return LAYOUTS[layout](X), reals if kind == "regressor" else y


@pytest.mark.filterwarnings("ignore:Training diverges")  # it does
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kind", "loss", "K"), CASES)
def test_every_loss_penalty_and_schedule(kind, loss, K, layout):
    for penalty, schedule in product(PENALTIES, SCHEDULES):
        l1 = penalty in ("l1", "elasticnet")
        if l1 and layout == "csr":
            continue  # we give every weight its l1 at the end; scikit-learn the last row's features only
        # With no zeros in a row, the last row's features are all of them.
        X, y = data(K, layout, kind=kind, zeros=0 if l1 else 0.35)
        options = {"loss": loss, "penalty": penalty, "learning_rate": schedule}
        assert_same(*train_both(kind, X, y, **options), str(options), 1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("kind", "loss", "K"),
    [("classifier", "hinge", 2), ("classifier", "hinge", 4), ("regressor", "epsilon_insensitive", 2)],
)
def test_passive_aggressive(kind, loss, K, layout):
    X, y = data(K, layout, kind=kind)
    for schedule, penalty, eta0 in product(("pa1", "pa2"), (None, "l2"), (0.01, 0.5)):
        options = {"loss": loss, "penalty": penalty, "learning_rate": schedule, "eta0": eta0, "alpha": 1e-3}
        assert_same(*train_both(kind, X, y, **options), str(options), 1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("average", [True, 1, 37, 240, 241])
def test_averaging(average, layout):
    for (kind, loss, K), penalty in product(
        [("classifier", "log_loss", 2), ("classifier", "hinge", 4), ("regressor", "huber", 2)], (None, "l2")
    ):
        X, y = data(K, layout, kind=kind)
        for schedule in SCHEDULES:
            options = {"loss": loss, "penalty": penalty, "learning_rate": schedule, "average": average}
            ours, theirs = train_both(kind, X, y, **options)
            assert_same(ours, theirs, str(options), 1e-9)
            assert ours.t_ == 241


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sample_weights(layout):
    weights = np.random.default_rng(0).choice([0.25, 1, 3], size=60)
    for (kind, loss, K), schedule in product(
        [("classifier", "log_loss", 2), ("classifier", "hinge", 4), ("regressor", "squared_error", 2)], SCHEDULES
    ):
        X, y = data(K, layout, kind=kind)
        options = {"loss": loss, "learning_rate": schedule, "sample_weight": weights}
        assert_same(*train_both(kind, X, y, **options), str(options), 1e-9)
        assert_same(*train_both(kind, X, y, average=10, **options), str(options), 1e-9)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 0.5}])
def test_class_weights_of_two_classes(class_weight):
    X, y = data(2, "dense")
    y[:20] = 1  # far from balanced
    for loss in SIGN:
        assert_same(*train_both("classifier", X, y, loss=loss, class_weight=class_weight), loss, 1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_dtypes(kind, dtype):
    X, y = data(2, "dense", kind=kind)
    for layout in LAYOUTS.values():
        ours, theirs = train_both(kind, layout(X.astype(dtype)), y, learning_rate="invscaling")
        assert ours.coef_.dtype == theirs.coef_.dtype == dtype
        assert_same(ours, theirs, "", 1e-9 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("K", [2, 4])
def test_initial_coefficients_and_no_intercept(K):
    X, y = data(K, "dense")
    rng, rows = np.random.default_rng(0), 1 if K == 2 else K
    start = {"coef_init": rng.normal(size=(rows, X.shape[1])), "intercept_init": rng.normal(size=rows)}
    assert_same(*train_both("classifier", X, y, loss="log_loss", **start), "", 1e-9)
    for average in (False, True):
        ours, theirs = train_both("classifier", X, y, loss="log_loss", fit_intercept=False, average=average)
        assert_same(ours, theirs, "", 1e-9)
        assert not ours.intercept_.any()


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_stopping(kind):
    """The same number of epochs, from the same objective."""
    X, y = data(2, "dense", kind=kind)
    losses = ("hinge", "log_loss", "squared_hinge") if kind == "classifier" else REAL
    counts = set()
    for loss, penalty, schedule, tol in product(losses, (None, "l2"), SCHEDULES, (1e-5, 1e-4, 1e-2)):
        options = {"loss": loss, "penalty": penalty, "learning_rate": schedule, "alpha": 0.05, "eta0": 0.05}
        ours, theirs = train_both(kind, X, y, tol=tol, max_iter=300, n_iter_no_change=3, **options)
        assert ours.n_iter_ == theirs.n_iter_ == len(ours.loss_curve_), str((options, tol))
        assert_same(ours, theirs, str((options, tol)), 1e-8)
        counts.add(ours.n_iter_)
    assert len(counts) > 10


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("K", [2, 4])
def test_predictions(K, layout):
    X, y = data(K, layout)
    labels = np.array(["d", "a", "c", "b"])[y]
    for loss in SIGN:
        ours, theirs = train_both("classifier", X, labels, loss=loss)
        assert np.array_equal(ours.classes_, theirs.classes_)
        assert np.array_equal(ours.predict(X), theirs.predict(X))
        assert_close(ours.decision_function(X), theirs.decision_function(X), 1e-9)
        assert ours.decision_function(X).shape == theirs.decision_function(X).shape
        assert ours.score(X, labels) == pytest.approx(theirs.score(X, labels), rel=1e-12)
        assert hasattr(ours, "predict_proba") == hasattr(theirs, "predict_proba") == (loss in SIGN[1:3])
        if loss in SIGN[1:3]:
            assert_close(ours.predict_proba(X), theirs.predict_proba(X), 1e-9)
            with np.errstate(divide="ignore"):
                logs = ours.predict_log_proba(X), theirs.predict_log_proba(X)
            np.testing.assert_allclose(*logs, rtol=1e-8, atol=1e-12)
    ours, theirs = train_both("regressor", X, np.linspace(-1, 1, 60))
    assert_close(ours.predict(X), theirs.predict(X), 1e-9)
    weights = np.linspace(0, 1, 60)
    for s in (None, weights):
        r_squared = theirs.score(X, np.linspace(-1, 1, 60), s)
        assert ours.score(X, np.linspace(-1, 1, 60), s) == pytest.approx(r_squared, rel=1e-9)


def test_probabilities_of_far_away_rows():
    """Where modified_huber gives every class 0, scikit-learn makes them equal; so does fastsgd."""
    X, y = data(4, "dense")
    for loss in ("log_loss", "modified_huber"):
        ours, theirs = train_both("classifier", X, y, loss=loss)
        far = np.r_[1e3 * X, -1e3 * X, 1e3 * np.eye(X.shape[1])]
        with np.errstate(all="ignore"):
            assert_close(ours.predict_proba(far), theirs.predict_proba(far), 1e-9)


@pytest.mark.parametrize("K", [2, 4])
def test_partial_fit(K):
    """Not with `average`, which scikit-learn loses track of from the second call on."""
    X, y = data(K, "dense")
    for loss in SIGN:
        both = [of(loss=loss, shuffle=False, alpha=0.05) for of in KINDS["classifier"]]
        for piece in (slice(0, 25), slice(25, 26), slice(26, 60)):
            for model in both:
                model.partial_fit(X[piece], y[piece], classes=np.arange(K))
            assert_same(*both, loss, 1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("K", [2, 4])
def test_perceptron(K, layout):
    X, y = data(K, layout)
    for penalty, eta0 in product((None, "l2"), (1.0, 0.3)):
        settings = {"penalty": penalty, "eta0": eta0, "shuffle": False, "tol": None, "max_iter": 5, "alpha": 0.01}
        ours, theirs = (of(**settings).fit(X, y) for of in KINDS["perceptron"])
        assert_same(ours, theirs, str(settings), 1e-9)
        assert np.array_equal(ours.predict(X), theirs.predict(X))


def test_warnings_and_errors_are_those_of_both_packages():
    """Importing scikit-learn does not change what fastsgd's own names catch."""
    X, y = data(2, "dense")
    for category in (fastsgd.ConvergenceWarning, exceptions.ConvergenceWarning):
        with pytest.warns(category, match="Maximum number of iteration reached before convergence"):
            fastsgd.SGDClassifier(max_iter=2).fit(X, y)
    for error in (fastsgd.NotFittedError, exceptions.NotFittedError):
        with pytest.raises(error, match="is not fitted yet"):
            fastsgd.SGDClassifier().predict(X)
