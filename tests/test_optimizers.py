"""The kernels of the optimisers with a step for each weight: against the reference, and what their sources promise."""

from itertools import product

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp
from common import CASES, LAYOUTS, REAL, assert_close, compare, estimator, lay_out, make_data, solution

from fastsgd import SGDClassifier, SGDRegressor, losses

OPTIMIZERS = ("adagrad", "normalized", "ftrl", "adam")
STEPS = ({"learning_rate": "optimal"}, {"learning_rate": "constant", "eta0": 0.2})
PENALTIES = {"ftrl": (None, "l2", "l1", "elasticnet")}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("loss", "K"), CASES)
def test_every_loss_penalty_step_dtype_and_layout(loss, K, optimizer):
    X, y, reals = make_data(K=4 if K == 4 else 2)
    for steps, penalty in product(STEPS, PENALTIES.get(optimizer, (None, "l2"))):
        compare(loss, X, reals if K == "real" else y, optimizer=optimizer, penalty=penalty, alpha=0.3, **steps)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("d", "K"), [(1, 2), (64, 3), (300, 2), (600, 2), (70, 300), (300, 8)])
def test_long_rows_and_many_outputs(d, K, optimizer):
    X, y, _ = make_data(n=max(30, K + 5), d=d, K=K, zeros=0.1)
    loss = "log_loss" if K == 2 else "softmax"
    expected = compare(loss, X, y, optimizer=optimizer, penalty="l2", alpha=0.1, learning_rate="optimal", max_iter=2)
    for layout in LAYOUTS:
        A = lay_out(X, layout)
        model = estimator(loss, y, optimizer=optimizer, penalty="l2", alpha=0.1, learning_rate="optimal", max_iter=2)
        scores = X @ expected.solution[0].T + expected.solution[1]
        assert_close(model.fit(A, y).decision_function(A).reshape(len(y), -1), scores, 1e-10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 3, 40, 1000])
def test_mini_batches_and_weights(batch_size, optimizer):
    X, y, reals = make_data(K=4)
    weights = np.random.default_rng(1).choice([0, 0.5, 1, 3], size=len(y))
    for steps, penalty in product(STEPS, PENALTIES.get(optimizer, (None, "l2"))):
        options = {"optimizer": optimizer, "batch_size": batch_size, "penalty": penalty, "alpha": 0.3, **steps}
        compare("softmax", X, y, **options)
        compare("hinge", X, y, sample_weight=weights, **options)
        compare("log_loss", X, (y == 1).astype(int), sample_weight=weights, **options)
        compare("squared_error", X, reals, sample_weight=weights, **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_averages(batch_size, optimizer):
    X, y, reals = make_data(K=4)
    weights = np.random.default_rng(1).choice([0, 0.5, 1, 3], size=len(y))
    for steps, average in product(STEPS, (True, 5, 1000)):
        options = {"optimizer": optimizer, "batch_size": batch_size, "average": average, "penalty": "l2", **steps}
        for loss, target in (("softmax", y), ("log_loss", (y == 1).astype(int)), ("squared_error", reals)):
            compare(loss, X, target, sample_weight=weights, max_iter=2, **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 5])
def test_intercept(batch_size, optimizer):
    X, y, _ = make_data(K=3)
    for steps, target in product(STEPS, (y, (y == 1).astype(int))):
        options = {"optimizer": optimizer, "batch_size": batch_size, **steps}
        expected = compare("log_loss", X, target, fit_intercept=False, **options)
        assert not expected.b.any()
        compare("log_loss", X, target, intercept_decay=0.3, **options)
        assert not compare("log_loss", X, target, intercept_decay=0.0, **options).b.any()
    model = SGDClassifier(optimizer=optimizer, max_iter=2, tol=None, random_state=0)
    for loss in ("log_loss", "hinge"):
        dense, sparse = (solution(model.set_params(loss=loss).fit(lay_out(X, layout), y)) for layout in LAYOUTS[:2])
        assert_close(dense, sparse, 1e-12)  # 'auto' is 1 for both


# Importance weights (Karampatziakis, Langford 2011)

FOLLOWED = [name for name, loss in losses.LOSSES.items() if loss.followed]
SCORES = [-800.0, -30.0, -3.0, -0.4, 0.0, 0.7, 2.0, 40.0, 800.0]


def test_the_losses_that_are_followed():
    assert {"squared_error", "log_loss", "hinge"} <= set(FOLLOWED)
    assert not any(losses.LOSSES[name].joint for name in FOLLOWED)


@pytest.mark.parametrize("loss", FOLLOWED)
@pytest.mark.parametrize("z", SCORES)
@pytest.mark.parametrize("q", [1e-12, 0.05, 1.0, 40.0])
def test_a_row_of_weight_2_moves_its_score_as_the_row_twice(loss, z, q):
    """At fixed rates; and as the weight in ten parts, or in parts of another size."""
    kind, t = losses.LOSSES[loss], 1.0
    for parts in ([1.0, 1.0], [0.2] * 10, [1.5, 0.5]):
        score = z
        for part in parts:
            score += kind._follow(score, t, part, q)
        np.testing.assert_allclose(score, z + kind._follow(z, t, 2.0, q), rtol=1e-12, atol=1e-12)


def test_a_logistic_row_is_followed_from_a_hopeless_score():
    """Where e^m is next to nothing and e^D next to infinity: D + e^m (e^D - 1) = w at m = -690, w = 2e9."""
    moved = losses.LOSSES["log_loss"]._follow(-690.0, 1.0, 2e9, 1.0)
    assert moved == pytest.approx(690 + np.log(2e9 - 711), rel=1e-12)


def test_a_logistic_row_is_followed_to_all_digits():
    """D + e^m (e^D - 1) = q: by how much Newton's step would still move D, on short ways, by the table, beyond it."""
    random = np.random.default_rng(0)
    ends = [2.0**k - 4 + side for k in range(9) for side in (-1e-9, 0.0, 1e-9, 2.0**k / 64)]  # of w + m + e^m
    cases = [(m, c - m - np.exp(m)) for c in ends for m in (-3.5, -1.0, 0.5, 2.0)]
    cases += [(m, 0.1 * (1 + np.exp(m)) * (1 + side)) for m in (-4.0, 0.0, 5.0) for side in (-1e-12, 1e-12)]
    cases += zip(random.normal(0, 4, 300), 10 ** random.uniform(-5, 2, 300), strict=True)
    with mpmath.workprec(200):
        for m, q in cases:
            if q > 0:
                D, e = mpmath.mpf(losses.LOSSES["log_loss"]._follow(m, 1.0, 1.0, q)), mpmath.exp(mpmath.mpf(m))
                missing = (mpmath.mpf(q) - D - e * mpmath.expm1(D)) / (1 + e * mpmath.exp(D))
                assert abs(missing) <= 1e-13 * D, (m, q)


@pytest.mark.parametrize("loss", FOLLOWED)
@pytest.mark.parametrize("z", SCORES)
def test_small_weights_move_as_the_derivative_says(loss, z):
    kind, t, q, s = losses.LOSSES[loss], -1.0, 0.5, 1e-9
    moved, plain = kind._follow(z, t, s, q), -q * s * kind.gradient(z, t)
    np.testing.assert_allclose(moved, plain, rtol=1e-6, atol=1e-300)


@pytest.mark.parametrize("loss", FOLLOWED)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_huge_weight_does_not_overshoot(loss, layout):
    real = loss in REAL
    kind, parameters = (SGDRegressor, {"epsilon": float(loss == "huber")}) if real else (SGDClassifier, {})
    X = lay_out(np.array([[0.5, -2.0, 0.0, 3.0], [0.5, -2.0, 0.0, 3.0]]), layout)
    y = [-7.0, -7.0] if real else [-1, 1]
    for weight in (1.0, 1e3, 1e11):
        model = kind(loss, optimizer="normalized", penalty=None, shuffle=False, max_iter=1, tol=None, **parameters)
        model.set_params(learning_rate="constant", eta0=12.0, random_state=0)  # long enough to reach the target
        z = model.fit(X, y, sample_weight=[1e-9, weight]).predict(X)[1]
        if not real:
            z = model.decision_function(X)[1]
        target = 60.0 if loss == "log_loss" else -7.0 if real else 1.0
        assert abs(z) <= abs(target) * (1 + 1e-9)
        if weight == 1e11 and loss != "log_loss":
            np.testing.assert_allclose(z, target, rtol=1e-4)


# Promises


@pytest.mark.parametrize("layout", LAYOUTS)
def test_normalized_knows_no_units(layout):
    """Powers of two change no digit but the exponent."""
    X, y, reals = make_data(n=200, K=3)
    units = 2.0 ** np.random.default_rng(0).integers(-40, 40, X.shape[1])
    for kind, target in ((SGDClassifier("softmax"), y), (SGDClassifier("log_loss"), y == 1), (SGDRegressor(), reals)):
        model = kind.set_params(optimizer="normalized", max_iter=3, tol=None, random_state=0)
        plain = solution(model.fit(lay_out(X, layout), target))
        scaled = solution(model.fit(lay_out(X * units, layout), target)) * np.r_[units, 1]
        np.testing.assert_allclose(scaled, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_l1_of_ftrl_gives_zeros(layout):
    X, y, _ = make_data(n=300, d=40)
    zeros = []
    for alpha in (0.0, 0.3, 3.0, 1e4):
        model = SGDClassifier("log_loss", optimizer="ftrl", penalty="l1", alpha=alpha, max_iter=3, tol=None)
        model.set_params(random_state=0).fit(lay_out(X, layout), y)
        zeros.append(int((model.coef_ == 0).sum()))
    assert zeros[0] == 0 < zeros[1] < zeros[2] < zeros[3] == 40
    assert model.intercept_ != 0


@pytest.mark.parametrize("optimizer", ["adagrad", "ftrl"])
def test_ftrl_without_penalty_is_adagrad_with_beta(optimizer):
    """McMahan (2011): the same steps; here beta is 1 and delta next to nothing, so they differ as that says."""
    X, y, _ = make_data()
    model = SGDClassifier("log_loss", optimizer=optimizer, penalty=None, learning_rate="constant", eta0=0.3)
    model.set_params(max_iter=1, tol=None, shuffle=False).fit(X, y)
    w, b, G = np.zeros(X.shape[1]), 0.0, np.zeros(X.shape[1] + 1)
    for x, t in zip(X, 2 * y - 1, strict=True):
        g = -t / (1 + np.exp(t * (x @ w + b))) * np.r_[x, 1]
        G += g**2
        step = 0.3 * g / (np.sqrt(G) + (optimizer == "ftrl") + 1e-300)
        w, b = w - step[:-1], b - step[-1]
    np.testing.assert_allclose(solution(model)[0], np.r_[w, b], rtol=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_does_not_go_together(optimizer):
    X, y, _ = make_data()
    cases = [
        ({"learning_rate": "pa1", "eta0": 1.0}, "pa1"),
        ({"tune_eta0": True}, "tune_eta0"),
    ]
    if optimizer != "ftrl":
        cases += [({"penalty": "l1"}, "ftrl"), ({"penalty": "elasticnet"}, "ftrl")]
    for parameters, said in cases:
        with pytest.raises(ValueError, match=said):
            SGDClassifier(optimizer=optimizer, **parameters).fit(X, y)
    with pytest.raises(ValueError, match="optimizer"):
        SGDClassifier(optimizer="rmsprop").fit(X, y)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_and_rows_that_are_all_zero(dtype, layout, optimizer):
    X = np.zeros((6, 4))
    X[2:4, 1] = 1e-30, -1e30 if optimizer == "normalized" else -1e6
    for target in ([0, 1, 0, 1, 1, 0], [0, 1, 2, 1, 0, 2]):
        model = SGDClassifier("log_loss", optimizer=optimizer, max_iter=3, tol=None, random_state=0)
        model.fit(lay_out(X, layout, dtype), target)
        assert np.isfinite(model.coef_).all()
        assert not model.coef_[:, [0, 2, 3]].any()
        assert np.isfinite(model.decision_function(lay_out(X[:2], layout, dtype))).all()
    model.set_params(fit_intercept=False).fit(lay_out(np.zeros((6, 4)), layout, dtype), target)
    assert not model.coef_.any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_predicting_copies_no_weights(optimizer):
    rng = np.random.default_rng(0)
    X = sp.random_array((20, 5000), density=0.01, format="csr", rng=rng)
    y = np.arange(20) % 3
    model = SGDClassifier("log_loss", optimizer=optimizer, max_iter=2, tol=None, random_state=0).fit(X, y)
    assert np.shares_memory(model.coef_, model._state.weights)
    np.testing.assert_allclose(model.decision_function(X), X @ model.coef_.T + model.intercept_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        model.decision_function(X.toarray()), X @ model.coef_.T + model.intercept_, rtol=1e-9, atol=1e-12
    )


def test_normalized_by_batches_of_gradients_without_a_square():
    X, y = np.array([[1], [1], [1e-30], [1e-30]], np.float32), np.array([0, 0, 1, 1], np.float32)
    model = SGDRegressor(optimizer="normalized", batch_size=2, penalty=None, max_iter=1, tol=None)
    assert np.isfinite(model.set_params(shuffle=False).fit(X, y).coef_).all()
