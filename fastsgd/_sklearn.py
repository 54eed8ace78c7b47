"""What scikit-learn's tools ask of an estimator, without importing scikit-learn.

Its classes are used where it is loaded already, so that its users' filters and handlers see what they expect.
"""

from __future__ import annotations

import copy
import inspect
import sys
import warnings
from functools import cache
from typing import Any, ClassVar, Self

ROUTED = ("fit", "partial_fit", "score")


class ConvergenceWarning(UserWarning):
    """Training stopped before its criterion was met, or diverges."""


class DataConversionWarning(UserWarning):
    """The input was reshaped to what was probably meant."""


class NotFittedError(ValueError, AttributeError):
    """A method that needs a fitted estimator was called before `fit`."""


def known_as(cls: type) -> type:
    """`cls`, made a subclass of scikit-learn's class of this name too if that is loaded."""
    known: type = getattr(sys.modules.get("sklearn.exceptions"), cls.__name__, cls)
    return cls if known is cls else _joined(cls, known)


@cache
def _joined(ours: type, theirs: type) -> type:
    # Pickled as ours: theirs may not be loaded where it is read.
    space = {"__module__": ours.__module__, "__reduce__": lambda self: (ours, self.args)}
    return type(ours.__name__, (ours, theirs), space)


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line outside this package that led here."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("fastsgd."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, known_as(category), stacklevel=level)


class Estimator:
    """Parameters are the arguments of `__init__`, kept under their names."""

    _estimator_type: ClassVar[str]
    _metadata_request: Any

    @classmethod
    def _parameters(cls) -> dict[str, inspect.Parameter]:
        parameters = dict(inspect.signature(cls.__init__).parameters)
        parameters.pop("self")
        return parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Without effect: no parameter is an estimator.

        Returns
        -------
        dict
        """
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a name is not a parameter.
        """
        valid = list(self._parameters())
        for name in params:
            if name not in valid:
                raise ValueError(f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: {valid!r}.")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        changed = (
            f"{name}={getattr(self, name)!r}"
            for name, parameter in self._parameters().items()
            if repr(getattr(self, name, parameter.default)) != repr(parameter.default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def _repr_html_(self) -> str | None:
        """The diagram that notebooks show, if scikit-learn is loaded and set to draw them."""
        sklearn = sys.modules.get("sklearn")
        if sklearn is None or sklearn.get_config()["display"] != "diagram":
            return None
        from sklearn.utils import estimator_html_repr

        html: str = estimator_html_repr(self)
        return html

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coef_")

    def get_metadata_routing(self) -> Any:
        """What each method requests of the metadata that scikit-learn's meta-estimators route.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRequest
        """
        from sklearn.utils.metadata_routing import MetadataRequest

        if hasattr(self, "_metadata_request"):
            return copy.deepcopy(self._metadata_request)
        requests = MetadataRequest(owner=type(self).__name__)
        for method in ROUTED:
            for name in self._metadata_of(method):
                getattr(requests, method).add_request(param=name, alias=None)
        return requests

    def set_fit_request(self, **requests: bool | str | None) -> Self:
        """Say which arguments of `fit`, such as `sample_weight`, scikit-learn's meta-estimators shall pass on.

        Parameters
        ----------
        **requests : bool, str or None
            By the argument's name: True, it is requested; False, it is not; None, giving it is an error; a str, it is
            requested under that name.

        Returns
        -------
        self

        Raises
        ------
        RuntimeError
            Unless `sklearn.set_config(enable_metadata_routing=True)`.
        TypeError
            If the method has no such argument.
        """
        return self._set_request("fit", requests)

    def set_partial_fit_request(self, **requests: bool | str | None) -> Self:
        """As `set_fit_request`, for `partial_fit`."""
        return self._set_request("partial_fit", requests)

    def set_score_request(self, **requests: bool | str | None) -> Self:
        """As `set_fit_request`, for `score`."""
        return self._set_request("score", requests)

    def _set_request(self, method: str, requests: dict[str, bool | str | None]) -> Self:
        from sklearn import get_config

        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "This method is only available when metadata routing is enabled. You can enable it using "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        valid = self._metadata_of(method)
        for name in requests:
            if name not in valid:
                raise TypeError(f"Unexpected args: {name!r} in {method}. Accepted arguments are: {valid}")
        routing = self.get_metadata_routing()
        for name, alias in requests.items():
            getattr(routing, method).add_request(param=name, alias=alias)
        self._metadata_request = routing
        return self

    def _metadata_of(self, method: str) -> list[str]:
        """The arguments of a method beside X and y."""
        return [name for name in inspect.signature(getattr(self, method)).parameters if name not in ("X", "y")]

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        classifies = self._estimator_type == "classifier"
        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True, multi_output=True),
            classifier_tags=ClassifierTags(multi_label=True) if classifies else None,
            regressor_tags=None if classifies else RegressorTags(),
            input_tags=InputTags(sparse=True),
        )
