# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The pass over the rows: per-row or mini-batch SGD of K outputs, and their scores.

Arguments are trusted: `_validation` has checked shapes, indices and values before.
"""

from cython cimport floating
from libc.math cimport fabs, isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from .losses cimport Loss
from .penalties cimport truncate, truncate_row
from .rows cimport (
    Tally, dense_t, dots, fastsgd_prefetch, index_t, row_add, row_add_counted, row_norm, row_prefetch, row_scores,
)
from .schedules cimport PA1, Schedule, StepRule, passive_aggressive, step_size

import numpy as np

SCHEDULES = {name: i for i, name in enumerate(("constant", "optimal", "invscaling", "adaptive", "pa1", "pa2"))}

cdef enum:
    VALUES_AHEAD = 2    # rows whose values and indices are asked for before their turn,
    ROWS_AHEAD = 4      # and whose bounds and targets are

cdef double LARGEST_DERIVATIVE = 1e12
# Below this the l2 scale is folded into the weights: rarely, and before the average, a difference of
# terms 1 / scale times its size, loses digits in float32.
cdef double SMALLEST_SCALE = 1e-4


cdef class Settings:
    """What stays the same during a run: plain numbers, in SPEC's notation.

    `strength` is the penalty's factor: alpha, or 0 without a penalty, when alpha still sets the 'optimal' step.
    `average_from` is the first step whose iterate is averaged.
    """

    cdef StepRule rule
    cdef double strength, l1_ratio, intercept_decay
    cdef bint fit_intercept
    cdef readonly Py_ssize_t batch_size
    cdef double average_from

    def __init__(self, *, schedule, double eta0, double power_t, double alpha, double strength, double l1_ratio,
                 double intercept_decay, bint fit_intercept, Py_ssize_t batch_size, double average_from):
        self.rule.schedule = <Schedule><int>SCHEDULES[schedule]
        self.rule.eta0, self.rule.power_t, self.rule.alpha = eta0, power_t, alpha
        self.rule.t0 = 1 / (alpha * alpha ** -0.25) if alpha > 0 else float("inf")
        self.strength, self.l1_ratio, self.intercept_decay = strength, l1_ratio, intercept_decay
        self.fit_intercept, self.batch_size, self.average_from = fit_intercept, batch_size, average_from

    @property
    def eta0(self):
        """The step of the constant and adaptive schedules; adaptive lowers it between epochs."""
        return self.rule.eta0

    @eta0.setter
    def eta0(self, double value):
        self.rule.eta0 = value


STATE_FIELDS = ("weights", "bias", "feature_major", "t", "scale", "average", "average_bias", "average_scale", "averaged",
                "received", "penalty_total", "sum_squares", "sum_abs")


cdef class State:
    """What training carries from one step to the next; W = scale * weights.

    Attributes
    ----------
    weights : ndarray of shape (K * d,)
        Class-major (K x d) for dense rows, feature-major (d x K) for CSR; float32 or float64.
    bias : ndarray of float64 of shape (K,)
    feature_major : bool
    t : float
        The number of the next step.
    scale : float
    average : ndarray like weights, or None
        average_scale * weights - average is the sum of the averaged iterates.
    average_bias : ndarray of float64 of shape (K,)
    averaged : float
        How many iterates the average has.
    received : ndarray like weights, or None
        The l1 penalty that each weight has received so far, of `penalty_total` due.
    sum_squares, sum_abs : float
        ||W||^2 and ||W||_1, exact after `measure`, updated by differences from then on.
    """

    cdef public object weights, bias, average, average_bias, received
    cdef public bint feature_major
    cdef public double t, scale, average_scale, averaged, penalty_total, sum_squares, sum_abs

    def __init__(self, weights, bias, feature_major):
        self.weights, self.bias, self.feature_major = weights, bias, feature_major
        self.t = self.scale = 1.0


cdef class Totals:
    """Sums over the rows of one epoch.

    `loss`, `penalty` and `weight` are sums of s L, of s times the penalty and of s, over rows of weight s;
    `clipped` counts derivatives cut off at 1e12; `bad_row` is the row whose score was not finite, or -1.
    """

    cdef readonly double loss, penalty, weight
    cdef readonly Py_ssize_t clipped, bad_row

    def __init__(self):
        self.bad_row = -1


cdef class Bounds:
    """Where rows begin: CSR's indptr of either width, or the length of a dense row if that is None."""

    cdef const int32_t[::1] narrow_owner
    cdef const int64_t[::1] wide_owner
    cdef const int32_t* narrow
    cdef const int64_t* wide
    cdef Py_ssize_t length

    def __init__(self, indptr, Py_ssize_t length):
        self.length = length
        if indptr is None:
            return
        if indptr.itemsize == 4:
            self.narrow_owner = indptr
            self.narrow = &self.narrow_owner[0]
        else:
            self.wide_owner = indptr
            self.wide = &self.wide_owner[0]


cdef inline Py_ssize_t row_begin(const index_t* columns, Bounds bounds, Py_ssize_t row) noexcept nogil:
    if index_t is dense_t:
        return row * bounds.length
    else:
        return bounds.wide[row] if bounds.wide != NULL else bounds.narrow[row]


def train(Loss loss, Settings settings, State state, const floating[::1] data, const index_t[::1] indices, indptr,
          const floating[:, ::1] targets, const double[::1] sample_weight, const uint32_t[::1] order, Totals totals):
    """Learn from the rows `order`, in that order, adding to `totals`; stops before a row whose score is not finite.

    data, indices and indptr are those of a CSR matrix, or the flattened rows, an empty uint8 array and None.
    targets are (n, 1): numbers, or class numbers where K > 1; or (n, K). sample_weight may be None.
    """
    cdef floating[::1] weights = state.weights, average = state.average, received = state.received
    cdef double[::1] bias = state.bias, average_bias = state.average_bias
    cdef Py_ssize_t K = bias.shape[0], rows = order.shape[0], batch = min(settings.batch_size, rows)
    cdef Bounds bounds = Bounds(indptr, weights.shape[0] // K)
    cdef double[:, ::1] scratch = np.empty((batch + 3, K))
    cdef double* z = &scratch[batch, 0]
    cdef double* t = &scratch[batch + 1, 0]
    cdef double* change = &scratch[batch + 2, 0]
    cdef floating* running = NULL
    cdef bint has_l1 = received is not None, has_l2 = settings.strength * (1 - settings.l1_ratio) > 0
    # One row at a time, l2 alone: the change of ||W||^2 follows from the scores. Else weights are compared.
    cdef bint counted = average is not None or has_l1 or (has_l2 and batch > 1)
    cdef bint followed = has_l2 and not counted, passive = settings.rule.schedule >= PA1
    cdef Py_ssize_t together = K if loss.joint else 1
    cdef double off = 0.0 if loss.joint else -1.0, eta, keep, s, norm = 0.0
    cdef Py_ssize_t first = 0, size, i, row, start, nnz
    cdef Tally tally
    if rows == 0:
        return
    if average is not None:
        running = &average[0]

    with nogil:
        while first < rows:
            size = min(batch, rows - first)
            # Every row of the batch is scored at the same weights ...
            for i in range(size):
                look_ahead(&data[0], &indices[0], bounds, &targets[0, 0], targets.shape[1], &order[0], first + i, rows)
                row = order[first + i]
                start = row_begin(&indices[0], bounds, row)
                nnz = row_begin(&indices[0], bounds, row + 1) - start
                row_scores(&data[start], &indices[start], nnz, &weights[0], K, z)
                if not finish_scores(z, state.scale, &bias[0], K):
                    totals.bad_row = row
                    break
                read_target(&targets[row, 0], targets.shape[1], K, off, t)
                s = sample_weight[row] if sample_weight is not None else 1.0
                if passive or followed:
                    norm = row_norm(&data[start], nnz)
                totals.loss += s * differentiate(loss, &settings.rule, z, t, K, together, s, norm, &scratch[i, 0],
                                                &totals.clipped)
                totals.penalty += s * penalty_of(settings, state)
                totals.weight += s
            if totals.bad_row >= 0:
                break
            # ... and then they share one step.
            eta = step_size(&settings.rule, state.t)
            keep = shrink(settings, state, eta, &weights[0], running, weights.shape[0])
            tally = Tally(state.average_scale, 0, 0)
            for i in range(size):
                if not take_step(settings, state, &scratch[i, 0], eta / size, keep, z, norm if followed else -1.0, &bias[0],
                                 K, change):
                    continue
                start = row_begin(&indices[0], bounds, order[first + i])
                nnz = row_begin(&indices[0], bounds, order[first + i] + 1) - start
                if counted:
                    row_add_counted(&data[start], &indices[start], nnz, &weights[0], K, change, running, &tally)
                else:
                    row_add(&data[start], &indices[start], nnz, &weights[0], K, change)
            if has_l1:
                state.penalty_total += settings.l1_ratio * eta * settings.strength
                for i in range(size):
                    start = row_begin(&indices[0], bounds, order[first + i])
                    nnz = row_begin(&indices[0], bounds, order[first + i] + 1) - start
                    truncate_row(&data[start], &indices[start], nnz, &weights[0], K, &received[0], state.penalty_total,
                                 state.scale, running, &tally)
            state.sum_squares += tally.sum_squares * state.scale * state.scale
            state.sum_abs += tally.sum_abs * state.scale
            if running != NULL and state.t >= settings.average_from:
                extend_average(state, &bias[0], &average_bias[0], K)
            state.t += 1
            first += size


cdef inline void look_ahead(const floating* data, const index_t* columns, Bounds bounds, const floating* targets,
                            Py_ssize_t width, const uint32_t* order, Py_ssize_t at, Py_ssize_t rows) noexcept nogil:
    """Ask memory for the rows that come next: shuffled rows are cache misses otherwise."""
    cdef Py_ssize_t row, start
    if at + VALUES_AHEAD < rows:
        row = order[at + VALUES_AHEAD]
        start = row_begin(columns, bounds, row)
        row_prefetch(data, columns, start, row_begin(columns, bounds, row + 1) - start)
    if at + ROWS_AHEAD < rows:
        row = order[at + ROWS_AHEAD]
        fastsgd_prefetch(targets + row * width, sizeof(floating))
        if bounds.wide != NULL:
            fastsgd_prefetch(bounds.wide + row, sizeof(int64_t))
        elif bounds.narrow != NULL:
            fastsgd_prefetch(bounds.narrow + row, sizeof(int32_t))


cdef inline bint finish_scores(double* z, double scale, const double* bias, Py_ssize_t K) noexcept nogil:
    """From w.x to scores; False if one is not finite."""
    cdef Py_ssize_t k
    cdef bint finite = True
    for k in range(K):
        z[k] = scale * z[k] + bias[k]
        finite &= isfinite(z[k]) != 0
    return finite


cdef inline void read_target(const floating* target, Py_ssize_t width, Py_ssize_t K, double off, double* t) noexcept nogil:
    """K numbers as they are; one class number as 1 at the class and `off` elsewhere."""
    cdef Py_ssize_t k
    if width == K:
        for k in range(K):
            t[k] = target[k]
    else:
        for k in range(K):
            t[k] = off
        t[<Py_ssize_t>target[0]] = 1.0


cdef inline double differentiate(Loss loss, const StepRule* rule, const double* z, const double* t, Py_ssize_t K,
                                 Py_ssize_t together, double s, double norm, double* g,
                                 Py_ssize_t* clipped) noexcept nogil:
    """The losses of a row of weight s, summed; g = s dL/dz, clipped; under PA times its step as well."""
    cdef Py_ssize_t k = 0, j
    cdef double total = 0.0, value, factor
    while k < K:
        value = loss.evaluate(z + k, t + k, together, g + k)
        total += value
        factor = s * passive_aggressive(rule, value, norm) if rule.schedule >= PA1 else s
        for j in range(k, k + together):
            g[j] *= factor
            if fabs(g[j]) > LARGEST_DERIVATIVE:
                g[j] = LARGEST_DERIVATIVE if g[j] > 0 else -LARGEST_DERIVATIVE
                clipped[0] += 1
        k += together
    return total


cdef inline double penalty_of(Settings settings, State state) noexcept nogil:
    return settings.strength * ((1 - settings.l1_ratio) * 0.5 * state.sum_squares + settings.l1_ratio * state.sum_abs)


cdef inline double shrink(Settings settings, State state, double eta, floating* w, floating* average,
                          Py_ssize_t size) noexcept nogil:
    """The l2 part of a step, in front of the weights; returns the factor."""
    cdef double keep = 1 - (1 - settings.l1_ratio) * eta * settings.strength
    keep = keep if keep > 0 else 0.0
    state.scale *= keep
    state.sum_squares *= keep * keep
    state.sum_abs *= keep
    if state.scale < SMALLEST_SCALE:
        fold_scale(state, w, average, size)
    return keep


cdef void fold_scale(State state, floating* w, floating* average, Py_ssize_t size) noexcept nogil:
    """Multiply the scale into the weights; the sum of the averaged iterates stays what it is."""
    cdef Py_ssize_t i
    if average != NULL:
        for i in range(size):
            average[i] -= <floating>(state.average_scale * w[i])
        state.average_scale = 0.0
    for i in range(size):
        w[i] = <floating>(state.scale * w[i])
    state.scale = 1.0


cdef inline bint take_step(Settings settings, State state, const double* g, double eta, double keep, const double* z,
                           double norm, double* bias, Py_ssize_t K, double* change) noexcept nogil:
    """Move the bias, and say how the row moves the stored weights; False if it does not.

    norm, unless negative, is ||x||^2: then ||W + c x||^2 = ||W||^2 + 2 c W.x + c^2 ||x||^2 is kept up to date.
    """
    cdef Py_ssize_t k
    cdef double c
    cdef bint moves = False
    if settings.rule.schedule >= PA1:
        eta /= settings.rule.eta0       # the step is in g already
    for k in range(K):
        c = -eta * g[k]
        change[k] = c / state.scale
        moves |= c != 0
        if norm >= 0:
            state.sum_squares += c * (2 * keep * (z[k] - bias[k]) + c * norm)
        if settings.fit_intercept:
            bias[k] += c * settings.intercept_decay
    return moves


cdef inline void extend_average(State state, const double* bias, double* average_bias, Py_ssize_t K) noexcept nogil:
    cdef Py_ssize_t k
    state.averaged += 1
    state.average_scale += state.scale
    for k in range(K):
        average_bias[k] += (bias[k] - average_bias[k]) / state.averaged


def settle(State state, floating[::1] weights):
    """End a run: every weight gets the l1 penalty it is still due, and the scale becomes 1."""
    cdef floating[::1] average = state.average, received = state.received
    cdef floating* running = NULL
    cdef Tally tally = Tally(state.average_scale, 0, 0)
    cdef Py_ssize_t i
    if average is not None:
        running = &average[0]
    with nogil:
        if received is not None:
            for i in range(weights.shape[0]):
                truncate(&weights[0], i, &received[0], state.penalty_total, state.scale, running, &tally)
        if state.scale != 1:
            fold_scale(state, &weights[0], running, weights.shape[0])


def measure(State state, const floating[::1] weights):
    """Set ||W||^2 and ||W||_1 of the state."""
    cdef Py_ssize_t i
    cdef double squares = 0.0, total = 0.0
    with nogil:
        dots(&weights[0], &weights[0], weights.shape[0], 1, &squares)
        if state.received is not None:
            for i in range(weights.shape[0]):
                total += fabs(weights[i])
    state.sum_squares = squares * state.scale * state.scale
    state.sum_abs = total * state.scale


def scores(const floating[::1] data, const index_t[::1] indices, indptr, const uint32_t[::1] order,
           const floating[::1] weights, const double[::1] bias, floating[:, ::1] out):
    """out[i] = W x + b of row order[i], or of row i if order is None; weights as in State."""
    cdef Py_ssize_t K = bias.shape[0], i, k, row, start
    cdef Bounds bounds = Bounds(indptr, weights.shape[0] // K)
    cdef double[::1] z = np.empty(K)
    with nogil:
        for i in range(out.shape[0]):
            row = order[i] if order is not None else i
            start = row_begin(&indices[0], bounds, row)
            row_scores(&data[start], &indices[start], row_begin(&indices[0], bounds, row + 1) - start, &weights[0], K,
                       &z[0])
            for k in range(K):
                out[i, k] = <floating>(z[k] + bias[k])


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
