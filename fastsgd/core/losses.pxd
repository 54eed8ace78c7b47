# One method is all a loss has to say: its value and its derivative share their exponentials,
# and the training loop needs both for every row.

cdef class Loss:
    # z, t, g: scores, targets and derivatives dL/dz of `outputs` outputs; returns L(z, t).
    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil
    # What stands for the derivative of the score z of a row of weight s when its loss is followed all the way, as if
    # the row came in ever more, ever smaller parts; a derivative of 1 takes q off the score. g is s dL/dz.
    cdef double follow(self, double z, double t, double s, double q, double g) noexcept nogil
