# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The pass over the rows: per-row or mini-batch SGD of K outputs.

Arguments are trusted: `_validation` has checked shapes, indices and values before.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cython cimport floating
from libc.math cimport log1p
from libc.stdint cimport uint32_t, uint64_t

from .adaptive cimport (
    NORMALIZED, SGD, Adaptive, Rule, adaptive_scores, adaptive_step, apply_bias_gradient, apply_gradient,
    gather_gradient, planes_of, set_step,
)
from .cross_entropy cimport LogLoss
from .job cimport (
    BEGINNING, FEW_NUMBERS, Bounds, Job, add_logarithm, differentiate, differentiate_one, find_row, look_ahead,
    look_at_signals, norm_of, plan_move, read_target, row_ahead, row_bounds, shrink,
)
from .losses cimport Loss
from .merge cimport Rounds
from .rows cimport (
    SHORT_ROW, Account, axpys_dots, dense_t, dot, index_t, row_add, row_average, row_norm, row_scores_apart, row_step,
    weights_ahead, weights_prefetch,
)
from .schedules cimport PA1, step_size
from .state cimport Settings, State, Totals

import numpy as np

cdef enum:
    NONZEROS_PER_PAIR = 16      # from which on copies of all weights are a small part of a pass,
    MOST_PAIRS = 1 << 22        # and bytes up to which they are a small part of the memory

# Tags: one output and one row a step, known when compiling, so that no loop over either remains; or any number.
cdef struct one_t:
    char unused

cdef struct many_t:
    char unused

cdef struct adaptive_t:     # any number, and an optimiser with a step for each weight
    char unused

ctypedef fused outputs_t:
    one_t
    many_t
    adaptive_t


def train(Loss loss, Settings settings, State state, const floating[::1] data, const index_t[::1] indices, indptr,
          const floating[:, ::1] targets, const double[::1] sample_weight, const uint32_t[::1] order, Totals totals,
          Rounds rounds=None, Py_ssize_t thread=0):
    """Learn from the rows `order`, in that order, adding to `totals`; stops before a row whose score is not finite.

    data, indices and indptr are those of a CSR matrix, or the flattened rows, an empty uint8 array and None.
    targets are (n, 1): numbers, or class numbers where K > 1; or (n, K). sample_weight may be None.
    A call for a single batch can be interrupted by a signal, and leaves the state half changed then.
    With `rounds` it is one of their threads, and the state its copy.
    """
    cdef floating[::1] weights = state.weights, average = state.average, received = state.received
    cdef double[::1] bias = state.bias, average_bias = state.average_bias
    cdef Py_ssize_t K = bias.shape[0]
    cdef bytearray scratch = PyByteArray_FromStringAndSize(
        NULL, (min(settings.batch_size, order.shape[0]) + 3) * K * sizeof(double))
    cdef double[::1] bias_cell
    cdef floating[::1] gradient, workspace
    cdef floating[:, ::1] pairs = None
    cdef floating* running = NULL
    cdef floating* got = NULL
    cdef Py_ssize_t longest, number = 0
    cdef bint more = True
    cdef Job job
    if order.shape[0] == 0:
        return
    if settings.optimizer != state.optimizer or (
            settings.optimizer != SGD and settings.batch_size > 1 and state.gradient is None):
        raise ValueError("the estimator's parameters were changed while it trained")
    if average is not None:
        running = &average[0]
    if received is not None:
        got = &received[0]
    job = open_job(loss, settings, state, order, row_bounds(indptr, weights.shape[0] // state.pitch), targets.shape[1],
                   sample_weight, K, <double*>PyByteArray_AS_STRING(scratch))
    job.size, job.bias = weights.shape[0], &bias[0]
    job.ahead = weights_ahead(&indices[0], K, weights.shape[0] * sizeof(floating))
    job.beginning = BEGINNING if data.shape[0] > FEW_NUMBERS else 0
    if running != NULL:
        job.average_bias = &average_bias[0]
    job.counted = got != NULL or (job.l2 > 0 and job.batch > 1)
    job.followed = job.l2 > 0 and not job.counted
    if settings.optimizer != SGD:
        # Cells of the intercepts, and then three vectors of K.
        cells = np.concatenate([state.bias, state.bias_memory, np.zeros(3 * K)])
        bias_cell = cells
        job.bias = &bias_cell[0]
        open_adaptive(&job, settings, state, bias_cell)
        job.adaptive.average = running
        gradient = state.gradient
        if gradient is not None:
            job.adaptive.gradient = &gradient[0]
        job.adaptive.gathered = index_t is not dense_t and K == 1 and job.batch == 1
        longest = longest_row(&job, &indices[0])
        workspace = np.empty(divide_workspace(&job.adaptive, K, longest, running), state.weights.dtype)
        divide_workspace(&job.adaptive, K, longest, &workspace[0])
    elif index_t is not dense_t and K == 1 and job.batch == 1 and rounds is None and (running == NULL) != (got == NULL):
        cells = pair(state, data.shape[0] / (len(indptr) - 1.0) * order.shape[0])
        pairs = cells
    with nogil:
        if settings.optimizer != SGD:
            run(&job, loss, &data[0], &indices[0], &targets[0, 0], &weights[0], running, got, 1, <adaptive_t*>NULL)
            more = False    # their copies are merged in Python
        while more:
            if rounds is not None:
                rounds.take(thread, number, &order[0], &job)
            if index_t is not dense_t and pairs is not None:
                run(&job, loss, &data[0], &indices[0], &targets[0, 0], &pairs[0, 0],
                    &pairs[0, 1] if running != NULL else NULL, &pairs[0, 1] if got != NULL else NULL, 2, <one_t*>NULL)
            elif K == 1 and job.batch == 1:
                run(&job, loss, &data[0], &indices[0], &targets[0, 0], &weights[0], running, got, 1, <one_t*>NULL)
            else:
                run(&job, loss, &data[0], &indices[0], &targets[0, 0], &weights[0], running, got, 1, <many_t*>NULL)
            more = rounds is not None and rounds.give(thread, number, &job)
            number += 1
    close_job(&job, state, totals)
    if pairs is not None:
        state.weights[:], beside(state)[:] = cells.T
    if settings.optimizer != SGD:
        state.bias[:], state.bias_memory[:] = cells[:K], cells[K : state.pitch]
        state.rows, state.lengths = job.adaptive.rows, job.adaptive.lengths


cdef object beside(State state):
    """What training keeps of each weight, which is one number."""
    return state.received if state.average is None else state.average


cdef object pair(State state, double nonzeros):
    """The weights and what is kept beside them, (d, 2), if a pass over so many nonzeros repays the copies; or None."""
    other = beside(state)
    if nonzeros < NONZEROS_PER_PAIR * len(other) or 2 * other.nbytes > MOST_PAIRS:
        return None
    cells = np.empty((len(other), 2), other.dtype)
    cells[:, 0], cells[:, 1] = state.weights, other
    return cells


cdef void open_rule(Adaptive* a, Settings settings):
    """How a gradient is applied, without a penalty; beta is that of the source."""
    a.own, a.step = settings.own, settings.rule.eta0
    a.rule = Rule(settings.optimizer, 0, 0, settings.delta, 1, 0, 0, settings.beta1, settings.beta2, 0,
                  settings.epsilon)


cdef void open_adaptive(Job* job, Settings settings, State state, double[::1] bias_cell):
    """The optimiser's part of a pass."""
    cdef Adaptive* a = &job.adaptive
    cdef Py_ssize_t K = job.K
    open_rule(a, settings)
    a.rule.l1, a.rule.l2, job.l1, job.l2, job.followed, job.counted = job.l1, job.l2, 0, 0, False, False
    a.rows, a.lengths, a.pitch, a.gradient, a.grown = state.rows, state.lengths, state.pitch, NULL, False
    a.used = planes_of(a.rule.optimizer) + (a.rule.optimizer == NORMALIZED)
    a.average = NULL
    a.bias = &bias_cell[0]
    a.bias_gradient, a.q = &bias_cell[a.pitch], &bias_cell[a.pitch + K]
    a.h = &bias_cell[a.pitch + 2 * K]


cdef Py_ssize_t longest_row(const Job* job, const index_t* columns):
    cdef Py_ssize_t longest = 1, i, start = 0, nnz = 0
    for i in range(job.rows):
        find_row(job, columns, i, &start, &nnz)
        longest = max(longest, nnz)
    return longest


cdef Py_ssize_t divide_workspace(Adaptive* a, Py_ssize_t K, Py_ssize_t longest, floating* space):
    """The numbers that a row of this length needs; given the space, hand it out."""
    cdef Py_ssize_t i = longest * 4 if a.gathered else 0
    a.cells = space
    a.before = space + i
    i += longest * K if a.average != NULL else 0
    a.u, a.inverse, a.rates = space + i, space + i + longest, space + i + 2 * longest
    return i + longest * (2 + K) if a.rule.optimizer == NORMALIZED else max(i, <Py_ssize_t>1)


cdef Job open_job(Loss loss, Settings settings, State state, const uint32_t[::1] order, Bounds bounds,
                  Py_ssize_t width, const double[::1] sample_weight, Py_ssize_t K, double* scratch):
    """A pass of K outputs; `scratch` has K numbers for each row of a batch and three more. The caller sets size, ahead,
    bias, average_bias, beginning, counted and followed."""
    cdef Job job
    job.order, job.rows, job.batch, job.K = &order[0], order.shape[0], settings.batch_size, K
    job.bounds, job.beginning, job.width = bounds, 0, width
    job.sample_weight = job.average_bias = job.bias = NULL
    if sample_weight is not None:
        job.sample_weight = &sample_weight[0]
    job.together = K if loss.joint else 1
    job.off = 0.0 if loss.joint else -1.0
    job.rule = settings.rule
    job.l2, job.l1 = settings.strength * (1 - settings.l1_ratio), settings.strength * settings.l1_ratio
    job.intercept_decay, job.fit_intercept = settings.intercept_decay, settings.fit_intercept
    job.average_from, job.rising = settings.average_from, settings.rising
    job.counted = job.followed = False
    job.size = job.ahead = 0
    job.move, job.z, job.t, job.g, job.norm = scratch, scratch + K, scratch + 2 * K, scratch + 3 * K, 0
    job.step, job.scale, job.average_scale, job.averaged = state.t, state.scale, state.average_scale, state.averaged
    job.penalty_total, job.sum_squares, job.sum_abs = state.penalty_total, state.sum_squares, state.sum_abs
    job.loss = job.penalty = job.weight = 0
    job.clipped, job.bad_row, job.scored = 0, -1, False
    job.logistic, job.product, job.likely, job.weighs = type(loss) is LogLoss and job.rule.schedule < PA1, 0, 0, 1
    job.single, job.work, job.crew = 1 < job.rows <= job.batch, 0, NULL
    return job


cdef void close_job(Job* job, State state, Totals totals):
    """What the pass has come to."""
    state.t, state.scale, state.average_scale, state.averaged = job.step, job.scale, job.average_scale, job.averaged
    state.penalty_total, state.sum_squares, state.sum_abs = job.penalty_total, job.sum_squares, job.sum_abs
    add_logarithm(job, 0, 1)
    totals.loss += job.loss + log1p(job.product)
    totals.penalty += job.penalty
    totals.weight += job.weight
    totals.clipped += job.clipped
    totals.bad_row = job.bad_row


cdef inline int run(Job* job, Loss loss, const floating* data, const index_t* columns, const floating* targets,
                    floating* w, floating* average, floating* received, Py_ssize_t apart,
                    const outputs_t* tag) except -1 nogil:
    """Batch after batch: score its rows at the same weights, then make one step with the mean derivative.

    `apart` is known when compiling: 1, or 2 where each weight and what is kept beside it are neighbours.
    """
    cdef Py_ssize_t K = 1 if outputs_t is one_t else job.K, batch = 1 if outputs_t is one_t else job.batch
    cdef Py_ssize_t first = 0, size, i, row = 0, start = 0, nnz = 0
    cdef bint by_kernel, finite
    # Of one output they are variables, not memory: the next row waits for what is made of them.
    cdef double score = 0, target = 0, derivative = 0, factor = 0
    cdef floating slope = 0
    cdef double* z = &score if outputs_t is one_t else job.z
    cdef double* t = &target if outputs_t is one_t else job.t
    cdef double* g = &derivative if outputs_t is one_t else job.g
    cdef double* move = &factor if outputs_t is one_t else job.move
    while first < job.rows:
        size = min(batch, job.rows - first) if batch > 1 else 1
        if outputs_t is adaptive_t:
            job.adaptive.average_scale = job.average_scale
        for i in range(size):
            row = find_row(job, columns, first + i, &start, &nnz)
            # Of long dense rows the kernels give the norm as well, and ask for the values ahead.
            by_kernel = index_t is dense_t and outputs_t is not adaptive_t and nnz >= SHORT_ROW
            look_ahead(job, data, columns, targets, first + i, not by_kernel)
            if outputs_t is adaptive_t:
                adaptive_scores(&job.adaptive, data + start, columns + start, nnz, w, K, job.fit_intercept, z,
                                job.ahead)
            else:
                if outputs_t is one_t and index_t is not dense_t:
                    z[0] = dot(data + start, columns + start, nnz, w, apart, &job.norm)
                elif index_t is dense_t and job.scored:
                    job.scored = False
                elif by_kernel:
                    axpys_dots(data, nnz, w, K, <double*>NULL, data + start, row_ahead(job, data, first + i), z,
                               norm_of(job))
                else:
                    row_scores_apart(data + start, columns + start, nnz, w, K, K, z, job.ahead)
            if outputs_t is not one_t and job.ahead > 0 and first + i + 1 < job.rows:
                ask_for_weights(job, columns, first + i + 1, w, job.adaptive.pitch if outputs_t is adaptive_t else K)
            if (outputs_t is not one_t or index_t is dense_t) and not by_kernel and norm_of(job) != NULL:
                job.norm = row_norm(data + start, nnz)
            read_target(targets + row * job.width, job.width, K, job.off, t)
            if outputs_t is one_t:
                finite = differentiate_one(job, loss, row, z, t, g, &slope)
            else:
                finite = differentiate(job, loss, row, z, t, g + i * K, K)
            if not finite:
                job.bad_row = row
                return 0
            if batch > 1 and job.single:
                look_at_signals(job, nnz * K)
        if outputs_t is adaptive_t:
            adapt(job, loss, data, columns, first, size, w)
            if average != NULL and job.step >= job.average_from:
                extend_average(job, K)
        else:
            descend(job, data, columns, first, size, start, nnz, z, g,
                    &slope if outputs_t is one_t else <floating*>NULL, move, w, average, received, apart, tag)
        job.step += 1
        first += size
    return 0


cdef inline void ask_for_weights(const Job* job, const index_t* columns, Py_ssize_t at, const floating* w,
                                 Py_ssize_t pitch) noexcept nogil:
    """Ask memory for the cells, `pitch` numbers each, that the next row begins with, while the losses keep the CPU
    busy; of its others `row_scores_apart` asks for the weights."""
    cdef Py_ssize_t start, nnz
    if index_t is not dense_t:
        find_row(job, columns, at, &start, &nnz)
        weights_prefetch(columns + start, nnz, w, pitch, pitch, job.ahead)


cdef inline int descend(Job* job, const floating* data, const index_t* columns, Py_ssize_t first, Py_ssize_t size,
                        Py_ssize_t start, Py_ssize_t nnz, double* z, const double* g, const floating* slope,
                        double* move, floating* w, floating* average, floating* received, Py_ssize_t apart,
                        const outputs_t* tag) except -1 nogil:
    """The step of a batch whose rows are scored; start, nnz, z and slope (NULL unless K = 1) are a single row's."""
    cdef Py_ssize_t K = 1 if outputs_t is one_t else job.K, batch = 1 if outputs_t is one_t else job.batch, i
    cdef double eta, keep, copied
    cdef bint moves, plain = not job.counted
    cdef Account account
    eta = step_size(&job.rule, job.step)
    keep = shrink(job, eta, w, average, apart)
    if received != NULL:
        job.penalty_total += eta * job.l1
    if not plain:
        account = Account(job.penalty_total, job.scale, job.average_scale, 0, 0)
    for i in range(size):
        moves = plan_move(job, z, g + i * K, slope, move, eta / size, keep, K)
        if batch > 1:
            row = find_row(job, columns, first + i, &start, &nnz)
            if job.single:
                look_at_signals(job, nnz * K)
        if outputs_t is one_t:
            copied = move[0]    # given to calls, so that `move` need not be memory (see `evaluate_one`)
        if plain and average != NULL and (apart > 1 or job.average_scale != 0):
            if moves:
                row_average(data + start, columns + start, nnz, w, average, K, K * apart,
                            &copied if outputs_t is one_t else move, job.average_scale)
        elif plain:
            # Long dense rows: the next one is scored while the weights are at hand.
            if index_t is dense_t and moves and batch == 1 and first + 1 < job.rows and nnz >= SHORT_ROW:
                axpys_dots(data + start, nnz, w, K, move, data + job.order[first + 1] * nnz,
                           row_ahead(job, data, first + 1), z, norm_of(job))
                job.scored = True
            elif moves:
                row_add(data + start, columns + start, nnz, w, K, move)
        elif moves or (batch == 1 and received != NULL):
            # l1 comes after the moves of all the batch's rows.
            row_step(data + start, columns + start, nnz, w, received if batch == 1 else <floating*>NULL, average,
                     K, K * apart, &copied if outputs_t is one_t else move, &account)
    if batch > 1 and received != NULL:
        for i in range(K):
            move[i] = 0
        for i in range(size):
            row = find_row(job, columns, first + i, &start, &nnz)
            row_step(data + start, columns + start, nnz, w, received, average, K, K, move, &account)
    if job.counted:
        job.sum_squares += account.sum_squares * job.scale * job.scale
        job.sum_abs += account.sum_abs * job.scale
    if average != NULL and job.step >= job.average_from:
        extend_average(job, K)
    return 0


cdef inline int adapt(Job* job, Loss loss, const floating* data, const index_t* columns, Py_ssize_t first,
                      Py_ssize_t size, floating* w) except -1 nogil:
    """The step of a batch whose rows are scored, under an optimiser with a step for each weight."""
    cdef Adaptive* a = &job.adaptive
    cdef double decay = job.intercept_decay if job.fit_intercept else 0.0
    cdef Py_ssize_t i, k, row, start = 0, nnz = 0
    set_step(a, job.step)
    if job.batch == 1:
        row = find_row(job, columns, first, &start, &nnz)
        adaptive_step(a, loss, data + start, columns + start, nnz, w, job.K, job.z, job.t,
                      job.sample_weight[row] if job.sample_weight != NULL else 1.0, job.g, decay)
        return 0
    for i in range(size):
        find_row(job, columns, first + i, &start, &nnz)
        for k in range(job.K):
            job.move[k] = job.g[i * job.K + k] / size
        gather_gradient(a, data + start, columns + start, nnz, job.K, job.move)
        if job.single:
            look_at_signals(job, nnz * job.K)
    for i in range(size if index_t is not dense_t else 1):
        find_row(job, columns, first + i, &start, &nnz)
        apply_gradient(a, data + start, columns + start, nnz, w, job.K)
    apply_bias_gradient(a, job.K, decay)
    return 0


cdef inline void extend_average(Job* job, Py_ssize_t K) noexcept nogil:
    cdef Py_ssize_t k
    cdef double times = job.step if job.rising else 1.0
    job.averaged += times
    job.average_scale += times * job.scale
    for k in range(K):
        job.average_bias[k] += (job.bias[k] - job.average_bias[k]) * (times / job.averaged)


def shuffle(uint32_t[::1] order, uint64_t seed):
    """Fisher-Yates with the splitmix64 generator (Steele, Lea, Flood 2014); the bias is below n / 2^32."""
    cdef Py_ssize_t i, j
    cdef uint64_t r
    with nogil:
        for i in range(order.shape[0] - 1, 0, -1):
            seed += <uint64_t>0x9E3779B97F4A7C15
            r = (seed ^ (seed >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
            r = (r ^ (r >> 27)) * <uint64_t>0x94D049BB133111EB
            r = (r ^ (r >> 31)) >> 32
            j = <Py_ssize_t>((r * <uint64_t>(i + 1)) >> 32)
            order[i], order[j] = order[j], order[i]
