from typing import Any

from numpy.typing import NDArray

from .losses import Loss

Array = NDArray[Any]

SCHEDULES: dict[str, int]
STATE_FIELDS: tuple[str, ...]

class Settings:
    eta0: float
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
    ) -> None: ...

class State:
    weights: Array
    bias: Array
    feature_major: bool
    t: float
    scale: float
    average: Array | None
    average_bias: Array | None
    average_scale: float
    averaged: float
    received: Array | None
    penalty_total: float
    sum_squares: float
    sum_abs: float
    def __init__(self, weights: Array, bias: Array, feature_major: bool) -> None: ...

class Totals:
    loss: float
    penalty: float
    weight: float
    clipped: int
    bad_row: int

def train(
    loss: Loss,
    settings: Settings,
    state: State,
    data: Array,
    indices: Array,
    indptr: Array | None,
    targets: Array,
    sample_weight: Array | None,
    order: Array,
    totals: Totals,
) -> None: ...
def settle(state: State, weights: Array) -> None: ...
def measure(state: State, weights: Array) -> None: ...
def scores(
    data: Array,
    indices: Array,
    indptr: Array | None,
    order: Array | None,
    weights: Array,
    bias: Array,
    scale: float,
    out: Array,
) -> None: ...
def shuffle(order: Array, seed: int) -> None: ...
