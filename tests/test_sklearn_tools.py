"""At work in scikit-learn's tools, each with a score that only a trained model reaches."""

import copy
import io
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFE, RFECV, SelectFromModel
from sklearn.inspection import permutation_importance
from sklearn.metrics import brier_score_loss, get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    check_cv,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import check_is_fitted
from small_data import ALL, LAYOUTS, WEIGHTS, Y3, N, T, X, Y, classifier, make, same, target

import fastsgd
from fastsgd import Perceptron, SGDClassifier, SGDRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CANCER, MALIGNANT = load_breast_cancer(return_X_y=True, as_frame=True)
IRIS, SPECIES = load_iris(return_X_y=True)
SPECIES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
PROGRESS = (PROGRESS - PROGRESS.mean()) / PROGRESS.std()


def scaled(model):
    return make_pipeline(StandardScaler(), model)


def log(**parameters):
    return SGDClassifier(**{"loss": "log_loss", "random_state": 0, "alpha": 0.01, **parameters})


def real(**parameters):
    return SGDRegressor(**{"random_state": 0, **parameters})


# --- pipelines, searches, curves


@pytest.mark.parametrize("kind", [SGDClassifier, Perceptron])
def test_a_pipeline_of_columns_of_many_kinds(kind):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"age": rng.integers(18, 90, 400), "income": rng.gamma(2, 2e4, 400)})
    frame["city"] = rng.choice(["Aachen", "Bonn", "Celle"], 400)
    y = np.where(frame.city == "Bonn", "yes", np.where(frame.age > 50, "yes", "no"))
    for sparse in (0, 1):
        columns = ColumnTransformer(
            [("numbers", StandardScaler(), ["age", "income"]), ("text", OneHotEncoder(), ["city"])],
            sparse_threshold=sparse,
        )
        model = Pipeline([("columns", columns), ("model", kind(random_state=0, max_iter=50, tol=None))])
        scores = cross_validate(model, frame, y, cv=4, return_train_score=True, error_score="raise")
        assert scores["test_score"].min() > 0.85
        model.set_params(model__alpha=0.001).fit(frame[:300], y[:300])
        assert model[-1].n_features_in_ == 5
        assert model.score(frame[300:], y[300:]) > 0.85


def test_set_output_names_the_features():
    model = make_pipeline(StandardScaler(), log()).set_output(transform="pandas").fit(CANCER, MALIGNANT)
    assert list(model[-1].feature_names_in_) == list(CANCER.columns)
    assert model.score(CANCER, MALIGNANT) > 0.97
    chosen = make_pipeline(StandardScaler(), SelectFromModel(log(penalty="l1"))).set_output(transform="pandas")
    assert set(chosen.fit_transform(CANCER, MALIGNANT).columns) < set(CANCER.columns)


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_searches(search):
    options = {"cv": 3, "error_score": "raise", **({"random_state": 0} if search is HalvingGridSearchCV else {})}
    grid = {"sgdclassifier__alpha": [1e-4, 1e-2, 1e2], "sgdclassifier__loss": ["hinge", "log_loss", "softmax"]}
    found = search(scaled(SGDClassifier(random_state=0)), grid, **options).fit(IRIS, SPECIES)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert found.best_params_["sgdclassifier__alpha"] < 1
    assert found.score(IRIS, SPECIES) > 0.9
    assert found.cv_results_["mean_test_score"].min() < 0.9 < found.best_score_
    found = search(scaled(real()), {"sgdregressor__alpha": [1e-4, 1e3]}, **options).fit(DIABETES, PROGRESS)
    assert found.best_params_ == {"sgdregressor__alpha": 1e-4}
    assert found.best_score_ > 0.4


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_cross_validate_by_scores_of_many_kinds(n_jobs):
    with joblib.parallel_backend("threading"):
        scores = cross_validate(
            scaled(log()), CANCER, MALIGNANT, cv=3, scoring=["accuracy", "roc_auc", "neg_log_loss", "f1"],
            return_estimator=True, n_jobs=n_jobs, error_score="raise",
        )  # fmt: skip
    assert scores["test_accuracy"].min() > 0.94
    assert scores["test_roc_auc"].min() > 0.97
    assert scores["test_neg_log_loss"].min() > -0.2
    assert all(model[-1].coef_.shape == (1, 30) for model in scores["estimator"])


@pytest.fixture
def no_process_stays():
    yield
    get_reusable_executor().shutdown(wait=True)


def test_processes_give_what_one_process_gives(no_process_stays):
    model = scaled(log(early_stopping=True, n_iter_no_change=20))
    alone = cross_validate(model, IRIS, SPECIES, cv=2)["test_score"]
    np.testing.assert_array_equal(cross_validate(model, IRIS, SPECIES, cv=2, n_jobs=2)["test_score"], alone)
    assert alone.min() > 0.8


def test_curves():
    _, train, test = learning_curve(
        scaled(log()), CANCER, MALIGNANT, train_sizes=[0.1, 1.0], cv=3, shuffle=True, random_state=0,
        error_score="raise",
    )  # fmt: skip
    assert test[-1].min() > 0.95
    assert test[0].mean() < test[-1].mean() <= train[-1].mean() + 0.02
    _, _, test = learning_curve(
        log(), StandardScaler().fit_transform(CANCER), MALIGNANT, train_sizes=[0.2, 1.0], cv=3, error_score="raise",
        exploit_incremental_learning=True,
    )  # fmt: skip
    assert test[-1].min() > 0.85
    _, test = validation_curve(scaled(log()), IRIS, SPECIES, param_name="sgdclassifier__alpha", param_range=[1e-3, 1e3])
    assert test.mean(axis=1)[0] > 0.9 > test.mean(axis=1)[1]


# --- models of models

ENSEMBLES = {
    "calibrated sigmoid": lambda: CalibratedClassifierCV(SGDClassifier(random_state=0), method="sigmoid", cv=3),
    "calibrated isotonic": lambda: CalibratedClassifierCV(SGDClassifier(random_state=0), method="isotonic", cv=3),
    "hard votes": lambda: VotingClassifier([("a", log()), ("b", SGDClassifier(random_state=1)), ("c", Perceptron())]),
    "soft votes": lambda: VotingClassifier([("a", log()), ("b", log(loss="softmax"))], voting="soft"),
    "stack": lambda: StackingClassifier([("a", log()), ("b", Perceptron())], final_estimator=log(), cv=3),
    "bag": lambda: BaggingClassifier(log(), n_estimators=5, max_features=0.7, random_state=0),
    "one against the rest": lambda: OneVsRestClassifier(log()),
    "one against one": lambda: OneVsOneClassifier(SGDClassifier(random_state=0)),
}


@pytest.mark.parametrize("name", ENSEMBLES)
@pytest.mark.parametrize("y", [MALIGNANT, SPECIES], ids=["two", "three"])
def test_ensembles_of_classifiers(name, y):
    rows = CANCER if y is MALIGNANT else IRIS
    scores = cross_validate(scaled(ENSEMBLES[name]()), rows, y, cv=3, error_score="raise")["test_score"]
    assert scores.min() > (0.93 if y is MALIGNANT else 0.8)


def test_calibration_makes_probabilities_of_scores():
    rows = StandardScaler().fit_transform(CANCER)
    model = CalibratedClassifierCV(SGDClassifier(random_state=0), cv=3).fit(rows, MALIGNANT)
    assert brier_score_loss(MALIGNANT, model.predict_proba(rows)[:, 1]) < 0.03


@pytest.mark.parametrize(
    "ensemble",
    [VotingRegressor([("a", real()), ("b", real(loss="huber", epsilon=1.0))]), BaggingRegressor(real(), random_state=0),
     StackingRegressor([("a", real()), ("b", real(penalty="l1"))], final_estimator=real(eta0=0.1), cv=3)],
    ids=lambda ensemble: type(ensemble).__name__,
)  # fmt: skip
def test_ensembles_of_regressors(ensemble):
    assert cross_validate(scaled(ensemble), DIABETES, PROGRESS, cv=3, error_score="raise")["test_score"].min() > 0.35


def test_chains_and_models_of_several_columns():
    labels = np.c_[Y, Y3 > 0, Y3 > 1].astype(int)
    for model in (MultiOutputClassifier(log()), ClassifierChain(log(), random_state=0)):
        assert (model.fit(X, labels).predict(X) == labels).mean() > 0.85
    targets = np.c_[T, -2 * T]
    for model in (MultiOutputRegressor(real()), RegressorChain(real(eta0=0.001))):
        assert model.fit(X, targets).score(X, targets) > 0.9


def test_features_are_chosen_by_coefficients():
    rng = np.random.default_rng(0)
    rows = np.c_[X, rng.normal(size=(N, 20))]
    useful = np.arange(26) < 6
    for model, y in ((log(penalty="l1", alpha=0.03), Y3), (real(penalty="l1", alpha=0.3), T)):
        chosen = SelectFromModel(model).fit(rows, y).get_support()
        assert chosen[3:6].all()
        assert chosen[~useful].mean() < 0.5
        ranked = RFE(model, n_features_to_select=4).fit(rows, y)
        assert ranked.support_[3:6].all()
        assert ranked.score(rows, y) > 0.7
    assert RFECV(real(), cv=3, step=4).fit(rows, T).n_features_ < 20
    both = FeatureUnion([("a", SelectFromModel(log())), ("b", StandardScaler())])
    assert make_pipeline(both, log()).fit(rows, Y).score(rows, Y) > 0.8


def test_importance_of_permuted_columns():
    for model, y in ((log().fit(X, Y), Y), (real().fit(X, T), T)):
        importance = permutation_importance(model, X, y, random_state=0).importances_mean
        assert importance.argmax() >= 4
        assert importance.argmin() <= 1


# --- metadata, display, copies


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.parametrize("kind", ALL)
def test_sample_weights_are_routed(kind, routing):
    y = target(kind)
    model = make(kind).set_fit_request(sample_weight=True).set_score_request(sample_weight="other")
    assert clone(model).get_metadata_routing().fit.requests["sample_weight"] is True
    assert clone(model).get_metadata_routing().score.requests["sample_weight"] == "other"
    weights = np.where(np.arange(N) % 3 == 0, 5.0, 0.1)
    pipeline = Pipeline([("scale", StandardScaler().set_fit_request(sample_weight=False)), ("model", model)])
    pipeline.fit(X, y, sample_weight=weights)
    same(pipeline[-1], make(kind).fit(StandardScaler().fit_transform(X), y, sample_weight=weights))
    assert not np.allclose(pipeline[-1].coef_, make(kind).fit(StandardScaler().fit_transform(X), y).coef_)
    params = {"sample_weight": weights, "other": WEIGHTS}
    found = cross_validate(model, X, y, params=params, cv=2, error_score="raise", return_estimator=True)
    assert found["test_score"].min() > 0.5
    splits = check_cv(2, y, classifier=kind is not SGDRegressor).split(X, y)
    halves = [training for training, _ in splits]
    for half, trained in zip(halves, found["estimator"], strict=True):
        same(trained, make(kind).fit(X[half], y[half], sample_weight=weights[half]))
    with pytest.raises(ValueError, match="sample_weight"):
        cross_validate(make(kind), X, y, params={"sample_weight": weights}, cv=2, error_score="raise")


def test_requests_are_checked(routing):
    model = classifier()
    requests = model.get_metadata_routing()
    assert set(requests.fit.requests) == {"coef_init", "intercept_init", "sample_weight"}
    assert set(requests.partial_fit.requests) == {"classes", "sample_weight"}
    assert set(requests.score.requests) == {"sample_weight"}
    assert model.set_partial_fit_request(classes=True) is model
    with pytest.raises(TypeError, match="'colour' in fit"):
        model.set_fit_request(colour=True)
    with sklearn.config_context(enable_metadata_routing=False), pytest.raises(RuntimeError, match="routing is enabled"):
        model.set_fit_request(sample_weight=True)


@pytest.mark.parametrize("kind", ALL)
def test_display(kind):
    model = kind(alpha=0.5)
    assert repr(model) == str(model) == f"{kind.__name__}(alpha=0.5)"
    html = model._repr_html_()
    assert f"{kind.__name__}(alpha=0.5)" in html
    assert "Not fitted" in html
    assert "Not fitted" not in model.fit(X, target(kind))._repr_html_()
    assert kind.__name__ in estimator_html_repr(make_pipeline(StandardScaler(), model))
    assert f"{kind.__name__}(alpha=0.5)" in repr(make_pipeline(StandardScaler(), model))
    with sklearn.config_context(display="text"):
        assert model._repr_html_() is None


def test_display_without_scikit_learn():
    code = "import sys, fastsgd; print(fastsgd.SGDClassifier()._repr_html_(), 'sklearn' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-P", "-c", code], text=True).split() == ["None", "False"]


def test_methods_have_the_names_they_are_called_by():
    model = log()
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function", "score"):
        assert getattr(model, name).__name__ == name
        assert pickle.loads(pickle.dumps(getattr(model, name))).__name__ == name


def test_fitted_or_not():
    model = classifier()
    with pytest.raises(sklearn.exceptions.NotFittedError):
        check_is_fitted(model)
    assert not model.__sklearn_is_fitted__()
    assert model.fit(X, Y).__sklearn_is_fitted__()
    check_is_fitted(model)


def by_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file, compress=3)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)), "deepcopy": copy.deepcopy, "copy": copy.copy,
    "cloudpickle": lambda model: pickle.loads(cloudpickle.dumps(model)), "joblib": by_joblib,
    "old pickle": lambda model: pickle.loads(pickle.dumps(model, protocol=2)),
}  # fmt: skip


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ALL)
def test_copies_predict_and_train_on_alike(kind, layout, how):
    rows, y = LAYOUTS[layout](X), target(kind)
    model = make(kind, early_stopping=True, penalty="elasticnet").fit(rows, y).set_params(early_stopping=False)
    other = COPIES[how](model)
    same(other, model)
    assert other.get_params() == model.get_params()
    assert other.validation_scores_ == model.validation_scores_
    expected = make(kind, early_stopping=True, penalty="elasticnet").fit(rows, y).set_params(early_stopping=False)
    for chunk in (slice(0, 60), slice(60, N)):
        other.partial_fit(rows[chunk], y[chunk])
        expected.partial_fit(rows[chunk], y[chunk])
    same(other, expected)
    if how != "copy":
        same(model, make(kind, early_stopping=True, penalty="elasticnet").fit(rows, y))


def test_cloudpickle_keeps_functions_of_the_notebook():
    model = classifier(callbacks=[lambda record: record.epoch == 2], early_stopping=True, scoring=lambda e, X, y: 1.0)
    assert pickle.loads(cloudpickle.dumps(model)).fit(X, Y).n_iter_ == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_may_predict_with_one_model(layout):
    rows = LAYOUTS[layout](np.tile(X, (50, 1)))
    y = np.tile(Y3, 50)
    model = pickle.loads(pickle.dumps(log().fit(rows, y)))  # which makes its coefficients when first asked
    expected = [log().fit(rows, y).predict(rows), log().fit(rows, y).predict_proba(rows)]
    start = threading.Barrier(8)

    def work(_):
        start.wait()
        return [(model.predict(rows), model.predict_proba(rows)) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            for got in results:
                np.testing.assert_array_equal(got[0], expected[0])
                np.testing.assert_array_equal(got[1], expected[1])


def test_a_scorer_that_needs_thresholds_and_one_that_needs_probabilities():
    for name in ("roc_auc", "average_precision", "neg_log_loss", "neg_brier_score"):
        assert get_scorer(name)(log().fit(X, Y), X, Y) > (0.9 if not name.startswith("neg") else -0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert get_scorer("roc_auc_ovr")(fastsgd.SGDClassifier("softmax", alpha=0.01).fit(X, Y3), X, Y3) > 0.9
