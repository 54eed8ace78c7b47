"""The losses against exact arithmetic: right to a few ulp, over the whole range of doubles."""

from itertools import product

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from fastsgd.losses import LOSSES

JOINT = [name for name, loss in LOSSES.items() if loss.joint]
SIGN = [name for name, loss in LOSSES.items() if loss.targets == "sign"]


def exact(name, z, t):
    """The value and the list of derivatives in mpmath; z and t as for LOSSES[name], a single row."""
    if name in JOINT:
        return exact_joint(name, [mpf(float(zk)) for zk in z], t)
    z, t = mpf(float(z)), mpf(float(t))
    m, r, e = t * z, z - t, mpf(0.1)
    a = abs(r)
    sign = 1 if r > 0 else -1
    if name in ("log_loss", "logistic_squared_error"):
        right, wrong = 1 / (1 + mpmath.exp(-m)), 1 / (1 + mpmath.exp(m))
        if name == "log_loss":
            return mpmath.log1p(mpmath.exp(-m)), [-t * wrong]
        return wrong**2 / 2, [-t * wrong**2 * right]
    gap = max(mpf(0), 1 - m)
    value, derivative = {
        "hinge": lambda: (gap, -t if m <= 1 else 0),
        "squared_hinge": lambda: (gap**2, -2 * t * gap),
        "modified_huber": lambda: (gap**2, -2 * t * gap) if m >= -1 else (-4 * m, -4 * t),
        "perceptron": lambda: (max(mpf(0), -m), -t if m <= 0 else 0),
        "squared_error": lambda: (r**2 / 2, r),
        "huber": lambda: (r**2 / 2, r) if a <= e else (e * a - e**2 / 2, e * sign),
        "epsilon_insensitive": lambda: (max(mpf(0), a - e), sign if a > e else 0),
        "squared_epsilon_insensitive": lambda: (max(mpf(0), a - e) ** 2, 2 * sign * max(mpf(0), a - e)),
    }[name]()
    return value, [derivative]


def exact_joint(name, z, y):
    others = [k for k in range(len(z)) if k != y]
    if name == "softmax":
        # By differences of scores, so that nothing cancels: L = log(1 + S), p_y - 1 = -S / (1 + S).
        gaps = [zk - z[y] for zk in z]
        with mpmath.workprec(200):  # only the differences need more
            ratios = [mpmath.exp(gap) for gap in gaps]
            S = sum(ratios[k] for k in others)
            return mpmath.log1p(S), [-S / (1 + S) if k == y else ratios[k] / (1 + S) for k in range(len(z))]
    rival = max(others, key=lambda k: z[k])  # the first of equals
    gap = (1 if name == "multiclass_hinge" else 0) + z[rival] - z[y]
    fires = gap >= 0
    return max(mpf(0), gap), [int(fires) * (int(k == rival) - int(k == y)) for k in range(len(z))]


def ulps(actual, true):
    """|actual - true| in units of the last place of the double nearest to `true`."""
    nearest = float(true)
    if not np.isfinite(nearest):
        return 0.0 if actual == nearest else np.inf
    return float(abs(mpf(float(actual)) - true) / mpf(float(np.spacing(abs(nearest)))))


def worst_ulps(name, z, t, bits=200):
    """Over rows, of values and of derivatives."""
    loss, worst = LOSSES[name], [0.0, 0.0]
    values, gradients = loss.value(z, t), loss.gradient(z, t)
    with mpmath.workprec(bits):
        for i in range(len(z)):
            value, derivatives = exact(name, z[i], t[i])
            worst[0] = max(worst[0], ulps(values[i], value))
            worst[1] = max(worst[1], *(ulps(*pair) for pair in zip(np.ravel(gradients[i]), derivatives, strict=True)))
    return worst


SPECIAL = [0, 5e-324, 1e-300, 1e-17, 1e-8, 0.5, 1, 5, 17.9, 18, 18.1, 36.7, 37, 354, 372, 373, 700, 708.3, 709.7, 709.8]
SPECIAL += [710, 740, 744.4, 745.1, 745.2, 746, 799.9, 800]  # e^-z is subnormal from 708.4 on, and 0 from 745.2 on
SPECIAL += [3.420510162409407, 3.4605434067127447, 4.846332989376194, 9.80991326270341, 22.634625514229903]  # unlucky


@pytest.mark.parametrize("name", ["log_loss", "logistic_squared_error"])
def test_logistic_losses_within_4_ulp(name):
    rng = np.random.default_rng(0)
    z = np.r_[rng.uniform(-800, 800, 300), rng.uniform(-40, 40, 600), rng.normal(size=300), SPECIAL]
    for t in (-1.0, 1.0):
        for scores in (z, -z):
            assert max(worst_ulps(name, scores, np.full(len(z), t))) <= 4


@pytest.mark.parametrize("K", [2, 3, 5, 10, 17])  # by single exponentials, fours and eights
def test_softmax_within_4_ulp(K):
    rng = np.random.default_rng(K)
    spreads = [800, 40, 3, 1e-6]
    draws = [rng.uniform(-largest, largest, size=(150, K)) for largest in spreads]
    draws += [700 + rng.uniform(-30, 30, size=(100, K)), rng.choice([-800, -1, 0, 1, 55.5, 800], size=(150, K))]
    for gap in SPECIAL:  # one score that far above the others, or below
        for base in (0.0, 1.1, -400.0):
            row = np.full(K, base)
            row[0] = base + gap
            draws += [row[None], row[::-1][None], 2 * base - row[None]]
    z = np.concatenate(draws)
    z = z[(np.abs(z) <= 800).all(axis=1)]
    assert max(worst_ulps("softmax", z, rng.integers(K, size=len(z)))) <= 4
    assert max(worst_ulps("softmax", z, z.argmax(axis=1))) <= 4


@pytest.mark.parametrize("name", LOSSES)
def test_grid_up_to_the_largest_doubles(name):
    """Right to a few ulp, never NaN, infinite only where the true value is beyond the largest double; no warning."""
    sizes = np.array([0, 1e-308, 1e-20, 1e-3, 0.25, 1, 1.5, 20, 800, 1e10, 1e155, 1e308])
    grid = np.concatenate([sizes, -sizes])
    if name in JOINT:
        if name == "multiclass_hinge":  # near its kink 1 + z_k - z_y cancels: take scores whose sums are exact
            grid = grid[(grid == 0) | (np.abs(grid) >= 0.25)]
        rows = np.array(list(product(grid[::2], grid[1::3], grid[2::5])))
        z, t = np.repeat(rows, 3, axis=0), np.tile(np.arange(3), len(rows))
    else:
        targets = [-1.0, 1.0] if name in SIGN else [-1e308, -1e20, -3.0, 0.0, 1e-3, 1.0, 1e308]
        z, t = (np.ravel(a) for a in np.meshgrid(grid, targets))
    assert max(worst_ulps(name, z, t, bits=2200)) <= 4  # enough to hold 1e308 - 1e-308
