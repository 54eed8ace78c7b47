from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

LARGEST_ID: int

class Chunk(NamedTuple):
    labels: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    values: npt.NDArray[Any]
    lines: int
    low: int
    low_line: int
    high: int
    high_line: int

def parse(text: bytes, dtype: npt.DTypeLike, name: str = ..., first_line: int = ...) -> Chunk: ...
