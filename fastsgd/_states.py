"""The arrays of a training state: their sizes and layout, what is done to all of them, and the model they stand for."""

from __future__ import annotations

import copy

import numpy as np

from ._arrays import CHUNK, Array
from ._validation import Rows
from .core import checks
from .core.state import OPTIMIZERS, STATE_FIELDS, State, pitch, settle

LINE = 64  # bytes of a line of the cache


def new_state(n_outputs: int, n_features: int, dtype: np.dtype, feature_major: bool, optimizer: str = "sgd") -> State:
    number = OPTIMIZERS[optimizer]
    weights = aligned_zeros(pitch(number, n_outputs) * n_features, dtype)
    return State(weights, np.zeros(n_outputs), feature_major, optimizer=number)


def aligned_zeros(size: int, dtype: np.dtype) -> Array:
    """Zeros that begin with a cache line, as the kernels' vectors would have it: numpy's own begin 16 bytes later."""
    room = np.zeros(size * dtype.itemsize + LINE, np.uint8)
    first = -room.__array_interface__["data"][0] % LINE
    return room[first : first + size * dtype.itemsize].view(dtype)


def cells(state: State, flat: Array) -> Array:
    """All that `weights`, or an array of the weights' number, has for the features, as (numbers a feature, d)."""
    size = state.pitch if flat is state.weights else state.width
    flat = flat[: size * state.features] if state.hidden else flat
    return flat.reshape(-1, size).T if state.feature_major else flat.reshape(size, -1)


def coefficients(state: State, flat: Array) -> Array:
    """The weights in a flat array of the state's layout, seen as (K, d); of a network, its first layer, (h, d)."""
    return cells(state, flat)[: state.width]


def lay_out(state: State, feature_major: bool) -> None:
    """Give the state's arrays the layout for dense rows (class-major) or CSR (feature-major)."""
    if state.feature_major == feature_major:
        return
    if state.pitch > 1:
        for name in ("weights", "average", "received", "gradient"):
            flat = getattr(state, name)
            if flat is not None:
                matrix = cells(state, flat)
                rest = flat[matrix.size :]
                turned = np.ascontiguousarray(matrix.T if feature_major else matrix).reshape(-1)
                setattr(state, name, np.concatenate([turned, rest]) if rest.size else turned)
    state.feature_major = feature_major


def solution(state: State) -> tuple[Array, Array]:
    """The model that the state stands for: (K, d) coefficients and (K,) intercepts.

    The mean of the iterates if there is one, else the last iterate: the weights themselves, not a copy, once settled.
    """
    flat, bias = state.weights, state.bias
    if state.average is not None and state.average_bias is not None and state.averaged:
        return mean_iterate(state, state.average), state.average_bias.astype(flat.dtype)
    if state.scale != 1:
        flat = flat * flat.dtype.type(state.scale)
    return coefficients(state, flat), bias.astype(flat.dtype)


def layers(state: State) -> tuple[list[Array], list[Array]]:
    """The network that the state stands for: weights (d, h) and (h, K), biases (h,) and (K,), as scikit-learn has them.

    The weights are the state's own, not copies, once settled.
    """
    flat, hidden = state.weights, state.hidden
    if state.scale != 1:
        flat = flat * flat.dtype.type(state.scale)
    second = flat[state.first :][: hidden * state.outputs].reshape(-1, hidden)
    bias = state.bias.astype(flat.dtype)
    return [coefficients(state, flat).T, second.T], [bias[:hidden].copy(), bias[hidden:].copy()]


def settled(state: State) -> State:
    """The state were training to end here: itself, or a copy if weights have l1 to receive yet."""
    if state.received is None:
        return state
    state = copy.deepcopy(state)
    settle(state, state.weights)
    return state


def mean_iterate(state: State, flat: Array) -> Array:
    """The mean of the iterates, (K, d), in the state's layout; `flat` is its `average`."""
    weights, average, into = coefficients(state, state.weights), cells(state, flat), cells(state, np.empty_like(flat))
    step = max(1, CHUNK // len(weights))
    for first in range(0, weights.shape[1], step):
        part = slice(first, first + step)
        total = state.average_scale * weights[:, part].astype(np.float64) - average[:, part]
        into[:, part] = total / state.averaged
    return into


def is_finite(state: State, touched: Array | None) -> bool:
    """Whether the model is, as far as the columns `touched` of CSR rows can have changed it (None: all of it)."""
    return checks.is_finite(state, state.weights, touched)


def check_state(state: State, rows: Rows, targets: Array) -> None:
    """That the state fits the rows: the kernel trusts it, and its arrays may come from a file or from the caller."""
    if not checks.fits(state, rows.data.dtype, rows.shape[1], targets):
        raise ValueError("the model's state does not fit the data: fit the model again")


def bare(state: State) -> State:
    """The same weights without what an optimiser keeps beside them, for plain sgd; the state itself if that is it."""
    if not state.optimizer:
        return state
    rest = state.weights[state.first :][: state.hidden * state.outputs]
    first = coefficients(state, state.weights)
    weights = np.concatenate([(first.T if state.feature_major else first).ravel(), rest])
    new = State(weights, state.bias, state.feature_major, state.hidden, state.activation)
    new.sum_squares = np.inf
    return new


def motionless(state: State) -> State:
    """The velocity of a state that has not moved yet."""
    weights = np.zeros(count_weights(state), state.weights.dtype)
    return State(weights, np.zeros_like(state.bias), state.feature_major, state.hidden)


def count_weights(state: State) -> int:
    """How many weights there are, without what an optimiser keeps beside them."""
    return state.width * state.features + state.hidden * state.outputs


def duplicate(state: State) -> State:
    """A copy, whose weights begin with a cache line."""
    weights = aligned_zeros(state.weights.size, state.weights.dtype)
    weights[:] = state.weights
    return copy.deepcopy(state, {id(state.weights): weights})


def overwrite(state: State, other: State) -> None:
    """Make the state, of arrays like the other's, equal to it, in its own memory."""
    for name in STATE_FIELDS:
        value = getattr(other, name)
        if isinstance(value, np.ndarray):
            np.copyto(getattr(state, name), value)
        else:
            setattr(state, name, value)


def restore(state: State, earlier: State) -> None:
    for name in STATE_FIELDS:
        setattr(state, name, getattr(earlier, name))
