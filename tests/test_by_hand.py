"""A few steps of each kind, calculated by hand."""

import numpy as np
import pytest
from common import LAYOUTS, assert_close, estimator, lay_out, solution

from fastsgd import Perceptron, SGDClassifier, SGDRegressor


@pytest.mark.parametrize("layout", LAYOUTS)
def test_full_batch_perceptron_by_hand(layout):
    """From W = 0 every row is a tie and counts; then the second row alone is wrong, twice; then none is."""
    X = np.array([[4.0, 0.0], [-2.0, 1.0], [-1.0, -1.0], [-4.0, -1.0]])
    y = np.array(["pro", "pro", "con", "con"])
    steps = [  # w1, w2, b after each step, and the mean loss before it
        (1.75, 0.75, 0.0, 0.0),  # mean of t x = ((4, 0) + (-2, 1) + (1, 1) + (4, 1)) / 4
        (1.25, 1.00, 0.25, 2.75 / 4),  # margin of row 2: -3.5 + 0.75; + (-2, 1) / 4, + 1 / 4
        (0.75, 1.25, 0.50, 1.25 / 4),  # -2.5 + 1 + 0.25
        (0.75, 1.25, 0.50, 0.0),  # -1.5 + 1.25 + 0.5 = 0.25 is right
    ]
    for n_steps in range(1, 5):
        model = Perceptron(batch_size=4, max_iter=n_steps, tol=None, shuffle=False, intercept_decay=1.0)
        model.fit(lay_out(X, layout), y)
        assert solution(model).tolist() == [list(steps[n_steps - 1][:3])]
        assert model.loss_curve_ == [step[3] for step in steps[:n_steps]]
    assert model.predict(X).tolist() == y.tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rosenblatt_perceptron_by_hand(layout):
    """(1, 0)+ is a tie: w = (1, 0), b = 1. (2, -1)- is wrong, z = 3: w = (-1, 1), b = 0. (1, 1)+ is a tie, z = 0."""
    X, y = lay_out(np.array([[1.0, 0.0], [2.0, -1.0], [1.0, 1.0]]), layout), [1, -1, 1]
    model = Perceptron(max_iter=1, tol=None, shuffle=False, intercept_decay=1.0).fit(X, y)
    assert solution(model).tolist() == [[0, 2, 1]]
    assert model.loss_curve_ == [1.0]  # (0 + 3 + 0) / 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mini_batch_of_logistic_regression_by_hand(layout):
    """At z = 0 dL/dz = -t / 2. Batch 1: ((1, 2)+ and (3, 0)-) / 2; batch 2: (2, 2)+ alone, again at z = 0."""
    X, y = lay_out(np.array([[1.0, 2.0], [3.0, 0.0], [2.0, 2.0]]), layout), [1, 0, 1]
    options = {"learning_rate": "constant", "eta0": 1.0, "penalty": None, "batch_size": 2, "shuffle": False}
    model = SGDClassifier("log_loss", max_iter=1, tol=None, intercept_decay=1.0, **options).fit(X, y)
    # -((1, 2) (-1/2) + (3, 0) (1/2)) / 2 = (-1/2, 1/2), b stays 0; then + (2, 2) / 2, b = 1/2
    assert solution(model).tolist() == [[0.5, 1.5, 0.5]]
    assert model.loss_curve_ == pytest.approx([np.log(2)], rel=1e-15)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_least_squares_with_l2_and_an_average_by_hand(layout):
    """eta = 1/2, alpha = 1/2: W is multiplied by 3/4, then moved by -(z - t) x / 2."""
    X, y = lay_out(np.array([[1.0], [2.0]]), layout), [2.0, 1.0]
    options = {"learning_rate": "constant", "eta0": 0.5, "alpha": 0.5, "fit_intercept": False, "shuffle": False}
    last = SGDRegressor(max_iter=1, tol=None, **options).fit(X, y)
    # w = 0 + 2 / 2 = 1; z = 2, w = 3/4 - (2 - 1) 2 / 2 = -1/4
    assert last.coef_.tolist() == [-0.25]
    # (2^2 / 2 + 0 + (2 - 1)^2 / 2 + (1/2) 1^2 / 2) / 2
    assert last.loss_curve_ == [(2 + 0.5 + 0.25) / 2]
    assert SGDRegressor(max_iter=1, tol=None, average=True, **options).fit(X, y).coef_.tolist() == [(1 - 0.25) / 2]


def test_softmax_step_by_hand():
    """From W = 0 all p = 1/3: the class's row moves by 2/3 eta x, the others by -1/3 eta x."""
    model = estimator("softmax", np.array([1]), penalty=None, learning_rate="constant", eta0=3.0, max_iter=1)
    model.partial_fit([[1.0, 2.0]], [1], classes=[0, 1, 2])
    assert_close(solution(model), [[-1, -2, -1], [2, 4, 2], [-1, -2, -1]], 1e-15)


def test_crammer_singer_step_by_hand():
    """From W = 0 the first rival, class 0, violates the margin; then class 2 does, at equality: 1 + 0 - 1 >= 0."""
    model = estimator("multiclass_hinge", np.array([1]), penalty=None, learning_rate="constant", eta0=1.0)
    model.partial_fit([[1.0, 0.0]], [1], classes=[0, 1, 2])
    assert solution(model).tolist() == [[-1, 0, -1], [1, 0, 1], [0, 0, 0]]
    model.partial_fit([[0.0, 1.0]], [1])
    assert solution(model).tolist() == [[-1, 0, -1], [1, 1, 2], [0, -1, -1]]
    assert model.loss_curve_ == [1.0, 0.0]
