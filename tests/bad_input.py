"""Data and helpers of the tests of bad and of unusual input."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from fastsgd import CSR, Perceptron, SGDClassifier, SGDRegressor

RNG = np.random.default_rng(7)
N, D = 40, 5
X = RNG.integers(-4, 5, (N, D)) / 4.0  # exact in float16
X[::3, 1] = 0
Y = (X @ RNG.normal(size=D) > 0).astype(int)
Y3 = np.digitize(X @ RNG.normal(size=D), [-0.5, 0.5])
T = X @ RNG.normal(size=D) + 1
ALL = [SGDClassifier, SGDRegressor, Perceptron]


def classifier(**parameters):
    return SGDClassifier(**{"max_iter": 3, "tol": None, "random_state": 0, "intercept_decay": 1.0, **parameters})


def regressor(**parameters):
    return SGDRegressor(**{"max_iter": 3, "tol": None, "random_state": 0, "intercept_decay": 1.0, **parameters})


def parts(A):
    A = sp.csr_matrix(A)
    return A.data, A.indices, A.indptr


LAYOUTS = {"dense": np.ascontiguousarray, "scipy": sp.csr_array, "CSR": lambda A: CSR(*parts(A), A.shape)}


def put(array, position, value):
    array = array.copy()
    array[position] = value
    return array


def refuses(how, bad, message, error=ValueError, model=None):
    """The method refuses X with that message, and a fitted model stays what it was."""
    model = model or (classifier() if how == "fit" else classifier().fit(X, Y))
    before = pickle.dumps(model)
    with pytest.raises(error, match=message):
        getattr(model, how)(*((bad, Y) if how in ("fit", "partial_fit", "score") else (bad,)))
    assert pickle.dumps(model) == before


def run(code):
    """Exit status and output of Python code in a process of its own: it may crash."""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr
