"""CSR, and svmlight files as whole files: compression, blocks, the base of the ids, widths, dtypes."""

import gzip
import io
import pickle
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

import fastsgd.io
from fastsgd import CSR, load_svmlight
from fastsgd.core.svmlight import LARGEST_ID


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


# svmlight files


def dense(X):
    out = np.zeros(X.shape)
    for i in range(X.shape[0]):
        row = slice(X.indptr[i], X.indptr[i + 1])
        out[i, X.indices[row]] = X.data[row]
    return out


@pytest.mark.parametrize("block", [1, 7, 64])
def test_fault_beyond_the_first_block(load, block, monkeypatch):
    monkeypatch.setattr(fastsgd.io, "_BLOCK", block)
    with pytest.raises(ValueError, match=r"rows\.svm, line 101: value of '2:x'"):
        load(b"1 1:2\n" * 100 + b"1 2:x\n" + b"1 1:2\n" * 100)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes(load, dtype):
    X, y = load(b"1 1:0.1 3:2\n-1\n2 2:7\n", dtype=dtype)
    assert isinstance(X, CSR)
    assert X.data.dtype == dtype
    assert X.indices.dtype == np.int32
    assert X.indptr.dtype == np.int64
    assert y.dtype == np.float64
    assert X.shape == (3, 3)
    assert X.indptr.tolist() == [0, 2, 2, 3]
    assert X.data[0] == dtype(0.1)
    assert all(a.flags.writeable and a.flags.owndata for a in (X.data, X.indices, X.indptr, y))


def test_zero_based(load):
    ones, zeros = b"1 1:1 2:2\n2 3:3\n", b"1 0:1 2:2\n2 3:3\n"
    assert load(ones)[0].shape == (2, 3)
    assert load(ones)[0].indices.tolist() == [0, 1, 2]
    assert load(ones, zero_based=False)[0].indices.tolist() == [0, 1, 2]
    assert load(ones, zero_based=True)[0].indices.tolist() == [1, 2, 3]
    assert load(ones, zero_based=True)[0].shape == (2, 4)
    for zero_based in ("auto", True):
        assert load(zeros, zero_based=zero_based)[0].indices.tolist() == [0, 2, 3]
    with pytest.raises(ValueError, match=r"rows\.svm, line 2: feature 0, but zero_based=False .* pass zero_based=True"):
        load(b"1 1:1\n" + zeros, zero_based=False)


def test_zero_based_is_decided_by_the_whole_file(load, monkeypatch):
    monkeypatch.setattr(fastsgd.io, "_BLOCK", 4)
    X, _ = load(b"1 1:1\n1 3:3\n1 0:5\n")
    assert X.indices.tolist() == [1, 3, 0]
    assert X.shape == (3, 4)


def test_n_features(load):
    text = b"1 1:1\n1 5:1\n1 2:1\n"
    assert load(text, n_features=5)[0].shape == (3, 5)
    assert load(text, n_features=9)[0].shape == (3, 9)
    for more, d, base, zero_based in [(b"", 4, 1, "auto"), (b"", 5, 0, True), (b"1 0:1\n", 5, 0, "auto")]:
        message = f"line 2: feature 5 is beyond n_features={d}, counting from {base}; pass n_features={d + 1} or more"
        with pytest.raises(ValueError, match=message):
            load(text + more, n_features=d, zero_based=zero_based)


def test_rows_without_features(load):
    X, y = load(b"1\n2\n")
    assert (X.shape, X.indptr.tolist(), y.tolist()) == ((2, 0), [0, 0, 0], [1, 2])
    assert load(b"1\n2\n", n_features=3)[0].shape == (2, 3)


def test_wide_ids_need_int64(load, monkeypatch):
    X, _ = load(b"1 2147483647:1\n")
    assert X.indices.dtype == np.int32
    monkeypatch.setattr(fastsgd.io, "_BLOCK", 8)
    X, _ = load(b"1 1:1\n1 2147483648:1 4294967297:2\n")
    assert X.indices.dtype == np.int64
    assert X.indices.tolist() == [0, 2**31 - 1, 2**32]
    assert X.shape == (2, 2**32 + 1)
    X, _ = load(b"1 0:1 %d:1\n" % LARGEST_ID)
    assert X.shape == (1, LARGEST_ID + 1)
    assert X.indices.tolist() == [0, LARGEST_ID]


@pytest.mark.parametrize("block", [1, 2, 3, 5, 16, 1000])
@pytest.mark.parametrize("tail", [b"", b"\n", b"\n\n"])
def test_blocks_do_not_show(load, monkeypatch, block, tail):
    text = b"\n".join(b"%d 2:%d # c\r\n\n-1 4:1 1:%d" % (i, i, i + 1) for i in range(20)) + b"\n9" + b" " * 50 + tail
    X, y = load(text)
    monkeypatch.setattr(fastsgd.io, "_BLOCK", block)
    Z, z = load(text)
    assert X.shape == Z.shape == (41, 4)
    for a, b in [(X.data, Z.data), (X.indices, Z.indices), (X.indptr, Z.indptr), (y, z)]:
        assert a.dtype == b.dtype
        assert a.tolist() == b.tolist()


def test_byte_order_mark(load):
    X, y = load(b"\xef\xbb\xbf1 1:2\n")
    assert (dense(X).tolist(), y.tolist()) == ([[2]], [1])


@pytest.mark.parametrize("name", ["rows", "rows.gz", "rows.txt"])
@pytest.mark.parametrize("kind", [str, Path])
def test_gzip_goes_by_content(tmp_path, name, kind):
    for content in (b"1 2:3\n", gzip.compress(b"1 2:3\n"), gzip.compress(b"1 ") + gzip.compress(b"2:3")):
        (tmp_path / name).write_bytes(content)
        X, _ = load_svmlight(kind(tmp_path / name))
        assert dense(X).tolist() == [[0, 3]]


@pytest.mark.parametrize("damage", ["cut", "flipped", "header", "tail"])
def test_damaged_gzip(tmp_path, damage):
    content = gzip.compress(b"".join(b"1 %d:0.5\n" % i for i in range(1, 999)))
    content = {
        "cut": content[: len(content) // 2],
        "flipped": content[:300] + bytes(255 - b for b in content[300:320]) + content[320:],
        "header": b"\x1fnot gzip",
        "tail": content[:-8] + bytes(8),
    }[damage]
    (tmp_path / "rows.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.gz: truncated or corrupted gzip .* again"):
        load_svmlight(tmp_path / "rows.gz")


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_standard_input(monkeypatch, compress):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(compress(b"1 1:2\n-1 2:x\n")))))
    with pytest.raises(ValueError, match="<stdin>, line 2: value of '2:x'"):
        load_svmlight("-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(compress(b"1 1:2\n-1 2:5\n")))))
    assert dense(load_svmlight("-")[0]).tolist() == [[2, 0], [0, 5]]


def test_bad_arguments(tmp_path, load):
    with pytest.raises(FileNotFoundError):
        load_svmlight(tmp_path / "none")
    with pytest.raises(OSError, match=r"directory|denied"):
        load_svmlight(tmp_path)
    with pytest.raises(ValueError, match="dtype is int32; svmlight files are read as float32 or float64"):
        load(b"1 1:2", dtype=np.int32)
    with pytest.raises(ValueError, match="zero_based is 'no'; it must be"):
        load(b"1 1:2", zero_based="no")
    with pytest.raises(ValueError, match="n_features is 0; it must be at least 1"):
        load(b"1 1:2", n_features=0)


def test_public_names():
    assert set(fastsgd.io.__all__) == {"CSR", "load_archive", "load_svmlight", "save_archive"}
