/* The hidden layer of a network on dense rows: many units, and all the rows of a batch. Each reads what the others have
 * brought to the cache or to registers. With so many sums, those of simd.h would spend their time on doubles and on
 * adding up lanes: here a lane takes LONG_RUN products, and lanes are added up, in the data's type. All in one fixed
 * order, so that every CPU computes the same bits.
 */
#ifndef FASTSGD_HIDDEN_H
#define FASTSGD_HIDDEN_H

#include "simd.h"

enum {
    LONG_RUN = 64,   /* products that a lane takes before the sum goes to double: rows of 1024 columns of float */
    TILE = 4,        /* units that two rows are multiplied with at once, or twice as many one row, */
    STEPS = 4        /* and rows that a unit takes at once */
};

#define FASTSGD_DEFINE_HIDDEN(T, TS, BYTES, TARGET)                                                \
    /* z[i stride + k] = x[i] . w[k]; the numbers of rows and units are constants. */              \
    TARGET FASTSGD_INLINE void fastsgd_tile_##TS##_##BYTES(const int rows, const int units, const T *const *x,\
                                                           ptrdiff_t d, const T *restrict w, double *restrict z,\
                                                           ptrdiff_t stride)                       \
    {                                                                                              \
        enum { WIDTH = BYTES / sizeof(T), VECTORS = LINE / BYTES, LANES = LINE / sizeof(T) };      \
        double sum[2 * TILE] = {0};                                                                \
        ptrdiff_t j = 0;                                                                           \
        while (j + LANES <= d) {                                                                   \
            const ptrdiff_t left = (d - j) / LANES, end = j + (left < LONG_RUN ? left : LONG_RUN) * LANES;\
            fastsgd_vector_##TS##_##BYTES xj[2], wj, part[2 * TILE][VECTORS] = {{{0}}};            \
            do {                                                                                   \
                for (int v = 0; v < VECTORS; v++) {                                                \
                    for (int i = 0; i < rows; i++)                                                 \
                        FASTSGD_LOAD(xj[i], x[i] + j + v * WIDTH);                                 \
                    for (int k = 0; k < units; k++)                                                \
                        for (int i = 0; i < rows; i++)                                             \
                            FASTSGD_MULTIPLY_ADD(part[i * units + k][v], xj[i], wj, w + k * d + j + v * WIDTH);\
                }                                                                                  \
            } while ((j += LANES) < end);                                                          \
            for (int i = 0; i < rows; i++)                                                         \
                for (int k = 0; k < units; k++) {                                                  \
                    T lanes[LANES];                                                                \
                    memcpy(lanes, part[i * units + k], sizeof lanes);                                       \
                    for (int half = LANES / 2; half > 0; half /= 2)                                \
                        for (int l = 0; l < half; l++)                                             \
                            lanes[l] += lanes[l + half];                                           \
                    sum[i * units + k] += (double)lanes[0];                                                 \
                }                                                                                  \
        }                                                                                          \
        for (int i = 0; i < rows; i++)                                                             \
            for (int k = 0; k < units; k++) {                                                      \
                for (ptrdiff_t l = j; l < d; l++)                                                  \
                    sum[i * units + k] += (double)(x[i][l] * w[k * d + l]);                                 \
                z[i * stride + k] = sum[i * units + k];                                                     \
            }                                                                                      \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_unit_scores_##TS##_##BYTES(const T *const *x, ptrdiff_t rows, ptrdiff_t d,\
                                                                         const T *restrict w, ptrdiff_t units,\
                                                                         double *restrict z)       \
    {                                                                                              \
        ptrdiff_t k = 0, i;                                                                        \
        if (rows == 1)                                                                             \
            for (; k + 2 * TILE <= units; k += 2 * TILE)                                           \
                fastsgd_tile_##TS##_##BYTES(1, 2 * TILE, x, d, w + k * d, z + k, units);           \
        for (; k + TILE <= units; k += TILE) {                                                     \
            for (i = 0; i + 2 <= rows; i += 2)                                                     \
                fastsgd_tile_##TS##_##BYTES(2, TILE, x + i, d, w + k * d, z + i * units + k, units);\
            if (i < rows)                                                                          \
                fastsgd_tile_##TS##_##BYTES(1, TILE, x + i, d, w + k * d, z + i * units + k, units);\
        }                                                                                          \
        for (; k < units; k++)                                                                     \
            for (i = 0; i < rows; i++)                                                             \
                fastsgd_tile_##TS##_##BYTES(1, 1, x + i, d, w + k * d, z + i * units + k, units);  \
    }                                                                                              \
                                                                                                   \
    /* w += sum_i c[i] x[i], one row after the other; their number is a constant. */               \
    TARGET FASTSGD_INLINE void fastsgd_steps_##TS##_##BYTES(const int rows, const T *const *x, ptrdiff_t d,\
                                                            T *restrict w, const T *c)             \
    {                                                                                              \
        enum { WIDTH = BYTES / sizeof(T) };                                                        \
        fastsgd_vector_##TS##_##BYTES cs[STEPS] = {{0}}, xj, wj;                                   \
        ptrdiff_t j = 0;                                                                           \
        for (int i = 0; i < rows; i++)                                                             \
            for (int l = 0; l < WIDTH; l++)                                                        \
                cs[i][l] = c[i];                                                                   \
        for (; j + WIDTH <= d; j += WIDTH) {                                                       \
            FASTSGD_LOAD(wj, w + j);                                                               \
            for (int i = 0; i < rows; i++)                                                         \
                FASTSGD_MULTIPLY_ADD(wj, cs[i], xj, x[i] + j);                                     \
            memcpy(w + j, &wj, sizeof wj);                                                         \
        }                                                                                          \
        for (; j < d; j++)                                                                         \
            for (int i = 0; i < rows; i++)                                                         \
                w[j] += c[i] * x[i][j];                                                            \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_unit_moves_##TS##_##BYTES(const T *const *x, ptrdiff_t rows, ptrdiff_t d,\
                                                                        T *restrict w, const double *c,\
                                                                        ptrdiff_t stride)          \
    {                                                                                              \
        const T *chosen[STEPS];                                                                    \
        T cs[STEPS] = {0};                                                                         \
        int n = 0;                                                                                 \
        for (ptrdiff_t i = 0; i < rows; i++) {                                                     \
            if (c[i * stride] == 0)                                                                \
                continue;                                                                          \
            chosen[n] = x[i];                                                                      \
            cs[n++] = (T)c[i * stride];                                                            \
            if (n == STEPS) {                                                                      \
                fastsgd_steps_##TS##_##BYTES(STEPS, chosen, d, w, cs);                             \
                n = 0;                                                                             \
            }                                                                                      \
        }                                                                                          \
        if (n == 3)                                                                                \
            fastsgd_steps_##TS##_##BYTES(3, chosen, d, w, cs);                                     \
        else if (n == 2)                                                                           \
            fastsgd_steps_##TS##_##BYTES(2, chosen, d, w, cs);                                     \
        else if (n == 1)                                                                           \
            fastsgd_steps_##TS##_##BYTES(1, chosen, d, w, cs);                                     \
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
    /* One unit's w += sum_i c[i stride] x[i], over the rows where c is not 0 */                   \
    static inline void fastsgd_unit_moves_##TS(const T *const *x, ptrdiff_t rows, ptrdiff_t d, T *w, const double *c,\
                                               ptrdiff_t stride)                                   \
    {                                                                                              \
        FASTSGD_WIDEST(fastsgd_unit_moves_##TS, (x, rows, d, w, c, stride));                       \
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
#define fastsgd_unit_moves(x, rows, d, w, ...) FASTSGD_OF(fastsgd_unit_moves, w)(x, rows, d, w, __VA_ARGS__)
#define fastsgd_relu(y, ...) FASTSGD_OF(fastsgd_relu, y)(y, __VA_ARGS__)
#define fastsgd_relu_back(y, ...) FASTSGD_OF(fastsgd_relu_back, y)(y, __VA_ARGS__)
#define fastsgd_transposed(w, ...) FASTSGD_OF(fastsgd_transposed, w)(w, __VA_ARGS__)

#endif
