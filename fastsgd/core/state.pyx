# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""What a run is given, what it carries from step to step, and what it sums up."""

from cython cimport floating
from libc.math cimport fabs

from .adaptive cimport SGD, pitch_of, planes_of
from .job cimport fold_scale
from .rows cimport Account, dense_t, dots, settle_all
from .schedules cimport Schedule

import numpy as np

SCHEDULES = {name: i for i, name in enumerate(("constant", "optimal", "invscaling", "adaptive", "pa1", "pa2"))}

OPTIMIZERS = {name: i for i, name in enumerate(("sgd", "adagrad", "normalized", "ftrl", "adam"))}


cdef class Settings:
    """What stays the same during a run: plain numbers, in SPEC's notation.

    `strength` is the penalty's factor: alpha, or 0 without a penalty, when alpha still sets the 'optimal' step.
    `average_from` is the first step whose iterate is averaged; `rising` says that the iterate of step t counts t times.
    Of the other optimisers than sgd, `own` says that eta0 is the factor of their own steps, and not the step itself;
    `delta` is what adagrad's sums of squares start from, `beta1`, `beta2` and `epsilon` are adam's.
    """

    def __init__(self, *, schedule, double eta0, double power_t, double alpha, double strength, double l1_ratio,
                 double intercept_decay, bint fit_intercept, Py_ssize_t batch_size, double average_from,
                 bint rising=False, optimizer="sgd", bint own=False, double delta=1e-30, double beta1=0.9,
                 double beta2=0.999, double epsilon=1e-8):
        self.optimizer, self.own, self.delta = OPTIMIZERS[optimizer], own, delta
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.rule.schedule = <Schedule><int>SCHEDULES[schedule]
        self.rule.eta0, self.rule.power_t, self.rule.alpha = eta0, power_t, alpha
        self.rule.t0 = 1 / (alpha * alpha ** -0.25) if alpha > 0 else float("inf")
        self.strength, self.l1_ratio, self.intercept_decay = strength, l1_ratio, intercept_decay
        self.fit_intercept, self.batch_size = fit_intercept, batch_size
        self.average_from, self.rising = average_from, rising

    @property
    def eta0(self):
        """The step of the constant and adaptive schedules; adaptive lowers it between epochs."""
        return self.rule.eta0

    @eta0.setter
    def eta0(self, double value):
        self.rule.eta0 = value

    def begin_with(self, double eta0):
        """Make it the first step of every schedule: of 'optimal', t0 is 1 / (alpha eta0) then (Bottou 2012)."""
        self.rule.eta0 = eta0
        self.rule.t0 = 1 / (self.rule.alpha * eta0) if self.rule.alpha * eta0 > 0 else float("inf")


STATE_FIELDS = (
    "weights", "bias", "feature_major", "hidden", "activation", "t", "scale", "average", "average_bias",
    "average_scale", "averaged", "received", "penalty_total", "sum_squares", "sum_abs", "optimizer",
    "bias_memory", "gradient", "rows", "lengths",
)


cdef class State:
    """What training carries from one step to the next; W = scale * weights.

    Attributes
    ----------
    weights : ndarray of shape (K * d,)
        Class-major (K x d) for dense rows, feature-major (d x K) for CSR; float32 or float64.
    bias : ndarray of float64 of shape (K,)
    feature_major : bool
    hidden : int
        0; or the units h of a network's hidden layer. Then `weights` are those of W1 in the layout above, K being h,
        followed by W2, class-major, and `bias` is b1 followed by b2.
    activation : str, or None
        What the hidden units make of their scores, a key of `network.ACTIVATIONS`.
    t : float
        The number of the next step.
    scale : float
    average : ndarray like weights, or None
        average_scale * weights - average is the sum of the averaged iterates.
    average_bias : ndarray of float64 of shape (K,)
    averaged : float
        How many iterates the average has, each as often as it counts.
    received : ndarray like weights, or None
        The l1 penalty that each weight has received so far, of `penalty_total` due.
    sum_squares, sum_abs : float
        ||W||^2 and ||W||_1, exact after `measure`, updated by differences from then on.
    optimizer : int
        Of OPTIMIZERS. Unless it is sgd, a feature has `pitch` numbers in `weights`, K of them weights: they are a
        matrix of `pitch` rows, or, feature-major, of `pitch` columns (see adaptive.h).
        Of a network W2 follows as a matrix of `planes` K rows.
    bias_memory : ndarray of float64 of shape (memory,), or None
        What the optimiser keeps of the intercepts.
    gradient : ndarray of shape (K * d,), or None
        Zeros: where the gradients of batches are gathered; of a network those of features.
    rows, lengths : float
        How many rows there have been, and the sum of their squared lengths, on which the optimisers' own steps depend.
    """

    def __init__(self, weights, bias, feature_major, hidden=0, activation=None, optimizer=0):
        self.weights, self.bias, self.feature_major = weights, bias, feature_major
        self.hidden, self.activation, self.optimizer = hidden, activation, optimizer
        self.t = self.scale = 1.0
        if optimizer != SGD:
            self.bias_memory = np.zeros(self.memory)

    @property
    def planes(self):
        """Numbers that a weight has, itself among them."""
        return planes_of(self.optimizer)

    @property
    def pitch(self):
        """Numbers in `weights` that a feature has."""
        return pitch_of(self.optimizer, self.width)

    @property
    def memory(self):
        """Numbers in `bias_memory`."""
        return pitch_of(self.optimizer, len(self.bias)) - len(self.bias)

    @property
    def outputs(self):
        """K."""
        return len(self.bias) - self.hidden

    @property
    def width(self):
        """Weights that a feature has: the outputs or, of a network, the hidden units."""
        return self.hidden or len(self.bias)

    @property
    def first(self):
        """How many of the numbers in `weights` belong to features, and are laid out as the rows are."""
        return len(self.weights) - self.hidden * self.outputs * self.planes

    @property
    def features(self):
        """d."""
        return self.first // self.pitch


def planes(int optimizer):
    """Numbers that a weight has in `State.weights`, itself among them."""
    return planes_of(optimizer)


def pitch(int optimizer, Py_ssize_t width):
    """Numbers that a feature of so many weights has in `State.weights`."""
    return pitch_of(optimizer, width)


def swap(State a, State b):
    """Exchange everything, arrays by reference; compiled, so that no signal's handler runs in between."""
    for name in STATE_FIELDS:
        ours, theirs = getattr(a, name), getattr(b, name)
        setattr(a, name, theirs)
        setattr(b, name, ours)


cdef class Totals:
    """Sums over the rows of one epoch.

    `loss`, `penalty` and `weight` are sums of s L, of s times the penalty and of s, over rows of weight s;
    `clipped` counts derivatives cut off at 1e12; `bad_row` is the row whose score was not finite, or -1.
    """

    def __init__(self):
        self.bad_row = -1


def settle(State state, floating[::1] weights):
    """End a run: every weight gets the l1 penalty it is still due, and the scale becomes 1."""
    cdef floating[::1] average = state.average, received = state.received
    cdef floating* running = NULL
    cdef Account account = Account(state.penalty_total, state.scale, state.average_scale, 0, 0)
    if average is not None:
        running = &average[0]
    with nogil:
        if received is not None:
            settle_all(&weights[0], &received[0], running, weights.shape[0], &account)
        if state.scale != 1:
            fold_scale(&state.scale, &state.average_scale, &weights[0], running, weights.shape[0], 1)


def measure(State state, const floating[::1] weights):
    """Set ||W||^2 and, under l1, ||W||_1 of the state; `weights` are the state's, to tell their type."""
    cdef Py_ssize_t i, K = state.width, apart = state.pitch, rest = state.hidden * state.outputs
    # Runs of weights that are not apart from each other, and after them W2.
    cdef Py_ssize_t runs = 1, length = state.features * K, second = state.first
    cdef double squares = 0.0, part = 0.0, total = 0.0
    cdef bint has_l1 = state.received is not None
    if state.optimizer == SGD:
        length, rest = weights.shape[0], 0
    elif state.feature_major:
        runs, length = state.features, K
    with nogil:
        for i in range(runs):
            dots(&weights[i * apart], <const dense_t*>NULL, length, &weights[i * apart], 1, 1, &part, 0)
            squares += part
        if rest > 0:
            dots(&weights[second], <const dense_t*>NULL, rest, &weights[second], 1, 1, &part, 0)
            squares += part
        if has_l1:
            for i in range(weights.shape[0]):
                total += fabs(weights[i])
    state.sum_squares = squares * state.scale * state.scale
    state.sum_abs = total * state.scale
