# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Text in svmlight / LIBSVM format to arrays.

A line is `label [qid:N] {index:value} [# comment]`; one that is blank or all comment holds no row. `parse`
is a pure function of whole lines, so that a file may be read in pieces of any size and in any order.
"""

import re
from collections import namedtuple

import numpy as np

from cpython.conversion cimport PyOS_string_to_double
from cython cimport floating
from libc.math cimport NAN, isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, strncmp

# 10^k is exact in a double up to k = 22, and so is an integer up to 2^53.
cdef double[23] TEN = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22]
cdef uint64_t EXACT = 1 << 53

# Ten times this plus any digit is a valid int64 with room for one more: an id and the column count fit.
cdef int64_t LAST_TENTH = 922337203685477579
LARGEST_ID = 10 * LAST_TENTH + 9

cdef enum Fault:
    NONE, LABEL, PAIR, TWICE

cdef struct Outcome:
    int64_t rows, entries, lines
    int64_t low, low_line, high, high_line  # smallest and largest feature id, and the lines that hold them
    Fault fault
    const char* at                          # the label or pair at fault
    int64_t twice                           # the feature id that occurs twice

Chunk = namedtuple("Chunk", "labels lengths ids values lines low low_line high high_line")
Chunk.__doc__ = """What `parse` found: each row's label (float64) and number of entries (int64); each entry's feature id
(int64, as in the text, increasing in each row) and value; the number of lines; the smallest and largest id and the
lines that hold them (`low > high` if there is no entry)."""


cdef inline bint is_digit(char c) noexcept nogil:
    return b"0" <= c <= b"9"


cdef inline bint is_blank(char c) noexcept nogil:
    return c == b" " or (b"\t" <= c <= b"\r" and c != b"\n")


cdef inline bint ends_line(const char* p, const char* end) noexcept nogil:
    return p[0] == b"\n" or p[0] == b"#" or p == end


cdef inline bint ends_token(const char* p, const char* end) noexcept nogil:
    return is_blank(p[0]) or ends_line(p, end)


cdef inline const char* skip_blanks(const char* p) noexcept nogil:
    while is_blank(p[0]):
        p += 1
    return p


cdef double convert(const char* p) noexcept with gil:
    """Correctly rounded, whatever the locale; infinity on overflow."""
    cdef char* end
    try:
        return PyOS_string_to_double(p, &end, NULL)
    except Exception:  # more digits than memory holds
        return NAN


cdef inline const char* parse_number(const char* p, double* x) noexcept nogil:
    """Read [+-]digits[.digits][e[+-]digits]; return its end, or NULL if p is at no finite number."""
    cdef const char* start = p
    cdef const char* mark
    cdef uint64_t mantissa = 0
    cdef int64_t digits, scale = 0, exponent = 0
    cdef bint negative = p[0] == b"-", shrinks
    if negative or p[0] == b"+":
        p += 1
    mark = p
    while is_digit(p[0]):
        mantissa = 10 * mantissa + <uint64_t> (p[0] - 48)
        p += 1
    digits = p - mark
    if p[0] == b".":
        p += 1
        mark = p
        while is_digit(p[0]):
            mantissa = 10 * mantissa + <uint64_t> (p[0] - 48)
            p += 1
        scale = mark - p
        digits -= scale
    if digits == 0:
        return NULL
    if p[0] == b"e" or p[0] == b"E":
        p += 1
        shrinks = p[0] == b"-"
        if shrinks or p[0] == b"+":
            p += 1
        if not is_digit(p[0]):
            return NULL
        while is_digit(p[0]):
            exponent = min(10 * exponent + (p[0] - 48), 1000000)
            p += 1
        scale += -exponent if shrinks else exponent
    if digits > 19 or mantissa > EXACT or scale < -22 or scale > 22:
        x[0] = convert(start)
        return p if isfinite(x[0]) else NULL
    # One rounding of two exact operands (Clinger 1990).
    x[0] = <double> mantissa / TEN[-scale] if scale < 0 else <double> mantissa * TEN[scale]
    if negative:
        x[0] = -x[0]
    return p


cdef void sort_row(int64_t* ids, floating* values, Py_ssize_t n) noexcept nogil:
    """Shell's sort with Knuth's gaps: in place, O(n^1.5) at worst."""
    cdef Py_ssize_t gap = 1, i, j
    cdef int64_t id
    cdef floating value
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            id, value = ids[i], values[i]
            j = i
            while j >= gap and ids[j - gap] > id:
                ids[j], values[j] = ids[j - gap], values[j - gap]
                j -= gap
            ids[j], values[j] = id, value
        gap //= 3


cdef const char* parse_pairs(
    const char* p, const char* end, int64_t* ids, floating* values, Py_ssize_t* count, Outcome* out
) noexcept nogil:
    """Read the pairs up to the end of the line or its comment, sorted by id; return that end, or NULL on a fault."""
    cdef const char* start
    cdef Py_ssize_t n = 0, i
    cdef int64_t id, previous = -1
    cdef double value
    cdef bint increasing = True
    p = skip_blanks(p)
    while not ends_line(p, end):
        out.at = start = p
        id = 0
        while is_digit(p[0]) and id <= LAST_TENTH:
            id = 10 * id + (p[0] - 48)
            p += 1
        if p == start or p[0] != b":":
            out.fault = PAIR
            return NULL
        p = parse_number(p + 1, &value)
        if p == NULL or not ends_token(p, end) or not isfinite(<floating> value):
            out.fault = PAIR
            return NULL
        ids[n], values[n] = id, <floating> value
        increasing &= id > previous
        previous = id
        n += 1
        p = skip_blanks(p)
    if not increasing:
        sort_row(ids, values, n)
        for i in range(1, n):
            if ids[i] == ids[i - 1]:
                out.fault, out.twice = TWICE, ids[i]
                return NULL
    count[0] = n
    return p


cdef const char* parse_label(const char* p, const char* end, double* label, Outcome* out) noexcept nogil:
    """Read the label and a `qid:N` that may follow; return their end, or NULL on a fault."""
    out.at = p
    out.fault = LABEL
    p = parse_number(p, label)
    if p == NULL or not ends_token(p, end):
        return NULL
    p = skip_blanks(p)
    if strncmp(p, b"qid:", 4) == 0:
        out.at = p
        out.fault = PAIR
        p += 4
        if not is_digit(p[0]):
            return NULL
        while is_digit(p[0]):
            p += 1
        if not ends_token(p, end):
            return NULL
    out.fault = NONE
    return p


cdef void parse_lines(
    const char* p, const char* end, double* labels, int64_t* lengths, int64_t* ids, floating* values, Outcome* out
) noexcept nogil:
    cdef Py_ssize_t n = 0
    while p < end:
        out.lines += 1
        p = skip_blanks(p)
        if not ends_line(p, end):
            p = parse_label(p, end, labels + out.rows, out)
            if p == NULL:
                return
            p = parse_pairs(p, end, ids + out.entries, values + out.entries, &n, out)
            if p == NULL:
                return
            lengths[out.rows] = n
            out.rows += 1
            if n > 0:
                if ids[out.entries] < out.low:
                    out.low, out.low_line = ids[out.entries], out.lines
                out.entries += n
                if ids[out.entries - 1] > out.high:
                    out.high, out.high_line = ids[out.entries - 1], out.lines
        p = <const char*> memchr(p, b"\n", end - p)
        if p == NULL:
            return
        p += 1


def parse(bytes text, dtype, str name="<text>", first_line=1):
    """Parse whole lines of svmlight text.

    Parameters
    ----------
    text : bytes
        Whole lines; only the last may lack its newline.
    dtype : type
        numpy.float32 or numpy.float64, the type of the values.
    name, first_line : str, int
        What error messages call the text, and the number of its first line.

    Returns
    -------
    Chunk
        See its docstring.

    Raises
    ------
    ValueError
        At the first malformed line, with its number, the text at fault and what to do.
    """
    cdef const char* start = text
    cdef const char* end = start + len(text)
    cdef Outcome out
    cdef Py_ssize_t rows = text.count(b"\n") + 1, entries = text.count(b":") + 1  # upper bounds, never 0
    cdef double[::1] labels = np.empty(rows)
    cdef int64_t[::1] lengths = np.empty(rows, np.int64)
    cdef int64_t[::1] ids = np.empty(entries, np.int64)
    cdef float[::1] single
    cdef double[::1] double_
    out = Outcome(rows=0, entries=0, lines=0, low=LARGEST_ID, low_line=0, high=-1, high_line=0, fault=NONE, at=start,
                  twice=0)
    values = np.empty(entries, dtype)
    if dtype == np.float32:
        single = values
        with nogil:
            parse_lines(start, end, &labels[0], &lengths[0], &ids[0], &single[0], &out)
    else:
        double_ = values
        with nogil:
            parse_lines(start, end, &labels[0], &lengths[0], &ids[0], &double_[0], &out)
    if out.fault != NONE:
        problem = _explain(text, out.at - start, out.fault, out.twice, dtype)
        raise ValueError(f"{name}, line {first_line + out.lines - 1}: {problem}")
    return Chunk(
        np.asarray(labels)[:out.rows], np.asarray(lengths)[:out.rows],
        np.asarray(ids)[:out.entries], values[:out.entries], out.lines,
        out.low, first_line + out.low_line - 1, out.high, first_line + out.high_line - 1,
    )


def _explain(text, at, fault, twice, dtype):
    if fault == TWICE:
        return _explain_twice(text[text.rfind(b"\n", 0, at) + 1:].partition(b"\n")[0], twice)
    token = re.compile(rb"[^\s#]*").match(text, at)[0]
    return _explain_label(token) if fault == LABEL else _explain_pair(token, dtype)


def _quote(token):
    text = token.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _explain_label(token):
    if b":" in token:
        return f"no label before {_quote(token)}; a row is `label index:value index:value ...`"
    if b"," in token:
        return f"label {_quote(token)} lists several; multilabel data is not supported yet, keep one number a row"
    return f"label {_quote(token)} {_explain_number(token, np.float64)}"


def _explain_pair(token, dtype):
    index, colon, value = token.partition(b":")
    if index == b"qid":
        return f"query id {_quote(token)} is no qid:N with an integer N; correct it or leave it out"
    if not colon:
        return f"expected index:value, found {_quote(token)}; colon between the two, space between pairs"
    if not index.isdigit():
        return f"index of {_quote(token)} is not an integer of 0 or more; renumber the features"
    if len(index) > 4000 or int(index) > LARGEST_ID:  # int() has a limit on digits
        return f"index of {_quote(token)} is above {LARGEST_ID}, the largest that fits; renumber the features"
    return f"value of {_quote(token)} {_explain_number(value, dtype)}"


def _explain_number(token, dtype):
    try:
        size = abs(float(token))
    except ValueError:
        size = 0.0
    if size <= float(np.finfo(dtype).max):  # float() takes more than numbers: 1_000
        return "is not a number; write it like 3, -0.5 or 1e-3"
    if size < np.inf:
        return f"overflows {np.dtype(dtype).name}; rescale it, or pass dtype=np.float64"
    return "overflows float64; rescale it" if re.search(rb"\d", token) else "is not finite; replace it or leave it out"


def _explain_twice(line, id):
    first, second, *_ = (pair for pair in line.partition(b"#")[0].split()[1:]
                         if not pair.startswith(b"qid") and int(pair.partition(b":")[0]) == id)
    return f"feature {id} occurs twice, as {_quote(first)} and {_quote(second)}; keep one"
