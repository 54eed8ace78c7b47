/* Cells of a row with one output, 2 or 4 numbers at each column, as a matrix of as many rows; and back. Those of 4
 * by 4 x 4 transposes, of which a wide vector does two side by side.
 */
#ifndef FASTSGD_CELLS_H
#define FASTSGD_CELLS_H

#include "simd.h"

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define FASTSGD_SHUFFLES /* clang, and gcc from 12 on */
#endif
#endif

#ifdef FASTSGD_SHUFFLES
#define FASTSGD_LOW_4(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define FASTSGD_HIGH_4(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define FASTSGD_FIRST_4(a, b) __builtin_shufflevector(a, b, 0, 1, 4, 5)
#define FASTSGD_LAST_4(a, b) __builtin_shufflevector(a, b, 2, 3, 6, 7)
#define FASTSGD_LOW_8(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define FASTSGD_HIGH_8(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define FASTSGD_FIRST_8(a, b) __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define FASTSGD_LAST_8(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)

/* Of N cells, or of their numbers kind by kind, the other: a vector for each of the first (and fifth) four. */
#define FASTSGD_TRANSPOSE(N, V, c0, c1, c2, c3)                                                    \
    do {                                                                                           \
        const V low0 = FASTSGD_LOW_##N(c0, c1), low1 = FASTSGD_LOW_##N(c2, c3);                    \
        const V high0 = FASTSGD_HIGH_##N(c0, c1), high1 = FASTSGD_HIGH_##N(c2, c3);                \
        (c0) = FASTSGD_FIRST_##N(low0, low1);                                                      \
        (c1) = FASTSGD_LAST_##N(low0, low1);                                                       \
        (c2) = FASTSGD_FIRST_##N(high0, high1);                                                    \
        (c3) = FASTSGD_LAST_##N(high0, high1);                                                     \
    } while (0)

/* A vector from or to cells: one of four numbers, or two of them `n` columns apart. */
#define FASTSGD_LOAD_CELLS_4(TS, vector, w, columns) FASTSGD_LOAD(vector, (w) + 4 * (ptrdiff_t)(columns)[0])
#define FASTSGD_STORE_CELLS_4(TS, vector, w, columns)                                              \
    memcpy((w) + 4 * (ptrdiff_t)(columns)[0], &(vector), sizeof(vector))
#define FASTSGD_LOAD_CELLS_8(TS, vector, w, columns)                                               \
    do {                                                                                           \
        fastsgd_four_##TS half0, half1;                                                            \
        FASTSGD_LOAD(half0, (w) + 4 * (ptrdiff_t)(columns)[0]);                                    \
        FASTSGD_LOAD(half1, (w) + 4 * (ptrdiff_t)(columns)[4]);                                    \
        (vector) = __builtin_shufflevector(half0, half1, 0, 1, 2, 3, 4, 5, 6, 7);                  \
    } while (0)
#define FASTSGD_STORE_CELLS_8(TS, vector, w, columns)                                              \
    do {                                                                                           \
        const fastsgd_four_##TS half0 = __builtin_shufflevector(vector, vector, 0, 1, 2, 3);       \
        const fastsgd_four_##TS half1 = __builtin_shufflevector(vector, vector, 4, 5, 6, 7);       \
        memcpy((w) + 4 * (ptrdiff_t)(columns)[0], &half0, sizeof half0);                           \
        memcpy((w) + 4 * (ptrdiff_t)(columns)[4], &half1, sizeof half1);                           \
    } while (0)

/* What of `nnz` cells goes by whole vectors of N numbers; `used` of the four have a meaning. */
#define FASTSGD_DEFINE_CELLS(T, TS, I, IS, N, V, TARGET)                                           \
    TARGET static inline ptrdiff_t fastsgd_gather_##TS##_##IS##_##N(const I *restrict columns, ptrdiff_t nnz,\
                                                                    const T *restrict w, int used, T *restrict out)\
    {                                                                                              \
        ptrdiff_t e = 0;                                                                           \
        for (; e + N <= nnz; e += N) {                                                             \
            V c0, c1, c2, c3;                                                                      \
            FASTSGD_LOAD_CELLS_##N(TS, c0, w, columns + e);                                        \
            FASTSGD_LOAD_CELLS_##N(TS, c1, w, columns + e + 1);                                    \
            FASTSGD_LOAD_CELLS_##N(TS, c2, w, columns + e + 2);                                    \
            FASTSGD_LOAD_CELLS_##N(TS, c3, w, columns + e + 3);                                    \
            FASTSGD_TRANSPOSE(N, V, c0, c1, c2, c3);                                               \
            memcpy(out + e, &c0, sizeof c0);                                                       \
            memcpy(out + nnz + e, &c1, sizeof c1);                                                 \
            memcpy(out + 2 * nnz + e, &c2, sizeof c2);                                             \
            if (used == 4)                                                                         \
                memcpy(out + 3 * nnz + e, &c3, sizeof c3);                                         \
        }                                                                                          \
        return e;                                                                                  \
    }                                                                                              \
                                                                                                   \
    TARGET static inline ptrdiff_t fastsgd_scatter_##TS##_##IS##_##N(const I *restrict columns, ptrdiff_t nnz,\
                                                                     T *restrict w, int used, const T *restrict in)\
    {                                                                                              \
        ptrdiff_t e = 0;                                                                           \
        for (; e + N <= nnz; e += N) {                                                             \
            V c0, c1, c2, c3 = {0};                                                                \
            FASTSGD_LOAD(c0, in + e);                                                              \
            FASTSGD_LOAD(c1, in + nnz + e);                                                        \
            FASTSGD_LOAD(c2, in + 2 * nnz + e);                                                    \
            if (used == 4)                                                                         \
                FASTSGD_LOAD(c3, in + 3 * nnz + e);                                                \
            FASTSGD_TRANSPOSE(N, V, c0, c1, c2, c3);                                               \
            FASTSGD_STORE_CELLS_##N(TS, c0, w, columns + e);                                       \
            FASTSGD_STORE_CELLS_##N(TS, c1, w, columns + e + 1);                                   \
            FASTSGD_STORE_CELLS_##N(TS, c2, w, columns + e + 2);                                   \
            FASTSGD_STORE_CELLS_##N(TS, c3, w, columns + e + 3);                                   \
        }                                                                                          \
        return e;                                                                                  \
    }

#define FASTSGD_DEFINE_CELLS_4(T, TS, I, IS) FASTSGD_DEFINE_CELLS(T, TS, I, IS, 4, fastsgd_four_##TS, )
FASTSGD_DEFINE_CELLS_4(float, f32, int32_t, i32)
FASTSGD_DEFINE_CELLS_4(float, f32, int64_t, i64)
FASTSGD_DEFINE_CELLS_4(double, f64, int32_t, i32)
FASTSGD_DEFINE_CELLS_4(double, f64, int64_t, i64)
#endif

#if defined(FASTSGD_SHUFFLES) && defined(__x86_64__) && !defined(__clang__)
#define FASTSGD_V3 __attribute__((target("arch=x86-64-v3")))
FASTSGD_DEFINE_CELLS(float, f32, int32_t, i32, 8, fastsgd_vector_f32_32, FASTSGD_V3)
FASTSGD_DEFINE_CELLS(float, f32, int64_t, i64, 8, fastsgd_vector_f32_32, FASTSGD_V3)
#define FASTSGD_WHOLE_f32(kernel, IS, arguments)                                                   \
    (__builtin_cpu_supports("x86-64-v3") ? kernel##_f32_##IS##_8 arguments : kernel##_f32_##IS##_4 arguments)
#elif defined(FASTSGD_SHUFFLES)
#define FASTSGD_WHOLE_f32(kernel, IS, arguments) kernel##_f32_##IS##_4 arguments
#else
#define FASTSGD_WHOLE_f32(kernel, IS, arguments) 0
#endif
#ifdef FASTSGD_SHUFFLES
#define FASTSGD_WHOLE_f64(kernel, IS, arguments) kernel##_f64_##IS##_4 arguments
#else
#define FASTSGD_WHOLE_f64(kernel, IS, arguments) 0
#endif

/* As many cells of two numbers as 16 bytes take of either. */
#ifdef FASTSGD_SHUFFLES
/* A cell of two floats moves like a double: two of them make a vector by two loads, and are stored from either half. */
#define FASTSGD_LOAD_TWO(columns, w, i, both)                                                      \
    do {                                                                                           \
        double cell0, cell1;                                                                       \
        memcpy(&cell0, (w) + 2 * (ptrdiff_t)(columns)[i], sizeof cell0);                           \
        memcpy(&cell1, (w) + 2 * (ptrdiff_t)(columns)[i + 1], sizeof cell1);                       \
        (both) = (fastsgd_sixteen_f32)(fastsgd_sixteen_f64){cell0, cell1};                         \
    } while (0)
#define FASTSGD_STORE_CELL(columns, w, i, doubles, lane)                                           \
    do {                                                                                           \
        const double cell = (doubles)[lane];                                                       \
        memcpy((w) + 2 * (ptrdiff_t)(columns)[i], &cell, sizeof cell);                             \
    } while (0)

#define FASTSGD_LOAD_PAIRS_f32(columns, w, first, second)                                          \
    do {                                                                                           \
        fastsgd_sixteen_f32 low, high;                                                             \
        FASTSGD_LOAD_TWO(columns, w, 0, low);                                                      \
        FASTSGD_LOAD_TWO(columns, w, 2, high);                                                     \
        (first) = __builtin_shufflevector(low, high, 0, 2, 4, 6);                                  \
        (second) = __builtin_shufflevector(low, high, 1, 3, 5, 7);                                 \
    } while (0)
#define FASTSGD_STORE_PAIRS_f32(columns, w, first, second)                                         \
    do {                                                                                           \
        const fastsgd_sixteen_f64 low = (fastsgd_sixteen_f64)FASTSGD_LOW_4(first, second);         \
        const fastsgd_sixteen_f64 high = (fastsgd_sixteen_f64)FASTSGD_HIGH_4(first, second);       \
        FASTSGD_STORE_CELL(columns, w, 0, low, 0);                                                 \
        FASTSGD_STORE_CELL(columns, w, 1, low, 1);                                                 \
        FASTSGD_STORE_CELL(columns, w, 2, high, 0);                                                \
        FASTSGD_STORE_CELL(columns, w, 3, high, 1);                                                \
    } while (0)
#define FASTSGD_LOAD_PAIRS_f64(columns, w, first, second)                                          \
    do {                                                                                           \
        fastsgd_sixteen_f64 cell0, cell1;                                                          \
        FASTSGD_LOAD(cell0, (w) + 2 * (ptrdiff_t)(columns)[0]);                                    \
        FASTSGD_LOAD(cell1, (w) + 2 * (ptrdiff_t)(columns)[1]);                                    \
        (first) = __builtin_shufflevector(cell0, cell1, 0, 2);                                     \
        (second) = __builtin_shufflevector(cell0, cell1, 1, 3);                                    \
    } while (0)
#define FASTSGD_STORE_PAIRS_f64(columns, w, first, second)                                         \
    do {                                                                                           \
        const fastsgd_sixteen_f64 cell0 = __builtin_shufflevector(first, second, 0, 2);            \
        const fastsgd_sixteen_f64 cell1 = __builtin_shufflevector(first, second, 1, 3);            \
        memcpy((w) + 2 * (ptrdiff_t)(columns)[0], &cell0, sizeof cell0);                           \
        memcpy((w) + 2 * (ptrdiff_t)(columns)[1], &cell1, sizeof cell1);                           \
    } while (0)
#else
#define FASTSGD_LOAD_PAIRS(columns, w, first, second)                                              \
    for (size_t lane = 0; lane < sizeof(first) / sizeof((w)[0]); lane++) {                         \
        (first)[lane] = (w)[2 * (ptrdiff_t)(columns)[lane]];                                       \
        (second)[lane] = (w)[2 * (ptrdiff_t)(columns)[lane] + 1];                                  \
    }
#define FASTSGD_STORE_PAIRS(columns, w, first, second)                                             \
    for (size_t lane = 0; lane < sizeof(first) / sizeof((w)[0]); lane++) {                         \
        (w)[2 * (ptrdiff_t)(columns)[lane]] = (first)[lane];                                       \
        (w)[2 * (ptrdiff_t)(columns)[lane] + 1] = (second)[lane];                                  \
    }
#define FASTSGD_LOAD_PAIRS_f32 FASTSGD_LOAD_PAIRS
#define FASTSGD_LOAD_PAIRS_f64 FASTSGD_LOAD_PAIRS
#define FASTSGD_STORE_PAIRS_f32 FASTSGD_STORE_PAIRS
#define FASTSGD_STORE_PAIRS_f64 FASTSGD_STORE_PAIRS
#endif

#define FASTSGD_DEFINE_GATHER(T, TS, I, IS)                                                        \
    FASTSGD_UNUSED static void fastsgd_gather_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, const T *w,\
                                                          ptrdiff_t pitch, int used, T *out)       \
    {                                                                                              \
        ptrdiff_t e = 0;                                                                           \
        (void)x;                                                                                   \
        if (pitch == 2) {                                                                          \
            for (; e + FASTSGD_LANES(T) <= nnz; e += FASTSGD_LANES(T)) {                           \
                fastsgd_sixteen_##TS first, second;                                                \
                FASTSGD_LOAD_PAIRS_##TS(columns + e, w, first, second);                            \
                memcpy(out + e, &first, sizeof first);                                             \
                memcpy(out + nnz + e, &second, sizeof second);                                     \
            }                                                                                      \
            for (; e < nnz; e++) {                                                                 \
                out[e] = w[2 * (ptrdiff_t)columns[e]];                                             \
                out[nnz + e] = w[2 * (ptrdiff_t)columns[e] + 1];                                   \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (e = FASTSGD_WHOLE_##TS(fastsgd_gather, IS, (columns, nnz, w, used, out)); e < nnz; e++)\
            for (int i = 0; i < 4; i++)                                                            \
                out[i * nnz + e] = w[4 * (ptrdiff_t)columns[e] + i];                               \
    }                                                                                              \
                                                                                                   \
    FASTSGD_UNUSED static void fastsgd_scatter_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, T *w,\
                                                           ptrdiff_t pitch, int used, const T *in) \
    {                                                                                              \
        ptrdiff_t e = 0;                                                                           \
        (void)x;                                                                                   \
        if (pitch == 2) {                                                                          \
            for (; e + FASTSGD_LANES(T) <= nnz; e += FASTSGD_LANES(T)) {                           \
                fastsgd_sixteen_##TS first, second;                                                \
                FASTSGD_LOAD(first, in + e);                                                       \
                FASTSGD_LOAD(second, in + nnz + e);                                                \
                FASTSGD_STORE_PAIRS_##TS(columns + e, w, first, second);                           \
            }                                                                                      \
            for (; e < nnz; e++) {                                                                 \
                w[2 * (ptrdiff_t)columns[e]] = in[e];                                              \
                w[2 * (ptrdiff_t)columns[e] + 1] = in[nnz + e];                                    \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (e = FASTSGD_WHOLE_##TS(fastsgd_scatter, IS, (columns, nnz, w, used, in)); e < nnz; e++)\
            for (int i = 0; i < 4; i++)                                                            \
                w[4 * (ptrdiff_t)columns[e] + i] = in[i * nnz + e];                                \
    }

FASTSGD_DEFINE_GATHER(float, f32, int32_t, i32)
FASTSGD_DEFINE_GATHER(float, f32, int64_t, i64)
FASTSGD_DEFINE_GATHER(double, f64, int32_t, i32)
FASTSGD_DEFINE_GATHER(double, f64, int64_t, i64)

#define FASTSGD_PICK_CSR(kernel, x, columns)                                                       \
    _Generic((columns),                                                                            \
        const int32_t *: _Generic((x), const float *: kernel##_f32_i32, const double *: kernel##_f64_i32),\
        const int64_t *: _Generic((x), const float *: kernel##_f32_i64, const double *: kernel##_f64_i64))
#define fastsgd_gather(x, columns, ...) FASTSGD_PICK_CSR(fastsgd_gather, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_scatter(x, columns, ...) FASTSGD_PICK_CSR(fastsgd_scatter, x, columns)(x, columns, __VA_ARGS__)

#endif
