from libc.math cimport exp, fabs

from .losses cimport Loss


cdef class LogLoss(Loss):
    pass


cdef inline double logistic(double z, double t, double* g, double* rest) noexcept nogil:
    """log_loss but for its logarithm: the value is log(1 + e) + rest, e = e^-|z| being returned."""
    cdef double m = t * z, size = fabs(z), e = exp(-size), s = 1 + e
    rest[0] = 0.5 * size - 0.5 * m
    if fabs(t) == 1:
        # sigma(-m) is e / s or 1 / s; chosen without a branch, which would often be mispredicted.
        g[0] = -t * ((e if m > 0 else 1.0) / s)
    else:
        g[0] = (1 / s if z > 0 else e / s) - (t + 1) / 2
    return e
