"""Models of the optimisers with numbers beside their weights: copies, files, coefficients in other hands, tools."""

import copy
import pickle

import numpy as np
import onnxruntime
import pytest
import scipy.sparse as sp
from round_trips import ROUND_TRIPS
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from small_data import LAYOUTS, WEIGHTS, Y3, X, Y, classifier, make, regressor, same, target

import fastsgd
from fastsgd import Perceptron, SGDClassifier, SGDRegressor

OPTIMIZERS = ("adagrad", "normalized", "ftrl", "adam")
SPARSE, OTHER = sp.csr_array(X), {"dense": sp.csr_array, "csr": lambda X: X}


@pytest.mark.parametrize("trip", ROUND_TRIPS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor, Perceptron])
def test_copies_go_on_bit_for_bit(kind, optimizer, layout, trip, tmp_path):
    y, first, second = target(kind), LAYOUTS[layout](X), OTHER[layout](X)
    for options in ({}, {"batch_size": 7}):
        model = make(kind, optimizer=optimizer, **options).fit(first, y)
        duplicate = ROUND_TRIPS[trip](model, tmp_path)
        same(model, duplicate)
        for rows in (first, second, first):  # the layout of the weights changes, and back
            same(model.partial_fit(rows, y), duplicate.partial_fit(rows, y))
        unseen = make(kind, optimizer=optimizer, **options).fit(first, y)
        for rows in (first, second, first):
            unseen.partial_fit(rows, y)
        np.testing.assert_array_equal(unseen.coef_, model.coef_)  # looking at it changes nothing


@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_calls_of_partial_fit_are_one_pass(kind, optimizer):
    y = target(kind)
    extra = {} if kind is SGDRegressor else {"classes": [0, 1, 2]}
    whole = make(kind, optimizer=optimizer, shuffle=False, max_iter=1).fit(SPARSE, y)
    pieces = make(kind, optimizer=optimizer, shuffle=False)
    for i in range(len(y)):
        pieces.partial_fit(SPARSE[[i]], y[i : i + 1], **extra)
    np.testing.assert_array_equal(pieces.coef_, whole.coef_)
    np.testing.assert_array_equal(pieces.intercept_, whole.intercept_)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("y", [Y, Y3], ids=["two", "three"])
def test_another_optimizer_on_the_way(y, layout):
    """It keeps the weights and begins with numbers of its own beside them; steps go on counting."""
    rows = LAYOUTS[layout](X)
    for first in ("sgd", *OPTIMIZERS):
        for second in {"sgd", *OPTIMIZERS} - {first}:
            model = classifier(optimizer=first).fit(rows, y)
            coef, intercept, t = model.coef_.copy(), model.intercept_.copy(), model.t_
            model.set_params(optimizer=second, penalty=None).partial_fit(
                rows, y, sample_weight=1e-300 * np.ones(len(y))
            )
            assert model.t_ == t + len(y)
            if second == "sgd":  # the other steps do not depend on the size of a gradient
                np.testing.assert_allclose(model.coef_, coef, rtol=1e-12)
                np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-12)
            fresh = classifier(optimizer=second, max_iter=1, penalty=None, shuffle=False)
            fresh.fit(rows, y, coef_init=coef, intercept_init=intercept)
            again = classifier(optimizer=first).fit(rows, y)
            again.set_params(optimizer=second, penalty=None, shuffle=False, learning_rate="constant")
            again._state.t = 1
            fresh.set_params(learning_rate="constant").fit(rows, y, coef_init=coef, intercept_init=intercept)
            np.testing.assert_array_equal(again.partial_fit(rows, y).coef_, fresh.coef_)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_coefficients_set_by_hand_count(optimizer, layout):
    rows = LAYOUTS[layout](X)
    for in_place in (False, True):
        for y in (Y, Y3):
            model = classifier(optimizer=optimizer, learning_rate="constant", eta0=1e-12, penalty=None).fit(rows, y)
            wanted = np.random.default_rng(0).normal(size=model.coef_.shape)
            if in_place:
                model.coef_[:] = wanted
                model.intercept_[:] = 7
            else:
                model.coef_, model.intercept_ = wanted.copy(), np.full(model.intercept_.shape, 7.0)
            np.testing.assert_allclose(model.decision_function(rows).reshape(len(y), -1), X @ wanted.T + 7)
            model.partial_fit(rows, y)
            np.testing.assert_allclose(model.coef_, wanted, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(model.intercept_, 7, rtol=1e-6)
            assert (model.coef_ != wanted).any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_warm_start_is_from_the_coefficients(optimizer):
    model = classifier(optimizer=optimizer, warm_start=True).fit(X, Y3)
    coef, intercept = model.coef_.copy(), model.intercept_.copy()
    expected = classifier(optimizer=optimizer).fit(X, Y3, coef_init=coef, intercept_init=intercept)
    np.testing.assert_array_equal(model.fit(X, Y3).coef_, expected.coef_)
    assert (model.coef_ != coef).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_normalized_does_not_shrink_what_it_is_given(layout):
    """Its scales are those of the rows it trains on, and of no others, from the beginning."""
    rows, wanted = LAYOUTS[layout](X), np.arange(1.0, 7)
    weights = (np.arange(len(Y)) % 2).astype(float)
    options = {"optimizer": "normalized", "learning_rate": "constant", "eta0": 1e-12, "early_stopping": True}
    model = classifier(**options).fit(rows, Y, coef_init=wanted, sample_weight=weights)
    np.testing.assert_allclose(model.coef_[0], wanted, rtol=1e-9)
    spoilt = X.copy()
    spoilt[weights == 0] *= 1e9
    again = classifier(**options).fit(LAYOUTS[layout](spoilt), Y, coef_init=wanted, sample_weight=weights)
    np.testing.assert_array_equal(again.coef_, model.coef_)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_early_stopping_keeps_the_best_and_callbacks_see_it(optimizer, layout):
    seen = []

    def look(epoch):
        seen.append((epoch.validation_score, *epoch.coefficients()))

    model = classifier(optimizer=optimizer, early_stopping=True, max_iter=8, callbacks=[look])
    model.fit(LAYOUTS[layout](X), Y3, sample_weight=WEIGHTS)
    assert [score for score, *_ in seen] == model.validation_scores_
    best = int(np.argmax(model.validation_scores_))
    np.testing.assert_array_equal(model.coef_, seen[best][1])
    np.testing.assert_array_equal(model.intercept_, seen[best][2])
    assert (seen[0][1] != seen[-1][1]).any()


@pytest.mark.parametrize("y", [Y, Y3], ids=["two", "three"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_sparsify_densify_and_onnx(optimizer, y):
    penalty = "l1" if optimizer == "ftrl" else "l2"
    model = classifier(optimizer=optimizer, penalty=penalty, alpha=0.02).fit(SPARSE, y)
    coef, predicted = model.coef_.copy(), model.predict(X)
    model.sparsify()
    assert model.coef_.nnz == np.count_nonzero(coef)
    np.testing.assert_array_equal(model.predict(SPARSE), predicted)
    other = copy.deepcopy(model).partial_fit(SPARSE, y)
    assert other.score(X, y) > 0.6
    np.testing.assert_array_equal(model.densify().coef_, coef)
    session = onnxruntime.InferenceSession(
        fastsgd.to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_array_equal(session.run(None, {"X": X})[0], predicted)


def test_coefficients_are_views_of_the_state():
    """Whatever numbers lie between them: `predict` copies nothing as long as the weights."""
    for optimizer in OPTIMIZERS:
        for y in (Y, Y3):
            model = classifier(optimizer=optimizer, alpha=0.01).fit(SPARSE, y)
            assert np.shares_memory(model.coef_, model._state.weights)
            assert model.coef_.base is not None
            np.testing.assert_array_equal(np.ascontiguousarray(model.coef_), pickle.loads(pickle.dumps(model)).coef_)


@pytest.mark.filterwarnings("ignore:Training diverges")  # it does
def test_a_search_over_optimizers():
    rows, y = load_breast_cancer(return_X_y=True)  # raw columns, from 1e-3 to 4e3
    model = SGDClassifier("log_loss", max_iter=10, tol=None, random_state=0)
    grid = {"optimizer": ["sgd", *OPTIMIZERS]}
    search = GridSearchCV(model, grid, cv=3, scoring="neg_log_loss").fit(rows, y)
    scores = dict(zip(grid["optimizer"], search.cv_results_["mean_test_score"], strict=True))
    assert search.best_params_ == {"optimizer": "normalized"}, scores
    assert scores["normalized"] > -0.15
    assert search.best_estimator_.score(rows, y) > 0.95
    assert clone(search.best_estimator_).optimizer == "normalized"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_files_of_another_optimizers_arrays_are_refused(optimizer):
    model = regressor(optimizer=optimizer).fit(X, X[:, 0])
    header, arrays = model.to_archive()
    header["state"]["optimizer"] = fastsgd.core.state.OPTIMIZERS["sgd"]
    with pytest.raises(KeyError, match="sizes"):
        fastsgd._archive.from_archive(header, arrays)
