# l1 as a cumulative truncated gradient, lazily on the features of each row.

from cython cimport floating

from .rows cimport Tally, count_change, dense_t, index_t

cdef inline void truncate_row(const floating* x, const index_t* columns, Py_ssize_t nnz, floating* w, Py_ssize_t K,
                              floating* received, double total, double scale, floating* average,
                              Tally* tally) noexcept nogil:
    """Bring the l1 penalty of the row's features, its entries other than zero, up to date.

    Cumulative penalty of Tsuruoka, Tsujii, Ananiadou (2009), figure 2; `received` is their q.
    """
    cdef Py_ssize_t j, k
    if index_t is dense_t:
        for k in range(K):
            for j in range(nnz):
                if x[j] != 0:
                    truncate(w, k * nnz + j, received, total, scale, average, tally)
    else:
        for j in range(nnz):
            if x[j] != 0:
                for k in range(K):
                    truncate(w, columns[j] * K + k, received, total, scale, average, tally)


cdef inline void truncate(floating* w, Py_ssize_t at, floating* received, double total, double scale,
                          floating* average, Tally* tally) noexcept nogil:
    cdef double old = w[at], new = old
    if old > 0:
        new = max(0.0, old - (total + received[at]) / scale)
    elif old < 0:
        new = min(0.0, old + (total - received[at]) / scale)
    if new != old:
        w[at] = <floating>new
        received[at] += <floating>(scale * (w[at] - old))
        count_change(old, w[at], at, average, tally)
