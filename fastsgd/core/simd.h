/* Kernels with the widest vectors of the CPU, chosen at run time: dense rows; and prefetching.
 *
 * Sums run in LINE bytes of explicit lanes, LONG_RUN products at a time and from there on in double, and are added
 * up in one fixed order; the build forbids contraction. So every clone returns the same bits.
 */
#ifndef FASTSGD_SIMD_H
#define FASTSGD_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* glibc's ifunc picks the clone; where there is none (musl, macOS, MSVC) the plain function remains, as under
 * ThreadSanitizer, which is not ready yet when ifuncs are resolved. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 &&\
    !defined(__SANITIZE_THREAD__)
#define FASTSGD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FASTSGD_CLONES
#endif

#if defined(__GNUC__) || defined(__clang__)
/* Into the second-level cache, which is near enough for what comes rows later: the first takes few lines at a time, and
 * the loads of the weights would wait behind them (Zen 4: an epoch of RCV1-like rows 32 instead of 44 ms).
 * The empty volatile asm is an effect: without one, gcc takes a function that only prefetches for
 * a pure one whose calls may go. */
#define FASTSGD_PREFETCH(address)                                                                  \
    do {                                                                                           \
        __builtin_prefetch(address, 0, 2);                                                         \
        __asm__ volatile("");                                                                      \
    } while (0)
#define FASTSGD_UNUSED __attribute__((unused))
#define FASTSGD_KERNEL FASTSGD_CLONES FASTSGD_UNUSED static
#ifdef __clang__
#define FASTSGD_UNROLL _Pragma("unroll")
#else
#define FASTSGD_UNROLL _Pragma("GCC unroll 8")
#endif
#else
#define FASTSGD_PREFETCH(address) ((void)(address))
#define FASTSGD_UNUSED
#define FASTSGD_KERNEL static
#define FASTSGD_UNROLL
#endif

/* Of an array's element so many further on, which need not exist. */
#define FASTSGD_PREFETCH_FAR(from, ahead)                                                          \
    FASTSGD_PREFETCH((const void *)((uintptr_t)(from) + (uintptr_t)(ahead) * sizeof *(from)))

/* Vectors of the compiler: it splits what the CPU has not. Elsewhere arrays stand in. */
#if defined(__GNUC__) || defined(__clang__)
#define FASTSGD_VECTOR(T, n) __attribute__((vector_size((n) * sizeof(T))))
#define FASTSGD_MULTIPLY_ADD(sum, a, b, from)                                                      \
    do {                                                                                           \
        FASTSGD_LOAD(b, from);                                                                     \
        (sum) += (a) * (b);                                                                        \
    } while (0)
#define FASTSGD_MULTIPLY(product, c, b, from)                                                      \
    do {                                                                                           \
        FASTSGD_LOAD(b, from);                                                                     \
        (product) = (c) * (b);                                                                     \
    } while (0)
#else
#define FASTSGD_VECTOR(T, n) [n]
#define FASTSGD_MULTIPLY_ADD(sum, a, b, from)                                                      \
    do {                                                                                           \
        FASTSGD_LOAD(b, from);                                                                     \
        for (size_t lane = 0; lane < sizeof(a) / sizeof((a)[0]); lane++)                           \
            (sum)[lane] += (a)[lane] * (b)[lane];                                                  \
    } while (0)
#define FASTSGD_MULTIPLY(product, c, b, from)                                                      \
    do {                                                                                           \
        FASTSGD_LOAD(b, from);                                                                     \
        for (size_t lane = 0; lane < sizeof(b) / sizeof((b)[0]); lane++)                           \
            (product)[lane] = (c) * (b)[lane];                                                     \
    } while (0)
#endif
#define FASTSGD_LOAD(lanes, from) memcpy(&(lanes), (from), sizeof(lanes))

#if defined(__GNUC__) || defined(__clang__)
#define FASTSGD_INLINE static inline __attribute__((always_inline))
#else
#define FASTSGD_INLINE static inline
#endif

#if defined(__GNUC__) || defined(__clang__)
#define FASTSGD_RARE(condition) __builtin_expect(condition, 0)
#else
#define FASTSGD_RARE(condition) (condition)
#endif

/* x, in a register of its own: a number that is of use for long gcc puts on the stack, and takes it from there even
 * where the next row waits for it. */
FASTSGD_INLINE double fastsgd_in_register(double x)
{
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    __asm__("" : "+x"(x));
#endif
    return x;
}

/* Ask for the cache lines of `bytes` bytes from `start` on. */
static inline void fastsgd_prefetch(const void *start, ptrdiff_t bytes)
{
    const char *line = (const char *)start, *last = line + bytes - 1;
    FASTSGD_PREFETCH(line);
    while ((line += 64) < last)
        FASTSGD_PREFETCH(line);
    FASTSGD_PREFETCH(last);
}

/* The same of two arrays in one loop, whose end is one branch less to mispredict. */
static inline void fastsgd_prefetch_two(const void *one, const void *other, ptrdiff_t bytes)
{
    const char *line = (const char *)one, *last = line + bytes - 1;
    const ptrdiff_t apart = (const char *)other - line;
    FASTSGD_PREFETCH(line);
    FASTSGD_PREFETCH(line + apart);
    while ((line += 64) < last) {
        FASTSGD_PREFETCH(line);
        FASTSGD_PREFETCH(line + apart);
    }
    FASTSGD_PREFETCH(last);
    FASTSGD_PREFETCH(last + apart);
}

enum {
    LINE = 64,      /* bytes of running sums of a dot product, */
    LONG_RUN = 64,  /* and products that each takes in the data's type before they go to double, */
    RUN = 16,       /* or of several outputs on CSR; */
    TOGETHER = 5,   /* outputs that read a dense row at once */
    BLOCK = 64      /* outputs that a step with an account takes at once */
};

/* Four numbers in vectors of 16 bytes, which every x86-64 has: a wider one gcc keeps in memory. */
#define FASTSGD_SIXTEENS(T) (4 * sizeof(T) / 16)
#define FASTSGD_LANES(T) ((ptrdiff_t)(16 / sizeof(T)))
#define FASTSGD_LANE(T, four, i) (four)[(i) / FASTSGD_LANES(T)][(i) % FASTSGD_LANES(T)]
#define FASTSGD_SUM_OF_FOUR(T, four)                                                               \
    ((FASTSGD_LANE(T, four, 0) + FASTSGD_LANE(T, four, 1)) + (FASTSGD_LANE(T, four, 2) + FASTSGD_LANE(T, four, 3)))

#define FASTSGD_DEFINE(T, TS)                                                                      \
    typedef T fastsgd_four_##TS FASTSGD_VECTOR(T, 4);                                              \
    typedef T fastsgd_sixteen_##TS FASTSGD_VECTOR(T, 16 / sizeof(T));                              \
                                                                                                   \
    FASTSGD_INLINE void fastsgd_add_squares_##TS(fastsgd_sixteen_##TS *sum, const T *x)            \
    {                                                                                              \
        for (size_t i = 0; i < FASTSGD_SIXTEENS(T); i++) {                                         \
            fastsgd_sixteen_##TS xs, same;                                                         \
            FASTSGD_LOAD(xs, x + i * FASTSGD_LANES(T));                                            \
            FASTSGD_MULTIPLY_ADD(sum[i], xs, same, x + i * FASTSGD_LANES(T));                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* ||x||^2, in T: inlined, since most rows are too short for a call to pay */                  \
    static inline double fastsgd_norm_##TS(const T *x, ptrdiff_t n)                                \
    {                                                                                              \
        fastsgd_sixteen_##TS sum[FASTSGD_SIXTEENS(T)] = {{0}};                                     \
        T tail = 0;                                                                                \
        for (; n >= 4; n -= 4, x += 4)                                                             \
            fastsgd_add_squares_##TS(sum, x);                                                      \
        while (n > 0) {                                                                            \
            n -= 1;                                                                                \
            tail += x[n] * x[n];                                                                   \
        }                                                                                          \
        return (double)(FASTSGD_SUM_OF_FOUR(T, sum) + tail);                                       \
    }

FASTSGD_DEFINE(float, f32)
FASTSGD_DEFINE(double, f64)

/* Dense rows, by vectors of BYTES bytes: of wider ones than the CPU has, gcc makes detours through memory. */
#define FASTSGD_DEFINE_DENSE(T, TS, BYTES, TARGET)                                                 \
    typedef T fastsgd_vector_##TS##_##BYTES FASTSGD_VECTOR(T, BYTES / sizeof(T));                  \
                                                                                                   \
    /* For n rows of w, `d` apart: w[i] += c[i] before, if that is given, and z[i] = x . w[i]; and x . x, if `norm` is\
     * given. n and whether it is are constants, so that the running sums are registers. Memory is asked for the d\
     * numbers `ahead`, if given, a line a step: all at once they would be more than it takes, and the loads of x would\
     * wait behind them. */                                                                        \
    TARGET FASTSGD_INLINE void fastsgd_some_dots_##TS##_##BYTES(const int n, const double *restrict c,\
                                                                const T *restrict before, const T *restrict x,\
                                                                ptrdiff_t d, const T *ahead, T *restrict w,\
                                                                double *restrict z, double *norm)  \
    {                                                                                              \
        enum { WIDTH = BYTES / sizeof(T), VECTORS = LINE / BYTES, LANES = LINE / sizeof(T) };      \
        const int sums = n + (norm != NULL);                                                       \
        double sum[TOGETHER + 1] = {0};                                                            \
        fastsgd_vector_##TS##_##BYTES cs[TOGETHER] = {{0}}, bj;                                    \
        ptrdiff_t j = 0;                                                                           \
        if (ahead != NULL) { /* the last lines, where none of the steps may begin */               \
            FASTSGD_PREFETCH(ahead + d / LANES * LANES - 1);                                       \
            FASTSGD_PREFETCH(ahead + d - 1);                                                       \
        }                                                                                          \
        for (int i = 0; i < n && before != NULL; i++)                                              \
            for (int l = 0; l < WIDTH; l++)                                                        \
                cs[i][l] = (T)c[i];                                                                \
        while (j + LANES <= d) {                                                                   \
            const ptrdiff_t left = (d - j) / LANES, end = j + (left < LONG_RUN ? left : LONG_RUN) * LANES;\
            fastsgd_vector_##TS##_##BYTES xj, wj, part[TOGETHER + 1][VECTORS] = {{{0}}};           \
            do {                                                                                   \
                if (ahead != NULL)                                                                 \
                    FASTSGD_PREFETCH(ahead + j);                                                   \
                for (int v = 0; v < VECTORS; v++) {                                                \
                    const ptrdiff_t at = j + v * WIDTH;                                            \
                    FASTSGD_LOAD(xj, x + at);                                                      \
                    for (int i = 0; i < n; i++) {                                                  \
                        if (before != NULL) {                                                      \
                            FASTSGD_LOAD(wj, w + i * d + at);                                      \
                            FASTSGD_MULTIPLY_ADD(wj, cs[i], bj, before + at);                      \
                            memcpy(w + i * d + at, &wj, sizeof wj);                                \
                        }                                                                          \
                        FASTSGD_MULTIPLY_ADD(part[i][v], xj, wj, w + i * d + at);                  \
                    }                                                                              \
                    if (norm != NULL)                                                              \
                        FASTSGD_MULTIPLY_ADD(part[n][v], xj, wj, x + at);                          \
                }                                                                                  \
            } while ((j += LANES) < end);                                                          \
            FASTSGD_UNROLL /* so that what has been added up need not be in memory */              \
            for (int i = 0; i < sums; i++) {                                                       \
                double lanes[LANES];                                                               \
                for (int l = 0; l < LANES; l++)                                                    \
                    lanes[l] = (double)part[i][l / WIDTH][l % WIDTH];                              \
                FASTSGD_UNROLL                                                                     \
                for (int half = LANES / 2; half > 0; half /= 2)                                    \
                    for (int l = 0; l < half; l++)                                                 \
                        lanes[l] += lanes[l + half];                                               \
                sum[i] += lanes[0];                                                                \
            }                                                                                      \
        }                                                                                          \
        FASTSGD_UNROLL                                                                             \
        for (int i = 0; i < sums; i++) {                                                           \
            for (ptrdiff_t l = j; l < d; l++) {                                                    \
                if (i < n && before != NULL)                                                       \
                    w[i * d + l] += (T)c[i] * before[l];                                           \
                sum[i] += (double)(x[l] * (i < n ? w[i * d + l] : x[l]));                          \
            }                                                                                      \
            *(i < n ? z + i : norm) = sum[i];                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    /* The first five rows of w give the norm too, if it is wanted, and ask for what is ahead. */  \
    TARGET FASTSGD_UNUSED static void fastsgd_dots_##TS##_##BYTES(const T *restrict x, ptrdiff_t d, const T *ahead,\
                                                                  const T *restrict w, ptrdiff_t K, double *restrict z,\
                                                                  double *norm)                    \
    {                                                                                              \
        for (; K >= 5; K -= 5, w += 5 * d, z += 5, ahead = NULL, norm = NULL)                      \
            if (norm != NULL)                                                                      \
                fastsgd_some_dots_##TS##_##BYTES(5, NULL, NULL, x, d, ahead, (T *)w, z, norm);     \
            else                                                                                   \
                fastsgd_some_dots_##TS##_##BYTES(5, NULL, NULL, x, d, ahead, (T *)w, z, NULL);     \
        if (K == 4)                                                                                \
            fastsgd_some_dots_##TS##_##BYTES(4, NULL, NULL, x, d, ahead, (T *)w, z, NULL);         \
        else if (K == 3)                                                                           \
            fastsgd_some_dots_##TS##_##BYTES(3, NULL, NULL, x, d, ahead, (T *)w, z, NULL);         \
        else if (K == 2)                                                                           \
            fastsgd_some_dots_##TS##_##BYTES(2, NULL, NULL, x, d, ahead, (T *)w, z, NULL);         \
        else if (K == 1)                                                                           \
            fastsgd_some_dots_##TS##_##BYTES(1, NULL, NULL, x, d, ahead, (T *)w, z, NULL);         \
        if (norm != NULL)                                                                          \
            fastsgd_some_dots_##TS##_##BYTES(0, NULL, NULL, x, d, NULL, NULL, NULL, norm);         \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_axpys_##TS##_##BYTES(const T *restrict x, ptrdiff_t d, T *restrict w,\
                                                                   ptrdiff_t K, const double *restrict c)\
    {                                                                                              \
        enum { WIDTH = BYTES / sizeof(T) };                                                        \
        for (ptrdiff_t k = 0; k < K; k++, w += d) {                                                \
            const T ck = (T)c[k];                                                                  \
            fastsgd_vector_##TS##_##BYTES cks, xj, wj;                                             \
            ptrdiff_t j = 0;                                                                       \
            if (ck == 0)                                                                           \
                continue;                                                                          \
            for (int l = 0; l < WIDTH; l++)                                                        \
                cks[l] = ck;                                                                       \
            for (; j + WIDTH <= d; j += WIDTH) {                                                   \
                FASTSGD_LOAD(wj, w + j);                                                           \
                FASTSGD_MULTIPLY_ADD(wj, cks, xj, x + j);                                          \
                memcpy(w + j, &wj, sizeof wj);                                                     \
            }                                                                                      \
            for (; j < d; j++)                                                                     \
                w[j] += ck * x[j];                                                                 \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    TARGET FASTSGD_UNUSED static void fastsgd_axpys_dots_##TS##_##BYTES(const T *restrict x, ptrdiff_t d, T *restrict w,\
                                                                        ptrdiff_t K, const double *restrict c,\
                                                                        const T *restrict next, const T *ahead,\
                                                                        double *restrict z, double *norm)\
    {                                                                                              \
        for (; K >= 5; K -= 5, w += 5 * d, c += 5, z += 5, ahead = NULL, norm = NULL) {            \
            int moving = 0;                                                                        \
            for (int i = 0; i < 5; i++)                                                            \
                moving += (T)c[i] != 0;                                                            \
            if (moving > 2 && norm != NULL)                                                        \
                fastsgd_some_dots_##TS##_##BYTES(5, c, x, next, d, ahead, w, z, norm);             \
            else if (moving > 2)                                                                   \
                fastsgd_some_dots_##TS##_##BYTES(5, c, x, next, d, ahead, w, z, NULL);             \
            else {                                                                                 \
                fastsgd_axpys_##TS##_##BYTES(x, d, w, 5, c);                                       \
                fastsgd_dots_##TS##_##BYTES(next, d, ahead, w, 5, z, norm);                        \
            }                                                                                      \
        }                                                                                          \
        if (K == 1 && norm != NULL)                                                                \
            fastsgd_some_dots_##TS##_##BYTES(1, c, x, next, d, ahead, w, z, norm);                 \
        else if (K == 1)                                                                           \
            fastsgd_some_dots_##TS##_##BYTES(1, c, x, next, d, ahead, w, z, NULL);                 \
        else {                                                                                     \
            fastsgd_axpys_##TS##_##BYTES(x, d, w, K, c);                                           \
            fastsgd_dots_##TS##_##BYTES(next, d, ahead, w, K, z, norm);                            \
        }                                                                                          \
    }

FASTSGD_DEFINE_DENSE(float, f32, 16, )
FASTSGD_DEFINE_DENSE(double, f64, 16, )

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
FASTSGD_DEFINE_DENSE(float, f32, 32, __attribute__((target("arch=x86-64-v3"))))
FASTSGD_DEFINE_DENSE(double, f64, 32, __attribute__((target("arch=x86-64-v3"))))
FASTSGD_DEFINE_DENSE(float, f32, 64, __attribute__((target("arch=x86-64-v4"))))
FASTSGD_DEFINE_DENSE(double, f64, 64, __attribute__((target("arch=x86-64-v4"))))
#define FASTSGD_WIDEST(kernel, arguments)                                                          \
    do {                                                                                           \
        if (__builtin_cpu_supports("x86-64-v4"))                                                   \
            kernel##_64 arguments;                                                                 \
        else if (__builtin_cpu_supports("x86-64-v3"))                                              \
            kernel##_32 arguments;                                                                 \
        else                                                                                       \
            kernel##_16 arguments;                                                                 \
    } while (0)
#else
#define FASTSGD_WIDEST(kernel, arguments) kernel##_16 arguments
#endif

#define FASTSGD_DEFINE_WIDEST(T, TS)                                                               \
    /* z[k] = x . w[k]; K d multiply-adds, and x is read once for five k. */                       \
    static inline void fastsgd_dots_##TS##_u8(const T *x, const uint8_t *columns, ptrdiff_t d, const T *w, ptrdiff_t K,\
                                              ptrdiff_t pitch, double *z, ptrdiff_t ahead)         \
    {                                                                                              \
        (void)columns;                                                                             \
        (void)pitch;                                                                               \
        (void)ahead;                                                                               \
        FASTSGD_WIDEST(fastsgd_dots_##TS, (x, d, NULL, w, K, z, NULL));                            \
    }                                                                                              \
                                                                                                   \
    /* w[k] += c[k] x */                                                                           \
    static inline void fastsgd_axpys_##TS##_u8(const T *x, const uint8_t *columns, ptrdiff_t d, T *w, ptrdiff_t K,\
                                               const double *c)                                    \
    {                                                                                              \
        (void)columns;                                                                             \
        FASTSGD_WIDEST(fastsgd_axpys_##TS, (x, d, w, K, c));                                       \
    }                                                                                              \
                                                                                                   \
    /* The same, and then z[k] = next . w[k], in one pass over w; without c, only that. If they are given, ||next||^2\
     * goes to `norm`, and memory is asked for the row `ahead` meanwhile. */                       \
    static inline void fastsgd_axpys_dots_##TS(const T *x, ptrdiff_t d, T *w, ptrdiff_t K, const double *c,\
                                               const T *next, const T *ahead, double *z, double *norm)\
    {                                                                                              \
        if (c == NULL)                                                                             \
            FASTSGD_WIDEST(fastsgd_dots_##TS, (next, d, ahead, w, K, z, norm));                    \
        else                                                                                       \
            FASTSGD_WIDEST(fastsgd_axpys_dots_##TS, (x, d, w, K, c, next, ahead, z, norm));        \
    }

FASTSGD_DEFINE_WIDEST(float, f32)
FASTSGD_DEFINE_WIDEST(double, f64)

/* w *= scale, as a product of doubles; for n numbers that are `apart` */
#define FASTSGD_DEFINE_MULTIPLY_BY(T, TS)                                                          \
    FASTSGD_KERNEL void fastsgd_multiply_by_##TS(T *w, ptrdiff_t n, ptrdiff_t apart, double scale) \
    {                                                                                              \
        if (apart == 1)                                                                            \
            for (ptrdiff_t i = 0; i < n; i++)                                                      \
                w[i] = (T)(scale * (double)w[i]);                                                  \
        else                                                                                       \
            for (ptrdiff_t i = 0; i < n; i++)                                                      \
                w[i * apart] = (T)(scale * (double)w[i * apart]);                                  \
    }

FASTSGD_DEFINE_MULTIPLY_BY(float, f32)
FASTSGD_DEFINE_MULTIPLY_BY(double, f64)
#define fastsgd_multiply_by(w, ...)                                                                \
    _Generic((w), float *: fastsgd_multiply_by_f32, double *: fastsgd_multiply_by_f64)(w, __VA_ARGS__)

/* The kernel for the types of x and columns; uint8_t stands for a dense row, whose columns are not read. */
#define FASTSGD_PICK(kernel, x, columns)                                                           \
    _Generic((columns),                                                                            \
        const int32_t *: _Generic((x), const float *: kernel##_f32_i32, const double *: kernel##_f64_i32),\
        const int64_t *: _Generic((x), const float *: kernel##_f32_i64, const double *: kernel##_f64_i64),\
        const uint8_t *: _Generic((x), const float *: kernel##_f32_u8, const double *: kernel##_f64_u8))

#define fastsgd_dots(x, columns, ...) FASTSGD_PICK(fastsgd_dots, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_axpys(x, columns, ...) FASTSGD_PICK(fastsgd_axpys, x, columns)(x, columns, __VA_ARGS__)
#define fastsgd_axpys_dots(x, ...)                                                                 \
    _Generic((x), const float *: fastsgd_axpys_dots_f32, const double *: fastsgd_axpys_dots_f64)(x, __VA_ARGS__)
#define fastsgd_norm(x, n) _Generic((x), const float *: fastsgd_norm_f32, const double *: fastsgd_norm_f64)(x, n)

#endif
