# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Text in svmlight / LIBSVM format to arrays.

A line is `label[,label...] [qid:N] {index:value} [# comment]`; one that is blank or all comment holds no row. `parse`
is a pure function of whole lines, so that a file may be read in pieces of any size, in any order and by many threads.
"""

import re
import threading
from collections import namedtuple

import numpy as np

from cython cimport floating
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, strncmp

from .decimal cimport is_digit, parse_digits, parse_number, parse_special

# Ten times this plus any digit is a valid int64 with room for one more: an id and the column count fit.
cdef int64_t LAST_TENTH = 922337203685477579
LARGEST_ID = 10 * LAST_TENTH + 9
LARGEST_KEPT = 1 << 21  # elements: a text longer than a few megabytes is an exception

cdef enum Fault:
    NONE, LABEL, PAIR, TWICE, QUERY

cdef struct Outcome:
    bint multilabel, finite                 # what is asked for: several labels a row; NaN and infinities refused
    int64_t rows, labels, entries, lines
    int64_t low, low_line, high, high_line  # smallest and largest feature id, and the lines that hold them
    Fault fault
    const char* at                          # the label or pair at fault
    int64_t twice                           # the feature id that occurs twice

Chunk = namedtuple("Chunk", "labels counts queries lengths ids values lines low low_line high high_line")
Chunk.__doc__ = """What `parse` found.

Of all rows the labels (float64); of each the number of labels (int64; None unless multilabel), the query id (int64;
None unless asked for) and the number of entries (int64). Of each entry the feature id, as in the text and increasing in
each row (int32 if all fit, else int64), and the value. The number of lines; the smallest and the largest id and the
lines that hold them, counted from 0 (`low > high` if there is no entry).
"""


class Malformed(Exception):
    """A line that is no row: its number, counted from 0, and what is wrong with it."""

    def __init__(self, line, problem):
        super().__init__(line, problem)
        self.line, self.problem = line, problem


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


cdef inline const char* parse_value(const char* p, const char* end, bint finite, double* x) noexcept nogil:
    cdef const char* stop = parse_number(p, end, x)
    if stop == NULL and not finite:
        return parse_special(p, x)
    return stop


cdef const char* parse_pairs(
    const char* p, const char* end, int64_t* ids, floating* values, Py_ssize_t* count, Outcome* out
) noexcept nogil:
    """Read the pairs up to the end of the line or its comment, sorted by id; return that end, or NULL on a fault."""
    cdef const char* start
    cdef Py_ssize_t n = 0, i
    cdef int64_t previous = -1
    cdef uint64_t id
    cdef double value
    cdef bint increasing = True
    p = skip_blanks(p)
    while not ends_line(p, end):
        out.at = start = p
        id = 0
        p = parse_digits(p, end, &id)
        if p - start > 18:
            # It may have wrapped around: once more, with care.
            p = start
            id = 0
            while is_digit(p[0]) and id <= <uint64_t> LAST_TENTH:
                id = 10 * id + <uint64_t> (p[0] - 48)
                p += 1
        if p == start or p[0] != b":":
            out.fault = PAIR
            return NULL
        p = parse_value(p + 1, end, out.finite, &value)
        if p == NULL or not ends_token(p, end) or (out.finite and not isfinite(<floating> value)):
            out.fault = PAIR
            return NULL
        ids[n], values[n] = <int64_t> id, <floating> value
        increasing &= <int64_t> id > previous
        previous = <int64_t> id
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


cdef const char* parse_labels(const char* p, const char* end, double* labels, Outcome* out) noexcept nogil:
    """Read the label, or with multilabel any number of them, commas between; return their end, or NULL on a fault."""
    cdef const char* start = p
    cdef int64_t n = 0
    out.at = p
    out.fault = LABEL
    if out.multilabel and strncmp(p, b"qid:", 4) == 0:
        out.fault = NONE
        return p
    while True:
        p = parse_value(p, end, out.finite, labels + n)
        if p == NULL or (out.finite and not isfinite(labels[n])):
            return NULL
        n += 1
        if not out.multilabel or p[0] != b",":
            break
        p += 1
    if out.multilabel and n == 1 and p[0] == b":":
        # A pair: the row has no labels.
        n = 0
        p = start
    elif not ends_token(p, end):
        return NULL
    out.labels += n
    out.fault = NONE
    return p


cdef const char* parse_query(const char* p, const char* end, int64_t* query, Outcome* out) noexcept nogil:
    """Read the `qid:N` that may be here, and must if `query` is not NULL; return its end, or NULL on a fault."""
    cdef const char* start
    cdef int64_t id = 0
    p = skip_blanks(p)
    out.at = p
    if strncmp(p, b"qid:", 4) != 0:
        if query == NULL:
            return p
        out.fault = QUERY
        return NULL
    start = p = p + 4
    while is_digit(p[0]):
        if id > LAST_TENTH and query != NULL:
            out.fault = QUERY
            return NULL
        id = <int64_t> (10 * <uint64_t> id + <uint64_t> (p[0] - 48))
        p += 1
    if p == start or not ends_token(p, end):
        out.fault = PAIR
        return NULL
    if query != NULL:
        query[0] = id
    return p


cdef void parse_lines(
    const char* p, const char* end, double* labels, int64_t* counts, int64_t* queries, int64_t* lengths,
    int64_t* ids, floating* values, Outcome* out
) noexcept nogil:
    """Read all lines, or up to the first fault. `queries` is NULL if none are asked for."""
    cdef Py_ssize_t n = 0
    while p < end:
        out.lines += 1
        p = skip_blanks(p)
        if not ends_line(p, end):
            n = out.labels
            p = parse_labels(p, end, labels + n, out)
            if p == NULL:
                return
            counts[out.rows] = out.labels - n
            p = parse_query(p, end, queries + out.rows if queries != NULL else NULL, out)
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


class Room(threading.local):
    """Arrays to parse into, kept from text to text: memory new to the process costs as much as parsing into it.

    Each thread that parses in a room has arrays of its own there, until it ends or the room does.
    """

    def __init__(self):
        self.arrays = {}

    def array(self, name, size, dtype):
        """An array of that size at least, which the next call of that name may give out again."""
        if size > LARGEST_KEPT:
            return np.empty(size, dtype)
        kept = self.arrays.get(name)
        if kept is None or kept.size < size or kept.dtype != dtype:
            kept = self.arrays[name] = np.empty(size, dtype)
        return kept


def parse(bytes text, dtype, bint multilabel=False, bint query_id=False, bint finite=True, room=None):
    """Parse whole lines of svmlight text.

    Parameters
    ----------
    text : bytes
        Whole lines; only the last may lack its newline.
    dtype : type
        numpy.float32 or numpy.float64, the type of the values.
    multilabel : bool
        Whether a row has any number of labels, commas between, instead of one.
    query_id : bool
        Whether the query ids are wanted; every row must have one then.
    finite : bool
        Whether NaN, infinities and numbers too large for their type are faults.
    room : Room, optional
        To work in; a new one by default.

    Returns
    -------
    Chunk
        See its docstring. Lines are counted from 0.

    Raises
    ------
    Malformed
        At the first malformed line, with its number, the text at fault and what to do.
    """
    cdef const char* start = text
    cdef const char* end = start + len(text)
    cdef Outcome out
    # The shortest rows are of 2 characters, the shortest labels of 2 and the shortest pairs of 4, separators included.
    cdef Py_ssize_t rows = len(text) // 2 + 1, entries = len(text) // 4 + 1
    room = Room() if room is None else room
    cdef double[::1] labels = room.array("labels", rows, np.float64)
    cdef int64_t[::1] counts = room.array("counts", rows, np.int64)
    cdef int64_t[::1] lengths = room.array("lengths", rows, np.int64)
    cdef int64_t[::1] queries = room.array("queries", rows if query_id else 1, np.int64)
    cdef int64_t* asked = &queries[0] if query_id else NULL
    cdef int64_t[::1] ids = room.array("ids", entries, np.int64)
    cdef float[::1] single
    cdef double[::1] double_
    out = Outcome(multilabel=multilabel, finite=finite, rows=0, labels=0, entries=0, lines=0, low=LARGEST_ID,
                  low_line=0, high=-1, high_line=0, fault=NONE, at=start, twice=0)
    values = room.array("values", entries, dtype)
    if dtype == np.float32:
        single = values
        with nogil:
            parse_lines(start, end, &labels[0], &counts[0], asked, &lengths[0], &ids[0], &single[0], &out)
    else:
        double_ = values
        with nogil:
            parse_lines(start, end, &labels[0], &counts[0], asked, &lengths[0], &ids[0], &double_[0], &out)
    if out.fault != NONE:
        raise Malformed(out.lines - 1, _explain(text, out.at - start, out.fault, out.twice, dtype))
    # Copies: the room is for the next text.
    return Chunk(
        np.array(labels[:out.labels]),
        np.array(counts[:out.rows]) if multilabel else None,
        np.array(queries[:out.rows]) if query_id else None,
        np.array(lengths[:out.rows]),
        np.array(ids[:out.entries], np.int32 if out.high <= 0x7FFFFFFF else np.int64),
        values[:out.entries].copy(),
        out.lines, out.low, out.low_line - 1, out.high, out.high_line - 1,
    )


def _explain(text, at, fault, twice, dtype):
    if fault == TWICE:
        return _explain_twice(text[text.rfind(b"\n", 0, at) + 1:].partition(b"\n")[0], twice)
    token = re.compile(rb"[^\s#]*").match(text, at)[0]
    if fault == QUERY:
        return _explain_query(token)
    return _explain_label(token) if fault == LABEL else _explain_pair(token, dtype)


def _quote(token):
    text = token.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _explain_label(token):
    if b":" in token:
        return f"no label before {_quote(token)}; a row is `label index:value index:value ...`"
    if b"," in token:
        return f"label {_quote(token)} is not one number; several, commas between, need multilabel=True"
    return f"label {_quote(token)} {_explain_number(token, np.float64)}"


def _explain_query(token):
    if token.startswith(b"qid:"):
        return f"query id {_quote(token)} is above {LARGEST_ID}, the largest that fits; renumber the queries"
    where = f"before {_quote(token)}" if token else "in this row"
    return f"no qid:N {where}; query_id=True needs one in each row"


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
    if re.search(rb"\d", token):
        return "overflows float64; rescale it, or pass ensure_all_finite=False to read it as an infinity"
    return "is not finite; replace it, leave it out, or pass ensure_all_finite=False"


def _explain_twice(line, id):
    pairs = (token.partition(b":") for token in line.partition(b"#")[0].split())
    first, second, *_ = (b"".join(pair) for pair in pairs if pair[1] and pair[0] != b"qid" and int(pair[0]) == id)
    return f"feature {id} occurs twice, as {_quote(first)} and {_quote(second)}; keep one"
