"""One state from copies that were trained side by side under an optimiser with a step for each weight.

Weights merge as in core/merge.pyx: their mean, carried on by a share of the last change. What is a sum over rows stays
one: sums of squares and counts gain what all copies have gained. Running means become their mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._arrays import Array
from ._states import cells, coefficients
from .core.state import OPTIMIZERS, State, measure

NAMES = {number: name for name, number in OPTIMIZERS.items()}


class Block(NamedTuple):
    """Weights (K, n), what the optimiser keeps of each besides, and of normalized 1 / scale (n,), 0 of no scale yet."""

    weights: Array
    kept: list[Array]
    scale: Array


def merge_cells(state: State, copies: list[State], velocity: State, l1: float, l2: float) -> None:
    """Merge copies of the state into the first of them, but for `t`."""
    name, new = NAMES[state.optimizer], copies[0]
    if state.average is not None:
        _merge_averages(state, copies)
    before, after = _features(state), [_features(c) for c in copies]
    if state.hidden and name == "adam":  # has momentum of its own: with more on top networks learn worse
        velocity.weights[:], velocity.bias[:] = 0, 0
    _merge(name, before, after, cells(velocity, velocity.weights), l1, l2)
    _merge(name, _biases(state), [_biases(c) for c in copies], velocity.bias[:, None], 0.0, 0.0)
    for field in ("rows", "lengths"):
        setattr(new, field, _gained(getattr(state, field), [getattr(c, field) for c in copies]))
    if state.hidden:
        _merge(name, _second(state), [_second(c) for c in copies], _second(velocity).weights, 0.0, 0.0)
        measure(new, new.weights)


def _features(state: State) -> Block:
    matrix, K = cells(state, state.weights), state.width
    return Block(matrix[:K], *_beside(matrix[K:], K, state))


def _second(state: State) -> Block:
    matrix, K = state.weights[state.first :].reshape(-1, state.hidden), state.outputs
    return Block(matrix[:K], *_beside(matrix[K:], K, state))


def _merge_averages(state: State, copies: list[State]) -> None:
    """The sum of the iterates, which a state has as average_scale * weights - average, becomes -average."""

    def total(state: State) -> tuple[Array, Array]:
        assert state.average is not None
        assert state.average_bias is not None
        weights = state.average_scale * coefficients(state, state.weights).astype(np.float64)
        return weights - cells(state, state.average), state.averaged * state.average_bias

    new, sums = copies[0], [total(c) for c in copies]
    (before, before_bias), more = total(state), len(copies) - 1
    averaged = _gained(state.averaged, [c.averaged for c in copies])
    assert new.average is not None
    cells(new, new.average)[:] = more * before - np.sum([weights for weights, _ in sums], axis=0)
    if averaged:
        new.average_bias = (np.sum([bias for _, bias in sums], axis=0) - more * before_bias) / averaged
    new.averaged, new.average_scale = averaged, 0.0


def _biases(state: State) -> Block:
    assert state.bias_memory is not None
    return Block(state.bias[:, None], *_beside(state.bias_memory[:, None], state.bias.size, state))


def _beside(rest: Array, K: int, state: State) -> tuple[list[Array], Array]:
    """What the optimiser keeps of K weights a column, kind by kind, and of the column."""
    kinds = state.planes - 1
    scale = rest[kinds * K] if NAMES[state.optimizer] == "normalized" else np.zeros(rest.shape[1])
    return [rest[i * K : (i + 1) * K] for i in range(kinds)], scale


def _gained(before: float, after: list[float]) -> float:
    return sum(after) - (len(after) - 1) * before


def _sums(before: Array, after: list[Array]) -> Array:
    """What a sum of squares has gained in all copies; rounding must not make it less than it was."""
    total: Array = np.maximum(np.sum(after, axis=0) - (len(after) - 1) * before, before)
    return total


def _merge(name: str, before: Block, copies: list[Block], moving: Array, l1: float, l2: float) -> None:
    if name == "normalized":
        before = Block(before.weights.copy(), [before.kept[0].copy()], before.scale.copy())
        _share_scale(before, copies)
    old, count, new = before.weights.copy(), len(copies), copies[0]
    mean = np.mean([c.weights for c in copies], axis=0, dtype=old.dtype)
    weights = mean + old.dtype.type(1 - 1 / count) * moving
    if l1:
        weights[(weights * mean <= 0) & (mean != weights)] = 0
    kept = [[c.kept[i] for c in copies] for i in range(len(new.kept))]
    if name == "adam":
        for i, values in enumerate(kept):
            new.kept[i][:] = np.mean(values, axis=0, dtype=old.dtype)
    elif name == "ftrl":
        # D is (1 + sqrt(n)) / eta; eta is that of the copies that have seen the weight.
        seen = np.sum([D > 0 for D in kept[2]], axis=0)
        inverse = np.sum([D / (1 + np.sqrt(n)) for n, D in zip(kept[1], kept[2], strict=True)], axis=0)
        n = _sums(before.kept[1], kept[1])
        D = ((1 + np.sqrt(n)) * (inverse / np.maximum(seen, 1))).astype(old.dtype)
        # While a weight is 0, z is the sum of its gradients; before, it belongs to the weight.
        z = np.sum(kept[0], axis=0) - (count - 1) * before.kept[0]
        z = np.where(old == 0, z, np.clip(np.mean(kept[0], axis=0, dtype=old.dtype), -l1, l1))
        free = (weights == 0) & (np.abs(z) > l1) & (D > 0)
        weights[free] = -(z - np.sign(z) * l1)[free] / (D[free] + l2)
        new.kept[0][:] = np.where((weights == 0) | (D == 0), z, -weights * (D + l2) - np.sign(weights) * l1)
        new.kept[1][:], new.kept[2][:] = n, D
    else:
        new.kept[0][:] = _sums(before.kept[0], kept[0])
    moving[:] = weights - old
    new.weights[:] = weights


def _share_scale(before: Block, copies: list[Block]) -> None:
    """Bring weights and sums of squares, which are in units of a column's scale, to the largest of the scales."""
    blocks = (before, *copies)
    smallest = np.min([np.where(b.scale > 0, b.scale, np.inf) for b in blocks], axis=0)
    smallest[np.isinf(smallest)] = 0
    for block in blocks:
        f = np.where(block.scale > 0, smallest / np.where(block.scale > 0, block.scale, 1), 1)
        block.weights[:] *= f.astype(block.weights.dtype)
        block.kept[0][:] *= f.astype(block.weights.dtype) ** 2
        block.scale[:] = smallest
