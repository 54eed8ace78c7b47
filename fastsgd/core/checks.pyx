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
    Py_ssize_t fastsgd_descents_u32(const uint32_t* columns, Py_ssize_t n)
    Py_ssize_t fastsgd_descents_u64(const uint64_t* columns, Py_ssize_t n)

ctypedef fused integer:
    int32_t
    int64_t

ctypedef fused bound_t:
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


def count_descents(const integer[::1] columns, const bound_t[::1] indptr):
    """How often a column does not rise from one value to the next within a row, of rows of the valid `columns`."""
    cdef Py_ssize_t row, start, first = indptr[0], last = indptr[indptr.shape[0] - 1], found, before = first
    if first == last:
        return 0
    with nogil:
        if integer is int32_t:
            found = fastsgd_descents_u32(<const uint32_t*>&columns[first], last - first)
        else:
            found = fastsgd_descents_u64(<const uint64_t*>&columns[first], last - first)
        for row in range(1, indptr.shape[0] - 1):
            start = indptr[row]
            if before < start < last:   # between two rows, once however many rows are empty
                found -= columns[start] <= columns[start - 1]
                before = start
    return found


def sum_duplicates(const floating[::1] data, const integer[::1] columns, const bound_t[::1] indptr, table,
                   floating[::1] new_data=None, integer[::1] new_columns=None, int64_t[::1] new_indptr=None):
    """How many values rows have once those of the same column are added up; and, given the room, these rows.

    `table` is a pair of int64 arrays of the same length, a power of two and at least twice the longest row: a hash
    table, open addressing, from columns to where they are in the new rows. What is of an earlier row is empty.
    """
    cdef int64_t[::1] keys = table[0], places = table[1]
    cdef Py_ssize_t row, i, size = 0, begin, mask = keys.shape[0] - 1
    cdef bint writes = new_data is not None
    cdef uint64_t slot
    places[:] = -1
    with nogil:
        for row in range(indptr.shape[0] - 1):
            begin = size
            if writes:
                new_indptr[row] = size
            for i in range(indptr[row], indptr[row + 1]):
                slot = (<uint64_t>columns[i] * <uint64_t>0x9E3779B97F4A7C15) >> 32 & mask
                while places[slot] >= begin and keys[slot] != columns[i]:
                    slot = (slot + 1) & mask
                if places[slot] < begin:
                    keys[slot], places[slot] = columns[i], size
                    if writes:
                        new_columns[size], new_data[size] = columns[i], 0
                    size += 1
                if writes:
                    new_data[places[slot]] += data[i]
    if writes:
        new_indptr[indptr.shape[0] - 1] = size
    return size
