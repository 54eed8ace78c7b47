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


def test_targets_in_large_units_have_to_be_scaled_and_the_error_says_so():
    options = {"max_iter": 20, "tol": None, "random_state": 0}
    with pytest.raises(ValueError, match=r"optimizer='normalized'.*targets have to be scaled"):
        SGDRegressor(**options).fit(RAW, 1e6 * Y)
    model = SGDRegressor(**options, optimizer="normalized")
    assert model.fit(RAW, 1e6 * Y).score(RAW, 1e6 * Y) < 0.5
    assert model.fit(RAW, 1e6 * Y / np.std(1e6 * Y)).score(RAW, Y / np.std(Y)) > 0.99


def epochs_told(model, rows, y):
    """What `fit` raises or warns about, and how many passes had ended by then."""
    passes, told = [], []
    model.set_params(callbacks=[lambda epoch: passes.append(epoch.epoch)], max_iter=5, tol=None, random_state=0)

    def show(message, *_, **__):
        told.append((str(message), len(passes)))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        try:
            model.fit(rows, y)
        except ValueError as error:
            told.append((f"error: {error}", len(passes)))
    return told


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_most_derivatives_cut_off_are_an_error_within_the_epoch(layout, n_jobs):
    """Nothing is infinite, and scikit-learn's model would be as far off as its coefficients are long."""
    rows, y = LAYOUTS[layout](np.tile(PLAIN * [1, 30, 300, 1, 1, 1], (5, 1))), np.tile(Y, 5)
    for loss in ("squared_error", "squared_epsilon_insensitive"):
        [(said, passes)] = epochs_told(SGDRegressor(loss, n_jobs=n_jobs), rows, y)
        assert re.search(r"error: .*epoch #1: \d+ of 2000 derivatives.*cut off.*Scale the features.*'normalized'", said)
        assert passes == 0
    assert not epochs_told(SGDRegressor(optimizer="normalized", n_jobs=n_jobs), rows, y)
    [(said, passes)] = epochs_told(SGDRegressor(n_jobs=n_jobs), LAYOUTS[layout](np.tile(PLAIN, (5, 1))), 1e13 * y)
    assert re.match("Training diverges at epoch #1", said)  # it would get there, some day


def test_some_derivatives_cut_off_are_a_warning_within_the_epoch():
    """The model may be of use."""
    rows, y = PLAIN * 1e6, (Y > 0).astype(int)
    model = SGDClassifier("squared_hinge")
    [(said, passes)] = epochs_told(model, rows, y)
    assert re.search(r"epoch #1: \d+ of 400 derivatives.*cut off.*Scale the features.*optimizer='normalized'", said)
    assert passes == 0
    assert model.score(rows, y) > 0.9
    assert not epochs_told(SGDClassifier("squared_hinge", optimizer="normalized"), rows, y)


@pytest.mark.parametrize("loss", ["huber", "epsilon_insensitive", "log_loss", "hinge", "modified_huber", "softmax"])
def test_a_loss_far_beyond_that_of_no_weights_is_a_warning(loss):
    """Where derivatives are bounded nothing is cut off and nothing overflows."""
    cases = [(SGDClassifier, np.digitize(Y, [0, 3])), (SGDClassifier, (Y > 0).astype(int))]
    if loss in ("huber", "epsilon_insensitive"):
        cases.append((SGDRegressor, Y))
    for kind, y in cases:
        [(said, passes)] = epochs_told(kind(loss), PLAIN * 1e6, y)
        assert re.search("mean loss of the last pass is .*that of weights of 0 .*optimizer='normalized'", said)
        assert passes == 5
        assert not epochs_told(kind(loss), PLAIN, y)
        assert not epochs_told(kind(loss, optimizer="normalized"), PLAIN * 1e6, y)


@pytest.mark.parametrize("loss", ["huber", "epsilon_insensitive"])
def test_of_losses_that_grow_slowly_less_is_far(loss):
    """One raw column is enough for a model that is worse than none, and the loss grows only as fast as the error."""
    for scale, told in ((1, 0), (1e3, 1)):
        rows = PLAIN * [1, 1, scale, 1, 1, 1]
        said = epochs_told(SGDRegressor(loss, epsilon=1), rows, Y)
        assert len(said) == told, said
        assert all("optimizer='normalized'" in warning for warning, _ in said)


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


@pytest.mark.filterwarnings("ignore:Training diverges")  # in the first pass; then the error
def test_a_networks_error():
    rows = sp.csr_array(RAW)
    with pytest.raises(ValueError, match=r"Scale the features .*learning_rate_init\.$"):
        MLPRegressor(random_state=0).fit(rows, Y)
