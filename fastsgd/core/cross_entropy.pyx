# cython: language_level=3, cdivision=True
# cython: freethreading_compatible=True
"""The losses that are logarithms of probabilities, `log_loss` and `softmax`, accurate to a few ulp everywhere."""

from libc.math cimport exp, expm1, fabs, ldexp, log
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from .losses cimport Loss

import numpy as np

cdef extern from "exps.h" nogil:
    double exp_difference "fastsgd_exp_difference"(double low, double high)
    void add "fastsgd_add"(double* total, double* lost, double term)
    double exps "fastsgd_exps"(const double* z, Py_ssize_t K, Py_ssize_t top, double* g)


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


cdef extern from *:
    """
    static _Alignas(64) double fastsgd_sigma[2 * FASTSGD_FAR * FASTSGD_STEPS + 1][8];
    static _Alignas(64) float fastsgd_narrow_sigma[2 * FASTSGD_FAR * FASTSGD_NARROW_STEPS + 1][4];
    """
    Series* fastsgd_sigma
    NarrowSeries* fastsgd_narrow_sigma

SIGMA, NARROW_SIGMA = fastsgd_sigma, fastsgd_narrow_sigma


cdef void expand_sigma(double z, double* c) noexcept:
    """Taylor's series around z, nine coefficients: with q = s (1 - s), s' = q and q' = q (1 - 2 s); the k-th derivative
    is divided by k!."""
    cdef double e = exp(-fabs(z)), s = (e if z < 0 else 1) / (1 + e), q = e / ((1 + e) * (1 + e)), d = 1 - 2 * s
    c[0], c[1], c[2], c[3] = s, q, q * d / 2, q * (1 - 6 * q) / 6
    c[4], c[5] = q * d * (1 - 12 * q) / 24, q * (1 - 30 * q + 120 * q * q) / 120
    c[6] = q * d * (1 - 60 * q + 360 * q * q) / 720
    c[7] = q * (1 - 126 * q + 1680 * q * q - 5040 * q * q * q) / 5040
    c[8] = q * d * (1 - 252 * q + 5040 * q * q - 20160 * q * q * q) / 40320


cdef void fill_sigma() noexcept:
    """The last term is spread over lower ones as in Chebyshev's polynomial of its degree, but for a constant too small
    for the type: economization of power series (Lanczos, 1938)."""
    cdef Py_ssize_t i, k
    cdef double h2 = 0.25 / (STEPS * STEPS), narrow_h2 = 0.25 / (NARROW_STEPS * NARROW_STEPS), last
    cdef double[9] c
    for i in range(2 * FAR * STEPS + 1):
        expand_sigma(i / <double>STEPS - FAR, c)
        last = h2 * c[8]
        c[6] += 2 * last
        c[4] -= 1.25 * h2 * last
        c[2] += 0.25 * h2 * h2 * last
        memcpy(fastsgd_sigma[i], c, sizeof(Series))
    for i in range(2 * FAR * NARROW_STEPS + 1):
        expand_sigma(i / <double>NARROW_STEPS - FAR, c)
        c[2] += narrow_h2 * c[4]
        # Nothing instead of next to nothing: products with subnormal numbers would take their time.
        for k in range(4):
            fastsgd_narrow_sigma[i][k] = <float>c[k] if c[0] > 1e-30 else 0


cdef void fill_rises() noexcept:
    cdef Py_ssize_t i
    cdef double c
    for i in range(RISE_STEPS * RISE_OCTAVES):
        c = ldexp(RISE_STEPS + i % RISE_STEPS + 0.5, i // RISE_STEPS - RISE_BITS)
        # From m = -4, where c + 4 = e^m.
        RISES[i][0] = long_rise(-4, c - exp(-4.0)) - 4
        RISES[i][1] = 1 / (1 + exp(RISES[i][0]))


fill_sigma()
fill_rises()


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
        cdef double high = z[0], rest, total = 0.0, value, share
        for k in range(1, outputs):
            # Two choices without a branch, which would often be mispredicted.
            top = k if z[k] > high else top
            high = z[k] if z[k] > high else high
        rest = exps(z, outputs, top, g)
        if rest < 1e-300:
            rest = subnormal_sum(z, outputs, top)
        for k in range(outputs):
            total += t[k]
        value = total * log_of_sum(rest, 1 + rest)
        share = total / (1 + rest)
        for k in range(outputs):
            g[k] = g[k] * share - t[k]
            value += 2 * (t[k] * (0.5 * high - 0.5 * z[k]))     # halves, lest the difference overflows
        # p_top is near 1 or near t_top where the row is well classified: subtract what is small instead.
        g[top] = (total - t[top]) - rest * share if 2 * t[top] > total else share - t[top]
        return value


cdef double subnormal_sum(const double* z, Py_ssize_t outputs, Py_ssize_t top) noexcept nogil:
    """sum_k e^(z_k - z_top) over the others where each is so small that its own last digit is coarse."""
    cdef Py_ssize_t k
    cdef double total = 0.0, lost = 0.0, root
    for k in range(outputs):
        if k != top:
            root = ldexp(exp_difference(0.5 * z[k], 0.5 * z[top]), 500)
            add(&total, &lost, root * root)
    return ldexp(total, -1000)
