"""Every parameter of whole models against finite differences."""

from itertools import product

import numpy as np
import pytest
from common import JOINT, LAYOUTS, ONE_SCORE, REAL, lay_out, make_data

import fastsgd
from fastsgd import MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor, check_gradient
from fastsgd.core import network

X, Y, REALS = make_data(n=12, K=2, seed=1)
X4, Y4, _ = make_data(n=12, K=4, seed=2)
FIT = {"max_iter": 2, "tol": None, "random_state": 0}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss", [*ONE_SCORE, *JOINT])
def test_linear_models(loss, layout):
    for penalty, dtype in product((None, "l2", "elasticnet"), (np.float32, np.float64)):
        options = {"penalty": penalty, "alpha": 0.03, "learning_rate": "constant", "eta0": 0.02, **FIT}
        for data, y in ((X, Y), (X4, Y4)):
            model = SGDClassifier(loss, class_weight={0: 2.5}, **options).fit(lay_out(data, layout, dtype), y)
            assert check_gradient(model, lay_out(data, layout), y) < 1e-8
    if loss in REAL:
        model = SGDRegressor(loss, **options).fit(X, np.c_[REALS, REALS**2])
        assert check_gradient(model, lay_out(X, layout), np.c_[REALS, REALS**2]) < 1e-8


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", network.ACTIVATIONS)
def test_networks(activation, layout):
    data = (X, Y), (X4, Y4), (X4, np.eye(4, dtype=int)[Y4])
    for loss, (rows, y) in product(("log_loss", "hinge", "squared_error"), data):
        model = MLPClassifier((5,), activation, loss=loss, alpha=0.03, **FIT).fit(lay_out(rows, layout), y)
        assert check_gradient(model, lay_out(rows, layout), y) < 1e-8
    model = MLPRegressor(hidden_layer_sizes=(5,), activation=activation, alpha=3.0, **FIT).fit(X, REALS)
    assert check_gradient(model, lay_out(X, layout), REALS) < 1e-8


@pytest.mark.parametrize("wrong", ["bias", "weights"])
def test_an_error_in_the_kernel_is_found(wrong, monkeypatch):
    model, kernel = MLPClassifier((5,), "tanh", **FIT).fit(X4, Y4), network.train

    def train(loss, settings, state, *arguments):
        kernel(loss, settings, state, *arguments)
        getattr(state, wrong)[-1] += 0.01

    monkeypatch.setattr("fastsgd._team.network.train", train)
    assert check_gradient(model, X4, Y4) == pytest.approx(0.01, rel=1e-3)


def test_what_cannot_be_checked_is_told():
    with pytest.raises(fastsgd.NotFittedError):
        check_gradient(MLPClassifier(), X, Y)
    model = MLPClassifier((5,), **FIT).fit(X, Y)
    with pytest.raises(ValueError, match="features"):
        check_gradient(model, X[:, :3], Y)
    with pytest.raises(ValueError, match="not among the classes"):
        check_gradient(model, X, Y + 5)
    weights = [coef.copy() for coef in model.coefs_]
    check_gradient(model, X, Y)
    for now, before in zip(model.coefs_, weights, strict=True):
        np.testing.assert_array_equal(now, before)
