"""The parameters of the estimators: kept as given, checked, and made into the kernel's settings."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from ._sklearn import Estimator, warn
from ._training import BLOCKS
from .core.losses import Loss
from .core.state import OPTIMIZERS, SCHEDULES, Settings
from .losses import LOSSES

SCALE_FREE = ("perceptron", "multiclass_perceptron")
DELTA = 4.0  # what adagrad's sums of squares start from, with its own steps


class Common(Estimator):
    """An estimator with the parameters that every training by stochastic gradient descent has."""

    __slots__ = ("_checked", "_fastsgd_lock")  # not in __dict__: no part of the model

    # The parameters, as the subclasses' __init__ sets them.
    loss: str
    n_jobs: int | None
    alpha: float
    max_iter: int
    tol: float | None
    shuffle: bool | str
    verbose: int
    random_state: Any
    learning_rate: str
    power_t: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    scoring: Any
    callbacks: Any

    def _keep(self, arguments: Mapping[str, Any]) -> None:
        """Keep the arguments of __init__, its locals(), under their names and unchanged."""
        vars(self).update((name, value) for name, value in arguments.items() if name not in ("self", "__class__"))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; it may be a parameter, and so parameters are to be checked again."""
        object.__setattr__(self, name, value)
        object.__setattr__(self, "_checked", False)

    def _check_parameters(self) -> None:
        """Check each parameter, unless all have passed and none was set since; a list of callbacks may have changed."""
        if self.callbacks or not getattr(self, "_checked", False):
            self._check_each_parameter()
            object.__setattr__(self, "_checked", True)

    def _check_each_parameter(self) -> None:
        for name in ("early_stopping", "warm_start"):
            self._check_flag(name)
        if not (isinstance(self.shuffle, str) and self.shuffle == BLOCKS):
            self._check_flag("shuffle", f"True, False or {BLOCKS!r}")
        self._check_number("alpha", 0)
        self._check_number("max_iter", 1, integer=True)
        self._check_number("tol", 0, none=True)
        if not isinstance(self.verbose, (bool, np.bool_)):
            self._check_number("verbose", 0)
        if not isinstance(self.random_state, (np.random.Generator, np.random.RandomState)):
            self._check_number("random_state", 0, 2**32 - 1, integer=True, none=True)
        self._check_number("power_t", -np.inf, open_low=True)
        if self.power_t < 0:
            warn("Negative values for `power_t` are deprecated, as in scikit-learn: steps grow", FutureWarning)
        self._check_number("validation_fraction", 0, 1, open_low=True, open_high=True)
        self._check_number("n_iter_no_change", 1, integer=True)
        self._check_number("n_jobs", -np.inf, integer=True, none=True)
        if not (self.scoring is None or isinstance(self.scoring, str) or callable(self.scoring)):
            self._refuse("scoring", "'loss', the name of a scorer, a callable (estimator, X, y) or None")
        callbacks = () if self.callbacks is None else self.callbacks
        if not isinstance(callbacks, (list, tuple)) or not all(callable(callback) for callback in callbacks):
            self._refuse("callbacks", "a list of callables, called with a record of each epoch, or None")

    def _check_choice(self, name: str, choices: tuple[Any, ...]) -> None:
        value = getattr(self, name)
        if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
            self._refuse(name, f"one of {', '.join(map(repr, choices))}")

    def _check_flag(self, name: str, what: str = "True or False") -> None:
        if not isinstance(getattr(self, name), (bool, np.bool_, Integral)):
            self._refuse(name, what)

    def _check_number(
        self,
        name: str,
        low: float,
        high: float = np.inf,
        *,
        integer: bool = False,
        open_low: bool = False,
        open_high: bool = False,
        none: bool = False,
    ) -> None:
        """A parameter is a number of a range, closed but at infinity and where said; `none` lets None pass."""
        value = getattr(self, name)
        if value is None and none:
            return
        kind = Integral if integer else Real
        fits = isinstance(value, kind) and not isinstance(value, bool)
        if fits:
            fits = (low < value if open_low else low <= value) and (value < high if open_high else value <= high)
        if not fits or (value == np.inf):
            left, right = "(" if open_low else "[", ")" if open_high or high == np.inf else "]"
            what = f"{'an int' if integer else 'a float'} in the range {left}{low}, {high}{right}"
            self._refuse(name, what + (" or None" if none else ""))

    def _refuse(self, name: str, what: str) -> None:
        raise ValueError(
            f"The {name!r} parameter of {type(self).__name__} must be {what}, got {getattr(self, name)!r} instead."
        )


class Parameters(Common):
    """Those of the linear estimators besides."""

    __slots__ = ()

    penalty: str | None
    l1_ratio: float | None
    fit_intercept: bool
    epsilon: float
    eta0: float
    average: bool | int
    batch_size: int
    intercept_decay: float | str
    optimizer: str
    tune_eta0: bool

    def _check_each_parameter(self) -> None:
        super()._check_each_parameter()
        self._check_choice("penalty", ("l2", "l1", "elasticnet", None))
        self._check_choice("learning_rate", tuple(SCHEDULES))
        self._check_choice("optimizer", tuple(OPTIMIZERS))
        self._check_flag("tune_eta0")
        self._check_flag("fit_intercept")
        self._check_number("l1_ratio", 0, 1, none=True)
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError("l1_ratio must be set when penalty is 'elasticnet': a float in the range [0, 1]")
        self._check_number("epsilon", 0)
        self._check_number("eta0", 0, open_low=True)
        self._check_number("batch_size", 1, integer=True)
        if not isinstance(self.average, (bool, np.bool_)):
            self._check_number("average", 1, integer=True)
        if self.intercept_decay != "auto":
            self._check_number("intercept_decay", 0)
        if self.tune_eta0 and self.loss in SCALE_FREE:
            raise ValueError(f"tune_eta0 has nothing to find with loss {self.loss!r}: eta0 only scales its model")
        if self.optimizer != "sgd":
            self._check_optimizer()
        elif self.learning_rate == "optimal" and self.alpha == 0:
            raise ValueError(
                "alpha must be > 0 since learning_rate is 'optimal'. alpha is used to compute the optimal step size."
            )

    def _check_optimizer(self) -> None:
        """What does not go together with an optimiser other than sgd."""
        name = self.optimizer
        if self.learning_rate in ("pa1", "pa2"):
            raise ValueError(f"learning_rate {self.learning_rate!r} is for optimizer='sgd', not {name!r}")
        if self.tune_eta0:
            raise ValueError(f"tune_eta0 is for optimizer='sgd': {name!r} needs no tuning")
        if self.penalty in ("l1", "elasticnet") and name != "ftrl":
            raise ValueError(
                f"penalty {self.penalty!r} needs optimizer 'ftrl', which is 'adagrad' with l1, or 'sgd', not {name!r}"
            )

    @property
    def _threshold(self) -> float:
        return self.epsilon

    @property
    def _own_steps(self) -> bool:
        """Whether the optimiser sets them, and not eta0."""
        return self.optimizer != "sgd" and self.learning_rate in ("optimal", "invscaling")

    @property
    def _rising(self) -> bool:
        """Whether the model is the mean of the iterates, that of step t counting t times, though nobody asked for one.

        On real targets normalized's own steps are so long that the last iterate is noisy where columns have outliers.
        """
        if self.optimizer != "normalized" or self.average:
            return False
        return self._own_steps and LOSSES[self.loss].targets == "real"

    def _settings(self, sparse: bool, loss: Loss, n_rows: int | None = None) -> Settings:
        eta0, own = self.eta0, self._own_steps
        if own:
            eta0 = own_step(self.optimizer, loss)
        decay = 0.01 if sparse and self.optimizer == "sgd" else 1.0
        if self.intercept_decay != "auto":
            decay = float(self.intercept_decay)
        ratio = self.l1_ratio or 0.0 if self.penalty == "elasticnet" else float(self.penalty == "l1")
        return Settings(
            schedule=self.learning_rate,
            optimizer=self.optimizer,
            own=own,
            delta=DELTA if own else 1e-30,
            eta0=eta0,
            power_t=self.power_t,
            alpha=self.alpha,
            strength=self.alpha if self.penalty else 0.0,
            l1_ratio=ratio,
            intercept_decay=decay,
            fit_intercept=self.fit_intercept,
            batch_size=min(self.batch_size, n_rows or self.batch_size),
            average_from=int(self.average),
            rising=self._rising,
        )


def own_step(optimizer: str, loss: Loss) -> float:
    """The factor of an optimiser's own steps (see core/adaptive.pxd), from experiments in bench/optimizers.py."""
    squared = loss.name.startswith("squared") or loss.name in ("huber", "modified_huber")  # curved more than log_loss
    if optimizer == "adam":
        return 0.02
    if optimizer == "normalized":
        # Losses that are followed all the way do not overshoot; those of real targets are, and iterates averaged.
        return 16.0 if loss.targets == "real" else 2.0 if loss.followed else 1.0
    return 2.0 if squared else 32.0


def seed(random_state: Any) -> int:
    """A seed for one call, as scikit-learn reads `random_state`: None is numpy's global state."""
    if random_state is None:
        return int(np.random.randint(2**31 - 1))  # noqa: NPY002
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state)
