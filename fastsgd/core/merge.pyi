from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from .sgd import State

Array = NDArray[Any]

LARGEST_CREW: int

def merge(
    state: State, weights: Array, velocity: Array, copies: Sequence[State], due: float, first: int, last: int
) -> tuple[float, float]: ...
