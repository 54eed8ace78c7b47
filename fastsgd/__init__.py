"""Stochastic gradient descent for linear models, compiled."""

try:
    from .core import sgd as _compiled  # noqa: F401
except ModuleNotFoundError as error:
    if not str(error.name).startswith("fastsgd.core"):
        raise
    raise ImportError(
        "fastsgd's compiled modules are missing: this is its source folder, not an installation. Leave the folder, or "
        "build the modules in it with: pip install -e ."
    ) from error

from . import losses, plot
from ._archive import load
from ._onnx import to_onnx
from ._sklearn import ConvergenceWarning, NotFittedError
from ._training import Epoch
from .classification import SGDClassifier
from .disk import convert_svmlight, load_csr, save_csr
from .io import CSR
from .losses import check_gradient
from .network import MLPClassifier, MLPRegressor
from .perceptron import Perceptron
from .regression import SGDRegressor
from .svmlight import iter_svmlight, load_svmlight
from .svmlight_writer import dump_svmlight

__version__ = "0.1.0"

__all__ = [
    "CSR",
    "ConvergenceWarning",
    "Epoch",
    "MLPClassifier",
    "MLPRegressor",
    "NotFittedError",
    "Perceptron",
    "SGDClassifier",
    "SGDRegressor",
    "check_gradient",
    "convert_svmlight",
    "dump_svmlight",
    "iter_svmlight",
    "load",
    "load_csr",
    "load_svmlight",
    "losses",
    "plot",
    "save_csr",
    "to_onnx",
]
