# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The uncommon cases of decimal.pxd, and doubles to text."""

from cpython.conversion cimport PyOS_string_to_double
from libc.math cimport INFINITY, NAN, copysign, fabs, isinf, isnan
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

cdef enum:
    LOWEST = -342
    HIGHEST = 324

# 10^k = TENS[k - LOWEST] 2^(binade(k) - 127), rounded up to 128 bits of which the highest is set.
cdef wide_t[HIGHEST - LOWEST + 1] TENS


cdef inline int binade(int k) noexcept nogil:
    """floor(log2(10^k)) for |k| <= 1233."""
    return (k * 1741647) >> 19


def _fill():
    cdef object power, shift
    for k in range(LOWEST, HIGHEST + 1):
        power = 10 ** abs(k)
        shift = 127 - binade(k)
        if k < 0:
            power = -(-(1 << shift) // power)
        else:
            power = power << shift if shift >= 0 else -(-power >> -shift)
        TENS[k - LOWEST] = wide_t(high=power >> 64, low=power & 0xFFFFFFFFFFFFFFFF)


_fill()


cdef const char* parse_special(const char* p, double* x) noexcept nogil:
    """Read [+-]nan, inf or infinity in upper or lower case; return its end, or NULL."""
    cdef double sign = -1 if p[0] == b"-" else 1
    if p[0] == b"-" or p[0] == b"+":
        p += 1
    cdef int n = count_common(p, b"infinity")
    if n >= 3:
        x[0] = sign * INFINITY
        return p + (8 if n == 8 else 3)
    if count_common(p, b"nan") == 3:
        x[0] = copysign(NAN, sign)
        return p + 3
    return NULL


cdef int count_common(const char* p, const char* lower) noexcept nogil:
    cdef int n = 0
    while lower[n] != 0 and (p[n] | 32) == lower[n]:
        n += 1
    return n


cdef double convert(const char* p) noexcept with gil:
    """The number at p, as Python's float() reads it."""
    cdef char* end
    try:
        return fabs(PyOS_string_to_double(p, &end, NULL))
    except Exception:  # more digits than memory holds
        return NAN


cdef double parse_hard(const char* p, uint64_t mantissa, int64_t digits, int64_t scale) noexcept nogil:
    """The absolute value of the number at p, found to be `mantissa` 10^`scale` if it has at most 19 digits."""
    cdef double x, above
    cdef bint exact = True
    cdef const char* start = p
    if digits > 19:
        # Of more digits than fit, take 19; the number is then between that and one more.
        mantissa, digits = 0, 0
        while is_digit(p[0]) or p[0] == b"." or p[0] == b"-" or p[0] == b"+":
            if is_digit(p[0]):
                if digits < 19:
                    mantissa = 10 * mantissa + <uint64_t> (p[0] - 48)
                    digits += mantissa > 0
                else:
                    scale += 1
                    exact &= p[0] == b"0"
            p += 1
    if not scale_up(mantissa, scale, &x):
        return convert(start)
    if not exact and not (scale_up(mantissa + 1, scale, &above) and x == above):
        return convert(start)
    return x


cdef bint scale_up(uint64_t w, int64_t k, double* x) noexcept nogil:
    """x = w 10^k, correctly rounded; False if that is subnormal, too large or too near the middle of two doubles.

    After Lemire, Number parsing at a gigabyte per second (2021), but with 10^k rounded up: w 10^k lies within one unit
    of the 128-bit product below, so only a remainder of exactly one half leaves the rounding open.
    """
    cdef wide_t ten, product
    cdef uint64_t low, high, rest, half, bits
    cdef int shift, top
    cdef int64_t exponent
    if w == 0:
        x[0] = 0
        return True
    if k < LOWEST or k > HIGHEST:
        return False
    shift = leading_zeros(w)
    w <<= shift
    ten = TENS[k - LOWEST]
    product = multiply(w, ten.high)
    low = product.low + multiply(w, ten.low).high
    high = product.high + (low < product.low)
    top = high >> 63
    exponent = 1086 + top + binade(<int> k) - shift
    if exponent < 1 or exponent > 2045:
        return False
    rest = high & ((1ULL << (10 + top)) - 1)
    half = 1ULL << (9 + top)
    if rest == half and low == 0:
        return False
    # The highest bit of the 53, and a carry out of them, add to the exponent.
    bits = (high >> (10 + top)) + (rest >= half) + (<uint64_t> (exponent - 1) << 52)
    memcpy(x, &bits, 8)
    return True


cdef inline uint64_t round_to_odd(wide_t ten, uint64_t n) noexcept nogil:
    """floor(ten n / 2^128), its last bit set if that is not exact."""
    cdef wide_t upper = multiply(ten.high, n)
    cdef uint64_t low = upper.low + multiply(ten.low, n).high
    return (upper.high + (low < upper.low)) | (low > 1)


cdef uint64_t shorten(uint64_t c, int q, bint lowest, int* scale) noexcept nogil:
    """The shortest decimal, and of those the nearest, that rounds to c 2^q: the number to multiply by 10^scale.

    `lowest`: the next number below is half as far away as the next above. After Giulietti, The Schubfach way to render
    doubles (2020), whose intervals hold their ends if c is even.
    """
    cdef int k = (q * 1262611 - (524031 if lowest else 0)) >> 22  # floor(log10(2^q)), or of 3/4 of it
    cdef int h = q + binade(-k) + 1
    cdef wide_t ten = TENS[-k - LOWEST]
    cdef uint64_t lower = round_to_odd(ten, (4 * c - 2 + lowest) << h) + (c & 1)
    cdef uint64_t middle = round_to_odd(ten, (4 * c) << h)
    cdef uint64_t upper = round_to_odd(ten, (4 * c + 2) << h) - (c & 1)
    cdef uint64_t s = middle >> 2, t = s // 10
    cdef bint down, up
    scale[0] = k
    if s >= 10:
        down, up = lower <= 40 * t, 40 * t + 40 <= upper
        if down != up:
            scale[0] = k + 1
            return t + <uint64_t> up
    down, up = lower <= 4 * s, 4 * s + 4 <= upper
    if down != up:
        return s + <uint64_t> up
    return s + <uint64_t> (middle + (s & 1) > 4 * s + 2)


cdef char* write_integer(char* p, uint64_t n) noexcept nogil:
    cdef char[20] digits
    cdef int i = 20
    while True:
        i -= 1
        digits[i] = 48 + n % 10
        n //= 10
        if n == 0:
            break
    memcpy(p, digits + i, 20 - i)
    return p + 20 - i


cdef char* write_number(char* p, double x, bint single) noexcept nogil:
    """Write the shortest decimal that float() and, if `single`, a rounding to float32 bring back to x; return its end.

    x itself is a float32 then. At most LONGEST characters.
    """
    cdef float narrow = <float> x
    cdef uint64_t bits
    cdef uint32_t bits32
    cdef double back = 0
    cdef char* end
    memcpy(&bits, &x, 8)
    if bits >> 63:
        p[0] = b"-"
        p += 1
        x = -x
    if x == 0:
        p[0] = b"0"
        return p + 1
    if isinf(x):
        memcpy(p, <const char*> b"inf", 3)
        return p + 3
    if isnan(x):
        memcpy(p, <const char*> b"nan", 3)
        return p + 3
    if single:
        narrow = <float> x
        memcpy(&bits32, &narrow, 4)
        end = write_binary(p, bits32 & 0x7FFFFF, bits32 >> 23, 23, 150)
        # Rounding twice, to a double and to a float, may miss what rounding once would hit.
        end[0] = 0
        parse_number(p, end, &back)
        if <float> back == narrow:
            return end
        memcpy(&bits, &x, 8)
    return write_binary(p, bits & 0xFFFFFFFFFFFFFULL, bits >> 52 & 0x7FF, 52, 1075)


cdef char* write_binary(char* p, uint64_t fraction, int exponent, int width, int bias) noexcept nogil:
    """Write (2^width + fraction) 2^(exponent - bias), or the subnormal if exponent is 0; not 0."""
    cdef int scale, n, point
    cdef uint64_t decimal
    cdef char* end
    if exponent == 0:
        decimal = shorten(fraction, 1 - bias, False, &scale)
    else:
        decimal = shorten(fraction | 1ULL << width, exponent - bias, fraction == 0 and exponent > 1, &scale)
    while decimal % 10 == 0:
        decimal //= 10
        scale += 1
    end = write_integer(p, decimal)
    n = <int> (end - p)
    point = n + scale  # digits before the decimal point
    if n <= point <= 16:
        memset(end, 48, scale)
        return end + scale
    if 0 < point < n:
        memmove(p + point + 1, p + point, n - point)
        p[point] = b"."
        return end + 1
    if -4 < point <= 0:
        memmove(p + 2 - point, p, n)
        memset(p, 48, 2 - point)
        p[1] = b"."
        return end + 2 - point
    if n > 1:
        memmove(p + 2, p + 1, n - 1)
        p[1] = b"."
        end += 1
    end[0] = b"e"
    end += 1
    if point < 1:
        end[0] = b"-"
        end += 1
    return write_integer(end, abs(point - 1))
