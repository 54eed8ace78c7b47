from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def scores(
    data: _Array,
    indices: _Array,
    indptr: _Array | None,
    order: _Array | None,
    W: _Array,
    bias: _Array,
    scale: float,
    out: _Array,
) -> None: ...
def winners(scores: _Array, codes: _Array) -> None: ...
def shift(scores: _Array, scale: float, bias: _Array) -> None: ...
