"""The losses: against finite differences and their own definitions; shapes, types and errors."""

import re
import warnings

import numpy as np
import pytest

from fastsgd import SGDClassifier, check_gradient
from fastsgd.losses import LOSSES, get_loss, zero_one

JOINT = [name for name, loss in LOSSES.items() if loss.joint]
SIGN = [name for name, loss in LOSSES.items() if loss.targets == "sign"]
REAL = [name for name, loss in LOSSES.items() if loss.targets == "real"]
KINKS = {
    "hinge": [1],
    "squared_hinge": [1],
    "modified_huber": [1, -1],
    "perceptron": [0],
    "huber": [-0.1, 0.1],
    "epsilon_insensitive": [-0.1, 0.1],
    "squared_epsilon_insensitive": [-0.1, 0.1],
}  # in m = t z or r = z - t


def test_names_and_properties():
    assert set(SIGN) == {
        "log_loss", "hinge", "squared_hinge", "modified_huber", "perceptron", "logistic_squared_error",
    }  # fmt: skip
    assert set(REAL) == {"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"}
    assert set(JOINT) == {"softmax", "multiclass_hinge", "multiclass_perceptron"}
    assert set(LOSSES) == {*SIGN, *REAL, *JOINT}
    assert [name for name, loss in LOSSES.items() if not loss.convex] == ["logistic_squared_error"]


@pytest.mark.parametrize("name", LOSSES)
def test_docstring_has_the_formula(name):
    formulas = {
        "log_loss": "log(1 + e^-m)", "hinge": "max(0, 1 - m)", "squared_hinge": "max(0, 1 - m)^2",
        "modified_huber": "-4 m", "perceptron": "max(0, -m)", "logistic_squared_error": "(sigma(z) - u)^2 / 2",
        "squared_error": "r^2 / 2", "huber": "r^2 / 2 if |r| <= epsilon",
        "epsilon_insensitive": "max(0, |r| - epsilon)", "squared_epsilon_insensitive": "max(0, |r| - epsilon)^2",
        "softmax": "logsumexp(z) - z_y", "multiclass_hinge": "max(0, 1 + max_{k != y} z_k - z_y)",
        "multiclass_perceptron": "max(0, max_{k != y} z_k - z_y)",
    }  # fmt: skip
    assert LOSSES[name].__doc__.startswith(formulas[name]) or name == "modified_huber"
    assert formulas[name] in LOSSES[name].__doc__


# Finite differences


def points(name, largest, n=400, seed=0):
    """Scores and targets, no score near a kink of the loss."""
    rng = np.random.default_rng(seed)
    if name in JOINT:
        z, y = rng.uniform(-largest, largest, size=(n, 5)), rng.integers(5, size=n)
        rest = np.sort(np.where(np.arange(5) == y[:, None], -np.inf, z), axis=1)
        own = z[np.arange(n), y]
        # The rival's lead over the next, and over the class's own score with and without margin, are the kinks.
        gaps = np.c_[rest[:, -1] - rest[:, -2], np.abs(rest[:, -1] - own), np.abs(1 + rest[:, -1] - own)]
        keep = (gaps > 1e-3 * max(1, largest)).all(axis=1)
        return z[keep], y[keep]
    t = rng.choice([-1.0, 1.0], size=n) * (1 if name in SIGN else rng.uniform(0, largest, size=n))
    z = rng.uniform(-largest, largest, size=n)
    inner = t * z if name in SIGN else z - t
    keep = (np.abs(inner[:, None] - KINKS.get(name, [np.inf])) > 1e-3 * max(1, largest)).all(axis=1)
    return z[keep], t[keep]


@pytest.mark.parametrize("largest", [0.5, 5, 50, 1e4])
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_the_value(name, largest):
    z, t = points(name, largest)
    assert len(z) > 20
    assert check_gradient(name, z, t) < 1e-7
    assert check_gradient(LOSSES[name], z, t) == check_gradient(name, z, t)


@pytest.mark.parametrize("epsilon", [0, 1e-3, 0.5, 3])
@pytest.mark.parametrize("name", REAL[1:])
def test_gradient_at_other_thresholds(name, epsilon):
    r = np.linspace(-9.03, 9.03, 300)
    loss = get_loss(name, epsilon=epsilon)
    r = r[np.abs(np.abs(r) - epsilon) > 1e-3]
    assert check_gradient(loss, r + 2, np.full_like(r, 2)) < 1e-7


class Twisted:
    """A loss whose derivative is off by 1e-3 everywhere, or at one score, or in one column."""

    def __init__(self, loss, where):
        self.loss, self.value, self.where = loss, loss.value, where

    def gradient(self, z, t):
        g = self.loss.gradient(z, t)
        g[self.where] += 1e-3
        return g


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("where", [..., 7, (..., -1)])
def test_check_gradient_finds_an_error_of_a_thousandth(name, where):
    z, t = points(name, 0.9)
    found = check_gradient(Twisted(LOSSES[name], where), z, t)
    assert 1e-3 / 4 < found < 1.1e-3  # relative to derivatives up to 4


def test_check_gradient_finds_the_wrong_sign_and_factor():
    class Loss:
        value = staticmethod(LOSSES["log_loss"].value)

        def __init__(self, factor):
            self.factor = factor

        def gradient(self, z, t):
            return self.factor * LOSSES["log_loss"].gradient(z, t)

    z, t = points("log_loss", 5)
    assert check_gradient(Loss(1), z, t) < 1e-8
    assert check_gradient(Loss(-1), z, t) > 1
    assert check_gradient(Loss(1.001), z, t) > 9e-4


def test_check_gradient_refuses_what_it_cannot_check():
    with pytest.raises(ValueError, match="there are no scores"):
        check_gradient("hinge", [], [])
    with pytest.raises(ValueError, match="there is no loss 'hing'"):
        check_gradient("hing", [0.0], [1])
    with pytest.raises(ValueError, match="zero_one has derivative 0"):
        check_gradient("zero_one", [0.0], [1])


# Definitions


def test_derivative_of_a_confident_mistake_vanishes():
    """The reason for cross-entropy: at t = +1, z = -5 the squared error of a sigmoid hardly moves."""
    assert LOSSES["logistic_squared_error"].gradient(-5.0, 1) == pytest.approx(-0.0066, abs=5e-5)
    assert LOSSES["log_loss"].gradient(-5.0, 1) == pytest.approx(-0.9933, abs=5e-5)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.convex])
def test_convex_on_random_chords(name):
    rng, loss = np.random.default_rng(0), LOSSES[name]
    for largest in (0.3, 3, 100):
        n, shape = 2000, (2000, 4) if name in JOINT else (2000,)
        a, b = rng.uniform(-largest, largest, size=(2, *shape))
        t = rng.integers(4, size=n) if name in JOINT else rng.choice([-1.0, 1.0], size=n)
        share = rng.uniform(size=n)
        inner = share[:, None] * a + (1 - share[:, None]) * b if name in JOINT else share * a + (1 - share) * b
        chord = share * loss.value(a, t) + (1 - share) * loss.value(b, t)
        assert np.all(loss.value(inner, t) <= chord + 1e-12 * (1 + np.abs(chord)))


@pytest.mark.parametrize(
    ("name", "a", "b"), [("logistic_squared_error", -10.0, 0.0), ("zero_one", -2.0, 0.5)]
)  # fmt: skip
def test_chord_that_runs_below_a_loss_that_is_not_convex(name, a, b):
    value = zero_one if name == "zero_one" else LOSSES[name].value
    assert value((a + b) / 2, 1) > (value(a, 1) + value(b, 1)) / 2 + 0.1


def test_every_loss_that_is_not_convex_has_its_chord():
    chords = test_chord_that_runs_below_a_loss_that_is_not_convex.pytestmark[0].args[1]
    assert {name for name, loss in LOSSES.items() if not loss.convex} | {"zero_one"} == {name for name, *_ in chords}


def test_updates_on_ties():
    for t in (-1, 1):
        assert LOSSES["perceptron"].gradient(0.0, t) == -t
        assert LOSSES["perceptron"].gradient(t * 5e-324, t) == 0
        assert LOSSES["hinge"].gradient(float(t), t) == -t
        assert LOSSES["hinge"].gradient(t * np.nextafter(1, 2), t) == 0
        assert LOSSES["modified_huber"].gradient(-float(t), t) == -4 * t
    assert LOSSES["multiclass_perceptron"].gradient([2.0, 2.0, 2.0], 1).tolist() == [1, -1, 0]
    assert LOSSES["multiclass_perceptron"].gradient([2.0, 2.0, 2.0], 0).tolist() == [-1, 1, 0]
    assert LOSSES["multiclass_perceptron"].gradient([1.0, 2.0, 1.0], 1).tolist() == [0, 0, 0]
    assert LOSSES["multiclass_hinge"].gradient([0.0, 1.0, -2.0], 1).tolist() == [1, -1, 0]
    assert LOSSES["multiclass_hinge"].gradient([0.0, 1.5, 0.25], 1).tolist() == [0, 0, 0]
    for name in ("perceptron", "multiclass_perceptron"):
        assert not np.any(LOSSES[name].value([0.0, 0.0], [1, 0] if name in JOINT else [1, -1]))


def test_thresholds():
    assert get_loss("huber", epsilon=2.0).value(3.0, 0.0) == 2 * 3 - 2**2 / 2
    assert get_loss("huber", epsilon=2.0).gradient([-5.0, 1.5, 5.0], [0, 0, 0]).tolist() == [-2, 1.5, 2]
    assert get_loss("epsilon_insensitive", epsilon=2.0).value([-5.0, 1.5, 2.0], 0.0).tolist() == [3, 0, 0]
    assert get_loss("epsilon_insensitive", epsilon=2.0).gradient([-5.0, 1.5, 5.0], 0.0).tolist() == [-1, 0, 1]
    assert get_loss("squared_epsilon_insensitive", epsilon=2.0).value(-5.0, 0.0) == 9
    assert get_loss("squared_epsilon_insensitive", epsilon=2.0).gradient(-5.0, 0.0) == -6
    assert LOSSES["huber"].epsilon == 0.1
    for epsilon in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="epsilon must be a finite number >= 0"):
            get_loss("huber", epsilon=epsilon)


def test_softmax_of_two_scores_is_the_log_loss_of_their_difference():
    rng = np.random.default_rng(0)
    z = rng.uniform(-64, 64, size=(500, 2)).astype(np.float32).astype(np.float64)  # differences are exact
    y = rng.integers(2, size=500)
    difference, t = z[:, 1] - z[:, 0], 2 * y - 1
    pair, single = LOSSES["softmax"], LOSSES["log_loss"]
    np.testing.assert_array_max_ulp(pair.value(z, y), single.value(difference, t), 4)
    np.testing.assert_array_max_ulp(pair.gradient(z, y)[:, 1], single.gradient(difference, t), 4)
    np.testing.assert_array_max_ulp(pair.gradient(z, y)[:, 0], -single.gradient(difference, t), 4)


def test_soft_targets():
    assert "sum_k t_k (logsumexp(z) - z_k), derivative p sum_k t_k - t" in LOSSES["softmax"].__doc__
    rng, softmax, log_loss = np.random.default_rng(0), LOSSES["softmax"], LOSSES["log_loss"]
    z, P = rng.uniform(-30, 30, size=(200, 5)), rng.dirichlet(np.ones(5), size=200)
    # A mixture of the classes' losses, and of their derivatives
    values = np.stack([softmax.value(z, np.full(200, k)) for k in range(5)], axis=1)
    gradients = np.stack([softmax.gradient(z, np.full(200, k)) for k in range(5)], axis=1)
    np.testing.assert_allclose(softmax.value(z, P), (P * values).sum(axis=1), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(softmax.gradient(z, P), np.einsum("ik,ikj->ij", P, gradients), atol=1e-14)
    assert np.array_equal(softmax.value(z, np.eye(5)[[2] * 200]), values[:, 2])
    assert np.array_equal(softmax.gradient(z, np.eye(5)[[2] * 200]), gradients[:, 2])
    assert check_gradient(softmax, z, P) < 1e-8
    u, t = P[:, 0], 2 * P[:, 0] - 1
    ones = np.ones(200)
    mixed = u * log_loss.value(z[:, 0], ones) + (1 - u) * log_loss.value(z[:, 0], -ones)
    np.testing.assert_allclose(log_loss.value(z[:, 0], t), mixed, rtol=1e-14, atol=1e-14)
    assert check_gradient(log_loss, z[:, 0], t) < 1e-8
    for name in ("multiclass_hinge", "multiclass_perceptron"):
        one_hot = np.eye(5)[rng.integers(5, size=200)]
        assert np.array_equal(LOSSES[name].value(z, one_hot), LOSSES[name].value(z, one_hot.argmax(axis=1)))
        with pytest.raises(ValueError, match="one 1 a row and zeros"):
            LOSSES[name].value(z, P)


# zero_one


def test_zero_one():
    z = [-2.0, 0.0, 3.0, -2.0, 0.0, 3.0, 5e-324, -5e-324]
    t = [-1, -1, -1, 1, 1, 1, 1, -1]
    assert zero_one(z, t).tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    assert zero_one([[1.0, -1.0]], 1).tolist() == [[0, 1]]
    assert zero_one([np.inf, -np.inf], 1).tolist() == [0, 1]
    with pytest.raises(ValueError, match="not NaN"):
        zero_one([np.nan], [1])
    with pytest.raises(ValueError, match=re.escape("targets -1 or +1")):
        zero_one([0.5], [0])


def test_training_on_zero_one_is_refused():
    for attempt in (lambda: get_loss("zero_one"), lambda: SGDClassifier("zero_one").fit([[0.0], [1.0]], [0, 1])):
        with pytest.raises(ValueError, match=r"derivative 0 almost everywhere.*surrogate.*'log_loss'.*'hinge'"):
            attempt()
    with pytest.raises(ValueError, match=r"there is no loss 'logloss'.*'log_loss', 'hinge'"):
        SGDClassifier("logloss").fit([[0.0], [1.0]], [0, 1])


# Arrays in, arrays out


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_and_types(name):
    loss, joint = LOSSES[name], name in JOINT
    z, t = ([[0.5, -1.0, 2.0]] * 2, [0, 1]) if joint else ([0.5, -1.0], [1, -1])
    value, gradient = loss.value(z, t), loss.gradient(z, t)
    assert value.shape == (2,)
    assert gradient.shape == np.shape(z)
    assert value.dtype == gradient.dtype == np.float64
    row, target = z[0], t[0]
    assert isinstance(loss.value(row, target), float)
    assert loss.value(row, target) == value[0]
    assert np.array_equal(loss.gradient(row, target), gradient[0])
    assert loss.value(np.array(z, np.float32), t).tolist() == value.tolist()
    strided = np.asfortranarray(np.repeat(z, 2, axis=-1))[..., ::2]
    if joint:
        assert loss.value(strided, t).tolist() == value.tolist()
        assert loss.value(np.empty((0, 3)), np.empty(0, int)).shape == (0,)
    else:
        assert loss.value(np.full((3, 4), 0.5), 1).shape == (3, 4)
        assert loss.gradient([[0.5], [-1.0]], [1, -1]).shape == (2, 2)
        assert loss.value([], []).shape == (0,)


def test_the_callers_arrays_do_not_change():
    for name, loss in LOSSES.items():
        z = np.linspace(-2, 2, 6).reshape(2, 3)
        t = np.array([2, 0]) if name in JOINT else np.ones((2, 3))
        z.flags.writeable = t.flags.writeable = False
        loss.value(z, t)
        loss.gradient(z, t)[...] = 0


@pytest.mark.parametrize("name", LOSSES)
def test_bad_input_is_refused(name):
    loss = LOSSES[name]
    z, t = ([[0.5, -1.0, 2.0]] * 2, [0, 1]) if name in JOINT else ([0.5, -1.0], [1, -1])
    bad = [(np.full_like(z, value), t, "z has a value that is not finite") for value in (np.nan, np.inf, -np.inf)]
    if name in JOINT:
        bad += [
            (z, [0, 3], "classes are 0 .. 2, not 3"),
            (z, [0, -1], "classes are 0 .. 2, not -1"),
            (z, [0, 1, 2], "integer classes of shape"),
            (z, [0.0, 1.0], "integer classes of shape"),
            (z, [[0, 1]] * 2, "or an array of shape"),
            (z, [[0, -1, 2]] * 2, "an array of targets"),
            ([[0.5], [1.0]], [0, 0], "with K >= 2"),
            (0.5, 0, "with K >= 2"),
        ]
    else:
        bad += [(z, [1, -1, 1], "do not fit together")]
    if name in SIGN:
        bad += [(z, target, f"the targets of {name} are -1 and +1") for target in ([1, 2], [np.nan, 1], [1, -1.5])]
    if name in SIGN and name != "log_loss":
        bad += [(z, [0, 1], "not 0")]
    if name in REAL:
        bad += [(z, [np.nan, 1], "t has a value that is not finite"), (z, [1, np.inf], "t has a value")]
    for scores, targets, message in bad:
        for method in (loss.value, loss.gradient):
            with warnings.catch_warnings(), pytest.raises(ValueError, match=re.escape(message)):
                method(scores, targets)
