# cython: language_level=3, cdivision=True
# cython: freethreading_compatible=True
"""Losses: each is one class, its formula in the docstring and its value and derivative in `evaluate`.

Here are those that need few more lines than their formulas; those with logarithms are in `cross_entropy`.

Two kinds share one signature. A loss of one score (`joint = False`) reads z[0] and t[0] only; with K
outputs it is called once per output. A loss of K scores (`joint = True`) sees them all, with the
target as K numbers: the indicator of the class, or, for softmax, probabilities.

`targets` tells what t may be: "sign" is -1 or +1, "real" any finite number, "class" an indicator.
"""

cimport cython
from libc.math cimport exp, expm1, fabs, isinf

import numpy as np


cdef class Loss:
    """Base class of the losses; `value` and `gradient` evaluate over arrays.

    Attributes
    ----------
    name : str
        The name that estimators take.
    convex : bool
        Whether L(z, t) is convex in z.
    joint : bool
        Whether the loss ties K scores together (softmax and the multiclass losses).
    targets : {"sign", "real", "class"}
        Targets are -1 / +1, real numbers, or classes 0 .. K-1.
    followed : bool
        Whether optimizer='normalized' follows the loss of a row all the way, and so never steps past its target.
    """

    name = ""
    convex = True
    joint = False
    targets = "sign"
    followed = False

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        g[0] = 0.0
        return 0.0

    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil:
        return g

    def value(self, z, t):
        """L(z, t), elementwise for a loss of one score, per row for a loss of K scores.

        Parameters
        ----------
        z : array_like of float
            Scores: any shape for a loss of one score; (n, K) or, for a single row, (K,) for a joint loss.
        t : array_like
            Targets: broadcast against z for a loss of one score; for a joint loss the classes, integers of
            shape (n,), or an indicator of shape (n, K) (for softmax: any probabilities).

        Returns
        -------
        ndarray of float64 or float
            Of z's shape, without its last axis for a joint loss.

        Raises
        ------
        ValueError
            If z or t is not finite, shapes do not fit, or t is no target of this loss.
        """
        return self._over_arrays(z, t)[0]

    def gradient(self, z, t):
        """dL/dz at (z, t); parameters and errors as for `value`.

        Returns
        -------
        ndarray of float64 or float
            Of z's shape.
        """
        return self._over_arrays(z, t)[1]

    def _over_arrays(self, z, t):
        cdef const double[:, ::1] z_rows, t_rows
        cdef double[:, ::1] g_rows
        cdef double[::1] losses
        cdef Py_ssize_t i
        z, t = self._check(z, t)
        outputs = z.shape[-1] if self.joint else 1
        gradients = np.empty_like(z)
        values = np.empty(z.shape[:-1] if self.joint else z.shape)
        if z.size:
            z_rows, t_rows, g_rows = z.reshape(-1, outputs), t.reshape(-1, outputs), gradients.reshape(-1, outputs)
            losses = values.reshape(-1)
            with nogil, cython.boundscheck(False), cython.wraparound(False):
                for i in range(z_rows.shape[0]):
                    losses[i] = self.evaluate(&z_rows[i, 0], &t_rows[i, 0], z_rows.shape[1], &g_rows[i, 0])
        return values[()], gradients[()]

    def _check(self, z, t):
        z, t = np.array(z, np.float64, order="C"), np.asarray(t)
        if self.joint:
            t = self._indicator(z, t)
        else:
            try:
                z, t = (np.ascontiguousarray(a) if a.ndim else a
                        for a in np.broadcast_arrays(z, np.asarray(t, np.float64)))
            except ValueError as error:
                raise ValueError(f"z of shape {z.shape} and t of shape {t.shape} do not fit together") from error
            if self.targets == "sign" and not self._accepts(t):
                raise ValueError(f"the targets of {self.name} are -1 and +1, not {t[np.abs(t) != 1].flat[0]}")
        for what, array in (("z", z), ("t", t)):
            if not np.isfinite(array).all():
                raise ValueError(f"{what} has a value that is not finite: {array[~np.isfinite(array)].flat[0]}")
        return z, np.array(t, np.float64, order="C")

    def _indicator(self, z, t):
        if z.ndim not in (1, 2) or z.shape[-1] < 2:
            raise ValueError(f"{self.name} takes scores of shape (n, K) or (K,) with K >= 2, not {z.shape}")
        if t.shape == z.shape:
            if not self._accepts(t):
                raise ValueError(f"an array of targets of {self.name} has {self._indicator_rule}")
            return t
        if t.shape != z.shape[:-1] or not np.issubdtype(t.dtype, np.integer):
            raise ValueError(f"targets for scores of shape {z.shape} are integer classes of shape {z.shape[:-1]}"
                             f" or an array of shape {z.shape}, not {t.dtype} of shape {t.shape}")
        if t.size and not (0 <= t.min() and t.max() < z.shape[-1]):
            raise ValueError(f"classes are 0 .. {z.shape[-1] - 1}, not {t.min() if t.min() < 0 else t.max()}")
        return np.eye(z.shape[-1])[t]

    _indicator_rule = "one 1 a row and zeros"

    def _accepts(self, t):
        if self.joint:
            return np.isin(t, (0, 1)).all() and (t.sum(axis=-1) == 1).all()
        return np.all(np.abs(t) == 1)

    def _follow(self, double z, double t, double s, double q):
        """How far a row of weight s moves its score z where a derivative of 1 takes q off it: `follow`, for tests."""
        cdef double g
        self.evaluate(&z, &t, 1, &g)
        return -q * self.follow(z, t, s, q, s * g)

    def __repr__(self):
        return f"{type(self).__name__}()"

    def __reduce__(self):
        return type(self), ()


# One score, targets -1 / +1; m = t z is the margin.

cdef class Hinge(Loss):
    """max(0, 1 - m), derivative -t if m <= 1 else 0: the linear support vector machine."""

    name = "hinge"
    followed = True

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        cdef double m = t[0] * z[0]
        g[0] = -t[0] if m <= 1 else 0.0
        return 1 - m if m <= 1 else 0.0

    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil:
        return g if q <= 0 or g == 0 else -t * min(s, (1 - t * z) / q)


cdef class SquaredHinge(Loss):
    """max(0, 1 - m)^2, derivative -2 t max(0, 1 - m)."""

    name = "squared_hinge"
    followed = True

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        cdef double gap = 1 - t[0] * z[0]
        if gap < 0:
            gap = 0.0
        g[0] = -2 * t[0] * gap
        return gap * gap

    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil:
        return g if q <= 0 else t * max(0.0, 1 - t * z) * expm1(-2 * s * q) / q


cdef class ModifiedHuber(Loss):
    """max(0, 1 - m)^2 if m >= -1, else -4 m: a squared hinge that grows linearly (Zhang 2004)."""

    name = "modified_huber"

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        cdef double m = t[0] * z[0], gap = 1 - m if m < 1 else 0.0
        if m >= -1:
            g[0] = -2 * t[0] * gap
            return gap * gap
        g[0] = -4 * t[0]
        return -4 * m


cdef class Perceptron(Loss):
    """max(0, -m), derivative -t if m <= 0 else 0 (Rosenblatt 1958); ties update, or W = 0 would never move."""

    name = "perceptron"

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        cdef double m = t[0] * z[0]
        g[0] = -t[0] if m <= 0 else 0.0
        return -m if m < 0 else 0.0


cdef class LogisticSquaredError(Loss):
    """(sigma(z) - u)^2 / 2, u = (t + 1) / 2, derivative -t sigma(-m)^2 sigma(m): vanishes on confident mistakes."""

    name = "logistic_squared_error"
    convex = False

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        # sigma(z) - u = -t sigma(-m). Both sigmoids are fractions over 1 + e, with e = e^-|m|; powers of 1 + e would
        # multiply its rounding error, which is known exactly and taken out.
        cdef double m = t[0] * z[0], e = exp(-fabs(m)), s = 1 + e, error = (e - (s - 1)) / s
        cdef double square = exp(-2 * m) if m > 0 else 1.0      # e * e would double the error of e
        g[0] = -t[0] * ((square if m > 0 else e) / (s * s * s) * (1 - 3 * error))
        return 0.5 * (square / (s * s) * (1 - 2 * error))


# One score, real targets; r = z - t is the residual.

cdef class SquaredError(Loss):
    """r^2 / 2, derivative r: least squares."""

    name = "squared_error"
    followed = True
    targets = "real"

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        g[0] = z[0] - t[0]
        return 0.5 * g[0] * g[0]

    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil:
        return g if q <= 0 else -(z - t) * expm1(-s * q) / q


cdef class EpsilonLoss(Loss):
    """A loss of one residual with a threshold, in the units of the target.

    Parameters
    ----------
    epsilon : float, default=0.1
    """

    targets = "real"
    cdef readonly double epsilon

    def __init__(self, epsilon=0.1):
        if not 0 <= epsilon < float("inf"):
            raise ValueError(f"epsilon must be a finite number >= 0, not {epsilon!r}")
        self.epsilon = epsilon

    def __repr__(self):
        return f"{type(self).__name__}(epsilon={self.epsilon})"

    def __reduce__(self):
        return type(self), (self.epsilon,)


cdef class Huber(EpsilonLoss):
    """r^2 / 2 if |r| <= epsilon, else epsilon |r| - epsilon^2 / 2 (Huber 1964)."""

    name = "huber"
    followed = True

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        cdef double r = z[0] - t[0], a = fabs(r)
        if a <= self.epsilon:
            g[0] = r
            return 0.5 * r * r
        g[0] = self.epsilon if r > 0 else -self.epsilon
        if isinf(a):        # r itself is beyond the largest double, the loss need not be
            return self.epsilon * fabs(0.5 * z[0] - 0.5 * t[0]) * 2
        return self.epsilon * (a - 0.5 * self.epsilon)

    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil:
        # At the speed epsilon as far as the threshold, and then as the squared error.
        cdef double excess = max(0.0, fabs(z - t) - self.epsilon), rest
        if q <= 0 or g == 0:
            return g
        rest = s * q - excess / self.epsilon
        if rest <= 0:
            return self.epsilon * s if z > t else -self.epsilon * s
        return (1 if z > t else -1) * (excess - (fabs(z - t) - excess) * expm1(-rest)) / q


cdef class EpsilonInsensitive(EpsilonLoss):
    """max(0, |r| - epsilon): support vector regression."""

    name = "epsilon_insensitive"
    followed = True

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        cdef double r = z[0] - t[0], excess = fabs(r) - self.epsilon
        if excess <= 0:
            g[0] = 0.0
            return 0.0
        g[0] = 1.0 if r > 0 else -1.0
        return excess

    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil:
        cdef double excess = fabs(z - t) - self.epsilon
        return g if q <= 0 or g == 0 else (1 if z > t else -1) * min(s, excess / q)


cdef class SquaredEpsilonInsensitive(EpsilonLoss):
    """max(0, |r| - epsilon)^2."""

    name = "squared_epsilon_insensitive"
    followed = True

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        cdef double r = z[0] - t[0], excess = fabs(r) - self.epsilon
        if excess <= 0:
            g[0] = 0.0
            return 0.0
        g[0] = 2 * excess if r > 0 else -2 * excess
        return excess * excess

    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil:
        cdef double excess = fabs(z - t) - self.epsilon
        return g if q <= 0 or g == 0 else (-excess if z > t else excess) * expm1(-2 * s * q) / q


# K scores; t is the indicator of the class y.

cdef class MulticlassHinge(Loss):
    """max(0, 1 + max_{k != y} z_k - z_y), derivative +1 at the violator, -1 at y (Crammer, Singer 2001)."""

    name = "multiclass_hinge"
    joint = True
    targets = "class"

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        return rival_loss(z, t, outputs, 1.0, g)


cdef class MulticlassPerceptron(Loss):
    """max(0, max_{k != y} z_k - z_y), derivative +1 at the rival, -1 at y, on ties as well."""

    name = "multiclass_perceptron"
    joint = True
    targets = "class"

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        return rival_loss(z, t, outputs, 0.0, g)


cdef inline double rival_loss(const double* z, const double* t, Py_ssize_t outputs, double margin,
                              double* g) noexcept nogil:
    cdef Py_ssize_t k, y = 0, rival = -1
    cdef double violation
    for k in range(outputs):
        g[k] = 0.0
        if t[k] > 0:
            y = k
    for k in range(outputs):
        if k != y and (rival < 0 or z[k] > z[rival]):
            rival = k
    violation = margin + (z[rival] - z[y])
    if violation < 0:
        return 0.0
    g[rival], g[y] = 1.0, -1.0
    return violation
