"""What the linear estimators share: coefficients, and scores."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from . import _validation as check
from ._arrays import Array
from ._parameters import Parameters
from ._scores import decision
from ._sklearn import NotFittedError, known_as, warn
from ._states import coefficients, new_state, solution
from ._threads import count_threads
from ._trained import Solution, Trained
from ._training import Source
from ._tuning import FEWEST, ROWS, find_eta0
from ._validation import Rows
from .core import checks
from .core.losses import Loss
from .core.state import OPTIMIZERS, Settings, State


class LinearSGD(Parameters, Trained):
    """K linear scores W x + b.

    Fitted, it has `coef_` and `intercept_`. After `partial_fit` they are made when somebody asks for them, since that
    costs as much as there are weights.
    """

    _solution = ("coef_", "intercept_")

    if TYPE_CHECKING:
        coef_: Array
        intercept_: Array
        eta0_: float
    else:
        coef_, intercept_ = Solution(), Solution()

    def _equip(self, state: State) -> None:
        average = bool(self.average) or self._rising
        if average != (state.average is not None):
            state.average = np.zeros(state.width * state.features, state.weights.dtype) if average else None
            state.average_bias = np.zeros_like(state.bias) if average else None
            state.average_scale = state.averaged = 0
        # What fits the state: another thread may have changed the parameter since.
        l1 = not state.optimizer and self.penalty in ("l1", "elasticnet")
        if l1 != (state.received is not None):
            state.received, state.penalty_total = np.zeros_like(state.weights) if l1 else None, 0
            state.sum_squares = np.inf
        batches = bool(state.optimizer) and self.batch_size > 1
        if batches != (state.gradient is not None):
            state.gradient = np.zeros(state.width * state.features, state.weights.dtype) if batches else None

    def _tune(
        self, source: Source, loss: Loss, state: State, settings: Settings, *, fresh: bool, partial: bool
    ) -> float:  # fmt: skip
        eta0: float | None = None if fresh else vars(self).get("eta0_")
        if eta0 is None:
            sample = source.sample(ROWS)
            if partial and sample.order.size < FEWEST:
                warn(f"tune_eta0 has {sample.order.size} rows to go by: let the first chunk be larger", UserWarning)
            eta0 = find_eta0(loss, settings, state, sample)
        settings.begin_with(eta0)
        return eta0

    def _meets_all(self, sample_weight: Any) -> bool:
        weighted = sample_weight is not None or getattr(self, "class_weight", None) is not None
        others = self.early_stopping or self.warm_start or self.tune_eta0 or self.optimizer != "sgd"
        return not (weighted or others)

    @property
    def _penalised(self) -> bool:
        return bool(self.penalty) and self.optimizer == "sgd"

    def _remedy(self) -> str:
        lower = "lower the step size: eta0, unless learning_rate leaves it to the optimiser"
        if self.optimizer == "normalized":
            return f"Scale the targets, or {lower}."
        if self.optimizer == "sgd":
            lower = "lower the step size: eta0, or a larger alpha for 'optimal'"
            if "tune_eta0" in self._parameters() and not self.tune_eta0:
                lower += "; tune_eta0=True finds one"
        normalized = "optimizer='normalized', which does not depend on the units of the columns"
        return f"{check.SCALING}, or {lower}; or take {normalized}."

    def _l2(self, rows: int) -> float:
        share = {"l2": 1.0, "elasticnet": 1 - (self.l1_ratio or 0.0)}
        return self.alpha * share.get(self.penalty or "", 0.0)

    def _published_by(self, state: State) -> dict[str, Any]:
        """`coef_` and `intercept_`, and what tells later whether they were replaced."""
        flat, intercept = solution(state)
        coef = self._shape_coef(flat)
        # Changes made in place have to be seen; of coefficients that are the state's own memory they are.
        # ftrl makes its weights anew, of numbers beside them.
        own = np.may_share_memory(flat, state.weights) and state.optimizer != OPTIMIZERS["ftrl"]
        copy = None if own else flat.copy()
        published = (coef, intercept, copy, intercept.copy())
        return {"coef_": coef, "intercept_": intercept, "_published": published}

    def _shape_coef(self, coef: Array) -> Array:
        return coef

    def _coefficients(self) -> tuple[Array, Array]:
        """(K, d) and (K,), whatever is in coef_ and intercept_ now."""
        if not hasattr(self, "coef_"):
            name = type(self).__name__
            raise known_as(NotFittedError)(
                f"This {name} instance is not fitted yet. Call 'fit' with appropriate arguments before using this "
                "estimator."
            )
        coef: Any = self.coef_
        coef = np.atleast_2d(coef.toarray() if hasattr(coef, "toarray") else np.asarray(coef))
        intercept = np.atleast_1d(self.intercept_)
        expected = (self._state.bias.size, self.n_features_in_)
        if coef.shape != expected or intercept.shape != expected[:1]:
            raise ValueError(
                f"coef_ and intercept_ have shapes {coef.shape} and {intercept.shape}; "
                f"those of the model are {expected} and {expected[:1]}"
            )
        return coef, intercept

    def _state_now(self) -> State:
        """The state to train on: the one left by the last call, unless coef_ or intercept_ were replaced since."""
        if not self._is_published() or self._state.optimizer != OPTIMIZERS[self.optimizer]:
            state = self._present_state(self._state.weights.dtype, self._state.feature_major)
            state.t = self._state.t
            self._withdraw()
            self._state = state
        if not self._state.weights.flags.writeable:  # mapped from a file, as joblib does for its processes
            self._state = copy.deepcopy(self._state)
        return self._state

    def _present_state(self, dtype: Any, feature_major: bool) -> State:
        coef, intercept = self._coefficients()
        return self._new_state(len(coef), self.n_features_in_, dtype, feature_major, coef, intercept)

    def _is_published(self) -> bool:
        """Whether the state is the truth still: nobody has seen its coefficients, or those seen are unchanged."""
        if "_published" not in vars(self):
            return self._is_unseen()
        coef, intercept, coef_was, intercept_was = self._published
        return (
            self.coef_ is coef
            and self.intercept_ is intercept
            and (coef_was is None or np.array_equal(np.atleast_2d(coef), coef_was))
            and np.array_equal(intercept, intercept_was)
        )

    def _new_state(
        self, n_outputs: int, n_features: int, dtype: Any, feature_major: bool, coef: Any = None, intercept: Any = None
    ) -> State:
        state = new_state(n_outputs, n_features, dtype, feature_major, self.optimizer)
        shape = (n_outputs, n_features)
        single = n_outputs == 1
        if coef is not None:
            fits = (shape, (n_features,)) if single else (shape,)
            coefficients(state, state.weights)[:] = check.check_initial(coef, fits, "coef_init").reshape(shape)
            state.sum_squares = np.inf  # not measured yet
        if intercept is not None:
            state.bias[:] = check.check_initial(
                intercept, ((n_outputs,), ()) if single else ((n_outputs,),), "intercept_init"
            )
        return state

    def _first_state(self, rows: Rows, n_outputs: int) -> State:
        return self._new_state(n_outputs, rows.shape[1], rows.data.dtype, rows.sparse)

    def _starting_state(self, rows: Rows, n_outputs: int, **initial: Any) -> State:
        coef_init, intercept_init = initial.get("coef_init"), initial.get("intercept_init")
        if self.warm_start and hasattr(self, "coef_"):
            coef, intercept = self._coefficients()
            coef_init = coef if coef_init is None else coef_init
            intercept_init = intercept if intercept_init is None else intercept_init
        return self._new_state(n_outputs, rows.shape[1], rows.data.dtype, rows.sparse, coef_init, intercept_init)

    def _scores(self, X: Any) -> Array:
        state, scale = vars(self).get("_state"), 1.0
        if state is not None and self._is_unseen() and not state.averaged:
            # Online learning: no look at all weights between two rows.
            coef, intercept, scale = coefficients(state, state.weights), state.bias, state.scale
        else:
            coef, intercept = self._coefficients()
        rows = self._known_rows(X, scored=True)
        scores = decision(rows, coef, intercept, scale=scale, threads=count_threads(self.n_jobs), checked=False)
        if checks.first_nonfinite(scores.reshape(-1)) >= 0:  # as wrong columns and values make them
            check.check_contents(rows, X)
        return scores

    def densify(self) -> Self:
        """Make `coef_` an ndarray again, after `sparsify`.

        Returns
        -------
        self
        """
        self._coefficients()
        coef: Any = self.coef_
        if hasattr(coef, "toarray"):
            self.coef_ = self._shape_coef(coef.toarray())
        return self

    def sparsify(self) -> Self:
        """Make `coef_` a scipy.sparse matrix, which saves memory where most weights are 0 (l1).

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If scipy is not installed.
        """
        self._coefficients()
        from scipy.sparse import csr_matrix

        self.coef_ = csr_matrix(self.coef_)
        return self
