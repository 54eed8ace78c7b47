# cython: cdivision=True
# What a hidden unit makes of its score a = w.x + b, and how that changes with a: g(a), and g'(a) from y = g(a).

from libc.math cimport exp, tanh

cdef enum Activation:
    IDENTITY, LOGISTIC, TANH, RELU


cdef inline double activate(Activation activation, double a) noexcept nogil:
    if activation == RELU:
        return 0.0 if a < 0 else a      # NaN stays NaN
    if activation == TANH:
        return tanh(a)
    if activation == LOGISTIC:
        return 1 / (1 + exp(-a))
    return a


cdef inline double slope(Activation activation, double y) noexcept nogil:
    if activation == RELU:
        return 1.0 if y > 0 else 0.0    # at the kink that of the flat side
    if activation == TANH:
        return 1 - y * y
    if activation == LOGISTIC:
        return y * (1 - y)
    return 1.0
