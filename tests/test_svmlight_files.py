"""svmlight files: blocks, compression, standard input, threads, open files, ranges, files that fail."""

import bz2
import gzip
import io
import lzma
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from svmlight_data import assert_no_threads, assert_same, dense, many_rows, stacked

from fastsgd import _blocks, iter_svmlight, load_svmlight


@pytest.mark.parametrize("block", [1, 7, 64])
def test_fault_beyond_the_first_block(load, block, monkeypatch):
    monkeypatch.setattr(_blocks, "BLOCK", block)
    with pytest.raises(ValueError, match=r"rows\.svm, line 101: value of '2:x'"):
        load(b"1 1:2\n" * 100 + b"1 2:x\n" + b"1 1:2\n" * 100)


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


@pytest.mark.parametrize("name", ["rows", "rows.gz", "rows.txt"])
@pytest.mark.parametrize("kind", [str, Path])
def test_gzip_goes_by_content(tmp_path, name, kind):
    for content in (b"1 2:3\n", gzip.compress(b"1 2:3\n"), gzip.compress(b"1 ") + gzip.compress(b"2:3")):
        (tmp_path / name).write_bytes(content)
        X, _ = load_svmlight(kind(tmp_path / name))
        assert dense(X).tolist() == [[0, 3]]


COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("block", [1, 50, 1 << 20])
def test_compressed(load, monkeypatch, kind, block):
    text = many_rows(100)
    compress = COMPRESS[kind]
    expected = load(text)
    monkeypatch.setattr(_blocks, "BLOCK", block)
    half = len(text) // 2
    for content in (
        compress(text),
        compress(text[:half]) + compress(b"") + compress(text[half:]),
        compress(text[:half]) + bytes(8) + compress(text[half:]) + bytes(1000),
    ):
        assert_same(load(content), expected)
        assert_same(load(content, n_jobs=2), expected)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("damage", ["cut", "flipped", "head", "tail", "second"])
def test_damaged_compression(load, kind, damage):
    content = COMPRESS[kind](b"".join(b"1 %d:0.5\n" % (i * i) for i in range(1, 999)))
    content = {
        "cut": content[: len(content) // 2],
        "flipped": content[:300] + bytes(255 - b for b in content[300:320]) + content[320:],
        "head": content[:5] + b"rubbish",
        "tail": content[:-8] + bytes(8),
        "second": content + content[:4] + bytes(20) + content[24:],
    }[damage]
    with pytest.raises(ValueError, match=r"rows\.svm: truncated or corrupted compressed data .* again"):
        load(content)


def test_compression_is_taken_in_small_parts(load, monkeypatch):
    """However much a few bytes may expand to."""
    monkeypatch.setattr(_blocks, "BLOCK", 5000)
    line = b"1 1:1" + b" " * 994 + b"\n"
    sizes = []
    whole_lines = _blocks.whole_lines

    def noting(*args):
        for piece in whole_lines(*args):
            sizes.append(len(piece))
            yield piece

    monkeypatch.setattr(_blocks, "whole_lines", noting)
    for compress in COMPRESS.values():
        X, _ = load(compress(line * 5000))
        assert X.shape == (5000, 1)
    assert max(sizes) <= 6000


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_standard_input(monkeypatch, compress):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(compress(b"1 1:2\n-1 2:x\n")))))
    with pytest.raises(ValueError, match="<stdin>, line 2: value of '2:x'"):
        load_svmlight("-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(compress(b"1 1:2\n-1 2:5\n")))))
    assert dense(load_svmlight("-")[0]).tolist() == [[2, 0], [0, 5]]


# Threads, and blocks of rows


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


# Open files, and ranges


class Plain:
    """A file that can do nothing but read."""

    def __init__(self, content):
        self.rest = io.BytesIO(content)

    def read(self, size):
        return self.rest.read(min(size, 13))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_open_files(tmp_path, compress):
    content = compress(b"1 1:2\n2 3:4\n")
    (tmp_path / "rows.svm").write_bytes(content)
    expected = load_svmlight(tmp_path / "rows.svm")
    assert_same(load_svmlight(io.BytesIO(content)), expected)
    assert_same(load_svmlight(Plain(content), n_jobs=2), expected)
    with open(tmp_path / "rows.svm", "rb") as file:
        assert_same(load_svmlight(file), expected)
        assert not file.closed
        file.seek(0)
        blocks = list(iter_svmlight(file, rows=1, n_features=3))
        assert_same(stacked(blocks), expected)
        assert not file.closed


def test_open_files_of_no_use(tmp_path, monkeypatch):
    (tmp_path / "rows.svm").write_text("1 1:2\n")
    with (
        open(tmp_path / "rows.svm") as file,
        pytest.raises(TypeError, match=r"rows\.svm is in text mode; open it in blocking binary mode, 'rb'"),
    ):
        load_svmlight(file)
    for source in (3.5, None, [b"1 1:2"]):
        with pytest.raises(TypeError, match="a path or a file opened in binary mode is needed, not"):
            load_svmlight(source)
    with pytest.raises(ValueError, match=r"<BytesIO>, line 1: label 'x'"):
        load_svmlight(io.BytesIO(b"x 1:2"))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OSError, match="<stdin> is closed"):
        load_svmlight("-")


@pytest.mark.parametrize("block", [1, 10, 1 << 20])
@pytest.mark.parametrize("kind", ["file", "gzip", "unseekable"])
def test_ranges_share_out_the_lines(tmp_path, monkeypatch, block, kind):
    text = b"\n".join(b"%d%s %d:1" % (i, b" " * (i * 7 % 5), i % 9) for i in range(30)) + b"\n\n# end\n"
    monkeypatch.setattr(_blocks, "BLOCK", block)
    (tmp_path / "rows").write_bytes(gzip.compress(text) if kind == "gzip" else text)
    expected = load_svmlight(tmp_path / "rows", n_features=9)
    for step in (1, 2, 7, 64, 150, 10**6):
        parts = []
        for offset in range(0, len(text), step):
            source = Plain(text) if kind == "unseekable" else tmp_path / "rows"
            last = offset + step >= len(text)
            parts.append(load_svmlight(source, n_features=9, offset=offset, length=-1 if last else step))
        assert_same(stacked(parts), expected)


def test_ranges_are_those_of_scikit_learn(tmp_path):
    """Those that a line begins in: scikit-learn reads a line of the next range if none does."""
    from sklearn.datasets import load_svmlight_file

    text = b"".join(b"%d %d:%d.5\n" % (i, i % 9, i) for i in range(30))
    (tmp_path / "rows").write_bytes(text)
    for offset in (0, 1, 8, 17, 100):
        for length in (-1, 12, 64, 1000):
            at = {"offset": offset, "length": length, "n_features": 9}
            X, y = load_svmlight(tmp_path / "rows", dtype=np.float64, zero_based=True, **at)
            Z, z = load_svmlight_file(str(tmp_path / "rows"), zero_based=True, **at)
            assert (X.to_scipy() != Z).nnz == 0
            assert y.tolist() == z.tolist()


def test_ranges_of_a_file(load):
    text = b"1 1:1\n2 2:2\n3 x\n"
    assert load(text, length=3, n_features=3)[0].indices.tolist() == [1]  # "auto" means True
    assert load(text, offset=1, length=5, n_features=3, zero_based=False)[0].indices.tolist() == [1]
    with pytest.raises(ValueError, match=r"rows\.svm from byte 3, line 2: expected index:value, found 'x'"):
        load(text, offset=3, n_features=3)
    X, y = load(text, offset=99, n_features=3)
    assert (X.shape, y.shape) == ((0, 3), (0,))
    with pytest.raises(ValueError, match="n_features is needed with offset or length"):
        load(text, offset=3)


# Files that fail


def test_a_file_that_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(_blocks, "BLOCK", 1000)
    path = tmp_path / "rows.svm"
    for change in ("shorter", "longer", "other"):
        path.write_bytes(many_rows())
        os.utime(path, (1, 1))
        blocks = iter_svmlight(path, rows=10)
        next(blocks)
        if change == "shorter":
            os.truncate(path, 60_001)
        else:
            with open(path, "r+b" if change == "other" else "ab") as file:
                file.write(b"7 1:1\n")
        with pytest.raises(OSError, match=r"rows\.svm was changed while it was read"):
            list(blocks)


def test_a_file_that_is_gone(tmp_path, monkeypatch):
    """Once open it is read to its end."""
    monkeypatch.setattr(_blocks, "BLOCK", 1000)
    path = tmp_path / "rows.svm"
    path.write_bytes(many_rows())
    expected = load_svmlight(path, n_features=50)
    blocks = iter_svmlight(path, rows=10, n_features=50)
    first = next(blocks)
    path.unlink()
    assert_same(stacked([first, *blocks]), expected)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_file_that_fails(monkeypatch, n_jobs):
    class Failing(Plain):
        def read(self, size):
            if self.rest.tell() > 5000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(_blocks, "BLOCK", 1000)
    with pytest.raises(OSError, match="Input/output error: '<Failing>'"):
        load_svmlight(Failing(many_rows()), n_jobs=n_jobs)
    assert_no_threads()


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions are of POSIX")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "rows.svm"
    path.write_bytes(b"1 1:2")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root reads everything
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match=r"rows\.svm"):
            load_svmlight(path, n_jobs=2)
    finally:
        os.seteuid(user)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
def test_a_pipe_that_says_nothing_can_be_left(tmp_path, monkeypatch):
    """A thread may wait for it for ever; who reads need not."""
    os.mkfifo(tmp_path / "pipe")
    opened = []

    def write():
        opened.append(open(tmp_path / "pipe", "wb", buffering=0))  # noqa: SIM115

    writer = threading.Thread(target=write)
    writer.start()
    monkeypatch.setattr(_blocks, "BLOCK", 100)
    try:
        blocks = iter_svmlight(tmp_path / "pipe", rows=1)
        got = []
        reader = threading.Thread(target=lambda: got.append(next(blocks)))
        reader.start()
        writer.join()
        opened[0].write(b"1 1:2\n" * 100)
        reader.join(10)
        assert got[0][1].tolist() == [1]
        started = time.perf_counter()
        blocks.close()
        assert time.perf_counter() - started < 5
    finally:
        opened[0].close()
        assert_no_threads()
