/* What C has no operator for, on 64-bit words. */
#ifndef FASTSGD_WORDS_H
#define FASTSGD_WORDS_H

#include <stdint.h>
#include <string.h>

#ifdef _MSC_VER
#include <intrin.h>
#include <stdlib.h>
#endif

typedef struct { uint64_t high, low; } wide_t;

/* a b, all 128 bits. */
static inline wide_t multiply(uint64_t a, uint64_t b)
{
    wide_t product;
#ifdef __SIZEOF_INT128__
    unsigned __int128 p = (unsigned __int128) a * b;
    product.high = (uint64_t) (p >> 64);
    product.low = (uint64_t) p;
#else
    uint64_t a1 = a >> 32, a0 = (uint32_t) a, b1 = b >> 32, b0 = (uint32_t) b;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    uint64_t other = a0 * b1 + (uint32_t) middle;
    product.high = a1 * b1 + (middle >> 32) + (other >> 32);
    product.low = a * b;
#endif
    return product;
}

/* Zero bits below the lowest one of x, x != 0. */
static inline int trailing_zeros(uint64_t x)
{
#ifdef _MSC_VER
    unsigned long i;
    if (_BitScanForward(&i, (unsigned long) x)) return (int) i;
    _BitScanForward(&i, (unsigned long) (x >> 32));
    return (int) i + 32;
#else
    return __builtin_ctzll(x);
#endif
}

/* Zero bits above the highest one of x, x != 0. */
static inline int leading_zeros(uint64_t x)
{
#ifdef _MSC_VER
    unsigned long i;
    if (_BitScanReverse(&i, (unsigned long) (x >> 32))) return 31 - (int) i;
    _BitScanReverse(&i, (unsigned long) x);
    return 63 - (int) i;
#else
    return __builtin_clzll(x);
#endif
}

/* The 8 bytes at p, the first one lowest. */
static inline uint64_t load_word(const char *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

#endif
