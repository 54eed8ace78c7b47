from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from .state import State

_Array = NDArray[Any]

LARGEST_CREW: int

def merge(
    state: State, weights: _Array, velocity: _Array, copies: Sequence[State], due: float, first: int, last: int
) -> tuple[float, float]: ...
