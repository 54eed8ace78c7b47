from typing import Any

from numpy.typing import NDArray

from .losses import Loss
from .merge import Rounds
from .state import Settings, State, Totals

_Array = NDArray[Any]

def train(
    loss: Loss,
    settings: Settings,
    state: State,
    data: _Array,
    indices: _Array,
    indptr: _Array | None,
    targets: _Array,
    sample_weight: _Array | None,
    order: _Array,
    totals: Totals,
    rounds: Rounds | None = None,
    thread: int = 0,
) -> None: ...
def shuffle(order: _Array, seed: int) -> None: ...
