"""Reading and writing svmlight text, each beside scikit-learn in the same run.

    pytest bench/test_svmlight.py                   250 MB of RCV1-like rows
    pytest bench/test_svmlight.py --size tiny       a second, to see that every benchmark runs

extra_info of each case: rows, bytes (of the text), MB_per_second, and ratio, scikit-learn's best time over ours.
"""

import gzip

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file, load_svmlight_file
from workloads import race, rcv1_like

from fastsgd import dump_svmlight, iter_svmlight, load_svmlight


@pytest.fixture(scope="module")
def data(size):
    return rcv1_like(size)[:2]


@pytest.fixture(scope="module")
def path(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("svmlight") / "rows.svm"
    dump_svmlight(*data, path)
    return path


def run(benchmark, ours, theirs, rows, size):
    result = race(ours, theirs, rounds=2)
    benchmark.pedantic(ours, rounds=3)
    best = min(result.seconds, benchmark.stats.stats.min) if benchmark.stats else result.seconds
    benchmark.extra_info.update(rows=rows, bytes=size, MB_per_second=size / best / 1e6, ratio=result.peer / best)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_load(benchmark, data, path, n_jobs, dtype):
    run(
        benchmark,
        lambda: load_svmlight(path, dtype=dtype, n_jobs=n_jobs),
        lambda: load_svmlight_file(str(path), dtype=dtype),
        data[0].shape[0],
        path.stat().st_size,
    )


def test_load_gzip(benchmark, data, path):
    zipped = path.with_suffix(".gz")
    zipped.write_bytes(gzip.compress(path.read_bytes(), 1))
    run(
        benchmark,
        lambda: load_svmlight(zipped, n_jobs=2),
        lambda: load_svmlight_file(str(zipped), dtype=np.float32),
        data[0].shape[0],
        path.stat().st_size,
    )


def test_iterate(benchmark, data, path):
    def iterate():
        for _ in iter_svmlight(path, rows=20_000, n_features=data[0].shape[1]):
            pass

    run(
        benchmark,
        iterate,
        lambda: load_svmlight_file(str(path), dtype=np.float32),
        data[0].shape[0],
        path.stat().st_size,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dump(benchmark, data, path, dtype):
    n = data[0].shape[0] // 10  # scikit-learn takes long
    X, y = data[0][:n].astype(dtype), data[1][:n]
    ours, theirs = path.with_name("ours"), path.with_name("theirs")
    dump_svmlight(X, y, ours)
    run(
        benchmark,
        lambda: dump_svmlight(X, y, ours),
        lambda: dump_svmlight_file(X, y, str(theirs), zero_based=False),
        n,
        ours.stat().st_size,
    )
