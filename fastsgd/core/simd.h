/* Dense rows: dot products and updates with the widest vectors of the CPU, chosen at run time.
 *
 * Products are of the data's type; sums run in LANES explicit lanes of double, added up in one fixed order, and the build forbids
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
/* The empty volatile asm is an effect: without one, gcc takes a function that only prefetches for
 * a pure one whose calls may go. */
#define FASTSGD_PREFETCH(address)             \
    do {                                     \
        __builtin_prefetch(address);         \
        __asm__ volatile("");                \
    } while (0)
#define FASTSGD_KERNEL FASTSGD_CLONES __attribute__((unused)) static
#else
#define FASTSGD_PREFETCH(address) ((void)(address))
#define FASTSGD_KERNEL static
#endif

/* Four numbers in the registers that every CPU of the platform has. */
#if defined(__GNUC__) || defined(__clang__)
#define FASTSGD_FOUR(T, name) T name __attribute__((vector_size(4 * sizeof(T))))
#define FASTSGD_ADD_SQUARES(sum, four) (sum) += (four) * (four)
#else
#define FASTSGD_FOUR(T, name) T name[4]
#define FASTSGD_ADD_SQUARES(sum, four)       \
    for (int l = 0; l < 4; l++)              \
        sum[l] += four[l] * four[l]
#endif

/* Ask for the cache lines of `bytes` bytes from `start` on. */
static inline void fastsgd_prefetch(const void *start, ptrdiff_t bytes)
{
    const char *line = (const char *)start, *last = line + bytes - 1;
    FASTSGD_PREFETCH(line);
    while ((line += 64) < last)
        FASTSGD_PREFETCH(line);
    FASTSGD_PREFETCH(last);
}

enum {
    LANES = 16,     /* running sums of a dot product */
    TOGETHER = 4,   /* outputs that read a dense row at once */
    BLOCK = 64,     /* outputs that read a CSR row at once */
    AHEAD = 32      /* nonzeros whose weights are asked for before their turn */
};

#define FASTSGD_DEFINE(T, SUFFIX)                                                                  \
    /* ||x||^2, in T: inlined, since most rows are too short for a call to pay */                  \
    static inline double fastsgd_norm_##SUFFIX(const T *x, ptrdiff_t n)                            \
    {                                                                                              \
        FASTSGD_FOUR(T, sum) = {0};                                                                \
        T tail = 0;                                                                                \
        for (; n >= 4; n -= 4, x += 4) {                                                           \
            FASTSGD_FOUR(T, four);                                                                 \
            memcpy(&four, x, sizeof four);                                                         \
            FASTSGD_ADD_SQUARES(sum, four);                                                         \
        }                                                                                          \
        while (n > 0) {                                                                            \
            n -= 1;                                                                                \
            tail += x[n] * x[n];                                                                   \
        }                                                                                          \
        return (double)((sum[0] + sum[1]) + (sum[2] + sum[3]) + tail);                             \
    }                                                                                              \
                                                                                                   \
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
                            lane[i][l] += (double)(x[j + l] * w0[i * d + j + l]);                  \
            else                                                                                   \
                for (ptrdiff_t i = 0; i < some; i++)                                               \
                    for (ptrdiff_t j = 0; j < whole; j += LANES)                                   \
                        for (int l = 0; l < LANES; l++)                                            \
                            lane[i][l] += (double)(x[j + l] * w0[i * d + j + l]);                  \
            for (ptrdiff_t i = 0; i < some; i++) {                                                 \
                for (ptrdiff_t j = whole; j < d; j++)                                              \
                    lane[i][j - whole] += (double)(x[j] * w0[i * d + j]);                          \
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

#define FASTSGD_DEFINE_CSR(T, TS, I, IS)                                                           \
    /* CSR rows, K > 1, feature-major weights: z[k] = sum_j x[j] w[columns[j] K + k] */            \
    FASTSGD_KERNEL void fastsgd_csr_dots_##TS##_##IS(const T *restrict x, const I *restrict columns,\
                                                     ptrdiff_t nnz, const T *restrict w, ptrdiff_t K,\
                                                     double *restrict z)                           \
    {                                                                                              \
        for (ptrdiff_t from = 0; from < K; from += BLOCK) {                                        \
            const ptrdiff_t some = K - from < BLOCK ? K - from : BLOCK;                            \
            double sum[BLOCK];                                                                     \
            for (ptrdiff_t k = 0; k < some; k++)                                                   \
                sum[k] = 0;                                                                        \
            ptrdiff_t j = 0;                                                                       \
            /* Two nonzeros at once: half the trips of the sums through memory. */                 \
            for (; j + 2 <= nnz; j += 2) {                                                         \
                const T *at0 = w + columns[j] * K + from, *at1 = w + columns[j + 1] * K + from;    \
                const T x0 = x[j], x1 = x[j + 1];                                                  \
                if (j + 1 + AHEAD < nnz) {                                                         \
                    fastsgd_prefetch(w + columns[j + AHEAD] * K + from, some * (ptrdiff_t)sizeof(T));\
                    fastsgd_prefetch(w + columns[j + 1 + AHEAD] * K + from, some * (ptrdiff_t)sizeof(T));\
                }                                                                                  \
                for (ptrdiff_t k = 0; k < some; k++)                                               \
                    sum[k] += (double)(x0 * at0[k]) + (double)(x1 * at1[k]);                       \
            }                                                                                      \
            if (j < nnz)                                                                           \
                for (ptrdiff_t k = 0; k < some; k++)                                               \
                    sum[k] += (double)(x[j] * w[columns[j] * K + from + k]);                       \
            for (ptrdiff_t k = 0; k < some; k++)                                                   \
                z[from + k] = sum[k];                                                              \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* w[columns[j] K + k] += c[k] x[j] */                                                         \
    FASTSGD_KERNEL void fastsgd_csr_axpys_##TS##_##IS(const T *restrict x, const I *restrict columns,\
                                                      ptrdiff_t nnz, T *restrict w, ptrdiff_t K,   \
                                                      const double *restrict c)                    \
    {                                                                                              \
        for (ptrdiff_t from = 0; from < K; from += BLOCK) {                                        \
            const ptrdiff_t some = K - from < BLOCK ? K - from : BLOCK;                            \
            T step[BLOCK];                                                                         \
            for (ptrdiff_t k = 0; k < some; k++)                                                   \
                step[k] = (T)c[from + k];                                                          \
            for (ptrdiff_t j = 0; j < nnz; j++) {                                                  \
                T *at = w + columns[j] * K + from;                                                 \
                const T xj = x[j];                                                                 \
                for (ptrdiff_t k = 0; k < some; k++)                                               \
                    at[k] += step[k] * xj;                                                         \
            }                                                                                      \
        }                                                                                          \
    }

FASTSGD_DEFINE_CSR(float, f32, int32_t, i32)
FASTSGD_DEFINE_CSR(float, f32, int64_t, i64)
FASTSGD_DEFINE_CSR(double, f64, int32_t, i32)
FASTSGD_DEFINE_CSR(double, f64, int64_t, i64)

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
