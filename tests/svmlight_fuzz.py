"""A plain Python reader of svmlight text, and mutated texts that `parse` and `load_svmlight` must read as it does.

By hand, for as long as one likes: python tests/svmlight_fuzz.py [INPUTS] [SEED]
"""

import io
import random
import re
import sys
from unittest.mock import patch

import numpy as np

from fastsgd import _blocks, dump_svmlight, load_svmlight
from fastsgd.core.svmlight import LARGEST_ID, Malformed, parse

NUMBER = rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
NOT_FINITE = rb"[+-]?(?i:nan|inf|infinity)"

SEEDS = [
    b"1 1:0.5 3:4e2\n-1 2:1 # comment\n\n+1 qid:4 7:.25 5:-1.5\r\n",
    b"3\t9:123456789012345678901\n1.5 1:1 2:2 3:3 4:4 5:5\n# 1:1\n0 2147483648:1",
    b"-1 4:9007199254740993 2:1e-310 3:0\n2 10:1\n",
    b"1,2 qid:7 3:1.0000000000000002e-5\n 2:5\nqid:9 1:0.30000000000000004 12345678:-7 87654321:1.17549435e-38\n",
    b"0 qid:1 1:nan 2:inf\n1 qid:2 3:-Infinity\r\n2 qid:3 0:1 123456789012345678:100000000.12345678",
]
SPICE = [
    *rb" \n : # \0 \r \t e - + . 0 9 1: qid: nan inf 1e39 1e999 \xff , 99999999999999999999 _ 2.5 12345678".split(),
    *rb"9223372036854775799 0.000000000000000001 5e-324 qid:3 1e-45 3.4028235677973366e38 0000000000000000000".split(),
]
SPICE = [token.decode("unicode_escape").encode("latin-1") for token in SPICE] + [
    b" ",
    b" 1:2",
    b"\n1 1:1",
    b"\n1 qid:2 ",
]


class Refused(Exception):
    """The number of the line that is no row."""


def naive(text, dtype=np.float64, multilabel=False, query_id=False, finite=True):
    """The format in plain Python: per row (labels, query id, pairs sorted by id)."""
    number = NUMBER if finite else rb"(?:%s|%s)" % (NUMBER, NOT_FINITE)
    rows = []
    for line_number, line in enumerate(text.split(b"\n"), 1):
        tokens = re.findall(rb"[^ \t\r\v\f]+", line.partition(b"#")[0])
        if not tokens:
            continue
        try:
            labels = []
            if not (multilabel and b":" in tokens[0]):
                words = tokens.pop(0).split(b",") if multilabel else [tokens.pop(0)]
                labels = [value(word, number, finite, np.float64) for word in words]
            query = None
            if tokens and re.fullmatch(rb"qid:\d+", tokens[0]):
                query = int(tokens.pop(0)[4:])
            if query_id and (query is None or query > LARGEST_ID):
                raise ValueError
            row = {}
            for token in tokens:
                id, pair_value = re.fullmatch(rb"(\d+):(.+)", token, re.S).groups()
                if int(id) > LARGEST_ID or int(id) in row:
                    raise ValueError
                row[int(id)] = value(pair_value, number, finite, dtype)
        except (AttributeError, ValueError):
            raise Refused(line_number) from None
        rows.append((labels, query if query_id else None, sorted(row.items())))
    return rows


def value(word, number, finite, dtype):
    if not re.fullmatch(number, word):
        raise ValueError
    with np.errstate(over="ignore"):
        x = dtype(float(word))
    if finite and not np.isfinite(x):
        raise ValueError
    return bits(x)


def bits(x):
    """A number that compares as the bits do, but for the sign of what is no number."""
    return x.tobytes().hex() if not np.isnan(x) else f"nan{np.signbit(x)}"


def as_rows(labels, counts, queries, lengths, ids, values):
    """The same rows from arrays."""
    labels, ids, values = [bits(y) for y in labels], ids.tolist(), [bits(x) for x in values]
    n = len(lengths)
    label_ends = np.cumsum(np.ones(n, int) if counts is None else counts)
    ends = np.cumsum(lengths)
    starts, label_starts = (np.r_[0, array[:-1]] if n else array for array in (ends, label_ends))
    return [
        (labels[a:b], None if queries is None else int(queries[i]), list(zip(ids[c:d], values[c:d], strict=True)))
        for i, (a, b, c, d) in enumerate(zip(label_starts, label_ends, starts, ends, strict=True))
    ]


def parsed(text, dtype=np.float64, **options):
    return as_rows(*parse(text, dtype, **options)[:6])


def rows_or_line(text, dtype=np.float64, **options):
    """What `parse` reads, or the number of the line that it refuses."""
    try:
        return parsed(text, dtype, **options)
    except Malformed as error:
        return error.line + 1


def naive_rows_or_line(text, dtype=np.float64, **options):
    try:
        return naive(text, dtype, **options)
    except Refused as error:
        return error.args[0]


def mutated(rng):
    text = bytearray(rng.choice(SEEDS))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 5))):
        at = rng.randint(0, len(text))
        match rng.randint(0, 4):
            case 0:
                text[at : at + rng.randint(1, 4)] = b""
            case 1:
                text[at:at] = rng.choice(SPICE)
            case 2:
                text[at : at + 1] = bytes([rng.randint(0, 255)])
            case 3:
                text[at:at] = text[at : at + rng.randint(1, 12)]
            case 4:
                text[at:at] = b"%d" % rng.getrandbits(rng.choice((4, 40, 70)))
    return bytes(text)


def check_load(text, dtype, expected, rng, multilabel, query_id, finite):
    """`load_svmlight` in blocks of any size, by any number of threads; then `dump_svmlight` and back."""
    options = {"dtype": dtype, "multilabel": multilabel, "query_id": query_id, "ensure_all_finite": finite}
    try:
        with patch.object(_blocks, "BLOCK", rng.choice((1, 3, 10, 30, 1 << 20))):
            X, y, *queries = load_svmlight(
                io.BytesIO(text), zero_based=True, n_jobs=rng.choice((1, 1, 1, 2)), **options
            )
    except ValueError as error:
        said = "no rows" if expected == [] else f"line {expected}: "
        assert said in str(error), text  # noqa: PT017
        return
    counts = [len(labels) for labels in y] if multilabel else None
    flat = np.array([label for labels in y for label in labels]) if multilabel else y
    found = as_rows(flat, counts, queries[0] if queries else None, np.diff(X.indptr), X.indices, X.data)
    if multilabel:  # load_svmlight sorts them
        found, expected = ([(sorted(row[0]), *row[1:]) for row in rows] for rows in (found, expected))
    assert found == expected, text
    file = io.BytesIO()
    writing = {"multilabel": multilabel, "query_id": queries[0] if queries else None, "ensure_all_finite": finite}
    if not queries and any(labels == [] and pairs == [] for labels, _, pairs in found):
        return  # a query id was all that the row had
    dump_svmlight(X, y, file, zero_based=True, **writing)
    Z, z, *_ = load_svmlight(io.BytesIO(file.getvalue()), zero_based=True, n_features=max(X.shape[1], 1), **options)
    assert Z.data.tobytes() == X.data.tobytes(), text
    assert (Z.indices.tolist(), Z.indptr.tolist(), repr(z)) == (X.indices.tolist(), X.indptr.tolist(), repr(y)), text


def fuzz(inputs, seed):
    """Counts of what was tried; an AssertionError at the first text that is read differently."""
    rng = random.Random(seed)
    counts = dict.fromkeys(("inputs", "rows", "refused", "loaded"), 0)
    for i in range(inputs):
        text, dtype = mutated(rng), rng.choice((np.float32, np.float64))
        options = {"multilabel": rng.random() < 0.5, "query_id": rng.random() < 0.1, "finite": rng.random() < 0.4}
        expected = naive_rows_or_line(text, dtype, **options)
        assert rows_or_line(text, dtype, **options) == expected, (text, dtype, options)
        refused = isinstance(expected, int)
        counts["inputs"] += 1
        counts["refused"] += refused
        counts["rows"] += 0 if refused else len(expected)
        if i % 10 == 0:
            check_load(text, dtype, expected, rng, *options.values())
            counts["loaded"] += 1
    return counts


if __name__ == "__main__":
    print(fuzz(*(int(word) for word in (*sys.argv[1:], 1_000_000, 0)[:2])))
