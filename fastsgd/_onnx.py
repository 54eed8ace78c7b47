"""A fitted model as an ONNX graph, written in ONNX's text syntax and parsed by the `onnx` package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._arrays import Array
from ._probabilities import SIGMOIDS
from .classification import SGDClassifier
from .regression import SGDRegressor

if TYPE_CHECKING:
    import onnx

# The graph, in parts. Type 7 is int64, 11 double, {type} that of the model. Scores are summed in double and rounded to
# the model's type, as the kernels do; casts to the type that is there already cost nothing.
HEADER = '<ir_version: 8, opset_import: ["": 17]> {name} ({type}[n, {features}] X) => ({outputs}) {{'
SCORES = """
    x = Cast <to = 11> (X)
    w = Cast <to = 11> (weights)
    products = MatMul (x, w)
    sums = Add (products, intercepts)
    z = Cast <to = {number}> (sums)
    s = Cast <to = 11> (z)
"""
HIGHEST_SCORE = "winners = ArgMax <axis = 1, keepdims = 0> (z)"
SIGN_OF_SCORE = """
    positive = Greater (s, zero)
    column = Cast <to = 7> (positive)
    winners = Squeeze (column, last)
"""
LABEL = "label = Gather (classes, winners)"
LABELS = """
    positive = Greater (s, zero)
    label = Cast <to = 7> (positive)
"""
PROBABILITIES = {  # by loss and, for the others, by the number of classes
    "two": """
        minus = Neg (s)
        both = Concat <axis = 1> (minus, s)
        p = Sigmoid (both)
    """,
    "more": """
        sizes = Abs (s)
        minus = Neg (sizes)
        small = Exp (minus)
        grown = Add (small, one)
        tails = Log (grown)
        falls = Min (s, zero)
        logs = Sub (falls, tails)
        p = Softmax <axis = 1> (logs)
    """,
    "softmax": """
        finite = Clip (s, lowest, highest)
        p = Softmax <axis = 1> (finite)
    """,
    "modified_huber": """
        clipped = Clip (s, minus_one, one)
        raised = Add (clipped, one)
        likely = Div (raised, two)
    """,
    "modified_huber, two": """
        unlikely = Sub (one, likely)
        p = Concat <axis = 1> (unlikely, likely)
    """,
    "modified_huber, more": """
        totals = ReduceSum (likely, last)
        impossible = Equal (totals, zero)
        equal = Cast <to = 11> (impossible)
        shares = Add (likely, equal)
        sum = ReduceSum (shares, last)
        p = Div (shares, sum)
    """,
}
CONSTANTS = {
    "zero": np.array(0.0), "one": np.array(1.0), "two": np.array(2.0), "minus_one": np.array(-1.0),
    "lowest": np.array(np.finfo(np.float64).min / 4), "highest": np.array(np.finfo(np.float64).max / 4),
    "last": np.array([1]),
}  # fmt: skip


def to_onnx(model: SGDClassifier | SGDRegressor) -> onnx.ModelProto:
    """Convert a fitted model to ONNX.

    Parameters
    ----------
    model : SGDClassifier, Perceptron or SGDRegressor
        Fitted.

    Returns
    -------
    onnx.ModelProto
        For `onnx.save`, or `SerializeToString()` for an onnxruntime.InferenceSession. Input "X" of shape (n, d) and of
        the type of `coef_`, float32 or float64. Outputs, as scikit-learn's converters name them:

        - of a classifier "label" (n,): text, booleans, float64 or, of integers, int64; and "probabilities"
          (n, n_classes) as of `predict_proba`, or "scores" as of `decision_function` where the loss has none; where a
          row may have several labels, "label" is int64 (n, n_classes);
        - of a regressor "variable" (n, 1).

    Notes
    -----
    Scores are summed in double whatever the type of the model, and ties are broken as in `predict`: labels are the same
    except where a score is so near to a tie that the order of a sum decides, in float32 about 1e-7 of its terms.

    Raises
    ------
    ImportError
        If onnx is not installed: ``pip install 'fastsgd[onnx]'``.
    NotFittedError
        If the model is not fitted.
    TypeError
        If it is of another kind, a Pipeline for example, or its labels are bytes.
    """
    if not isinstance(model, (SGDClassifier, SGDRegressor)):
        raise TypeError(
            f"to_onnx takes a fitted SGDClassifier, Perceptron or SGDRegressor, not {type(model).__name__}; convert "
            "the steps of a pipeline one by one and join them with onnx.compose.merge_models"
        )
    coef, intercept = model._coefficients()
    try:
        from onnx import helper, numpy_helper, parser
    except ImportError as error:
        raise ImportError("to_onnx needs the package onnx: pip install 'fastsgd[onnx]'") from error
    constants = {"weights": np.ascontiguousarray(coef.T), "intercepts": intercept.astype(np.float64)}
    if isinstance(model, SGDRegressor):
        outputs, nodes = _regression(len(coef))
    else:
        constants["classes"] = _labels(model.classes_)
        outputs, nodes = _classification(model, constants["classes"])
    kind = "float" if coef.dtype == np.float32 else "double"
    number = helper.np_dtype_to_tensor_dtype(coef.dtype)
    text = "\n".join([HEADER, SCORES, *nodes, "}}"]).format(
        name=type(model).__name__, type=kind, features=coef.shape[1], outputs=outputs.format(type=kind), number=number
    )
    proto = parser.parse_model(text)
    used = {name for node in proto.graph.node for name in node.input}
    tensors = {name: value for name, value in (CONSTANTS | constants).items() if name in used}
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in tensors.items())
    proto.producer_name = "fastsgd"
    return proto


def _regression(n_outputs: int) -> tuple[str, list[str]]:
    return f"{{type}}[n, {n_outputs}] variable", ["variable = Identity (z)"]


def _classification(model: SGDClassifier, classes: Array) -> tuple[str, list[str]]:
    """The outputs' declaration and the nodes after the scores."""
    if model.multilabel_:
        return _multilabel(model, len(classes))
    kinds = {"O": "string", "b": "bool", "i": "int64", "u": "uint64", "f": "double"}
    label = f"{kinds[classes.dtype.kind]}[n] label"
    number = "two" if len(classes) == 2 else "more"
    nodes = [SIGN_OF_SCORE if len(classes) == 2 else HIGHEST_SCORE, LABEL]
    if not hasattr(model, "predict_proba"):
        if len(classes) == 2:
            return f"{label}, {{type}}[n] scores", [*nodes, "scores = Squeeze (z, last)"]
        return f"{label}, {{type}}[n, {len(classes)}] scores", [*nodes, "scores = Identity (z)"]
    if model.loss == "modified_huber":
        nodes += [PROBABILITIES["modified_huber"], PROBABILITIES[f"modified_huber, {number}"]]
    else:
        nodes.append(PROBABILITIES[number if model.loss in SIGMOIDS or number == "two" else "softmax"])
    nodes.append("probabilities = Cast <to = {number}> (p)")
    return f"{label}, {{type}}[n, {len(classes)}] probabilities", nodes


def _multilabel(model: SGDClassifier, n_labels: int) -> tuple[str, list[str]]:
    label = f"int64[n, {n_labels}] label"
    if not hasattr(model, "predict_proba"):
        return f"{label}, {{type}}[n, {n_labels}] scores", [LABELS, "scores = Identity (z)"]
    if model.loss == "modified_huber":
        nodes = [PROBABILITIES["modified_huber"], "probabilities = Cast <to = {number}> (likely)"]
    else:
        nodes = ["p = Sigmoid (s)", "probabilities = Cast <to = {number}> (p)"]
    return f"{label}, {{type}}[n, {n_labels}] probabilities", [LABELS, *nodes]


def _labels(classes: Array) -> Array:
    """The classes as ONNX has labels."""
    if classes.dtype == object:
        classes = np.array(classes.tolist())
    if classes.dtype.kind == "S":
        raise TypeError("ONNX has labels of text but none of bytes; train on text")
    if classes.dtype.kind == "U":
        return classes.astype(object)
    if classes.dtype.kind in "iu" and classes[-1] <= np.iinfo(np.int64).max:
        return classes.astype(np.int64)
    return classes.astype(np.float64) if classes.dtype.kind == "f" else classes
