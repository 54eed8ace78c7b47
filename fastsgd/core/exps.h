/* The exponentials of softmax, all outputs of a row at once, in vectors where the CPU has them.
 *
 * e^d = 2^n e^r, d = n log 2 + r, |r| <= log(2) / 2 (as in fdlibm's e_exp.c), and e^r by Taylor's series to the 13th
 * power, whose rest is below 5e-18. Every clone makes the same bits: no output's operations depend on the others.
 */
#ifndef FASTSGD_EXPS_H
#define FASTSGD_EXPS_H

#include "simd.h"
#include <float.h>
#include <math.h>

/* e^(low - high), low <= high, to about an ulp, subnormal numbers too; what the subtraction has rounded off is put back
 * (Dekker's two-sum). */
FASTSGD_INLINE double fastsgd_exp_difference(double low, double high)
{
    const double d = low - high, back = d - low, lost = (low - (d - back)) - (high + back);
#if FLT_EVAL_METHOD
    const double e = exp(d) * (1 + lost); /* x87's registers keep digits that the rounding below has to drop */
#else
    const double shift = 0x1.8p52, near = d * 1.44269504088896338700e+00 + shift, n = near - shift;
    const double r = ((d - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10) + lost;
    const double r2 = r * r, r4 = r2 * r2;
    const double a = (1.0 / 2 + r * (1.0 / 6)) + r2 * (1.0 / 24 + r * (1.0 / 120));
    const double b = (1.0 / 720 + r * (1.0 / 5040)) + r2 * (1.0 / 40320 + r * (1.0 / 362880));
    const double c = (1.0 / 3628800 + r * (1.0 / 39916800)) + r2 * (1.0 / 479001600 + r * (1.0 / 6227020800));
    double power, e;
    uint64_t bits;
    memcpy(&bits, &near, sizeof bits);
    bits = (bits + 1023 + 100) << 52; /* 2^(n + 100), so that only the last product can be subnormal */
    memcpy(&power, &bits, sizeof power);
    e = (1 + (r + r2 * (a + r4 * (b + r4 * c)))) * power * 0x1p-100;
#endif
    return d < -746 ? 0 : e; /* from there on, to minus infinity, it is below half of the least double */
}

/* Kahan's summation: sum - lost is what was added, and no digit is lost with many terms. */
FASTSGD_INLINE void fastsgd_add(double *sum, double *lost, double term)
{
    const double more = term - *lost, grown = *sum + more;
    *lost = (grown - *sum) - more;
    *sum = grown;
}

/* n neighbours, n being a constant */
FASTSGD_INLINE void fastsgd_some_exps(int n, const double *restrict z, double high, double *restrict g)
{
    for (int i = 0; i < n; i++)
        g[i] = fastsgd_exp_difference(z[i], high);
}

/* g[k] = e^(z[k] - z[top]), but 0 at `top`, where z is largest. Returns their sum. */
FASTSGD_KERNEL double fastsgd_exps(const double *restrict z, ptrdiff_t K, ptrdiff_t top, double *restrict g)
{
    enum { SUMS = 4 }; /* side by side: one would wait for itself */
    double sum[SUMS] = {0}, lost[SUMS] = {0};
    const double high = z[top];
    ptrdiff_t k = 0;
    /* The last vector ends with the row, and may have numbers in common with the one before: both come to the same. */
    if (K >= 8) {
        for (ptrdiff_t i = 0; i + 8 < K; i += 8)
            fastsgd_some_exps(8, z + i, high, g + i);
        fastsgd_some_exps(8, z + K - 8, high, g + K - 8);
    }
    else if (K >= 4) {
        fastsgd_some_exps(4, z, high, g);
        fastsgd_some_exps(4, z + K - 4, high, g + K - 4);
    }
    else
        for (ptrdiff_t i = 0; i < K; i++)
            fastsgd_some_exps(1, z + i, high, g + i);
    g[top] = 0;
    for (; k + SUMS <= K; k += SUMS)
        for (int i = 0; i < SUMS; i++)
            fastsgd_add(sum + i, lost + i, g[k + i]);
    for (int i = 0; k + i < K; i++)
        fastsgd_add(sum + i, lost + i, g[k + i]);
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) - ((lost[0] + lost[1]) + (lost[2] + lost[3]));
}

#endif
