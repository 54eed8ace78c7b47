/* The floor of an epoch: read every value and index in storage order and gather the weights, with no update.
 * Written by hand, compiled by floor.py when it runs; four running sums, so that additions do not wait for each other. */
#include <stddef.h>
#include <stdint.h>

enum { MOST = 64 }; /* outputs */

#define DEFINE(T, I, NAME)                                                                         \
    double NAME(const T *x, const I *columns, ptrdiff_t nnz, const T *w, ptrdiff_t K)              \
    {                                                                                              \
        T sum[MOST] = {0}, total = 0;                                                              \
        if (K == 1)                                                                                \
            for (ptrdiff_t j = 0; j + 4 <= nnz; j += 4)                                            \
                for (int i = 0; i < 4; i++)                                                        \
                    sum[i] += x[j + i] * w[columns[j + i]];                                        \
        else                                                                                       \
            for (ptrdiff_t j = 0; j < nnz; j++)                                                    \
                for (ptrdiff_t k = 0; k < K; k++)                                                  \
                    sum[k] += x[j] * w[columns[j] * K + k];                                        \
        for (int k = 0; k < MOST; k++)                                                             \
            total += sum[k];                                                                       \
        return (double)total;                                                                      \
    }

DEFINE(float, int32_t, floor_f4_i4)
DEFINE(float, int64_t, floor_f4_i8)
DEFINE(double, int32_t, floor_f8_i4)
DEFINE(double, int64_t, floor_f8_i8)
