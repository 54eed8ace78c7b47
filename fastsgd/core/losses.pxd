# One method is all a loss has to say: its value and its derivative share their exponentials,
# and the training loop needs both for every row.

cdef class Loss:
    # z, t, g: scores, targets and derivatives dL/dz of `outputs` outputs; returns L(z, t).
    cdef double evaluate(self, const double* z, const double* t, Py_ssize_t outputs, double* g) noexcept nogil
