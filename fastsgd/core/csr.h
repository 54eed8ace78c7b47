/* CSR rows and K > 1 outputs, whose weights are feature-major: z[k] = sum_j x[j] w[columns[j] pitch + k], and
 * w[columns[j] K + k] += c[k] x[j]. Unless it is 0, memory is asked for the weights of the nonzero that is `ahead` further
 * on in the row.
 *
 * Sums run as in simd.h, RUN products at a time in the data's type and from there on in double, in one order whatever
 * the vectors; so the weights are bitwise the same on every CPU. Those of one output take LONG_RUN products a lane,
 * and are in that type alone where rows have no more.
 */
#ifndef FASTSGD_CSR_H
#define FASTSGD_CSR_H

#include "simd.h"

enum { MOST = 8 }; /* vectors of a nonzero's weights at once */

#define FASTSGD_DEFINE_CSR_PLAIN(T, TS, I, IS)                                                     \
    /* Fewer outputs than a vector has numbers; or any number, without vectors */                  \
    static inline void fastsgd_dots_##TS##_##IS##_plain(const T *x, const I *columns, ptrdiff_t nnz, const T *w,\
                                                        ptrdiff_t K, ptrdiff_t pitch, double *z, ptrdiff_t ahead)\
    {                                                                                              \
        for (ptrdiff_t k = 0; k < K; k++) {                                                        \
            double sum = 0;                                                                        \
            for (ptrdiff_t j = 0; j < nnz;) {                                                      \
                const ptrdiff_t end = nnz - j < RUN ? nnz : j + RUN;                               \
                T part = 0;                                                                        \
                do {                                                                               \
                    if (ahead > 0 && k == 0)                                                       \
                        FASTSGD_PREFETCH(w + columns[j + ahead < nnz ? j + ahead : nnz - 1] * pitch);\
                    part += x[j] * w[columns[j] * pitch + k];                                      \
                } while (++j < end);                                                               \
                sum += (double)part;                                                               \
            }                                                                                      \
            z[k] = sum;                                                                            \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static inline void fastsgd_axpys_##TS##_##IS##_plain(const T *x, const I *columns, ptrdiff_t nnz, T *w, ptrdiff_t K,\
                                                         const double *c)                          \
    {                                                                                              \
        for (ptrdiff_t j = 0; j < nnz; j++)                                                        \
            for (ptrdiff_t k = 0; k < K; k++)                                                      \
                w[columns[j] * K + k] += (T)c[k] * x[j];                                           \
    }

#if defined(__GNUC__) || defined(__clang__)
/* All K outputs by shares of at most MOST vectors, as even as can be. A share's last vector ends with it, and may have
 * numbers in common with the one before: both come to the same there. What follows w is the kernel's, for outputs that
 * begin with `from`. */
#define FASTSGD_SHARES(kernel, width, w, ...)                                                      \
    for (ptrdiff_t shares = (K + MOST * width - 1) / (MOST * width), from = 0, some; from < K; from += some, shares--) {\
        some = (K - from) / shares;                                                                \
        switch ((some + width - 1) / width) {                                                      \
        case 1: kernel(1, x, columns, nnz, w + from, pitch, some - width, __VA_ARGS__); break;     \
        case 2: kernel(2, x, columns, nnz, w + from, pitch, some - width, __VA_ARGS__); break;     \
        case 3: kernel(3, x, columns, nnz, w + from, pitch, some - width, __VA_ARGS__); break;     \
        case 4: kernel(4, x, columns, nnz, w + from, pitch, some - width, __VA_ARGS__); break;     \
        case 5: kernel(5, x, columns, nnz, w + from, pitch, some - width, __VA_ARGS__); break;     \
        case 6: kernel(6, x, columns, nnz, w + from, pitch, some - width, __VA_ARGS__); break;     \
        case 7: kernel(7, x, columns, nnz, w + from, pitch, some - width, __VA_ARGS__); break;     \
        case 8: kernel(8, x, columns, nnz, w + from, pitch, some - width, __VA_ARGS__); break;     \
        }                                                                                          \
    }

#define FASTSGD_DEFINE_CSR(T, TS, I, IS, BYTES, TARGET)                                            \
    TARGET FASTSGD_INLINE void fastsgd_n_dots_##TS##_##IS##_##BYTES(                               \
        const int n, const T *restrict x, const I *restrict columns, ptrdiff_t nnz, const T *restrict w,\
        ptrdiff_t pitch, ptrdiff_t last, double *restrict z, ptrdiff_t ahead)                      \
    {                                                                                              \
        enum { WIDTH = BYTES / sizeof(T) };                                                        \
        double sum[MOST][WIDTH] = {{0}};                                                           \
        for (ptrdiff_t j = 0; j < nnz;) {                                                          \
            const ptrdiff_t end = nnz - j < RUN ? nnz : j + RUN;                                   \
            fastsgd_vector_##TS##_##BYTES part[MOST] = {{0}};                                      \
            do {                                                                                   \
                const T *cell = w + columns[j] * pitch, xj = x[j];                                 \
                if (ahead > 0) { /* a line more, where weights begin late in one, is not worth asking for */\
                    const T *later = w + columns[j + ahead < nnz ? j + ahead : nnz - 1] * pitch;   \
                    FASTSGD_UNROLL                                                                 \
                    for (int i = 0; i < n - 1; i += LINE / BYTES)                                  \
                        FASTSGD_PREFETCH(later + i * WIDTH);                                       \
                    FASTSGD_PREFETCH(later + last + WIDTH - 1);                                    \
                }                                                                                  \
                FASTSGD_UNROLL                                                                     \
                for (int i = 0; i < n; i++)                                                        \
                    part[i] += xj * *(const fastsgd_anywhere_##TS##_##BYTES *)(cell + (i < n - 1 ? i * WIDTH : last));\
            } while (++j < end);                                                                   \
            FASTSGD_UNROLL                                                                         \
            for (int i = 0; i < n; i++)                                                            \
                for (int l = 0; l < WIDTH; l++)                                                    \
                    sum[i][l] += (double)part[i][l];                                               \
        }                                                                                          \
        FASTSGD_UNROLL                                                                             \
        for (int i = 0; i < n; i++)                                                                \
            for (int l = 0; l < WIDTH; l++)                                                        \
                z[(i < n - 1 ? i * WIDTH : last) + l] = sum[i][l];                                 \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_INLINE void fastsgd_n_axpys_##TS##_##IS##_##BYTES(                              \
        const int n, const T *restrict x, const I *restrict columns, ptrdiff_t nnz, T *restrict w, ptrdiff_t pitch,\
        ptrdiff_t last, const double *restrict c)                                                  \
    {                                                                                              \
        enum { WIDTH = BYTES / sizeof(T) };                                                        \
        fastsgd_vector_##TS##_##BYTES step[MOST], moved[MOST];                                     \
        FASTSGD_UNROLL                                                                             \
        for (int i = 0; i < n; i++)                                                                \
            for (int l = 0; l < WIDTH; l++)                                                        \
                step[i][l] = (T)c[(i < n - 1 ? i * WIDTH : last) + l];                             \
        for (ptrdiff_t j = 0; j < nnz; j++) {                                                      \
            T *cell = w + columns[j] * pitch;                                                      \
            const T xj = x[j];                                                                     \
            /* All are read before one is written: two may overlap. */                             \
            FASTSGD_UNROLL                                                                         \
            for (int i = 0; i < n; i++)                                                            \
                moved[i] = step[i] * xj +                                                          \
                           *(const fastsgd_anywhere_##TS##_##BYTES *)(cell + (i < n - 1 ? i * WIDTH : last));\
            FASTSGD_UNROLL                                                                         \
            for (int i = 0; i < n; i++)                                                            \
                *(fastsgd_anywhere_##TS##_##BYTES *)(cell + (i < n - 1 ? i * WIDTH : last)) = moved[i];\
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_dots_##TS##_##IS##_##BYTES(                          \
        const T *restrict x, const I *restrict columns, ptrdiff_t nnz, const T *restrict w, ptrdiff_t K,\
        ptrdiff_t pitch, double *restrict z, ptrdiff_t ahead)                                      \
    {                                                                                              \
        FASTSGD_SHARES(fastsgd_n_dots_##TS##_##IS##_##BYTES, (BYTES / (ptrdiff_t)sizeof(T)), w, z + from, ahead)\
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_axpys_##TS##_##IS##_##BYTES(                         \
        const T *restrict x, const I *restrict columns, ptrdiff_t nnz, T *restrict w, ptrdiff_t K, \
        const double *restrict c)                                                                  \
    {                                                                                              \
        const ptrdiff_t pitch = K;                                                                 \
        FASTSGD_SHARES(fastsgd_n_axpys_##TS##_##IS##_##BYTES, (BYTES / (ptrdiff_t)sizeof(T)), w, c + from)\
    }

#define FASTSGD_DEFINE_ANYWHERE(T, TS, BYTES)                                                      \
    typedef T fastsgd_anywhere_##TS##_##BYTES __attribute__((vector_size(BYTES), aligned(sizeof(T)), may_alias));

FASTSGD_DEFINE_ANYWHERE(float, f32, 16)
FASTSGD_DEFINE_ANYWHERE(double, f64, 16)

#if defined(__x86_64__) && !defined(__clang__) && __GNUC__ >= 12
FASTSGD_DEFINE_ANYWHERE(float, f32, 32)
FASTSGD_DEFINE_ANYWHERE(double, f64, 32)
/* Of 64 bytes there would be no more use: K weights are few, and often cross a cache line. */
#define FASTSGD_CSR_WIDER(T, TS, I, IS)                                                            \
    FASTSGD_DEFINE_CSR(T, TS, I, IS, 32, __attribute__((target("arch=x86-64-v3"))))
#define FASTSGD_CSR_CHOOSE(kernel, T, arguments)                                                   \
    do {                                                                                           \
        if (K * sizeof(T) < 16)                                                                    \
            kernel##_plain arguments;                                                              \
        else if (K * sizeof(T) >= 32 && __builtin_cpu_supports("x86-64-v3"))                       \
            kernel##_32 arguments;                                                                 \
        else                                                                                       \
            kernel##_16 arguments;                                                                 \
    } while (0)
#else
#define FASTSGD_CSR_WIDER(T, TS, I, IS)
#define FASTSGD_CSR_CHOOSE(kernel, T, arguments)                                                   \
    do {                                                                                           \
        if (K * sizeof(T) < 16)                                                                    \
            kernel##_plain arguments;                                                              \
        else                                                                                       \
            kernel##_16 arguments;                                                                 \
    } while (0)
#endif
#else
#define FASTSGD_DEFINE_CSR(T, TS, I, IS, BYTES, TARGET)
#define FASTSGD_CSR_WIDER(T, TS, I, IS)
#define FASTSGD_CSR_CHOOSE(kernel, T, arguments) kernel##_plain arguments
#endif

#define FASTSGD_DEFINE_CSR_CHOICE(T, TS, I, IS)                                                    \
    FASTSGD_DEFINE_CSR_PLAIN(T, TS, I, IS)                                                         \
    FASTSGD_DEFINE_CSR(T, TS, I, IS, 16, )                                                         \
    FASTSGD_CSR_WIDER(T, TS, I, IS)                                                                \
                                                                                                   \
    static inline void fastsgd_dots_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, const T *w, ptrdiff_t K,\
                                                ptrdiff_t pitch, double *z, ptrdiff_t ahead)       \
    {                                                                                              \
        FASTSGD_CSR_CHOOSE(fastsgd_dots_##TS##_##IS, T, (x, columns, nnz, w, K, pitch, z, ahead)); \
    }                                                                                              \
                                                                                                   \
    static inline void fastsgd_axpys_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, T *w, ptrdiff_t K,\
                                                 const double *c)                                  \
    {                                                                                              \
        FASTSGD_CSR_CHOOSE(fastsgd_axpys_##TS##_##IS, T, (x, columns, nnz, w, K, c));              \
    }

FASTSGD_DEFINE_CSR_CHOICE(float, f32, int32_t, i32)
FASTSGD_DEFINE_CSR_CHOICE(float, f32, int64_t, i64)
FASTSGD_DEFINE_CSR_CHOICE(double, f64, int32_t, i32)
FASTSGD_DEFINE_CSR_CHOICE(double, f64, int64_t, i64)

#define FASTSGD_NAMED(columns, j) (columns)[j]
#define FASTSGD_COUNTED(columns, j) (j)

enum { GATHERED = 32 }; /* nonzeros from which vectors pay: more at once, but a short row's score comes later */

/* parts += x * (w0, w1, w2, w3) */
#define FASTSGD_ADD_PRODUCTS_f32(parts, x, w0, w1, w2, w3)                                         \
    do {                                                                                           \
        const fastsgd_sixteen_f32 ws = {w0, w1, w2, w3};                                           \
        fastsgd_sixteen_f32 xs;                                                                    \
        FASTSGD_MULTIPLY_ADD(parts[0], ws, xs, x);                                                 \
    } while (0)
#define FASTSGD_ADD_PRODUCTS_f64(parts, x, w0, w1, w2, w3)                                         \
    do {                                                                                           \
        const fastsgd_sixteen_f64 ws[2] = {{w0, w1}, {w2, w3}};                                    \
        fastsgd_sixteen_f64 xs;                                                                    \
        FASTSGD_MULTIPLY_ADD(parts[0], ws[0], xs, x);                                              \
        FASTSGD_MULTIPLY_ADD(parts[1], ws[1], xs, (x) + 2);                                        \
    } while (0)

#define FASTSGD_DEFINE_DOT_FOURS(T, TS, I, IS, AT)                                                 \
    /* What `dot` adds up, of whole fours by vectors: as many nonzeros as `done` says then. */     \
    FASTSGD_INLINE T fastsgd_dot_fours_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, const T *w,\
                                                   ptrdiff_t pitch, ptrdiff_t *done, fastsgd_sixteen_##TS *squares,\
                                                   ptrdiff_t ahead)                                \
    {                                                                                              \
        enum { ALL = 4 * LONG_RUN };                                                               \
        double sums[4] = {0};                                                                      \
        ptrdiff_t j = 0;                                                                           \
        (void)columns;                                                                             \
        do {                                                                                       \
            const ptrdiff_t end = nnz - j < ALL ? nnz - 3 : j + ALL;                               \
            fastsgd_sixteen_##TS parts[FASTSGD_SIXTEENS(T)] = {{0}};                               \
            do {                                                                                   \
                if (ahead != 0) {                                                                  \
                    FASTSGD_PREFETCH_FAR(x + j, ahead);                                            \
                    FASTSGD_PREFETCH_FAR(columns + j, ahead);                                      \
                }                                                                                  \
                FASTSGD_ADD_PRODUCTS_##TS(parts, x + j, w[AT(columns, j) * pitch], w[AT(columns, j + 1) * pitch],\
                                          w[AT(columns, j + 2) * pitch], w[AT(columns, j + 3) * pitch]);\
                if (squares != NULL)                                                               \
                    fastsgd_add_squares_##TS(squares, x + j);                                      \
            } while ((j += 4) < end);                                                              \
            *done = j;                                                                             \
            if (nnz < ALL + 4)                                                                     \
                return FASTSGD_SUM_OF_FOUR(T, parts);                                              \
            for (ptrdiff_t i = 0; i < 4; i++)                                                      \
                sums[i] += (double)FASTSGD_LANE(T, parts, i);                                      \
        } while (j + 4 <= nnz);                                                                    \
        return (T)((sums[0] + sums[1]) + (sums[2] + sums[3]));                                     \
    }

#define FASTSGD_DEFINE_ONE(T, TS, I, IS, AT)                                                       \
    FASTSGD_DEFINE_DOT_FOURS(T, TS, I, IS, AT)                                                     \
                                                                                                   \
    /* One output: x . w, its weights `pitch` apart; and ||x||^2, if `squares` is given. Unless it is 0, memory is asked\
     * for the nonzeros `ahead`, of this row or not: where rows are read one after the other.      \
     * A short row is summed up in its own type: the next row waits for every change to double and back. */\
    FASTSGD_INLINE T fastsgd_dot_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, const T *w,\
                                             ptrdiff_t pitch, double *squares, ptrdiff_t ahead)    \
    {                                                                                              \
        fastsgd_sixteen_##TS all[FASTSGD_SIXTEENS(T)] = {{0}};                                     \
        T sum;                                                                                     \
        ptrdiff_t j = 0;                                                                           \
        (void)columns;                                                                             \
        if (nnz >= GATHERED)                                                                       \
            sum = fastsgd_dot_fours_##TS##_##IS(x, columns, nnz, w, pitch, &j, squares != NULL ? all : NULL, ahead);\
        else {                                                                                     \
            T sums[4] = {0};                                                                       \
            for (; j + 4 <= nnz; j += 4) {                                                         \
                if (ahead != 0) {                                                                  \
                    FASTSGD_PREFETCH_FAR(x + j, ahead);                                            \
                    FASTSGD_PREFETCH_FAR(columns + j, ahead);                                      \
                }                                                                                  \
                sums[0] += x[j] * w[AT(columns, j) * pitch];                                       \
                sums[1] += x[j + 1] * w[AT(columns, j + 1) * pitch];                               \
                sums[2] += x[j + 2] * w[AT(columns, j + 2) * pitch];                               \
                sums[3] += x[j + 3] * w[AT(columns, j + 3) * pitch];                               \
                if (squares != NULL)                                                               \
                    fastsgd_add_squares_##TS(all, x + j);                                          \
            }                                                                                      \
            sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);                                       \
        }                                                                                          \
        if (squares != NULL)                                                                       \
            *squares = (double)FASTSGD_SUM_OF_FOUR(T, all);                                        \
        if (j < nnz) {                                                                             \
            T tail = x[j] * w[AT(columns, j) * pitch], tail_squares = x[j] * x[j];                 \
            while (++j < nnz) {                                                                    \
                tail += x[j] * w[AT(columns, j) * pitch];                                          \
                tail_squares += x[j] * x[j];                                                       \
            }                                                                                      \
            if (squares != NULL)                                                                   \
                *squares += (double)tail_squares;                                                  \
            sum += tail;                                                                           \
        }                                                                                          \
        return sum;                                                                                \
    }                                                                                              \
                                                                                                   \
    /* One output: w += c x */                                                                     \
    FASTSGD_INLINE void fastsgd_axpy_##TS##_##IS(const T *x, const I *columns, ptrdiff_t nnz, T *w, T c)\
    {                                                                                              \
        ptrdiff_t j = 0;                                                                           \
        (void)columns;                                                                             \
        for (; j + FASTSGD_LANES(T) <= nnz; j += FASTSGD_LANES(T)) {                               \
            fastsgd_sixteen_##TS step, xs;                                                         \
            FASTSGD_MULTIPLY(step, c, xs, x + j);                                                  \
            for (ptrdiff_t i = 0; i < FASTSGD_LANES(T); i++)                                       \
                w[AT(columns, j + i)] += step[i];                                                  \
        }                                                                                          \
        for (; j < nnz; j++)                                                                       \
            w[AT(columns, j)] += c * x[j];                                                         \
    }

FASTSGD_DEFINE_ONE(float, f32, int32_t, i32, FASTSGD_NAMED)
FASTSGD_DEFINE_ONE(float, f32, int64_t, i64, FASTSGD_NAMED)
FASTSGD_DEFINE_ONE(float, f32, uint8_t, u8, FASTSGD_COUNTED)
FASTSGD_DEFINE_ONE(double, f64, int32_t, i32, FASTSGD_NAMED)
FASTSGD_DEFINE_ONE(double, f64, int64_t, i64, FASTSGD_NAMED)
FASTSGD_DEFINE_ONE(double, f64, uint8_t, u8, FASTSGD_COUNTED)

#define fastsgd_dot(x, columns, ...) FASTSGD_PICK(fastsgd_dot, x, columns)(x, columns, __VA_ARGS__, 0)
#define fastsgd_dot_ahead(x, columns, ...) FASTSGD_PICK(fastsgd_dot, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_axpy(x, columns, ...) FASTSGD_PICK(fastsgd_axpy, x, columns)(x, columns, __VA_ARGS__)

#endif
