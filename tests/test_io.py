"""The container of sparse rows."""

import pickle
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import fastsgd.io
from fastsgd import CSR


def csr(dtype=np.float32, index=np.int32):
    return CSR(np.array([1, 2, 3], dtype), np.array([0, 2, 1], index), np.array([0, 2, 2, 3]), (3, 4))


# CSR


def test_csr_repr():
    assert repr(csr()) == "CSR(3 x 4, 3 stored, float32)"


def test_csr_is_no_sequence_and_does_not_change():
    X = csr()
    assert np.asarray(X).shape == ()
    with pytest.raises(TypeError):
        len(X)
    with pytest.raises(FrozenInstanceError):
        X.shape = (1, 1)
    assert X == X
    assert csr() != X
    assert len({X, csr()}) == 2


def test_csr_pickles():
    X = pickle.loads(pickle.dumps(csr()))
    assert (X.shape, X.data.tolist(), X.indices.tolist(), X.indptr.tolist()) == (
        (3, 4),
        [1, 2, 3],
        [0, 2, 1],
        [0, 2, 2, 3],
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_csr_to_scipy(dtype, index):
    from scipy import sparse

    X = csr(dtype, index)
    Z = X.to_scipy()
    assert isinstance(Z, sparse.csr_array)
    assert Z.dtype == dtype
    assert np.shares_memory(Z.data, X.data)
    assert Z.toarray().tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [0, 3, 0, 0]]


def test_csr_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ImportError, match="install it, or pass the CSR itself"):
        csr().to_scipy()


def test_public_names():
    assert set(fastsgd.io.__all__) == {"CSR", "load_archive", "save_archive"}
