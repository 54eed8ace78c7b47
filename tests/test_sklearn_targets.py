"""y of several columns: many labels a row, many real targets, all learnt in one pass."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from small_data import LAYOUTS, WEIGHTS, Y3, D, N, T, X, Y, classifier, regressor, same

import fastsgd
from fastsgd import Perceptron, SGDClassifier

RNG = np.random.default_rng(8)
LABELS = (X @ RNG.normal(size=(D, 4)) + 0.3 * RNG.normal(size=(N, 4)) > 0.5).astype(int)
TARGETS = X @ RNG.normal(size=(D, 3)) + 0.1 * RNG.normal(size=(N, 3)) + [1, -2, 0]
OPTIONS = [
    {}, {"penalty": "l1"}, {"penalty": "elasticnet"}, {"average": True}, {"average": 200}, {"fit_intercept": False},
    {"learning_rate": "pa1", "eta0": 0.1}, {"batch_size": 7}, {"learning_rate": "adaptive", "eta0": 0.1},
    {"learning_rate": "invscaling"},
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_output_is_what_it_would_be_alone(options, layout):
    rows = LAYOUTS[layout](X)
    for model, y in ((classifier(), LABELS), (regressor(), TARGETS)):
        model.set_params(**{"alpha": 0.01, "learning_rate": "constant", **options})
        for weights in (None, WEIGHTS):
            model = model.fit(rows, y, sample_weight=weights)
            alone = [copy.deepcopy(model).fit(rows, column, sample_weight=weights) for column in y.T]
            expected = np.vstack([np.append(one.coef_, one.intercept_) for one in alone])
            assert model.coef_.shape == (y.shape[1], D)
            assert model.intercept_.shape == (y.shape[1],)
            np.testing.assert_allclose(np.c_[model.coef_, model.intercept_], expected, rtol=1e-9, atol=1e-12)
            losses = np.sum([one.loss_curve_ for one in alone], axis=0)
            np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-9)


@pytest.mark.parametrize("loss", [n for n, loss in fastsgd.losses.LOSSES.items() if not loss.joint])
def test_labels_under_every_loss_of_one_score(loss):
    model = classifier(loss, learning_rate="constant").fit(X, LABELS)
    assert (model.classes_.tolist(), model.multilabel_) == ([0, 1, 2, 3], True)
    z = model.decision_function(X)
    assert z.shape == (N, 4)
    predicted = model.predict(X)
    np.testing.assert_array_equal(predicted, (z > 0).astype(int))
    assert predicted.dtype == np.int64
    assert (predicted == LABELS).mean() > 0.85
    assert model.score(X, LABELS) == accuracy_score(LABELS, predicted) > 0.4
    weighted = accuracy_score(LABELS, predicted, sample_weight=WEIGHTS)
    assert model.score(X, LABELS, WEIGHTS) == pytest.approx(weighted)


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber", "logistic_squared_error"])
def test_probabilities_of_labels_are_those_of_one_against_the_rest(loss):
    # The steps of 'optimal' are so long that modified_huber makes 1e-9 of a last digit.
    options = {"alpha": 0.01, "learning_rate": "constant"}
    model = classifier(loss, **options).fit(X, LABELS)
    rest = OneVsRestClassifier(classifier(loss, **options)).fit(X, LABELS)
    for predict in ("predict", "predict_proba", "decision_function"):
        expected = getattr(rest, predict)(X)
        assert getattr(model, predict)(X).shape == expected.shape
        np.testing.assert_allclose(getattr(model, predict)(X), expected, rtol=1e-9, atol=1e-12)
    P = model.predict_proba(X)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(model.predict_log_proba(X), np.log(P), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(P > 0.5, model.predict(X) == 1)


@pytest.mark.parametrize(
    "y",
    [LABELS.astype(bool), LABELS.astype(float), LABELS.astype("u1"), LABELS.tolist(), list(LABELS),
     LABELS.astype(object), sp.csr_array(LABELS), sp.coo_matrix(LABELS), pd.DataFrame(LABELS, columns=list("abcd")),
     np.asfortranarray(LABELS)], ids=lambda y: type(y).__name__,
)  # fmt: skip
def test_indicators_of_every_kind(y):
    expected = classifier().fit(X, LABELS)
    same(classifier().fit(X, y), expected)
    assert expected.score(X, y) == expected.score(X, LABELS)
    same(
        classifier().partial_fit(X, y).partial_fit(X, y),
        classifier().partial_fit(X, LABELS, [0, 1, 2, 3]).partial_fit(X, LABELS),
    )


def test_two_labels_are_not_two_classes():
    y = LABELS[:, :2]
    model = classifier().fit(X, y)
    assert model.coef_.shape == (2, D)
    assert model.decision_function(X).shape == model.predict(X).shape == model.predict_proba(X).shape == (N, 2)
    assert model.predict(X).sum(axis=1).tolist() != [1] * N
    assert model.score(X, y) > 0.7


def test_a_label_that_all_rows_have_or_none():
    y = LABELS.copy()
    y[:, 0], y[:, 1] = 0, 1
    predicted = classifier(max_iter=50).fit(X, y).predict(X)
    assert predicted[:, 0].mean() < 0.05
    assert predicted[:, 1].mean() > 0.95


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scoring", [None, "loss", "accuracy", "f1_macro"])
def test_labels_with_early_stopping_warm_start_and_partial_fit(scoring, layout):
    rows = LAYOUTS[layout](X)
    model = classifier(early_stopping=True, scoring=scoring, max_iter=20).fit(rows, LABELS)
    assert len(model.validation_scores_) == 20
    assert model.score(rows, LABELS) > 0.5
    model = classifier(warm_start=True, learning_rate="constant").fit(rows, LABELS)
    before = model.loss_curve_[-1]
    assert model.fit(rows, LABELS).loss_curve_[-1] < before
    chunks = (
        classifier(shuffle=False, penalty=None).partial_fit(rows[:60], LABELS[:60]).partial_fit(rows[60:], LABELS[60:])
    )
    whole = classifier(shuffle=False, penalty=None, max_iter=1).fit(rows, LABELS)
    np.testing.assert_allclose(chunks.coef_, whole.coef_, rtol=1e-10)


def test_models_of_labels_are_kept_whole(tmp_path):
    for model, y in ((classifier().fit(X, LABELS), LABELS), (regressor().fit(X, TARGETS), TARGETS)):
        model.save(tmp_path / "m")
        for other in (fastsgd.load(tmp_path / "m"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            same(other, model)
            assert getattr(other, "multilabel_", None) == getattr(model, "multilabel_", None)
            same(other.partial_fit(X, y), copy.deepcopy(model).partial_fit(X, y))
        model.sparsify()
        assert model.score(X, y) == model.densify().score(X, y)


def test_what_labels_cannot_be():
    with pytest.raises(ValueError, match=r"y should be a 1d array.*\(120, 4\) with 2.* at row 9, column 1"):
        classifier().fit(X, np.where((np.arange(N) == 9)[:, None] & (np.arange(4) == 1), 2, LABELS))
    for loss in ("multiclass_hinge", "multiclass_perceptron"):
        with pytest.raises(ValueError, match=rf"4 labels.*loss='{loss}' is for one label a row"):
            classifier(loss).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"loss='softmax' its rows are probabilities.*several labels a row"):
        classifier("softmax").fit(X, LABELS)
    for weight in ("balanced", {0: 2}):
        with pytest.raises(ValueError, match="class_weight is for one label a row"):
            classifier(class_weight=weight).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"\[120, 50\]"):
        classifier().fit(X, LABELS[:50])
    with pytest.raises(ValueError, match="4 columns for 3 classes"):
        classifier().partial_fit(X, LABELS, classes=[0, 1, 2])
    several, one = classifier().partial_fit(X, LABELS), classifier().fit(X, Y3)
    with pytest.raises(ValueError, match="matrix of 4 labels before and is one label a row now"):
        several.partial_fit(X, Y)
    with pytest.raises(ValueError, match="one label a row before and is a matrix now"):
        one.partial_fit(X, LABELS[:, :3])
    with pytest.raises(ValueError, match="3 columns for 4 classes"):
        several.partial_fit(X, LABELS[:, :3])
    assert several.fit(X, Y).multilabel_ is False
    assert several.predict(X).shape == (N,)


# --- regression


@pytest.mark.parametrize("loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"])
def test_many_targets(loss):
    model = regressor(loss=loss, max_iter=100, eta0=0.05, early_stopping=True).fit(X, TARGETS)
    predicted = model.predict(X)
    assert predicted.shape == (N, 3)
    np.testing.assert_allclose(predicted, X @ model.coef_.T + model.intercept_, rtol=1e-10)
    assert model.score(X, TARGETS) == pytest.approx(r2_score(TARGETS, predicted))
    assert model.score(X, TARGETS) > (0.9 if loss != "huber" else 0.1)
    weighted = r2_score(TARGETS, predicted, sample_weight=WEIGHTS)
    assert model.score(X, TARGETS, WEIGHTS) == pytest.approx(weighted)


def test_many_targets_are_as_good_as_many_models():
    one = cross_val_score(regressor(max_iter=50), X, TARGETS)
    many = cross_val_score(MultiOutputRegressor(regressor(max_iter=50)), X, TARGETS)
    np.testing.assert_allclose(one, many, rtol=1e-9)
    assert one.min() > 0.9


def test_r2_of_constant_targets_is_scikit_learns():
    y = TARGETS.copy()
    y[:, 1] = 7
    model = regressor().fit(X, y)
    assert model.score(X, y) == pytest.approx(r2_score(y, model.predict(X)))


def test_one_column_is_one_target():
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        model = regressor().fit(X, T[:, None])
    same(model, regressor().fit(X, T))
    assert model.predict(X).shape == (N,)
    for kind in (SGDClassifier, Perceptron):
        with pytest.warns(DataConversionWarning):
            model = kind(max_iter=5, tol=None, random_state=0).fit(X, Y3[:, None])
        same(model, kind(max_iter=5, tol=None, random_state=0).fit(X, Y3))


def test_wrong_targets():
    model = regressor().partial_fit(X, TARGETS)
    for y in (T, TARGETS[:, :2]):
        with pytest.raises(ValueError, match=r"y has \d columns?, 3 in earlier calls"):
            model.partial_fit(X, y)
        with pytest.raises(ValueError, match="y has shape"):
            model.score(X, y)
    with pytest.raises(ValueError, match="y contains NaN"):
        regressor().fit(X, np.where(TARGETS > 1, np.nan, TARGETS))
    with pytest.raises(ValueError, match="y has dtype <U"):
        regressor().fit(X, TARGETS.astype(str))
