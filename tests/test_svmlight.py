"""The parser of svmlight text: each rule of the format, each error, two oracles (plain Python and scikit-learn)."""

import re
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_svmlight_file
from svmlight_fuzz import as_rows, bits, fuzz, naive, naive_rows_or_line, parsed

from fastsgd import load_svmlight
from fastsgd.core.svmlight import LARGEST_ID, Malformed, Room, parse

DATA = Path(__file__).parent / "data"


# What a line may look like


@pytest.mark.parametrize(
    ("line", "label", "pairs"),
    [
        (b"1 1:2 3:4", 1, [(1, 2), (3, 4)]),
        (b"+1 1:+2", 1, [(1, 2)]),
        (b"-1.5e0 1:-2.5E-1", -1.5, [(1, -0.25)]),
        (b"7", 7, []),
        (b"7 ", 7, []),
        (b"7 # 1:2", 7, []),
        (b"7#1:2", 7, []),
        (b"1 1:2#3:4", 1, [(1, 2)]),
        (b"1 1:2 # 3:4 # five", 1, [(1, 2)]),
        (b"  1\t1:2 \t 3:4\t", 1, [(1, 2), (3, 4)]),
        (b"1\v1:2\f3:4", 1, [(1, 2), (3, 4)]),
        (b"1 1:2\r", 1, [(1, 2)]),
        (b"1 qid:3 1:2", 1, [(1, 2)]),
        (b"1 qid:3", 1, []),
        (b"1 qid:123456789012345678901234567890 1:2", 1, [(1, 2)]),
        (b"1 3:4 1:2 2:8", 1, [(1, 2), (2, 8), (3, 4)]),
        (b"1 1:0 2:-0", 1, [(1, 0), (2, -0.0)]),
        (b"1 007:2", 1, [(7, 2)]),
        (b"1 1:.5 2:5.", 1, [(1, 0.5), (2, 5)]),
        (b"1 %d:1" % LARGEST_ID, 1, [(LARGEST_ID, 1)]),
    ],
)
@pytest.mark.parametrize("newline", [b"", b"\n", b"\r\n"])
def test_one_line(line, label, pairs, newline):
    row = [bits(np.float64(label))], None, [(id, bits(np.float64(value))) for id, value in pairs]
    assert parsed(line + newline) == [row] == naive(line)


def test_lines_without_rows():
    chunk = parse(b"\n# all comment 1:2\n \t\r\n1 1:2\n\n#\n-1 4:5\n\n", np.float32)
    assert as_rows(*chunk[:6]) == naive(b"1 1:2\n-1 4:5", np.float32)
    assert chunk.lines == 8
    assert (chunk.low, chunk.low_line, chunk.high, chunk.high_line) == (1, 3, 4, 6)


def test_a_chunk_outlives_the_room_it_was_parsed_in():
    texts = [b"1 1:2 5:3\n-1 4:5\n", b"7 8:9\n" * 1000, b"3 1:4\n"]
    room = Room()
    for dtype in (np.float32, np.float64, np.float32):
        chunks = [parse(text, dtype, room=room) for text in texts]
        for text, chunk in zip(texts, chunks, strict=True):
            assert as_rows(*chunk[:6]) == naive(text, dtype)


@pytest.mark.parametrize("text", [b"", b"\n\n", b"# only\n#comments", b" \t\r\n"])
def test_no_rows(load, text):
    with pytest.raises(ValueError, match=r"rows\.svm: no rows"):
        load(text)
    assert parsed(text) == []


@pytest.mark.parametrize("n", [2, 3, 4, 13, 14, 1000])
@pytest.mark.parametrize("order", ["reversed", "random", "nearly sorted"])
def test_sorts_columns(n, order):
    ids = np.arange(n)[::-1].copy()
    if order == "random":
        np.random.default_rng(n).shuffle(ids)
    elif order == "nearly sorted":
        ids = np.r_[np.arange(1, n), 0]
    text = b"1 0:0 1:1\n1 " + b" ".join(b"%d:%d" % (j, j) for j in ids) + b"\n1 5:5"
    assert [id for id, _ in parsed(text)[1][2]] == list(range(n))
    assert parsed(text) == naive(text)


# Numbers

HARD = """
0 0.0 1 01 1. .1 1e0 1E+5 1e-5 123456789 0.1 0.2 0.3 3.14159265358979 1e22 1e23 1e-22 1e-23
9007199254740991 9007199254740992 9007199254740993 9007199254740993.0 9007199254740994 9007199254740995e22
9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616 99999999999999999999
1.7976931348623157e308 179769313486231570000e288 2.2250738585072014e-308 2.2250738585072011e-308 4.9e-324 5e-324
2.4703282292062327e-324 2.4703282292062328e-324 1e-400 0e999999999999 0.0e-5000000 1e-99999999999999999999
0.500000000000000166533453693773481063544750213623046875 0.1000000000000000055511151231257827021181583404541015625
7.2057594037927933e16 6.8985500000000005e15 3.4028234e38 1.17549435e-38 1.4e-45 123456789012345678e-5 8.41e21
"""
LONG = ["1" + "0" * 300, "0." + "0" * 300 + "123", "1" * 800 + "e-780", "0" * 400 + "7.5", "1." + "3" * 5000]


@pytest.mark.parametrize("text", [*HARD.split(), *LONG])
def test_number_is_that_of_float(text):
    for sign in ("", "-", "+"):
        number = (sign + text).encode()
        chunk = parse(number + b" 1:" + number, np.float64)
        expected = np.float64(float(number)).tobytes()
        assert chunk.labels.tobytes() == expected
        assert chunk.values.tobytes() == expected


def test_random_numbers_are_those_of_float():
    rng = np.random.default_rng(0)
    doubles = rng.integers(0, 2**63, 4000, np.int64).view(np.float64)
    doubles = np.r_[
        doubles[np.isfinite(doubles)], rng.standard_normal(2000), rng.random(2000) * 10.0 ** rng.integers(-9, 9, 2000)
    ]
    formats = ["%r", "%.17g", "%.20e", "%.15g", "%.6g", "%.3f", "%.25f", "%+.1E", "%.0f"]
    texts = [(formats[i % len(formats)] % x).encode() for i, x in enumerate(doubles.tolist())]
    digits = rng.integers(0, 10, (3000, 25)).astype("U1")
    for row, n, point, exponent in zip(
        digits, rng.integers(1, 26, 3000), rng.integers(0, 26, 3000), rng.integers(-40, 40, 3000), strict=True
    ):
        texts.append(f"{''.join(row[:n][:point])}.{''.join(row[:n][point:])}e{exponent}".encode())
    values = parse(b"\n".join(b"1 1:" + t for t in texts), np.float64).values
    assert values.tobytes() == np.array([float(t) for t in texts]).tobytes()
    small = [t for t in texts if abs(float(t)) < 3e38]
    singles = parse(b"\n".join(b"1 1:" + t for t in small), np.float32).values
    assert singles.dtype == np.float32
    assert singles.tobytes() == np.array([float(t) for t in small]).astype(np.float32).tobytes()


def test_numbers_near_the_middle_of_two_doubles():
    """The middle itself, written out or cut short, and what is just above and below it."""
    rng = np.random.default_rng(0)
    doubles = np.abs(rng.integers(0, 2**63, 300, np.int64).view(np.float64))
    doubles = np.r_[doubles, rng.random(300), 2.0 ** rng.integers(50, 80, 100) * rng.random(100)]
    texts = []
    with localcontext() as context:
        context.prec = 1200
        for x in doubles[np.isfinite(doubles) & (doubles < 1e308)].tolist():
            middle = (Decimal(x) + Decimal(float(np.nextafter(x, np.inf)))) / 2
            head, _, exponent = f"{middle:e}".partition("e")
            head = head.rstrip("0")
            texts += [f"{head[:n]}e{exponent}" for n in (17, 19, 20, 21, 22, 25, 40, 300, len(head))]
            texts += [f"{head}1e{exponent}", f"{head[:-1]}{int(head[-1]) - 1}9e{exponent}", f"{middle:f}"]
    values = parse("\n".join(f"1 1:{text}" for text in texts).encode(), np.float64).values
    assert values.tobytes() == np.array([float(text) for text in texts]).tobytes()


# Errors name the file, the line and the text, and say what to do

FAULTS = [
    (b"abc 1:2", "label 'abc' is not a number; write it like"),
    (b"1x 1:2", "label '1x' is not a number"),
    (b"- 1:2", "label '-' is not a number"),
    (b"1e 1:2", "label '1e' is not a number"),
    (b"1_0 1:2", "label '1_0' is not a number"),
    (b"0x10 1:2", "label '0x10' is not a number"),
    (b"nan 1:2", "label 'nan' is not finite; replace it"),
    (b"-inf 1:2", "label '-inf' is not finite"),
    (b"1e999 1:2", "label '1e999' overflows float64; rescale"),
    (b"1:2 3:4", "no label before '1:2'; a row is `label index:value"),
    (b"1,2 1:2", "label '1,2' is not one number; several, commas between, need multilabel=True"),
    (b"1 abc", "expected index:value, found 'abc'; colon between the two"),
    (b"1 1:2 34", "expected index:value, found '34'"),
    (b"1 1 :2", "expected index:value, found '1'"),
    (b"1 -1:2", "index of '-1:2' is not an integer of 0 or more; renumber"),
    (b"1 +1:2", "index of '+1:2' is not an integer"),
    (b"1 1.5:2", "index of '1.5:2' is not an integer"),
    (b"1 :2", "index of ':2' is not an integer"),
    (b"1 a:2", "index of 'a:2' is not an integer"),
    (b"1 9223372036854775808:2", f"index of '9223372036854775808:2' is above {LARGEST_ID}, the largest that fits"),
    (b"1 99999999999999999999999999:2", "index of '99999999999999999999999999:2' is above"),
    (b"1 1:", "value of '1:' is not a number"),
    (b"1 1: 2", "value of '1:' is not a number"),
    (b"1 1:#2", "value of '1:' is not a number"),
    (b"1 1:x", "value of '1:x' is not a number"),
    (b"1 1:2x", "value of '1:2x' is not a number"),
    (b"1 1:2:3", "value of '1:2:3' is not a number"),
    (b"1 1:1_0", "value of '1:1_0' is not a number"),
    (b"1 1:.", "value of '1:.' is not a number"),
    (b"1 1:1e+", "value of '1:1e+' is not a number"),
    (b"1 1:--1", "value of '1:--1' is not a number"),
    (b"1 1:1,5", "value of '1:1,5' is not a number"),
    (b"1 1:NaN", "value of '1:NaN' is not finite; replace it, leave it out, or pass ensure_all_finite=False"),
    (b"1 1:-Infinity", "value of '1:-Infinity' is not finite"),
    (b"1 1:1e999", "value of '1:1e999' overflows float64; rescale it, or pass ensure_all_finite=False"),
    (b"1 1:1e39", "value of '1:1e39' overflows float32; rescale it, or pass dtype=np.float64"),
    (b"1 1:2 1:3", "feature 1 occurs twice, as '1:2' and '1:3'; keep one"),
    (b"1 qid:7 7:1 2:2 07:3 # 7:4", "feature 7 occurs twice, as '7:1' and '07:3'; keep one"),
    (b"1 qid:x 1:2", "query id 'qid:x' is no qid:N with an integer N; correct it or leave it out"),
    (b"1 qid:1.5 1:2", "query id 'qid:1.5' is no qid:N"),
    (b"1 1:2 qid:3", "query id 'qid:3' is no qid:N"),
    (b"1 1:2\0", r"value of '1:2\x00' is not a number"),
    (b"\0", r"label '\x00' is not a number"),
    (b"\xff\xfe1\0 1:2", r"label '\\xff\\xfe1\x00' is not a number"),
    ("½ 1:2".encode(), "label '½' is not a number"),
    ("1 ٣:2".encode(), "index of '٣:2' is not an integer"),
    (b"y" * 5000, "label '" + "y" * 57 + "...' is not a number"),
]


@pytest.mark.parametrize(("line", "message"), FAULTS, ids=[repr(line[:30]) for line, _ in FAULTS])
@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n1 1:2\n"])
def test_fault(load, line, message, tail):
    with pytest.raises(ValueError, match=re.escape(f"rows.svm, line 4: {message}")):
        load(b"1 1:2\n# comment\n\n" + line + tail)
    assert naive_rows_or_line(b"1 1:2\n# comment\n\n" + line + tail, np.float32) == 4


# Oracles


@pytest.mark.parametrize("name", ["a9a.gz", "a9a.t.gz"])
def test_equals_scikit_learn(name):
    expected, labels = load_svmlight_file(str(DATA / name), dtype=np.float32)
    X, y = load_svmlight(DATA / name)
    assert X.shape == expected.shape
    assert y.tolist() == labels.tolist()
    for a, b in [(X.data, expected.data), (X.indices, expected.indices), (X.indptr, expected.indptr)]:
        np.testing.assert_array_equal(a, b)


def test_bundled_data():
    X, y = load_svmlight(DATA / "a9a.gz")
    assert repr(X) == "CSR(32561 x 123, 451592 stored, float32)"
    assert set(y) == {-1, 1}
    assert load_svmlight(DATA / "a9a.t.gz", n_features=123)[0].shape == (16281, 123)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_text_is_read_or_refused_as_by_the_naive_parser(seed):
    counts = fuzz(3000, seed)
    assert 0.2 < counts["refused"] / counts["inputs"] < 0.8
    assert counts["rows"] > 1000


def test_binary_rubbish():
    rng = np.random.default_rng(0)
    for size in [1, 2, 10, 1000, 100_000]:
        for low, high in [(0, 256), (32, 127), (0, 33), (48, 59)]:
            text = rng.integers(low, high, size).astype(np.uint8).tobytes()
            try:
                parse(text, np.float32)
            except Malformed as error:
                assert 0 <= error.line <= text.count(b"\n")  # noqa: PT017
