"""A user's program with every public name, for ``mypy --strict``.

`.ci/run` checks it against the installed package. Each line of `wrong` has to be an error: strict mode reports a
``type: ignore`` that nothing needs.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastsgd
from fastsgd import (
    CSR,
    ConvergenceWarning,
    Epoch,
    MLPClassifier,
    MLPRegressor,
    NotFittedError,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
    check_gradient,
    convert_svmlight,
    dump_svmlight,
    iter_svmlight,
    load,
    load_csr,
    load_svmlight,
    losses,
    plot,
    save_csr,
    to_onnx,
)


def classify(X: NDArray[np.float32], y: NDArray[np.int64], folder: Path) -> float:
    seconds: list[float] = []

    def watch(epoch: Epoch) -> bool:
        coef, intercept = epoch.coefficients()
        seconds.append(epoch.seconds + 0.0 * float(coef.sum() + intercept.sum()) + 0.0 * epoch.loss)
        return epoch.epoch >= 3

    model = SGDClassifier("log_loss", alpha=1e-4, max_iter=5, tol=None, random_state=0, callbacks=[watch])
    fitted: SGDClassifier = model.fit(X, y, sample_weight=np.ones(len(y)))
    again: SGDClassifier = fitted.partial_fit(X, y).set_params(alpha=1e-3).sparsify().densify()
    probabilities: NDArray[Any] = again.predict_proba(X) + np.exp(again.predict_log_proba(X))
    classes: NDArray[Any] = again.classes_[np.argmax(probabilities, axis=1)]
    scores: NDArray[Any] = again.decision_function(X)
    curve: list[float] = again.loss_curve_
    again.save(folder / "model.npz")
    restored = load(folder / "model.npz")
    coef: NDArray[Any] = restored.coef_ + restored.intercept_
    parameters: dict[str, Any] = again.get_params()
    assert len(seconds) == len(curve) == 4
    assert parameters["alpha"] == 1e-3
    assert len(classes) == len(scores) == len(y)
    assert coef.shape == (1, again.n_features_in_)
    return again.score(X, y) + Perceptron(max_iter=2, tol=None).fit(X, y).score(X, y)


def regress(X: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[Any]:
    model: SGDRegressor = SGDRegressor("huber", epsilon=0.2, max_iter=3, tol=None).fit(X, t)
    error: float = check_gradient("huber", np.array([0.3, 2.0]), np.array([0.0, 0.0]))
    assert error < 1e-6
    return model.predict(X)


def hide(X: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    network: MLPClassifier = MLPClassifier((3,), "tanh", max_iter=2, tol=None, random_state=0).fit(X, y)
    weights: list[NDArray[Any]] = network.coefs_ + network.intercepts_
    assert [w.ndim for w in weights] == [2, 2, 1, 1]
    assert network.loss_ >= network.best_loss_
    return network.score(X, y) + MLPRegressor(max_iter=2, tol=None).fit(X, X[:, 0]).score(X, X[:, 0])


def read(folder: Path) -> CSR:
    text = folder / "rows.svm"
    text.write_text("1 1:0.5 3:2\n-1 2:1\n")
    X, y = load_svmlight(text, n_features=4, dtype=np.float64)
    for block, labels in iter_svmlight(text, rows=1):
        assert len(labels) == block.shape[0] == 1
    dump_svmlight(X, y, text, zero_based=False)
    convert_svmlight(text, folder / "rows")
    save_csr(folder / "again", X, y)
    mapped, targets = load_csr(folder / "again")
    assert targets is not None
    rows: int = mapped.shape[0]
    assert rows == 2
    return CSR(mapped.data, mapped.indices, mapped.indptr, mapped.shape)


def look_at_losses() -> float:
    loss: losses.Loss = losses.LOSSES["hinge"]
    errors: NDArray[np.float64] = losses.zero_one([0.5, -1.0], [1, 1])
    name: str = losses.get_loss("huber", epsilon=0.3).name
    assert (name, loss.convex) == ("huber", True)
    return float(loss.value(0.5, 1.0)) + float(errors.sum())


def export(model: SGDClassifier, X: NDArray[Any], y: NDArray[Any]) -> bytes:
    panels = plot.losses()
    plot.history(model, ax=panels[0])
    plot.boundary(model, X, y, ax=panels[1])
    graph: bytes = to_onnx(model).SerializeToString()
    return graph


def handle(model: SGDClassifier, X: NDArray[Any]) -> str:
    try:
        model.predict(X)
    except NotFittedError as error:
        return str(error)
    raise ConvergenceWarning(fastsgd.__version__)


def wrong(model: SGDClassifier, X: NDArray[Any], epoch: Epoch) -> None:
    SGDClassifier(loss=3)  # type: ignore[arg-type]
    SGDClassifier("hinge", "l2")  # type: ignore[call-arg]
    SGDClassifier(aplha=0.1)  # type: ignore[call-arg]
    SGDClassifier(max_iter="many")  # type: ignore[arg-type]
    SGDRegressor(class_weight="balanced")  # type: ignore[call-arg]
    Perceptron(loss="hinge")  # type: ignore[call-arg]
    MLPClassifier((3,), solver=1)  # type: ignore[arg-type]
    MLPRegressor(momentum=0.9)  # type: ignore[call-arg]
    model.fit(X)  # type: ignore[call-arg]
    model.coef_ = "weights"  # type: ignore[assignment]
    model.transform(X)  # type: ignore[attr-defined]
    model.loss = model.score(X, X)  # type: ignore[assignment]
    epoch.loss = 0.0  # type: ignore[misc]
    model.save(3)  # type: ignore[arg-type]
    load(3)  # type: ignore[arg-type]
    CSR(X, X, X)  # type: ignore[call-arg]
    load_svmlight("rows.svm", 4)  # type: ignore[call-overload]
    load_svmlight("rows.svm", zero_based="maybe")  # type: ignore[call-overload]
    iter_svmlight("rows.svm", rows="all")  # type: ignore[call-overload]
    convert_svmlight("rows.svm")  # type: ignore[call-arg]
    save_csr(CSR, X)  # type: ignore[arg-type]
    load_csr("folder", True)  # type: ignore[call-arg]
    check_gradient("hinge")  # type: ignore[call-arg]
    losses.LOSSES["mine"] = losses.LOSSES["hinge"]  # type: ignore[index]
    losses.get_loss(1)  # type: ignore[arg-type]
    losses.zero_one(None, 1)  # type: ignore[arg-type]
    to_onnx("model")  # type: ignore[arg-type]
    plot.history(X)  # type: ignore[arg-type]
    plot.losses(3)  # type: ignore[arg-type]
    fastsgd.train(X)  # type: ignore[attr-defined]


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    y = (X[:, 0] > 0).astype(np.int64)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assert 1 < classify(X.astype(np.float32), y, folder) <= 2
        assert read(folder).shape == (2, 4)
    assert hide(X, y) < 2
    assert regress(X, X[:, 0]).shape == (50,)
    assert look_at_losses() == 1.5
    assert "not fitted" in handle(SGDClassifier(), X)


if __name__ == "__main__":
    main()
