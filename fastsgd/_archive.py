"""Models in files: taken apart into a header for JSON and arrays, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from ._arrays import Array
from ._sklearn import Estimator
from ._threads import one_at_a_time
from .core import checks
from .core.state import STATE_FIELDS, State
from .io import PathLike, load_archive, save_archive

# What a model file keeps beside state and classes.
KEPT = ("n_iter_", "n_features_in_", "loss_curve_", "validation_scores_", "multilabel_", "eta0_")


class Archived(Estimator):
    """An estimator whose model can be kept in a file: its parameters, its state and what else `fit` set."""

    scoring: Any
    n_features_in_: int
    _state: State

    def _coefficients(self) -> tuple[Any, Any]:
        raise NotImplementedError

    def _state_now(self) -> State:
        raise NotImplementedError

    def _publish(self) -> None:
        raise NotImplementedError

    def save(self, path: PathLike) -> None:
        """Write the fitted model to a file without pickle, atomically.

        Parameters
        ----------
        path : str or path-like
            Used as given; by custom it ends in .npz.

        Raises
        ------
        NotFittedError
            If there is nothing to save yet.
        TypeError
            If a parameter cannot be kept as text: random_state must be None or an int. Callbacks and a `scoring`
            that is a function are left out.
        """
        save_archive(path, *self.to_archive())

    @one_at_a_time
    def to_archive(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The model as `fastsgd.io.save_archive` takes it: a header for JSON, and arrays. Errors as for `save`."""
        self._coefficients()
        state = self._state_now()
        parameters = self.get_params() | {"callbacks": None}
        parameters |= {name: list(value) for name, value in parameters.items() if isinstance(value, tuple)}
        if callable(self.scoring):
            parameters["scoring"] = None
        if isinstance(parameters.get("class_weight"), dict):
            parameters["class_weight"] = [[_plain(k), _plain(w)] for k, w in parameters["class_weight"].items()]
        values, arrays = pack(state, "state")
        header = {
            "estimator": type(self).__name__,
            "parameters": {name: _plain(value) for name, value in parameters.items()},
            "state": values,
            "fitted": {name: getattr(self, name) for name in KEPT if hasattr(self, name)},
        }
        classes = getattr(self, "classes_", None)
        if classes is not None:
            arrays["classes_"] = np.array(classes.tolist()) if classes.dtype == object else classes
            header["object_labels"] = classes.dtype == object
        return header, arrays

    @classmethod
    def _restore(cls, header: dict[str, Any], arrays: dict[str, Array]) -> Self:
        parameters = dict(header["parameters"])
        for name, value in parameters.items():
            if isinstance(value, list):
                parameters[name] = dict(value) if name == "class_weight" else tuple(value)
        model = cls(**parameters)
        model._state = state = unpack(header["state"], arrays, "state")
        vars(model).update(header["fitted"], t_=state.t)
        if not checks.has_features(state, model.n_features_in_):
            raise KeyError("arrays of the sizes that the header says")
        if "classes_" in arrays:
            classes = arrays["classes_"]
            vars(model)["classes_"] = classes.astype(object) if header["object_labels"] else classes
        model._publish()
        return model


def load(path: PathLike) -> Any:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    SGDClassifier, SGDRegressor, Perceptron, MLPClassifier or MLPRegressor
        Predicts and trains on as the saved one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a model file, is damaged, or comes from a newer version.
    """
    try:
        return from_archive(*load_archive(path))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no model of this version: {error}") from error


def from_archive(header: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """The model that `to_archive` took apart; KeyError or TypeError if something is missing."""
    kinds: dict[str, Any] = {kind.__name__: kind for kind in _kinds(Archived)}
    model = kinds[header["estimator"]]._restore(header, arrays)
    return model


def _kinds(cls: type[Archived]) -> list[type[Archived]]:
    return [cls, *(kind for below in cls.__subclasses__() for kind in _kinds(below))]


def _plain(value: Any) -> Any:
    """A parameter as JSON has it."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is not None and not isinstance(value, (bool, int, float, str, list)):
        raise TypeError(f"a model file cannot keep the parameter value {value!r}; set it to a number, text or None")
    return value


def pack(state: State, prefix: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """The numbers of a state, and its arrays with `prefix` before their names."""
    values = {name: getattr(state, name) for name in STATE_FIELDS}
    arrays = {f"{prefix}.{name}": value for name, value in values.items() if isinstance(value, np.ndarray)}
    return {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str))}, arrays


def unpack(values: Mapping[str, Any], arrays: Mapping[str, Array], prefix: str) -> State:
    """The state that `pack` took apart; KeyError if its weights are missing."""
    state = State(arrays[f"{prefix}.weights"], arrays[f"{prefix}.bias"], True)
    for name in STATE_FIELDS:
        value = values.get(name, arrays.get(f"{prefix}.{name}"))
        if value is not None:  # what a file does not have is as in a new state
            setattr(state, name, value)
    return state
