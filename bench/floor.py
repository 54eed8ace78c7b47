"""The time that reading CSR rows and gathering their weights takes: what no epoch can be faster than."""

import ctypes
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from workloads import seconds

# Every value and index in storage order, and the weights they name; four running sums, so that additions do not wait
# for each other.
SOURCE = r"""
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
"""


@cache
def library():
    """SOURCE, compiled for this run with the compiler of Python's build, at the package's optimisation."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "floor.so"
        command = [*compiler, "-O3", "-ffp-contract=off", "-shared", "-fPIC", "-x", "c", "-", "-o", str(target)]
        subprocess.run(command, check=True, input=SOURCE, text=True)
        return ctypes.CDLL(str(target))


def floor(X, n_outputs=1, rounds=7):
    """Seconds of one pass over a scipy CSR matrix for that many outputs, the best of some rounds."""
    assert n_outputs <= 64, "more outputs than SOURCE has room for"
    function = library()[f"floor_f{X.data.itemsize}_i{X.indices.itemsize}"]
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_ssize_t]
    w = np.ones(X.shape[1] * n_outputs, X.dtype)
    pass_over = lambda: function(X.data.ctypes.data, X.indices.ctypes.data, X.nnz, w.ctypes.data, n_outputs)  # noqa: E731
    return min(seconds(pass_over) for _ in range(rounds))
