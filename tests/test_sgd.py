"""The kernels, through the estimators: against the reference, and their digits."""

from itertools import product

import numpy as np
import pytest
from common import (
    ALPHA,
    CASES,
    LAYOUTS,
    PENALTIES,
    PRECISION,
    SCHEDULES,
    assert_close,
    assert_identical,
    assert_same_model,
    compare,
    estimator,
    lay_out,
    make_data,
    solution,
    train_reference,
)

import fastsgd


def settings(schedule, loss="hinge"):
    """Such that each schedule shows its features and no loss blows up."""
    grows = loss.startswith("squared") or loss == "modified_huber"  # with the cube of the residual under pa2
    eta0 = {"pa1": 0.5, "pa2": 0.01 if grows else 0.1}.get(schedule, 0.1)
    adaptive = {"tol": 10.0, "n_iter_no_change": 1, "max_iter": 20}  # every epoch but the first divides eta0
    return {"learning_rate": schedule, "eta0": eta0, **(adaptive if schedule == "adaptive" else {})}


# Against the reference


@pytest.mark.parametrize(("loss", "K"), CASES)
def test_every_loss_penalty_schedule_dtype_and_layout(loss, K):
    X, y, reals = make_data(K=4 if K == 4 else 2)
    for schedule, penalty in product(SCHEDULES, PENALTIES):
        options = {"penalty": penalty, "alpha": ALPHA, "intercept_decay": 0.5, **settings(schedule, loss)}
        compare(loss, X, reals if K == "real" else y, **options)


WIDTHS = (1, 16, 63, 64, 70, 130, 300)


@pytest.mark.parametrize(("d", "K"), [*product(WIDTHS, (2, 3, 5, 8)), (7, 65), (70, 130)])
def test_long_rows_and_many_outputs(d, K):
    """Around the sizes at which vector kernels begin and leave remainders, in columns and in outputs."""
    X, y, _ = make_data(n=max(30, K + 5), d=d, K=K, zeros=0.1)
    for loss, penalty in product(["hinge"] if K == 2 else ["log_loss", "softmax"], PENALTIES):
        for average in (False, 20):
            options = {"penalty": penalty, "alpha": 0.02, "learning_rate": "invscaling", "average": average}
            expected = compare(loss, X, y, max_iter=2, **options)
    compare("hinge", X, y, penalty="l2", alpha=0.02, learning_rate="pa1", eta0=0.5, max_iter=2)
    for layout, dtype in product(LAYOUTS, PRECISION):
        A = lay_out(X, layout, dtype)
        model = estimator(loss, y, max_iter=2, **options).fit(A, y)
        scores = X @ expected.solution[0].T + expected.solution[1]
        assert_close(model.decision_function(A).reshape(len(y), -1), scores, PRECISION[dtype])


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("average", [True, 25, 119, 121])
def test_averaging(average, penalty):
    """The mean of the iterates from that step on; a start beyond the last step averages nothing."""
    X, y, reals = make_data(K=4)
    for schedule in ("constant", "optimal", "pa1"):
        options = {"penalty": penalty, "alpha": ALPHA, "average": average, **settings(schedule)}
        expected = compare("softmax", X, y, **options)
        assert expected.t == 121
        compare("squared_hinge", X, y, **options)
        compare("log_loss", X, (y == 1).astype(int), **options)
        compare("epsilon_insensitive", X, reals, **options)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("batch_size", [1, 3, 40, 1000])
def test_mini_batches(batch_size, penalty):
    X, y, reals = make_data(K=4)
    weights = np.random.default_rng(1).choice([0, 0.5, 1, 3], size=len(y))
    for schedule, average in product(("constant", "optimal", "invscaling", "pa2"), (False, True, 5)):
        options = {"penalty": penalty, "alpha": ALPHA, "average": average, "batch_size": batch_size}
        options |= {"max_iter": 6, **settings(schedule)}
        compare("softmax", X, y, **options)
        compare("hinge", X, y, sample_weight=weights, **options)
        compare("log_loss", X, (y == 1).astype(int), **options)
        compare("huber", X, reals, sample_weight=weights, **options)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("loss", "K"), [("hinge", 2), ("log_loss", 4), ("softmax", 4), ("squared_error", "real")])
def test_sample_weights(loss, K, penalty):
    X, y, reals = make_data(K=4 if K == 4 else 2)
    y = reals if K == "real" else y
    weights = np.random.default_rng(1).choice([0, 0.5, 1, 3], size=len(y))
    for schedule in SCHEDULES:
        options = {"penalty": penalty, "alpha": ALPHA, "sample_weight": weights, **settings(schedule, loss)}
        compare(loss, X, y, **options)
        compare(loss, X, y, average=True, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_rows_of_weight_zero_are_left_out(batch_size, layout):
    X, y, _ = make_data(K=3)
    weights = np.random.default_rng(1).choice([0.0, 1.0], size=len(y))
    options = {"penalty": "elasticnet", "average": 5, "learning_rate": "optimal", "batch_size": batch_size}
    weighted = estimator("log_loss", y, **options).fit(lay_out(X, layout), y, sample_weight=weights)
    kept = estimator("log_loss", y, **options).fit(lay_out(X[weights > 0], layout), y[weights > 0])
    assert_identical(weighted, kept)


def test_class_weights_multiply_sample_weights():
    X, y, _ = make_data(K=3)
    weights = np.random.default_rng(1).uniform(size=len(y))
    labels = np.array(["b", "a", "c"])[y]
    balanced = len(y) / (3 * np.bincount(y))
    for class_weight, factors in (("balanced", balanced), ({"a": 2, "b": 0.5, "c": 0}, [0.5, 2, 0])):
        for loss in ("hinge", "softmax"):
            one = estimator(loss, y, class_weight=class_weight).fit(X, labels, sample_weight=weights)
            other = estimator(loss, y).fit(X, labels, sample_weight=weights * np.array(factors)[y])
            assert_identical(one, other)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("K", [2, 4])
def test_soft_targets(K, penalty):
    """A matrix of probabilities of the classes; two of them train one output, that of the second."""
    X, y, _ = make_data(K=K)
    P = np.random.default_rng(1).dirichlet(np.ones(K), size=len(y)).astype(np.float32).astype(np.float64)
    P[:K] = np.eye(K)
    P[:, 0] = 1 - P[:, 1:].sum(axis=1)
    loss, T = ("softmax", P) if K > 2 else ("log_loss", 2 * P[:, 1:] - 1)
    for schedule, average, batch_size in product(SCHEDULES, (False, 10), (1, 6)):
        options = {"penalty": penalty, "alpha": ALPHA, "average": average, "batch_size": batch_size}
        options |= settings(schedule)
        expected = train_reference(loss, X, T, **options)
        for dtype, layout in product(PRECISION, LAYOUTS):
            model = estimator("softmax", y, **options).fit(lay_out(X, layout, dtype), P)
            assert_same_model(model, expected, PRECISION[dtype], f"{dtype} {layout} {options}")


def test_one_hot_targets_are_the_classes():
    X, y, _ = make_data(K=3)
    assert_identical(estimator("softmax", y).fit(X, np.eye(3)[y]), estimator("softmax", y).fit(X, y))


@pytest.mark.parametrize("factor", [1e-5, 0.3, 0.999, 1, 1.001, 50])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_strong_l2(factor, batch_size):
    """The scale in front of the weights gets tiny, or 0 in one step, and is folded into them; the average survives."""
    X, y, _ = make_data(K=3)
    for penalty, average in product(("l2", "elasticnet"), (False, True, 50)):
        options = {"penalty": penalty, "alpha": factor / 0.1, "l1_ratio": 0.01, "average": average}
        options |= {"learning_rate": "constant", "batch_size": batch_size}
        compare("log_loss", X, y, **options)
        compare("hinge", X, (y == 1).astype(int), **options)


def test_scale_is_folded_in_the_middle_of_a_sparse_run():
    """Features that are absent while the scale crosses the threshold keep their share of it."""
    X, y, _ = make_data(n=200, d=30, zeros=0.9)
    X[:50, 15:] = X[50:, :15] = 0
    for average in (False, True, 90):
        compare("log_loss", X, y, penalty="l2", alpha=0.8, learning_rate="constant", average=average, max_iter=2)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_stopping(penalty):
    """The objective has to fall to `tol` below the best; 'adaptive' then divides eta0 by 5, the others end."""
    X, y, _ = make_data()
    for schedule, weights in product(("constant", "adaptive", "pa1"), (None, np.linspace(0, 2, len(y)))):
        options = {"penalty": penalty, "alpha": 0.01, "learning_rate": schedule, "eta0": 1.0, "tol": 1e-3}
        options |= {"n_iter_no_change": 3, "max_iter": 500}
        expected = compare("log_loss", X, y, sample_weight=weights, **options)
        assert 4 < len(expected.loss_curve) < 500


@pytest.mark.parametrize("size", [0.0, 1e-3, 5.0, 40.0, 600.0])
@pytest.mark.parametrize("side", [1, -1, 0])
def test_the_sum_of_many_logistic_losses_keeps_its_digits(size, side):
    n = 5000
    random = np.random.default_rng(0)
    y = random.integers(0, 2, n)
    margins = size * random.uniform(0.9, 1, n) * (side or random.choice([-1, 1], n))
    z = margins * (2 * y - 1)
    still = {"learning_rate": "constant", "eta0": 1e-290, "penalty": None, "fit_intercept": False}
    model = estimator("log_loss", y, **still | {"max_iter": 1}).fit(z[:, None], y, coef_init=[[1.0]])
    losses = np.log1p(np.exp(-np.abs(margins))) + np.maximum(0, -margins)
    assert model.loss_curve_ == pytest.approx([losses.mean()], rel=1e-13)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_derivatives_beyond_1e12_are_cut_off_with_a_warning(layout):
    X, _, y = make_data()
    y = y * 1e13
    expected = train_reference("squared_error", X, y, eta0=1e-3, max_iter=1)
    with pytest.warns(UserWarning, match="derivatives exceeded 1e12"):
        model = estimator("squared_error", y, eta0=1e-3, max_iter=1).fit(lay_out(X, layout), y)
    assert_same_model(model, expected, 1e-10)


@pytest.mark.parametrize("schedule", ["pa1", "pa2"])
def test_passive_aggressive_steps_on_rows_of_zeros(schedule):
    """pa1 takes no step on them; pa2 moves the intercept, as its step size is finite."""
    X, y, _ = make_data(K=3)
    X[[0, 5, 17]] = 0
    for penalty, loss in product(PENALTIES, ("hinge", "softmax")):
        compare(loss, X, y, learning_rate=schedule, eta0=0.5, penalty=penalty, alpha=ALPHA)
    model = estimator("hinge", y, learning_rate=schedule, max_iter=1).fit([[0.0], [0.0]], [1, 0])
    assert np.any(model.intercept_ != 0) == (schedule == "pa2")


@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e15])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_passive_aggressive_does_not_depend_on_the_unit_of_float32_features(scale, layout):
    """Without an intercept a step L / ||x||^2 repairs the loss whatever the unit of x: sums are of doubles."""
    X, y, _ = make_data(d=3)
    options = {"learning_rate": "pa1", "eta0": 1e10, "fit_intercept": False, "penalty": None}
    expected = train_reference("hinge", X, y, **options)
    model = estimator("hinge", y, **options).fit(lay_out(X * scale, layout, np.float32), y)
    assert_close(model.decision_function(lay_out(X * scale, layout, np.float32)), X @ expected.W[0], 1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_continuing_from_given_coefficients(layout):
    X, y, _ = make_data(K=3)
    W, b = np.random.default_rng(2).normal(size=(3, X.shape[1])), np.array([0.3, -0.2, 0.1])
    for penalty, average in product(PENALTIES, (False, True)):
        options = {"penalty": penalty, "alpha": ALPHA, "average": average, "max_iter": 1}
        expected = train_reference("softmax", X, y, start=(W, b), **options)
        model = estimator("softmax", y, learning_rate="constant", **options)
        model.fit(lay_out(X, layout), y, coef_init=W, intercept_init=b)
        assert_same_model(model, expected, 1e-10)


def test_without_an_intercept():
    X, y, _ = make_data(K=3)
    for loss in ("hinge", "softmax"):
        expected = compare(loss, X, y, fit_intercept=False, penalty="l2", average=True)
        assert not expected.b.any()


# l1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_l1_reaches_rare_features_at_the_end(layout):
    """A feature of the first row only gets the penalty of all steps, in the end."""
    X = np.array([[1.0, 1.0], *[[0.0, 1.0]] * 9])
    options = {"penalty": "l1", "alpha": 0.1, "learning_rate": "constant", "eta0": 0.5, "fit_intercept": False}
    y = np.ones(10)
    for n, expected in ((1, 0.45), (4, 0.3), (9, 0.05), (10, 0.0)):
        model = estimator("epsilon_insensitive", y, epsilon=0, max_iter=1, **options).fit(lay_out(X[:n], layout), y[:n])
        # The first step gives it eta = 0.5, and each of the n takes eta alpha = 0.05.
        assert model.coef_[0] == pytest.approx(expected, abs=1e-15)


def test_strong_l1_gives_exact_zeros_and_never_changes_a_sign():
    X, y, _ = make_data(n=200, d=20, K=3)
    for layout in LAYOUTS:
        model = estimator("log_loss", y, penalty="l1", alpha=0.01, learning_rate="constant").fit(lay_out(X, layout), y)
        zeros = model.coef_ == 0
        assert 0.1 < zeros.mean() < 1
        assert not np.signbit(model.coef_[zeros]).any()
        crushed = estimator("log_loss", y, penalty="l1", alpha=1e6, learning_rate="constant")
        assert not crushed.fit(lay_out(X, layout), y).coef_.any()


# Digits


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight", [None, 1, 2.5])
def test_a_step_of_log_loss_has_every_digit_of_sigma(label, dtype, weight):
    """Training has it out of a table as far as scores of 256, in steps of 1 / 8 or, of float32, 1 / 16."""
    ends = np.array([256, -256, 255.9375, -255.9375, 255.96875], dtype)
    between = np.nextafter(ends, dtype(0))
    scores = np.concatenate([np.linspace(-50, 50, 3203), np.linspace(-280, 280, 1203), between, ends]).astype(dtype)
    model = fastsgd.SGDClassifier("log_loss", penalty=None, learning_rate="constant", eta0=1)
    model.partial_fit(np.zeros((1, 1), dtype), [0], classes=[0, 1])
    # In float32 what is below 1e-30 may count as nothing.
    tolerance, least = (1e-15, 0) if dtype == np.float64 else (2e-7, 2e-30)
    for z in scores.astype(float):
        model.coef_, model.intercept_ = np.zeros((1, 1), dtype), np.array([z], dtype)
        model.partial_fit(np.ones((1, 1), dtype), [label], sample_weight=weight and [weight])
        m = z if label else -z
        exact = 1 / (1 + np.exp(m)) if m < 0 else np.exp(-m) / (1 + np.exp(-m))
        assert model.coef_.dtype == dtype
        moved, loss = abs(float(model.coef_[0, 0])) / (weight or 1), np.logaddexp(0, -m)
        assert abs(moved - exact) <= tolerance * exact + least, f"at {z}"
        assert abs(model.loss_curve_[-1] - loss) <= max(1e-14, tolerance) * loss + least, f"at {z}"


def test_the_norm_is_followed_beside_a_large_intercept():
    """By w . x, of which a score in float32 would have few digits."""
    X = (1e-3 * np.random.default_rng(0).normal(size=(20_000, 5))).astype(np.float32)
    options = {"alpha": 1e-3, "learning_rate": "constant", "eta0": 0.01, "max_iter": 1, "tol": None, "shuffle": False}
    curves = [
        fastsgd.SGDClassifier("log_loss", **options).fit(X.astype(dtype), np.arange(len(X)) % 2, intercept_init=[1e4])
        for dtype in (np.float32, np.float64)
    ]
    single, double = (model._state.sum_squares for model in curves)
    assert_close(single, double, 1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("K", [2, 4])
def test_the_mean_loss_of_rows_of_weight_1_and_of_others(dtype, batch_size, K):
    random, n = np.random.default_rng(0), 50
    X, y = random.normal(size=(n, 1)).astype(dtype), np.arange(n) % K
    weights = random.choice([1, 0.25, 3, 1e-20, 0], n)
    coef = 9 * random.normal(size=(1 if K == 2 else K, 1))
    model = fastsgd.SGDClassifier(
        "log_loss", penalty=None, learning_rate="constant", eta0=1e-300, max_iter=1, tol=None, batch_size=batch_size
    ).fit(X, y, sample_weight=weights, coef_init=coef)
    assert_close(model.coef_, coef.astype(dtype), 0)
    signs = (2 * y - 1)[:, np.newaxis] if K == 2 else np.where(y[:, np.newaxis] == np.arange(K), 1, -1)
    losses = np.logaddexp(0, -signs * (X @ coef.astype(dtype).T).astype(float)).sum(axis=1)
    assert_close(model.loss_curve_[0], np.average(losses, weights=weights), 1e-6 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_step_that_rounding_takes_is_not_averaged(layout):
    X, y = np.ones((10_000, 1), np.float32), np.full(10_000, 1.05, np.float32)
    options = {"learning_rate": "constant", "eta0": 1e-6, "penalty": None, "fit_intercept": False, "average": True}
    model = fastsgd.SGDRegressor(max_iter=1, tol=None, **options).fit(
        lay_out(X, layout, np.float32), y, coef_init=[1.0]
    )
    assert model.coef_[0] == 1


def test_the_average_of_a_shrinking_scale_keeps_its_digits():
    X, y, _ = make_data(n=1000)
    options = {"learning_rate": "constant", "eta0": 0.01, "alpha": 0.05, "average": True, "max_iter": 40, "tol": None}
    single, double = (
        fastsgd.SGDClassifier("log_loss", random_state=0, **options).fit(X.astype(dtype), y)
        for dtype in (np.float32, np.float64)
    )
    assert_close(solution(single), solution(double), 1e-5)
