"""Data and peers of the benchmarks, and how they are timed."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp

from fastsgd import load_svmlight

# rows, columns, mean nonzeros a row
SIZES = {"full": (180_000, 47_000, 73), "tiny": (2_000, 3_000, 30)}


def rcv1_like(size: str = "full", dtype: Any = np.float32, seed: int = 0) -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """Rows like RCV1's tf-idf: Zipf-distributed columns, unit length, binary labels with some noise.

    Returns (X, y, X_test, y_test), a sixth of the rows being for the test.
    """
    n, d, per_row = SIZES[size]
    n += n // 6
    random = np.random.default_rng(seed)
    X = zipf_rows(random, n, d, per_row, dtype)
    # Frequent columns decide, as topics do; the noise leaves about one label in twenty wrong.
    topics = np.where(np.bincount(X.indices, minlength=d) > n // 1000, random.standard_normal(d), 0)
    scores = X @ topics
    scores += 0.2 * scores.std() * random.standard_normal(n)
    y = (scores > np.median(scores)).astype(np.int64)
    n_train = SIZES[size][0]
    return X[:n_train], y[:n_train], X[n_train:], y[n_train:]


def zipf_rows(random: np.random.Generator, n: int, d: int, per_row: float, dtype: Any) -> Any:
    """tf-idf-like rows of unit length and about that many nonzeros, columns Zipf-distributed: a scipy CSR matrix."""
    chances = 1 / (np.arange(d) + 20.0)
    lengths = np.maximum(1, random.gamma(2.5, 1.18 * per_row / 2.5, n)).astype(np.int64)
    ranks = np.searchsorted(np.cumsum(chances / chances.sum()), random.random(lengths.sum()))
    columns = random.permutation(d)[np.minimum(ranks, d - 1)]
    # A column drawn twice in a row counts once.
    cells = np.unique(np.repeat(np.arange(n), lengths) * d + columns)
    rows, columns = cells // d, cells % d
    idf = np.log((n + 1) / (1 + np.bincount(columns, minlength=d)))
    values = (1 + random.exponential(0.5, cells.size)) * (idf[columns] + 1e-3)
    values /= np.sqrt(np.bincount(rows, values**2, minlength=n))[rows]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    return sp.csr_matrix((values.astype(dtype), columns.astype(np.int32), indptr.astype(np.int32)), shape=(n, d))


def a9a() -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """The census data among the tests' files."""
    folder = Path(__file__).parents[1] / "tests" / "data"
    X, y = load_svmlight(folder / "a9a.gz", n_features=123)
    X_test, y_test = load_svmlight(folder / "a9a.t.gz", n_features=123)
    narrow = [sp.csr_matrix((A.data, A.indices, A.indptr.astype(np.int32)), shape=A.shape) for A in (X, X_test)]
    return narrow[0], y, narrow[1], y_test


def shared(name: str, folder: str | None = None) -> tuple[Any, np.ndarray, Any, np.ndarray] | None:
    """A real data set through `load.py` of the data folder (FASTSGD_DATA), or None where there is no such folder."""
    folder = folder or os.environ.get("FASTSGD_DATA")
    if not folder:
        return None
    path = Path(folder) / "load.py"
    spec = importlib.util.spec_from_file_location("load", path)
    module: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module.load(name)


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def race(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int = 5) -> SimpleNamespace:
    """Best times of both, measured in turns so that a slow spell of the machine meets both."""
    times = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    best, peer = (min(column) for column in zip(*times, strict=True))
    return SimpleNamespace(seconds=best, peer=peer, ratio=peer / best)


def nonzeros(X: Any) -> int:
    return X.nnz if sp.issparse(X) else X.size
