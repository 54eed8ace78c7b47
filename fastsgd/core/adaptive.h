/* Optimisers with a step for each weight: how a row's gradient is applied, and the numbers they keep beside the weights.
 *
 * A feature's cell has K weights, then K numbers of each other kind, then, under NORMALIZED, 1 / s, s being its scale,
 * the largest |x_j| so far; 0 before there is one. On dense rows cells are the columns of a matrix of `pitch` rows, on
 * CSR rows they are its rows, so that a nonzero finds in one place all that it needs. One function, fastsgd_adapt, says
 * what a gradient does to n weights whose other numbers are `apart`, 2 `apart`, 3 `apart` further on; the rest feeds it.
 * A weight whose gradient is 0 stays as it is, and so do its numbers: dense rows equal sparse ones. In a network that is
 * so of features alone: of a cell of W1 on CSR rows, if all its gradients are 0.
 *
 *   ADAGRAD     G += g^2;  w -= eta g / (sqrt(G + delta) + eta l2)                  Duchi, Hazan, Singer (2011)
 *   FTRL        n += g^2;  z += g - (D' - D) w;  w = -(z - sign(z) l1) / (D' + l2), or 0 where |z| <= l1, with
 *               D = (beta + sqrt(n)) / eta                                   McMahan et al. (2013), algorithm 1
 *   ADAM        m, v: running means of g and g^2;  w -= eta m^ / (sqrt(v^) + epsilon + eta l2)   Kingma, Ba (2015)
 *   NORMALIZED  of u = x / s:  G += (g u)^2;  w -= h u / s * eta / (sqrt(G) + eta l2)   Ross, Mineiro, Langford (2013),
 *               algorithm 3, G in units of s: no product of small numbers, whatever unit a column has
 *
 * In FTRL-proximal an l2 penalty is nothing but l2 in the denominator of the step; the others take it over. In a network
 * its gradient, decay w, is part of g.
 */
#ifndef FASTSGD_ADAPTIVE_H
#define FASTSGD_ADAPTIVE_H

#include "cells.h"
#include <float.h>
#include <math.h>

enum { FASTSGD_SGD, FASTSGD_ADAGRAD, FASTSGD_NORMALIZED, FASTSGD_FTRL, FASTSGD_ADAM };

typedef struct {
    int optimizer;
    double decay;            /* network: strength of the l2 penalty */
    double eta;              /* of this step; of adam, over 1 - beta1^t */
    double delta;            /* adagrad: what G starts from */
    double beta;             /* ftrl */
    double l1, l2;           /* penalties of the sum of all rows' losses */
    double beta1, beta2;     /* adam */
    double correction;       /* adam: 1 / (1 - beta2^t) */
    double epsilon;          /* adam */
} fastsgd_rule;

/* Gradients worked out at once; running sums; cells of a network that are asked for before their turn. */
enum { SOME = 256, SUMS = 16, CELLS_AHEAD = 4 };

/* Whether a value is larger than its column's scale, without a branch; x * (1 / x) never rounds to more than 1. */
#define FASTSGD_BEYOND(size, inverse) (((size) * (inverse) > 1) | (((inverse) == 0) & ((size) > 0)))

#define FASTSGD_DEFINE_ADAPTIVE(T, TS, SQRT, ABS, TINY)                                            \
    FASTSGD_INLINE void fastsgd_adapt_##TS(const fastsgd_rule *rule, const int whole, ptrdiff_t n, ptrdiff_t apart,\
                                           const T *restrict g, T *restrict w)                     \
    {                                                                                              \
        const T eta = (T)rule->eta, more = (T)(rule->eta * rule->l2);                              \
        if (rule->optimizer == FASTSGD_ADAGRAD) {                                                  \
            T *restrict G = w + apart;                                                             \
            const T delta = (T)rule->delta;                                                        \
            for (ptrdiff_t i = 0; i < n; i++) {                                                    \
                G[i] += g[i] * g[i];                                                               \
                w[i] -= eta * g[i] / (SQRT(G[i] + delta) + more);                                  \
            }                                                                                      \
        } else if (rule->optimizer == FASTSGD_FTRL) {                                              \
            T *restrict z = w + apart, *restrict N = w + 2 * apart, *restrict D = w + 3 * apart;   \
            const T inverse = (T)(1 / rule->eta), beta = (T)rule->beta, l1 = (T)rule->l1, l2 = (T)rule->l2;\
            for (ptrdiff_t i = 0; i < n; i++) {                                                    \
                const int moves = g[i] != 0;                                                       \
                const T N1 = N[i] + g[i] * g[i], D1 = (beta + SQRT(N1)) * inverse;                 \
                const T z1 = z[i] + g[i] - (D1 - D[i]) * w[i], beyond = ABS(z1) - l1;              \
                const T size = beyond > 0 ? beyond / (D1 + l2) : 0, w1 = z1 > 0 ? -size : size;    \
                N[i] = N1;                                                                         \
                D[i] = moves ? D1 : D[i];                                                          \
                z[i] = moves ? z1 : z[i];                                                          \
                w[i] = moves ? w1 : w[i];                                                          \
            }                                                                                      \
        } else { /* FASTSGD_ADAM */                                                                \
            T *restrict m = w + apart, *restrict v = w + 2 * apart;                                \
            const T keep1 = (T)rule->beta1, keep2 = (T)rule->beta2, new1 = (T)(1 - rule->beta1), new2 = (T)(1 - rule->beta2);\
            const T correction = (T)rule->correction, least = (T)(rule->epsilon + rule->eta * rule->l2);\
            for (ptrdiff_t i = 0; i < n; i++) {                                                    \
                const int moves = whole | (g[i] != 0);                                             \
                const T m1 = keep1 * m[i] + new1 * g[i], v1 = keep2 * v[i] + new2 * g[i] * g[i];   \
                const T step = eta * m1 / (SQRT(v1 * correction) + least);                         \
                m[i] = moves ? m1 : m[i];                                                          \
                v[i] = moves ? v1 : v[i];                                                          \
                w[i] -= moves ? step : 0;                                                          \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* Apply the gradient of n weights of a network, to which that of the penalty is added. */     \
    FASTSGD_KERNEL void fastsgd_adapt_all_##TS(const fastsgd_rule *rule, ptrdiff_t n, ptrdiff_t apart,\
                                               T *restrict gradient, T *restrict w)                \
    {                                                                                              \
        const T decay = (T)rule->decay;                                                            \
        if (decay != 0)                                                                            \
            for (ptrdiff_t i = 0; i < n; i++)                                                      \
                gradient[i] += decay * w[i];                                                       \
        fastsgd_adapt_##TS(rule, 1, n, apart, gradient, w);                                        \
    }                                                                                              \
                                                                                                   \
    FASTSGD_INLINE int fastsgd_any_##TS(const T *x, ptrdiff_t n)                                   \
    {                                                                                              \
        int any = 0;                                                                               \
        for (ptrdiff_t i = 0; i < n; i++)                                                          \
            any |= x[i] != 0;                                                                      \
        return any;                                                                                \
    }                                                                                              \
                                                                                                   \
    FASTSGD_INLINE double fastsgd_squares_##TS(const T *x, ptrdiff_t n)                            \
    {                                                                                              \
        T sum[SUMS] = {0};                                                                         \
        double total = 0;                                                                          \
        ptrdiff_t i = 0;                                                                           \
        for (; i + SUMS <= n; i += SUMS)                                                           \
            for (int l = 0; l < SUMS; l++)                                                         \
                sum[l] += x[i + l] * x[i + l];                                                     \
        for (; i < n; i++)                                                                         \
            sum[i % SUMS] += x[i] * x[i];                                                          \
        for (int l = 0; l < SUMS; l++)                                                             \
            total += sum[l];                                                                       \
        return total;                                                                              \
    }                                                                                              \
                                                                                                   \
    /* Apply the gradient g[k] x_j of a dense row; or, if `gradient` is not NULL, what it has gathered, and empty it. */\
    FASTSGD_KERNEL void fastsgd_adapt_row_##TS##_u8(const T *restrict x, const uint8_t *columns, ptrdiff_t d,\
                                                    const fastsgd_rule *rule, T *restrict w, ptrdiff_t K, ptrdiff_t pitch,\
                                                    const double *restrict g, T *restrict gradient)\
    {                                                                                              \
        T row[SOME];                                                                               \
        (void)columns;                                                                             \
        (void)pitch;                                                                               \
        for (ptrdiff_t k = 0; k < K; k++)                                                          \
            for (ptrdiff_t j = 0; j < d; j += SOME) {                                              \
                const ptrdiff_t n = d - j < SOME ? d - j : SOME;                                   \
                if (gradient != NULL) {                                                            \
                    fastsgd_adapt_##TS(rule, 0, n, K * d, gradient + k * d + j, w + k * d + j);    \
                    memset(gradient + k * d + j, 0, (size_t)n * sizeof(T));                        \
                } else if (g[k] != 0) {                                                            \
                    const T gk = (T)g[k];                                                          \
                    for (ptrdiff_t i = 0; i < n; i++)                                              \
                        row[i] = gk * x[j + i];                                                    \
                    fastsgd_adapt_##TS(rule, 0, n, K * d, row, w + k * d + j);                     \
                }                                                                                  \
            }                                                                                      \
    }                                                                                              \
                                                                                                   \
    /* One weight, whose column has a new scale. */                                                \
    static inline void fastsgd_grow_##TS(T size, ptrdiff_t K, ptrdiff_t apart, ptrdiff_t next, T *w, T *inverse)\
    {                                                                                              \
        const T shorter = 1 / (size > TINY ? size : TINY);                                         \
        const T f = *inverse > 0 ? shorter / *inverse : 1; /* before, nothing depends on the unit */\
        *inverse = shorter;                                                                        \
        for (ptrdiff_t k = 0; k < K; k++, w += next) {                                             \
            w[0] *= f;                                                                             \
            w[apart] *= f * f;                                                                     \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* NORMALIZED, before the scores: u = x / s, s having grown where |x| is larger; whether any has. On CSR rows 1 / s as\
     * well: it is in the cells, and at hand on dense rows. */                                     \
    FASTSGD_KERNEL int fastsgd_rescale_##TS##_u8(const T *restrict x, const uint8_t *columns, ptrdiff_t d, T *restrict w,\
                                                 ptrdiff_t K, ptrdiff_t pitch, T *restrict u, T *restrict inverse)\
    {                                                                                              \
        T *restrict known = w + 2 * K * d;                                                         \
        int grows = 0;                                                                             \
        (void)columns;                                                                             \
        (void)pitch;                                                                               \
        (void)inverse;                                                                             \
        for (ptrdiff_t j = 0; j < d; j++) {                                                        \
            grows |= FASTSGD_BEYOND(ABS(x[j]), known[j]);                                          \
            u[j] = x[j] * known[j];                                                                \
        }                                                                                          \
        if (!grows)                                                                                \
            return 0;                                                                              \
        for (ptrdiff_t j = 0; j < d; j++) {                                                        \
            const T old = known[j], size = ABS(x[j]), shorter = 1 / (size > TINY ? size : TINY);   \
            const int beyond = FASTSGD_BEYOND(size, old);                                          \
            u[j] = beyond & (old > 0) ? shorter / old : 1; /* before, nothing depends on the unit */\
            known[j] = beyond ? shorter : old;                                                     \
        }                                                                                          \
        for (ptrdiff_t k = 0; k < K; k++)                                                          \
            for (ptrdiff_t j = 0; j < d; j++) {                                                    \
                w[k * d + j] *= u[j];                                                              \
                w[(K + k) * d + j] *= u[j] * u[j];                                                 \
            }                                                                                      \
        for (ptrdiff_t j = 0; j < d; j++)                                                          \
            u[j] = x[j] * known[j];                                                                \
        return 1;                                                                                  \
    }                                                                                              \
                                                                                                   \
    /* NORMALIZED: G += (g u)^2; returns what a derivative of 1 takes off the weight at the new G. */\
    FASTSGD_INLINE T fastsgd_rate_##TS(T eta, T more, T gu, T move, T *G)                          \
    {                                                                                              \
        const T G1 = *G + gu * gu;                                                                 \
        *G = G1;                                                                                   \
        return G1 > 0 ? eta * move / (SQRT(G1) + more) : 0;                                        \
    }                                                                                              \
                                                                                                   \
    /* For all weights of a dense row, and q[k] = x . r[k], by which a derivative of 1 moves the score. */\
    FASTSGD_KERNEL void fastsgd_rates_##TS##_u8(const T *restrict x, const uint8_t *columns, ptrdiff_t d,\
                                                const T *restrict u, const T *restrict inverse, const fastsgd_rule *rule,\
                                                T *restrict w, ptrdiff_t K, ptrdiff_t pitch, const double *restrict g,\
                                                T *restrict r, double *restrict q)                 \
    {                                                                                              \
        const T eta = (T)rule->eta, more = (T)(rule->eta * rule->l2);                              \
        const T *restrict known = w + 2 * K * d;                                                   \
        (void)columns;                                                                             \
        (void)pitch;                                                                               \
        (void)inverse;                                                                             \
        for (ptrdiff_t k = 0; k < K; k++) {                                                        \
            T *restrict G = w + (K + k) * d, *restrict rk = r + k * d, sum[SUMS] = {0};            \
            const T gk = (T)g[k];                                                                  \
            ptrdiff_t j = 0;                                                                       \
            for (ptrdiff_t i = 0; i < d; i++)                                                      \
                rk[i] = fastsgd_rate_##TS(eta, more, gk * u[i], u[i] * known[i], G + i);           \
            for (; j + SUMS <= d; j += SUMS)                                                       \
                for (int l = 0; l < SUMS; l++)                                                     \
                    sum[l] += x[j + l] * rk[j + l];                                                \
            for (; j < d; j++)                                                                     \
                sum[j % SUMS] += x[j] * rk[j];                                                     \
            q[k] = 0;                                                                              \
            for (int l = 0; l < SUMS; l++)                                                         \
                q[k] += sum[l];                                                                    \
        }                                                                                          \
    }

#define FASTSGD_DEFINE_ADAPTIVE_CSR(T, TS, I, IS, ABS, TINY)                                       \
    FASTSGD_KERNEL void fastsgd_adapt_row_##TS##_##IS(const T *restrict x, const I *restrict columns, ptrdiff_t nnz,\
                                                      const fastsgd_rule *rule, T *restrict w, ptrdiff_t K, ptrdiff_t pitch,\
                                                      const double *restrict g, T *restrict gradient)\
    {                                                                                              \
        T row[SOME];                                                                               \
        for (ptrdiff_t from = 0; from < K; from += SOME) {                                         \
            const ptrdiff_t n = K - from < SOME ? K - from : SOME;                                 \
            for (ptrdiff_t e = 0; e < nnz; e++) {                                                  \
                T *cell = w + columns[e] * pitch + from;                                           \
                if (gradient != NULL) {                                                            \
                    T *of = gradient + columns[e] * K + from;                                      \
                    fastsgd_adapt_##TS(rule, 0, n, K, of, cell);                                   \
                    memset(of, 0, (size_t)n * sizeof(T));                                          \
                } else {                                                                           \
                    for (ptrdiff_t k = 0; k < n; k++)                                              \
                        row[k] = (T)g[from + k] * x[e];                                            \
                    fastsgd_adapt_##TS(rule, 0, n, K, row, cell);                                  \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* Of a network: the cells of W1 whose gradient is not all 0; returns by how much the weights' squares have grown,\
     * if there is a penalty. */                                                                   \
    FASTSGD_KERNEL double fastsgd_adapt_cells_##TS##_##IS(const T *restrict x, const I *restrict columns, ptrdiff_t nnz,\
                                                          const fastsgd_rule *rule, T *restrict w, ptrdiff_t K,\
                                                          ptrdiff_t pitch, const double *restrict g,\
                                                          T *restrict gradient)                    \
    {                                                                                              \
        const T decay = (T)rule->decay;                                                            \
        double change = 0;                                                                         \
        T row[SOME];                                                                               \
        for (ptrdiff_t e = 0; e < nnz; e++) {                                                      \
            if (e + CELLS_AHEAD < nnz) {                                                           \
                const ptrdiff_t ahead = columns[e + CELLS_AHEAD];                                  \
                fastsgd_prefetch(w + ahead * pitch, pitch * (ptrdiff_t)sizeof(T));                 \
                if (gradient != NULL)                                                              \
                    fastsgd_prefetch(gradient + ahead * K, K * (ptrdiff_t)sizeof(T));              \
            }                                                                                      \
            if (!(gradient == NULL ? x[e] != 0 : fastsgd_any_##TS(gradient + columns[e] * K, K)))  \
                continue;                                                                          \
            for (ptrdiff_t from = 0; from < K; from += SOME) {                                     \
                const ptrdiff_t n = K - from < SOME ? K - from : SOME;                             \
                T *cell = w + columns[e] * pitch + from, *of = gradient == NULL ? row : gradient + columns[e] * K + from;\
                if (gradient == NULL)                                                              \
                    for (ptrdiff_t k = 0; k < n; k++)                                              \
                        row[k] = (T)g[from + k] * x[e];                                            \
                if (decay != 0) {                                                                  \
                    change -= fastsgd_squares_##TS(cell, n);                                       \
                    for (ptrdiff_t k = 0; k < n; k++)                                              \
                        of[k] += decay * cell[k];                                                  \
                }                                                                                  \
                fastsgd_adapt_##TS(rule, 1, n, K, of, cell);                                       \
                if (decay != 0)                                                                    \
                    change += fastsgd_squares_##TS(cell, n);                                       \
                if (gradient != NULL)                                                              \
                    memset(of, 0, (size_t)n * sizeof(T));                                          \
            }                                                                                      \
        }                                                                                          \
        return change;                                                                             \
    }                                                                                              \
                                                                                                   \
    FASTSGD_KERNEL int fastsgd_rescale_##TS##_##IS(const T *restrict x, const I *restrict columns, ptrdiff_t nnz,\
                                                   T *restrict w, ptrdiff_t K, ptrdiff_t pitch, T *restrict u,\
                                                   T *restrict inverse)                            \
    {                                                                                              \
        for (ptrdiff_t e = 0; e < nnz; e++) {                                                      \
            T *cell = w + columns[e] * pitch, *known = cell + 2 * K;                               \
            if (FASTSGD_BEYOND(ABS(x[e]), *known))                                                 \
                fastsgd_grow_##TS(ABS(x[e]), K, K, 1, cell, known);                                \
            inverse[e] = *known;                                                                   \
            u[e] = x[e] * *known;                                                                  \
        }                                                                                          \
        return 0;                                                                                  \
    }                                                                                              \
                                                                                                   \
    FASTSGD_KERNEL void fastsgd_rates_##TS##_##IS(const T *restrict x, const I *restrict columns, ptrdiff_t nnz,\
                                                  const T *restrict u, const T *restrict inverse,  \
                                                  const fastsgd_rule *rule, T *restrict w, ptrdiff_t K, ptrdiff_t pitch,\
                                                  const double *restrict g, T *restrict r, double *restrict q)\
    {                                                                                              \
        const T eta = (T)rule->eta, more = (T)(rule->eta * rule->l2);                              \
        for (ptrdiff_t k = 0; k < K; k++)                                                          \
            q[k] = 0;                                                                              \
        for (ptrdiff_t e = 0; e < nnz; e++) {                                                      \
            T *restrict G = w + columns[e] * pitch + K, *restrict re = r + e * K;                  \
            const T xe = x[e], ue = u[e], move = u[e] * inverse[e];                                \
            for (ptrdiff_t k = 0; k < K; k++) {                                                    \
                re[k] = fastsgd_rate_##TS(eta, more, (T)g[k] * ue, move, G + k);                   \
                q[k] += (double)(xe * re[k]);                                                      \
            }                                                                                      \
        }                                                                                          \
    }

FASTSGD_DEFINE_ADAPTIVE(float, f32, sqrtf, fabsf, FLT_MIN)
FASTSGD_DEFINE_ADAPTIVE(double, f64, sqrt, fabs, DBL_MIN)
FASTSGD_DEFINE_ADAPTIVE_CSR(float, f32, int32_t, i32, fabsf, FLT_MIN)
FASTSGD_DEFINE_ADAPTIVE_CSR(float, f32, int64_t, i64, fabsf, FLT_MIN)
FASTSGD_DEFINE_ADAPTIVE_CSR(double, f64, int32_t, i32, fabs, DBL_MIN)
FASTSGD_DEFINE_ADAPTIVE_CSR(double, f64, int64_t, i64, fabs, DBL_MIN)

#define fastsgd_adapt_row(x, columns, ...) FASTSGD_PICK(fastsgd_adapt_row, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_adapt_all(rule, n, apart, gradient, w)                                             \
    _Generic((w), float *: fastsgd_adapt_all_f32, double *: fastsgd_adapt_all_f64)(rule, n, apart, gradient, w)
#define fastsgd_rescale(x, columns, ...) FASTSGD_PICK(fastsgd_rescale, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_rates(x, columns, ...) FASTSGD_PICK(fastsgd_rates, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_adapt_cells(x, columns, ...) FASTSGD_PICK_CSR(fastsgd_adapt_cells, x, columns)(x, columns, __VA_ARGS__)

#endif
