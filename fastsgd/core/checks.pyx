# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Checks of arrays before the kernels trust them: at the speed of memory, no temporaries. Callers name the fault."""

from cython cimport floating
from libc.math cimport fabs, isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from .adaptive cimport ADAM, SGD, pitch_of, planes_of
from .job cimport Bounds, row_begin, row_bounds
from .rows cimport any_outside
from .state cimport State

import numpy as np

cdef extern from "checks.h" nogil:
    int fastsgd_any_nonfinite_f32(const float* values, Py_ssize_t n)
    int fastsgd_any_nonfinite_f64(const double* values, Py_ssize_t n)
    int fastsgd_any_fall_u32(const uint32_t* bounds, Py_ssize_t n)
    int fastsgd_any_fall_u64(const uint64_t* bounds, Py_ssize_t n)
    int tell_labels_apart "fastsgd_tell_apart"(...)    # (labels, n, low, high, codes)
    Py_ssize_t fastsgd_descents_u32(const uint32_t* columns, Py_ssize_t n)
    Py_ssize_t fastsgd_descents_u64(const uint64_t* columns, Py_ssize_t n)

cdef extern from *:
    """
    #include <float.h>
    """
    const float FLT_MAX
    const double DBL_MAX

DOUBLE = np.dtype(np.float64)

ctypedef fused integer:
    int32_t
    int64_t

ctypedef fused bound_t:
    int32_t
    int64_t

ctypedef fused label_t:
    uint8_t
    int32_t
    int64_t
    float
    double


cdef inline bint any_nonfinite(const floating* values, Py_ssize_t n) noexcept nogil:
    if floating is float:
        return fastsgd_any_nonfinite_f32(values, n)
    else:
        return fastsgd_any_nonfinite_f64(values, n)


def first_nonfinite(const floating[::1] values):
    """Position of the first NaN or infinity, or -1."""
    cdef Py_ssize_t i, n = values.shape[0]
    cdef bint found
    with nogil:
        found = any_nonfinite(&values[0], n)
    if found:
        for i in range(n):
            if not isfinite(values[i]):
                return i
    return -1


def is_sound(const floating[::1] data, const integer[::1] columns, indptr, Py_ssize_t d, bint names, bint values):
    """Whether CSR rows are: bounds that do not fall and are inside the data; and, as far as these are to be looked at,
    columns (`names`) of 0 .. d - 1, and `values` that are neither NaN nor infinite."""
    cdef Bounds bounds = row_bounds(indptr, 0)
    cdef const integer* tag = NULL
    cdef Py_ssize_t n = len(indptr), first = row_begin(tag, &bounds, 0), last = row_begin(tag, &bounds, n - 1)
    cdef bint faulty = first < 0 or last < first or last > data.shape[0]
    with nogil:
        if bounds.wide != NULL:
            faulty |= fastsgd_any_fall_u64(<const uint64_t*>bounds.wide, n)
        else:
            faulty |= fastsgd_any_fall_u32(<const uint32_t*>bounds.narrow, n)
        if names and not faulty:
            faulty = any_outside(&columns[0] + first, last - first, d)
        if values and not faulty:
            faulty = any_nonfinite(&data[0] + first, last - first)
    return not faulty


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


def tell_apart(const label_t[::1] labels, uint8_t[::1] codes):
    """Let codes be 1 where the labels are the greater of two values, else 0; and say where either is first, the lesser
    before the greater. None if the values are not just two."""
    cdef Py_ssize_t first = 0, other = 1, n = labels.shape[0]
    cdef label_t low = labels[0], high
    cdef bint more
    with nogil:
        while other < n and labels[other] == low:
            other += 1
        if other < n:
            high = labels[other]
            more = tell_labels_apart(&labels[0], n, min(low, high), max(low, high), &codes[0])
    if other == n or more:
        return None
    return (first, other) if low < high else (other, first)


def find_classes(const int64_t[:] labels, const int64_t[:] classes, Py_ssize_t[::1] codes):
    """Let `codes` be the positions of the labels among the sorted classes; the first row whose label is none, or -1."""
    cdef Py_ssize_t i, low, length, half, unknown = -1
    with nogil:
        for i in range(labels.shape[0]):
            low, length = 0, classes.shape[0]
            while length > 1:
                half = length // 2
                low, length = low + half if classes[low + half] <= labels[i] else low, length - half
            if classes[low] != labels[i]:
                unknown = i
                break
            codes[i] = low
    return unknown


def make_signs(floating[::1] codes):
    """Let the numbers of two classes, 0 and 1, be -1 and 1."""
    cdef Py_ssize_t i
    cdef floating one = 1   # a constant would be a double
    for i in range(codes.shape[0]):
        codes[i] += codes[i] - one


cpdef bint has_features(State state, Py_ssize_t d):
    """Whether the sizes of a state's arrays are those of d features, and of one another."""
    cdef Py_ssize_t width = state.hidden or len(state.bias), outputs = len(state.bias) - state.hidden, pitch, size
    if not (state.hidden >= 0 and SGD <= state.optimizer <= ADAM):
        return False
    pitch, size = pitch_of(state.optimizer, width), width * d + state.hidden * outputs
    if state.weights.shape != (pitch * d + state.hidden * outputs * planes_of(state.optimizer),):
        return False
    for array in (state.average, state.received):
        if array is not None and array.shape != (size,):
            return False
    if state.gradient is not None and state.gradient.shape != (width * d,):
        return False
    if state.optimizer == SGD:
        return state.bias_memory is None
    return state.bias_memory is not None and state.bias_memory.shape == (state.memory,)


def fits(State state, dtype, Py_ssize_t d, targets):
    """Whether the kernels can train a state on rows of d columns in that dtype: it may come from a file, or from the
    caller."""
    cdef Py_ssize_t size = len(state.bias), K = size - state.hidden, width = targets.shape[1]
    cdef bint fine = has_features(state, d) and (width == K or (width == 1 and is_below(targets[:, 0], K)))
    for array in (state.weights, state.average, state.received, state.gradient):
        fine &= array is None or array.dtype == dtype
    for array in (state.bias, state.average_bias, state.bias_memory):
        fine &= array is None or array.dtype == DOUBLE
    fine &= (state.average is None) == (state.average_bias is None)
    fine &= state.average_bias is None or state.average_bias.shape == (size,)
    return fine


def is_below(const floating[:] codes, Py_ssize_t K):
    """Whether all class numbers are of 0 .. K - 1."""
    cdef Py_ssize_t i
    cdef bint fine = True
    for i in range(codes.shape[0]):
        fine &= 0 <= codes[i] < K
    return fine


def is_finite(State state, const floating[::1] weights, touched):
    """Whether the model is, as far as the columns `touched` of CSR rows can have changed it, or, if they are None, all
    of it. `weights` are the state's, to tell their type."""
    cdef bint averaged = state.averaged != 0 and state.average is not None
    cdef const floating[::1] average = state.average if averaged else None
    cdef const double[::1] bias = state.average_bias if averaged else state.bias
    cdef Py_ssize_t width = state.hidden or bias.shape[0], size = weights.shape[0], i, j, at, column
    cdef Py_ssize_t pitch = pitch_of(state.optimizer, width)
    cdef Py_ssize_t first = size - state.hidden * (bias.shape[0] - state.hidden) * planes_of(state.optimizer)
    cdef double limit = FLT_MAX if floating is float else DBL_MAX
    cdef bint whole = touched is None, fine = True
    cdef Py_ssize_t count = size // pitch if whole else len(touched)
    cdef Bounds names = row_bounds(touched if count > 0 else None, 0)
    for i in range(bias.shape[0]):
        fine &= fabs(bias[i]) <= limit
    with nogil:
        if averaged:    # the mean of the iterates, as `_states.mean_iterate` has it
            for i in range(count * width):
                j = i if whole else row_begin(<const int32_t*>NULL, &names, i // width) * width + i % width
                at = j // width * pitch + j % width if state.feature_major else j
                fine &= fabs((state.average_scale * weights[at] - average[j]) / state.averaged) <= limit
        elif whole:
            fine &= not any_nonfinite(&weights[0], size)
        else:
            for i in range(count):
                column = row_begin(<const int32_t*>NULL, &names, i)
                for j in range(column * pitch, (column + 1) * pitch):
                    fine &= isfinite(weights[j]) != 0
            fine &= not any_nonfinite(&weights[0] + first, size - first)
    return fine
