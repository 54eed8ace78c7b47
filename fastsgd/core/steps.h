/* What a row does to weights that carry more than themselves: the l1 penalty each has received and its running
 * average; and the change of the norms. One function says it for a few weights at once, and has no branches.
 *
 * l1: the cumulative penalty of Tsuruoka, Tsujii, Ananiadou (2009), figure 2; `received` is their q.
 * Averaging: average_scale * w - average stays the sum of the iterates so far (Xu 2011).
 *
 * Here of one weight, of neighbours, of a dense row and of all; of CSR rows in scattered.h.
 */
#ifndef FASTSGD_STEPS_H
#define FASTSGD_STEPS_H

#include "simd.h"
#include <math.h>

typedef struct {
    double due;           /* l1 penalty that every weight W should have received by now */
    double scale;         /* W = scale * w, w being what is stored */
    double average_scale; /* sum of the scales of the iterates averaged so far */
    double sum_squares;   /* returned: change of the sum of w^2, */
    double sum_abs;       /* and of |w| */
} fastsgd_account;

enum { SPAN = 8 }; /* neighbours stepped at once, and running sums of the norms */

#define FASTSGD_DEFINE_STEPS(T, TS, ABS, COPYSIGN)                                                 \
    typedef struct {                                                                               \
        T due, scale, inverse, average_scale, squares[SPAN], abs[SPAN];                            \
    } fastsgd_sums_##TS;                                                                           \
                                                                                                   \
    /* w += c x; then l1, if the row has the feature. `l1` and `averaged` are constants, lane any of SPAN. */\
    FASTSGD_INLINE void fastsgd_one_##TS(int l1, int averaged, T c, T x, T *w, T *q, T *a, fastsgd_sums_##TS *sums,\
                                        int lane)                                                  \
    {                                                                                              \
        const T old = *w, moved = old + c * x;                                                     \
        T new = moved, size = ABS(moved), due;                                                     \
        if (l1) {                                                                                  \
            /* A weight takes what it is still due off its size; with sign, q counts towards that. Selects, not branches:\
             * these would be mispredicted on half the weights. NaN stays. */                      \
            due = sums->due + COPYSIGN(1, moved) * *q;                                             \
            due = due < 0 ? 0 : due;                                                               \
            size -= (x != 0 ? due : 0) * sums->inverse;                                            \
            size = size < 0 ? 0 : size;                                                            \
            new = COPYSIGN(size, moved) + 0; /* no -0 */                                           \
            *q += sums->scale * (new - moved);                                                     \
        }                                                                                          \
        if (averaged)                                                                              \
            *a += sums->average_scale * (new - old);                                               \
        sums->squares[lane] += (new - old) * (new + old);                                          \
        sums->abs[lane] += size - ABS(old);                                                        \
        *w = new;                                                                                  \
    }                                                                                              \
                                                                                                   \
    /* The same for neighbours; c or x may be one number for all, its stride 0. */                 \
    FASTSGD_INLINE void fastsgd_some_##TS(int some, int l1, int averaged, const T *c, int c_stride, const T *x,\
                                         int x_stride, T *w, T *q, T *a, fastsgd_sums_##TS *sums)  \
    {                                                                                              \
        const size_t bytes = (size_t)some * sizeof(T);                                             \
        T cs[SPAN] = {0}, xs[SPAN] = {0}, ws[SPAN] = {0}, qs[SPAN] = {0}, as[SPAN] = {0};          \
        for (int i = 0; i < some; i++) {                                                           \
            cs[i] = c[i * c_stride];                                                               \
            xs[i] = x[i * x_stride];                                                               \
        }                                                                                          \
        memcpy(ws, w, bytes);                                                                      \
        if (l1)                                                                                    \
            memcpy(qs, q, bytes);                                                                  \
        if (averaged)                                                                              \
            memcpy(as, a, bytes);                                                                  \
        for (int i = 0; i < SPAN; i++)                                                             \
            fastsgd_one_##TS(l1, averaged, cs[i], xs[i], ws + i, qs + i, as + i, sums, i);         \
        memcpy(w, ws, bytes);                                                                      \
        if (l1)                                                                                    \
            memcpy(q, qs, bytes);                                                                  \
        if (averaged)                                                                              \
            memcpy(a, as, bytes);                                                                  \
    }                                                                                              \
                                                                                                   \
    FASTSGD_INLINE void fastsgd_span_##TS(ptrdiff_t n, int l1, int averaged, const T *c, int c_stride, const T *x,\
                                         int x_stride, T *w, T *q, T *a, fastsgd_sums_##TS *sums)  \
    {                                                                                              \
        for (; n >= SPAN; n -= SPAN) {                                                             \
            fastsgd_some_##TS(SPAN, l1, averaged, c, c_stride, x, x_stride, w, q, a, sums);        \
            c += SPAN * c_stride;                                                                  \
            x += SPAN * x_stride;                                                                  \
            w += SPAN;                                                                             \
            q += SPAN;                                                                             \
            a += SPAN;                                                                             \
        }                                                                                          \
        if (n > 0)                                                                                 \
            fastsgd_some_##TS((int)n, l1, averaged, c, c_stride, x, x_stride, w, q, a, sums);      \
    }                                                                                              \
                                                                                                   \
    FASTSGD_INLINE fastsgd_sums_##TS fastsgd_open_##TS(const fastsgd_account *account)             \
    {                                                                                              \
        const fastsgd_sums_##TS sums = {(T)account->due, (T)account->scale, (T)(1 / account->scale),\
                                        (T)account->average_scale, {0}, {0}};                      \
        return sums;                                                                               \
    }                                                                                              \
                                                                                                   \
    FASTSGD_INLINE void fastsgd_close_##TS(const fastsgd_sums_##TS *sums, fastsgd_account *account)\
    {                                                                                              \
        for (int i = 0; i < SPAN; i++) {                                                           \
            account->sum_squares += (double)sums->squares[i];                                      \
            account->sum_abs += (double)sums->abs[i];                                              \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    FASTSGD_INLINE void fastsgd_dense_step_##TS(int l1, int averaged, const T *x, ptrdiff_t d, T *w, T *q, T *a,\
                                               ptrdiff_t K, const double *c, fastsgd_account *account)\
    {                                                                                              \
        fastsgd_sums_##TS sums = fastsgd_open_##TS(account);                                       \
        for (ptrdiff_t k = 0; k < K; k++) {                                                        \
            const T ck = (T)c[k];                                                                  \
            if (l1 || ck != 0)                                                                     \
                fastsgd_span_##TS(d, l1, averaged, &ck, 0, x, 1, w + k * d, q + k * d, a + k * d, &sums);\
        }                                                                                          \
        fastsgd_close_##TS(&sums, account);                                                        \
    }                                                                                              \
                                                                                                   \
    FASTSGD_KERNEL void fastsgd_step_##TS##_u8(const T *x, const uint8_t *columns, ptrdiff_t d, T *w, T *q, T *a,\
                                               ptrdiff_t K, ptrdiff_t pitch, const double *c, fastsgd_account *account)\
    {                                                                                              \
        (void)columns;                                                                             \
        (void)pitch;                                                                               \
        if (q != NULL && a != NULL)                                                                \
            fastsgd_dense_step_##TS(1, 1, x, d, w, q, a, K, c, account);                           \
        else if (q != NULL)                                                                        \
            fastsgd_dense_step_##TS(1, 0, x, d, w, q, w, K, c, account);                           \
        else if (a != NULL)                                                                        \
            fastsgd_dense_step_##TS(0, 1, x, d, w, w, a, K, c, account);                           \
        else                                                                                       \
            fastsgd_dense_step_##TS(0, 0, x, d, w, w, w, K, c, account);                           \
    }

FASTSGD_DEFINE_STEPS(float, f32, fabsf, copysignf)
FASTSGD_DEFINE_STEPS(double, f64, fabs, copysign)

/* Without l1 and an account: w += c x, and a += scale times the change that w has really made, so that a step too small
 * for w is none of the average's either. */
#define FASTSGD_DEFINE_AVERAGING(T, TS)                                                            \
    FASTSGD_INLINE void fastsgd_average_span_##TS(ptrdiff_t n, const T *c, int c_stride, const T *x, int x_stride, T scale,\
                                                 T *restrict w, T *restrict a)                     \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            const T old = w[i], new = old + c[i * c_stride] * x[i * x_stride];                     \
            a[i] += scale * (new - old);                                                           \
            w[i] = new;                                                                            \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    FASTSGD_KERNEL void fastsgd_average_##TS##_u8(const T *x, const uint8_t *columns, ptrdiff_t d, T *w, T *a,\
                                                  ptrdiff_t K, ptrdiff_t pitch, const double *c, double scale)\
    {                                                                                              \
        (void)columns;                                                                             \
        (void)pitch;                                                                               \
        for (ptrdiff_t k = 0; k < K; k++) {                                                        \
            const T ck = (T)c[k];                                                                  \
            if (ck != 0)                                                                           \
                fastsgd_average_span_##TS(d, &ck, 0, x, 1, (T)scale, w + k * d, a + k * d);        \
        }                                                                                          \
    }

FASTSGD_DEFINE_AVERAGING(float, f32)
FASTSGD_DEFINE_AVERAGING(double, f64)

/* End of a run: every one of n weights receives the l1 it is still due. */
#define FASTSGD_DEFINE_SETTLE(T, TS)                                                               \
    FASTSGD_KERNEL void fastsgd_settle_##TS(T *w, T *q, T *a, ptrdiff_t n, fastsgd_account *account)\
    {                                                                                              \
        const T none = 0, one = 1;                                                                 \
        fastsgd_sums_##TS sums = fastsgd_open_##TS(account);                                       \
        if (a != NULL)                                                                             \
            fastsgd_span_##TS(n, 1, 1, &none, 0, &one, 0, w, q, a, &sums);                         \
        else                                                                                       \
            fastsgd_span_##TS(n, 1, 0, &none, 0, &one, 0, w, q, w, &sums);                         \
        fastsgd_close_##TS(&sums, account);                                                        \
    }

FASTSGD_DEFINE_SETTLE(float, f32)
FASTSGD_DEFINE_SETTLE(double, f64)

#define fastsgd_settle(w, ...) _Generic((w), float *: fastsgd_settle_f32, double *: fastsgd_settle_f64)(w, __VA_ARGS__)

#endif
