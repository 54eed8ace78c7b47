from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from .state import State

LARGEST_CREW: int

class Rounds:
    def __init__(
        self, state: State, velocity: State, copies: Sequence[State], ends: NDArray[Any], batch: int
    ) -> None: ...
    def abandon(self) -> None: ...
