from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

SCHEDULES: dict[str, int]
OPTIMIZERS: dict[str, int]
STATE_FIELDS: tuple[str, ...]

class Settings:
    eta0: float
    strength: float
    l1_ratio: float
    average_from: float
    batch_size: int
    def __init__(
        self,
        *,
        schedule: str,
        eta0: float,
        power_t: float,
        alpha: float,
        strength: float,
        l1_ratio: float,
        intercept_decay: float,
        fit_intercept: bool,
        batch_size: int,
        average_from: float,
        rising: bool = False,
        optimizer: str = "sgd",
        own: bool = False,
        delta: float = 1e-30,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None: ...
    def begin_with(self, eta0: float) -> None: ...

class State:
    weights: _Array
    bias: _Array
    feature_major: bool
    hidden: int
    activation: str | None
    t: float
    scale: float
    average: _Array | None
    average_bias: _Array | None
    average_scale: float
    averaged: float
    received: _Array | None
    penalty_total: float
    sum_squares: float
    sum_abs: float
    optimizer: int
    bias_memory: _Array | None
    gradient: _Array | None
    rows: float
    lengths: float
    def __init__(
        self,
        weights: _Array,
        bias: _Array,
        feature_major: bool,
        hidden: int = 0,
        activation: str | None = None,
        optimizer: int = 0,
    ) -> None: ...
    @property
    def planes(self) -> int: ...
    @property
    def pitch(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def features(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def first(self) -> int: ...

def planes(optimizer: int) -> int: ...
def pitch(optimizer: int, width: int) -> int: ...
def swap(a: State, b: State) -> None: ...

class Totals:
    loss: float
    penalty: float
    weight: float
    clipped: int
    bad_row: int

def settle(state: State, weights: _Array) -> None: ...
def measure(state: State, weights: _Array) -> None: ...
