"""scikit-learn's own checks of estimators, all of them."""

import warnings

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastsgd import MLPClassifier, MLPRegressor, Perceptron, SGDClassifier, SGDRegressor

# scikit-learn's SGD is excused from these two as well: a row of weight 2 takes one step, two equal rows take two.
EXCUSED = [f"check_sample_weight_equivalence_on_{data}_data" for data in ("dense", "sparse")]


def all_checks():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Estimator .* does not inherit from `sklearn.base.BaseEstimator`")
        for each in (
            SGDClassifier(),
            SGDClassifier(loss="log_loss", alpha=1),
            SGDRegressor(),
            Perceptron(),
            SGDClassifier(optimizer="normalized"),
            SGDClassifier(optimizer="ftrl"),
            SGDRegressor(optimizer="normalized"),
            SGDRegressor(optimizer="ftrl"),
            MLPClassifier(),
            MLPRegressor(),
        ):
            for estimator, check in estimator_checks_generator(each):
                name = check.func.__name__
                excuse = pytest.mark.xfail(reason="one step is not two steps", strict=True, raises=AssertionError)
                options = ", ".join(f"{key}={value}" for key, value in check.keywords.items())
                marks = [excuse] if name in EXCUSED else []
                yield pytest.param(estimator, check, id=f"{each!r}-{name}({options})", marks=marks)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "check"), list(all_checks()))
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_the_checks_are_there():
    names = {check.values[1].func.__name__ for check in all_checks()}
    assert len(names) > 40
    assert names > {*EXCUSED, "check_classifiers_train", "check_regressors_train", "check_estimators_pickle"}
