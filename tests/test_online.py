"""Rows that come one by one: calls of `partial_fit` that touch few of the weights put off what costs as much as all."""

import pickle
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from small_data import classifier, regressor

import fastsgd
from fastsgd import _threads
from fastsgd._labels import encode_known, encode_targets

N, D = 60, 500
RNG = np.random.default_rng(3)
A = sp.random_array((N, D), density=0.01, rng=RNG, format="csr")
Y2, Y3 = RNG.integers(0, 2, N), RNG.integers(0, 3, N)
ONLINE = {"shuffle": False, "alpha": 0.01, "max_iter": 1}


def learn(model, y, looks=()):
    """Row by row; `coef_` and a prediction are asked for after the rows `looks`."""
    extra = {} if isinstance(model, fastsgd.SGDRegressor) else {"classes": np.unique(y)}
    for i in range(N):
        model.partial_fit(A[[i]], y[[i]], **extra)
        if i in looks:
            assert np.isfinite(model.coef_).all()
            assert np.isfinite(model.predict(A)).all()
    return model


@pytest.mark.parametrize("options", [{}, {"penalty": None}, {"average": True}, {"average": 20, "penalty": None}])
@pytest.mark.parametrize("loss", ["log_loss", "softmax", "squared_error"])
def test_row_by_row_is_one_pass(loss, options):
    y = {"log_loss": Y2, "softmax": Y3, "squared_error": Y2 + 0.5}[loss]
    make = regressor if loss == "squared_error" else classifier
    chosen = {"loss": loss, "learning_rate": "constant", "eta0": 0.1, **ONLINE, **options}
    once, pieces = make(**chosen).fit(A, y), learn(make(**chosen), y)
    assert pieces.t_ == once.t_
    np.testing.assert_allclose(pieces.coef_, once.coef_, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(pieces.intercept_, once.intercept_, rtol=1e-10)
    assert np.mean(pieces.loss_curve_) == pytest.approx(once.loss_curve_[0], rel=1e-8)


@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
def test_looking_at_the_coefficients_changes_nothing(penalty):
    options = {"penalty": penalty, **ONLINE}
    blind, seeing = learn(classifier(**options), Y3), learn(classifier(**options), Y3, looks=(0, 7, 8, 30))
    np.testing.assert_array_equal(blind.coef_, seeing.coef_)
    np.testing.assert_array_equal(blind.intercept_, seeing.intercept_)


def test_scores_before_and_after_somebody_looked():
    model = learn(classifier(**ONLINE), Y3)
    before = model.decision_function(A), model.decision_function(A.toarray())
    expected = A @ model.coef_.T + model.intercept_
    for scores in (*before, model.decision_function(A), model.decision_function(A.toarray())):
        np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_coefficients_in_hand_stay_what_they_were():
    model = classifier(**ONLINE).fit(A, Y3)
    in_hand, was = model.coef_, model.coef_.copy()
    learn(model, Y3)
    np.testing.assert_array_equal(in_hand, was)
    assert np.abs(model.coef_ - was).max() > 0


def test_an_intercept_set_by_hand_counts_though_nobody_saw_the_coefficients():
    model = learn(classifier(**ONLINE), Y2)
    expected = learn(classifier(**ONLINE), Y2).coef_
    model.intercept_ = np.array([7.0])
    np.testing.assert_allclose(model.decision_function(A), (A @ expected.T)[:, 0] + 7)
    np.testing.assert_array_equal(model.coef_, expected)
    model.set_params(eta0=1e-300, learning_rate="constant").partial_fit(A[[0]], Y2[[0]])
    assert model.intercept_ == 7


def test_unseen_coefficients_travel():
    model = learn(classifier(**ONLINE), Y3)
    copy = pickle.loads(pickle.dumps(model))
    for one in (model, copy):
        one.partial_fit(A, Y3)
    np.testing.assert_array_equal(copy.coef_, model.coef_)


def test_the_norm_is_measured_again_in_time():
    """In float32 it would drift away from the weights it was followed from, step by step."""
    model = classifier(learning_rate="constant", eta0=0.5, alpha=1e-3, shuffle=False, fit_intercept=False)
    rows = A.astype(np.float32)
    for _ in range(60):
        learned = [model.partial_fit(rows[[i]], Y2[[i]], classes=[0, 1]).loss_curve_[-1] for i in range(N)]
    assert np.isfinite(learned).all()
    assert model._state.sum_squares == pytest.approx((model.coef_.astype(float) ** 2).sum(), rel=1e-5)


def test_a_penalty_switched_on_later_is_of_the_weights_there_are():
    model = learn(classifier(penalty=None, **ONLINE), Y2)
    W = model.coef_.copy()
    scores = A[[0]] @ W[0] + model.intercept_
    model.set_params(penalty="l2").partial_fit(A[[0]], Y2[[0]])
    loss = np.logaddexp(0, -(2 * Y2[0] - 1) * scores[0])
    assert model.loss_curve_[-1] == pytest.approx(loss + 0.005 * (W**2).sum())


@pytest.mark.parametrize("scale", [1e38, 1e200])
def test_a_weight_beyond_floating_point_is_noticed_at_once(scale):
    row = sp.csr_array((np.array([scale], np.float32 if scale < 1e39 else np.float64), [3], [0, 1]), shape=(1, D))
    model = regressor(learning_rate="constant", eta0=scale, shuffle=False)
    with pytest.raises(ValueError, match="a weight is not finite"):
        model.partial_fit(row, [1e10])


def test_parameters_are_checked_again_when_they_change():
    model = learn(classifier(**ONLINE), Y2)
    for name, bad in (("alpha", -1.0), ("alpha", True), ("shuffle", "x"), ("loss", "no"), ("batch_size", 1.0)):
        good = getattr(model, name)
        setattr(model, name, bad)
        for _ in range(2):
            with pytest.raises(ValueError, match=name):
                model.partial_fit(A[[0]], Y2[[0]])
        setattr(model, name, good)
        model.partial_fit(A[[0]], Y2[[0]])
    model.callbacks = [print]
    model.callbacks[0] = "x"
    with pytest.raises(ValueError, match="callbacks"):
        model.partial_fit(A[[0]], Y2[[0]])


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_labels_are_looked_up_among_the_classes(classes):
    """64-bit integers by code of our own: like other numbers, and the first stranger is named."""
    known, codes = 10 * np.arange(classes) - 20, RNG.integers(0, classes, 50)
    for labels in (known[codes], np.repeat(known[codes], 2)[::2], known[codes].astype(np.int32), known[codes] * 1.0):
        np.testing.assert_array_equal(encode_known(labels, known), codes)
    largest = np.iinfo(np.int64)
    for stranger in (*(known - 1), *(known + 1), largest.min, largest.max):
        labels = known[codes]
        labels[[7, 9]] = stranger
        for bad in (labels, labels.astype(object)):
            with pytest.raises(ValueError, match=rf"label .*{stranger}.* at row 7, which is not among the classes"):
                encode_known(bad, known)


LONG = ["i4", "i8", "f4", "f8", ">i4", ">f8"]
KINDS = ["u1", "i1", "i2", "u8", "f2", *LONG]


@pytest.mark.parametrize(
    ("kind", "values"),
    [("?", (0, 1)), *product(KINDS, [(0, 1), (1, 100), (0, 1, 2)]), *product(LONG, [(0, 10**6), (-(10**6), 0, 10**6)])],
)
def test_labels_are_told_apart(kind, values):
    """Two values by code of our own, for the commonest types; whole ones, or the first that is not is named."""
    for n in (2, 3, 70, 1000):
        labels = np.asarray(values, kind)[np.r_[RNG.integers(0, len(values), n), : len(values)]]
        for y in (labels, labels[::-1], np.repeat(labels, 2)[::2], labels[:, None][:, 0]):
            classes, codes = encode_targets(y, y.size)
            expected, inverse = np.unique(y, return_inverse=True)
            np.testing.assert_array_equal(classes, expected)
            assert classes.dtype == y.dtype.newbyteorder("=")
            np.testing.assert_array_equal(codes, inverse)
        if labels.dtype.kind == "f":
            for bad, message in ((np.nan, "contains NaN at position 2"), (np.inf, "infinity at position 2"),
                                 (0.5, r"continuous, 0\.5 for example")):  # fmt: skip
                for y in (labels.copy(), np.full_like(labels, 7)):
                    y[2] = bad
                    with pytest.raises(ValueError, match=message):
                        encode_targets(y, y.size)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64, np.float32, np.float64])
def test_a_third_label_is_found_anywhere(kind):
    for n in (1, 2, 3, 16, 70):
        for place in range(n):
            y = (np.arange(n) % 2).astype(kind)
            y[place] = 7
            y.flags.writeable = False
            for found, expected in zip(encode_targets(y, n), np.unique(y, return_inverse=True), strict=True):
                np.testing.assert_array_equal(found, expected)
    zeros = np.zeros(5, np.float32)
    zeros[3] = -0.0
    assert encode_targets(zeros, 5)[0].tolist() == [0]
    far = np.array([2**63 - 1, 2**63 - 2, 2**63 - 1])
    assert encode_targets(far, 3)[0].tolist() == [2**63 - 2, 2**63 - 1]


# --- threads


@pytest.mark.parametrize("n_jobs", [2, 3, -1])
@pytest.mark.parametrize("y", [Y2, Y3])
def test_scores_are_the_same_on_any_number_of_threads(n_jobs, y, monkeypatch):
    monkeypatch.setattr(fastsgd._scores, "NONZEROS_PER_SLICE", 20)
    model = classifier(**ONLINE).fit(A, y)
    alone = model.decision_function(A)
    np.testing.assert_array_equal(model.set_params(n_jobs=n_jobs).decision_function(A), alone)


def test_how_many_threads(monkeypatch):
    monkeypatch.setattr(_threads, "available_cpus", lambda: 4)
    assert [_threads.count_threads(n) for n in (None, 1, 3, -1, -2, -9)] == [1, 1, 3, 4, 3, 1]
    with pytest.raises(ValueError, match="n_jobs == 0"):
        classifier(n_jobs=0).fit(A, Y2).predict(A)


def test_an_error_in_a_thread_ends_all_and_is_raised():
    done = []

    def work(i):
        done.append(i)
        if i == 5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _threads.for_each(work, range(100_000), 3)
    assert len(done) < 100_000
    _threads.for_each(done.append, range(7), 2)
    assert sorted(done[-7:]) == list(range(7))
