# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The pass over the rows of a network of one hidden layer: z = W2 g(W1 x + b1) + b2.

Both layers are what `sgd` trains: W1 has the hidden units for outputs, on rows x dense or CSR, and W2 the outputs of
the loss, on dense rows y = g(W1 x + b1). So a sparse row touches its features' columns of W1 alone. One scale stands
in front of both, since the l2 penalty shrinks them alike. With delta = dL/dz and e = (W2^T delta) g'(W1 x + b1) the
gradients are dW2 = delta y^T, db2 = delta, dW1 = e x^T, db1 = e (Rumelhart, Hinton, Williams 1986).

The penalty is scikit-learn's: its strength, `Settings.strength` in whole batches, goes with 1 / the rows of a batch.

Arguments are trusted, as in `sgd`.
"""

from cython cimport floating
from libc.math cimport sqrt
from libc.stdint cimport uint32_t
from libc.string cimport memset

from .activations cimport RELU, Activation, activate, slope
from .adaptive cimport ADAM, SGD, Adaptive, adapt_all, adapt_cells, set_step
from .job cimport (
    Job, differentiate, find_row, look_ahead, look_at_signals, plan_move, read_target, row_bounds, shrink,
)
from .losses cimport Loss
from .merge cimport Rounds
from .rows cimport Account, dense_t, index_t, row_add, row_norm, row_scores, row_scores_apart, row_step
from .schedules cimport step_size
from .sgd cimport close_job, open_job, open_rule
from .state cimport Settings, State, Totals

import numpy as np

# C macros: the kernel is chosen by the type of w.
cdef extern from "hidden.h" nogil:
    enum:
        TILE

    void unit_scores "fastsgd_unit_scores"(...)     # (x, rows, d, w, units, z)
    void unit_moves "fastsgd_unit_moves"(...)       # (x, rows, at, d, units, c, stride, w, apart)
    void transposed "fastsgd_transposed"(...)       # (w, n, c, K, e)
    void relu "fastsgd_relu"(...)                   # (y, n, scale, bias, a)
    void relu_back "fastsgd_relu_back"(...)         # (y, n, scale, e)
    double plan_units "fastsgd_plan_units"(Py_ssize_t n, double eta, double inverse, double keep, double norm,
                                           const double* a, double* e, double* bias)

ACTIVATIONS = {name: i for i, name in enumerate(("identity", "logistic", "tanh", "relu"))}


cdef enum:
    ROWS_TOGETHER = 64      # of a batch, that stay in the cache while the units pass by
    NEAR = 1 << 15          # bytes of the rows that stay in the first cache while the units move,
    COLUMNS = 128           # a multiple of so many columns


cdef struct Hidden:
    Py_ssize_t units
    Activation activation
    double* bias
    double* a               # scores W1 x + b1, and dL/da, of a batch: a row of `units` for each
    double* e
    double norm             # ||x||^2
    const void** x          # where the dense rows of a batch are, and those of the second layer
    const void** y
    void* moves             # e, or the derivatives of the scores, in the weights' type
    double* bias_gradient   # of both layers, under the optimisers with a step for each weight
    void* gradient          # of TILE units
    double epsilon          # adam's


def train(Loss loss, Settings settings, State state, const floating[::1] data, const index_t[::1] indices, indptr,
          const floating[:, ::1] targets, const double[::1] sample_weight, const uint32_t[::1] order, Totals totals,
          Rounds rounds=None, Py_ssize_t thread=0):
    """As `sgd.train`, of a state with a hidden layer."""
    cdef floating[::1] weights = state.weights
    cdef double[::1] bias = state.bias
    cdef Py_ssize_t h = state.hidden, K = state.outputs, first = state.first, d = state.features, i
    cdef Py_ssize_t batch = min(settings.batch_size, order.shape[0])
    cdef double[:, ::1] scratch = np.empty((batch + 3, K)), inner = np.empty((2 * batch, h))
    cdef floating[:, ::1] y = np.empty((batch, h), state.weights.dtype)
    cdef floating[::1] gradient = state.gradient, unit, moves = np.empty(batch * max(h, K), state.weights.dtype)
    cdef Py_ssize_t[:, ::1] rows = np.empty((2, batch), np.intp)
    cdef Py_ssize_t number = 0
    cdef bint more = True
    cdef Hidden hidden
    cdef Job job
    if order.shape[0] == 0:
        return
    if settings.optimizer != state.optimizer or (
            index_t is not dense_t and settings.optimizer != SGD and settings.batch_size > 1 and gradient is None):
        raise ValueError("the estimator's parameters were changed while it trained")
    if settings.optimizer != SGD:
        bias = np.concatenate([state.bias, state.bias_memory, np.zeros(h + K)])
    job = open_job(loss, settings, state, order, row_bounds(indptr, d), targets.shape[1], sample_weight, K,
                   &scratch[0, 0])
    job.size, job.bias = weights.shape[0], &bias[h]
    hidden = Hidden(h, <Activation><int>ACTIVATIONS[state.activation], &bias[0], &inner[0, 0], &inner[batch, 0],
                    0, <const void**>&rows[0, 0], <const void**>&rows[1, 0], &moves[0], NULL, NULL,
                    0)
    job.adaptive.pitch, job.adaptive.gradient = state.pitch, NULL
    if settings.optimizer == SGD:
        job.counted = job.l2 > 0 and job.batch > 1
        job.followed = job.l2 > 0 and not job.counted
    else:
        open_rule(&job.adaptive, settings)
        hidden.epsilon = job.adaptive.rule.epsilon
        job.adaptive.rows, job.adaptive.lengths = 1, 0     # steps of its own are not for networks
        unit = np.empty(TILE * max(d, h), state.weights.dtype)
        hidden.gradient, hidden.bias_gradient = &unit[0], &bias[bias.shape[0] - h - K]
        if gradient is not None:
            job.adaptive.gradient = &gradient[0]
        for i in range(batch):
            hidden.y[i] = &y[i, 0]
    with nogil:
        while more:
            if rounds is not None:
                rounds.take(thread, number, &order[0], &job)
            run(&job, &hidden, loss, &data[0], &indices[0], &targets[0, 0], &weights[0], &weights[first], &y[0, 0])
            more = rounds is not None and rounds.give(thread, number, &job)
            number += 1
    close_job(&job, state, totals)
    if settings.optimizer != SGD:
        np.copyto(state.bias, bias[: h + K])
        np.copyto(state.bias_memory, bias[h + K : bias.shape[0] - h - K])


cdef int run(Job* job, Hidden* hidden, Loss loss, const floating* data, const index_t* columns,
             const floating* targets, floating* w1, floating* w2, floating* y) except -1 nogil:
    """Batch after batch: the gradients of its rows at the same weights, then one step with their mean.

    y is the batch's rows of the second layer.
    """
    cdef Py_ssize_t K = job.K, h = hidden.units, first = 0, size, i, row = 0
    cdef double l2 = job.l2
    while first < job.rows:
        size = min(job.batch, job.rows - first)
        job.l2 = l2 if size == job.batch else l2 * job.batch / size
        score_units(job, hidden, data, columns, targets, first, size, w1)
        for i in range(size):
            row = job.order[first + i]
            forward(job, hidden, w2, hidden.a + i * h, y + i * h)
            read_target(targets + row * job.width, job.width, K, job.off, job.t)
            if not differentiate(job, loss, row, job.z, job.t, job.g + i * K, K):
                job.bad_row = row
                return 0
            backward(job, hidden, w2, job.g + i * K, y + i * h, hidden.e + i * h)
        if hidden.gradient != NULL:
            adapt(job, hidden, data, columns, first, size, w1, w2)
        else:
            descend(job, hidden, data, columns, first, size, w1, w2, y)
        job.step += 1
        first += size
    return 0


cdef inline int score_units(Job* job, Hidden* hidden, const floating* data, const index_t* columns,
                            const floating* targets, Py_ssize_t first, Py_ssize_t size,
                            const floating* w) except -1 nogil:
    """a = W1 x of a batch."""
    cdef Py_ssize_t i, some, h = hidden.units, start = 0, nnz = 0
    for i in range(size):
        look_ahead(job, data, columns, targets, first + i, True)
        find_row(job, columns, first + i, &start, &nnz)
        if index_t is dense_t:
            hidden.x[i] = data + start
        else:
            row_scores_apart(data + start, columns + start, nnz, w, h, job.adaptive.pitch, hidden.a + i * h, 0)
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


cdef inline int descend(Job* job, Hidden* hidden, const floating* data, const index_t* columns, Py_ssize_t first,
                        Py_ssize_t size, floating* w1, floating* w2, const floating* y) except -1 nogil:
    """The step of a batch, of one size for all weights."""
    cdef Py_ssize_t i, h = hidden.units, K = job.K
    cdef double change, eta = step_size(&job.rule, job.step), keep = shrink(job, eta, w1, <floating*>NULL, 1)
    cdef Account account = Account(0, job.scale, 0, 0, 0)
    if job.counted:
        account.sum_squares -= row_norm(w2, h * K)
    for i in range(size):
        if plan_move(job, job.z, job.g + i * K, <floating*>NULL, job.move, eta / size, keep, K):
            row_add(y + i * h, <const dense_t*>NULL, h, w2, K, job.move)
        change = plan_units(h, eta / size, 1 / job.scale, keep, hidden.norm, hidden.a + i * h, hidden.e + i * h,
                            hidden.bias)
        if job.followed:
            job.sum_squares += change
    move_units(job, hidden, data, columns, first, size, w1, &account)
    if job.counted:
        account.sum_squares += row_norm(w2, h * K)
        job.sum_squares += account.sum_squares * job.scale * job.scale
    return 0


cdef inline int move_units(Job* job, Hidden* hidden, const floating* data, const index_t* columns, Py_ssize_t first,
                           Py_ssize_t size, floating* w, Account* account) except -1 nogil:
    """W1 += the moves of a batch's rows."""
    cdef Py_ssize_t i, h = hidden.units, start = 0, nnz = 0
    if index_t is dense_t:
        move_dense(job, hidden, <const floating**>hidden.x, size, job.bounds.length, w, h, hidden.e, account)
    for i in range(size if index_t is not dense_t else 0):
        find_row(job, columns, first + i, &start, &nnz)
        if job.counted:
            row_step(data + start, columns + start, nnz, w, <floating*>NULL, <floating*>NULL, h, h, hidden.e + i * h,
                     account)
        else:
            row_add(data + start, columns + start, nnz, w, h, hidden.e + i * h)
        if job.single:
            look_at_signals(job, nnz * h)
    return 0


cdef inline int move_dense(Job* job, Hidden* hidden, const floating** x, Py_ssize_t size, Py_ssize_t d, floating* w,
                           Py_ssize_t units, const double* c, Account* account) except -1 nogil:
    """Some units after others, w_k += sum_i c[i units + k] x[i] of dense rows; or what this does as a gradient."""
    cdef floating* gradient = <floating*>hidden.gradient
    cdef floating* moves = <floating*>hidden.moves
    cdef bint together = size >= TILE   # fewer rows have units to leave out
    cdef bint idle = gradient == NULL or not (job.l2 > 0 or job.adaptive.rule.optimizer == ADAM)
    cdef Py_ssize_t span = max(1, NEAR // (size * <Py_ssize_t>sizeof(floating) * COLUMNS)) * COLUMNS
    cdef Py_ssize_t at = 0, n, k, some
    for k in range(size * units):
        moves[k] = <floating>c[k]
    while at < d:
        n = min(span, d - at)
        k = 0
        while k < units:
            some = min(<Py_ssize_t>TILE, units - k) if together else 1
            if together or not idle or any_of(moves + k, size, units):
                move_some(job, gradient, x, size, at, n, some, moves + k, units, w + k * d + at, d, account)
            if job.single:
                look_at_signals(job, n * some * size)
            k += some
        at += n
    return 0


cdef inline bint any_of(const floating* c, Py_ssize_t size, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if c[i * stride] != 0:
            return True
    return False


cdef inline void move_some(const Job* job, floating* gradient, const floating** x, Py_ssize_t size, Py_ssize_t at,
                           Py_ssize_t n, Py_ssize_t some, const floating* c, Py_ssize_t units, floating* w,
                           Py_ssize_t d, Account* account) noexcept nogil:
    """Of some units n columns from `at` on, which begin at w."""
    cdef Py_ssize_t k
    if gradient == NULL:
        for k in range(some if job.counted else 0):
            account.sum_squares -= row_norm(w + k * d, n)
        unit_moves(x, size, at, n, some, c, units, w, d)
    else:
        memset(gradient, 0, some * n * sizeof(floating))
        unit_moves(x, size, at, n, some, c, units, gradient, n)
        for k in range(some):
            adapt_all(&job.adaptive.rule, n, units * d, gradient + k * n, w + k * d)
    for k in range(some if job.counted or (gradient != NULL and job.l2 > 0) else 0):
        account.sum_squares += row_norm(w + k * d, n)


cdef inline int adapt(Job* job, Hidden* hidden, const floating* data, const index_t* columns, Py_ssize_t first,
                      Py_ssize_t size, floating* w1, floating* w2) except -1 nogil:
    """The step of a batch, of a size for each weight.

    The epsilon of scikit-learn's adam is beside sqrt(v), without the correction.
    """
    cdef Adaptive* a = &job.adaptive
    cdef Py_ssize_t i, k, h = hidden.units, K = job.K
    cdef Account account = Account(0, 0, 0, 0, 0)
    set_step(a, job.step)
    a.rule.epsilon = hidden.epsilon * sqrt(a.rule.correction)
    for k in range(h + K):
        hidden.bias_gradient[k] = 0
    for i in range(size):
        for k in range(h):
            hidden.e[i * h + k] /= size
            hidden.bias_gradient[k] += hidden.e[i * h + k]
        for k in range(K):
            job.g[i * K + k] /= size
            hidden.bias_gradient[h + k] += job.g[i * K + k]
    a.rule.decay = 0
    adapt_all(&a.rule, h + K, h + K, hidden.bias_gradient, hidden.bias)
    a.rule.decay = job.l2
    if job.l2 > 0:
        account.sum_squares -= job.sum_squares if index_t is dense_t else row_norm(w2, K * h)
    move_dense(job, hidden, <const floating**>hidden.y, size, h, w2, K, job.g, &account)
    if index_t is dense_t:
        move_dense(job, hidden, <const floating**>hidden.x, size, job.bounds.length, w1, h, hidden.e, &account)
    else:
        adapt_sparse(job, hidden, data, columns, first, size, w1)
    job.sum_squares += account.sum_squares
    return 0


cdef inline int adapt_sparse(Job* job, Hidden* hidden, const floating* data, const index_t* columns, Py_ssize_t first,
                             Py_ssize_t size, floating* w) except -1 nogil:
    """W1 of sparse rows, in the cells of the features that they have."""
    cdef Adaptive* a = &job.adaptive
    cdef double* none = NULL
    cdef floating* gradient = <floating*>a.gradient if job.batch > 1 else NULL
    cdef Py_ssize_t i, h = hidden.units, start = 0, nnz = 0
    cdef bint moves = job.batch > 1
    if job.batch > 1:
        for i in range(size):
            find_row(job, columns, first + i, &start, &nnz)
            row_add(data + start, columns + start, nnz, gradient, h, hidden.e + i * h)
            if job.single:
                look_at_signals(job, nnz * h)
    else:
        for i in range(h):
            moves |= hidden.e[i] != 0
    for i in range(size if moves else 0):
        find_row(job, columns, first + i, &start, &nnz)
        if index_t is not dense_t:
            job.sum_squares += adapt_cells(data + start, columns + start, nnz, &a.rule, w, h, a.pitch,
                                           none if job.batch > 1 else hidden.e, gradient)
        if job.single:
            look_at_signals(job, nnz * h)
    return 0
