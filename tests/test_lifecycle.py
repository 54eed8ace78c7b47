"""What becomes of a fitted estimator: coefficients set by hand, files, copies, tools, threads, signals."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
from round_trips import ROUND_TRIPS
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_data import (
    ALL,
    LAYOUTS,
    Y3,
    D,
    N,
    T,
    X,
    Y,
    classifier,
    make,
    regressor,
    same,
    target,
)

import fastsgd
from fastsgd import Perceptron, SGDClassifier, SGDRegressor

# --- coefficients in other hands


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sparsify_and_densify(kind, layout):
    rows, y = LAYOUTS[layout](X), target(kind)
    model = make(kind, penalty="l1", alpha=0.05).fit(rows, y)
    coef, predicted = model.coef_.copy(), model.predict(rows)
    assert model.densify() is model
    assert model.sparsify() is model
    assert sp.issparse(model.coef_)
    assert model.coef_.nnz == np.count_nonzero(coef)
    np.testing.assert_array_equal(model.predict(rows), predicted)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model).partial_fit(rows, y)):
        other.predict(rows)
    model.densify()
    assert model.coef_.shape == coef.shape
    np.testing.assert_array_equal(model.coef_, coef)


# How a user may set the coefficients: all at once, another dtype, integers, lists, in place.
def replace(model, coef, intercept):
    model.coef_, model.intercept_ = coef, intercept


def in_place(model, coef, intercept):
    model.coef_[:], model.intercept_[:] = coef, intercept


REPLACE = {
    "arrays": replace,
    "float32": lambda m, c, i: replace(m, c.astype("f"), i.astype("f")),
    "integers": lambda m, c, i: replace(m, c.astype(int), i.astype(int)),
    "lists": lambda m, c, i: replace(m, c.tolist(), i.tolist()),
    "in place": in_place,
}


@pytest.mark.parametrize("how", REPLACE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_coefficients_set_by_hand_count(how, dtype, average, layout):
    rows = LAYOUTS[layout](X.astype(dtype))
    for kind, y in ((SGDClassifier, Y), (SGDClassifier, Y3), (SGDRegressor, T)):
        model = make(kind, learning_rate="constant", average=average, shuffle=False).fit(rows, y)
        coef = np.arange(1.0, model.coef_.size + 1).reshape(model.coef_.shape)
        intercept = np.arange(5.0, 5 + model.intercept_.size)
        REPLACE[how](model, coef, intercept)
        for other in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            scores = other.predict(rows) if y is T else other.decision_function(rows)
            np.testing.assert_allclose(scores, (X @ coef.T + intercept).squeeze(), rtol=1e-5, atol=1e-4)
        expected = make(kind, learning_rate="constant", average=average, shuffle=False, max_iter=1)
        expected.fit(rows, y, coef_init=coef, intercept_init=intercept)
        model.partial_fit(rows, y)
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-4)
        np.testing.assert_allclose(model.intercept_, expected.intercept_, rtol=1e-4)
        assert model.t_ == 6 * N + 1


@pytest.mark.parametrize(
    "shape", ["coef_ (1, 3)", "coef_ (1, 7)", "coef_ (3, 6)", "intercept_ (10**6,)", "intercept_ 0"]
)
def test_coefficients_of_wrong_shape_are_refused_not_read_beyond(shape):
    name, shape = shape.split(maxsplit=1)
    code = f"""if True:
        import numpy as np, scipy.sparse as sp, fastsgd
        rows, y = sp.csr_array(np.eye(4, {D})), [0, 1, 0, 1]
        for call in ("predict(rows)", "decision_function(rows)", "partial_fit(rows, y)"):
            model = fastsgd.SGDClassifier(max_iter=1, tol=None).fit(rows, y)
            model.{name} = np.zeros({shape})
            try: eval("model." + call)
            except ValueError as error: print("refused")"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "refused\n" * 3), done.stderr


# --- round trips


STATES = {
    "plain": {},
    "average": {"average": True},
    "average later": {"average": 150},
    "l1": {"penalty": "l1", "alpha": 0.01},
    "elasticnet average": {"penalty": "elasticnet", "alpha": 0.01, "average": True},
    "class weight": {"class_weight": {0: 2.0, 1: 3}},
    "all": {"penalty": "l1", "learning_rate": "invscaling", "batch_size": 3, "intercept_decay": 0.5, "average": 9},
}


@pytest.mark.parametrize("trip", ROUND_TRIPS)
@pytest.mark.parametrize("options", STATES.values(), ids=STATES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip_in_mid_training(trip, options, layout, tmp_path):
    for kind, y, dtype in (
        (SGDClassifier, Y, "d"),
        (SGDClassifier, Y3, "f"),
        (SGDRegressor, T, "f"),
        (Perceptron, Y3, "d"),
    ):
        rows = LAYOUTS[layout](X.astype(dtype))
        chosen = {name: value for name, value in options.items() if name in kind().get_params()}
        model = make(kind, **chosen).fit(rows, y).partial_fit(rows[:50], y[:50])
        other = ROUND_TRIPS[trip](model, tmp_path)
        assert type(other) is kind
        assert other.get_params() == model.get_params()
        same(other, model)
        for part in (slice(50, 80), slice(80, N)):
            model.partial_fit(rows[part], y[part])
            other.partial_fit(rows[part], y[part])
            same(other, model)
        other.partial_fit(LAYOUTS["csr" if layout == "dense" else "dense"](X.astype(dtype)), y)
        assert not np.array_equal(other.coef_, model.coef_)  # and shares nothing


@pytest.mark.parametrize("trip", ROUND_TRIPS)
@pytest.mark.parametrize(
    "labels", [["no", "yes"], [-1, 1], [False, True], [0.0, 1.0], [b"n", b"y"], np.array(["no", "yes"], object),
               np.array([3, 4], object), np.array([False, True], object)], ids=repr,
)  # fmt: skip
def test_round_trip_of_labels(trip, labels, tmp_path):
    model = classifier().fit(X, np.asarray(labels)[Y])
    other = ROUND_TRIPS[trip](model, tmp_path)
    same(other, model)
    assert [type(label) for label in other.predict(X).tolist()] == [type(label) for label in model.predict(X).tolist()]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("trip", ["pickle", "deepcopy", "joblib"])
def test_round_trip_unfitted(kind, trip, tmp_path):
    other = ROUND_TRIPS[trip](kind(alpha=0.5), tmp_path)
    assert repr(other) == repr(kind(alpha=0.5))
    other.set_params(max_iter=1, tol=None).fit(X, target(kind))


def test_save_refuses_what_a_file_cannot_keep(tmp_path):
    model = classifier(random_state=np.random.default_rng(0)).fit(X, Y)
    with pytest.raises(TypeError, match=r"cannot keep the parameter value Generator"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


# --- output, randomness


@pytest.mark.parametrize("kind", ALL)
def test_verbose_prints_a_line_an_epoch(kind, capsys):
    make(kind).fit(X, target(kind))
    assert capsys.readouterr() == ("", "")
    model = make(kind, verbose=1).fit(X, target(kind))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_ == 5
    for i, line in enumerate(lines):
        assert line.split()[:4] == ["epoch", str(i + 1), "objective", f"{model.loss_curve_[i]:.6f}"]


def test_random_state():
    def fit(state):
        return classifier(random_state=state, max_iter=1).fit(X, Y).coef_

    for state in (3, np.int64(3), np.uint32(3)):
        np.testing.assert_array_equal(fit(state), fit(3))
    assert not np.array_equal(fit(3), fit(4))
    for kind in (np.random.RandomState, np.random.default_rng):
        state = kind(0)
        first = fit(state)
        assert not np.array_equal(fit(state), first)  # it has moved on
        np.testing.assert_array_equal(fit(kind(0)), first)
    np.random.seed(1)  # noqa: NPY002
    first = fit(None)
    assert not np.array_equal(fit(None), first)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(fit(None), first)
    assert not np.array_equal(fit(0), classifier(shuffle=False, max_iter=1).fit(X, Y).coef_)


# --- scikit-learn's tools


def test_pipeline_and_cross_validation():
    cancer, iris, diabetes = (load(return_X_y=True) for load in (load_breast_cancer, load_iris, load_diabetes))
    pipe = make_pipeline(StandardScaler(), classifier(alpha=1e-3, max_iter=20))
    for scoring, least in ((None, 0.95), ("roc_auc", 0.98), ("neg_log_loss", -0.2)):
        assert cross_val_score(pipe, *cancer, scoring=scoring).min() > least
    assert cross_val_score(make_pipeline(StandardScaler(), Perceptron()), *cancer).mean() > 0.94
    assert cross_val_score(pipe.set_params(sgdclassifier__loss="softmax"), *iris).mean() > 0.9
    least_squares = cross_val_score(LinearRegression(), *diabetes).mean()
    pipe = make_pipeline(StandardScaler(), regressor(max_iter=100))
    assert cross_val_score(pipe, *diabetes).mean() > least_squares - 0.01
    assert "SGDRegressor" in pipe._repr_html_()


def test_grid_search():
    rows, y = load_breast_cancer(return_X_y=True)
    rows = StandardScaler().fit_transform(rows)
    search = GridSearchCV(classifier(), {"alpha": [1e-3, 1e3], "loss": ["log_loss", "hinge"]}, cv=3).fit(rows, y)
    assert search.best_params_["alpha"] == 1e-3
    assert search.best_score_ > 0.95
    assert search.score(rows, y) > 0.96
    scores = search.cv_results_["mean_test_score"]
    assert scores.min() < 0.95 < scores.max()


# --- threads, signals, imports


def test_two_threads_fit_at_once():
    rows = np.random.default_rng(0).normal(size=(20000, 20))
    y = [(rows[:, :k] @ np.ones(k) > 0).astype(int) for k in (3, 9)]
    serial = [classifier().fit(rows, y[i]).coef_ for i in range(2)]
    models = [classifier(), classifier()]
    threads = [threading.Thread(target=models[i].fit, args=(rows, y[i])) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model, expected in zip(models, serial, strict=True):
        np.testing.assert_array_equal(model.coef_, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gil_is_released(layout, monkeypatch):
    """Another thread goes on counting during single calls of the kernel."""
    rows = LAYOUTS[layout](np.ones((100, 50_000), "f"))
    ticks, inside, done, kernel = [0], [], threading.Event(), fastsgd._training.sgd.train

    def count():
        while not done.is_set():
            time.sleep(0.001)
            ticks[0] += 1

    def counted(*arguments):
        before = ticks[0]
        kernel(*arguments)
        inside.append(ticks[0] - before)

    monkeypatch.setattr(fastsgd._training.sgd, "train", counted)
    counter = threading.Thread(target=count)
    counter.start()
    classifier("softmax", batch_size=100, max_iter=1, eta0=1e-9, learning_rate="constant").fit(
        rows, np.arange(100) % 16
    )
    done.set()
    counter.join()
    assert len(inside) == 1
    assert inside[0] >= 5


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("rows = np.ones((50000, 100), 'f')", True),  # one epoch, of 2e10 multiply-adds, takes seconds
        (
            "rows = np.ones((200000, 100), 'f'); y = np.tile(y % 50, 4); options = {'batch_size': 200000}",
            False,
        ),  # a step
        ("rows = np.broadcast_to(np.ones(100, '>f8'), (4_000_000, 100))[:, ::-1]; y = y[:1]", False),  # its conversion
    ],
    ids=["training", "full batch", "conversion"],
)
def test_ctrl_c_stops_a_fit_at_once(before, expected):
    code = f"""if True:
        import numpy as np, fastsgd
        y, options = np.arange(50000) % 2000, {{}}
        {before}
        model = fastsgd.SGDClassifier("softmax", max_iter=1, tol=None, **options)
        print("ready", flush=True)
        try: model.fit(rows, y)
        except KeyboardInterrupt: print("interrupted", hasattr(model, "coef_"), flush=True)"""
    times = []
    while not times or (times[-1] >= 0.2 and len(times) < 5):  # the best of several, on a busy machine
        with subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.3)
            started = time.perf_counter()
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == f"interrupted {expected}\n"
            times.append(time.perf_counter() - started)
    assert min(times) < 0.2, times


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers of POSIX")
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fit_interrupted_at_any_moment_leaves_a_whole_model(layout, early):
    """A real signal, 20 times at random moments of fits of many epochs and of an earlier model."""
    rows, labels = LAYOUTS[layout](np.tile(X, (200, 1))), np.tile(Y, 200) % 3
    options = {"penalty": "elasticnet", "average": True, "max_iter": 10_000, "early_stopping": early}
    options |= {"n_iter_no_change": 10_000}
    random, trained = np.random.default_rng(0), 0
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(20):
            model = classifier("log_loss", **options)
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the timer starts where its signal is awaited
                signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.05 * random.random())
                model.fit(rows, labels)
            if not hasattr(model, "coef_"):
                assert not vars(model).keys() - model.get_params().keys()
                continue
            trained += 1
            assert len(model.loss_curve_) == model.n_iter_
            assert (model.t_ - 1) / (model.n_iter_ + 1) <= len(labels)
            same(pickle.loads(pickle.dumps(model)), model)
            score = model.score(rows, labels)
            model.set_params(early_stopping=False).partial_fit(rows, labels)
            assert min(score, model.score(rows, labels)) >= 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert trained > 10


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_interrupted_partial_fit_leaves_a_whole_model(layout, monkeypatch):
    rows = LAYOUTS[layout](X)
    model = classifier(alpha=0.1, shuffle=False).partial_fit(rows, Y, classes=[0, 1])
    kernel, calls = fastsgd._training.sgd.train, []

    def interrupted(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(kernel(*arguments))

    monkeypatch.setattr(fastsgd._scores, "NONZEROS_PER_SLICE", 2)
    monkeypatch.setattr(fastsgd._training.sgd, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(rows, Y)
    if hasattr(model, "coef_"):  # then it is that of some step
        same(pickle.loads(pickle.dumps(model)), model)


def test_imports_neither_scipy_nor_sklearn():
    code = """if True:
        import sys, io, fastsgd
        model = fastsgd.SGDClassifier(max_iter=3, tol=None).fit([[0.0, 1], [1, 0]], [0, 1])
        X = fastsgd.CSR([1.0], [0], [0, 1], (1, 2))
        print(model.predict(X), model, sorted({"scipy", "sklearn", "pandas"} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[1] SGDClassifier(max_iter=3, tol=None) []\n", "")
