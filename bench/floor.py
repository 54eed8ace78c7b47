"""The time that reading CSR rows and gathering their weights takes: what no epoch can be faster than."""

import ctypes
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from workloads import seconds

SOURCE = Path(__file__).with_name("floor.c")


@cache
def library():
    """floor.c, compiled for this run with the compiler of Python's build, at the package's optimisation."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "floor.so"
        command = [*compiler, "-O3", "-ffp-contract=off", "-shared", "-fPIC", str(SOURCE), "-o", str(target)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(target))


def floor(X, n_outputs=1, rounds=7):
    """Seconds of one pass over a scipy CSR matrix for that many outputs, the best of some rounds."""
    assert n_outputs <= 64, "more outputs than floor.c has room for"
    function = library()[f"floor_f{X.data.itemsize}_i{X.indices.itemsize}"]
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_ssize_t]
    w = np.ones(X.shape[1] * n_outputs, X.dtype)
    pass_over = lambda: function(X.data.ctypes.data, X.indices.ctypes.data, X.nnz, w.ctypes.data, n_outputs)  # noqa: E731
    return min(seconds(pass_over) for _ in range(rounds))
