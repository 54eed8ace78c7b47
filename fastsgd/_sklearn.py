"""What scikit-learn's tools ask of an estimator, without importing scikit-learn.

Its classes are used where it is loaded already, so that its users' filters and handlers see what they expect.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from functools import cache
from typing import Any, ClassVar, Self


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

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coef_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        classifies = self._estimator_type == "classifier"
        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if classifies else None,
            regressor_tags=None if classifies else RegressorTags(),
            input_tags=InputTags(sparse=True),
        )
