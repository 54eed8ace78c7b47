from typing import Any

import numpy as np
import numpy.typing as npt

def format_rows(
    labels: npt.NDArray[np.float64],
    label_ends: npt.NDArray[np.int64],
    queries: npt.NDArray[np.int64] | None,
    values: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    indptr: npt.NDArray[np.int64],
    first: int,
) -> tuple[npt.NDArray[np.uint8], int]: ...
