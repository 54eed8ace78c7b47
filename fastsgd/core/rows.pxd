# A row x, dense or CSR, and what it does to the weights of K outputs: scores, update, prefetch.
#
# `columns` of type dense_t is a tag, never read: column j is position j, and the weights are
# class-major, K x d, so that a score is one contiguous dot product. On CSR rows they are
# feature-major, d x K, so that a nonzero touches K contiguous weights. K = 1 is the same
# memory both ways.

from cython cimport floating
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t, uint8_t

ctypedef uint8_t dense_t

ctypedef fused index_t:
    int32_t
    int64_t
    dense_t

cdef extern from "simd.h" nogil:
    void fastsgd_prefetch(const void* start, Py_ssize_t size)
    double fastsgd_norm_f32(const float* x, Py_ssize_t n)
    double fastsgd_norm_f64(const double* x, Py_ssize_t n)
    void fastsgd_dots_f32(const float* x, const float* w, Py_ssize_t d, Py_ssize_t K, double* z)
    void fastsgd_dots_f64(const double* x, const double* w, Py_ssize_t d, Py_ssize_t K, double* z)
    void fastsgd_axpys_f32(const float* x, float* w, Py_ssize_t d, Py_ssize_t K, const double* c)
    void fastsgd_axpys_f64(const double* x, double* w, Py_ssize_t d, Py_ssize_t K, const double* c)
    void fastsgd_csr_dots_f32_i32(
        const float* x, const int32_t* columns, Py_ssize_t nnz, const float* w, Py_ssize_t K, double* z)
    void fastsgd_csr_axpys_f32_i32(
        const float* x, const int32_t* columns, Py_ssize_t nnz, float* w, Py_ssize_t K, const double* c)
    void fastsgd_csr_dots_f32_i64(
        const float* x, const int64_t* columns, Py_ssize_t nnz, const float* w, Py_ssize_t K, double* z)
    void fastsgd_csr_axpys_f32_i64(
        const float* x, const int64_t* columns, Py_ssize_t nnz, float* w, Py_ssize_t K, const double* c)
    void fastsgd_csr_dots_f64_i32(
        const double* x, const int32_t* columns, Py_ssize_t nnz, const double* w, Py_ssize_t K, double* z)
    void fastsgd_csr_axpys_f64_i32(
        const double* x, const int32_t* columns, Py_ssize_t nnz, double* w, Py_ssize_t K, const double* c)
    void fastsgd_csr_dots_f64_i64(
        const double* x, const int64_t* columns, Py_ssize_t nnz, const double* w, Py_ssize_t K, double* z)
    void fastsgd_csr_axpys_f64_i64(
        const double* x, const int64_t* columns, Py_ssize_t nnz, double* w, Py_ssize_t K, const double* c)

cdef enum:
    SHORT_ROW = 64      # columns below which a call to the vector kernels costs more than it saves,
    LONGEST_PREFETCH = 1024
    LONG_ROW = 256      # and for the norm, whose inlined loop has vectors too


# What an update keeps count of besides the weights, for averaging and for penalties with an l1 part.
cdef struct Tally:
    double average_scale    # sum of the l2 scales of the iterates averaged so far
    double sum_squares      # change of the sum of w^2 and of |w|, in units of the stored weights
    double sum_abs


cdef inline void row_scores(const floating* x, const index_t* columns, Py_ssize_t nnz, const floating* w,
                            Py_ssize_t K, double* z) noexcept nogil:
    """z[k] = w_k . x, K nnz multiply-adds."""
    cdef Py_ssize_t j
    cdef double a = 0.0, b = 0.0, c = 0.0, e = 0.0
    if index_t is dense_t:
        if K > 1 or nnz >= SHORT_ROW:
            dots(x, w, nnz, K, z)
            return
    elif K > 1:
        csr_dots(x, columns, nnz, w, K, z)
        return
    # One output: four running sums, so that additions do not wait for each other.
    for j in range(0, nnz - 3, 4):
        a += x[j] * w[column(columns, j)]
        b += x[j + 1] * w[column(columns, j + 1)]
        c += x[j + 2] * w[column(columns, j + 2)]
        e += x[j + 3] * w[column(columns, j + 3)]
    for j in range(nnz & ~3, nnz):
        a += x[j] * w[column(columns, j)]
    z[0] = (a + b) + (c + e)


cdef inline double row_norm(const floating* x, Py_ssize_t nnz) noexcept nogil:
    """||x||^2, for a row that names no column twice."""
    cdef double norm
    if nnz >= LONG_ROW:
        dots(x, x, nnz, 1, &norm)
        return norm
    if floating is float:
        return fastsgd_norm_f32(x, nnz)
    else:
        return fastsgd_norm_f64(x, nnz)


cdef inline void row_add(const floating* x, const index_t* columns, Py_ssize_t nnz, floating* w,
                         Py_ssize_t K, const double* c) noexcept nogil:
    """w_k += c[k] x, K nnz multiply-adds."""
    cdef Py_ssize_t j
    cdef floating ck = <floating>c[0]
    if index_t is dense_t:
        if K > 1 or nnz >= SHORT_ROW:
            axpys(x, w, nnz, K, c)
            return
    elif K > 1:
        csr_axpys(x, columns, nnz, w, K, c)
        return
    if ck != 0:
        for j in range(0, nnz - 3, 4):
            w[column(columns, j)] += ck * x[j]
            w[column(columns, j + 1)] += ck * x[j + 1]
            w[column(columns, j + 2)] += ck * x[j + 2]
            w[column(columns, j + 3)] += ck * x[j + 3]
        for j in range(nnz & ~3, nnz):
            w[column(columns, j)] += ck * x[j]


cdef inline void row_add_counted(const floating* x, const index_t* columns, Py_ssize_t nnz, floating* w,
                                 Py_ssize_t K, const double* c, floating* average, Tally* tally) noexcept nogil:
    """As row_add, keeping `tally` and, unless it is NULL, the running average in step."""
    cdef Py_ssize_t j, k, at
    cdef double old
    if index_t is dense_t:
        for k in range(K):
            if c[k] != 0:
                for j in range(nnz):
                    at = k * nnz + j
                    old = w[at]
                    w[at] += <floating>c[k] * x[j]
                    count_change(old, w[at], at, average, tally)
    else:
        for j in range(nnz):
            for k in range(K):
                at = columns[j] * K + k
                old = w[at]
                w[at] += <floating>c[k] * x[j]
                count_change(old, w[at], at, average, tally)


cdef inline void count_change(double old, double new, Py_ssize_t at, floating* average, Tally* tally) noexcept nogil:
    """Weight `at` went from old to new: S = A w - average stays the sum of the iterates so far (Xu 2011)."""
    cdef double change = new - old
    tally.sum_squares += change * (new + old)
    tally.sum_abs += fabs(new) - fabs(old)
    if average != NULL:
        average[at] += <floating>(tally.average_scale * change)


cdef inline void row_prefetch(const floating* x, const index_t* columns, Py_ssize_t start,
                              Py_ssize_t nnz) noexcept nogil:
    # Of a long row the hardware fetches the rest, and the weights should stay in the cache.
    nnz = min(nnz, LONGEST_PREFETCH)
    fastsgd_prefetch(x + start, nnz * sizeof(floating))
    if index_t is not dense_t:
        fastsgd_prefetch(columns + start, nnz * sizeof(index_t))


cdef inline Py_ssize_t column(const index_t* columns, Py_ssize_t j) noexcept nogil:
    if index_t is dense_t:
        return j
    else:
        return columns[j]


cdef inline void dots(const floating* x, const floating* w, Py_ssize_t d, Py_ssize_t K, double* z) noexcept nogil:
    if floating is float:
        fastsgd_dots_f32(x, w, d, K, z)
    else:
        fastsgd_dots_f64(x, w, d, K, z)


cdef inline void axpys(const floating* x, floating* w, Py_ssize_t d, Py_ssize_t K, const double* c) noexcept nogil:
    if floating is float:
        fastsgd_axpys_f32(x, w, d, K, c)
    else:
        fastsgd_axpys_f64(x, w, d, K, c)


cdef inline void csr_dots(const floating* x, const index_t* columns, Py_ssize_t nnz, const floating* w, Py_ssize_t K,
                          double* z) noexcept nogil:
    if floating is float:
        if index_t is int32_t:
            fastsgd_csr_dots_f32_i32(x, columns, nnz, w, K, z)
        elif index_t is int64_t:
            fastsgd_csr_dots_f32_i64(x, columns, nnz, w, K, z)
    else:
        if index_t is int32_t:
            fastsgd_csr_dots_f64_i32(x, columns, nnz, w, K, z)
        elif index_t is int64_t:
            fastsgd_csr_dots_f64_i64(x, columns, nnz, w, K, z)


cdef inline void csr_axpys(const floating* x, const index_t* columns, Py_ssize_t nnz, floating* w, Py_ssize_t K,
                           const double* c) noexcept nogil:
    if floating is float:
        if index_t is int32_t:
            fastsgd_csr_axpys_f32_i32(x, columns, nnz, w, K, c)
        elif index_t is int64_t:
            fastsgd_csr_axpys_f32_i64(x, columns, nnz, w, K, c)
    else:
        if index_t is int32_t:
            fastsgd_csr_axpys_f64_i32(x, columns, nnz, w, K, c)
        elif index_t is int64_t:
            fastsgd_csr_axpys_f64_i64(x, columns, nnz, w, K, c)
