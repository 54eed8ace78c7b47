"""Sparse rows on a disk: round trips, atomic replacement, damage, and training on what is mapped."""

import json
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
import scipy.sparse as sp
from common import make_data

import fastsgd
from fastsgd import CSR, SGDClassifier, SGDRegressor, convert_svmlight, load_csr, load_svmlight, save_csr
from fastsgd._team import Piece
from fastsgd._training import Stored
from fastsgd._validation import check_rows
from fastsgd.disk import INDEX, open_csr

POSIX = pytest.mark.skipif(os.name != "posix", reason="locks and /proc of POSIX")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "rows"


@pytest.fixture
def saved(folder):
    X, y, _ = make_data(60, 7, 3)
    save_csr(folder, sp.csr_array(X), y)
    return folder


def assert_same(actual, expected, dtypes=True):
    assert actual.shape == expected.shape
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), name)
        assert not dtypes or getattr(actual, name).dtype == getattr(expected, name).dtype, name


# --- round trips


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("labels", [np.arange(9), np.array(list("abcdefghi")), np.linspace(0, 1, 9, dtype="f"), None])
def test_save_and_load(folder, dtype, index, labels):
    A = sp.random_array((9, 5), density=0.4, rng=np.random.default_rng(0), format="csr", dtype=dtype)
    X = CSR(A.data, A.indices.astype(index), A.indptr.astype(index), A.shape)
    save_csr(folder, X, labels)
    Z, y = load_csr(str(folder), verify=True)
    assert_same(Z, X)
    assert isinstance(Z.data, np.memmap)
    assert not Z.data.flags.writeable
    if labels is None:
        assert y is None
    else:
        np.testing.assert_array_equal(y, labels)
        assert y.dtype == labels.dtype


def test_rows_without_values_and_slices(folder):
    save_csr(folder, sp.csr_matrix((3, 4)), [1, 2, 3])
    X, y = load_csr(folder, verify=True)
    assert (X.shape, len(X.data), y.tolist()) == ((3, 4), 0, [1, 2, 3])
    whole = sp.csr_array(np.eye(4))
    save_csr(folder, CSR(whole.data, whole.indices, whole.indptr[:3], (2, 4)))  # with entries to spare
    X, _ = load_csr(folder, verify=True)
    np.testing.assert_array_equal(X.to_scipy().toarray(), np.eye(4)[:2])


def test_save_refuses(folder):
    X = sp.csr_array(np.eye(3))
    for bad, y, error, message in (
        (np.eye(3), None, TypeError, "numpy.save"),
        (X, [1, 2], ValueError, "3 rows"),
        (X, [None, "a", "b"], TypeError, "Python objects"),
        (X * np.nan, None, ValueError, "NaN"),
        (CSR(X.data, X.indices + 1, X.indptr, X.shape), None, ValueError, "column 3"),
    ):
        with pytest.raises(error, match=message):
            save_csr(folder, bad, y)
        assert not folder.exists()


TEXTS = {
    "counts from 1": "1 1:1 3:2\n-1 2:1\n",
    "counts from 0": "1 0:1 3:2\n-1 2:1\n",
    "an id 0 late": "# no row\n" + "1 1:1 3:2\n" * 20 + "-1 0:4 7:1\n" + "2 5:1\n" * 9,
    "wide ids late": "1 1:1 3:2\n" * 9 + "-1 5000000000:1 7:1\n" + "2 5:1\n" * 9,
    "wide and 0": "1 1:1 3:2\n" * 9 + "-1 5000000000:1\n2 0:1 5:1\n" + "2 2147483648:1\n" * 9,
    "just not wide": "1 1:1 2147483648:2\n" * 9,
    "empty rows": "1\n\n-1 # 1:1\n0.5 qid:3 2:1\n" * 5,
    "no values": "1\n2\n",
}


@pytest.mark.parametrize("zero_based", ["auto", True])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_convert_reads_as_load_svmlight(tmp_path, folder, text, zero_based, monkeypatch):
    (tmp_path / "text").write_text(text)
    X, y = load_svmlight(tmp_path / "text", zero_based=zero_based)
    for block, n_jobs in ((1 << 20, None), (16, 1), (16, 3)):
        monkeypatch.setattr(fastsgd._blocks, "BLOCK", block)
        convert_svmlight(tmp_path / "text", folder, zero_based=zero_based, n_jobs=n_jobs)
        Z, z = load_csr(folder, verify=True)
        assert_same(Z, X, dtypes=False)
        assert Z.indices.dtype == (np.int32 if X.shape[1] <= 2**31 else np.int64)
        np.testing.assert_array_equal(z, y)
    assert open_csr(folder)[1] == {"zero_based": zero_based is True or " 0:" in text}
    assert len(os.listdir(folder)) == 5


def test_convert_takes_features_and_dtype(tmp_path, folder):
    (tmp_path / "text").write_text("1 3:0.1\n")
    convert_svmlight(tmp_path / "text", folder, n_features=9, dtype=np.float64)
    X, _ = load_csr(folder)
    assert (X.shape, X.data.dtype, X.data[0]) == ((1, 9), np.float64, 0.1)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("1 1:1\n" * 9 + "1 1:x\n", {}, "text, line 10: value of '1:x' is not a number"),
        ("1 1:1\n" * 9 + "1 8:1\n", {"n_features": 7}, "text, line 10: feature 8 is beyond n_features=7"),
        ("1 1:1\n" * 9 + "1 0:1\n", {"zero_based": False}, "text, line 10: feature 0, but zero_based=False"),
        ("# nothing\n", {}, "no rows"),
    ],
)
def test_a_failed_conversion_leaves_things_as_they_were(tmp_path, saved, text, options, message, monkeypatch):
    monkeypatch.setattr(fastsgd._blocks, "BLOCK", 16)
    (tmp_path / "text").write_text(text)
    before = {name: (saved / name).read_bytes() for name in os.listdir(saved)}
    for target in (saved, tmp_path / "new"):
        with pytest.raises(ValueError, match=message):
            convert_svmlight(tmp_path / "text", target, n_jobs=2, **options)
    assert {name: (saved / name).read_bytes() for name in os.listdir(saved)} == before
    assert not (tmp_path / "new").exists()


# --- replacement


def test_replacing_leaves_no_old_files_and_readers_their_rows(saved):
    X, _ = load_csr(saved)
    expected = X.data.copy()
    (saved / "data.7.npy").write_bytes(b"of a writer that was killed")
    (saved / "1234.tmp").write_bytes(b"likewise")
    save_csr(saved, sp.csr_array(np.eye(2)))
    assert sorted(os.listdir(saved)) == sorted([INDEX, *(f"{name}.2.npy" for name in ("data", "indices", "indptr"))])
    np.testing.assert_array_equal(load_csr(saved, verify=True)[0].to_scipy().toarray(), np.eye(2))
    if os.name == "posix":  # what is mapped outlives its name
        np.testing.assert_array_equal(X.data, expected)


def test_a_folder_of_other_things_is_not_written_to(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match=r"other files \(letter.txt\)"):
        save_csr(tmp_path, sp.csr_array(np.eye(2)))
    assert os.listdir(tmp_path) == ["letter.txt"]


@POSIX
def test_two_writers_do_not_meet(saved, monkeypatch):
    def second(*arguments):
        with pytest.raises(OSError, match="another process is writing"):
            save_csr(saved, sp.csr_array(np.eye(2)))
        raise KeyboardInterrupt

    before = load_csr(saved)[0].data.copy()
    monkeypatch.setattr(fastsgd.disk, "sync_folder", second)
    with pytest.raises(KeyboardInterrupt):
        save_csr(saved, sp.csr_array(np.eye(3)))
    np.testing.assert_array_equal(load_csr(saved, verify=True)[0].data, before)


# --- what cannot be loaded, and why


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        load_csr(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no complete rows; convert or save them into it first"):
        load_csr(tmp_path)
    (tmp_path / "file").write_text("1 1:1\n")
    with pytest.raises((NotADirectoryError, FileNotFoundError)):
        load_csr(tmp_path / "file")


def test_every_flipped_byte_of_the_index_is_found_or_harmless(saved):
    content = (saved / INDEX).read_bytes()
    X, y = load_csr(saved)
    for at in range(0, len(content), 3):
        for flip in (0x01, 0x10, 0xFF):
            (saved / INDEX).write_bytes(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
            try:
                Z, z = load_csr(saved)
            except (ValueError, FileNotFoundError) as error:
                assert str(saved) in str(error)  # noqa: PT017
            else:
                assert_same(Z, X)
                np.testing.assert_array_equal(z, y)


def test_a_truncated_index(saved):
    content = (saved / INDEX).read_bytes()
    for size in range(0, len(content), 7):
        (saved / INDEX).write_bytes(content[:size])
        with pytest.raises(ValueError, match="corrupted"):
            load_csr(saved)


@pytest.mark.parametrize("name", ["data", "indices", "indptr", "y"])
def test_damaged_arrays(saved, name):
    file = saved / f"{name}.1.npy"
    content = file.read_bytes()
    for size in (0, 5, 100, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(ValueError, match=rf"{name}\.1\.npy: truncated or corrupted"):
            load_csr(saved)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    load_csr(saved)
    with pytest.raises(ValueError, match=rf"{name}\.1\.npy: corrupted, its checksum"):
        load_csr(saved, verify=True)
    np.save(file, np.arange(3))
    with pytest.raises(ValueError, match=rf"{name}\.1\.npy: holds \(3,\) of int64"):
        load_csr(saved)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        load_csr(saved)


def rewrite(folder, **changes):
    header = json.loads((folder / INDEX).read_text()) | changes
    header.pop("crc32")
    crc = zlib.crc32(json.dumps(header, sort_keys=True).encode())
    (folder / INDEX).write_text(json.dumps(header | {"crc32": crc}))


def test_newer_foreign_and_contradictory(saved):
    header = json.loads((saved / INDEX).read_text())
    for changes, message in (
        ({"version": 2}, r"newer fastsgd \(version 2 of the folder, this one reads up to 1\); upgrade"),
        ({"format": "fastsgd"}, "foreign"),
        ({"shape": [59, 7]}, "contradicts itself about indptr"),
        ({"nnz": 1}, "contradicts itself about data"),
        ({"arrays": {k: v for k, v in header["arrays"].items() if k != "indices"}}, "contradicts itself about indices"),
    ):
        rewrite(saved, **header | changes)
        with pytest.raises(ValueError, match=message):
            load_csr(saved)


# --- training


@pytest.mark.parametrize("shuffle", [True, False, "blocks"])
def test_mapped_rows_train_the_same_model(saved, shuffle):
    X, y = load_csr(saved)
    memory = CSR(*(np.array(a) for a in (X.data, X.indices, X.indptr)), X.shape)
    for kind in (SGDClassifier, SGDRegressor):
        options = {"max_iter": 5, "tol": None, "random_state": 0, "shuffle": shuffle, "early_stopping": True}
        models = [kind(**options).fit(rows, y) for rows in (X, memory)]
        np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
        assert models[0].score(X, y) == models[1].score(memory, y)


def test_mapped_rows_are_not_copied(saved):
    X, _ = load_csr(saved)
    rows = check_rows(X)
    for name in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(rows, name), getattr(X, name))


def stored(n, shuffle="blocks", **options):
    X = check_rows(CSR(np.ones(n * 8), np.tile(np.arange(8), n), np.arange(0, 8 * n + 1, 8), (n, 8)))
    order = np.arange(n, dtype=np.uint32)
    return Stored(Piece(X, np.ones((n, 1)), options.get("weights"), order), shuffle, 3)


def test_blocks_visit_every_row_once_an_epoch_with_its_neighbours(monkeypatch):
    monkeypatch.setattr(fastsgd._training, "BLOCK_BYTES", 128 * 50)  # 50 rows
    monkeypatch.setattr(fastsgd._training, "WINDOW", 4)
    source = stored(1010)
    epochs = [[piece.order for piece in source.epoch(number)] for number in (0, 1, 1)]
    for pieces in epochs:
        assert [len(order) for order in pieces[:-1]] == [200] * 5 or 160 in map(len, pieces)
        np.testing.assert_array_equal(np.sort(np.concatenate(pieces)), np.arange(1010))
        for order in pieces[:-1]:
            assert len(set(order // 50)) == 4
            assert (np.diff(order // 50) == 0).mean() < 0.5  # mixed, not block by block
    first, second, again = (np.concatenate(pieces) for pieces in epochs)
    assert (first != second).any()
    np.testing.assert_array_equal(second, again)
    np.testing.assert_array_equal(
        np.concatenate([piece.order for piece in stored(1010).epoch(1)]), second, "resumed elsewhere"
    )


def test_blocks_leave_out_rows_of_weight_0():
    weights = np.arange(300.0) % 3
    visited = np.concatenate([piece.order for piece in stored(300, weights=weights).epoch(0)])
    np.testing.assert_array_equal(np.sort(visited), np.flatnonzero(weights))


def test_shuffle_is_checked():
    with pytest.raises(ValueError, match="'shuffle' parameter of SGDClassifier must be True, False or 'blocks'"):
        SGDClassifier(shuffle="block").fit([[0.0], [1]], [0, 1])


@POSIX
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="/proc of Linux")
def test_private_memory_stays_small(tmp_path):
    """Training on 160 MB of mapped rows, checks included, takes a tenth of that beside the interpreter's own."""
    code = """if True:
        import sys, threading, time, numpy as np, fastsgd
        n, k, d = 200_000, 100, 50_000
        indices = np.random.default_rng(0).integers(0, d, n * k, dtype=np.int32)
        fastsgd.save_csr(sys.argv[1], fastsgd.CSR(np.ones(n * k, "f"), indices, np.arange(n + 1) * k, (n, d)),
                         np.arange(n) % 2.0)
        del indices
        private = lambda: int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0]) / 1024
        peak, done, before = [0], threading.Event(), private()
        def watch():
            while not done.wait(0.002): peak[0] = max(peak[0], private())
        watcher = threading.Thread(target=watch)
        watcher.start()
        X, y = fastsgd.load_csr(sys.argv[1])
        model = fastsgd.SGDClassifier(max_iter=2, tol=None, shuffle="blocks").fit(X, y)
        model.predict(X)
        done.set(); watcher.join()
        print(peak[0] - before)"""
    command = [sys.executable, "-P", "-c", code, tmp_path / "rows"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    assert float(done.stdout) < 16
