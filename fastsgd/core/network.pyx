# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The pass over the rows of a network of one hidden layer: z = W2 g(W1 x + b1) + b2.

Both layers are what `sgd` trains: W1 has the hidden units for outputs, on rows x dense or CSR, and W2 the outputs of
the loss, on dense rows y = g(W1 x + b1). So a sparse row touches its features' columns of W1 alone. One scale stands
in front of both, since the l2 penalty shrinks them alike. With delta = dL/dz and e = (W2^T delta) g'(W1 x + b1) the
gradients are dW2 = delta y^T, db2 = delta, dW1 = e x^T, db1 = e (Rumelhart, Hinton, Williams 1986).

Arguments are trusted, as in `sgd`.
"""

from cython cimport floating
from libc.stdint cimport uint32_t

from .activations cimport Activation, activate, slope
from .job cimport (
    Job, differentiate, find_row, look_ahead, look_at_signals, plan_move, read_target, row_bounds, shrink,
)
from .losses cimport Loss
from .rows cimport Account, dense_t, index_t, row_add, row_norm, row_scores, row_step
from .schedules cimport step_size
from .sgd cimport Settings, State, Totals, close_job, open_job

import numpy as np

ACTIVATIONS = {name: i for i, name in enumerate(("identity", "logistic", "tanh", "relu"))}


cdef struct Hidden:
    Py_ssize_t units
    Activation activation
    double* bias
    double* a               # scores W1 x + b1, and dL/da, of a batch: a row of `units` for each
    double* e
    double* move
    double norm             # ||x||^2


def train(Loss loss, Settings settings, State state, const floating[::1] data, const index_t[::1] indices, indptr,
          const floating[:, ::1] targets, const double[::1] sample_weight, const uint32_t[::1] order, Totals totals):
    """As `sgd.train`, of a state with a hidden layer."""
    cdef floating[::1] weights = state.weights
    cdef double[::1] bias = state.bias
    cdef Py_ssize_t h = state.hidden, K = bias.shape[0] - h, batch = min(settings.batch_size, order.shape[0])
    cdef Py_ssize_t first = weights.shape[0] - h * K
    cdef double[:, ::1] scratch = np.empty((batch + 3, K)), inner = np.empty((2 * batch + 1, h))
    cdef floating[:, ::1] y = np.empty((batch, h), state.weights.dtype)
    cdef Hidden hidden
    cdef Job job
    if order.shape[0] == 0:
        return
    job = open_job(loss, settings, state, order, row_bounds(indptr, first // h), targets.shape[1], sample_weight, K,
                   scratch)
    job.size, job.bias = weights.shape[0], &bias[h]
    job.counted = job.l2 > 0 and job.batch > 1
    job.followed = job.l2 > 0 and not job.counted
    hidden = Hidden(h, <Activation><int>ACTIVATIONS[state.activation], &bias[0], &inner[0, 0], &inner[batch, 0],
                    &inner[2 * batch, 0], 0)
    with nogil:
        run(&job, &hidden, loss, &data[0], &indices[0], &targets[0, 0], &weights[0], &weights[first], &y[0, 0])
    close_job(&job, state, totals)


cdef int run(Job* job, Hidden* hidden, Loss loss, const floating* data, const index_t* columns,
             const floating* targets, floating* w1, floating* w2, floating* y) except -1 nogil:
    """Batch after batch: the gradients of its rows at the same weights, then one step with their mean.

    y is the batch's rows of the second layer.
    """
    cdef const dense_t* dense = NULL
    cdef Py_ssize_t K = job.K, h = hidden.units, first = 0, size, i, row = 0, start = 0, nnz = 0
    cdef double eta, keep
    cdef Account account
    while first < job.rows:
        size = min(job.batch, job.rows - first)
        for i in range(size):
            look_ahead(job, data, columns, targets, first + i)
            row = find_row(job, columns, first + i, &start, &nnz)
            forward(job, hidden, data + start, columns + start, nnz, w1, w2, hidden.a + i * h, y + i * h)
            read_target(targets + row * job.width, job.width, K, job.off, job.t)
            if not differentiate(job, loss, row, job.g + i * K, K):
                job.bad_row = row
                return 0
            backward(job, hidden, w2, job.g + i * K, y + i * h, hidden.e + i * h)
            if job.single:
                look_at_signals(job, nnz * h)
        eta = step_size(&job.rule, job.step)
        keep = shrink(job, eta, w1, <floating*>NULL)
        account = Account(0, job.scale, 0, 0, 0)
        for i in range(size):
            if job.batch > 1:
                find_row(job, columns, first + i, &start, &nnz)
                if job.single:
                    look_at_signals(job, nnz * h)
            if plan_move(job, job.g + i * K, eta / size, keep, K):
                apply(job, y + i * h, dense, h, w2, K, job.move, &account)
            plan_units(job, hidden, hidden.a + i * h, hidden.e + i * h, eta / size, keep)
            apply(job, data + start, columns + start, nnz, w1, h, hidden.move, &account)
        if job.counted:
            job.sum_squares += account.sum_squares * job.scale * job.scale
        job.step += 1
        first += size
    return 0


cdef inline void forward(Job* job, Hidden* hidden, const floating* x, const index_t* columns, Py_ssize_t nnz,
                         const floating* w1, const floating* w2, double* a, floating* y) noexcept nogil:
    """a = W1 x + b1, y = g(a), and in job.z what `differentiate` makes W2 y + b2 of."""
    cdef Py_ssize_t j
    row_scores(x, columns, nnz, w1, hidden.units, a)
    for j in range(hidden.units):
        a[j] = job.scale * a[j] + hidden.bias[j]
        y[j] = <floating>activate(hidden.activation, a[j])
    row_scores(y, <const dense_t*>NULL, hidden.units, w2, job.K, job.z)
    if job.followed:
        hidden.norm = row_norm(x, nnz)
        job.norm = row_norm(y, hidden.units)


cdef inline void backward(const Job* job, const Hidden* hidden, const floating* w2, const double* g,
                          const floating* y, double* e) noexcept nogil:
    """e = (W2^T g) g'(a)"""
    cdef Py_ssize_t j, k
    cdef double c
    for j in range(hidden.units):
        e[j] = 0
    for k in range(job.K):
        c = job.scale * g[k]
        if c != 0:
            for j in range(hidden.units):
                e[j] += c * w2[j]
        w2 += hidden.units
    for j in range(hidden.units):
        e[j] *= slope(hidden.activation, y[j])


cdef inline void plan_units(Job* job, Hidden* hidden, const double* a, const double* e, double eta,
                            double keep) noexcept nogil:
    """As `plan_move`, of the hidden layer."""
    cdef Py_ssize_t j
    cdef double c, eta_stored = eta / job.scale
    for j in range(hidden.units):
        c = -eta * e[j]
        if job.followed:
            job.sum_squares += c * (2 * keep * (a[j] - hidden.bias[j]) + c * hidden.norm)
        hidden.bias[j] += c
        hidden.move[j] = -eta_stored * e[j]


cdef inline void apply(Job* job, const floating* x, const index_t* columns, Py_ssize_t nnz, floating* w,
                       Py_ssize_t K, const double* move, Account* account) noexcept nogil:
    """A layer's part of a row's update: w_k += move[k] x."""
    if job.counted:
        row_step(x, columns, nnz, w, <floating*>NULL, <floating*>NULL, K, move, account)
    else:
        row_add(x, columns, nnz, w, K, move)
