"""What the README says under "Coming from scikit-learn", row by row: both libraries are asked."""

import inspect
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.linear_model
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastsgd

RNG = np.random.default_rng(0)
N, D = 200, 8
X = RNG.normal(size=(N, D)) * (RNG.random((N, D)) < 0.5)
X[:, 7] = 0
X[0, 7] = 3.0  # a rare feature
Y = (X @ RNG.normal(size=D) > 0).astype(int)
Y3 = X[:, :3].argmax(axis=1)
L1 = {"loss": "log_loss", "penalty": "l1", "alpha": 0.01, "fit_intercept": False}


def fit(rows, y, sample_weight=None, **parameters):
    """Both libraries' models, rows in order and a constant step unless said otherwise."""
    common = {"shuffle": False, "tol": None, "max_iter": 3, "learning_rate": "constant", "eta0": 0.05, **parameters}
    models = fastsgd.SGDClassifier(**common), sklearn.linear_model.SGDClassifier(**common)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        return [model.fit(rows, y, sample_weight=sample_weight) for model in models]


def apart(one, other):
    return float(np.abs(one.coef_ - other.coef_).max())


@pytest.mark.parametrize("kind", ["SGDClassifier", "SGDRegressor", "Perceptron"])
def test_parameters_and_defaults(kind):
    ours, theirs = (inspect.signature(getattr(module, kind)).parameters for module in (fastsgd, sklearn.linear_model))
    assert {name: theirs[name].default for name in theirs} == {name: ours[name].default for name in theirs}


def test_the_same_coefficients_otherwise():
    for rows in (X, sp.csr_matrix(X)):
        for y in (Y, Y3):
            for options in ({}, {"average": True}, {"learning_rate": "optimal"}, {"penalty": None}):
                assert apart(*fit(rows, y, loss="log_loss", **options)) < 1e-8  # its log_loss has cut-offs


def test_around_it():
    model = make_pipeline(StandardScaler(), fastsgd.SGDClassifier("log_loss", random_state=0))
    search = GridSearchCV(model, {"sgdclassifier__alpha": [1e-3, 1e-2]}, cv=3).fit(X, Y)
    assert search.best_score_ > 0.9
    assert cross_val_score(model, X, Y3, cv=3).min() > 0.7
    assert CalibratedClassifierCV(fastsgd.SGDClassifier(random_state=0), cv=3).fit(X, Y).score(X, Y) > 0.9


def test_l1_reaches_rare_features():
    ours, theirs = fit(sp.csr_matrix(X), Y, **{**L1, "max_iter": 1})
    assert ours.coef_[0, 7] == 0
    assert abs(theirs.coef_[0, 7]) > 0.05


def test_l1_on_dense_rows_as_on_sparse_ones():
    dense, sparse = fit(X, Y, **L1), fit(sp.csr_matrix(X), Y, **L1)
    assert apart(dense[0], sparse[0]) < 1e-12
    assert apart(dense[1], sparse[1]) > 1e-3


def test_averages_of_truncated_weights():
    assert apart(*fit(X, Y, **{**L1, "average": True})) > 1e-2


def test_rows_of_weight_0():
    ours, theirs = fit(X, Y, np.arange(N) % 2.0)
    assert (ours.t_, theirs.t_) == (3 * N / 2 + 1, 3 * N + 1)


def test_the_criterion_is_weighted():
    options = {"loss": "log_loss", "tol": 1e-3, "max_iter": 500, "n_iter_no_change": 2, "eta0": 0.01}
    weights = np.where(np.arange(N) < 20, 1.0, 1e-3)
    plain, weighted = fit(X, Y, **options), fit(X, Y, weights, **options)
    assert plain[0].n_iter_ == plain[1].n_iter_
    assert weighted[0].n_iter_ > plain[0].n_iter_  # 20 rows learn slowly
    assert weighted[1].n_iter_ <= plain[1].n_iter_


def test_class_weights_count_in_all_outputs():
    options = {"loss": "log_loss"}
    plain, weighted = fit(X, Y3, **options), fit(X, Y3, class_weight={0: 5.0}, **options)
    moved = [np.abs(a.coef_[1] - b.coef_[1]).max() for a, b in zip(plain, weighted, strict=True)]
    assert moved[0] > 0.1
    assert moved[1] == 0


def test_outputs_share_their_epochs():
    ours, theirs = fit(X, Y3, loss="log_loss", tol=1e-2, max_iter=100, n_iter_no_change=2)
    alone = [fit(X, k == Y3, loss="log_loss", tol=1e-2, max_iter=100, n_iter_no_change=2)[1] for k in range(3)]
    assert len({model.n_iter_ for model in alone}) > 1
    for k, model in enumerate(alone):
        np.testing.assert_allclose(theirs.coef_[k], model.coef_[0])
    assert apart(ours, theirs) > 1e-3


def test_early_stopping_keeps_the_best():
    model = fastsgd.SGDClassifier("log_loss", early_stopping=True, learning_rate="constant", eta0=5.0, random_state=3)
    y = np.where(RNG.random(N) < 0.2, 1 - Y, Y)
    best = model.fit(X, y).validation_scores_
    assert max(best) > best[-1]
    same = fastsgd.SGDClassifier(**{**model.get_params(), "max_iter": int(np.argmax(best)) + 1, "tol": None})
    np.testing.assert_array_equal(same.fit(X, y).coef_, model.coef_)


def test_early_stopping_rates_the_whole_model_by_sample_weight():
    """There each class is rated by itself; both count the weights of the rows."""
    options = {"loss": "log_loss", "early_stopping": True, "random_state": 0, "max_iter": 2}
    weights = RNG.integers(1, 5, N).astype(float)
    rated = []

    class Ours(fastsgd.SGDClassifier):
        def _rate(self, scores, truth, sample_weight):
            rated.append((scores.shape[1], sample_weight))
            return super()._rate(scores, truth, sample_weight)

    class Theirs(sklearn.linear_model.SGDClassifier):
        def score(self, X, y, sample_weight=None):
            rated.append((len(self.coef_), sample_weight))
            return super().score(X, y, sample_weight)

    for kind, outputs in ((Ours, 3), (Theirs, 1)):
        rated.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
            kind(**options).fit(X, Y3, sample_weight=weights)
        assert len(rated) == 2 * 3 // outputs
        for width, given in rated:
            assert width == outputs
            assert set(given) <= set(weights)
            assert len(set(given)) > 1


def test_l1_goes_on_over_calls_of_partial_fit():
    model = fastsgd.SGDClassifier(**L1, shuffle=False, learning_rate="constant", eta0=0.05)
    model.partial_fit(X[:100], Y[:100], classes=[0, 1])
    account = model._state.penalty_total
    model.partial_fit(X[100:], Y[100:])
    assert account == pytest.approx(100 * 0.05 * 0.01)
    assert model._state.penalty_total == pytest.approx(2 * account)


def test_a_seed_gives_another_order():
    assert apart(*fit(X, Y, loss="log_loss", shuffle=True, random_state=0)) > 1e-3


def test_n_jobs_shares_the_rows_of_large_data():
    """With little data it changes nothing; test_threads.py has what it does otherwise."""
    one, many = (fit(X, Y3, loss="log_loss", n_jobs=n_jobs)[0] for n_jobs in (None, 2))
    np.testing.assert_array_equal(one.coef_, many.coef_)


def test_passive_aggressive_steps_of_any_loss():
    with pytest.raises(ValueError, match="only works with loss 'hinge'"):
        fit(X, Y, loss="log_loss", learning_rate="pa1")
    model = fastsgd.SGDClassifier("log_loss", learning_rate="pa1", penalty=None, random_state=0, tol=None, max_iter=5)
    assert model.fit(X, Y).score(X, Y) > 0.9


def test_divergence_warns():
    options = {"max_iter": 3, "tol": None, "eta0": 1e3, "learning_rate": "constant", "penalty": None}
    sklearn.linear_model.SGDRegressor(**options).fit(X, Y * 1e5)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="derivatives exceeded 1e12"):
        fastsgd.SGDRegressor(**options).fit(X, Y * 1e5)


def test_indices_of_64_bits():
    rows = sp.csr_matrix(X)
    rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    with pytest.raises(ValueError, match="32-bit integer indices"):
        sklearn.linear_model.SGDClassifier().fit(rows, Y)
    assert fastsgd.SGDClassifier(random_state=0).fit(rows, Y).score(rows, Y) > 0.9


def test_the_intercept_of_sparse_rows():
    dense, sparse = fit(X, Y), fit(sp.csr_matrix(X), Y)
    assert apart(dense[1], sparse[1]) == apart(dense[0], sparse[0]) > 1e-3
    same = (fastsgd.SGDClassifier(random_state=0, intercept_decay=1.0).fit(rows, Y) for rows in (X, sp.csr_matrix(X)))
    assert apart(*same) < 1e-12
