"""The order of the rows: reproducible, each row once an epoch, all orders equally likely."""

import numpy as np
import pytest
from common import LAYOUTS, assert_close, assert_identical, estimator, lay_out, make_data, solution


@pytest.mark.parametrize("layout", LAYOUTS)
def test_random_state_reproduces_the_order(layout):
    X, y, _ = make_data(K=3)
    A = lay_out(X, layout)

    def fit(random_state, shuffle=True):
        return solution(estimator("log_loss", y, shuffle=shuffle, random_state=random_state).fit(A, y))

    assert np.array_equal(fit(0), fit(0))
    assert np.array_equal(fit(np.random.RandomState(5)), fit(np.random.RandomState(5)))
    assert np.array_equal(fit(np.random.default_rng(5)), fit(np.random.default_rng(5)))
    assert not np.array_equal(fit(0), fit(1))
    assert not np.array_equal(fit(0), fit(0, shuffle=False))
    assert np.array_equal(fit(0, shuffle=False), fit(1, shuffle=False))


def visits(n, epochs, random_state, layout="dense"):
    """The steps at which each row was visited in the last epoch.

    Row i touches weight i alone; with eta_t = 1 / (2 t) and squared error, w_i <- w_i + (1 - w_i) / (2 t).
    """
    options = {"learning_rate": "invscaling", "power_t": 1.0, "eta0": 0.5, "penalty": None, "fit_intercept": False}
    A, y = lay_out(np.eye(n), layout), np.ones(n)
    model = estimator("squared_error", y, shuffle=True, random_state=random_state, max_iter=epochs, **options).fit(A, y)
    if epochs == 1:
        return 0.5 / model.coef_
    before = estimator("squared_error", y, shuffle=True, random_state=random_state, max_iter=epochs - 1, **options)
    before.fit(A, y)
    return 0.5 * (1 - before.coef_) / (model.coef_ - before.coef_)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [2, 3, 50, 1000])
def test_every_epoch_visits_each_row_once(n, layout):
    for random_state in range(3):
        orders = [visits(n, epochs, random_state, layout) for epochs in (1, 2, 3)]
        for epoch, steps in enumerate(orders):
            assert_close(np.sort(steps), epoch * n + np.arange(1, n + 1), 1e-9)
        if n > 3:
            assert np.abs(orders[0] - np.arange(1, n + 1)).max() > 1
            assert np.abs(orders[1] - n - orders[0]).max() > 1  # another order in every epoch


def test_all_orders_are_equally_likely():
    counts = {}
    for random_state in range(4800):
        order = tuple(np.rint(visits(4, 1, random_state)).astype(int))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 49.7  # chi^2, 23 degrees: one in a thousand


def test_shuffled_epochs_train_on_the_order_that_they_visit():
    """Not only the right rows, but each with its own target and weight."""
    X, y, _ = make_data(n=9, K=3)
    weights = np.linspace(0.5, 2, 9)
    order = np.argsort(visits(9, 1, 7))
    shuffled = estimator("softmax", y, shuffle=True, random_state=7, max_iter=1).fit(X, y, sample_weight=weights)
    sorted_by_hand = estimator("softmax", y, max_iter=1).fit(X[order], y[order], sample_weight=weights[order])
    assert_identical(shuffled, sorted_by_hand)
