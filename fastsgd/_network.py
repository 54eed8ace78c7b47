"""What the networks share: parameters, weights to begin with, scores."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import _validation as check
from ._arrays import Array
from ._labels import Task
from ._parameters import seed
from ._scores import forward
from ._sklearn import NotFittedError, known_as
from ._states import aligned_zeros, lay_out, layers
from ._threads import count_threads
from ._trained import Solution, Trained
from ._validation import Rows
from .core import network
from .core.losses import Loss
from .core.state import OPTIMIZERS, Settings, State, pitch, planes

SCHEDULES = ("constant", "invscaling", "adaptive")
SOLVERS = ("adam", "sgd", "adagrad")


class Network(Trained):
    """K scores W2 g(W1 x + b1) + b2.

    Fitted, it has `coefs_` and `intercepts_`: lists of W1 (d, h) and W2 (h, K), of b1 and b2.
    """

    _solution = ("coefs_", "intercepts_")
    n_layers_ = 3

    if TYPE_CHECKING:
        coefs_: list[Array]
        intercepts_: list[Array]
    else:
        coefs_, intercepts_ = Solution(), Solution()

    hidden_layer_sizes: Any
    activation: str
    solver: str
    batch_size: int | str
    learning_rate_init: float
    beta_1: float
    beta_2: float
    epsilon: float

    def _check_each_parameter(self) -> None:
        super()._check_each_parameter()
        self._units()
        self._check_choice("activation", tuple(network.ACTIVATIONS))
        if isinstance(self.solver, str) and self.solver == "lbfgs":
            raise ValueError(
                "solver 'lbfgs' is no stochastic gradient descent, and there is none here; take 'adam', or for a small "
                "data set scikit-learn's"
            )
        self._check_choice("solver", SOLVERS)
        self._check_choice("learning_rate", SCHEDULES)
        self._check_number("learning_rate_init", 0, open_low=True)
        if not (isinstance(self.batch_size, str) and self.batch_size == "auto"):
            self._check_number("batch_size", 1, integer=True)
        for name in ("beta_1", "beta_2"):
            self._check_number(name, 0, 1, open_high=True)
        self._check_number("epsilon", 0, open_low=True)

    def _units(self) -> int:
        """h, the number of hidden units."""
        sizes = self.hidden_layer_sizes
        if isinstance(sizes, Integral):
            sizes = [sizes]
        sizes = list(sizes) if isinstance(sizes, (list, tuple, np.ndarray)) else []
        if len(sizes) > 1:
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} asks for {len(sizes)} hidden layers, and "
                f"{type(self).__name__} has one: give (h,), h being the number of its units"
            )
        if len(sizes) != 1 or isinstance(sizes[0], bool) or not isinstance(sizes[0], Integral) or sizes[0] < 1:
            self._refuse("hidden_layer_sizes", "(h,), h >= 1 being the number of hidden units")
        return int(sizes[0])

    def _remedy(self) -> str:
        return f"{check.SCALING} or lower the step size: learning_rate_init."

    def _l2(self, rows: int) -> float:
        return self.alpha / rows

    @property
    def _schedule(self) -> str:
        return self.learning_rate if self.solver == "sgd" else "constant"

    def _batch(self, rows: int) -> int:
        """Rows in a batch, of so many in all."""
        return min(200 if isinstance(self.batch_size, str) else self.batch_size, rows)

    def _equip(self, state: State) -> None:
        if state.gradient is None and state.optimizer and state.feature_major and self.batch_size != 1:
            state.gradient = np.zeros(state.width * state.features, state.weights.dtype)

    def _fit(self, rows: Rows, task: Task, weights: Array | None, state: State, **how: Any) -> Self:
        lay_out(state, rows.sparse)  # for _equip
        return super()._fit(rows, task, weights, state, **how)

    @property
    def _penalised(self) -> bool:
        return self.alpha > 0

    @property
    def _threshold(self) -> float:
        return 0.1

    def _settings(self, sparse: bool, loss: Loss, n_rows: int | None = None) -> Settings:
        batch = self._batch(n_rows or 200)
        return Settings(
            schedule=self._schedule,
            optimizer=self.solver,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            eta0=self.learning_rate_init,
            power_t=self.power_t,
            alpha=self.alpha,
            strength=self._l2(batch),
            l1_ratio=0.0,
            intercept_decay=1.0,
            fit_intercept=True,
            batch_size=batch,
            average_from=0,
        )

    def _first_state(self, rows: Rows, n_outputs: int) -> State:
        """Uniform in +-sqrt(6 / (fan_in + fan_out)), of logistic units sqrt(2 / ...) (Glorot, Bengio 2010).

        In the order of scikit-learn's draws, so that an int for `random_state` gives the same weights as there.
        """
        units, d, dtype = self._units(), rows.shape[1], rows.data.dtype
        random = np.random.RandomState(seed(self.random_state))
        state = self._empty_state(units, d, n_outputs, dtype, rows.sparse)
        state.activation = self.activation
        first, second = _matrices(state)
        bias = state.bias
        for matrix, shift in ((first, bias[:units]), (second, bias[units:])):
            bound = np.sqrt((2 if self.activation == "logistic" else 6) / sum(matrix.shape))
            for start in range(0, len(matrix), step := max(1, (1 << 20) // matrix.shape[1])):
                part = matrix[start : start + step]
                part[:] = random.uniform(-bound, bound, part.shape)
            shift[:] = random.uniform(-bound, bound, shift.size).astype(dtype)
        return state

    def _empty_state(self, units: int, d: int, n_outputs: int, dtype: Any, feature_major: bool) -> State:
        optimizer = OPTIMIZERS[self.solver]
        size = pitch(optimizer, units) * d + planes(optimizer) * units * n_outputs
        bias = np.zeros(units + n_outputs)
        state = State(aligned_zeros(size, np.dtype(dtype)), bias, feature_major, units, self.activation, optimizer)
        state.sum_squares = np.inf  # not measured yet
        return state

    def _starting_state(self, rows: Rows, n_outputs: int, **initial: Any) -> State:
        if not (self.warm_start and hasattr(self, "coefs_")):
            return self._first_state(rows, n_outputs)
        coefs, intercepts = self._coefficients()
        expected = ((rows.shape[1], self._units()), (self._units(), n_outputs))
        if tuple(coef.shape for coef in coefs) != expected:
            raise ValueError(
                f"warm_start: the weights so far have shapes {[coef.shape for coef in coefs]}, these data and "
                f"parameters need {list(expected)}; make the estimator anew"
            )
        return self._made_of(coefs, intercepts, rows.data.dtype, rows.sparse)

    def _made_of(self, coefs: list[Array], intercepts: list[Array], dtype: Any, feature_major: bool) -> State:
        """A new state of these weights."""
        d, units = coefs[0].shape
        state = self._empty_state(units, d, coefs[1].shape[1], dtype, feature_major)
        with np.errstate(over="ignore"):  # what overflows to infinity is reported
            for matrix, coef in zip(_matrices(state), coefs, strict=True):
                matrix[:] = coef
        state.bias[:] = np.concatenate(intercepts)
        if not (np.isfinite(state.weights).all() and np.isfinite(state.bias).all()):
            raise ValueError(f"coefs_ or intercepts_ have NaN or infinity, as {state.weights.dtype}")
        return state

    def _present_state(self, dtype: Any, feature_major: bool) -> State:
        state = self._made_of(*self._coefficients(), dtype, feature_major)
        state.activation = self._state.activation
        return state

    def _published_by(self, state: State) -> dict[str, Any]:
        coefs, intercepts = layers(state)
        # Of coefficients that are the state's own memory changes made in place are seen; of others copies tell.
        shared = all(np.may_share_memory(coef, state.weights) for coef in coefs)
        were = (list(coefs), None if shared else [coef.copy() for coef in coefs], [b.copy() for b in intercepts])
        return {"coefs_": coefs, "intercepts_": intercepts, "_published": were}

    def _is_published(self) -> bool:
        if "_published" not in vars(self):
            return self._is_unseen()
        coefs, copies, intercepts = self._published
        return (
            len(self.coefs_) == len(self.intercepts_) == 2
            and all(a is b for a, b in zip(self.coefs_, coefs, strict=True))
            and (copies is None or all(map(np.array_equal, coefs, copies)))
            and all(map(np.array_equal, self.intercepts_, intercepts))
        )

    def _coefficients(self) -> tuple[list[Array], list[Array]]:
        """Whatever is in coefs_ and intercepts_ now, checked."""
        if not hasattr(self, "coefs_"):
            name = type(self).__name__
            raise known_as(NotFittedError)(
                f"This {name} instance is not fitted yet. Call 'fit' with appropriate arguments before using this "
                "estimator."
            )
        coefs, intercepts = [np.asarray(a) for a in self.coefs_], [np.asarray(a) for a in self.intercepts_]
        units, outputs = self._state.hidden, self._state.outputs
        shapes = [array.shape for array in (*coefs, *intercepts)]
        expected = [(self.n_features_in_, units), (units, outputs), (units,), (outputs,)]
        if shapes != expected:
            raise ValueError(f"coefs_ and intercepts_ have shapes {shapes}; those of the model are {expected}")
        return coefs, intercepts

    def _state_now(self) -> State:
        """The state to train on: the one left by the last call, unless coefs_ or intercepts_ were replaced since."""
        state = self._state
        if not self._is_published() or state.optimizer != OPTIMIZERS[self.solver]:
            step = state.t
            self._state = state = self._present_state(state.weights.dtype, state.feature_major)
            state.t = step
        if not state.weights.flags.writeable:  # mapped from a file, as joblib does for its processes
            self._state = copy.deepcopy(state)
        if not self._is_unseen():
            self._state.sum_squares = np.inf  # weights may have been changed in place
        return self._state

    def _scores(self, X: Any) -> Array:
        coefs, intercepts = self._coefficients()
        activation = str(self._state.activation)
        return forward(self._known_rows(X), coefs, intercepts, activation, threads=count_threads(self.n_jobs))

    @property
    def loss_(self) -> float:
        """Mean objective of the last pass."""
        return self.loss_curve_[-1]

    @property
    def best_loss_(self) -> float:
        """The least mean objective of a pass."""
        return min(self.loss_curve_)

    @property
    def n_outputs_(self) -> int:
        """K."""
        return self._state.outputs

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coefs_")


def _matrices(state: State) -> list[Array]:
    """W1 and W2 of a state whose scale is 1, transposed, in its own memory."""
    return layers(state)[0]
