/* The hidden layer of a network on dense rows: many units, and all the rows of a batch. Each reads what the others have
 * brought to the cache or to registers. With so many sums, those of simd.h would spend their time on doubles and on
 * adding up lanes: here lanes are added up in the data's type. All in one fixed order, so that every CPU computes the same
 * bits.
 */
#ifndef FASTSGD_HIDDEN_H
#define FASTSGD_HIDDEN_H

#include "adaptive.h"

enum {
    TILE = 4,        /* units that meet some rows at once, or in products twice as many one row; */
    LINES = 4        /* of their weights, that rows are added to at once */
};

/* As many rows at once as there are registers for their sums. */
#define FASTSGD_ROWS(BYTES) (BYTES == 64 ? 4 : 2)

#if defined(__GNUC__) || defined(__clang__)
#define FASTSGD_ADD_PRODUCT(sum, a, b) ((sum) += (a) * (b))
#define FASTSGD_ADD_SCALED(sum, c, a) ((sum) += (c) * (a))
#define FASTSGD_ADD(sum, a) ((sum) += (a))
#else
#define FASTSGD_ADD_PRODUCT(sum, a, b)                                                             \
    do {                                                                                           \
        for (size_t lane = 0; lane < sizeof(a) / sizeof((a)[0]); lane++)                           \
            (sum)[lane] += (a)[lane] * (b)[lane];                                                  \
    } while (0)
#define FASTSGD_ADD_SCALED(sum, c, a)                                                              \
    do {                                                                                           \
        for (size_t lane = 0; lane < sizeof(a) / sizeof((a)[0]); lane++)                           \
            (sum)[lane] += (c) * (a)[lane];                                                        \
    } while (0)
#define FASTSGD_ADD(sum, a)                                                                        \
    do {                                                                                           \
        for (size_t lane = 0; lane < sizeof(a) / sizeof((a)[0]); lane++)                           \
            (sum)[lane] += (a)[lane];                                                              \
    } while (0)
#endif

/* sums[i] = (0 + 2) + (1 + 3), of the four numbers of four[i] */
#ifdef FASTSGD_SHUFFLES
#define FASTSGD_SUM_FOUR(V, four, sums)                                                            \
    do {                                                                                           \
        FASTSGD_TRANSPOSE(4, V, (four)[0], (four)[1], (four)[2], (four)[3]);                       \
        (four)[0] = ((four)[0] + (four)[2]) + ((four)[1] + (four)[3]);                             \
        memcpy(sums, &(four)[0], sizeof(sums));                                                    \
    } while (0)
#else
#define FASTSGD_SUM_FOUR(V, four, sums)                                                            \
    do {                                                                                           \
        for (int i = 0; i < 4; i++)                                                                \
            (sums)[i] = ((four)[i][0] + (four)[i][2]) + ((four)[i][1] + (four)[i][3]);             \
    } while (0)
#endif

#define FASTSGD_DEFINE_HIDDEN(T, TS, BYTES, TARGET)                                                \
    /* The sum of the lanes, halves first, as four sums that are to be added crosswise. */         \
    TARGET FASTSGD_INLINE void fastsgd_halves_##TS##_##BYTES(const T *lanes, fastsgd_four_##TS *sum)\
    {                                                                                              \
        enum { FOURS = LINE / sizeof(T) / 4 };                                                     \
        fastsgd_four_##TS part[FOURS];                                                             \
        for (int i = 0; i < FOURS; i++)                                                            \
            FASTSGD_LOAD(part[i], lanes + 4 * i);                                                  \
        for (int half = FOURS / 2; half > 0; half /= 2)                                            \
            for (int i = 0; i < half; i++)                                                         \
                FASTSGD_ADD(part[i], part[i + half]);                                              \
        FASTSGD_LOAD(*sum, &part[0]);                                                              \
    }                                                                                              \
                                                                                                   \
    /* z[i stride + k] = x[i] . w[k]; the numbers of rows and units are constants. */              \
    TARGET FASTSGD_INLINE void fastsgd_tile_##TS##_##BYTES(const int rows, const int units, const T *const *x,\
                                                           ptrdiff_t d, const T *restrict w, double *restrict z,\
                                                           ptrdiff_t stride)                       \
    {                                                                                              \
        enum { WIDTH = BYTES / sizeof(T), VECTORS = LINE / BYTES, LANES = LINE / sizeof(T) };      \
        double sum[FASTSGD_ROWS(BYTES) * TILE] = {0};                                              \
        ptrdiff_t j = 0;                                                                           \
        while (j + LANES <= d) {                                                                   \
            const ptrdiff_t left = (d - j) / LANES, end = j + (left < LONG_RUN ? left : LONG_RUN) * LANES;\
            fastsgd_vector_##TS##_##BYTES xj[FASTSGD_ROWS(BYTES)], wj;                             \
            fastsgd_vector_##TS##_##BYTES part[FASTSGD_ROWS(BYTES) * TILE][VECTORS] = {{{0}}};     \
            do {                                                                                   \
                for (int v = 0; v < VECTORS; v++) {                                                \
                    for (int i = 0; i < rows; i++)                                                 \
                        FASTSGD_LOAD(xj[i], x[i] + j + v * WIDTH);                                 \
                    for (int k = 0; k < units; k++) {                                              \
                        FASTSGD_LOAD(wj, w + k * d + j + v * WIDTH);                               \
                        for (int i = 0; i < rows; i++)                                             \
                            FASTSGD_ADD_PRODUCT(part[i * units + k][v], xj[i], wj);                \
                    }                                                                              \
                }                                                                                  \
            } while ((j += LANES) < end);                                                          \
            for (int at = 0; at < rows * units; at += 4) {                                         \
                fastsgd_four_##TS four[4] = {{0}};                                                 \
                T sums[4];                                                                         \
                for (int l = 0; l < 4 && at + l < rows * units; l++)                               \
                    fastsgd_halves_##TS##_##BYTES((const T *)part[at + l], &four[l]);              \
                FASTSGD_SUM_FOUR(fastsgd_four_##TS, four, sums);                                   \
                for (int l = 0; l < 4 && at + l < rows * units; l++)                               \
                    sum[at + l] += (double)sums[l];                                                \
            }                                                                                      \
        }                                                                                          \
        for (int i = 0; i < rows; i++)                                                             \
            for (int k = 0; k < units; k++) {                                                      \
                for (ptrdiff_t l = j; l < d; l++)                                                  \
                    sum[i * units + k] += (double)(x[i][l] * w[k * d + l]);                        \
                z[i * stride + k] = sum[i * units + k];                                            \
            }                                                                                      \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_unit_scores_##TS##_##BYTES(const T *const *x, ptrdiff_t rows, ptrdiff_t d,\
                                                                         const T *restrict w, ptrdiff_t units,\
                                                                         double *restrict z)       \
    {                                                                                              \
        enum { ROWS = FASTSGD_ROWS(BYTES) };                                                       \
        ptrdiff_t k = 0, i;                                                                        \
        if (rows == 1)                                                                             \
            for (; k + 2 * TILE <= units; k += 2 * TILE)                                           \
                fastsgd_tile_##TS##_##BYTES(1, 2 * TILE, x, d, w + k * d, z + k, units);           \
        for (; k + TILE <= units; k += TILE) {                                                     \
            for (i = 0; i + ROWS <= rows; i += ROWS)                                               \
                fastsgd_tile_##TS##_##BYTES(ROWS, TILE, x + i, d, w + k * d, z + i * units + k, units);\
            for (; i < rows; i++)                                                                  \
                fastsgd_tile_##TS##_##BYTES(1, TILE, x + i, d, w + k * d, z + i * units + k, units);\
        }                                                                                          \
        for (; k < units; k++)                                                                     \
            for (i = 0; i < rows; i++)                                                             \
                fastsgd_tile_##TS##_##BYTES(1, 1, x + i, d, w + k * d, z + i * units + k, units);  \
    }                                                                                              \
                                                                                                   \
    /* w[k] += sum_i c[i stride + k] x[i], one row after the other, on some lines; units and lines are constants. */\
    TARGET FASTSGD_INLINE void fastsgd_lines_##TS##_##BYTES(const int units, const int lines, const T *const *x,\
                                                            ptrdiff_t rows, ptrdiff_t at, const T *c, ptrdiff_t stride,\
                                                            T *restrict w, ptrdiff_t apart)        \
    {                                                                                              \
        enum { WIDTH = BYTES / sizeof(T), VECTORS = LINE / BYTES };                                \
        fastsgd_vector_##TS##_##BYTES xj[LINES * VECTORS], wj[TILE][LINES * VECTORS];              \
        for (int k = 0; k < units; k++)                                                            \
            for (int v = 0; v < lines * VECTORS; v++)                                              \
                FASTSGD_LOAD(wj[k][v], w + k * apart + v * WIDTH);                                 \
        for (ptrdiff_t i = 0; i < rows; i++) {                                                     \
            for (int v = 0; v < lines * VECTORS; v++)                                              \
                FASTSGD_LOAD(xj[v], x[i] + at + v * WIDTH);                                        \
            for (int k = 0; k < units; k++) {                                                      \
                const T ck = c[i * stride + k];                                                    \
                for (int v = 0; v < lines * VECTORS; v++)                                          \
                    FASTSGD_ADD_SCALED(wj[k][v], ck, xj[v]);                                       \
            }                                                                                      \
        }                                                                                          \
        for (int k = 0; k < units; k++)                                                            \
            for (int v = 0; v < lines * VECTORS; v++)                                              \
                memcpy(w + k * apart + v * WIDTH, &wj[k][v], sizeof wj[k][v]);                     \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_INLINE void fastsgd_some_moves_##TS##_##BYTES(const int units, const T *const *x, ptrdiff_t rows,\
                                                                 ptrdiff_t at, ptrdiff_t d, const T *c,\
                                                                 ptrdiff_t stride, T *restrict w, ptrdiff_t apart)\
    {                                                                                              \
        enum { LANES = LINE / sizeof(T), SOME_LINES = BYTES == 64 ? LINES : 1 };                   \
        ptrdiff_t j = 0;                                                                           \
        for (; j + SOME_LINES * LANES <= d; j += SOME_LINES * LANES)                               \
            fastsgd_lines_##TS##_##BYTES(units, SOME_LINES, x, rows, at + j, c, stride, w + j, apart);\
        for (; j + LANES <= d; j += LANES)                                                         \
            fastsgd_lines_##TS##_##BYTES(units, 1, x, rows, at + j, c, stride, w + j, apart);      \
        for (; j < d; j++)                                                                         \
            for (ptrdiff_t i = 0; i < rows; i++)                                                   \
                for (int k = 0; k < units; k++)                                                    \
                    w[k * apart + j] += c[i * stride + k] * x[i][at + j];                          \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_unit_moves_##TS##_##BYTES(const T *const *x, ptrdiff_t rows, ptrdiff_t at,\
                                                                        ptrdiff_t d, ptrdiff_t units, const T *c,\
                                                                        ptrdiff_t stride, T *restrict w,\
                                                                        ptrdiff_t apart)           \
    {                                                                                              \
        if (units == TILE)                                                                         \
            fastsgd_some_moves_##TS##_##BYTES(TILE, x, rows, at, d, c, stride, w, apart);          \
        else                                                                                       \
            for (; units > 0; units--, c++, w += apart)                                            \
                fastsgd_some_moves_##TS##_##BYTES(1, x, rows, at, d, c, stride, w, apart);         \
    }

FASTSGD_DEFINE_HIDDEN(float, f32, 16, )
FASTSGD_DEFINE_HIDDEN(double, f64, 16, )
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
FASTSGD_DEFINE_HIDDEN(float, f32, 32, __attribute__((target("arch=x86-64-v3"))))
FASTSGD_DEFINE_HIDDEN(double, f64, 32, __attribute__((target("arch=x86-64-v3"))))
FASTSGD_DEFINE_HIDDEN(float, f32, 64, __attribute__((target("arch=x86-64-v4"))))
FASTSGD_DEFINE_HIDDEN(double, f64, 64, __attribute__((target("arch=x86-64-v4"))))
#endif

#define FASTSGD_DEFINE_WIDEST_HIDDEN(T, TS)                                                        \
    /* The scores of `rows` rows for `units` units: z[i units + k] = x[i] . w[k] */                \
    static inline void fastsgd_unit_scores_##TS(const T *const *x, ptrdiff_t rows, ptrdiff_t d, const T *w,\
                                                ptrdiff_t units, double *z)                        \
    {                                                                                              \
        FASTSGD_WIDEST(fastsgd_unit_scores_##TS, (x, rows, d, w, units, z));                       \
    }                                                                                              \
                                                                                                   \
    /* Of at most TILE units, `apart`, and d columns from `at` on: w[k] += sum_i c[i stride + k] x[i] */\
    static inline void fastsgd_unit_moves_##TS(const T *const *x, ptrdiff_t rows, ptrdiff_t at, ptrdiff_t d,\
                                               ptrdiff_t units, const T *c, ptrdiff_t stride, T *w, ptrdiff_t apart)\
    {                                                                                              \
        FASTSGD_WIDEST(fastsgd_unit_moves_##TS, (x, rows, at, d, units, c, stride, w, apart));     \
    }                                                                                              \
                                                                                                   \
    /* a = scale a + bias, y = max(a, 0), NaN remaining */                                         \
    FASTSGD_KERNEL void fastsgd_relu_##TS(T *restrict y, ptrdiff_t n, double scale, const double *restrict bias,\
                                          double *restrict a)                                      \
    {                                                                                              \
        for (ptrdiff_t j = 0; j < n; j++) {                                                        \
            const double score = scale * a[j] + bias[j];                                           \
            a[j] = score;                                                                          \
            y[j] = (T)(score < 0 ? 0 : score);                                                     \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* e scale where y > 0, else 0 */                                                              \
    FASTSGD_KERNEL void fastsgd_relu_back_##TS(const T *restrict y, ptrdiff_t n, double scale, double *restrict e)\
    {                                                                                              \
        for (ptrdiff_t j = 0; j < n; j++)                                                          \
            e[j] = y[j] > 0 ? e[j] * scale : 0;                                                    \
    }                                                                                              \
                                                                                                   \
    /* e = sum_k c[k] w[k], of K rows of n weights: the transposed product */                      \
    FASTSGD_KERNEL void fastsgd_transposed_##TS(const T *restrict w, ptrdiff_t n, const double *c, ptrdiff_t K,\
                                                double *restrict e)                                \
    {                                                                                              \
        for (ptrdiff_t j = 0; j < n; j++)                                                          \
            e[j] = 0;                                                                              \
        for (ptrdiff_t k = 0; k < K; k++, w += n) {                                                \
            const double ck = c[k];                                                                \
            if (ck == 0)                                                                           \
                continue;                                                                          \
            for (ptrdiff_t j = 0; j < n; j++)                                                      \
                e[j] += ck * (double)w[j];                                                         \
        }                                                                                          \
    }

FASTSGD_DEFINE_WIDEST_HIDDEN(float, f32)
FASTSGD_DEFINE_WIDEST_HIDDEN(double, f64)

/* Derivatives e of n units become the moves of their weights, and their biases move; returns the change of ||W1||^2,
 * ||x||^2 being norm and a - bias the scores, which `keep` has shrunk since. */
FASTSGD_KERNEL double fastsgd_plan_units(ptrdiff_t n, double eta, double inverse, double keep, double norm,
                                         const double *restrict a, double *restrict e, double *restrict bias)
{
    double sum[8] = {0};
    ptrdiff_t j = 0;
    for (; j + 8 <= n; j += 8)
        for (int l = 0; l < 8; l++) {
            const double c = -eta * e[j + l];
            sum[l] += c * (2 * keep * (a[j + l] - bias[j + l]) + c * norm);
            bias[j + l] += c;
            e[j + l] = c * inverse;
        }
    for (; j < n; j++) {
        const double c = -eta * e[j];
        sum[0] += c * (2 * keep * (a[j] - bias[j]) + c * norm);
        bias[j] += c;
        e[j] = c * inverse;
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

#define FASTSGD_OF(kernel, w) _Generic((w), float *: kernel##_f32, const float *: kernel##_f32,   \
                                       double *: kernel##_f64, const double *: kernel##_f64)
#define fastsgd_unit_scores(x, rows, d, w, ...) FASTSGD_OF(fastsgd_unit_scores, w)(x, rows, d, w, __VA_ARGS__)
#define fastsgd_unit_moves(x, rows, at, d, units, c, stride, w, apart)                              \
    FASTSGD_OF(fastsgd_unit_moves, w)(x, rows, at, d, units, c, stride, w, apart)
#define fastsgd_relu(y, ...) FASTSGD_OF(fastsgd_relu, y)(y, __VA_ARGS__)
#define fastsgd_relu_back(y, ...) FASTSGD_OF(fastsgd_relu_back, y)(y, __VA_ARGS__)
#define fastsgd_transposed(w, ...) FASTSGD_OF(fastsgd_transposed, w)(w, __VA_ARGS__)

#endif
