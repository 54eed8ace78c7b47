"""Small data and helpers of the tests of the estimators."""

import numpy as np
import scipy.sparse as sp

from fastsgd import Perceptron, SGDClassifier, SGDRegressor

N, D = 120, 6
RNG = np.random.default_rng(5)
X = RNG.normal(size=(N, D)) * (RNG.random((N, D)) < 0.7)
NOISE = RNG.normal(size=N)
Y = (X @ np.arange(D) + NOISE > 0).astype(int)
Y3 = np.digitize(X @ np.arange(D) + NOISE, [-2, 2])
T = X @ np.arange(D) + 0.1 * NOISE + 3
WEIGHTS = RNG.random(N) + 0.1
LAYOUTS = {"dense": np.asarray, "csr": sp.csr_array}
ALL = [SGDClassifier, SGDRegressor, Perceptron]


def classifier(loss="log_loss", **parameters):
    return SGDClassifier(loss, **{"max_iter": 5, "tol": None, "random_state": 0, **parameters})


def regressor(**parameters):
    return SGDRegressor(**{"max_iter": 5, "tol": None, "random_state": 0, **parameters})


def make(kind, **parameters):
    return kind(**{"max_iter": 5, "tol": None, "random_state": 0, **parameters})


def target(kind):
    return T if kind is SGDRegressor else Y3


def same(a, b):
    """Equal bit for bit, in what they are and in what they predict."""
    for name in ("coef_", "intercept_", "n_iter_", "t_", "loss_curve_", "n_features_in_", "classes_"):
        assert hasattr(a, name) == hasattr(b, name)
        if hasattr(a, name):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.coef_.dtype == b.coef_.dtype
    predicted = a.predict(X), b.predict(X)
    np.testing.assert_array_equal(*predicted)
    assert predicted[0].dtype == predicted[1].dtype
