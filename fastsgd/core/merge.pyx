# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""One state from copies that were trained side by side.

The copies' mean, carried on by a share of the last change, is blockwise model-update filtering (Chen, Huo 2016): a mean
of N copies moves only an N-th of what their rows ask for, and the carried change makes up for that. Where a sum of
their changes would overshoot, because each copy has gone all the way, this does not grow.
"""

from cython cimport floating
from libc.math cimport fabs

from .rows cimport row_norm

cdef enum:
    BLOCK = 512         # numbers that one pass works on, so that they stay in the cache
    MOST_COPIES = 64

LARGEST_CREW = MOST_COPIES


cdef struct Part:       # a state's arrays, average and received maybe NULL
    void* weights
    void* average
    void* received
    double scale, average_scale


cdef Part part_of(state, const floating[::1] like):
    cdef floating[::1] weights = state.weights, average = state.average, received = state.received
    cdef Part part = Part(&weights[0], NULL, NULL, state.scale, state.average_scale)
    if average is not None:
        part.average = &average[0]
    if received is not None:
        part.received = &received[0]
    return part


def merge(state, const floating[::1] weights, velocity, copies, double due, Py_ssize_t first, Py_ssize_t last):
    """Merge the weights first .. last - 1 of copies of the state, trained since, into the first of them.

    W = mean(W_i) + (1 - 1 / N) V, and V = W - W before; under l1 not past 0. What a running average and an l1 account
    have gained adds up, and all weights pay what they still owe: otherwise every copy would pay it in the next round.
    `weights` are the state's, to tell their type; the caller sets everything that is not an array of their size: the
    scale becomes 1, average_scale 0, penalty_total `due`, which is what the copies' have gained together.

    Returns
    -------
    sum_squares, sum_abs : float
        Of these weights; sum_abs only under l1, else 0.
    """
    cdef Py_ssize_t count = len(copies), n, i
    cdef Part before = part_of(state, weights)
    cdef Part[MOST_COPIES] parts
    cdef floating[::1] moving = velocity
    cdef double squares = 0.0, total = 0.0
    for i in range(count):
        parts[i] = part_of(copies[i], weights)
    with nogil:
        while first < last:
            n = min(<Py_ssize_t>BLOCK, last - first)
            if before.average != NULL:
                add_averages(&before, parts, count, first, n, &weights[0])
            if before.received != NULL:
                add_received(&before, parts, count, due, first, n, &weights[0])
            carry_on(&before, parts, count, first, n, &moving[0], &weights[0])
            if before.received != NULL:
                total += pay(<floating*>parts[0].weights + first, <floating*>parts[0].received + first, n, due)
            squares += row_norm(<const floating*>parts[0].weights + first, n)
            first += n
    return squares, total


cdef void carry_on(const Part* before, const Part* parts, Py_ssize_t count, Py_ssize_t first, Py_ssize_t n,
                   floating* v, const floating* old) noexcept nogil:
    """The weights and their velocity."""
    cdef floating[BLOCK] mean
    cdef floating momentum = <floating>(1 - 1.0 / count), scale = <floating>before.scale, share, new
    cdef floating* w = <floating*>parts[0].weights + first
    cdef const floating* x
    cdef Py_ssize_t i, j
    v += first
    old += first
    for j in range(n):
        mean[j] = 0
    for i in range(count):
        share = <floating>(parts[i].scale / count)
        x = <const floating*>parts[i].weights + first
        for j in range(n):
            mean[j] += share * x[j]
    if before.received == NULL:
        for j in range(n):
            new = mean[j] + momentum * v[j]
            v[j] = new - scale * old[j]
            w[j] = new
        return
    for j in range(n):
        new = mean[j] + momentum * v[j]
        if (mean[j] >= 0 and new < 0) or (mean[j] <= 0 and new > 0):
            new = 0
        v[j] = new - scale * old[j]
        w[j] = new


cdef double pay(floating* w, floating* received, Py_ssize_t n, double due) noexcept nogil:
    """Bring the weights' l1 penalty up to date; returns ||W||_1."""
    cdef floating old
    cdef double total = 0.0
    cdef Py_ssize_t j
    for j in range(n):
        old = w[j]
        if old > 0:
            w[j] = <floating>max(0.0, old - (due + received[j]))
        elif old < 0:
            w[j] = <floating>min(0.0, old + (due - received[j]))
        received[j] += w[j] - old
        total += fabs(w[j])
    return total


cdef void add_averages(const Part* before, const Part* parts, Py_ssize_t count, Py_ssize_t first, Py_ssize_t n,
                       const floating* w) noexcept nogil:
    """The sum of the iterates, which a state has as average_scale * weights - average, becomes -average."""
    cdef double[BLOCK] total
    cdef const floating* a = <const floating*>before.average + first
    cdef floating* result = <floating*>parts[0].average + first
    cdef Py_ssize_t i, j
    w += first
    for j in range(n):
        total[j] = (count - 1) * (before.average_scale * w[j] - a[j])
    for i in range(count):
        w = <const floating*>parts[i].weights + first
        a = <const floating*>parts[i].average + first
        for j in range(n):
            total[j] -= parts[i].average_scale * w[j] - a[j]
    for j in range(n):
        result[j] = <floating>total[j]


cdef void add_received(const Part* before, const Part* parts, Py_ssize_t count, double due, Py_ssize_t first,
                       Py_ssize_t n, const floating* tag) noexcept nogil:
    """No weight has received more than was due, even if in several copies it has made up for the same."""
    cdef double[BLOCK] total
    cdef const floating* q = <const floating*>before.received + first
    cdef floating* result = <floating*>parts[0].received + first
    cdef Py_ssize_t i, j
    for j in range(n):
        total[j] = (1 - count) * <double>q[j]
    for i in range(count):
        q = <const floating*>parts[i].received + first
        for j in range(n):
            total[j] += q[j]
    for j in range(n):
        result[j] = <floating>max(-due, min(due, total[j]))
