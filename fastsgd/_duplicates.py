"""CSR rows that name a column more than once: looked for at the speed of memory, and added up if there are any."""

from __future__ import annotations

import numpy as np

from ._validation import Rows, check_values
from .core import checks


def summed(rows: Rows) -> Rows:
    """The rows with the values of the same column of a row added up; themselves, not a copy, where none are."""
    if rows.indptr is None or not any(checks.count_descents(rows.indices, bounds) for bounds in rows.bounds()):
        return rows
    # Rows are out of order or have duplicates.
    room = 2 << int(np.diff(rows.indptr).max()).bit_length()
    table = np.empty(room, np.int64), np.empty(room, np.int64)
    counts = [checks.sum_duplicates(rows.data, rows.indices, bounds, table) for bounds in rows.bounds()]
    nnz = sum(counts)
    if nnz == rows.nnz:
        return rows
    data, indices = np.empty(nnz, rows.data.dtype), np.empty(nnz, rows.indices.dtype)
    indptr = np.zeros(rows.shape[0] + 1, np.int64)
    row = start = 0
    for bounds, count in zip(rows.bounds(), counts, strict=True):
        inside, new_bounds = slice(start, start + count), indptr[row : row + bounds.size]
        checks.sum_duplicates(rows.data, rows.indices, bounds, table, data[inside], indices[inside], new_bounds)
        new_bounds += start
        row, start = row + bounds.size - 1, start + count
    new = Rows(data, indices, indptr, rows.shape)
    with np.errstate(over="ignore"):
        check_values(new, advice="the sum of values of the same column is too large: scale the features")
    return new
