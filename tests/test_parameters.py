"""Parameters, weights and starting points that make no sense are refused, and methods that do not apply."""

import re

import numpy as np
import pytest
from bad_input import (
    ALL,
    Y3,
    D,
    N,
    T,
    X,
    Y,
    classifier,
    put,
    refuses,
    regressor,
    run,
)
from sklearn.exceptions import NotFittedError as SklearnNotFittedError

import fastsgd
from fastsgd import Perceptron, SGDClassifier, SGDRegressor

# --- weights, starting points, parameters

# fmt: off
ONES = np.ones(N)
ARGUMENTS = {
    "sample_weight": [
        (ONES[1:], r"sample_weight.*\(39,\).*\(40,\)"), (put(ONES, 8, -1), r"sample_weight is -1.* row 8\b"),
        (put(ONES, 8, np.nan), r"sample_weight contains NaN.* 8\b"),
        (put(ONES, 8, np.inf), r"sample_weight contains inf.* 8\b"),
        (ONES * 0, r"[Ss]ample weights.*non-zero"), (np.ones((N, 2)), r"1D array.*\(40, 2\)"),
        (ONES * 1j, r"sample_weight.*complex"),
        (["a"] * N, r"sample_weight has dtype <U1"), ([[1], [1, 2]], r"sample_weight"), (-1.0, r"sample_weight is -1"),
    ],
    "coef_init": [
        (ONES[:4], r"coef_init has shape \(4,\).*\(5,\)"), (ONES[:10].reshape(2, 5), r"coef_init has shape \(2, 5\)"),
        (put(ONES, 2, np.nan)[:5], r"coef_init contains NaN.* 2\b"),
        (put(ONES, 2, np.inf)[:5], r"coef_init contains inf.* 2\b"),
        (["a"] * D, r"coef_init has dtype <U1"), ([[1], [1, 2]], r"coef_init"),
    ],
    "intercept_init": [([0.0, 0.0], r"intercept_init has shape \(2,\)"), ([np.nan], r"intercept_init contains NaN")],
}
# fmt: on


@pytest.mark.parametrize(
    ("name", "value", "message"), [(name, *case) for name, cases in ARGUMENTS.items() for case in cases]
)
def test_bad_weights_and_starts(name, value, message):
    for model, y in ((classifier(), Y), (regressor(), T)):
        for how in ("fit", "partial_fit", "score") if name == "sample_weight" else ("fit",):
            with pytest.raises(ValueError, match=message):
                getattr(model.fit(X, y), how)(X, y, **{name: value})


def test_starts_of_three_classes():
    for start in ({"coef_init": np.zeros((1, D))}, {"coef_init": np.zeros(D)}, {"intercept_init": [0.0]}):
        with pytest.raises(ValueError, match=rf"{next(iter(start))} has shape \(.*\(3,"):
            classifier().fit(X, Y3, **start)


WEIGHTS = [{0: -1}, {0: "heavy"}, {0: np.nan}, {0: None}, {0: 0, 1: 0}, {"a": 1, "b": 2}, [1, 2], "equal"]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_bad_class_weight(weights):
    for model in (classifier(class_weight=weights), Perceptron(class_weight=weights)):
        for call in (model.fit, lambda X, y, m=model: m.partial_fit(X, y, classes=[0, 1])):
            with pytest.raises(ValueError, match="class_weight"):
                call(X, Y)


# fmt: off
BAD = {
    "loss": ["log", None, 3, "Hinge"], "penalty": ["L2", "none", 1, False], "tol": [-1e-9, "a", np.nan, np.inf],
    "alpha": [-1e-9, "a", None, np.nan, np.inf, True, [1]], "l1_ratio": [-0.1, 1.1, "a", np.nan],
    "shuffle": ["no", None, 1.5],
    "fit_intercept": ["yes", None, 0.5], "max_iter": [0, -1, 1.5, 2.0, "10", None, np.inf, True],
    "verbose": [-1, "a", None],
    "epsilon": [-0.1, "a", None, np.nan], "n_jobs": ["all", 1.5], "random_state": [-1, "a", 1.5, 2**32, [1]],
    "learning_rate": ["optimum", None, 1, "Constant"], "eta0": [0, -1, "a", None, np.nan, np.inf],
    "power_t": ["a", None, np.nan, np.inf, -np.inf], "early_stopping": ["yes", None], "warm_start": ["yes", None],
    "validation_fraction": [0, 1, 1.5, -0.1, "a", None], "n_iter_no_change": [0, -1, 1.5, "a", None],
    "average": [-1, 0, 1.5, "a", None], "batch_size": [0, -1, 1.5, "a", None],
    "intercept_decay": [-1, "Auto", None, np.nan, np.inf],
}
# fmt: on


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("name", BAD)
def test_bad_parameter(kind, name):
    """The message names the parameter, the class and the value."""
    for value in BAD[name] if name in kind().get_params() else ():
        message = rf"(?s)(?=.*{name})(?=.*{kind.__name__}).*{re.escape(repr(value))}"
        for how in ("fit", "partial_fit"):
            refuses(how, X, message, model=kind(**{name: value}))


def test_parameters_that_need_another():
    with pytest.raises(ValueError, match=r"zero_one.*'log_loss'.*'hinge'"):
        SGDClassifier(loss="zero_one").fit(X, Y)
    with pytest.raises(ValueError, match="l1_ratio must be set when penalty is 'elasticnet'"):
        SGDClassifier(l1_ratio=None, penalty="elasticnet").fit(X, Y)
    for kind in (SGDClassifier, SGDRegressor):
        with pytest.raises(ValueError, match=r"alpha must be > 0.*optimal"):
            kind(alpha=0, learning_rate="optimal").fit(X, Y)


@pytest.mark.parametrize("good", [{"verbose": True}, {"verbose": np.False_}, {"alpha": np.float32(1)}])
def test_good_parameters(good):
    assert regressor(l1_ratio=None, **good).fit(X, T).coef_.any()


# --- methods that do not apply


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("error", [SklearnNotFittedError, fastsgd.NotFittedError], ids=["sklearn", "fastsgd"])
def test_not_fitted(kind, error, tmp_path):
    model = kind(loss="log_loss") if kind is SGDClassifier else kind()
    calls = {"predict": [X], "score": [X, Y], "densify": [], "sparsify": [], "save": [tmp_path / "model"]}
    if kind is not SGDRegressor:
        calls["decision_function"] = [X]
    if kind is SGDClassifier:
        calls |= {"predict_proba": [X], "predict_log_proba": [X]}
    for name, arguments in calls.items():
        with pytest.raises(error, match=rf"{kind.__name__} .*not fitted.*'fit'"):
            getattr(model, name)(*arguments)


def test_not_fitted_without_sklearn():
    code = """if True:
        import sys, fastsgd
        try: fastsgd.SGDClassifier().predict([[1.0]])
        except fastsgd.NotFittedError as error: print('caught', 'sklearn' in sys.modules)"""
    assert run(code) == (0, "caught False\n")


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "perceptron", "huber", "multiclass_hinge"])
def test_no_probabilities(loss):
    model = classifier(loss=loss, learning_rate="constant", eta0=1e-3).fit(X, Y)
    for name in ("predict_proba", "predict_log_proba"):
        assert not any(hasattr(m, name) for m in (model, Perceptron(), SGDRegressor()))
        with pytest.raises(AttributeError, match=rf"loss='{loss}'.*decision_function.*'log_loss'"):
            getattr(model, name)
