# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The scores W x + b of rows.

Arguments are trusted, but for outputs and what `scores` says of columns: `_validation` has checked the rest before.
"""

from cython cimport floating
from libc.math cimport NAN
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc

from .job cimport Bounds, row_begin, row_bounds
from .rows cimport (
    any_outside, dense_t, dot_ahead, index_t, row_prefetch, row_scores, row_scores_apart, weights_ahead,
    weights_prefetch,
)

cdef enum:
    CHECKED = 2048  # nonzeros of unchecked rows at once,
    AHEAD = 4096    # and those asked for: beyond the page of memory at whose end the CPU's own prefetching stops


def scores(const floating[::1] data, const index_t[::1] indices, indptr, const uint32_t[::1] order,
           const floating[:, :] W, const double[::1] bias, double scale, floating[:, ::1] out):
    """out[i] = scale W x + b of row order[i], or of row i if order is None.

    W is (K, d), laid out as in State: contiguous for dense rows; for CSR the K weights of a feature are neighbours,
    from feature to feature any number apart.
    Without an order, the columns of CSR rows need not have been checked: they are here, some rows at a time, while they
    are in the cache. From about the first one on that is outside 0 .. d - 1, scores are NaN.
    """
    cdef Py_ssize_t K = W.shape[0], n = out.shape[0], pitch = K, i, k, start = 0, nnz = 0, next = 0, following = 0
    cdef Py_ssize_t ahead = AHEAD if order is None and n > 1 else 0, checked = 0, last = 0, early
    cdef const uint32_t* visits = &order[0] if order is not None else NULL
    cdef bint sound = True
    cdef Bounds bounds = row_bounds(indptr, W.shape[1])
    cdef double* z
    if bias.shape[0] != K or out.shape[1] != K:     # read one after the other, while another thread fitted the model
        raise ValueError("the model has been fitted to other classes or targets while it scored")
    z = <double*>malloc(K * sizeof(double))
    if z == NULL:
        raise MemoryError
    if index_t is not dense_t:
        pitch = W.strides[1] // <Py_ssize_t>sizeof(floating)
    early = weights_ahead(&indices[0], K, W.shape[1] * pitch * sizeof(floating))
    with nogil:
        if order is None:
            checked, last = row_begin(&indices[0], &bounds, 0), row_begin(&indices[0], &bounds, n)
        for i in range(n):
            span(&indices[0], &bounds, visits, i, &start, &nnz)
            if index_t is dense_t:
                row_scores(&data[start], &indices[start], nnz, &W[0, 0], K, z)
            else:
                if K > 1 and i + 1 < n:
                    span(&indices[0], &bounds, visits, i + 1, &next, &following)
                if order is None and sound:
                    sound = check_columns(&indices[0], max(start + nnz, next + following), last, W.shape[1], &checked)
                if not sound:
                    for k in range(K):
                        z[k] = NAN
                elif K > 1:
                    if ahead > 0:
                        row_prefetch(&data[0], &indices[0], start + ahead, nnz)
                    weights_prefetch(&indices[next], following, &W[0, 0], K, pitch, early)
                    row_scores_apart(&data[start], &indices[start], nnz, &W[0, 0], K, pitch, z, early)
                elif pitch == 1:    # known when compiling: no multiplication for each weight
                    z[0] = dot_ahead(&data[start], &indices[start], nnz, &W[0, 0], <Py_ssize_t>1, <double*>NULL, ahead)
                else:
                    z[0] = dot_ahead(&data[start], &indices[start], nnz, &W[0, 0], pitch, <double*>NULL, ahead)
            for k in range(K):
                out[i, k] = <floating>(scale * z[k] + bias[k])
    free(z)


cdef inline void span(const index_t* columns, const Bounds* bounds, const uint32_t* order, Py_ssize_t at,
                      Py_ssize_t* start, Py_ssize_t* nnz) noexcept nogil:
    """Where the values of row order[at] are, or of row `at` without an order."""
    cdef Py_ssize_t row = order[at] if order != NULL else at
    start[0] = row_begin(columns, bounds, row)
    nnz[0] = row_begin(columns, bounds, row + 1) - start[0]


cdef inline bint check_columns(const index_t* columns, Py_ssize_t needed, Py_ssize_t last, Py_ssize_t d,
                               Py_ssize_t* checked) noexcept nogil:
    """Whether the first `needed` columns are of 0 .. d - 1, if the first `checked` are; looks on a bit, to `last`."""
    cdef Py_ssize_t first = checked[0]
    if needed <= first:
        return True
    checked[0] = min(max(needed, first + CHECKED), last)
    return not any_outside(columns + first, checked[0] - first, d)


def winners(const floating[:, ::1] scores, Py_ssize_t[::1] codes):
    """The class number of each row: of one score whether it is above 0, of several the place of the highest.

    NaN, which only weights that the caller has set give, is never above anything.
    """
    cdef Py_ssize_t i, k, best, K = scores.shape[1]
    cdef floating high
    with nogil:
        for i in range(codes.shape[0]):
            if K == 1:
                codes[i] = scores[i, 0] > 0
                continue
            best, high = 0, scores[i, 0]
            for k in range(1, K):
                # Two choices without a branch, which would often be mispredicted.
                best = k if scores[i, k] > high else best
                high = scores[i, k] if scores[i, k] > high else high
            codes[i] = best


def shift(floating[:, ::1] scores, double scale, const double[::1] bias):
    """scale W x + b of scores W x."""
    cdef Py_ssize_t i, k
    with nogil:
        for i in range(scores.shape[0]):
            for k in range(scores.shape[1]):
                scores[i, k] = <floating>(scale * scores[i, k] + bias[k])
