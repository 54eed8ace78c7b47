from cython cimport floating
from libc.stdint cimport int64_t


cdef inline void sort_row(int64_t* ids, floating* values, Py_ssize_t n) noexcept nogil:
    """Shell's sort with Knuth's gaps: in place, O(n^1.5) at worst."""
    cdef Py_ssize_t gap = 1, i, j
    cdef int64_t id
    cdef floating value
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            id, value = ids[i], values[i]
            j = i
            while j >= gap and ids[j - gap] > id:
                ids[j], values[j] = ids[j - gap], values[j - gap]
                j -= gap
            ids[j], values[j] = id, value
        gap //= 3
