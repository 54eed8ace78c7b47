from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

LARGEST_ID: int

class Chunk(NamedTuple):
    labels: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64] | None
    queries: npt.NDArray[np.int64] | None
    lengths: npt.NDArray[np.int64]
    ids: npt.NDArray[Any]
    values: npt.NDArray[Any]
    lines: int
    low: int
    low_line: int
    high: int
    high_line: int

class Malformed(Exception):
    line: int
    problem: str
    def __init__(self, line: int, problem: str) -> None: ...

class Room: ...

def parse(
    text: bytes,
    dtype: npt.DTypeLike,
    multilabel: bool = ...,
    query_id: bool = ...,
    finite: bool = ...,
    room: Room | None = ...,
) -> Chunk: ...
