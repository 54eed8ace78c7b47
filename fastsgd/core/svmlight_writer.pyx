# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Arrays to text in svmlight / LIBSVM format, as short as it reads back to the same bits."""

import numpy as np

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy

from .decimal cimport LONGEST, write_integer, write_number
from .svmlight cimport sort_row

ctypedef fused index_t:
    int32_t
    int64_t

cdef enum:
    LONGEST_INTEGER = 20
    LONGEST_PAIR = LONGEST + LONGEST_INTEGER + 2  # a space and a colon


cdef char* write_pairs(
    char* p, const index_t* columns, const floating* values, Py_ssize_t n, int64_t first
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        p[0] = b" "
        p = write_integer(p + 1, <uint64_t> (columns[i] + first))
        p[0] = b":"
        p = write_number(p + 1, values[i], floating is float)
    return p


cdef inline bint increases(const index_t* columns, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef bint rising = True
    for i in range(1, n):
        rising &= columns[i] > columns[i - 1]
    return rising


cdef char* write_labels(char* p, const double* labels, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if i > 0:
            p[0] = b","
            p += 1
        p = write_number(p, labels[i], False)
    return p


def format_rows(
    const double[::1] labels, const int64_t[::1] label_ends, const int64_t[::1] queries,
    const floating[::1] values, const index_t[::1] columns, const int64_t[::1] indptr, int64_t first,
):
    """Rows as lines of text.

    Parameters
    ----------
    labels, label_ends : ndarray of float64 and of int64, (n + 1,)
        Row i has `labels[label_ends[i]:label_ends[i + 1]]`.
    queries : ndarray of int64, (n,), or None
        The query ids.
    values, columns, indptr : ndarrays
        Row i has `values[indptr[i]:indptr[i + 1]]` in the `columns` of the same places, which may be in any order.
    first : int
        What the file calls column 0.

    Returns
    -------
    text : ndarray of uint8
    row : int
        The first row that has a column twice, -1 if there is none; the text ends before it.
    """
    cdef Py_ssize_t rows = label_ends.shape[0] - 1, i, j
    cdef int64_t begin, n, longest = 0, twice = -1
    cdef bint in_order
    for i in range(rows):
        longest = max(longest, indptr[i + 1] - indptr[i])
    # A row's separators and query id: " qid:N" and a newline.
    bound = ((labels.shape[0] + 1) * (LONGEST + 1) + rows * (LONGEST_INTEGER + 6)
             + (indptr[rows] - indptr[0]) * LONGEST_PAIR)
    text = np.empty(bound, np.uint8)
    cdef unsigned char[::1] room = text
    cdef char* start = <char*> &room[0]
    cdef char* p = start
    # Where rows that are not sorted become so; never empty, so that there is a first place.
    cdef int64_t[::1] ids = np.empty(longest + 1, np.int64)
    cdef floating[::1] sorted_values = np.empty(longest + 1, np.float32 if floating is float else np.float64)
    with nogil:
        for i in range(rows):
            begin, n = indptr[i], indptr[i + 1] - indptr[i]
            in_order = increases(&columns[begin], n)
            if not in_order:
                for j in range(n):
                    ids[j] = columns[begin + j]
                memcpy(&sorted_values[0], &values[begin], n * sizeof(floating))
                sort_row(&ids[0], &sorted_values[0], n)
                if not increases(&ids[0], n):
                    twice = i
                    break
            p = write_labels(p, &labels[label_ends[i]], label_ends[i + 1] - label_ends[i])
            if queries is not None:
                memcpy(p, <const char*> b" qid:", 5)
                p = write_integer(p + 5, <uint64_t> queries[i])
            if in_order:
                p = write_pairs(p, &columns[begin], &values[begin], n, first)
            else:
                p = write_pairs(p, &ids[0], &sorted_values[0], n, first)
            p[0] = b"\n"
            p += 1
    return text[:p - start], twice
