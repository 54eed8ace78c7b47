# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""One state from copies that were trained side by side.

The copies' mean, carried on by a share of the last change, is blockwise model-update filtering (Chen, Huo 2016): a mean
of N copies moves only an N-th of what their rows ask for, and the carried change makes up for that. Where a sum of
their changes would overshoot, because each copy has gone all the way, this does not grow.
"""

from cython cimport floating
from libc.math cimport fabs
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from .job cimport Barrier, Job
from .rows cimport row_norm
from .state cimport State

import numpy as np

cdef extern from "crew.h" nogil:
    bint meet "fastsgd_meet"(Barrier* barrier)
    void break_up "fastsgd_break"(Barrier* barrier)

cdef enum:
    BLOCK = 512         # numbers that one pass works on, so that they stay in the cache

LARGEST_CREW = MOST_COPIES


cdef void* start_of(array, dtype, Py_ssize_t size) except? NULL:
    """Where the numbers of an array are that a kernel may write; NULL of None."""
    if array is None:
        return NULL
    if array.dtype != dtype or array.shape != (size,) or not array.flags.c_contiguous or not array.flags.writeable:
        raise ValueError("the model's state does not fit: fit the model again")
    return <void*><size_t>array.__array_interface__["data"][0]


cdef Part part_of(State state, State like):
    cdef Part part
    cdef Py_ssize_t size = len(like.weights), biases = len(like.bias)
    dtype, double = like.weights.dtype, np.dtype(np.float64)
    part.weights, part.average = start_of(state.weights, dtype, size), start_of(state.average, dtype, size)
    part.received = start_of(state.received, dtype, size)
    part.bias = <double*>start_of(state.bias, double, biases)
    part.average_bias = <double*>start_of(state.average_bias, double, biases)
    return part


cdef class Rounds:
    """Rounds in which threads train copies of a state, each on a share of the visits, and make one state of them.

    W = mean(W_i) + (1 - 1 / N) V, and V = W - W before; under l1 not past 0. What a running average and an l1 account
    have gained adds up, and all weights pay what they still owe: otherwise every copy would pay it in the next round.
    The threads meet when all have trained, merge a share of the weights each, and meet again. The state changes between
    these meetings alone, so that it is that of a whole round whenever a call of the kernel has ended.

    Parameters
    ----------
    state, velocity : State
        That trained on, its arrays in nobody else's hands, and the change of its weights and bias in the last round.
    copies : sequence of State
        One a thread, like the state.
    ends : ndarray of intp
        The visits at which rounds end.
    batch : int
        Rows in a batch: those of a step are not shared out.
    """

    def __init__(self, State state, State velocity, copies, const Py_ssize_t[::1] ends, Py_ssize_t batch):
        cdef Py_ssize_t i
        cdef Part moving = part_of(velocity, state)
        if len(copies) > MOST_COPIES:
            raise ValueError(f"{len(copies)} copies; at most {LARGEST_CREW} can be merged")
        self.state, self.kept, self.ends, self.batch = state, (velocity, copies), ends, batch
        self.count, self.size, self.itemsize = len(copies), len(state.weights), state.weights.itemsize
        self.biases = len(state.bias)
        self.barrier.count = <int>self.count
        self.whole = part_of(state, state)
        for i in range(self.count):
            self.parts[i] = part_of(copies[i], state)
        self.velocity, self.bias_velocity = moving.weights, moving.bias

    def abandon(self):
        """Let no thread wait for another: one will not come."""
        break_up(&self.barrier)

    cdef void take(self, Py_ssize_t i, Py_ssize_t number, const uint32_t* order, Job* job) noexcept nogil:
        """Thread i begins a round: its copy is the state, and the job goes over its share of the round's visits."""
        cdef Py_ssize_t first = self.ends[number - 1] if number > 0 else 0, visits = self.ends[number] - first
        cdef Py_ssize_t batches = (visits + self.batch - 1) // self.batch, start = i * batches // self.count
        cdef Py_ssize_t end = min(visits, (i + 1) * batches // self.count * self.batch)
        cdef Part whole = self.before()
        cdef Part* part = &self.parts[i]
        if number > 0:      # the first thread may be writing the state's yet
            self.measure(&whole.sum_squares, &whole.sum_abs)
        else:
            whole.sum_squares, whole.sum_abs = self.state.sum_squares, self.state.sum_abs
        memcpy(part.weights, whole.weights, self.size * self.itemsize)
        memcpy(part.bias, whole.bias, self.biases * sizeof(double))
        if whole.average != NULL:
            memcpy(part.average, whole.average, self.size * self.itemsize)
            memcpy(part.average_bias, whole.average_bias, self.biases * sizeof(double))
        if whole.received != NULL:
            memcpy(part.received, whole.received, self.size * self.itemsize)
        job.order, job.rows, job.step = order + first + start * self.batch, end - start * self.batch, whole.t + start
        job.scale, job.average_scale, job.averaged = whole.scale, whole.average_scale, whole.averaged
        job.penalty_total, job.sum_squares, job.sum_abs = whole.penalty_total, whole.sum_squares, whole.sum_abs
        job.scored, job.single, job.work, job.crew = False, 1 < job.rows <= job.batch, 0, &self.barrier

    cdef bint give(self, Py_ssize_t i, Py_ssize_t number, Job* job) noexcept nogil:
        """Thread i has trained; whether there is another round."""
        cdef Part before = self.before()
        cdef Part* part = &self.parts[i]
        cdef Py_ssize_t k, first = i * self.size // self.count, last = (i + 1) * self.size // self.count
        cdef double due
        part.t, part.scale, part.average_scale, part.averaged = job.step, job.scale, job.average_scale, job.averaged
        part.penalty_total, part.fine = job.penalty_total, job.bad_row < 0
        if not meet(&self.barrier):
            return False
        due = (1 - self.count) * before.penalty_total
        for k in range(self.count):
            due += self.parts[k].penalty_total
            if not self.parts[k].fine:
                return False
        if self.itemsize == sizeof(float):
            merge(&before, self.parts, i, self.count, due, first, last, <float*>self.velocity)
        else:
            merge(&before, self.parts, i, self.count, due, first, last, <double*>self.velocity)
        if i == 0:
            self.combine(&before, due)
        if not meet(&self.barrier):
            return False
        if i == 0:
            self.measure(&self.state.sum_squares, &self.state.sum_abs)
        return number + 1 < self.ends.shape[0]

    cdef Part before(self) noexcept nogil:
        """The state before a round, but for its norms."""
        cdef Part part = self.whole
        part.t, part.scale, part.average_scale = self.state.t, self.state.scale, self.state.average_scale
        part.averaged, part.penalty_total = self.state.averaged, self.state.penalty_total
        return part

    cdef void combine(self, const Part* before, double due) noexcept nogil:
        """What is not an array of the weights' size: the intercepts and their running average, and the scalars."""
        cdef Py_ssize_t i, k
        cdef double averaged = (1 - self.count) * before.averaged, momentum = 1 - 1.0 / self.count, new
        for i in range(self.count):
            averaged += self.parts[i].averaged
        for k in range(self.biases):
            if before.average_bias != NULL and averaged != 0:
                new = (1 - self.count) * before.averaged * before.average_bias[k]
                for i in range(self.count):
                    new += self.parts[i].averaged * self.parts[i].average_bias[k]
                before.average_bias[k] = new / averaged
            new = 0
            for i in range(self.count):
                new += self.parts[i].bias[k]
            new = new / self.count + momentum * self.bias_velocity[k]
            self.bias_velocity[k] = new - before.bias[k]
            before.bias[k] = new
        self.state.t, self.state.averaged, self.state.penalty_total = self.parts[self.count - 1].t, averaged, due
        self.state.scale, self.state.average_scale = 1, 0

    cdef void measure(self, double* squares, double* total) noexcept nogil:
        """||W||^2 and, under l1, ||W||_1 of the merged weights."""
        cdef Py_ssize_t i
        squares[0] = total[0] = 0
        for i in range(self.count):
            squares[0] += self.parts[i].sum_squares
            total[0] += self.parts[i].sum_abs


cdef void merge(const Part* before, Part* parts, Py_ssize_t i, Py_ssize_t count, double due, Py_ssize_t first,
                Py_ssize_t last, floating* velocity) noexcept nogil:
    """Merge the weights first .. last - 1 into those before; their norms are thread i's."""
    cdef Py_ssize_t n
    cdef double squares = 0.0, total = 0.0
    while first < last:
        n = min(<Py_ssize_t>BLOCK, last - first)
        if before.average != NULL:
            add_averages(before, parts, count, first, n, velocity)
        if before.received != NULL:
            add_received(before, parts, count, due, first, n, velocity)
        carry_on(before, parts, count, first, n, velocity)
        if before.received != NULL:
            total += pay(<floating*>before.weights + first, <floating*>before.received + first, n, due)
        squares += row_norm(<const floating*>before.weights + first, n)
        first += n
    parts[i].sum_squares, parts[i].sum_abs = squares, total


cdef void carry_on(const Part* before, const Part* parts, Py_ssize_t count, Py_ssize_t first, Py_ssize_t n,
                   floating* v) noexcept nogil:
    """The weights and their velocity."""
    cdef floating[BLOCK] mean
    cdef floating momentum = <floating>(1 - 1.0 / count), scale = <floating>before.scale, share, new
    cdef floating* w = <floating*>before.weights + first
    cdef const floating* x
    cdef Py_ssize_t i, j
    v += first
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
            v[j] = new - scale * w[j]
            w[j] = new
        return
    for j in range(n):
        new = mean[j] + momentum * v[j]
        if (mean[j] >= 0 and new < 0) or (mean[j] <= 0 and new > 0):
            new = 0
        v[j] = new - scale * w[j]
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
                       const floating* tag) noexcept nogil:
    """The sum of the iterates, which a state has as average_scale * weights - average, becomes -average."""
    cdef double[BLOCK] total
    cdef floating* result = <floating*>before.average + first
    cdef const floating* a = result
    cdef const floating* w = <const floating*>before.weights + first
    cdef Py_ssize_t i, j
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
    cdef floating* result = <floating*>before.received + first
    cdef const floating* q = result
    cdef Py_ssize_t i, j
    for j in range(n):
        total[j] = (1 - count) * <double>q[j]
    for i in range(count):
        q = <const floating*>parts[i].received + first
        for j in range(n):
            total[j] += q[j]
    for j in range(n):
        result[j] = <floating>max(-due, min(due, total[j]))
