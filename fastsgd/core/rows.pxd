# A row x, dense or CSR, and what it does to the weights of K outputs: scores, update, prefetch.
#
# `columns` of type dense_t is a tag, never read: column j is position j, and the weights are
# class-major, K x d, so that a score is one contiguous dot product. On CSR rows they are
# feature-major, d x K, so that a nonzero touches K contiguous weights. K = 1 is the same
# memory both ways.

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

ctypedef uint8_t dense_t

ctypedef fused index_t:
    int32_t
    int64_t
    dense_t

# gcc stops inlining in a file as large as those that the kernels become; what is `inline` here has to be, since it
# is called for every row.
cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #undef CYTHON_INLINE
    #define CYTHON_INLINE inline __attribute__((always_inline))
    #endif
    """

# C macros: the kernel is chosen by the types of x and columns.
cdef extern from "csr.h" nogil:
    void fastsgd_prefetch(const void* start, Py_ssize_t size)
    void fastsgd_prefetch_two(const void* start, const void* other, Py_ssize_t size)
    double norm "fastsgd_norm"(...)     # (x, n)
    void dots "fastsgd_dots"(...)       # (x, columns, nnz, w, K, pitch, z, ahead)
    void axpys "fastsgd_axpys"(...)     # (x, columns, nnz, w, K, c)
    double dot "fastsgd_dot"(...)       # (x, columns, nnz, w, pitch, squares)
    double dot_ahead "fastsgd_dot_ahead"(...)   # (x, columns, nnz, w, pitch, squares, ahead)
    void axpy "fastsgd_axpy"(...)       # (x, columns, nnz, w, c)
    void axpys_dots "fastsgd_axpys_dots"(...)   # (x, d, w, K, c, next, ahead, z, norm): dense, one pass over w

cdef extern from "scattered.h" nogil:
    ctypedef struct Account "fastsgd_account":
        double due, scale, average_scale, sum_squares, sum_abs

    void row_step "fastsgd_step"(...)   # (x, columns, nnz, w, received, average, K, pitch, c, account)
    void row_average "fastsgd_average"(...)     # (x, columns, nnz, w, average, K, pitch, c, average_scale)
    void settle_all "fastsgd_settle"(...)   # (w, received, average, n, account)

cdef extern from "simd.h" nogil:
    bint rare "FASTSGD_RARE"(bint condition)    # says that a condition hardly ever holds
    double in_register "fastsgd_in_register"(double x)
    void multiply_by "fastsgd_multiply_by"(...)     # (w, n, apart, scale)

cdef extern from "checks.h" nogil:
    int fastsgd_any_outside_u32(const uint32_t* columns, Py_ssize_t n, uint32_t d)
    int fastsgd_any_outside_u64(const uint64_t* columns, Py_ssize_t n, uint64_t d)

cdef enum:
    SHORT_ROW = 64      # columns below which a call to the vector kernels costs more than it saves,
    LONG_ROW = 256      # and for the norm, whose inlined loop has vectors too
    LONGEST_PREFETCH = 1024
    WEIGHTS_AHEAD = 64  # nonzeros whose K weights are asked for before their turn,
    FEW_WEIGHTS = 1 << 22   # bytes of weights up to which none are: the CPU is early enough for pages that it knows


cdef inline void row_scores(const floating* x, const index_t* columns, Py_ssize_t nnz, const floating* w,
                            Py_ssize_t K, double* z) noexcept nogil:
    """z[k] = w_k . x, K nnz multiply-adds."""
    row_scores_apart(x, columns, nnz, w, K, K, z, 0)


cdef inline void row_scores_apart(const floating* x, const index_t* columns, Py_ssize_t nnz, const floating* w,
                                  Py_ssize_t K, Py_ssize_t pitch, double* z, Py_ssize_t ahead) noexcept nogil:
    """The same of feature-major weights that are `pitch` numbers apart from feature to feature; see `weights_ahead`."""
    if K > 1 or (index_t is dense_t and nnz >= SHORT_ROW):
        dots(x, columns, nnz, w, K, pitch, z, ahead)
    else:
        z[0] = dot(x, columns, nnz, w, pitch, <double*>NULL)


cdef inline double row_norm(const floating* x, Py_ssize_t nnz) noexcept nogil:
    """||x||^2, for a row that names no column twice."""
    cdef double squares
    if nnz < LONG_ROW:
        return norm(x, nnz)
    dots(x, <const dense_t*>NULL, nnz, x, 1, 1, &squares, 0)
    return squares


cdef inline void row_add(const floating* x, const index_t* columns, Py_ssize_t nnz, floating* w,
                         Py_ssize_t K, const double* c) noexcept nogil:
    """w_k += c[k] x, K nnz multiply-adds."""
    if K > 1 or (index_t is dense_t and nnz >= SHORT_ROW):
        axpys(x, columns, nnz, w, K, c)
    else:
        axpy(x, columns, nnz, w, <floating>c[0])


cdef inline void row_prefetch(const floating* x, const index_t* columns, Py_ssize_t start,
                              Py_ssize_t nnz) noexcept nogil:
    # Of a long row the hardware fetches the rest, and the weights should stay in the cache.
    nnz = min(nnz, LONGEST_PREFETCH)
    if index_t is dense_t:
        fastsgd_prefetch(x + start, nnz * sizeof(floating))
    elif sizeof(floating) == sizeof(index_t):
        fastsgd_prefetch_two(x + start, columns + start, nnz * sizeof(floating))
    else:
        fastsgd_prefetch(x + start, nnz * sizeof(floating))
        fastsgd_prefetch(columns + start, nnz * sizeof(index_t))


cdef inline Py_ssize_t weights_ahead(const index_t* columns, Py_ssize_t K, Py_ssize_t bytes) noexcept nogil:
    """How many nonzeros before their turn memory is asked for their feature-major weights, of so many bytes in all; 0
    if it is not asked. Of one output most are in the cache, and asking costs more than it saves."""
    return WEIGHTS_AHEAD if index_t is not dense_t and K > 1 and bytes > FEW_WEIGHTS else 0


cdef inline void weights_prefetch(const index_t* columns, Py_ssize_t nnz, const floating* w, Py_ssize_t K,
                                  Py_ssize_t pitch, Py_ssize_t ahead) noexcept nogil:
    """Ask memory for K numbers of each feature that a row begins with; `row_scores_apart` asks for the rest."""
    cdef Py_ssize_t j
    for j in range(min(nnz, ahead)):
        fastsgd_prefetch(w + columns[j] * pitch, K * sizeof(floating))


cdef inline bint any_outside(const index_t* columns, Py_ssize_t n, Py_ssize_t d) noexcept nogil:
    """Whether a column is not of 0 .. d - 1."""
    if index_t is int32_t:
        # Unsigned, every valid int32 is below 2^31.
        return fastsgd_any_outside_u32(<const uint32_t*>columns, n, <uint32_t>min(d, <Py_ssize_t>1 << 31))
    elif index_t is int64_t:
        return fastsgd_any_outside_u64(<const uint64_t*>columns, n, <uint64_t>d)
    else:
        return False


cdef inline Py_ssize_t column(const index_t* columns, Py_ssize_t j) noexcept nogil:
    if index_t is dense_t:
        return j
    else:
        return columns[j]
