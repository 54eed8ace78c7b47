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

from .activations cimport RELU, Activation, activate, slope
from .job cimport (
    Job, differentiate, find_row, look_ahead, look_at_signals, plan_move, read_target, row_bounds, shrink,
)
from .losses cimport Loss
from .rows cimport Account, dense_t, index_t, row_add, row_norm, row_scores, row_step
from .schedules cimport step_size
from .sgd cimport Settings, State, Totals, close_job, open_job

import numpy as np

# C macros: the kernel is chosen by the type of w.
cdef extern from "hidden.h" nogil:
    void unit_scores "fastsgd_unit_scores"(...)     # (x, rows, d, w, units, z)
    void unit_moves "fastsgd_unit_moves"(...)       # (x, rows, d, w, c, stride)
    void transposed "fastsgd_transposed"(...)       # (w, n, c, K, e)
    void relu "fastsgd_relu"(...)                   # (y, n, scale, bias, a)
    void relu_back "fastsgd_relu_back"(...)         # (y, n, scale, e)
    double plan_units "fastsgd_plan_units"(Py_ssize_t n, double eta, double inverse, double keep, double norm,
                                           const double* a, double* e, double* bias)

ACTIVATIONS = {name: i for i, name in enumerate(("identity", "logistic", "tanh", "relu"))}


cdef enum:
    ROWS_TOGETHER = 64      # of a batch, that stay in the cache while the units pass by


cdef struct Hidden:
    Py_ssize_t units
    Activation activation
    double* bias
    double* a               # scores W1 x + b1, and dL/da, of a batch: a row of `units` for each
    double* e
    double norm             # ||x||^2
    const void** x          # where the dense rows of a batch are


def train(Loss loss, Settings settings, State state, const floating[::1] data, const index_t[::1] indices, indptr,
          const floating[:, ::1] targets, const double[::1] sample_weight, const uint32_t[::1] order, Totals totals):
    """As `sgd.train`, of a state with a hidden layer."""
    cdef floating[::1] weights = state.weights
    cdef double[::1] bias = state.bias
    cdef Py_ssize_t h = state.hidden, K = bias.shape[0] - h, batch = min(settings.batch_size, order.shape[0])
    cdef Py_ssize_t first = weights.shape[0] - h * K
    cdef double[:, ::1] scratch = np.empty((batch + 3, K)), inner = np.empty((2 * batch, h))
    cdef floating[:, ::1] y = np.empty((batch, h), state.weights.dtype)
    cdef Py_ssize_t[::1] rows = np.empty(batch, np.intp)
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
                    0, <const void**>&rows[0])
    with nogil:
        run(&job, &hidden, loss, &data[0], &indices[0], &targets[0, 0], &weights[0], &weights[first], &y[0, 0])
    close_job(&job, state, totals)


cdef int run(Job* job, Hidden* hidden, Loss loss, const floating* data, const index_t* columns,
             const floating* targets, floating* w1, floating* w2, floating* y) except -1 nogil:
    """Batch after batch: the gradients of its rows at the same weights, then one step with their mean.

    y is the batch's rows of the second layer.
    """
    cdef const dense_t* dense = NULL
    cdef Py_ssize_t K = job.K, h = hidden.units, first = 0, size, i, row = 0
    cdef double eta, keep, change
    cdef Account account
    while first < job.rows:
        size = min(job.batch, job.rows - first)
        score_units(job, hidden, data, columns, targets, first, size, w1)
        for i in range(size):
            row = job.order[first + i]
            forward(job, hidden, w2, hidden.a + i * h, y + i * h)
            read_target(targets + row * job.width, job.width, K, job.off, job.t)
            if not differentiate(job, loss, row, job.g + i * K, K):
                job.bad_row = row
                return 0
            backward(job, hidden, w2, job.g + i * K, y + i * h, hidden.e + i * h)
        eta = step_size(&job.rule, job.step)
        keep = shrink(job, eta, w1, <floating*>NULL)
        account = Account(0, job.scale, 0, 0, 0)
        if job.counted:
            account.sum_squares -= row_norm(w2, h * K)
        for i in range(size):
            if plan_move(job, job.g + i * K, eta / size, keep, K):
                row_add(y + i * h, dense, h, w2, K, job.move)
            change = plan_units(h, eta / size, 1 / job.scale, keep, hidden.norm, hidden.a + i * h, hidden.e + i * h,
                                hidden.bias)
            if job.followed:
                job.sum_squares += change
        move_units(job, hidden, data, columns, first, size, w1, &account)
        if job.counted:
            account.sum_squares += row_norm(w2, h * K)
            job.sum_squares += account.sum_squares * job.scale * job.scale
        job.step += 1
        first += size
    return 0


cdef inline int score_units(Job* job, Hidden* hidden, const floating* data, const index_t* columns,
                            const floating* targets, Py_ssize_t first, Py_ssize_t size,
                            const floating* w) except -1 nogil:
    """a = W1 x of a batch."""
    cdef Py_ssize_t i, some, h = hidden.units, start = 0, nnz = 0
    for i in range(size):
        look_ahead(job, data, columns, targets, first + i)
        find_row(job, columns, first + i, &start, &nnz)
        if index_t is dense_t:
            hidden.x[i] = data + start
        else:
            row_scores(data + start, columns + start, nnz, w, h, hidden.a + i * h)
            if job.single:
                look_at_signals(job, nnz * h)
        if job.followed:
            hidden.norm = row_norm(data + start, nnz)
    if index_t is dense_t:
        i = 0
        while i < size:
            some = min(<Py_ssize_t>ROWS_TOGETHER, size - i)
            unit_scores(<const floating**>hidden.x + i, some, nnz, w, h, hidden.a + i * h)
            if job.single:
                look_at_signals(job, some * nnz * h)
            i += some
    return 0


cdef inline void forward(Job* job, const Hidden* hidden, const floating* w2, double* a, floating* y) noexcept nogil:
    """From W1 x to a = W1 x + b1, y = g(a), and in job.z what `differentiate` makes W2 y + b2 of."""
    cdef Py_ssize_t j
    if hidden.activation == RELU:
        relu(y, hidden.units, job.scale, hidden.bias, a)
    else:
        for j in range(hidden.units):
            a[j] = job.scale * a[j] + hidden.bias[j]
            y[j] = <floating>activate(hidden.activation, a[j])
    row_scores(y, <const dense_t*>NULL, hidden.units, w2, job.K, job.z)
    if job.followed:
        job.norm = row_norm(y, hidden.units)


cdef inline void backward(const Job* job, const Hidden* hidden, const floating* w2, const double* g,
                          const floating* y, double* e) noexcept nogil:
    """e = (W2^T g) g'(a)"""
    cdef Py_ssize_t j
    transposed(w2, hidden.units, g, job.K, e)
    if hidden.activation == RELU:
        relu_back(y, hidden.units, job.scale, e)
    else:
        for j in range(hidden.units):
            e[j] *= job.scale * slope(hidden.activation, y[j])


cdef inline int move_units(Job* job, Hidden* hidden, const floating* data, const index_t* columns, Py_ssize_t first,
                           Py_ssize_t size, floating* w, Account* account) except -1 nogil:
    """W1 += the moves of a batch's rows; of dense rows, one unit takes all before the next does."""
    cdef Py_ssize_t i, k, h = hidden.units, start = 0, nnz = job.bounds.length
    if index_t is dense_t:
        for k in range(h):
            if job.counted:
                account.sum_squares -= row_norm(w, nnz)
            unit_moves(<const floating**>hidden.x, size, nnz, w, hidden.e + k, h)
            if job.counted:
                account.sum_squares += row_norm(w, nnz)
            if job.single:
                look_at_signals(job, nnz * size)
            w += nnz
    else:
        for i in range(size):
            find_row(job, columns, first + i, &start, &nnz)
            if job.counted:
                row_step(data + start, columns + start, nnz, w, <floating*>NULL, <floating*>NULL, h,
                         hidden.e + i * h, account)
            else:
                row_add(data + start, columns + start, nnz, w, h, hidden.e + i * h)
            if job.single:
                look_at_signals(job, nnz * h)
    return 0
