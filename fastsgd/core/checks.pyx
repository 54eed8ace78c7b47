# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Checks of the caller's arrays: one pass at the speed of memory, no temporaries, a second pass to name the fault."""

from cython cimport floating
from libc.math cimport fabs, isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "simd.h" nogil:
    int fastsgd_any_nonfinite_f32(const float* values, Py_ssize_t n)
    int fastsgd_any_nonfinite_f64(const double* values, Py_ssize_t n)
    int fastsgd_any_outside_u32(const uint32_t* columns, Py_ssize_t n, uint32_t d)
    int fastsgd_any_outside_u64(const uint64_t* columns, Py_ssize_t n, uint64_t d)

ctypedef fused integer:
    int32_t
    int64_t


def first_nonfinite(const floating[::1] values):
    """Position of the first NaN or infinity, or -1."""
    cdef Py_ssize_t i, n = values.shape[0]
    cdef bint found
    with nogil:
        if floating is float:
            found = fastsgd_any_nonfinite_f32(&values[0], n)
        else:
            found = fastsgd_any_nonfinite_f64(&values[0], n)
    if found:
        for i in range(n):
            if not isfinite(values[i]):
                return i
    return -1


def first_beyond(const double[::1] values, double limit):
    """Position of the first value that is not within -limit .. limit, NaN among them, or -1."""
    cdef Py_ssize_t i
    for i in range(values.shape[0]):
        if not fabs(values[i]) <= limit:
            return i
    return -1


def first_outside(const integer[::1] columns, Py_ssize_t d):
    """Position of the first column that is not in 0 .. d - 1, or -1."""
    cdef Py_ssize_t i, n = columns.shape[0]
    cdef bint found
    with nogil:
        if integer is int32_t:
            # Unsigned, every valid int32 is below 2^31.
            found = fastsgd_any_outside_u32(<const uint32_t*>&columns[0], n, <uint32_t>min(d, <Py_ssize_t>1 << 31))
        else:
            found = fastsgd_any_outside_u64(<const uint64_t*>&columns[0], n, <uint64_t>d)
    if found:
        for i in range(n):
            if not 0 <= columns[i] < d:
                return i
    return -1


def first_decrease(const integer[::1] indptr):
    """The first row that ends before it begins, or -1."""
    cdef Py_ssize_t i, found = -1
    with nogil:
        for i in range(indptr.shape[0] - 1):
            if indptr[i + 1] < indptr[i]:
                found = i
                break
    return found
