/* As steps.h says it, of CSR rows: their weights are scattered, or, of several outputs, some neighbours here and there.
 *
 * `pitch` is K; or 2 where, of one output, a weight and its q, or its average, share a cell: a line of memory less to
 * wait for, and one load and one store for both.
 */
#ifndef FASTSGD_SCATTERED_H
#define FASTSGD_SCATTERED_H

#include "cells.h"
#include "steps.h"

/* One output: fastsgd_one of SPAN scattered weights at once, in vectors of BYTES bytes; and of what then is
 * left in vectors of 16. The compiler makes none of it, since it has to keep stores and loads through pointers in order. */
#ifdef FASTSGD_SHUFFLES
#define FASTSGD_RISING_2(at) (at[0] < at[1])
#define FASTSGD_RISING_4(at) (at[0] < at[1] && at[1] < at[2] && at[2] < at[3])
#define FASTSGD_RISING_8(at) (FASTSGD_RISING_4(at) && at[3] < at[4] && FASTSGD_RISING_4((at + 4)))
#define FASTSGD_RISING_16(IS, n, at) (n == 8 ? FASTSGD_RISING_8(at) : n == 4 ? FASTSGD_RISING_4(at) : FASTSGD_RISING_2(at))
#define FASTSGD_RISING_32(IS, n, at) fastsgd_rising_##IS(at)
#define FASTSGD_SCATTERED_f32_16(w, at) {w[at[0]], w[at[1]], w[at[2]], w[at[3]]}
#define FASTSGD_SCATTERED_f32_32(w, at) {w[at[0]], w[at[1]], w[at[2]], w[at[3]], w[at[4]], w[at[5]], w[at[6]], w[at[7]]}
#define FASTSGD_SCATTERED_f64_16(w, at) {w[at[0]], w[at[1]]}
#define FASTSGD_SCATTERED_f64_32(w, at) {w[at[0]], w[at[1]], w[at[2]], w[at[3]]}

#define FASTSGD_LOAD_PAIRS_16(TS, at, w, first, second) FASTSGD_LOAD_PAIRS_##TS(at, w, first, second)
#define FASTSGD_STORE_PAIRS_16(TS, at, w, first, second) FASTSGD_STORE_PAIRS_##TS(at, w, first, second)
#define FASTSGD_LOAD_PAIRS_32(TS, at, w, first, second) FASTSGD_LOAD_WIDE_PAIRS_##TS(at, w, first, second)
#define FASTSGD_STORE_PAIRS_32(TS, at, w, first, second) FASTSGD_STORE_WIDE_PAIRS_##TS(at, w, first, second)

#define FASTSGD_SIGNS(VECTOR) ((bits)(-(VECTOR){0}))
#define FASTSGD_ABS(VECTOR, v) ((VECTOR)((bits)(v) & ~FASTSGD_SIGNS(VECTOR)))
/* max(v, 0), but NaN stays */
#define FASTSGD_POSITIVE(VECTOR, v) ((VECTOR)((bits)(v) & ~(bits)((v) < 0)))

#define FASTSGD_DEFINE_VECTOR_STEP(T, TS, BITS, BYTES, TARGET)                                     \
    TARGET FASTSGD_INLINE void fastsgd_vector_step_##TS##_##BYTES(                                 \
        int l1, int averaged, int summed, T c, const fastsgd_vector_##TS##_##BYTES *x, fastsgd_vector_##TS##_##BYTES *w,\
        fastsgd_vector_##TS##_##BYTES *q, fastsgd_vector_##TS##_##BYTES *a, const fastsgd_sums_##TS *sums,\
        fastsgd_vector_##TS##_##BYTES *squares, fastsgd_vector_##TS##_##BYTES *abs)                \
    {                                                                                              \
        typedef fastsgd_vector_##TS##_##BYTES vector;                                              \
        typedef BITS bits FASTSGD_VECTOR(BITS, BYTES / sizeof(BITS));                              \
        vector old = *w, moved = old + c * *x, new = moved, size = FASTSGD_ABS(vector, moved), due;\
        if (l1) {                                                                                  \
            const bits sign = (bits)moved & FASTSGD_SIGNS(vector);                                 \
            due = FASTSGD_POSITIVE(vector, sums->due + (vector)((bits)*q ^ sign));                 \
            due = (vector)((bits)due & (bits)(*x != 0));                                           \
            size = FASTSGD_POSITIVE(vector, size - due * sums->inverse);                           \
            new = (vector)((bits)size | sign) + 0; /* no -0 */                                     \
            *q += sums->scale * (new - moved);                                                     \
        }                                                                                          \
        if (averaged)                                                                              \
            *a += sums->average_scale * (new - old);                                               \
        if (summed) {                                                                              \
            *squares += (new - old) * (new + old);                                                 \
            *abs += size - FASTSGD_ABS(vector, old);                                               \
        }                                                                                          \
        *w = new;                                                                                  \
    }

#define FASTSGD_DEFINE_WHOLE_STEPS(T, TS, I, IS, BYTES, TARGET)                                    \
    /* From nonzero j on, as long as there are so many whole vectors; where it has ended. `l1` and so on, to `vectors`,\
     * are constants. */                                                                           \
    TARGET FASTSGD_INLINE ptrdiff_t fastsgd_whole_##TS##_##IS##_##BYTES(                           \
        int l1, int averaged, int summed, int pitch, int vectors, ptrdiff_t j, const T *x, const I *columns, ptrdiff_t nnz,\
        T *w, T *q, T *a, T c, fastsgd_sums_##TS *sums)                                            \
    {                                                                                              \
        typedef fastsgd_vector_##TS##_##BYTES vector;                                              \
        enum { WIDTH = BYTES / sizeof(T) };                                                        \
        const int n = vectors * WIDTH;                                                             \
        const fastsgd_sums_##TS copy = *sums; /* in registers: stores to w might change the original */\
        vector squares[SPAN / WIDTH] = {{0}}, abs[SPAN / WIDTH] = {{0}};                           \
        for (; j + n <= nnz; j += n) {                                                             \
            if (FASTSGD_RARE(!FASTSGD_RISING_##BYTES(IS, n, (columns + j)))) {                     \
                /* A column may come twice: one after the other. */                                \
                for (int i = 0; i < n; i++) {                                                      \
                    const ptrdiff_t at = (ptrdiff_t)columns[j + i] * pitch;                        \
                    fastsgd_one_##TS(l1, averaged, c, x[j + i], w + at, q + at, a + at, sums, i);  \
                }                                                                                  \
                continue;                                                                          \
            }                                                                                      \
            FASTSGD_UNROLL                                                                         \
            for (int v = 0; v < vectors; v++) {                                                    \
                const I *at = columns + j + v * WIDTH;                                             \
                vector xs, ws, qs = {0}, as = {0}, *beside = l1 ? &qs : &as;                       \
                FASTSGD_LOAD(xs, x + j + v * WIDTH);                                               \
                if (pitch == 2)                                                                    \
                    FASTSGD_LOAD_PAIRS_##BYTES(TS, at, w, ws, *beside);                            \
                else {                                                                             \
                    ws = (vector)FASTSGD_SCATTERED_##TS##_##BYTES(w, at);                          \
                    if (l1)                                                                        \
                        qs = (vector)FASTSGD_SCATTERED_##TS##_##BYTES(q, at);                      \
                    if (averaged)                                                                  \
                        as = (vector)FASTSGD_SCATTERED_##TS##_##BYTES(a, at);                      \
                }                                                                                  \
                fastsgd_vector_step_##TS##_##BYTES(l1, averaged, summed, c, &xs, &ws, &qs, &as, &copy, squares + v, abs + v);\
                if (pitch == 2)                                                                    \
                    FASTSGD_STORE_PAIRS_##BYTES(TS, at, w, ws, *beside);                           \
                else                                                                               \
                    for (int i = 0; i < WIDTH; i++) {                                              \
                        w[at[i]] = ws[i];                                                          \
                        if (l1)                                                                    \
                            q[at[i]] = qs[i];                                                      \
                        if (averaged)                                                              \
                            a[at[i]] = as[i];                                                      \
                    }                                                                              \
            }                                                                                      \
        }                                                                                          \
        for (int i = 0; i < n && summed; i++) {                                                    \
            sums->squares[i] += squares[i / WIDTH][i % WIDTH];                                     \
            sums->abs[i] += abs[i / WIDTH][i % WIDTH];                                             \
        }                                                                                          \
        return j;                                                                                  \
    }
FASTSGD_DEFINE_VECTOR_STEP(float, f32, int32_t, 16, )
FASTSGD_DEFINE_VECTOR_STEP(double, f64, int64_t, 16, )
#else
#define FASTSGD_DEFINE_WHOLE_STEPS(T, TS, I, IS, BYTES, TARGET)                                    \
    FASTSGD_INLINE ptrdiff_t fastsgd_whole_##TS##_##IS##_##BYTES(                                  \
        int l1, int averaged, int summed, int pitch, int vectors, ptrdiff_t j, const T *x, const I *columns, ptrdiff_t nnz,\
        T *w, T *q, T *a, T c, fastsgd_sums_##TS *sums)                                            \
    {                                                                                              \
        return j;                                                                                  \
    }
#endif

#define FASTSGD_DEFINE_ONE_OUTPUT(T, TS, I, IS, BYTES, TARGET)                                     \
    FASTSGD_DEFINE_WHOLE_STEPS(T, TS, I, IS, BYTES, TARGET)                                        \
                                                                                                   \
    TARGET FASTSGD_INLINE void fastsgd_one_output_##TS##_##IS##_##BYTES(                           \
        int l1, int averaged, int summed, int pitch, const T *x, const I *columns, ptrdiff_t nnz, T *w, T *q, T *a, T c,\
        fastsgd_account *account)                                                                  \
    {                                                                                              \
        fastsgd_sums_##TS sums = fastsgd_open_##TS(account);                                       \
        ptrdiff_t j = fastsgd_whole_##TS##_##IS##_##BYTES(l1, averaged, summed, pitch, SPAN / (BYTES / sizeof(T)), 0, x,\
                                                          columns, nnz, w, q, a, c, &sums);        \
        j = fastsgd_whole_##TS##_##IS##_16(l1, averaged, summed, pitch, 1, j, x, columns, nnz, w, q, a, c, &sums);\
        for (; j < nnz; j++) {                                                                     \
            const ptrdiff_t at = (ptrdiff_t)columns[j] * pitch;                                    \
            fastsgd_one_##TS(l1, averaged, c, x[j], w + at, q + at, a + at, &sums, 0);             \
        }                                                                                          \
        if (summed)                                                                                \
            fastsgd_close_##TS(&sums, account);                                                    \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_step_one_##TS##_##IS##_##BYTES(                      \
        const T *x, const I *columns, ptrdiff_t nnz, T *w, T *q, T *a, ptrdiff_t pitch, T c, fastsgd_account *account)\
    {                                                                                              \
        if (q != NULL && pitch == 2)                                                               \
            fastsgd_one_output_##TS##_##IS##_##BYTES(1, 0, 1, 2, x, columns, nnz, w, q, w, c, account);\
        else if (q != NULL && a != NULL)                                                           \
            fastsgd_one_output_##TS##_##IS##_##BYTES(1, 1, 1, 1, x, columns, nnz, w, q, a, c, account);\
        else if (q != NULL)                                                                        \
            fastsgd_one_output_##TS##_##IS##_##BYTES(1, 0, 1, 1, x, columns, nnz, w, q, w, c, account);\
        else if (a != NULL)                                                                        \
            fastsgd_one_output_##TS##_##IS##_##BYTES(0, 1, 1, 1, x, columns, nnz, w, w, a, c, account);\
        else                                                                                       \
            fastsgd_one_output_##TS##_##IS##_##BYTES(0, 0, 1, 1, x, columns, nnz, w, w, w, c, account);\
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_average_pairs_##TS##_##IS##_##BYTES(                 \
        const T *x, const I *columns, ptrdiff_t nnz, T *w, T *a, T c, fastsgd_account *account)    \
    {                                                                                              \
        fastsgd_one_output_##TS##_##IS##_##BYTES(0, 1, 0, 2, x, columns, nnz, w, w, a, c, account);\
    }

#if defined(FASTSGD_SHUFFLES) && defined(__x86_64__) && !defined(__clang__)
/* Whether 8 columns rise: one comparison, where the compiler would make a branch of each. */
FASTSGD_V3 FASTSGD_INLINE int fastsgd_rising_i32(const int32_t *at)
{
    int32_t now FASTSGD_VECTOR(int32_t, 8), next FASTSGD_VECTOR(int32_t, 8);
    FASTSGD_LOAD(now, at);
    next = __builtin_shufflevector(now, now, 1, 2, 3, 4, 5, 6, 7, 7);
    return __builtin_ia32_movmskps256((fastsgd_vector_f32_32)(now < next)) == 0x7f;
}

FASTSGD_V3 FASTSGD_INLINE int fastsgd_rising_i64(const int64_t *at)
{
    int64_t now FASTSGD_VECTOR(int64_t, 4), next FASTSGD_VECTOR(int64_t, 4), high FASTSGD_VECTOR(int64_t, 4);
    FASTSGD_LOAD(now, at);
    FASTSGD_LOAD(next, at + 1);
    FASTSGD_LOAD(high, at + 4);
    return __builtin_ia32_movmskpd256((fastsgd_vector_f64_32)(now < next)) == 0xf
           && __builtin_ia32_movmskpd256((fastsgd_vector_f64_32)(high < __builtin_shufflevector(high, high, 1, 2, 3, 3))) == 7;
}

/* Cells of two numbers, so that the halves of a vector need no more than to be put side by side. */
#define FASTSGD_LOAD_WIDE_PAIRS_f32(at, w, first, second)                                          \
    do {                                                                                           \
        fastsgd_sixteen_f32 low, high, later_low, later_high;                                      \
        fastsgd_vector_f32_32 lows, highs;                                                         \
        FASTSGD_LOAD_TWO(at, w, 0, low);                                                           \
        FASTSGD_LOAD_TWO(at, w, 2, high);                                                          \
        FASTSGD_LOAD_TWO(at, w, 4, later_low);                                                     \
        FASTSGD_LOAD_TWO(at, w, 6, later_high);                                                    \
        lows = __builtin_shufflevector(low, later_low, 0, 1, 2, 3, 4, 5, 6, 7);                    \
        highs = __builtin_shufflevector(high, later_high, 0, 1, 2, 3, 4, 5, 6, 7);                 \
        (first) = __builtin_shufflevector(lows, highs, 0, 2, 8, 10, 4, 6, 12, 14);                 \
        (second) = __builtin_shufflevector(lows, highs, 1, 3, 9, 11, 5, 7, 13, 15);                \
    } while (0)
#define FASTSGD_STORE_WIDE_PAIRS_f32(at, w, first, second)                                         \
    do {                                                                                           \
        const fastsgd_vector_f64_32 low = (fastsgd_vector_f64_32)FASTSGD_LOW_8(first, second);     \
        const fastsgd_vector_f64_32 high = (fastsgd_vector_f64_32)FASTSGD_HIGH_8(first, second);   \
        for (int i = 0; i < 2; i++) {                                                              \
            FASTSGD_STORE_CELL(at, w, 4 * i, low, 2 * i);                                          \
            FASTSGD_STORE_CELL(at, w, 4 * i + 1, low, 2 * i + 1);                                  \
            FASTSGD_STORE_CELL(at, w, 4 * i + 2, high, 2 * i);                                     \
            FASTSGD_STORE_CELL(at, w, 4 * i + 3, high, 2 * i + 1);                                 \
        }                                                                                          \
    } while (0)
#define FASTSGD_LOAD_WIDE_PAIRS_f64(at, w, first, second)                                          \
    do {                                                                                           \
        fastsgd_sixteen_f64 cell0, cell1, cell2, cell3;                                            \
        fastsgd_vector_f64_32 even, odd;                                                           \
        FASTSGD_LOAD(cell0, (w) + 2 * (ptrdiff_t)(at)[0]);                                         \
        FASTSGD_LOAD(cell1, (w) + 2 * (ptrdiff_t)(at)[1]);                                         \
        FASTSGD_LOAD(cell2, (w) + 2 * (ptrdiff_t)(at)[2]);                                         \
        FASTSGD_LOAD(cell3, (w) + 2 * (ptrdiff_t)(at)[3]);                                         \
        even = __builtin_shufflevector(cell0, cell2, 0, 1, 2, 3);                                  \
        odd = __builtin_shufflevector(cell1, cell3, 0, 1, 2, 3);                                   \
        (first) = __builtin_shufflevector(even, odd, 0, 4, 2, 6);                                  \
        (second) = __builtin_shufflevector(even, odd, 1, 5, 3, 7);                                 \
    } while (0)
#define FASTSGD_STORE_WIDE_PAIRS_f64(at, w, first, second)                                         \
    do {                                                                                           \
        const fastsgd_vector_f64_32 even = __builtin_shufflevector(first, second, 0, 4, 2, 6);     \
        const fastsgd_vector_f64_32 odd = __builtin_shufflevector(first, second, 1, 5, 3, 7);      \
        for (int i = 0; i < 2; i++) {                                                              \
            memcpy((w) + 2 * (ptrdiff_t)(at)[2 * i], (const double *)&even + 2 * i, 16);           \
            memcpy((w) + 2 * (ptrdiff_t)(at)[2 * i + 1], (const double *)&odd + 2 * i, 16);        \
        }                                                                                          \
    } while (0)

FASTSGD_DEFINE_VECTOR_STEP(float, f32, int32_t, 32, FASTSGD_V3)
FASTSGD_DEFINE_VECTOR_STEP(double, f64, int64_t, 32, FASTSGD_V3)
#define FASTSGD_ONE_OUTPUT_WIDER(T, TS, I, IS) FASTSGD_DEFINE_ONE_OUTPUT(T, TS, I, IS, 32, FASTSGD_V3)
#define FASTSGD_ONE_OUTPUT_CHOOSE(kernel, arguments)                                               \
    do {                                                                                           \
        if (__builtin_cpu_supports("x86-64-v3"))                                                   \
            kernel##_32 arguments;                                                                 \
        else                                                                                       \
            kernel##_16 arguments;                                                                 \
    } while (0)
#else
#define FASTSGD_ONE_OUTPUT_WIDER(T, TS, I, IS)
#define FASTSGD_ONE_OUTPUT_CHOOSE(kernel, arguments) kernel##_16 arguments
#endif

#define FASTSGD_DEFINE_CSR_STEPS(T, TS, I, IS)                                                     \
    FASTSGD_DEFINE_ONE_OUTPUT(T, TS, I, IS, 16, )                                                  \
    FASTSGD_ONE_OUTPUT_WIDER(T, TS, I, IS)                                                         \
                                                                                                   \
    FASTSGD_INLINE void fastsgd_csr_step_##TS##_##IS(int l1, int averaged, const T *x, const I *columns, ptrdiff_t nnz,\
                                                    T *w, T *q, T *a, ptrdiff_t K, const double *c,\
                                                    fastsgd_account *account)                      \
    {                                                                                              \
        fastsgd_sums_##TS sums = fastsgd_open_##TS(account);                                       \
        for (ptrdiff_t from = 0; from < K; from += BLOCK) {                                        \
            const ptrdiff_t some = K - from < BLOCK ? K - from : BLOCK;                            \
            T cs[BLOCK];                                                                           \
            for (ptrdiff_t k = 0; k < some; k++)                                                   \
                cs[k] = (T)c[from + k];                                                            \
            for (ptrdiff_t j = 0; j < nnz; j++) {                                                  \
                const ptrdiff_t at = (ptrdiff_t)columns[j] * K + from;                             \
                fastsgd_span_##TS(some, l1, averaged, cs, 1, x + j, 0, w + at, q + at, a + at, &sums);\
            }                                                                                      \
        }                                                                                          \
        fastsgd_close_##TS(&sums, account);                                                        \
    }                                                                                              \
                                                                                                   \
    FASTSGD_KERNEL void fastsgd_step_many_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, T *w, T *q, T *a,\
                                                      ptrdiff_t K, const double *c, fastsgd_account *account)\
    {                                                                                              \
        if (q != NULL && a != NULL)                                                                \
            fastsgd_csr_step_##TS##_##IS(1, 1, x, columns, nnz, w, q, a, K, c, account);           \
        else if (q != NULL)                                                                        \
            fastsgd_csr_step_##TS##_##IS(1, 0, x, columns, nnz, w, q, w, K, c, account);           \
        else if (a != NULL)                                                                        \
            fastsgd_csr_step_##TS##_##IS(0, 1, x, columns, nnz, w, w, a, K, c, account);           \
        else                                                                                       \
            fastsgd_csr_step_##TS##_##IS(0, 0, x, columns, nnz, w, w, w, K, c, account);           \
    }                                                                                              \
                                                                                                   \
    static inline void fastsgd_step_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, T *w, T *q, T *a,\
                                                ptrdiff_t K, ptrdiff_t pitch, const double *c,     \
                                                fastsgd_account *account)                          \
    {                                                                                              \
        if (K > 1)                                                                                 \
            fastsgd_step_many_##TS##_##IS(x, columns, nnz, w, q, a, K, c, account);                \
        else                                                                                       \
            FASTSGD_ONE_OUTPUT_CHOOSE(fastsgd_step_one_##TS##_##IS,                                \
                                      (x, columns, nnz, w, q, a, pitch, (T)c[0], account));        \
    }

FASTSGD_DEFINE_CSR_STEPS(float, f32, int32_t, i32)
FASTSGD_DEFINE_CSR_STEPS(float, f32, int64_t, i64)
FASTSGD_DEFINE_CSR_STEPS(double, f64, int32_t, i32)
FASTSGD_DEFINE_CSR_STEPS(double, f64, int64_t, i64)

#define FASTSGD_DEFINE_CSR_AVERAGING(T, TS, I, IS)                                                 \
    FASTSGD_KERNEL void fastsgd_average_apart_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, T *w, T *a,\
                                                          ptrdiff_t K, const double *c, double scale)\
    {                                                                                              \
        for (ptrdiff_t from = 0; from < K; from += BLOCK) {                                        \
            const ptrdiff_t some = K - from < BLOCK ? K - from : BLOCK;                            \
            T cs[BLOCK];                                                                           \
            for (ptrdiff_t k = 0; k < some; k++)                                                   \
                cs[k] = (T)c[from + k];                                                            \
            if (K == 1)                                                                            \
                for (ptrdiff_t j = 0; j < nnz; j++)                                                \
                    fastsgd_average_span_##TS(1, cs, 0, x + j, 0, (T)scale, w + columns[j], a + columns[j]);\
            else                                                                                   \
                for (ptrdiff_t j = 0; j < nnz; j++) {                                              \
                    const ptrdiff_t at = (ptrdiff_t)columns[j] * K + from;                         \
                    fastsgd_average_span_##TS(some, cs, 1, x + j, 0, (T)scale, w + at, a + at);    \
                }                                                                                  \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static inline void fastsgd_average_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, T *w, T *a, ptrdiff_t K,\
                                                   ptrdiff_t pitch, const double *c, double scale) \
    {                                                                                              \
        fastsgd_account account = {0, 1, scale, 0, 0};                                             \
        if (pitch == K)                                                                            \
            fastsgd_average_apart_##TS##_##IS(x, columns, nnz, w, a, K, c, scale);                 \
        else                                                                                       \
            FASTSGD_ONE_OUTPUT_CHOOSE(fastsgd_average_pairs_##TS##_##IS, (x, columns, nnz, w, a, (T)c[0], &account));\
    }

FASTSGD_DEFINE_CSR_AVERAGING(float, f32, int32_t, i32)
FASTSGD_DEFINE_CSR_AVERAGING(float, f32, int64_t, i64)
FASTSGD_DEFINE_CSR_AVERAGING(double, f64, int32_t, i32)
FASTSGD_DEFINE_CSR_AVERAGING(double, f64, int64_t, i64)

#define fastsgd_average(x, columns, ...) FASTSGD_PICK(fastsgd_average, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_step(x, columns, ...) FASTSGD_PICK(fastsgd_step, x, columns)(x, columns, __VA_ARGS__)

#endif
