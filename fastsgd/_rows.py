"""Rows for the command line: from svmlight text or a folder of `convert`, whole or in blocks, to fit a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import Array
from ._svmlight import ZeroBased
from .disk import open_csr
from .io import CSR
from .svmlight import iter_svmlight, read_svmlight

ROWS = 20_000  # of a block of text
NONZEROS = 4_000_000  # of a block of a folder


def read_rows(
    path: str, dtype: Any, n_features: int | None, zero_based: ZeroBased, n_jobs: int
) -> tuple[CSR, Array, bool]:
    """All rows of a text, or those of a folder as they are; and whether its features were counted from 0."""
    if not os.path.isdir(path):
        return read_svmlight(path, n_features, dtype, zero_based, n_jobs)
    shape, notes, arrays = open_csr(path)
    if "y" not in arrays:
        raise ValueError(f"{path}: the folder has no labels; save them with save_csr(dir, X, y)")
    if n_features is not None and n_features < shape[1]:
        raise ValueError(f"{path}: the folder has {shape[1]} features; --features {n_features} is too few")
    X = CSR(arrays["data"], arrays["indices"], arrays["indptr"], (shape[0], n_features or shape[1]))
    return X, arrays["y"], bool(notes.get("zero_based", True))


@dataclass
class Fitted:
    """Rows in blocks, with the columns of a model. A feature that it never saw has weight 0, so it is left out.

    Attributes
    ----------
    zero_based : bool or "auto"
        How the model's training data counted features.
    ignored : int
        Values left out so far.
    """

    path: str
    columns: int
    zero_based: ZeroBased
    dtype: Any
    n_jobs: int
    warn: Callable[[str], object]
    ignored: int = 0

    def __iter__(self) -> Iterator[tuple[CSR, Array | None]]:
        for X, y in self._folder() if os.path.isdir(self.path) else self._text():
            yield self._fit(X), y
        if self.ignored:
            self.warn(f"{self.path}: ignored {self.ignored} values of features that were not in the training file")

    def whole(self) -> tuple[CSR, Array | None]:
        blocks = list(self)
        if len(blocks) == 1:
            return blocks[0]
        data, indices = (np.concatenate([getattr(X, name) for X, _ in blocks]) for name in ("data", "indices"))
        lengths = np.concatenate([np.diff(X.indptr) for X, _ in blocks])
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        y = None if blocks[0][1] is None else np.concatenate([y for _, y in blocks if y is not None])
        return CSR(data, indices, indptr, (len(lengths), self.columns)), y

    def _text(self) -> Iterator[tuple[CSR, Array]]:
        if self.zero_based == "auto":  # only the whole file tells
            X, y, _ = read_svmlight(self.path, None, self.dtype, "auto", self.n_jobs)
            yield X, y
            return
        options = {"rows": ROWS, "dtype": self.dtype, "zero_based": self.zero_based, "n_jobs": self.n_jobs}
        for X, y in iter_svmlight(self.path, **options):
            yield X, y

    def _folder(self) -> Iterator[tuple[CSR, Array | None]]:
        (n, d), notes, arrays = open_csr(self.path)
        ours = notes.get("zero_based", self.zero_based)
        if ours is True and self.zero_based is False:
            raise ValueError(f"{self.path}: its features count from 0, those of the training file from 1")
        shift = int(ours is False and self.zero_based is True)
        indptr, y = np.asarray(arrays["indptr"]), arrays.get("y")
        step = max(1, NONZEROS * n // max(1, int(indptr[-1])))
        for first in range(0, n, step):
            bounds = np.array(indptr[first : first + step + 1])
            inside = slice(bounds[0], bounds[-1])
            indices = arrays["indices"][inside]
            X = CSR(
                arrays["data"][inside], indices + shift if shift else indices, bounds - bounds[0],
                (bounds.size - 1, d + shift),
            )  # fmt: skip
            yield X, None if y is None else np.array(y[first : first + step])

    def _fit(self, X: CSR) -> CSR:
        data, indices, indptr = X.data, X.indices, X.indptr
        if X.shape[1] > self.columns:
            known = indices < self.columns
            self.ignored += int(np.sum(~known))
            data, indices, indptr = data[known], indices[known], np.r_[0, np.cumsum(known)][indptr]
        return CSR(data, indices, indptr, (X.shape[0], self.columns))


class Report:
    """How good predictions are: accuracy and log loss of a classifier, R^2 and root mean squared error of a regression.

    Of rows that come in blocks; labels that the model never saw count as errors.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.rows, self.correct, self.log_loss = model, 0, 0, 0.0
        self.strangers, self.unknown = 0, np.empty(0)
        self.errors = self.mean = self.spread = 0.0

    def add(self, X: CSR, y: Array) -> None:
        if hasattr(self.model, "classes_"):
            self._add_labels(X, y)
        else:
            self._add_targets(X, y)
        self.rows += len(y)

    def _add_labels(self, X: CSR, y: Array) -> None:
        model = self.model
        known = np.isin(y, model.classes_)
        self.correct += int(np.sum(model.predict(X) == y))
        if not known.all():
            self.strangers += int(np.sum(~known))
            self.unknown = np.union1d(self.unknown, y[~known]) if self.unknown.size else np.unique(y[~known])
        elif hasattr(model, "predict_log_proba"):
            logs = model.predict_log_proba(X)
            self.log_loss -= float(np.sum(logs[np.arange(len(y)), np.searchsorted(model.classes_, y)]))

    def _add_targets(self, X: CSR, y: Array) -> None:
        self.errors += float(np.sum((self.model.predict(X) - y) ** 2))
        # Chan, Golub, LeVeque (1983): the spread around a mean that moves with every block.
        mean, n, both = float(np.mean(y)), len(y), self.rows + len(y)
        self.spread += float(np.sum((y - mean) ** 2)) + (mean - self.mean) ** 2 * n * self.rows / both
        self.mean += (mean - self.mean) * n / both

    def lines(self) -> Iterator[str]:
        if not hasattr(self.model, "classes_"):
            yield f"R^2 {1 - self.errors / self.spread if self.spread else float(self.errors == 0):.4f}"
            yield f"RMSE {np.sqrt(self.errors / self.rows):.6g}"
            return
        yield f"accuracy {self.correct / self.rows:.4f}"
        if hasattr(self.model, "predict_log_proba") and not self.strangers:
            yield f"log loss {self.log_loss / self.rows:.4f}"


def codes_of(y: Array, classes: Array) -> Array:
    """Class numbers; -1 of a label that is not among the classes."""
    numbers = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    result: Array = np.where(classes[numbers] == y, numbers, -1)
    return result
