"""Training on two threads beside one, in the same run.

    pytest bench/test_threads.py                    full size; fashion_mnist where FASTSGD_DATA has it
    pytest bench/test_threads.py --size tiny        seconds; so little data trains on one thread

extra_info of each case: rows, ratio (one thread's best time over two threads'), objective (that of two threads over
that of one, after 5 epochs).
"""

import numpy as np
import pytest
from workloads import race, rcv1_like, shared

import fastsgd


@pytest.mark.parametrize(
    ("name", "loss", "options"),
    [
        ("rcv1_like", "log_loss", {}),
        ("rcv1_like", "log_loss", {"penalty": "l1"}),
        ("rcv1_like", "log_loss", {"average": True}),
        ("fashion_mnist", "softmax", {}),
    ],
)
def test_two_threads(benchmark, size, name, loss, options):
    data = rcv1_like(size) if name == "rcv1_like" else shared(name) if size == "full" else None
    if data is None:
        pytest.skip(f"{name} only at full size, from FASTSGD_DATA")
    X, y = data[:2]
    one, two = (fastsgd.SGDClassifier(loss, max_iter=5, tol=None, random_state=0, n_jobs=n, **options) for n in (1, 2))
    result = race(lambda: two.fit(X, y), lambda: one.fit(X, y), rounds=3)
    benchmark.pedantic(two.fit, args=(X, y), rounds=3)
    objective = two.loss_curve_[-1] / one.loss_curve_[-1]
    benchmark.extra_info.update(rows=X.shape[0], ratio=result.ratio, objective=objective)
    assert np.isfinite(objective)
