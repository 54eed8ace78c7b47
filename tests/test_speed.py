"""What costs without a line of code: memory that `fit` takes besides the data, and the time of the import."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MB = 1 << 20
RESET = Path("/proc/self/clear_refs")  # Linux: writing 5 resets the peak

# rows, columns, nonzeros a row (None: dense), dtype, index, estimator, arrays of the weights' size besides them
CASES = {
    "dense": (1_000_000, 8, None, "f4", None, "SGDClassifier('log_loss', {})", 0),
    "dense regression": (1_000_000, 8, None, "f8", None, "SGDRegressor({})", 0),
    "csr": (400_000, 1000, 10, "f4", "i4", "SGDClassifier('log_loss', {})", 0),
    "csr, 3 classes": (400_000, 1000, 10, "f4", "i8", "SGDClassifier('softmax', {})", 0),
    "csr, columns": (1000, 5_000_000, 10, "f4", "i4", "SGDClassifier('log_loss', {})", 0),
    "csr, l1": (1000, 5_000_000, 10, "f4", "i4", "SGDClassifier('log_loss', penalty='l1', {})", 1),
    "csr, l1, in cells": (400_000, 400_000, 20, "f4", "i4", "SGDClassifier('log_loss', penalty='l1', {})", 1),
    # The running sum, the mean, and the copy by which a change of coef_ in place is noticed.
    "csr, average": (1000, 5_000_000, 10, "f4", "i4", "SGDClassifier('log_loss', average=True, {})", 3),
}
SCRIPT = """if True:
    import re, sys
    import numpy as np
    from fastsgd import CSR, SGDClassifier, SGDRegressor
    n, d, nnz, dtype, index = {case}
    rng = np.random.default_rng(0)
    if nnz is None:
        make = lambda n: rng.random((n, d), dtype)
    else:
        make = lambda n: CSR(rng.random(n * nnz, dtype), rng.integers(0, d, n * nnz, index),
                             np.arange(0, n * nnz + 1, nnz, index), (n, d))
    classes = 3 if "softmax" in {model!r} else 2
    target = lambda n: rng.random(n, dtype) if "Regressor" in {model!r} else rng.integers(0, classes, n)
    {model}.fit(make(30), np.arange(30) % classes)     # what is loaded once is loaded
    X, y, model = make(n), target(n), {model}
    status = lambda name: 1024 * int(re.search(name + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1])
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    model.fit(X, y)
    print(status("VmHWM") - before, model.coef_.nbytes)"""


@pytest.mark.skipif(not RESET.exists(), reason="the peak of memory can be reset on Linux only")
@pytest.mark.parametrize("name", CASES)
def test_fit_takes_little_memory_besides_the_data(name):
    *case, model, arrays = CASES[name]
    code = SCRIPT.format(case=case, model=model.format("max_iter=2, tol=None, random_state=0"))
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=120)
    peak, weights = map(int, done.stdout.split())
    rows = case[0]
    allowed = weights * (1 + arrays) + 8 * rows + 5 * MB
    assert peak <= allowed, f"{peak / MB:.1f} MB of {allowed / MB:.1f}"


def test_import_takes_little_time():
    """Beyond numpy, the best of several runs, as the interpreter measures it; and nothing heavy comes with it."""
    code = (
        "import sys, time, numpy; t = time.perf_counter(); import fastsgd; print(time.perf_counter() - t, *sys.modules)"
    )
    times = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=120
        )
        seconds, *modules = done.stdout.split()
        times.append(float(seconds))
        assert not {"scipy", "sklearn", "pandas", "polars", "pyarrow", "onnx"} & set(modules)
        if min(times) < 0.15:
            break
    assert min(times) < 0.15, times
    assert np.isfinite(times).all()
