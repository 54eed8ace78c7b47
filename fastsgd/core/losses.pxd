from libc.math cimport exp, fabs

# One method is all a loss has to say: its value and its derivative share their exponentials,
# and the training loop needs both for every row.

cdef class Loss:
    # z, t, g: scores, targets and derivatives dL/dz of `outputs` outputs; returns L(z, t).
    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil
    # What stands for the derivative of the score z of a row of weight s when its loss is followed all the way, as if
    # the row came in ever more, ever smaller parts; a derivative of 1 takes q off the score. g is s dL/dz.
    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil


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
