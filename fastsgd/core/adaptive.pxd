# cython: cdivision=True
# How a row is scored, and its update applied, under the optimisers that have a step for each weight. adaptive.h
# describes the cells that hold a weight and what the optimiser keeps beside it.

from cython cimport floating
from libc.math cimport pow, sqrt
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from .losses cimport Loss
from .rows cimport axpys, dense_t, index_t, row_add, row_norm, row_scores, row_scores_apart

cdef extern from "adaptive.h" nogil:
    enum:
        SGD "FASTSGD_SGD"
        ADAGRAD "FASTSGD_ADAGRAD"
        NORMALIZED "FASTSGD_NORMALIZED"
        FTRL "FASTSGD_FTRL"
        ADAM "FASTSGD_ADAM"

    ctypedef struct Rule "fastsgd_rule":
        int optimizer
        double decay, eta, delta, beta, l1, l2, beta1, beta2, correction, epsilon

    void adapt_row "fastsgd_adapt_row"(...)     # (x, columns, nnz, rule, w, K, pitch, g, gradient)
    double adapt_cells "fastsgd_adapt_cells"(...)   # the same, of a network's CSR rows: the change of the squares
    void adapt_all "fastsgd_adapt_all"(...)     # (rule, n, apart, gradient, w)
    int rescale_row "fastsgd_rescale"(...)      # (x, columns, nnz, w, K, pitch, u, inverse): whether a scale has grown
    void row_rates "fastsgd_rates"(...)         # (x, columns, nnz, u, inverse, rule, w, K, pitch, g, r, q)

cdef extern from "cells.h" nogil:
    void gather "fastsgd_gather"(...)           # (x, columns, nnz, w, pitch, used, out)
    void scatter "fastsgd_scatter"(...)         # (x, columns, nnz, w, pitch, used, in)


cdef inline int planes_of(int optimizer) noexcept nogil:
    """Numbers that a weight has, itself among them."""
    return 1 if optimizer == SGD else 3 if optimizer == ADAM else 4 if optimizer == FTRL else 2


cdef inline Py_ssize_t pitch_of(int optimizer, Py_ssize_t K) noexcept nogil:
    """Numbers that a feature of K weights has. A cell of one weight is 2 or 4 long, and so within one cache line."""
    cdef Py_ssize_t pitch = planes_of(optimizer) * K + (optimizer == NORMALIZED)
    return 4 if pitch == 3 and K == 1 else pitch


# What an optimiser needs beside the weights during a pass.
cdef struct Adaptive:
    Rule rule
    bint own                # whether `step` sets the optimiser's own steps, or is eta0
    double step
    double rows, lengths    # rows so far; sum of their ||x||^2, or ||x / s||^2 with the intercept's 1
    Py_ssize_t pitch
    int used                # numbers of a cell of one weight that have a meaning
    bint gathered           # whether a row's cells are worked on in the scratch
    bint grown
    void* gradient          # of a batch, K numbers a feature; 0 between batches
    double* bias            # the intercepts' cell
    double* bias_gradient
    double* q               # how far a derivative of 1 would move each score
    double* h
    void* cells             # scratch: planes x nnz,
    void* u                 # nnz,
    void* inverse           # nnz,
    void* rates             # and K x nnz on dense rows, nnz x K on CSR rows
    void* average           # as in State, or NULL
    double average_scale
    void* before            # scratch: a row's weights before they change, like the rates


cdef inline void adaptive_scores(Adaptive* a, const floating* x, const index_t* columns, Py_ssize_t nnz, floating* w,
                                 Py_ssize_t K, bint fit_intercept, double* z, Py_ssize_t ahead) noexcept nogil:
    """z[k] = w_k . x, after what NORMALIZED does to weights whose column has grown."""
    cdef const dense_t* none = NULL
    cdef floating* cells = <floating*>a.cells
    cdef floating* u = <floating*>a.u
    cdef double length = 0.0
    if index_t is not dense_t:
        if a.gathered:
            gather(x, columns, nnz, w, a.pitch, a.used, cells)
            note_weights(a, columns, nnz, w, K)
            if a.rule.optimizer == NORMALIZED:
                a.grown = rescale_row(x, none, nnz, cells, <Py_ssize_t>1, <Py_ssize_t>0, u, <floating*>a.inverse)
            row_scores(x, none, nnz, cells, 1, z)
    if not a.gathered:
        if a.rule.optimizer == NORMALIZED:
            note_weights(a, columns, nnz, w, K)
            rescale_row(x, columns, nnz, w, K, a.pitch, u, <floating*>a.inverse)
            add_changes(a, columns, nnz, w, K)
        # What `rescale_row` has just read is at hand.
        row_scores_apart(x, columns, nnz, w, K, K if index_t is dense_t else a.pitch, z,
                         0 if a.rule.optimizer == NORMALIZED else ahead)
    if a.rule.optimizer == NORMALIZED:
        length = row_norm(<const floating*>u, nnz) + fit_intercept
    elif a.own:
        length = row_norm(x, nnz)
    a.rows += 1
    a.lengths += length


cdef inline void set_step(Adaptive* a, double t) noexcept nogil:
    """eta of step t.

    NORMALIZED has eta sqrt(t / N) as in its source. The own steps fall with the rows' mean squared length m, so that
    the size of a row does not decide how far it moves its score: step / (m t^(1/6)), of adam step / m^(3/4).
    """
    cdef double m = a.lengths / a.rows, eta = a.step
    if a.rule.optimizer == NORMALIZED:
        eta /= sqrt(m) if m > 0 else 1.0
    elif a.own and a.rule.optimizer == ADAM:
        eta /= sqrt(m * sqrt(m)) if m > 0 else 1.0
    elif a.own:
        eta /= (m if m > 0 else 1.0) * pow(t, 1.0 / 6)
    if a.rule.optimizer == ADAM:
        eta /= 1 - pow(a.rule.beta1, t)
        a.rule.correction = 1 / (1 - pow(a.rule.beta2, t))
    a.rule.eta = eta


cdef inline void adaptive_step(Adaptive* a, Loss loss, const floating* x, const index_t* columns, Py_ssize_t nnz,
                               floating* w, Py_ssize_t K, const double* z, const double* t, double s, const double* g,
                               double decay) noexcept nogil:
    """Apply the derivatives g of a row of weight s that adaptive_scores has just scored; decay is the intercept's."""
    cdef const dense_t* none = NULL
    cdef floating* nothing = NULL
    cdef floating* cells = <floating*>a.cells if a.gathered else w
    cdef Py_ssize_t k
    cdef bint moves = False
    for k in range(K):
        moves |= g[k] != 0
    if not a.gathered:
        note_weights(a, columns, nnz, w, K)
    if moves and a.rule.optimizer == NORMALIZED:
        follow_row(a, loss, x, columns, nnz, cells, K, z, t, s, g, decay)
    elif moves:
        if a.gathered:
            adapt_row(x, none, nnz, &a.rule, cells, K, a.pitch, g, nothing)
        else:
            adapt_row(x, columns, nnz, &a.rule, cells, K, a.pitch, g, nothing)
        if decay > 0:
            adapt_bias(a, K, g, decay)
    if index_t is not dense_t:
        if a.gathered and (moves or a.grown):
            scatter(x, columns, nnz, w, a.pitch, a.used, cells)
    add_changes(a, columns, nnz, w, K)


cdef inline void note_weights(Adaptive* a, const index_t* columns, Py_ssize_t nnz, const floating* w,
                              Py_ssize_t K) noexcept nogil:
    """Before a row's weights change, if there is an average."""
    cdef floating* before = <floating*>a.before
    cdef Py_ssize_t e, k
    if a.average == NULL:
        return
    if a.gathered:
        memcpy(before, a.cells, nnz * sizeof(floating))
    elif index_t is dense_t:
        memcpy(before, w, K * nnz * sizeof(floating))
    else:
        for e in range(nnz):
            for k in range(K):
                before[e * K + k] = w[place(columns, e) * a.pitch + k]


cdef inline void add_changes(Adaptive* a, const index_t* columns, Py_ssize_t nnz, const floating* w,
                             Py_ssize_t K) noexcept nogil:
    """After they have changed: average_scale * w - average stays the sum of the iterates so far (Xu 2011)."""
    cdef floating* before = <floating*>a.before
    cdef floating* average = <floating*>a.average
    cdef floating* cells = <floating*>a.cells
    cdef floating scale = <floating>a.average_scale
    cdef Py_ssize_t e, k
    if average == NULL:
        return
    if a.gathered:
        for e in range(nnz):
            average[place(columns, e)] += scale * (cells[e] - before[e])
    elif index_t is dense_t:
        for e in range(K * nnz):
            average[e] += scale * (w[e] - before[e])
    else:
        for e in range(nnz):
            for k in range(K):
                average[place(columns, e) * K + k] += scale * (w[place(columns, e) * a.pitch + k] - before[e * K + k])


cdef inline void adapt_bias(Adaptive* a, Py_ssize_t K, const double* g, double decay) noexcept nogil:
    """The intercepts are the weights of a column of ones, without a penalty."""
    cdef double one = 1.0
    cdef int32_t column = 0
    cdef double* nothing = NULL
    cdef Rule rule = a.rule
    rule.eta *= decay
    rule.l1 = rule.l2 = 0
    adapt_row(<const double*>&one, <const int32_t*>&column, <Py_ssize_t>1, &rule, a.bias, K, a.pitch, g, nothing)


cdef inline void follow_row(Adaptive* a, Loss loss, const floating* x, const index_t* columns, Py_ssize_t nnz,
                            floating* cells, Py_ssize_t K, const double* z, const double* t, double s, const double* g,
                            double decay) noexcept nogil:
    """NORMALIZED: set the rates, then follow the row's loss as it falls along them (Karampatziakis, Langford 2011)."""
    cdef const dense_t* none = NULL
    cdef floating* u = <floating*>a.u
    cdef floating* inverse = <floating*>a.inverse
    cdef floating* r = <floating*>a.rates
    cdef Py_ssize_t e, k
    cdef double rate
    cdef bint dense = index_t is dense_t or a.gathered
    if dense:
        row_rates(x, none, nnz, u, inverse, &a.rule, cells, K, a.pitch, g, r, a.q)
    else:
        row_rates(x, columns, nnz, u, inverse, &a.rule, cells, K, a.pitch, g, r, a.q)
    for k in range(K):
        rate = bias_rate(a, K, k, g[k], decay)
        a.h[k] = -loss.follow(z[k], t[k], s, a.q[k] + rate, g[k])
        a.bias[k] += a.h[k] * rate
    if dense:
        for k in range(K):
            axpys(<const floating*>(r + k * nnz), none, nnz, cells + k * nnz, <Py_ssize_t>1, &a.h[k])
    else:
        for e in range(nnz):
            for k in range(K):
                cells[place(columns, e) * a.pitch + k] += <floating>a.h[k] * r[e * K + k]


cdef inline double bias_rate(Adaptive* a, Py_ssize_t K, Py_ssize_t k, double g, double decay) noexcept nogil:
    """NORMALIZED: what a derivative of 1 takes off an intercept, once g is in its sum of squares."""
    a.bias[K + k] += g * g
    return decay * a.rule.eta / sqrt(a.bias[K + k]) if a.bias[K + k] > 0 else 0.0


cdef inline Py_ssize_t place(const index_t* columns, Py_ssize_t j) noexcept nogil:
    if index_t is dense_t:
        return j
    else:
        return columns[j]


cdef inline void gather_gradient(Adaptive* a, const floating* x, const index_t* columns, Py_ssize_t nnz, Py_ssize_t K,
                                 const double* g) noexcept nogil:
    """Add a row's share to the gradient of its batch."""
    cdef Py_ssize_t k
    row_add(x, columns, nnz, <floating*>a.gradient, K, g)
    for k in range(K):
        a.bias_gradient[k] += g[k]


cdef inline void apply_gradient(Adaptive* a, const floating* x, const index_t* columns, Py_ssize_t nnz, floating* w,
                                Py_ssize_t K) noexcept nogil:
    """Apply what the batch's gradient has for the columns of a row, once: it is 0 there afterwards."""
    cdef double* none = NULL
    cdef floating* gradient = <floating*>a.gradient
    cdef floating* of
    cdef Py_ssize_t e, k, at, beside = K * nnz if index_t is dense_t else K
    cdef floating inverse, g, rate
    note_weights(a, columns, nnz, w, K)
    if a.rule.optimizer != NORMALIZED:
        adapt_row(x, columns, nnz, &a.rule, w, K, a.pitch, none, gradient)
    for e in range(nnz if a.rule.optimizer == NORMALIZED else 0):
        for k in range(K):
            of = gradient + (k * nnz + e if index_t is dense_t else place(columns, e) * K + k)
            if of[0] == 0:
                continue
            at = k * nnz + e if index_t is dense_t else place(columns, e) * a.pitch + k
            inverse = w[2 * K * nnz + e] if index_t is dense_t else w[place(columns, e) * a.pitch + 2 * K]
            g = of[0] * inverse
            of[0] = 0
            w[at + beside] += g * g
            if w[at + beside] == 0 and a.rule.l2 == 0:
                continue        # g is too small for its square
            rate = <floating>(a.rule.eta / (sqrt(w[at + beside]) + a.rule.eta * a.rule.l2))
            w[at] -= rate * g * inverse
    add_changes(a, columns, nnz, w, K)


cdef inline void apply_bias_gradient(Adaptive* a, Py_ssize_t K, double decay) noexcept nogil:
    cdef Py_ssize_t k
    if decay > 0 and a.rule.optimizer != NORMALIZED:
        adapt_bias(a, K, a.bias_gradient, decay)
    for k in range(K):
        if decay > 0 and a.rule.optimizer == NORMALIZED:
            a.bias[k] -= a.bias_gradient[k] * bias_rate(a, K, k, a.bias_gradient[k], decay)
        a.bias_gradient[k] = 0
