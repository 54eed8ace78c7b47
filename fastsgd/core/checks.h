/* Checks of the caller's arrays, at the speed of memory, which is a fifth higher if STRETCH numbers at a time are asked
 * for, SOON before their turn. */
#ifndef FASTSGD_CHECKS_H
#define FASTSGD_CHECKS_H

#include "simd.h"

enum { STRETCH = 256, SOON = 2048 };
#define FASTSGD_STRETCHES(values, n, i, until)                                                     \
    for (ptrdiff_t i = 0, until; i < (n);)                                                         \
        for (until = fastsgd_stretch((values) + i, sizeof *(values), i, n); i < until; i++)

static inline ptrdiff_t fastsgd_stretch(const void *values, ptrdiff_t size, ptrdiff_t i, ptrdiff_t n)
{
    if (i + STRETCH + SOON <= n)
        fastsgd_prefetch((const char *)values + SOON * size, STRETCH * size);
    return n - i < STRETCH ? n : i + STRETCH;
}

#define FASTSGD_DEFINE_CHECKS(T, SUFFIX, EXPONENT, BITS, UNSIGNED)                                 \
    /* Is any value NaN or infinite? Then its exponent's bits are all ones, and without the sign it is the largest. */\
    FASTSGD_KERNEL int fastsgd_any_nonfinite_##SUFFIX(const T *values, ptrdiff_t n)                \
    {                                                                                              \
        BITS largest = 0;                                                                          \
        FASTSGD_STRETCHES(values, n, i, until) {                                                   \
            BITS bits;                                                                             \
            memcpy(&bits, values + i, sizeof bits);                                                \
            bits &= ~((BITS)1 << (8 * sizeof bits - 1));                                           \
            largest = bits > largest ? bits : largest;                                             \
        }                                                                                          \
        return largest >= EXPONENT;                                                                \
    }                                                                                              \
                                                                                                   \
    /* Is any column outside 0 .. d - 1? Seen as unsigned, a negative one is too large. */         \
    FASTSGD_KERNEL int fastsgd_any_outside_##UNSIGNED(const BITS *columns, ptrdiff_t n, BITS d)    \
    {                                                                                              \
        BITS largest = 0;                                                                          \
        FASTSGD_STRETCHES(columns, n, i, until)                                                    \
            largest = columns[i] > largest ? columns[i] : largest;                                 \
        return n > 0 && largest >= d;                                                              \
    }                                                                                              \
                                                                                                   \
    /* Does any number of row bounds fall short of the one before? Seen as unsigned. */            \
    FASTSGD_KERNEL int fastsgd_any_fall_##UNSIGNED(const BITS *bounds, ptrdiff_t n)                \
    {                                                                                              \
        int found = 0;                                                                             \
        for (ptrdiff_t i = 1; i < n; i++)                                                          \
            found |= bounds[i] < bounds[i - 1];                                                    \
        return found;                                                                              \
    }                                                                                              \
                                                                                                   \
    /* How often does a column not rise from one value to the next? In parts, so that a vector counts. */\
    FASTSGD_KERNEL ptrdiff_t fastsgd_descents_##UNSIGNED(const BITS *columns, ptrdiff_t n)         \
    {                                                                                              \
        ptrdiff_t total = 0;                                                                       \
        for (ptrdiff_t from = 0; from < n - 1; from += 1 << 16) {                                  \
            const ptrdiff_t to = n - 1 - from < 1 << 16 ? n - 1 : from + (1 << 16);                \
            BITS count = 0;                                                                        \
            for (ptrdiff_t i = from; i < to; i++)                                                  \
                count += columns[i + 1] <= columns[i];                                             \
            total += (ptrdiff_t)count;                                                             \
        }                                                                                          \
        return total;                                                                              \
    }

FASTSGD_DEFINE_CHECKS(float, f32, 0x7f800000u, uint32_t, u32)
FASTSGD_DEFINE_CHECKS(double, f64, 0x7ff0000000000000u, uint64_t, u64)

/* Let codes be 1 where labels are `high` and 0 elsewhere. Is any neither `low` nor `high`? */
#define FASTSGD_DEFINE_TELL_APART(T)                                                               \
    FASTSGD_KERNEL int fastsgd_tell_apart_##T(const T *labels, ptrdiff_t n, T low, T high, uint8_t *restrict codes)\
    {                                                                                              \
        int others = 0;                                                                            \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            codes[i] = labels[i] == high;                                                          \
            others |= (labels[i] != high) & (labels[i] != low);                                    \
        }                                                                                          \
        return others;                                                                             \
    }

FASTSGD_DEFINE_TELL_APART(uint8_t)
FASTSGD_DEFINE_TELL_APART(int32_t)
FASTSGD_DEFINE_TELL_APART(int64_t)
FASTSGD_DEFINE_TELL_APART(float)
FASTSGD_DEFINE_TELL_APART(double)
#define fastsgd_tell_apart(labels, ...)                                                            \
    _Generic((labels),                                                                             \
        const uint8_t *: fastsgd_tell_apart_uint8_t, const int32_t *: fastsgd_tell_apart_int32_t,  \
        const int64_t *: fastsgd_tell_apart_int64_t, const float *: fastsgd_tell_apart_float,      \
        const double *: fastsgd_tell_apart_double)(labels, __VA_ARGS__)

#endif
