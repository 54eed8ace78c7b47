# cython: cdivision=True
# What the training loop takes of log_loss without a call.

from cython cimport floating
from libc.math cimport copysign, copysignf, exp, fabs
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .losses cimport Loss
from .rows cimport rare

cdef extern from *:
    """
    #include <float.h>
    /* Steps to the unit of the tables of sigma, which reach FAR to either side. z + SHIFT is rounded to a step, whose
     * number, counted from -FAR, its last bits are: but not with x87's registers, so that there is no table then. */
    enum { FASTSGD_STEPS = 8, FASTSGD_NARROW_STEPS = 16, FASTSGD_FAR = FLT_EVAL_METHOD ? 0 : 256 };
    #define FASTSGD_SHIFT (1.5 * (1LL << 52) / FASTSGD_STEPS + FASTSGD_FAR)
    #define FASTSGD_NARROW_SHIFT (1.5f * (1 << 23) / FASTSGD_NARROW_STEPS + FASTSGD_FAR)
    """
    enum:
        STEPS "FASTSGD_STEPS"
        NARROW_STEPS "FASTSGD_NARROW_STEPS"
        FAR "FASTSGD_FAR"
    const double SHIFT "FASTSGD_SHIFT"
    const float NARROW_SHIFT "FASTSGD_NARROW_SHIFT"

# Eight coefficients of a series for sigma around each multiple of 1 / STEPS: a cache line.
ctypedef double[8] Series
cdef const Series* SIGMA

# Four, around each multiple of 1 / NARROW_STEPS, give what digits a float has.
ctypedef float[4] NarrowSeries
cdef const NarrowSeries* NARROW_SIGMA


cdef class LogLoss(Loss):
    pass


cdef inline floating sigma(floating z) noexcept nogil:
    """1 / (1 + e^-z), |z| < FAR, to a few ulp. The next row waits for it, and longer for exp and a division."""
    cdef floating near, u, u2, u4
    cdef uint64_t bits
    cdef uint32_t narrow_bits
    cdef const floating* c
    if floating is float:
        near = z + NARROW_SHIFT
        u = z - (near - NARROW_SHIFT)
        u2 = u * u
        memcpy(&narrow_bits, &near, 4)
        c = NARROW_SIGMA[narrow_bits & ((1 << 22) - 1)]
        return (c[0] + u * c[1]) + u2 * (c[2] + u * c[3])
    else:
        near = z + SHIFT
        u = z - (near - SHIFT)
        u2 = u * u
        u4 = u2 * u2
        memcpy(&bits, &near, 8)
        c = SIGMA[<uint32_t>bits]
        return (((c[0] + u * c[1]) + u2 * (c[2] + u * c[3]))
                + (u4 * (c[4] + u * c[5]) + (u4 * u2) * (c[6] + u * c[7])))


cdef inline floating flipped(floating z, floating t) noexcept nogil:
    """t z for t = 1 or -1, without a multiplication for the next row to wait for."""
    if floating is float:
        return copysignf(1.0, t) * z
    else:
        return copysign(1.0, t) * z


cdef inline double lesser(double a, double b) noexcept nogil:
    """min(a, b), a and b >= 0: as integers, of which gcc takes one without a branch that is often mispredicted."""
    cdef uint64_t i, k
    memcpy(&i, &a, 8)
    memcpy(&k, &b, 8)
    i = min(i, k)
    memcpy(&a, &i, 8)
    return a


cdef inline double odds(double p) noexcept nogil:
    """e^-|z| = q / (1 - q) of p = sigma(z) or sigma(-z), q being the lesser of p and 1 - p."""
    cdef double q = lesser(p, 1 - p)
    return q / (1 - q)


cdef inline double log_of_sum(double a, double s) noexcept nogil:
    """log(1 + a) for a >= 0 and s = 1 + a as rounded, to about an ulp.

    Instead of log1p, whose branches by the size of a are mispredicted on most rows. s = 2^k (1 + f) with 1 + f between
    sqrt(1/2) and sqrt(2), and log(1 + f) = 2 artanh(f / (2 + f)) with the minimax polynomial of fdlibm's e_log.c; what
    s lost of a in rounding is put back to first order.
    """
    cdef uint64_t bits
    cdef int64_t k
    cdef double f, u, u2, u4, odd, even, half
    memcpy(&bits, &s, 8)
    bits += <uint64_t>0x3ff0000000000000 - <uint64_t>0x3fe6a09e667f3bcd
    k = <int64_t>(bits >> 52) - 0x3ff
    bits = (bits & <uint64_t>0x000fffffffffffff) + <uint64_t>0x3fe6a09e667f3bcd
    memcpy(&f, &bits, 8)
    f -= 1
    u = f / (2 + f)
    u2 = u * u
    u4 = u2 * u2
    even = u4 * (3.999999999940941908e-01 + u4 * (2.222219843214978396e-01 + u4 * 1.531383769920937332e-01))
    odd = u2 * (6.666666666666735130e-01 + u4 * (2.857142874366239149e-01 + u4 * (
        1.818357216161805012e-01 + u4 * 1.479819860510658591e-01)))
    half = 0.5 * f * f
    # log(2) in two parts, the first with zeros for k's digits.
    return k * 6.93147180369123816490e-01 - (
        (half - (u * (half + even + odd) + (k * 1.90821492927058770002e-10 + (a - (s - 1)) / s))) - f)


cdef inline double logistic(double z, double t, double* g, double* rest) noexcept nogil:
    """log_loss but for its logarithm: the value is log(1 + e) + rest, e = e^-|z| being returned."""
    cdef double m = t * z, size = fabs(z), e = exp(-size), s = 1 + e
    rest[0] = 0.5 * size - 0.5 * m
    if fabs(t) == 1:
        # sigma(-m) is e / s or 1 / s; chosen without a branch, which would often be mispredicted.
        g[0] = -t * ((e if m > 0 else 1.0) / s)
    else:
        g[0] = (1 / s if z > 0 else e / s) - (t + 1) / 2
    return e


cdef inline double logistic_step(floating z, floating t, floating* g, double* rest) noexcept nogil:
    """The same for training, a few ulp of z's type off: of most rows by a table. e^-|z| is the odds of what is
    returned."""
    cdef floating m = flipped(z, t), size = fabs(z), p
    cdef double e, derivative
    if rare(not (fabs(t) == 1 and size < FAR)):
        e = logistic(z, t, &derivative, rest)
        g[0] = <floating>derivative
        return e / (1 + e)
    rest[0] = <floating>0.5 * size - <floating>0.5 * m
    p = sigma(-m)
    g[0] = flipped(p, -t)
    return p
