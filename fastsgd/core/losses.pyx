# cython: language_level=3, cdivision=True
# cython: freethreading_compatible=True
"""Losses: each is one class, its formula in the docstring and its value and derivative in `evaluate`.

Two kinds share one signature. A loss of one score (`joint = False`) reads z[0] and t[0] only; with K
outputs it is called once per output. A loss of K scores (`joint = True`) sees them all, with the
target as K numbers: the indicator of the class, or, for softmax, probabilities.

`targets` tells what t may be: "sign" is -1 or +1, "real" any finite number, "class" an indicator.
"""

cimport cython
from libc.math cimport exp, expm1, fabs, isinf, ldexp, log
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

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


cdef inline double log_of_sum(double a, double s) noexcept nogil:
    """log(1 + a) for a >= 0 and s = 1 + a as rounded, to about an ulp.

    Instead of log1p, whose branches by the size of a are mispredicted on most rows. s = 2^k (1 + f) with 1 + f between
    sqrt(1/2) and sqrt(2), and log(1 + f) = 2 artanh(f / (2 + f)) with the minimax polynomial of fdlibm's e_log.c; what
    s lost of a in rounding is put back to first order.
    """
    cdef uint64_t bits
    cdef int64_t k
    cdef double f, u, u2, u4, odd, even, half
    memcpy(&bits, &s, 8)
    bits += <uint64_t>0x3ff0000000000000 - <uint64_t>0x3fe6a09e667f3bcd
    k = <int64_t>(bits >> 52) - 0x3ff
    bits = (bits & <uint64_t>0x000fffffffffffff) + <uint64_t>0x3fe6a09e667f3bcd
    memcpy(&f, &bits, 8)
    f -= 1
    u = f / (2 + f)
    u2 = u * u
    u4 = u2 * u2
    even = u4 * (3.999999999940941908e-01 + u4 * (2.222219843214978396e-01 + u4 * 1.531383769920937332e-01))
    odd = u2 * (6.666666666666735130e-01 + u4 * (2.857142874366239149e-01 + u4 * (
        1.818357216161805012e-01 + u4 * 1.479819860510658591e-01)))
    half = 0.5 * f * f
    # log(2) in two parts, the first with zeros for k's digits.
    return k * 6.93147180369123816490e-01 - (
        (half - (u * (half + even + odd) + (k * 1.90821492927058770002e-10 + (a - (s - 1)) / s))) - f)


# Of y + e^y = c: the root, and its slope 1 / (1 + e^y), at the middles of the RISE_STEPS intervals between
# c + 4 = 2^k and 2^(k + 1), k < RISE_OCTAVES.
cdef enum:
    RISE_BITS = 5
    RISE_STEPS = 32
    RISE_OCTAVES = 8

cdef double[RISE_STEPS * RISE_OCTAVES][2] RISES


cdef double logistic_rise(double m, double p, double w) noexcept nogil:
    """How far the margin m rises when followed for w: the D with D + e^m (e^D - 1) = w; p is sigma(-m).

    The new margin y has y + e^y = w + m + e^m. A long way is the one to a near root out of a table, and a short one
    from there; what the table does not have is looked for.
    """
    cdef double c = w + m + (1 - p) / p + 4, middle
    cdef double[2][3] choice
    cdef uint64_t bits
    cdef const double* root
    cdef bint far = p * w >= 0.1
    if w <= 0 or p == 0:
        return 0.0
    if far & ((c < 1) | (c >= (1 << RISE_OCTAVES))):
        return long_rise(m, w)
    memcpy(&bits, &c, 8)
    bits -= <uint64_t>0x3ff << 52
    root = RISES[(bits >> (52 - RISE_BITS)) & (RISE_STEPS * RISE_OCTAVES - 1)]
    bits = bits >> (52 - RISE_BITS) << (52 - RISE_BITS) | <uint64_t>1 << (51 - RISE_BITS)
    bits += <uint64_t>0x3ff << 52
    memcpy(&middle, &bits, 8)
    # Chosen without a branch, which would often be mispredicted.
    choice[0][0], choice[0][1], choice[0][2] = 0, p, w
    choice[1][0], choice[1][1], choice[1][2] = root[0] - m, root[1], c - middle
    return choice[far][0] + short_rise(choice[far][1], choice[far][2])


cdef inline double short_rise(double p, double w) noexcept nogil:
    """The D, |D| < 0.1, with p D + (1 - p) (e^D - 1) = p w.

    One of Halley's steps from the beginning of the series of D in p w gives all digits.
    """
    cdef double q = 1 - p, D = p * w, D2 = D * D, D4, growth, excess, slope
    D -= q * D2 * (0.5 - D * (0.5 * q - 1.0 / 6) + D2 * (q * (0.625 * q - 5.0 / 12) + 1.0 / 24))
    D2 = D * D
    D4 = D2 * D2
    growth = D + D2 * ((0.5 + D * (1.0 / 6)) + D2 * (1.0 / 24 + D * (1.0 / 120)) + D4 * (
        (1.0 / 720 + D * (1.0 / 5040)) + D2 * (1.0 / 40320 + D * (1.0 / 362880))))
    excess, slope = p * (D - w) + q * growth, 1 + q * growth
    return D - 2 * excess * slope / (2 * slope * slope - excess * (slope - p))


cdef double long_rise(double m, double w) noexcept nogil:
    """The same by Halley's steps, which cube the error, from an upper bound; divided by e^m if that is large."""
    cdef double e = exp(-fabs(m)), least = min(m, 0.0), linear, curved, D, growth, excess, slope
    cdef int _
    linear, curved = 1.0 if m <= 0 else e, e if m <= 0 else 1.0
    D = w * linear / (linear + curved)
    if D > 1:
        D = min(D, log(w * linear + curved) - least)
    for _ in range(32):
        growth = curved * expm1(D) if D < 1 else exp(least + D) - curved  # exp(D) may be too large
        slope = growth + curved + linear
        excess = (growth + linear * (D - w)) / slope
        excess /= 1 - excess * (growth + curved) / (2 * slope)
        D -= excess
        if fabs(excess) <= 1e-5 * min(D, 1.0):
            break
    return D if D > 0 else 0.0


cdef void fill_rises() noexcept:
    cdef Py_ssize_t i
    cdef double c
    for i in range(RISE_STEPS * RISE_OCTAVES):
        c = ldexp(RISE_STEPS + i % RISE_STEPS + 0.5, i // RISE_STEPS - RISE_BITS)
        # From m = -4, where c + 4 = e^m.
        RISES[i][0] = long_rise(-4, c - exp(-4.0)) - 4
        RISES[i][1] = 1 / (1 + exp(RISES[i][0]))


fill_rises()


# One score, targets -1 / +1; m = t z is the margin.

cdef class LogLoss(Loss):
    """log(1 + e^-m), derivative -t sigma(-m): logistic regression's cross-entropy.

    t between -1 and 1 stands for the probability u = (t + 1) / 2 of the class +1, as in softmax:
    u log(1 + e^-z) + (1 - u) log(1 + e^z), derivative sigma(z) - u.
    """

    name = "log_loss"
    followed = True

    def _accepts(self, t):
        return np.all(np.abs(t) <= 1)

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        cdef double rest, e = logistic(z[0], t[0], g, &rest)
        return log_of_sum(e, 1 + e) + rest

    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil:
        return g if fabs(t) != 1 or q <= 0 else -t * logistic_rise(t * z, fabs(g) / s, s * q) / q


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

cdef class Softmax(Loss):
    """logsumexp(z) - z_y, derivative p - onehot(y), p = softmax(z): the softmax-cross-entropy.

    With probabilities t in place of the class: sum_k t_k (logsumexp(z) - z_k), derivative p sum_k t_k - t.
    """

    name = "softmax"
    joint = True
    targets = "class"
    _indicator_rule = "numbers >= 0"

    def _accepts(self, t):
        return np.issubdtype(t.dtype, np.number) and (t >= 0).all()

    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil:
        cdef Py_ssize_t k, top = 0
        cdef double rest = 0.0, lost = 0.0, total = 0.0, e, value, share
        for k in range(1, outputs):
            if z[k] > z[top]:
                top = k
        for k in range(outputs):
            total += t[k]
            if k != top:
                e = exp_difference(z[k], z[top])
                g[k] = e
                add(&rest, &lost, e)
        if rest < 1e-300:
            rest = subnormal_sum(z, outputs, top)
        value = total * log_of_sum(rest, 1 + rest)
        share = total / (1 + rest)
        for k in range(outputs):
            if k != top:
                g[k] = g[k] * share - t[k]
                if t[k] != 0:
                    value += 2 * (t[k] * (0.5 * z[top] - 0.5 * z[k]))   # halves, lest the difference overflows
        # p_top is near 1 or near t_top where the row is well classified: subtract what is small instead.
        g[top] = (total - t[top]) - rest * share if 2 * t[top] > total else share - t[top]
        return value


cdef inline double exp_difference(double low, double high) noexcept nogil:
    """e^(low - high), low <= high; the subtraction's rounding error is put back (Dekker's two-sum)."""
    cdef double d = low - high, back, error, e
    if d < -746:
        return 0.0
    back = d - low
    error = (low - (d - back)) - (high + back)
    e = exp(d)
    return e + e * error


cdef inline void add(double* total, double* lost, double term) noexcept nogil:
    """Kahan's summation: no digit is lost with many classes."""
    cdef double grown
    term -= lost[0]
    grown = total[0] + term
    lost[0] = (grown - total[0]) - term
    total[0] = grown


cdef double subnormal_sum(const double* z, Py_ssize_t outputs, Py_ssize_t top) noexcept nogil:
    """sum_k e^(z_k - z_top) over the others where each is so small that its own last digit is coarse."""
    cdef Py_ssize_t k
    cdef double total = 0.0, lost = 0.0, root
    for k in range(outputs):
        if k != top:
            root = ldexp(exp_difference(0.5 * z[k], 0.5 * z[top]), 500)
            add(&total, &lost, root * root)
    return ldexp(total, -1000)


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


def _leaves(cls):
    below = cls.__subclasses__()
    return [leaf for sub in below for leaf in _leaves(sub)] if below else [cls]


# name -> class, in the order of this file
REGISTRY = {cls.name: cls for cls in _leaves(Loss)}
