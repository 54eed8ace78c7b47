# Rounds of threads that train copies of one state, for the kernels that make a pass.

from libc.stdint cimport uint32_t

from .job cimport Barrier, Job
from .state cimport State

cdef enum:
    MOST_COPIES = 64


cdef struct Part:       # a state's arrays, average, average_bias and received maybe NULL; and what changes with a step
    void* weights
    void* average
    void* received
    double* bias
    double* average_bias
    double t, scale, average_scale, averaged, penalty_total, sum_squares, sum_abs
    bint fine           # no score was other than finite


cdef class Rounds:
    cdef State state
    cdef object kept
    cdef Part whole
    cdef Part[MOST_COPIES] parts
    cdef Barrier barrier
    cdef void* velocity
    cdef double* bias_velocity
    cdef const Py_ssize_t[::1] ends
    cdef Py_ssize_t count, size, itemsize, biases, batch

    cdef void take(self, Py_ssize_t i, Py_ssize_t number, const uint32_t* order, Job* job) noexcept nogil
    cdef bint give(self, Py_ssize_t i, Py_ssize_t number, Job* job) noexcept nogil
    cdef Part before(self) noexcept nogil
    cdef void combine(self, const Part* before, double due) noexcept nogil
    cdef void measure(self, double* squares, double* total) noexcept nogil
