"""Rows for the tests of svmlight files, and what they compare."""

import threading
import time

import numpy as np

from fastsgd import CSR


def dense(X):
    out = np.zeros(X.shape)
    for i in range(X.shape[0]):
        row = slice(X.indptr[i], X.indptr[i + 1])
        out[i, X.indices[row]] = X.data[row]
    return out


def arrays(X, y, *more):
    return X.data, X.indices, X.indptr, y, *more


def assert_same(one, other):
    assert one[0].shape == other[0].shape
    for a, b in zip(arrays(*one), arrays(*other), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def many_rows(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        ids = rng.choice(50, rng.integers(0, 9), replace=False) + 1
        lines.append(" ".join([str(i), *(f"{j}:{rng.random():.{rng.integers(1, 19)}g}" for j in ids)]))
        if i % 7 == 0:
            lines.append("# comment 1:2")
    return ("\n".join(lines) + "\n").encode()


def assert_no_threads():
    for _ in range(100):
        if threading.active_count() == 1:
            break
        time.sleep(0.01)
    assert threading.enumerate() == [threading.main_thread()]


def stacked(blocks):
    blocks = list(blocks)
    data, indices, y = (np.concatenate([arrays(*block)[i] for block in blocks]) for i in (0, 1, 3))
    indptr = np.cumsum([0, *(n for X, *_ in blocks for n in np.diff(X.indptr))])
    width = {X.shape[1] for X, *_ in blocks}.pop()
    return CSR(data, indices, indptr, (len(y), width)), y
