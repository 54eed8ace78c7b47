# cython: cdivision=True
# One pass over the rows in plain C: what it is given, what changes with every step, what it sums up; and the parts of
# a step that need no more than that. Inline, for the kernels that make a pass of them: sgd and network.

from cpython.exc cimport PyErr_CheckSignals
from cython cimport floating
from libc.math cimport fabs, isfinite, log1p
from libc.stdint cimport int32_t, int64_t, uint32_t

from .adaptive cimport Adaptive
from .cross_entropy cimport log_of_sum, logistic_step, odds
from .losses cimport Loss
from .rows cimport dense_t, fastsgd_prefetch, in_register, index_t, multiply_by, rare, row_prefetch
from .schedules cimport PA1, StepRule, passive_aggressive

cdef enum:
    VALUES_AHEAD = 4        # rows whose values and indices are asked for before their turn,
    BEGINNING = 96          # so many of them sooner,
    BEGINNINGS_AHEAD = 8    # rows before, and of some rows
    TOGETHER = 8            # at once,
    FEW_NUMBERS = 1 << 20   # unless X has no more: that would cost more than it saves;
    ROWS_AHEAD = 20         # and whose bounds and targets are
    LONG_WORK = 4_000_000   # multiply-adds within one batch between two looks at Python's signals

cdef extern from *:
    """
    #define FASTSGD_LARGEST_DERIVATIVE 1e12
    #define FASTSGD_LARGEST_PRODUCT 1e300
    /* Below this the l2 scale is folded into the weights: rarely, but beside an average, a difference of terms
     * 1 / scale times its size, before it loses digits in float32. */
    #define FASTSGD_SMALLEST_SCALE 1e-4
    #define FASTSGD_SMALLEST_AVERAGED 0.1
    """
    const double LARGEST_DERIVATIVE "FASTSGD_LARGEST_DERIVATIVE"
    const double LARGEST_PRODUCT "FASTSGD_LARGEST_PRODUCT"
    const double SMALLEST_SCALE "FASTSGD_SMALLEST_SCALE"
    const double SMALLEST_AVERAGED "FASTSGD_SMALLEST_AVERAGED"


cdef extern from "crew.h" nogil:
    ctypedef struct Barrier "fastsgd_barrier":
        int count

    bint is_broken "fastsgd_is_broken"(Barrier* barrier)


cdef struct Bounds:     # where rows begin: CSR's indptr of either width, or the length of a dense row
    const int32_t* narrow
    const int64_t* wide
    Py_ssize_t length


cdef inline Py_ssize_t row_begin(const index_t* columns, const Bounds* bounds, Py_ssize_t row) noexcept nogil:
    if index_t is dense_t:
        return row * bounds.length
    else:
        return bounds.wide[row] if bounds.wide != NULL else bounds.narrow[row]


cdef inline Bounds row_bounds(indptr, Py_ssize_t length):
    """Of a CSR matrix's indptr, or, if that is None, of dense rows. It points into indptr."""
    cdef Bounds bounds = Bounds(NULL, NULL, length)
    cdef const int32_t[::1] narrow
    cdef const int64_t[::1] wide
    if indptr is not None and indptr.itemsize == 4:
        narrow = indptr
        bounds.narrow = &narrow[0]
    elif indptr is not None:
        wide = indptr
        bounds.wide = &wide[0]
    return bounds


cdef struct Job:
    const uint32_t* order
    Py_ssize_t rows, batch, K
    Bounds bounds
    Py_ssize_t beginning            # numbers of a row that memory is asked for with those of other rows
    const double* sample_weight     # or NULL
    Py_ssize_t width                # numbers a row in targets
    Py_ssize_t together             # outputs that one call of the loss takes
    double off                      # target of the outputs that are not the row's class
    StepRule rule
    double l2, l1                   # strengths of the penalties
    double intercept_decay, average_from
    bint fit_intercept
    bint rising                     # averaged, the iterate of step t counts t times
    # The norms of W are kept up to date by comparing weights before and after, or, one row at a time and with l2
    # alone, from the scores: ||W + c x||^2 = ||W||^2 + 2 c W.x + c^2 ||x||^2.
    bint counted, followed

    # Not beside sum_squares, or gcc makes a vector of the two, put together and taken apart with every row.
    double sum_abs

    Py_ssize_t size                 # of weights, and of what is like it
    Py_ssize_t ahead                # nonzeros whose weights are asked for (`weights_ahead`)
    double* bias
    double* average_bias
    double step, scale, average_scale, averaged, penalty_total, sum_squares

    double* z                       # scores, targets and moves of one row, derivatives of a batch
    double* t
    double* move
    double* g
    double norm                     # ||x||^2
    bint scored                     # z has the scores of the next row already

    # Of log_loss one logarithm is taken for many rows of weight 1, at 1 + product; `loss` is without it.
    bint logistic
    double product
    double likely, weighs           # the row whose logarithm comes next, as a probability and its weight
    double loss, penalty, weight
    Py_ssize_t clipped, bad_row

    Adaptive adaptive               # unless the optimiser is sgd

    bint single                     # all the rows are one batch,
    Py_ssize_t work                 # so this counts multiply-adds, to look at Python's signals now and then
    Barrier* crew                   # where this thread meets others, or NULL


cdef inline int look_at_signals(Job* job, Py_ssize_t work) except -1 nogil:
    """Raise what a signal's handler does, which runs in the main thread; in another one an error once that has."""
    job.work += work
    if job.work >= LONG_WORK:
        job.work = 0
        with gil:
            PyErr_CheckSignals()
            if job.crew != NULL and is_broken(job.crew):
                raise InterruptedError
    return 0


cdef inline Py_ssize_t find_row(const Job* job, const index_t* columns, Py_ssize_t at, Py_ssize_t* start,
                                Py_ssize_t* nnz) noexcept nogil:
    """The row whose turn is `at`, and where its values are."""
    cdef Py_ssize_t row = job.order[at]
    start[0] = row_begin(columns, &job.bounds, row)
    nnz[0] = row_begin(columns, &job.bounds, row + 1) - start[0]
    return row


cdef inline void look_ahead(const Job* job, const floating* data, const index_t* columns, const floating* targets,
                            Py_ssize_t at, bint values) noexcept nogil:
    """Ask memory for the rows that come next: shuffled rows are cache misses otherwise.

    The beginnings of some rows at once, so that these waits overlap. On Zen 4 a row's first line, on a page not seen
    for long, held the CPU up for a fifth of an epoch of RCV1-like rows, and the lines after it for 7 % of the rest.
    """
    cdef Py_ssize_t row, start = 0, nnz = 0, i
    if values and job.beginning > 0 and at % TOGETHER == 0:
        for i in range(at + BEGINNINGS_AHEAD, min(at + BEGINNINGS_AHEAD + TOGETHER, job.rows)):
            find_row(job, columns, i, &start, &nnz)
            row_prefetch(data, columns, start, min(nnz, job.beginning))
    if values and at + VALUES_AHEAD < job.rows:
        find_row(job, columns, at + VALUES_AHEAD, &start, &nnz)
        if nnz > job.beginning:
            row_prefetch(data, columns, start + job.beginning, nnz - job.beginning)
    if at + ROWS_AHEAD < job.rows:
        row = job.order[at + ROWS_AHEAD]
        fastsgd_prefetch(targets + row * job.width, sizeof(floating))
        if job.bounds.wide != NULL:
            fastsgd_prefetch(job.bounds.wide + row, sizeof(int64_t))
        elif job.bounds.narrow != NULL:
            fastsgd_prefetch(job.bounds.narrow + row, sizeof(int32_t))


cdef inline const floating* row_ahead(const Job* job, const floating* data, Py_ssize_t at) noexcept nogil:
    """The dense row that a kernel asks for while it works on the one whose turn is `at`; or NULL."""
    return data + job.order[at + VALUES_AHEAD] * job.bounds.length if at + VALUES_AHEAD < job.rows else NULL


cdef inline double* norm_of(Job* job) noexcept nogil:
    """Where a row's ||x||^2 goes, if anything is made of it; or NULL."""
    return &job.norm if job.followed or job.rule.schedule >= PA1 else NULL


cdef inline void read_target(const floating* target, Py_ssize_t width, Py_ssize_t K, double off,
                             double* t) noexcept nogil:
    """K numbers as they are; one class number as 1 at the class and `off` elsewhere."""
    cdef Py_ssize_t k
    if width == K:
        for k in range(K):
            t[k] = target[k]
    else:
        for k in range(K):
            t[k] = off
        t[<Py_ssize_t>target[0]] = 1.0


cdef inline bint differentiate_one(Job* job, Loss loss, Py_ssize_t row, double* z, const double* t, double* g,
                                   floating* slope) noexcept nogil:
    """As `differentiate`, of one output, but that z becomes W x without the intercept; `slope` is g in the rows' type.

    Under log_loss what the next row waits for is of that type from end to end. Real targets may be far from 0, and a
    float32 score, intercept included, would have few digits of what they differ by.
    """
    cdef double value, s
    cdef floating score
    if not job.logistic:
        if not differentiate(job, loss, row, z, t, g, 1):
            return False
        slope[0] = <floating>g[0]
        z[0] -= job.bias[0]
        return True
    score = <floating>job.scale * <floating>z[0] + <floating>job.bias[0]
    z[0] *= job.scale
    if rare(not isfinite(score)):
        return False
    if floating is double:
        score = in_register(score)
    if job.sample_weight == NULL:
        multiply(job, odds(job.likely))     # `add_logarithm` in short, and sooner
        job.likely = logistic_step(score, <floating>t[0], slope, &value)
        g[0] = slope[0]
        add_up(job, value, 1)
    else:
        s = job.sample_weight[row]
        add_logarithm(job, logistic_step(score, <floating>t[0], slope, &value), s)
        g[0] = cut_off(job, s * <double>slope[0])
        slope[0] = <floating>g[0]
        add_up(job, value, s)
    return True


cdef inline bint differentiate(Job* job, Loss loss, Py_ssize_t row, double* z, const double* t, double* g,
                               Py_ssize_t K) noexcept nogil:
    """From z = w.x to scores z and g = s dL/dz, clipped (under PA times its step as well).

    False if a score is not finite.
    """
    cdef Py_ssize_t k, j, together = 1 if K == 1 else job.together
    cdef double s = job.sample_weight[row] if job.sample_weight != NULL else 1.0
    cdef double value, total = 0.0, factor
    cdef bint finite = True
    for k in range(K):
        z[k] = job.scale * z[k] + job.bias[k]
        finite &= isfinite(z[k]) != 0
    if rare(not finite):
        return False
    k = 0
    while k < K:
        if job.logistic:
            add_logarithm(job, logistic_step(z[k], t[k], g + k, &value), s)
        elif K == 1:
            value = evaluate_one(loss, z[0], t[0], g)
        else:
            value = loss.evaluate(z + k, t + k, together, g + k)
        total += value
        factor = s * passive_aggressive(&job.rule, value, job.norm) if job.rule.schedule >= PA1 else s
        for j in range(k, k + together):
            if factor != 1:     # a multiplication less for the next row to wait for
                g[j] *= factor
            g[j] = cut_off(job, g[j])
        k += together
    add_up(job, total, s)
    return True


cdef inline double cut_off(Job* job, double g) noexcept nogil:
    if rare(fabs(g) > LARGEST_DERIVATIVE):
        job.clipped += 1
        return LARGEST_DERIVATIVE if g > 0 else -LARGEST_DERIVATIVE
    return g


cdef inline void add_up(Job* job, double value, double s) noexcept nogil:
    """What a row of weight s adds to the sums of a pass."""
    job.loss += s * value
    # Term by term: a norm may have overflowed, and 0 times infinity is NaN.
    if job.l2 > 0:
        job.penalty += s * 0.5 * job.l2 * job.sum_squares
    if job.l1 > 0:
        job.penalty += s * job.l1 * job.sum_abs
    job.weight += s


cdef inline double evaluate_one(Loss loss, double z, double t, double* g) noexcept nogil:
    """By copies: a variable whose address a call is given stays in memory, and every row would wait for that."""
    cdef double derivative = 0.0, value = loss.evaluate(&z, &t, 1, &derivative)
    g[0] = derivative
    return value


cdef inline void add_logarithm(Job* job, double p, double s) noexcept nogil:
    """The logarithm in log_loss of the score before; that of p and weight s waits for the next: there is more room in
    the CPU for a row whose logarithm need not follow its score."""
    cdef double e = odds(job.likely)
    if job.sample_weight == NULL or job.weighs == 1:
        multiply(job, e)
    else:
        job.loss += job.weighs * log_of_sum(e, 1 + e)
    job.likely = p
    if job.sample_weight != NULL:
        job.weighs = s


cdef inline void multiply(Job* job, double e) noexcept nogil:
    """1 + product becomes (1 + product) (1 + e), and no digit of a small e is lost."""
    job.product += e + job.product * e
    if rare(job.product > LARGEST_PRODUCT):
        job.loss += log1p(job.product)
        job.product = 0


cdef inline double shrink(Job* job, double eta, floating* w, floating* average, Py_ssize_t apart) noexcept nogil:
    """The l2 part of a step, one scalar in front of the weights; returns the factor."""
    cdef double keep = 1 - eta * job.l2
    keep = keep if keep > 0 else 0.0
    job.scale *= keep
    job.sum_squares *= keep * keep
    job.sum_abs *= keep
    if rare(job.scale < (SMALLEST_SCALE if average == NULL else SMALLEST_AVERAGED)):
        fold_scale(&job.scale, &job.average_scale, w, average, job.size, apart)
    return keep


cdef inline void fold_scale(double* scale, double* average_scale, floating* w, floating* average,
                            Py_ssize_t size, Py_ssize_t apart) noexcept nogil:
    """Multiply the scale into the weights, `apart` numbers from one to the next as their averages are; the sum of the
    averaged iterates stays what it is."""
    cdef Py_ssize_t i
    if average != NULL:
        for i in range(size):
            average[i * apart] -= <floating>(average_scale[0] * w[i * apart])
        average_scale[0] = 0.0
    multiply_by(w, size, apart, scale[0])
    scale[0] = 1.0


cdef inline bint plan_move(Job* job, const double* z, const double* g, const floating* slope, double* move, double eta,
                           double keep, Py_ssize_t K) noexcept nogil:
    """Move the bias, and say how the row moves the stored weights; False if it does not. `slope`, if given, and z are
    as `differentiate_one` leaves them, and the move is of the rows' type, too."""
    cdef Py_ssize_t k
    cdef double c, eta_stored, inner, squares = 0.0
    cdef bint moves = False
    if job.rule.schedule >= PA1:
        eta /= job.rule.eta0        # the step is in g already
    eta_stored = eta / job.scale
    for k in range(K):
        if slope != NULL:
            move[k] = -<floating>eta_stored * slope[0]
        else:
            move[k] = -eta_stored * g[k]
        if move[k] == 0:
            continue
        moves = True
        c = -eta * g[k]
        if job.followed:
            inner = z[k] if slope != NULL else z[k] - job.bias[k]
            squares += c * (2 * keep * inner + c * job.norm)
        if job.fit_intercept:
            job.bias[k] += c * job.intercept_decay
    job.sum_squares += squares
    return moves
