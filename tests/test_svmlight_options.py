"""The options of `load_svmlight`: dtypes, the base of the ids, widths, several labels, query ids, infinities."""

import re

import numpy as np
import pytest
from svmlight_data import dense

from fastsgd import CSR, _blocks, load_svmlight
from fastsgd.core.svmlight import LARGEST_ID


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


def test_byte_order_mark(load):
    X, y = load(b"\xef\xbb\xbf1 1:2\n")
    assert (dense(X).tolist(), y.tolist()) == ([[2]], [1])


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


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_multilabel(load, n_jobs):
    text = b"1,3,2 1:1\n 2:5 # none\nqid:3 1:1\n-1.5\n+7,1e0 qid:4\n"
    X, y = load(text, multilabel=True, n_jobs=n_jobs)
    assert y == [(1, 2, 3), (), (), (-1.5,), (1, 7)]
    assert dense(X).tolist() == [[1, 0], [0, 5], [1, 0], [0, 0], [0, 0]]
    for line in (b"1, 1:1", b",1 1:1", b"1,,2 1:1", b"1,x 1:1", b"1 ,2 1:1", b"1,2:3 1:1", b"1,nan", b"1.5:2"):
        with pytest.raises(ValueError, match="line 2: "):
            load(b"1 1:2\n" + line, multilabel=True)
    with pytest.raises(ValueError, match="label '1,3,2' is not one number; several, commas between, need multilabel"):
        load(text)


def test_multilabel_of_scikit_learn(load, tmp_path):
    from sklearn.datasets import load_svmlight_file

    text = b"1,3,2 1:1\n 2:5\n2 1:1\n"
    X, y = load(text, multilabel=True)
    Z, z = load_svmlight_file(str(tmp_path / "rows.svm"), multilabel=True)
    assert y == z
    assert (X.to_scipy() != Z).nnz == 0


def test_query_ids(load):
    text = b"1 qid:3 1:1\n2 qid:9223372036854775799 2:1\n\n3 qid:0\n"
    X, y, queries = load(text, query_id=True)
    assert (X.shape, y.tolist(), queries.dtype) == ((3, 2), [1, 2, 3], np.int64)
    assert queries.tolist() == [3, LARGEST_ID, 0]
    _, labels, queries = load(b"1,2 qid:5\nqid:6 1:2", query_id=True, multilabel=True)
    assert (labels, queries.tolist()) == ([(1, 2), ()], [5, 6])
    for line, message in [
        (b"1 1:2", "no qid:N before '1:2'; query_id=True needs one in each row"),
        (b"1", "no qid:N in this row"),
        (b"1 1:2 qid:3", "no qid:N before '1:2'"),
        (b"1 qid:9999999999999999999", f"query id 'qid:9999999999999999999' is above {LARGEST_ID}"),
        (b"1 qid:9223372036854775800", "query id 'qid:9223372036854775800' is above"),
        (b"1 qid:x", "query id 'qid:x' is no qid:N"),
    ]:
        with pytest.raises(ValueError, match=rf"rows\.svm, line 2: {re.escape(message)}"):
            load(b"1 qid:1\n" + line, query_id=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_are_not_finite(load, dtype):
    texts = "nan NaN +nan -nan inf -inf Infinity -iNFINITY +INF 1e999 -1e999 1e39 1e-999".split()  # noqa: SIM905
    text = "".join(f"{number} 1:{number}\n" for number in texts).encode()
    X, y = load(text, dtype=dtype, ensure_all_finite=False)
    numbers = np.array([float(number) for number in texts])
    with np.errstate(over="ignore"):
        assert X.data.tobytes() == numbers.astype(dtype).tobytes()
    assert y.tobytes() == numbers.tobytes()
    for wrong in ("nana", "infin", "n", "in", "- inf", "1nan", "infinityy", "nan(3)"):
        with pytest.raises(ValueError, match="line 1: value of"):
            load(f"1 1:{wrong}".encode(), ensure_all_finite=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": -1}, "offset is -1; it must be at least 0"),
        ({"length": 0, "n_features": 3}, "length is 0; it must be at least 1, or -1"),
        ({"length": -2}, "length is -2"),
        ({"n_jobs": 0}, "n_jobs == 0 has no meaning"),
        ({"n_jobs": "2"}, "n_jobs is '2'; it must be an int"),
        ({"n_features": 2.5}, r"n_features is 2\.5; it must be an int"),
        ({"n_features": 2**63}, "n_features is 9223372036854775808; it must be at least 1 and at most"),
    ],
)
def test_bad_options(load, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        load(b"1 1:2\n", **options)
