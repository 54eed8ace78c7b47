"""The scales of the columns, for the optimiser 'normalized' where it goes on from weights it has not learnt."""

from __future__ import annotations

import math

import numpy as np

from ._arrays import PIECE, Array
from ._states import cells, lay_out
from ._validation import Rows
from .core.state import OPTIMIZERS, State


def scale_columns(state: State, rows: Rows, order: Array) -> None:
    """Let the scales of a new state, if its weights were given, be the largest |x_j| of the rows `order`.

    As a scale grows the optimiser shrinks the weight, which it has learnt from smaller values: not so if it was given.
    """
    if state.optimizer != OPTIMIZERS["normalized"] or state.rows or math.isfinite(state.sum_squares):
        return
    lay_out(state, rows.sparse)
    inverses = cells(state, state.weights)[2 * state.width]
    scales = np.zeros_like(inverses)
    visited = np.zeros(rows.shape[0], bool)
    visited[order] = True
    step = max(1, PIECE * rows.shape[0] // max(1, rows.nnz))
    for first in range(0, rows.shape[0], step):
        chosen = visited[first : first + step]
        part = rows.part(first, first + chosen.size)
        if part.indptr is None:
            largest = np.abs(part.data.reshape(part.shape)).max(axis=0, initial=0, where=chosen[:, None])
            np.maximum(scales, largest, out=scales)
        else:
            inside = slice(part.indptr[0], part.indptr[-1])
            keep = np.repeat(chosen, np.diff(part.indptr))
            np.maximum.at(scales, part.indices[inside][keep], np.abs(part.data[inside][keep]))
    np.divide(1, np.maximum(scales, np.finfo(scales.dtype).tiny), out=inverses, where=scales > 0)
