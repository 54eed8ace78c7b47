"""The state that training carries on: switched off, tampered with, named columns, errors between processes."""

import itertools
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from small_data import Y3, X, Y, classifier

import fastsgd
from fastsgd import _states
from fastsgd.io import load_archive, save_archive


@pytest.mark.parametrize("then", [{"penalty": None}, {"penalty": "l2"}, {"average": False}])
def test_what_is_switched_off_leaves_no_trace(then):
    """Training goes on as from the coefficients alone, with the step number reached."""
    shared = {"shuffle": False, "learning_rate": "constant", "alpha": 0.01, "average": False}
    first = {"average": True, "penalty": "l2"} if "average" in then else {"penalty": "l1"}
    model = classifier(**{**shared, **first}).partial_fit(X, Y, classes=[0, 1])
    plain = classifier(**{**shared, **first, **then})
    start = model._state.weights.copy(), model._state.bias.copy()
    plain.set_params(max_iter=1).fit(X, Y, coef_init=start[0], intercept_init=start[1])
    model.set_params(**then).partial_fit(X, Y)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    np.testing.assert_array_equal(model.intercept_, plain.intercept_)


@pytest.mark.parametrize("name", ["weights", "average", "received"])
def test_model_file_whose_arrays_do_not_fit_is_refused(name, tmp_path):
    path = tmp_path / "model.npz"
    model = classifier(penalty="l1", average=True).fit(sp.csr_array(X), Y3)
    header, arrays = model.to_archive()
    arrays[f"state.{name}"] = arrays[f"state.{name}"][:-1]
    save_archive(path, header, arrays)
    with pytest.raises(ValueError, match="holds no model of this version"):
        fastsgd.load(path)
    assert load_archive(path)


def test_state_that_does_not_fit_never_reaches_the_kernel():
    model = classifier().fit(sp.csr_array(X), Y3)
    model.classes_ = np.arange(100)
    with pytest.raises(ValueError, match="state does not fit"):
        model.partial_fit(sp.csr_array(X), np.arange(len(X)) % 100)
    model = classifier("softmax").fit(X, Y3)
    model._state.weights = model._state.weights[:-3]
    with pytest.raises(ValueError, match="state does not fit"):
        model.partial_fit(X, Y3)


@pytest.mark.parametrize(
    ("optimizer", "average"), [("sgd", False), ("sgd", True), ("normalized", False), ("ftrl", False)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_is_found_where_training_was(dtype, optimizer, average):
    outputs, features = 3, 10
    for where, bad in itertools.product(("weights", "average", "bias", "average_bias"), (np.nan, -np.inf)):
        for at in range(outputs):
            state = _states.new_state(outputs, features, np.dtype(dtype), True, optimizer)
            state.average, state.average_bias, state.averaged = np.zeros_like(state.weights), np.zeros(outputs), average
            assert _states.is_finite(state, None)
            array = getattr(state, where)
            column = at if array.size == outputs else 7 * array.size // features + at
            array[column] = bad
            counts = where.startswith("average") == average or (average and where == "weights")
            assert _states.is_finite(state, None) != counts
            assert _states.is_finite(state, np.array([2, 7, 2], np.int32)) != counts
            assert _states.is_finite(state, np.array([2, 6])) != (counts and array.size == outputs)


def test_errors_travel_between_processes():
    with pytest.raises(fastsgd.NotFittedError) as caught:
        classifier().predict(X)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, fastsgd.NotFittedError)
    assert again.args == caught.value.args
