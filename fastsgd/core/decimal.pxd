# cython: cdivision=True
"""Decimal text to doubles and back, correctly rounded, whatever the locale. The common cases are inline, here."""

from libc.stdint cimport int64_t, uint64_t


cdef extern from "words.h" nogil:
    ctypedef struct wide_t:
        uint64_t high, low
    wide_t multiply(uint64_t a, uint64_t b)
    int trailing_zeros(uint64_t x)
    int leading_zeros(uint64_t x)
    uint64_t load_word(const char* p)


cdef enum:
    LONGEST = 25  # characters that write_number may need

# 10^k is exact in a double up to k = 22, and so is an integer up to 2^53.
cdef extern from *:
    """
    static const double TEN[23] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    static const uint64_t WHOLE_TEN[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    """
    const double* TEN
    const uint64_t* WHOLE_TEN


cdef const char* parse_special(const char* p, double* x) noexcept nogil
cdef double parse_hard(const char* p, uint64_t mantissa, int64_t digits, int64_t scale) noexcept nogil
cdef char* write_number(char* p, double x, bint single) noexcept nogil
cdef char* write_integer(char* p, uint64_t n) noexcept nogil


cdef inline bint is_digit(char c) noexcept nogil:
    return b"0" <= c <= b"9"


cdef inline const char* parse_digits(const char* p, const char* end, uint64_t* number) noexcept nogil:
    """Append the digits at p to the number, modulo 2^64; return their end. Up to 8 at a time, without a loop."""
    cdef uint64_t word, others
    cdef int n
    while end - p >= 8:
        word = load_word(p) ^ 0x3030303030303030ULL
        # The lowest bit set marks the first byte that is more than 9.
        others = (word | (word + 0x7676767676767676ULL)) & 0x8080808080808080ULL
        n = trailing_zeros(others) >> 3 if others != 0 else 8
        if n == 0:
            return p
        # The digits move up, zeros come in below; then neighbours merge into numbers of 2, 4, 8 digits.
        word <<= 64 - 8 * n
        word = (word * 2561) >> 8
        word = ((word & 0x00FF00FF00FF00FFULL) * 6553601) >> 16
        word = ((word & 0x0000FFFF0000FFFFULL) * 42949672960001ULL) >> 32
        number[0] = number[0] * WHOLE_TEN[n] + word
        p += n
        if n < 8:
            return p
    while is_digit(p[0]):
        number[0] = 10 * number[0] + <uint64_t> (p[0] - 48)
        p += 1
    return p


cdef inline const char* parse_number(const char* p, const char* end, double* x) noexcept nogil:
    """Read [+-]digits[.digits][e[+-]digits], which something else must follow at `end`.

    Returns its end, or NULL if p is at no such number; infinity on overflow.
    """
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
        mark = p + 1
        p = parse_digits(mark, end, &mantissa)
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
            exponent = min(10 * exponent + (p[0] - 48), 1LL << 58)
            p += 1
        scale += -exponent if shrinks else exponent
    if digits <= 19 and mantissa <= 1ULL << 53 and -22 <= scale <= 22:
        # One rounding of two exact operands (Clinger 1990).
        x[0] = <double> mantissa / TEN[-scale] if scale < 0 else <double> mantissa * TEN[scale]
    else:
        x[0] = parse_hard(start, mantissa, digits, scale)
    if negative:
        x[0] = -x[0]
    return p
