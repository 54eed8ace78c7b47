"""What the package has to reach, case by case, beside scikit-learn and the floor in the same run.

    pytest bench/test_targets.py                                    minutes
    pytest bench/test_targets.py --size tiny                        seconds, to see that every case runs
    pytest bench/test_targets.py --benchmark-save=baseline          keep this run's times in .benchmarks
    pytest bench/test_targets.py --benchmark-compare --benchmark-compare-fail=min:15%      fail if a case got slower

extra_info of each case: rows, nnz, ns_per_nonzero, ratio (scikit-learn's or scipy's best time over ours, or ours for
another type or number of threads: `peer` says), ratio_to_floor for CSR rows, and the target. Printed at the end.

Real data come from FASTSGD_DATA (as for table.py); a case says in `data` when generated rows like them stood in.
"""

from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.linear_model
from floor import floor
from workloads import a9a, nonzeros, race, rcv1_like, shared, zipf_rows

from fastsgd import SGDClassifier

EPOCH = {"max_iter": 1, "tol": None, "random_state": 0}
# Rows, columns, nonzeros a row and classes of the rows that stand in, at full and at tiny size.
LIKE = {
    "imdb_bigram": ((25_000, 1_500_000, 200, 2), (500, 20_000, 60, 2)),
    "newsgroups20": ((11_314, 130_000, 157, 20), (500, 3000, 40, 20)),
    "sms_spam": ((4460, 8713, 13, 2), (500, 1000, 13, 2)),
    "fashion_mnist": ((60_000, 784, None, 10), (300, 784, None, 10)),
    "dense 20": ((200_000, 20, None, 2), (2000, 20, None, 2)),
}


@cache
def data(name, size):
    """(X, y, where from), float32."""
    if name == "RCV1-like":
        return (*rcv1_like(size)[:2], "generated")
    generated = name == "dense 20" or (size == "tiny" and name != "a9a")
    real = None if generated else a9a() if name == "a9a" else shared(name)
    if real is not None:
        return real[0], np.unique(real[1], return_inverse=True)[1], "real"
    n, d, nnz, classes = LIKE[name][size == "tiny"]
    random = np.random.default_rng(0)
    if nnz is None:
        X = random.standard_normal((n, d), np.float32) / np.float32(np.sqrt(d))
    else:
        X = zipf_rows(random, n, d, nnz, np.float32)
    return X, (X @ random.standard_normal((d, classes))).argmax(axis=1), "generated"


def note(benchmark, X, peer, target, source="generated", **more):
    """extra_info of a case; `peer` are its name and best time, and the target is how many times faster we are to be."""
    best, (name, theirs) = benchmark.stats.stats.min, peer
    benchmark.extra_info.update(
        rows=X.shape[0], nnz=nonzeros(X), ns_per_nonzero=1e9 * best / nonzeros(X), peer=name, ratio=theirs / best,
        target=target, data=source, **more,
    )  # fmt: skip


OTHER_KINDS = {"int64": 1 / 1.3, "float64": 1 / 1.5, "2 threads": 1.6}
TRAINING = {
    # data, our options, scikit-learn's loss, target
    "csr": ("RCV1-like", {}, "log_loss", 5),
    "csr l1": ("RCV1-like", {"penalty": "l1"}, "log_loss", 5),
    "csr elasticnet": ("RCV1-like", {"penalty": "elasticnet"}, "log_loss", 5),
    "csr average": ("RCV1-like", {"average": True}, "log_loss", 3.5),
    "imdb_bigram": ("imdb_bigram", {}, "log_loss", 2.8),
    "a9a": ("a9a", {}, "log_loss", 4.5),
    "sms_spam": ("sms_spam", {}, "log_loss", 4.5),
    "newsgroups20 softmax": ("newsgroups20", {"loss": "softmax"}, "log_loss", 9),
    "newsgroups20 one-versus-rest": ("newsgroups20", {}, "log_loss", 9),
    "fashion_mnist softmax": ("fashion_mnist", {"loss": "softmax"}, "log_loss", 25),
    "dense 20": ("dense 20", {}, "log_loss", 3),
}


@pytest.mark.parametrize("case", TRAINING)
def test_epoch(benchmark, size, case):
    name, options, peer_loss, target = TRAINING[case]
    X, y, source = data(name, size)
    ours = SGDClassifier(**{"loss": "log_loss", **EPOCH, **options})
    theirs = sklearn.linear_model.SGDClassifier(**EPOCH, **(options | {"loss": peer_loss}))
    result = race(lambda: ours.fit(X, y), lambda: theirs.fit(X, y), rounds=3)
    benchmark.pedantic(ours.fit, args=(X, y), rounds=7)
    more = {}
    if sp.issparse(X):
        outputs = 1 if y.max() == 1 else y.max() + 1
        more["ratio_to_floor"] = benchmark.stats.stats.min / floor(X, outputs)
    note(benchmark, X, ("scikit-learn", result.peer), target, source, **more)


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("name", ["RCV1-like", "fashion_mnist"])
def test_epoch_beside_our_own(benchmark, size, name, kind):
    X, y, source = data(name, size)
    if kind == "int64" and not sp.issparse(X):
        pytest.skip("dense rows have no indices")
    options = {"loss": "log_loss" if y.max() == 1 else "softmax", **EPOCH}
    usual, other, A = SGDClassifier(**options), SGDClassifier(**options, n_jobs=2 if kind == "2 threads" else 1), X
    if kind == "float64":
        A = X.astype(np.float64)
    elif kind == "int64":
        A = X.copy()
        A.indices, A.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    result = race(lambda: other.fit(A, y), lambda: usual.fit(X, y), rounds=5)
    benchmark.pedantic(other.fit, args=(A, y), rounds=5)
    note(benchmark, A, ("our float32, int32, one thread", result.peer), OTHER_KINDS[kind], source)


OPTIMIZERS = {"adagrad": 1 / 2.2, "normalized": 1 / 2.2, "ftrl": 1 / 3, "adam": 1 / 3}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["RCV1-like", "newsgroups20", "fashion_mnist"])
def test_epoch_of_an_optimizer(benchmark, size, name, optimizer):
    """Beside `sgd`; `ratio_of_epochs` is that of a second epoch and further ones, without what a call costs besides."""
    X, y, source = data(name, size)
    options = {"loss": "log_loss" if y.max() == 1 else "softmax", "tol": None, "random_state": 0}
    if name == "fashion_mnist":  # the default step is far too long there
        options |= {"learning_rate": "constant", "eta0": 0.01 if optimizer == "sgd" else 0.1}
    fit = lambda optimizer, passes: SGDClassifier(optimizer=optimizer, max_iter=passes, **options).fit(X, y)  # noqa: E731
    result = race(lambda: fit(optimizer, 1), lambda: fit("sgd", 1), rounds=5)
    longer = race(lambda: fit(optimizer, 5), lambda: fit("sgd", 5), rounds=3)
    benchmark.pedantic(fit, args=(optimizer, 1), rounds=5)
    epochs = (longer.peer - result.peer) / (longer.seconds - result.seconds)
    note(benchmark, X, ("sgd", result.peer), OPTIMIZERS[optimizer], source, ratio_of_epochs=epochs)
    if name != "RCV1-like":
        del benchmark.extra_info["target"]  # there for orientation


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("name", ["RCV1-like", "newsgroups20", "fashion_mnist", "fashion_mnist one output"])
def test_scores(benchmark, size, name, n_jobs):
    X, y, source = data(name.removesuffix(" one output"), size)
    y = y == 0 if name.endswith("one output") else y
    model = SGDClassifier("log_loss", n_jobs=n_jobs, **EPOCH).fit(X, y)
    W = np.ascontiguousarray(model.coef_.T)
    w = W[:, 0].copy() if W.shape[1] == 1 else W
    result = race(lambda: model.decision_function(X), lambda: X @ w, rounds=5)
    benchmark.pedantic(model.decision_function, args=(X,), rounds=9)
    note(benchmark, X, ("X @ w", result.peer), 2 if name == "newsgroups20" else 1, source)


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize(("columns", "nnz"), [(20, None), (784, None), (47_000, 73), (1_500_000, 73)])
@pytest.mark.parametrize("call", ["partial_fit", "predict"])
def test_one_row(benchmark, size, call, columns, nnz, classes):
    """In microseconds a call; the target is 20 for partial_fit and 10 for predict."""
    random = np.random.default_rng(0)
    if size == "tiny":
        columns = min(columns, 10_000)
    X = random.standard_normal((1, columns), np.float32) if nnz is None else zipf_rows(random, 1, columns, nnz, "f4")
    y, arguments = np.array([1]), () if call == "predict" else (np.array([1]),)
    ours, theirs = SGDClassifier(random_state=0), sklearn.linear_model.SGDClassifier(random_state=0)
    for model in (ours, theirs):
        model.partial_fit(X, y, classes=np.arange(classes))
    run = lambda model: [getattr(model, call)(X, *arguments) for _ in range(3)]  # noqa: E731
    result = race(lambda: run(ours), lambda: run(theirs), rounds=5)
    benchmark.pedantic(getattr(ours, call), args=(X, *arguments), rounds=20, iterations=100, warmup_rounds=1)
    best = benchmark.stats.stats.min
    note(benchmark, X, ("scikit-learn", result.peer / 3), None, microseconds=1e6 * best)
    benchmark.extra_info["target_microseconds"] = 20 if call == "partial_fit" else 10
