"""The life of the networks as estimators: files, copies, callbacks, threads, tools, bad input."""

import pickle
import signal

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from bad_input import LAYOUTS, Y3, T, X, Y, refuses
from round_trips import ROUND_TRIPS
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_network import moons

import fastsgd.cli
from fastsgd import MLPClassifier, MLPRegressor

KINDS = [MLPClassifier, MLPRegressor]


def make(kind, **parameters):
    return kind(**{"hidden_layer_sizes": (6,), "max_iter": 4, "tol": None, "random_state": 0, **parameters})


def target(kind):
    return T if kind is MLPRegressor else Y3


def same(a, b):
    """Equal bit for bit, in what they are and in what they predict."""
    for mine, theirs in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    for name in ("n_iter_", "t_", "loss_curve_", "n_features_in_", "classes_", "out_activation_", "validation_scores_"):
        assert hasattr(a, name) == hasattr(b, name)
        if hasattr(a, name):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(a.predict(X), b.predict(X))


@pytest.mark.parametrize("trip", ROUND_TRIPS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_in_mid_training(kind, layout, trip, tmp_path):
    for dtype, solver, batch_size in (("f", "sgd", 1), ("d", "adam", 7), ("f", "adam", 1), ("f", "adagrad", 7)):
        rows, y = LAYOUTS[layout](X.astype(dtype)), target(kind)
        model = make(kind, solver=solver, batch_size=batch_size, alpha=0.01).fit(rows, y).partial_fit(rows, y)
        other = ROUND_TRIPS[trip](model, tmp_path)
        assert type(other) is kind
        assert other.get_params() == model.get_params()
        same(other, model)
        same(other.partial_fit(rows, y), model.partial_fit(rows, y))
        other.partial_fit(LAYOUTS["CSR" if layout == "dense" else "dense"](X.astype(dtype)), y)
        assert not np.array_equal(other.coefs_[0], model.coefs_[0])  # and shares nothing


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("solver", ["adagrad", "adam"])
def test_calls_of_partial_fit_are_one_pass(solver, layout):
    """What the solver keeps of each weight is kept between calls, and if the layout of the rows changes."""
    rows, options = LAYOUTS[layout](X), {"solver": solver, "batch_size": 5, "shuffle": False, "alpha": 0.0}
    whole, pieces = make(MLPClassifier, max_iter=1, **options).fit(rows, Y3), make(MLPClassifier, **options)
    for first in range(0, len(Y3), 5):
        part = LAYOUTS[layout](X[first : first + 5])
        pieces.partial_fit(part, Y3[first : first + 5], classes=[0, 1, 2])
        pieces.coefs_  # noqa: B018 - looking at the weights changes nothing
    for mine, theirs in zip(whole.coefs_ + whole.intercepts_, pieces.coefs_ + pieces.intercepts_, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    other = LAYOUTS["CSR" if layout == "dense" else "dense"](X)
    turned = make(MLPClassifier, max_iter=1, **options).fit(rows, Y3).partial_fit(other, Y3).partial_fit(rows, Y3)
    model = make(MLPClassifier, max_iter=3, **options).fit(rows, Y3)
    if solver == "adagrad":  # of adam the two layouts differ
        np.testing.assert_allclose(turned.coefs_[0], model.coefs_[0], rtol=1e-9)
    assert turned.t_ == model.t_


@pytest.mark.parametrize("kind", KINDS)
def test_another_solver_on_the_way(kind):
    """It keeps the weights and begins with numbers of its own beside them; steps go on counting."""
    for first, second in (("sgd", "adam"), ("adam", "adagrad"), ("adagrad", "sgd")):
        model = make(kind, solver=first).fit(X, target(kind))
        coefs, t = [coef.copy() for coef in model.coefs_], model.t_
        model.set_params(solver=second, learning_rate_init=1e-12).partial_fit(X, target(kind))
        for mine, theirs in zip(model.coefs_, coefs, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-10)
        assert model.t_ == t + 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_reads_its_file(kind, tmp_path, capsys):
    path, rows = str(tmp_path / "model.npz"), str(tmp_path / "rows.svm")
    model = make(kind).fit(X, target(kind))
    model.save(path)
    fastsgd.dump_svmlight(X, target(kind), rows)
    fastsgd.cli.main(["info", path])
    assert f"{sum(coef.size for coef in model.coefs_)} of float64" in capsys.readouterr().out
    fastsgd.cli.main(["predict", rows, "--model", path])
    told = np.array(capsys.readouterr().out.split(), float)
    np.testing.assert_allclose(told, model.predict(X), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_get_set_clone_repr(kind):
    model = kind(alpha=0.5).set_params(max_iter=7, tol=None)
    assert repr(model) == f"{kind.__name__}(alpha=0.5, max_iter=7, tol=None)"
    for name, value in kind().get_params().items():
        assert kind(**{name: value}).get_params()[name] is value
    copied = clone(model.fit(X, target(kind)))
    assert copied.get_params() == model.get_params()
    for name in ("coefs_", "intercepts_"):
        assert not hasattr(copied, name)
    for call in (copied.predict, copied.score):
        with pytest.raises(NotFittedError, match=rf"{kind.__name__} .*not fitted"):
            call(X, *([Y] if call == copied.score else []))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_see_every_epoch(kind, layout):
    rows, y, told = LAYOUTS[layout](X), target(kind), []

    def watch(epoch):
        told.append((epoch.loss, epoch.coefficients()))
        return epoch.epoch == 3

    model = make(kind, callbacks=[watch], alpha=0.01).fit(rows, y)
    assert model.n_iter_ == len(told) == 3
    for epochs, (loss, (coefs, intercepts)) in enumerate(told, 1):
        expected = make(kind, max_iter=epochs, alpha=0.01).fit(rows, y)
        assert loss == expected.loss_
        for mine, theirs in zip(coefs + intercepts, expected.coefs_ + expected.intercepts_, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize("scoring", [None, "loss", "r2", lambda model, A, b: model.score(A, b)])
@pytest.mark.parametrize("kind", KINDS)
def test_early_stopping_keeps_the_best_weights(kind, scoring):
    rows = LAYOUTS["CSR" if kind is MLPClassifier else "dense"](X)
    y = Y if scoring == "r2" and kind is MLPClassifier else target(kind)
    options = {"early_stopping": True, "validation_fraction": 0.3, "scoring": scoring, "learning_rate_init": 0.05}
    model = make(kind, max_iter=100, **options).fit(rows, y)
    best = int(np.argmax(model.validation_scores_))
    assert len(model.validation_scores_) == 100
    until = make(kind, max_iter=best + 1, **options).fit(rows, y)
    for mine, theirs in zip(model.coefs_, until.coefs_, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_warm_start(kind):
    y = target(kind)
    options = {"solver": "sgd", "shuffle": False}  # the means of adam begin anew
    whole, parts = make(kind, **options, max_iter=8), make(kind, **options, warm_start=True)
    parts.fit(X, y).fit(X, y)
    whole.fit(X, y)
    np.testing.assert_allclose(parts.coefs_[0], whole.coefs_[0], rtol=1e-12)
    with pytest.raises(ValueError, match=r"warm_start: the weights so far have shapes .* make the estimator anew"):
        parts.set_params(hidden_layer_sizes=(3,)).fit(X, y)


@pytest.mark.parametrize("again", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_the_caller_broke(kind, again):
    y = target(kind)
    model = make(kind, warm_start=True).fit(X, y)
    model.coefs_ = [np.full_like(model.coefs_[0], np.nan), model.coefs_[1]]
    with pytest.raises(ValueError, match="coefs_ or intercepts_ have NaN or infinity, as float64"):
        getattr(model, again)(X, y)


def test_labels_of_every_kind():
    for labels in (["no", "yes", "so"], [-1, 0, 7], np.array(["a", "b", "c"], object)):
        model = make(MLPClassifier).fit(X, np.asarray(labels)[Y3])
        assert set(model.predict(X)) <= set(labels)
    several = np.c_[Y, 1 - Y, Y3 > 0].astype(int)
    model = make(MLPClassifier, max_iter=200, learning_rate_init=0.1).fit(X, several)
    assert model.predict(X).shape == several.shape
    assert model.score(X, several) > 0.9
    assert model.out_activation_ == "logistic"
    assert ((model.predict_proba(X) >= 0) & (model.predict_proba(X) <= 1)).all()
    shares = np.eye(3)[Y3] * 0.8 + 0.2 / 3
    model = make(MLPClassifier, loss="softmax", max_iter=500, learning_rate_init=0.1).fit(X, shares)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert model.score(X, Y3) > 0.9
    assert not hasattr(make(MLPClassifier, loss="hinge").fit(X, Y3), "predict_proba")


def test_partial_fit_asks_for_the_classes():
    with pytest.raises(ValueError, match="classes must be passed"):
        make(MLPClassifier).partial_fit(X, Y)
    model = make(MLPClassifier).partial_fit(X[:5], Y[:5], classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not among the classes"):
        model.partial_fit(X, Y + 7)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_pipelines_and_searches(kind):
    y, table = target(kind), pd.DataFrame(X, columns=list("abcde"))
    model = make(kind).fit(table, y)
    assert list(model.feature_names_in_) == list("abcde")
    same_rows = make(kind).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], same_rows.coefs_[0])
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[list("edcba")])
    pipeline = make_pipeline(StandardScaler(), make(kind)).fit(X, y)
    assert pipeline.score(X, y) == make(kind).fit(StandardScaler().fit_transform(X), y).score(
        StandardScaler().fit_transform(X), y
    )
    scores = cross_val_score(make(kind, learning_rate_init=0.03), X, y, cv=2, error_score="raise")
    search = GridSearchCV(make(kind), {"learning_rate_init": [1e-6, 0.03]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_ == {"learning_rate_init": 0.03}
    assert search.best_score_ == pytest.approx(scores.mean())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("solver", ["sgd", "adagrad", "adam"])
def test_threads(solver, layout, monkeypatch):
    """The same bits every time, and a model as good."""
    monkeypatch.setattr("fastsgd._team.SHORTEST_OF_NETWORK", 5000)
    points, labels = moons(6000, 0.2, 0)
    rows = LAYOUTS[layout](points)
    options = {"hidden_layer_sizes": (100,), "max_iter": 15, "solver": solver, "batch_size": 10, "alpha": 1e-3}
    options |= {"learning_rate_init": 0.003 if solver == "adam" else 0.1}
    one = make(MLPClassifier, **options).fit(rows, labels)
    two = [make(MLPClassifier, n_jobs=2, **options).fit(rows, labels) for _ in range(2)]
    for mine, theirs in zip(two[0].coefs_ + two[0].intercepts_, two[1].coefs_ + two[1].intercepts_, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(one.coefs_[0], two[0].coefs_[0])
    assert two[0].loss_ == pytest.approx(one.loss_, rel=0.1)
    test, truth = moons(5000, 0.2, 1)
    assert two[0].score(test, truth) > one.score(test, truth) - 0.01 > 0.95


@pytest.mark.parametrize("how", ["fit", "partial_fit", "predict", "score"])
def test_bad_input(how):
    for bad, message in (
        (np.where(np.arange(5) == 3, np.nan, X), "NaN at row 0, column 3"), (X[:0], "0 sample"), (X[0], "2D|1D"),
        (sp.csr_array(np.where(X > 0.9, np.inf, X)), "infinity"), ([["a"] * 5] * 40, "where numbers belong"),
    ):  # fmt: skip
        model = make(MLPClassifier)
        refuses(how, bad, message, model=model if how == "fit" else model.fit(X, Y))


def test_read_only_and_unusual_arrays():
    expected = make(MLPClassifier).fit(X, Y3)
    frozen = X.copy()
    frozen.flags.writeable = False
    for rows in (frozen, np.asfortranarray(X), X.astype(">f8"), X.tolist(), np.repeat(X, 2, axis=1)[:, ::2]):
        same(make(MLPClassifier).fit(rows, Y3), expected)
    A = sp.csr_array(X)
    wide = fastsgd.CSR(A.data, A.indices.astype(np.int64), A.indptr.astype(np.int64), A.shape)
    same(make(MLPClassifier).fit(wide, Y3), make(MLPClassifier).fit(A, Y3))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers of POSIX")
@pytest.mark.parametrize("batch_size", [1, 8000])
def test_an_interrupted_fit_leaves_a_whole_model(batch_size):
    rows, labels = np.tile(X, (200, 1)), np.tile(Y3, 200)
    options = {"hidden_layer_sizes": (200,), "learning_rate_init": 0.01 if batch_size == 1 else 0.5}
    model = make(MLPClassifier, **options, max_iter=10_000, batch_size=batch_size)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the timer starts where its signal is awaited
            signal.setitimer(signal.ITIMER_REAL, 0.4)
            model.fit(rows, labels)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(model.loss_curve_) == model.n_iter_ > 1
    same(pickle.loads(pickle.dumps(model)), model)
    assert model.partial_fit(rows, labels).score(rows, labels) > 0.5
