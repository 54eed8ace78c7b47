/* Dense rows: dot products and updates with the widest vectors of the CPU, chosen at run time.
 *
 * Sums run in LANES explicit lanes of double, added up in one fixed order, and the build forbids
 * contraction, so every clone returns the same bits. The compiler turns each lane loop into vector code.
 */
#ifndef FASTSGD_SIMD_H
#define FASTSGD_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* glibc's ifunc picks the clone; where there is none (musl, macOS, MSVC) the plain function remains. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define FASTSGD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FASTSGD_CLONES
#endif

#if defined(__GNUC__) || defined(__clang__)
#define FASTSGD_PREFETCH(address) __builtin_prefetch(address)
#define FASTSGD_KERNEL FASTSGD_CLONES __attribute__((unused)) static
#else
#define FASTSGD_PREFETCH(address) ((void)(address))
#define FASTSGD_KERNEL static
#endif

/* Ask for the cache lines of `bytes` bytes from `start` on. */
static inline void fastsgd_prefetch(const void *start, ptrdiff_t bytes)
{
    const char *p = (const char *)start;
    for (ptrdiff_t at = 0; at < bytes; at += 64)
        FASTSGD_PREFETCH(p + at);
    (void)p;
}

enum { LANES = 16, TOGETHER = 4 };

#define FASTSGD_DEFINE(T, SUFFIX)                                                                  \
    static inline double fastsgd_add_lanes_##SUFFIX(double *lane)                                  \
    {                                                                                              \
        for (int half = LANES / 2; half > 0; half /= 2)                                            \
            for (int l = 0; l < half; l++)                                                         \
                lane[l] += lane[l + half];                                                         \
        return lane[0];                                                                            \
    }                                                                                              \
                                                                                                   \
    /* z[k] = x . w[k], rows of w `d` apart; K * d multiply-adds, x is read once for four k. */    \
    FASTSGD_KERNEL void fastsgd_dots_##SUFFIX(const T *restrict x, const T *restrict w, ptrdiff_t d,       \
                                      ptrdiff_t K, double *restrict z)                             \
    {                                                                                              \
        ptrdiff_t k = 0, whole = d - d % LANES;                                                    \
        for (; k < K; k += TOGETHER) {                                                             \
            double lane[TOGETHER][LANES] = {{0}};                                                  \
            const ptrdiff_t some = K - k < TOGETHER ? K - k : TOGETHER;                            \
            const T *w0 = w + k * d;                                                               \
            if (some == TOGETHER)                                                                  \
                for (ptrdiff_t j = 0; j < whole; j += LANES)                                       \
                    for (int i = 0; i < TOGETHER; i++)                                             \
                        for (int l = 0; l < LANES; l++)                                            \
                            lane[i][l] += (double)x[j + l] * (double)w0[i * d + j + l];            \
            else                                                                                   \
                for (ptrdiff_t i = 0; i < some; i++)                                               \
                    for (ptrdiff_t j = 0; j < whole; j += LANES)                                   \
                        for (int l = 0; l < LANES; l++)                                            \
                            lane[i][l] += (double)x[j + l] * (double)w0[i * d + j + l];            \
            for (ptrdiff_t i = 0; i < some; i++) {                                                 \
                for (ptrdiff_t j = whole; j < d; j++)                                              \
                    lane[i][j - whole] += (double)x[j] * (double)w0[i * d + j];                    \
                z[k + i] = fastsgd_add_lanes_##SUFFIX(lane[i]);                                    \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* w[k] += c[k] x */                                                                           \
    FASTSGD_KERNEL void fastsgd_axpys_##SUFFIX(const T *restrict x, T *restrict w, ptrdiff_t d,            \
                                       ptrdiff_t K, const double *restrict c)                      \
    {                                                                                              \
        for (ptrdiff_t k = 0; k < K; k++) {                                                        \
            const T ck = (T)c[k];                                                                  \
            T *restrict wk = w + k * d;                                                            \
            if (ck != 0)                                                                           \
                for (ptrdiff_t j = 0; j < d; j++)                                                  \
                    wk[j] += ck * x[j];                                                            \
        }                                                                                          \
    }

/* Checks of the caller's arrays, at the speed of memory. */
#define FASTSGD_DEFINE_CHECKS(T, SUFFIX, EXPONENT, BITS, UNSIGNED)                                 \
    /* Is any value NaN or infinite, that is, are its exponent's bits all ones? */                 \
    FASTSGD_KERNEL int fastsgd_any_nonfinite_##SUFFIX(const T *values, ptrdiff_t n)                        \
    {                                                                                              \
        BITS found = 0;                                                                            \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            BITS bits;                                                                             \
            memcpy(&bits, values + i, sizeof bits);                                                \
            found |= (bits & EXPONENT) == EXPONENT;                                                \
        }                                                                                          \
        return found != 0;                                                                         \
    }                                                                                              \
                                                                                                   \
    /* Is any column outside 0 .. d - 1? Seen as unsigned, a negative one is too large. */         \
    FASTSGD_KERNEL int fastsgd_any_outside_##UNSIGNED(const BITS *columns, ptrdiff_t n, BITS d)           \
    {                                                                                              \
        BITS found = 0;                                                                            \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            found |= columns[i] >= d;                                                              \
        return found != 0;                                                                         \
    }

FASTSGD_DEFINE_CHECKS(float, f32, 0x7f800000u, uint32_t, u32)
FASTSGD_DEFINE_CHECKS(double, f64, 0x7ff0000000000000u, uint64_t, u64)

FASTSGD_DEFINE(float, f32)
FASTSGD_DEFINE(double, f64)

#endif
