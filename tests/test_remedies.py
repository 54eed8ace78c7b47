"""Columns in units that plain steps diverge on: what says so, and what it names works on the same data."""

import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from small_data import LAYOUTS

from fastsgd import MLPRegressor, Perceptron, SGDClassifier, SGDRegressor

RNG = np.random.default_rng(8)
UNITS = 10.0 ** np.array([-4, 3, 25, 0, -20, 8])
PLAIN = RNG.normal(size=(400, 6)) + 0.5
Y = PLAIN @ [3, -2, 4, 0.5, 1, -3] + 0.1 * RNG.normal(size=400)
RAW = (PLAIN * UNITS).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [SGDRegressor, SGDClassifier])
def test_the_error_names_what_works(kind, layout):
    rows, y = LAYOUTS[layout](RAW), Y if kind is SGDRegressor else (Y > 0).astype(int)
    options = {"loss": "squared_error" if kind is SGDRegressor else "squared_hinge", "max_iter": 20, "tol": None}
    with pytest.raises(ValueError, match=r"epoch #1: .*tune_eta0=True.*optimizer='normalized'"):
        kind(**options, random_state=0).fit(rows, y)
    model = kind(**options, random_state=0, optimizer="normalized").fit(rows, y)
    assert model.score(rows, y) > (0.99 if kind is SGDRegressor else 0.95)
    assert model.coef_.dtype == np.float32


def test_the_warning_names_what_works():
    rows = PLAIN * [1, 30, 300, 1, 1, 1]
    with pytest.warns(UserWarning, match=r"cut off.*Scale the features.*optimizer='normalized'"):
        SGDRegressor(max_iter=5, tol=None).fit(rows, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SGDRegressor(max_iter=5, tol=None, optimizer="normalized").fit(rows, Y).score(rows, Y) > 0.99


@pytest.mark.parametrize(
    ("model", "named", "not_named"),
    [
        (SGDRegressor(), "tune_eta0", "learning_rate_init"),
        (SGDRegressor(tune_eta0=True), "normalized", "tune_eta0"),
        (Perceptron(), "normalized", "tune_eta0"),
        (SGDRegressor(optimizer="adagrad"), "normalized", "tune_eta0|alpha"),
        (SGDRegressor(optimizer="normalized"), "Scale the targets", "tune_eta0|take|alpha"),
        (MLPRegressor(), "learning_rate_init", "optimizer|tune_eta0|eta0"),
    ],
)
def test_a_remedy_is_one_that_the_estimator_has(model, named, not_named):
    assert re.search(named, model._remedy())
    assert not re.search(not_named, model._remedy())


def test_a_networks_error():
    rows = sp.csr_array(RAW)
    with pytest.raises(ValueError, match=r"Scale the features .*learning_rate_init\.$"):
        MLPRegressor(random_state=0).fit(rows, Y)
