"""ONNX: onnxruntime predicts what the model predicts."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from bad_input import run
from common import assert_close
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_data import Y3, D, T, X, Y, classifier, regressor

import fastsgd
from fastsgd import Perceptron, SGDClassifier, load_svmlight, to_onnx

TOLERANCE = {"f": 1e-5, "d": 1e-12}  # relative to the largest
DATA = Path(__file__).parent / "data"
LOSSES = [name for name in fastsgd.losses.LOSSES if "squared" not in name or name == "squared_hinge"]


def session(model):
    proto = to_onnx(model)
    onnx.checker.check_model(proto, full_check=True)
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def predict(model, rows):
    """The outputs by name."""
    there = session(model)
    rows = np.ascontiguousarray(rows, model.coef_.dtype)
    return dict(zip([output.name for output in there.get_outputs()], there.run(None, {"X": rows}), strict=True))


def check(model, rows):
    """Labels are identical; probabilities, or scores, equal to rounding."""
    rows = np.asarray(rows, model.coef_.dtype)
    outputs = predict(model, rows)
    expected = model.predict(rows)
    assert outputs["label"].dtype.kind == ("O" if expected.dtype.kind == "U" else expected.dtype.kind)
    np.testing.assert_array_equal(outputs["label"], expected)
    name, method = "scores", model.decision_function
    if hasattr(model, "predict_proba"):
        name, method = "probabilities", model.predict_proba
    assert set(outputs) == {"label", name}
    assert outputs[name].dtype == rows.dtype
    assert_close(outputs[name], method(rows), TOLERANCE[rows.dtype.char])


@pytest.fixture(scope="module")
def a9a():
    A, y = load_svmlight(DATA / "a9a.gz")
    B, _ = load_svmlight(DATA / "a9a.t.gz", n_features=A.shape[1])
    return A, y, B.to_scipy().toarray()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["log_loss", "hinge", "modified_huber", "softmax"])
def test_labels_of_real_data(a9a, loss, dtype):
    A, y, B = a9a
    A = fastsgd.CSR(A.data.astype(dtype), A.indices, A.indptr, A.shape)
    age = A.to_scipy()[:, :5] @ np.arange(5)
    for labels in (y, np.where(y > 0, ">50K", "<=50K"), age.astype(int)):
        check(SGDClassifier(loss, max_iter=2, tol=None, learning_rate="constant").fit(A, labels), B)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("y", [Y, Y3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_loss(loss, y, dtype):
    model = classifier(loss, learning_rate="constant", eta0=0.1).fit(X.astype(dtype), y)
    check(model, X)
    model.coef_ *= 1000  # probabilities of 0 and 1
    check(model, X)


LABELS = {
    "int8": np.array([-5, 3, 7], "i1"), "uint64": np.array([1, 2, 2**64 - 1], "u8"), "bool": np.array([False, True]),
    "whole floats": np.array([-1.0, 1.0]), "float32": np.array([0, 1, 2], "f4"), "text": np.array(["ja", "né", "ö"]),
    "objects": np.array(["a", "b"], object), "integer objects": np.array([3, 5, 8], object),
    "boolean objects": np.array([False, True], object),
}  # fmt: skip


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind(kind):
    known = LABELS[kind]
    model = classifier().fit(X, known[Y3 if len(known) == 3 else Y])
    label = predict(model, X)["label"]
    assert label.tolist() == model.predict(X).tolist()
    kinds = {"uint64": "u8", "float32": "f8", "text": object, "objects": object}
    assert label.dtype == kinds.get(kind, np.array(known.tolist()).dtype)


def test_bytes_are_refused():
    with pytest.raises(TypeError, match="bytes"):
        to_onnx(classifier().fit(X, np.array([b"a", b"b"])[Y]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_regression(a9a, dtype):
    A, _, B = a9a
    hours = A.to_scipy()[:, :20] @ np.arange(20.0)
    for model, rows in ((regressor().fit(A, hours), B), (regressor().fit(X.astype(dtype), T), X)):
        rows = rows.astype(model.coef_.dtype)
        outputs = predict(model, rows)
        assert outputs["variable"].shape == (len(rows), 1)
        assert_close(outputs["variable"][:, 0], model.predict(rows), TOLERANCE[rows.dtype.char])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("y", [Y, Y3])
def test_ties_are_broken_alike(y, dtype):
    """Small integers, of which every sum is exact: many scores are 0, or equal."""
    rng = np.random.default_rng(2)
    rows = rng.integers(-2, 3, (3000, D)).astype(dtype)
    model = Perceptron(max_iter=1, tol=None).fit(rows[: len(y)], y)
    model.coef_ = rng.integers(-1, 2, model.coef_.shape).astype(dtype)
    model.intercept_ = np.zeros_like(model.intercept_)
    scores = np.sort(np.atleast_2d(model.decision_function(rows).T).T, axis=1)
    assert (scores[:, 0] == 0 if scores.shape[1] == 1 else scores[:, -1] == scores[:, -2]).sum() > 200
    check(model, rows)


def boundary(model, rows):
    """Float32 rows on both sides of a boundary, neighbours or nearly so."""
    rng, labels = np.random.default_rng(3), model.predict(rows)
    i, j = rng.integers(0, len(rows), (2, 500))
    i, j = i[labels[i] != labels[j]], j[labels[i] != labels[j]]
    inside, outside = rows[i], rows[j]
    for _ in range(50):
        middle = ((inside.astype(np.float64) + outside) / 2).astype(np.float32)
        same = model.predict(middle) == labels[i]
        inside[same], outside[~same] = middle[same], middle[~same]
    return np.vstack([inside, outside])


@pytest.mark.parametrize("y", [Y, Y3])
def test_labels_next_to_the_boundary_are_exact(y):
    """Where float32 sums cannot tell, the graph has the label of exact arithmetic."""
    rows = X.astype(np.float32)
    model = classifier().fit(rows, y)
    near = boundary(model, rows)
    label = predict(model, near)["label"]
    coef, intercept = np.atleast_2d(model.coef_).tolist(), model.intercept_.tolist()
    for row, got, plain in zip(near.tolist(), label, model.predict(near), strict=True):
        exact = [
            sum(Fraction(a) * Fraction(w) for a, w in zip(row, weights, strict=True)) + Fraction(b)
            for weights, b in zip(coef, intercept, strict=True)
        ]
        if len(exact) == 1:
            assert got == model.classes_[int(exact[0] > 0)]
        else:  # the scores are rounded to float32, so ties are of these
            assert got == model.classes_[np.argmax(np.array([float(z) for z in exact], np.float32))]
        if got != plain:
            size = max(sum(abs(a * w) for a, w in zip(row, weights, strict=True)) for weights in coef)
            gap = abs(float(exact[0])) if len(exact) == 1 else float(np.diff(sorted(map(float, exact)))[-1])
            assert gap < D * np.finfo(np.float32).eps * size


def test_the_graph():
    proto = to_onnx(classifier().fit(X, Y))
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 17)]
    assert (proto.producer_name, proto.graph.name, proto.ir_version) == ("fastsgd", "SGDClassifier", 8)
    (entry,) = proto.graph.input
    assert entry.name == "X"
    assert [size.dim_param or size.dim_value for size in entry.type.tensor_type.shape.dim] == ["n", D]
    used = {name for node in proto.graph.node for name in node.input}
    assert {tensor.name for tensor in proto.graph.initializer} <= used


def test_empty_and_single_batches():
    model = classifier("softmax").fit(X, Y3)
    there = session(model)
    for n in (0, 1):
        label, probabilities = there.run(None, {"X": X[:n]})
        assert (label.shape, probabilities.shape) == ((n,), (n, 3))


def test_sparse_coefficients_and_replaced_ones():
    model = classifier("log_loss", penalty="l1", alpha=0.01).fit(X, Y3)
    expected = predict(model, X)
    model.sparsify()
    np.testing.assert_array_equal(predict(model, X)["probabilities"], expected["probabilities"])
    model.densify()
    model.coef_ = model.coef_ * 2
    check(model, X)


def test_what_cannot_be_converted():
    for other in (make_pipeline(StandardScaler(), classifier()), None, SGDClassifier):
        with pytest.raises(TypeError, match="to_onnx takes a fitted SGDClassifier"):
            to_onnx(other)
    with pytest.raises(fastsgd.NotFittedError):
        to_onnx(classifier())


def test_without_onnx(monkeypatch):
    assert run("import sys, fastsgd; print('onnx' in sys.modules)") == (0, "False\n")
    model = classifier().fit(X, Y)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'fastsgd\[onnx\]'"):
        to_onnx(model)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["log_loss", "modified_huber", "hinge"])
def test_several_labels_and_targets(loss, dtype):
    y = np.c_[Y, 1 - Y, Y3 > 0]
    check(classifier(loss, learning_rate="constant").fit(X.astype(dtype), y), X)
    check(classifier(loss, learning_rate="constant").fit(X.astype(dtype), y[:, 1:]), X)
    model = regressor().fit(X.astype(dtype), np.c_[T, -T])
    assert_close(predict(model, X)["variable"], model.predict(X.astype(dtype)), TOLERANCE[np.dtype(dtype).char])
