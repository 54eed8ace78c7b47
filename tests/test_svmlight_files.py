"""svmlight files: compression, blocks, ranges, the base of the ids, widths, dtypes, threads, and what is written."""

import gzip
import io
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fastsgd import CSR, _blocks, iter_svmlight, load_svmlight
from fastsgd.core.svmlight import LARGEST_ID


def dense(X):
    out = np.zeros(X.shape)
    for i in range(X.shape[0]):
        row = slice(X.indptr[i], X.indptr[i + 1])
        out[i, X.indices[row]] = X.data[row]
    return out


@pytest.mark.parametrize("block", [1, 7, 64])
def test_fault_beyond_the_first_block(load, block, monkeypatch):
    monkeypatch.setattr(_blocks, "BLOCK", block)
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
    monkeypatch.setattr(_blocks, "BLOCK", 4)
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
    monkeypatch.setattr(_blocks, "BLOCK", 8)
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
    monkeypatch.setattr(_blocks, "BLOCK", block)
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
    with pytest.raises(ValueError, match=r"rows\.gz: truncated or corrupted compressed data .* again"):
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


# Threads, and blocks of rows


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


@pytest.mark.parametrize("n_jobs", [1, 2, 3, 8, -1, -2])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_threads_do_not_show(load, monkeypatch, n_jobs, compress):
    text = many_rows()
    expected = load(text)
    monkeypatch.setattr(_blocks, "BLOCK", 1000)
    assert_same(load(compress(text), n_jobs=n_jobs), expected)
    broken = text.replace(b"\n2000", b"\nx", 1).replace(b"\n2500", b"\ny", 1)
    line = broken[: broken.index(b"\nx")].count(b"\n") + 2
    with pytest.raises(ValueError, match=rf"rows\.svm, line {line}: label 'x' is not a number"):
        load(compress(broken), n_jobs=n_jobs)
    assert_no_threads()


def assert_no_threads():
    for _ in range(100):
        if threading.active_count() == 1:
            break
        time.sleep(0.01)
    assert threading.active_count() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is of POSIX")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_in_a_forked_child(tmp_path, monkeypatch):
    (tmp_path / "rows.svm").write_bytes(many_rows())
    monkeypatch.setattr(_blocks, "BLOCK", 1000)
    expected = load_svmlight(tmp_path / "rows.svm", n_jobs=2)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert_same(load_svmlight(tmp_path / "rows.svm", n_jobs=2), expected)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def stacked(blocks):
    blocks = list(blocks)
    data, indices, y = (np.concatenate([arrays(*block)[i] for block in blocks]) for i in (0, 1, 3))
    indptr = np.cumsum([0, *(n for X, *_ in blocks for n in np.diff(X.indptr))])
    width = {X.shape[1] for X, *_ in blocks}.pop()
    return CSR(data, indices, indptr, (len(y), width)), y


@pytest.mark.parametrize("rows", [1, 7, 999, 1000, 3000, 10**6])
@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("block", [1000, 1 << 20])
def test_blocks_of_rows(tmp_path, monkeypatch, rows, n_jobs, block):
    path = tmp_path / "rows.svm"
    path.write_bytes(many_rows())
    monkeypatch.setattr(_blocks, "BLOCK", block)
    blocks = list(iter_svmlight(path, rows=rows, n_features=60, n_jobs=n_jobs))
    sizes = [X.shape[0] for X, _ in blocks]
    assert sizes == [min(rows, 3000 - i) for i in range(0, 3000, rows)]
    assert all(X.shape == (len(y), 60) for X, y in blocks)
    assert_same(stacked(blocks), load_svmlight(path, n_features=60))


def test_blocks_abandoned_leave_no_thread(tmp_path, monkeypatch):
    (tmp_path / "rows.svm").write_bytes(many_rows())
    monkeypatch.setattr(_blocks, "BLOCK", 1000)
    for X, _ in iter_svmlight(tmp_path / "rows.svm", rows=10, n_jobs=3):
        assert X.shape[0] == 10
        break
    assert_no_threads()


def test_blocks_count_from_where_the_first_says(tmp_path, monkeypatch):
    monkeypatch.setattr(_blocks, "BLOCK", 1)
    path = tmp_path / "rows.svm"
    path.write_bytes(b"1 1:1\n1 3:3\n1 0:5\n")
    assert stacked(iter_svmlight(path, rows=3))[0].indices.tolist() == [1, 3, 0]
    assert stacked(iter_svmlight(path, rows=1, n_features=4, zero_based=True))[0].indices.tolist() == [1, 3, 0]
    blocks = iter_svmlight(path, rows=2)
    assert next(blocks)[0].indices.tolist() == [0, 2]
    with pytest.raises(ValueError, match=r"line 3: feature 0, but no row of the first block has one; .* pass zero"):
        next(blocks)
    path.write_bytes(b"1 0:1\n1 3:3\n1 1:5\n")
    assert stacked(iter_svmlight(path, rows=1, n_features=4))[0].indices.tolist() == [0, 3, 1]
    assert [X.shape for X, _ in iter_svmlight(path, rows=1)] == [(1, 1), (1, 4), (1, 4)]


def test_blocks_of_nothing(tmp_path):
    (tmp_path / "rows.svm").write_bytes(b"# nothing\n")
    with pytest.raises(ValueError, match="no rows"):
        next(iter_svmlight(tmp_path / "rows.svm"))
    with pytest.raises(FileNotFoundError, match="none"):
        next(iter_svmlight(tmp_path / "none"))
    with pytest.raises(ValueError, match="rows is 0; it must be at least 1"):
        iter_svmlight(tmp_path / "rows.svm", rows=0)
