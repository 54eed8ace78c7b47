/* Kernels with the widest vectors of the CPU, chosen at run time: rows dense or, for K outputs, CSR;
 * checks of arrays; and prefetching.
 *
 * Sums run in LANES explicit lanes, RUN products at a time and from there on in double, and are added
 * up in one fixed order; the build forbids contraction. So every clone returns the same bits.
 */
#ifndef FASTSGD_SIMD_H
#define FASTSGD_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* glibc's ifunc picks the clone; where there is none (musl, macOS, MSVC) the plain function remains, as under
 * ThreadSanitizer, which is not ready yet when ifuncs are resolved. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(__SANITIZE_THREAD__)
#define FASTSGD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FASTSGD_CLONES
#endif

#if defined(__GNUC__) || defined(__clang__)
/* The empty volatile asm is an effect: without one, gcc takes a function that only prefetches for
 * a pure one whose calls may go. */
#define FASTSGD_PREFETCH(address)                                                                  \
    do {                                                                                           \
        __builtin_prefetch(address);                                                               \
        __asm__ volatile("");                                                                      \
    } while (0)
#define FASTSGD_KERNEL FASTSGD_CLONES __attribute__((unused)) static
#else
#define FASTSGD_PREFETCH(address) ((void)(address))
#define FASTSGD_KERNEL static
#endif

/* Vectors of the compiler: it splits what the CPU has not. Elsewhere arrays stand in. */
#if defined(__GNUC__) || defined(__clang__)
#define FASTSGD_VECTOR(T, n) __attribute__((vector_size((n) * sizeof(T))))
#define FASTSGD_MULTIPLY_ADD(sum, a, b, from)                                                      \
    do {                                                                                           \
        FASTSGD_LOAD(b, from);                                                                     \
        (sum) += (a) * (b);                                                                        \
    } while (0)
#else
#define FASTSGD_VECTOR(T, n) [n]
#define FASTSGD_MULTIPLY_ADD(sum, a, b, from)                                                      \
    do {                                                                                           \
        FASTSGD_LOAD(b, from);                                                                     \
        for (size_t lane = 0; lane < sizeof(a) / sizeof((a)[0]); lane++)                           \
            (sum)[lane] += (a)[lane] * (b)[lane];                                                  \
    } while (0)
#endif
#define FASTSGD_LOAD(lanes, from) memcpy(&(lanes), (from), sizeof(lanes))

#if defined(__GNUC__) || defined(__clang__)
#define FASTSGD_INLINE static inline __attribute__((always_inline))
#else
#define FASTSGD_INLINE static inline
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
    LANES = 16,     /* running sums of a dot product, */
    RUN = 8,        /* products that each takes in the data's type before they go to double */
    TOGETHER = 5,   /* outputs that read a dense row at once */
    BLOCK = 64,     /* outputs that read a CSR row at once */
    AHEAD = 32      /* nonzeros whose weights are asked for before their turn */
};

#define FASTSGD_DEFINE(T, SUFFIX)                                                                  \
    typedef T fastsgd_four_##SUFFIX FASTSGD_VECTOR(T, 4);                                          \
                                                                                                   \
    /* ||x||^2, in T: inlined, since most rows are too short for a call to pay */                  \
    static inline double fastsgd_norm_##SUFFIX(const T *x, ptrdiff_t n)                            \
    {                                                                                              \
        fastsgd_four_##SUFFIX sum = {0}, xj, same;                                                 \
        T tail = 0;                                                                                \
        for (; n >= 4; n -= 4, x += 4) {                                                           \
            FASTSGD_LOAD(xj, x);                                                                   \
            FASTSGD_MULTIPLY_ADD(sum, xj, same, x);                                                \
        }                                                                                          \
        while (n > 0) {                                                                            \
            n -= 1;                                                                                \
            tail += x[n] * x[n];                                                                   \
        }                                                                                          \
        return (double)((sum[0] + sum[1]) + (sum[2] + sum[3]) + tail);                             \
    }                                                                                              \
                                                                                                   \
    typedef T fastsgd_lanes_##SUFFIX FASTSGD_VECTOR(T, LANES);                                     \
                                                                                                   \
    /* z[i] = x . w[i] for n rows of w, `d` apart; n is a constant, so that the running sums are registers. */\
    FASTSGD_INLINE void fastsgd_some_dots_##SUFFIX(const int n, const T *restrict x, ptrdiff_t d,  \
                                                   const T *restrict w, double *restrict z)        \
    {                                                                                              \
        double sum[TOGETHER][LANES] = {{0}};                                                       \
        ptrdiff_t j = 0;                                                                           \
        while (j + LANES <= d) {                                                                   \
            const ptrdiff_t left = (d - j) / LANES, end = j + (left < RUN ? left : RUN) * LANES;   \
            fastsgd_lanes_##SUFFIX xj, wj, part[TOGETHER] = {{0}};                                 \
            for (; j < end; j += LANES) {                                                          \
                FASTSGD_LOAD(xj, x + j);                                                           \
                for (int i = 0; i < n; i++)                                                        \
                    FASTSGD_MULTIPLY_ADD(part[i], xj, wj, w + i * d + j);                          \
            }                                                                                      \
            for (int i = 0; i < n; i++)                                                            \
                for (int l = 0; l < LANES; l++)                                                    \
                    sum[i][l] += (double)part[i][l];                                               \
        }                                                                                          \
        for (int i = 0; i < n; i++) {                                                              \
            for (ptrdiff_t l = 0; j + l < d; l++)                                                  \
                sum[i][l] += (double)(x[j + l] * w[i * d + j + l]);                                \
            for (int half = LANES / 2; half > 0; half /= 2)                                        \
                for (int l = 0; l < half; l++)                                                     \
                    sum[i][l] += sum[i][l + half];                                                 \
            z[i] = sum[i][0];                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* z[k] = x . w[k]; K d multiply-adds, and x is read once for five k. */                       \
    FASTSGD_KERNEL void fastsgd_dots_##SUFFIX##_u8(const T *restrict x, const uint8_t *columns, ptrdiff_t d,\
                                                   const T *restrict w, ptrdiff_t K, double *restrict z)\
    {                                                                                              \
        (void)columns;                                                                             \
        for (; K >= 5; K -= 5, w += 5 * d, z += 5)                                                 \
            fastsgd_some_dots_##SUFFIX(5, x, d, w, z);                                             \
        if (K == 4)                                                                                \
            fastsgd_some_dots_##SUFFIX(4, x, d, w, z);                                             \
        else if (K == 3)                                                                           \
            fastsgd_some_dots_##SUFFIX(3, x, d, w, z);                                             \
        else if (K == 2)                                                                           \
            fastsgd_some_dots_##SUFFIX(2, x, d, w, z);                                             \
        else if (K == 1)                                                                           \
            fastsgd_some_dots_##SUFFIX(1, x, d, w, z);                                             \
    }                                                                                              \
                                                                                                   \
    /* w[k] += c[k] x */                                                                           \
    FASTSGD_KERNEL void fastsgd_axpys_##SUFFIX##_u8(const T *restrict x, const uint8_t *columns, ptrdiff_t d,\
                                                    T *restrict w, ptrdiff_t K, const double *restrict c)\
    {                                                                                              \
        (void)columns;                                                                             \
        for (ptrdiff_t k = 0; k < K; k++, w += d) {                                                \
            const T ck = (T)c[k];                                                                  \
            fastsgd_lanes_##SUFFIX cks, xj, wj;                                                    \
            ptrdiff_t j = 0;                                                                       \
            if (ck == 0)                                                                           \
                continue;                                                                          \
            for (int l = 0; l < LANES; l++)                                                        \
                cks[l] = ck;                                                                       \
            for (; j + LANES <= d; j += LANES) { /* left to itself, gcc takes half the width of the CPU's vectors */\
                FASTSGD_LOAD(wj, w + j);                                                           \
                FASTSGD_MULTIPLY_ADD(wj, cks, xj, x + j);                                          \
                memcpy(w + j, &wj, sizeof wj);                                                     \
            }                                                                                      \
            for (; j < d; j++)                                                                     \
                w[j] += ck * x[j];                                                                 \
        }                                                                                          \
    }

#define FASTSGD_DEFINE_CSR(T, TS, I, IS)                                                           \
    /* CSR rows, K > 1, feature-major weights: z[k] = sum_j x[j] w[columns[j] K + k] */            \
    FASTSGD_KERNEL void fastsgd_dots_##TS##_##IS(const T *restrict x, const I *restrict columns, ptrdiff_t nnz,\
                                                 const T *restrict w, ptrdiff_t K, double *restrict z)\
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
    FASTSGD_KERNEL void fastsgd_axpys_##TS##_##IS(const T *restrict x, const I *restrict columns, ptrdiff_t nnz,\
                                                  T *restrict w, ptrdiff_t K, const double *restrict c)\
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
    FASTSGD_KERNEL int fastsgd_any_nonfinite_##SUFFIX(const T *values, ptrdiff_t n)                \
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
    FASTSGD_KERNEL int fastsgd_any_outside_##UNSIGNED(const BITS *columns, ptrdiff_t n, BITS d)    \
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

/* The kernel for the types of x and columns; uint8_t stands for a dense row, whose columns are not read. */
#define FASTSGD_PICK(kernel, x, columns)                                                           \
    _Generic((columns),                                                                            \
        const int32_t *: _Generic((x), const float *: kernel##_f32_i32, const double *: kernel##_f64_i32),\
        const int64_t *: _Generic((x), const float *: kernel##_f32_i64, const double *: kernel##_f64_i64),\
        const uint8_t *: _Generic((x), const float *: kernel##_f32_u8, const double *: kernel##_f64_u8))

#define fastsgd_dots(x, columns, ...) FASTSGD_PICK(fastsgd_dots, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_axpys(x, columns, ...) FASTSGD_PICK(fastsgd_axpys, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_norm(x, n) _Generic((x), const float *: fastsgd_norm_f32, const double *: fastsgd_norm_f64)(x, n)

#endif
