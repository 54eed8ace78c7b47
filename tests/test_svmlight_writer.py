"""What `dump_svmlight` writes: that it is read back to the bit, short, and refused where it would not be."""

import io
import os
import sys

import numpy as np
import pytest
from svmlight_data import assert_same, dense, many_rows

from fastsgd import CSR, dump_svmlight, load_svmlight, svmlight_writer
from fastsgd.core.svmlight import LARGEST_ID


def dumped(X, y, **options):
    file = io.BytesIO()
    dump_svmlight(X, y, file, **options)
    return file.getvalue()


def test_written_text():
    X = CSR(np.array([0.5, -2, 1e-7, 0], np.float32), np.array([0, 3, 1, 2]), np.array([0, 2, 2, 4]), (3, 5))
    assert dumped(X, [1, -1, 0.1]) == b"1 1:0.5 4:-2\n-1\n0.1 2:1e-7 3:0\n"
    assert dumped(X, [1, -1, 0.1], zero_based=True) == b"1 0:0.5 3:-2\n-1\n0.1 1:1e-7 2:0\n"
    assert dumped(X, [True, False, True], query_id=[3, 0, LARGEST_ID]).splitlines() == [
        b"1 qid:3 1:0.5 4:-2",
        b"0 qid:0",
        b"1 qid:%d 2:1e-7 3:0" % LARGEST_ID,
    ]
    assert dumped(X, [1, 2, 3], comment="made of\n½")[:18] == b"# made of\n# \xc2\xbd\n1 1"
    assert dumped([[0, 1.5], [-0.0, 0]], np.array([[1], [2]])) == b"1 2:1.5\n2\n"
    labels = [(1, 2.5), (), (0,)]
    assert dumped(X, labels, multilabel=True, query_id=[1, 2, 3])[:23] == b"1,2.5 qid:1 1:0.5 4:-2\n"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz"])
def test_what_is_read_is_written(tmp_path, load, dtype, suffix):
    expected = load(many_rows() + b"1 1:0 2:-0 3:5e-324 4:1e-45 5:3.4e38 2147483700:1\n", dtype=dtype)
    path = tmp_path / f"rows.svm{suffix}"
    dump_svmlight(*expected, path)
    assert (path.read_bytes()[:1] in (b"\x1f", b"B", b"\xfd")) == bool(suffix)
    assert_same(load_svmlight(path, dtype=dtype), expected)
    dump_svmlight(*expected, path, zero_based=True, comment="x")
    assert_same(load_svmlight(path, dtype=dtype, zero_based=True, n_features=expected[0].shape[1]), expected)


def test_numbers_not_finite_are_read_and_written(load):
    X, y = load(b"nan 1:inf\n-inf 2:nan 3:-nan\n", ensure_all_finite=False)
    assert_same(load(dumped(X, y, ensure_all_finite=False), ensure_all_finite=False), (X, y))
    with pytest.raises(ValueError, match="Input X contains infinity at row 0, column 0; drop it, or pass ensure_all"):
        dumped(X, [0, 0])
    with pytest.raises(ValueError, match="Input y contains -inf in row 1; drop it, or pass ensure_all_finite=False"):
        dumped([[1], [2]], [0, -np.inf])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_written_numbers_are_as_short_as_they_can_be(dtype):
    rng = np.random.default_rng(0)
    unsigned = np.uint32 if dtype == np.float32 else np.uint64
    bits = rng.integers(0, np.iinfo(unsigned).max, 20_000, unsigned)
    powers = np.ldexp(dtype(1), np.arange(-1074, 1024) if dtype == np.float64 else np.arange(-149, 128))
    edges = np.r_[powers, np.nextafter(powers, dtype(0)), np.nextafter(powers, dtype(np.inf))]
    tens = np.array([float(f"{m}e{e}") for e in range(-37, 22) for m in (1, 2, 9, 99, 123456, 9007199254740993)])
    values = np.r_[bits.view(dtype), edges, -tens.astype(dtype), rng.random(20_000, dtype)].astype(dtype)
    values = values[np.isfinite(values)]
    words = [pair.partition(b":")[2] for pair in dumped([values], [1]).split()[1:]]
    values = values[values != 0]
    assert np.array([float(word) for word in words]).astype(dtype).tobytes() == values.tobytes()

    def digits(word):
        return word.lstrip("-").partition("e")[0].replace(".", "").strip("0")

    assert [digits(word.decode()) for word in words] == [digits(str(value)) for value in values]
    assert max(map(len, words)) <= 24


def test_written_multilabel(load):
    from scipy import sparse

    text = b"1,2,5 1:1\n 2:5\n-1.5\n0,7 1:2\n"
    X, y = load(text, multilabel=True)
    assert dumped(X, y, multilabel=True) == text
    indicator = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 5, 0]])
    written = b"1,2 1:1\n 2:5\n0\n1 1:2\n"
    for form in (indicator, indicator.tolist(), sparse.csr_array(indicator), sparse.csc_matrix(indicator)):
        assert dumped(X, form, multilabel=True) == written
    with pytest.raises(ValueError, match="row 1 has neither labels nor features, which the format cannot hold"):
        dumped([[1], [0]], [(1,), ()], multilabel=True)
    assert dumped([[1], [0]], [(1,), ()], multilabel=True, query_id=[4, 5]) == b"1 qid:4 1:1\n qid:5\n"


def test_columns_in_disorder():
    X = CSR(np.arange(5.0), np.array([4, 0, 2, 3, 1]), np.array([0, 3, 5]), (2, 5))
    before = X.indices.copy()
    assert dumped(X, [1, 2]) == b"1 1:1 3:2 5:0\n2 2:4 4:3\n"
    assert (X.indices == before).all()
    twice = CSR(np.arange(5.0), np.array([4, 0, 3, 2, 3]), np.array([0, 2, 5]), (2, 5))
    with pytest.raises(ValueError, match="X has a column twice in row 1; sum_duplicates"):
        dumped(twice, [1, 2])


def test_writing_in_pieces(load, monkeypatch):
    X, y = load(many_rows(300), dtype=np.float64)
    expected = dumped(X, y)
    monkeypatch.setattr(svmlight_writer, "_ENTRIES", 5)
    assert dumped(X, y) == expected
    assert dumped(dense(X), y) == expected


@pytest.mark.parametrize("form", ["readonly", "strided", "big-endian", "int8", "uint64 indices", "coo", "frame", "f16"])
def test_forms_of_what_is_written(form):
    import pandas as pd
    from scipy import sparse

    A = np.array([[0, 1.5], [2, 0], [3, 4]])
    expected = b"1 2:1.5\n2 1:2\n3 1:3 2:4\n"
    y = np.array([1, 2, 3])
    if form == "readonly":
        A.flags.writeable = y.flags.writeable = False
        S = sparse.csr_array(A)
        S.data.flags.writeable = S.indices.flags.writeable = S.indptr.flags.writeable = False
        assert dumped(S, y) == expected
    elif form == "int8":
        A, expected = A.astype(np.int8), expected.replace(b"1.5", b"1")
    elif form == "uint64 indices":
        S = sparse.csr_array(A)
        A = CSR(S.data, S.indices.astype(np.uint64), S.indptr, S.shape)
    else:
        A, y = {
            "strided": (np.repeat(A, 2, axis=1)[:, ::2], np.repeat(y, 2)[::2]),
            "big-endian": (A.astype(">f8"), y.astype(">i4")),
            "coo": (sparse.coo_matrix(A), y),
            "frame": (pd.DataFrame(A, columns=["a", "b"]), pd.Series(y)),
            "f16": (A.astype(np.float16), y.astype(np.float16)),
        }[form]
    assert dumped(A, y) == expected


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        ([[1], [2]], [1], {}, r"y has shape \(1,\), X has 2 rows"),
        ([[1], [2]], [[1, 2], [3, 4]], {}, "several labels a row need multilabel=True"),
        ([[1], [2]], ["a", "b"], {}, "y has dtype <U1 where numbers belong"),
        ([[1], [2]], [(1,)], {"multilabel": True}, "y has 1 rows, X has 2"),
        ([[1], [2]], [1, 2], {"query_id": [1.5, 2]}, "query_id has dtype float64"),
        ([[1], [2]], [1, 2], {"query_id": [1, -2]}, "query_id is -2 in row 1; it must be from 0"),
        ([[1], [2]], [1, 2], {"query_id": [1]}, "query_id has dtype int64 and shape"),
        ([1, 2], [1, 2], {}, "Expected 2D array"),
        (CSR(np.ones(1), np.array([7]), np.array([0, 1]), (1, 2)), [1], {}, "row 0 names column 7"),
    ],
)
def test_what_cannot_be_written(tmp_path, X, y, options, message):
    (tmp_path / "rows.svm").write_bytes(b"before")
    with pytest.raises(ValueError, match=message):
        dump_svmlight(X, y, tmp_path / "rows.svm", **options)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("rows.svm", b"before")]


def test_where_nothing_can_be_written(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        dump_svmlight([[1]], [1], tmp_path / "none" / "rows.svm")
    with (
        open(tmp_path / "rows.svm", "w") as file,
        pytest.raises(TypeError, match="a file opened in binary mode, 'wb', is needed, not TextIOWrapper"),
    ):
        dump_svmlight([[1]], [1], file)
    with pytest.raises(TypeError, match="is needed, not NoneType"):
        dump_svmlight([[1]], [1], None)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is of Linux")
def test_disk_full(load):
    X, y = load(many_rows())
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        dump_svmlight(X, y, "/dev/full")


def test_written_to_standard_output(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    dump_svmlight([[1]], [1], "-")
    assert out.buffer.getvalue() == b"1 1:1\n"
