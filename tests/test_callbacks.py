"""What is told after each epoch and who may end training: callbacks, verbose, the score that early_stopping goes by."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.metrics import get_scorer, log_loss, roc_auc_score
from small_data import ALL, LAYOUTS, WEIGHTS, Y3, D, N, T, X, Y, classifier, make, regressor, same, target

import fastsgd
from fastsgd import SGDClassifier

# --- callbacks


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", [{}, {"penalty": "l1"}, {"alpha": 0.1}], ids=str)
@pytest.mark.parametrize("kind", ALL)
def test_a_record_is_what_fit_would_leave_were_it_to_end_there(kind, options, layout):
    told, rows, y = [], LAYOUTS[layout](X), target(kind)
    options = {"learning_rate": "constant", "average": 50, **options}
    options = {name: value for name, value in options.items() if name in kind().get_params()}
    model = make(kind, **options, callbacks=[lambda record: told.append((record, *record.coefficients()))])
    model.fit(rows, y)
    assert [record.epoch for record, *_ in told] == [1, 2, 3, 4, 5]
    assert [record.loss for record, *_ in told] == model.loss_curve_
    assert all(0 < record.seconds < 1 and record.validation_score is None for record, *_ in told)
    same(model, make(kind, **options).fit(rows, y))
    for epochs, (_, coef, intercept) in enumerate(told, 1):
        expected = make(kind, **options, max_iter=epochs).fit(rows, y)
        np.testing.assert_array_equal(coef, np.atleast_2d(expected.coef_))
        np.testing.assert_array_equal(intercept, expected.intercept_)


def test_a_callback_that_returns_true_ends_training():
    calls = []
    model = classifier(tol=1e-9, max_iter=100, callbacks=[lambda r: r.epoch == 3, lambda r: calls.append(r.epoch)])
    model.fit(X, Y)  # a warning of no convergence would be an error
    assert (model.n_iter_, len(model.loss_curve_), calls) == (3, 3, [1, 2, 3])
    same(model, classifier(max_iter=3).fit(X, Y))
    for answer in (None, False, np.False_, 1, "stop", [True]):
        assert classifier(callbacks=[lambda r, answer=answer: answer]).fit(X, Y).n_iter_ == 5
    assert classifier(callbacks=(lambda r: np.True_,)).fit(X, Y).n_iter_ == 1
    assert regressor(learning_rate="adaptive", tol=0.1, callbacks=[lambda r: True]).fit(X, T).n_iter_ == 1


def test_a_callback_that_stops_early_keeps_the_best_weights():
    options = {"early_stopping": True, "learning_rate": "constant", "eta0": 0.5, "max_iter": 30}
    scores = classifier(**options).fit(X, Y3).validation_scores_
    best = int(np.argmax(scores))
    assert best < 25
    model = classifier(**options, callbacks=[lambda r: r.epoch == best + 4]).fit(X, Y3)
    assert model.validation_scores_ == scores[: best + 4]
    np.testing.assert_array_equal(model.coef_, classifier(**options).set_params(max_iter=best + 1).fit(X, Y3).coef_)


def test_a_record_is_read_only_and_gives_coefficients_while_the_callback_runs():
    kept = []

    def spoil(record):
        kept.append(record)
        coef, intercept = record.coefficients()
        coef[:], intercept[:] = np.nan, np.nan

    model = classifier(callbacks=[spoil]).fit(X, Y3)
    same(model, classifier().fit(X, Y3))
    with pytest.raises(AttributeError):
        kept[0].loss = 0.0
    with pytest.raises(RuntimeError, match="while the callback runs"):
        kept[0].coefficients()
    assert isinstance(kept[0], fastsgd.Epoch)
    assert repr(kept[0]).startswith("Epoch(epoch=1, loss=")
    assert pickle.loads(pickle.dumps(kept[0])) == kept[0]


def test_what_a_callback_raises_gets_out_and_what_was_learnt_stays():
    def fail(record):
        if record.epoch == 2:
            raise KeyError("mine")

    model = classifier(callbacks=[fail])
    with pytest.raises(KeyError, match="mine"):
        model.fit(X, Y3)
    same(model, classifier(max_iter=2).fit(X, Y3))
    model.set_params(callbacks=[lambda record: 1 / 0])
    with pytest.raises(ZeroDivisionError):
        model.partial_fit(X, Y3)
    same(model, classifier(max_iter=2).fit(X, Y3).partial_fit(X, Y3))


def test_partial_fit_is_one_epoch():
    epochs = []
    model = classifier(callbacks=[lambda r: epochs.append(r.epoch)])
    model.partial_fit(X, Y, [0, 1]).partial_fit(X, Y)
    assert epochs == [1, 1]


def test_a_model_file_and_a_pickle_of_a_model_with_callbacks(tmp_path):
    model = classifier(callbacks=[print_nothing], scoring=print_nothing).fit(X, Y)
    same(pickle.loads(pickle.dumps(model)), model)
    model.save(tmp_path / "model.npz")
    loaded = fastsgd.load(tmp_path / "model.npz")
    assert loaded.callbacks is loaded.scoring is None
    same(loaded, model)
    model = classifier(scoring="loss", early_stopping=True).fit(X, Y)
    model.save(tmp_path / "model.npz")
    loaded = fastsgd.load(tmp_path / "model.npz")
    assert loaded.scoring == "loss"
    assert loaded.validation_scores_ == model.validation_scores_


def print_nothing(*args):
    return None


# --- verbose


@pytest.mark.parametrize("kind", ALL)
def test_verbose_prints_a_line_an_epoch(kind, capsys):
    model = make(kind, verbose=1).fit(X, target(kind))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  objective")[0] for line in lines] == [f"epoch   {i}" for i in range(1, 6)]
    shown = [float(line.split("objective")[1].split()[0]) for line in lines]
    np.testing.assert_allclose(shown, model.loss_curve_, atol=1e-6)
    make(kind).fit(X, target(kind))
    assert not capsys.readouterr().out


# --- scoring


def held_out(model, y):
    """The rows that early_stopping of `model` held out, seen through a scorer."""
    seen = []
    model.set_params(scoring=lambda estimator, X, y: float(bool(seen.append((X, y))))).fit(X, y)
    return seen[0]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize(
    ("y", "scoring"),
    [(Y, "roc_auc"), (Y, "neg_log_loss"), (Y3, "f1_macro"), (np.array(["no", "yes"])[Y], "balanced_accuracy"),
     (T, "neg_mean_absolute_error"), (T, "r2")],
)  # fmt: skip
def test_scoring_by_a_scorers_name(y, scoring, penalty, layout):
    kind = regressor if y is T else classifier
    options = {"early_stopping": True, "validation_fraction": 0.3, "penalty": penalty, "alpha": 0.01, "max_iter": 8}
    model = kind(**options, scoring=scoring).fit(LAYOUTS[layout](X), y)
    X_held, y_held = held_out(kind(**options), y)
    assert len(y_held) == len(X_held) == 36
    assert set(y_held) <= set(y)
    assert len(model.validation_scores_) == model.n_iter_ == 8
    best = get_scorer(scoring)(model, X_held, y_held)
    assert best == pytest.approx(max(model.validation_scores_), abs=1e-12)
    nothing_learnt = {"neg_log_loss": -1, "neg_mean_absolute_error": -np.abs(T).mean()}.get(scoring, 0.5)
    assert best > nothing_learnt


@pytest.mark.parametrize("y", [Y, Y3, T], ids=["two", "three", "real"])
def test_no_scoring_is_what_score_returns(y):
    kind, told = regressor if y is T else classifier, {}
    rows = LAYOUTS["csr"](X)  # dense ones are scored by BLAS in score(), in an order of its own
    scorer = {"callable": lambda estimator, X, y: estimator.score(X, y), "none": None}
    for name, scoring in scorer.items():
        told[name] = kind(early_stopping=True, scoring=scoring, penalty="l1").fit(rows, y)
    same(told["callable"], told["none"])
    assert told["callable"].validation_scores_ == told["none"].validation_scores_


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "softmax", "multiclass_hinge", "squared_error"])
@pytest.mark.parametrize("y", [Y, Y3], ids=["two", "three"])
def test_scoring_by_the_loss(loss, y):
    options = {"early_stopping": True, "validation_fraction": 0.3, "learning_rate": "constant"}
    X_held, y_held = held_out(classifier(loss, **options), y)
    model = classifier(loss, **options, scoring="loss").fit(X, y)
    z = model.decision_function(X_held)
    name = {"softmax": "log_loss", "multiclass_hinge": "hinge"}.get(loss, loss) if y is Y else loss
    function = fastsgd.losses.LOSSES[name]
    if y is Y:
        expected = function.value(z, 2.0 * y_held - 1).mean()
    elif function.joint:
        expected = function.value(z, y_held).mean()
    else:
        expected = function.value(z, 2 * np.eye(3)[y_held] - 1).sum(axis=1).mean()
    assert -max(model.validation_scores_) == pytest.approx(expected)
    if loss == "softmax":
        assert expected == pytest.approx(log_loss(y_held, model.predict_proba(X_held)))


def test_a_callable_gets_sample_weights_if_fit_got_some():
    def area(estimator, X, y, sample_weight=None):
        weights.append(sample_weight)
        assert isinstance(estimator, SGDClassifier)
        return roc_auc_score(y, estimator.decision_function(X), sample_weight=sample_weight)

    weights = []
    classifier(early_stopping=True, scoring=area, class_weight="balanced").fit(X, Y)
    assert weights == [None] * 5
    weights = []
    model = classifier(early_stopping=True, scoring=area).fit(X, Y, sample_weight=WEIGHTS)
    assert {len(held) for held in weights} == {N // 10}
    assert set(weights[0]) < set(WEIGHTS)
    by_name = classifier(early_stopping=True, scoring="roc_auc").fit(X, Y, sample_weight=WEIGHTS)
    same(model, by_name)
    assert model.validation_scores_ == by_name.validation_scores_


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_scorer_sees(layout):
    def look(estimator, X, y):
        assert X.shape == (N // 10, D)
        kinds.add(type(X).__name__)
        return float(estimator.predict(X).mean())

    kinds = set()
    classifier(early_stopping=True, scoring=look).fit(LAYOUTS[layout](X), Y)
    assert kinds == {"ndarray" if layout == "dense" else "csr_array"}


def test_wrong_scoring_and_callbacks_say_so():
    for scoring in ([], 3, True):
        with pytest.raises(ValueError, match="'scoring' parameter of SGDClassifier must be 'loss', the name"):
            classifier(scoring=scoring).fit(X, Y)
    with pytest.raises(ValueError, match="'acuracy'"):
        classifier(scoring="acuracy", early_stopping=True).fit(X, Y)
    for wrong in ("high", None, np.nan, [1.0]):
        with pytest.raises(ValueError, match="where a number belongs"):
            classifier(scoring=lambda e, X, y, wrong=wrong: wrong, early_stopping=True).fit(X, Y)
    for callbacks in (print, ["print"], "x", 1):
        with pytest.raises(ValueError, match="'callbacks' parameter of SGDClassifier must be a list of callables"):
            classifier(callbacks=callbacks).fit(X, Y)


def test_only_names_of_scorers_need_scikit_learn():
    code = """if True:
        import sys
        import numpy as np
        sys.modules["sklearn"] = None
        import fastsgd
        X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
        for scoring in (None, "loss", lambda estimator, X, y: estimator.score(X, y), "roc_auc"):
            model = fastsgd.SGDClassifier(early_stopping=True, scoring=scoring, max_iter=2, tol=None)
            model.fit(fastsgd.CSR(X.ravel(), np.tile([0, 1], 40), 2 * np.arange(41), (40, 2)), y)
            assert len(model.validation_scores_) == 2
            assert "scipy" not in sys.modules
            print("fitted")
    """
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: scoring='roc_auc' names a scorer of scikit-learn, which is not installed" in ran.stderr
    assert ran.stdout.split() == ["fitted"] * 3


def test_validation_scores_exist_only_with_early_stopping():
    model = classifier(early_stopping=True).fit(X, Y)
    assert len(model.validation_scores_) == 5
    assert not hasattr(model.set_params(early_stopping=False).fit(X, Y), "validation_scores_")


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ALL)
def test_rows_of_weight_zero_equal_rows_left_out(kind, layout, early_stopping):
    y, rows = target(kind), LAYOUTS[layout](X)
    weights = np.where(np.arange(N) % 4 == 1, 0, WEIGHTS)
    kept = np.flatnonzero(weights)
    options = {"early_stopping": early_stopping, "shuffle": True, "max_iter": 7}
    if kind is not fastsgd.SGDRegressor:
        options["class_weight"] = "balanced"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(
            make(kind, **options).fit(rows, y, sample_weight=weights),
            make(kind, **options).fit(rows[kept], y[kept], sample_weight=weights[kept]),
        )
