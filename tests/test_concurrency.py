"""One estimator in the hands of several threads of the caller: no crash, and no call is lost."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from small_data import T, X, Y, classifier, regressor, same

import fastsgd
from fastsgd import MLPClassifier, SGDClassifier, _scores, _threads, disk
from fastsgd._validation import check_rows

KINDS = {
    "sgd": lambda: classifier(),
    "two threads, averaged": lambda: classifier(n_jobs=2, average=True),
    "adagrad": lambda: classifier(optimizer="adagrad", n_jobs=2),
    "network": lambda: MLPClassifier((3,), random_state=0),
}


def at_once(*works):
    """Run each in a thread; the errors."""
    errors, begin = [], threading.Barrier(len(works))

    def run(work):
        try:
            begin.wait()
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return errors


@pytest.mark.usefixtures("small_shares")
@pytest.mark.parametrize("layout", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("kind", KINDS)
def test_calls_of_partial_fit_wait_for_each_other(kind, layout):
    rows = layout(X)
    alone, shared = (KINDS[kind]().partial_fit(rows, Y, classes=[0, 1]) for _ in range(2))
    for _ in range(40):
        alone.partial_fit(rows, Y)

    def train():
        for _ in range(10):
            shared.partial_fit(rows, Y)

    def look():
        for _ in range(50):
            assert np.isfinite(shared.decision_function(rows)).all()
            if kind != "network":
                assert np.isfinite(shared.coef_).all()

    assert not at_once(*[train] * 4, look)
    assert shared.loss_curve_ == alone.loss_curve_
    np.testing.assert_array_equal(shared.predict_proba(rows), alone.predict_proba(rows))
    if kind != "network":
        same(shared, alone)


def test_fit_and_partial_fit_wait_for_each_other():
    model, begun, on = regressor(), threading.Event(), threading.Event()
    model.set_params(callbacks=[lambda epoch: (begun.set(), on.wait(60))])  # within `fit`
    fitting = threading.Thread(target=model.fit, args=(X, T), daemon=True)
    fitting.start()
    assert begun.wait(60)
    other = threading.Thread(target=model.partial_fit, args=(X, T), daemon=True)
    other.start()
    other.join(0.05)
    assert other.is_alive()
    assert not hasattr(model, "coef_")
    on.set()
    for thread in (fitting, other):
        thread.join(60)
    assert model.t_ == 1 + 6 * len(T)
    same(model, regressor().fit(X, T).partial_fit(X, T))


def test_a_callback_has_the_lock_of_the_call_it_is_called_by():
    model, seen = classifier().partial_fit(X, Y, classes=[0, 1]), []
    model.set_params(callbacks=[lambda epoch: seen.append((model.coef_, model.to_archive()))])
    assert not at_once(lambda: model.partial_fit(X, Y))
    assert len(seen) == 1


def test_a_model_that_is_fitted_to_other_data_meanwhile():
    model = classifier().fit(X, Y)
    coef, intercept = model._coefficients()
    for rows in (X[:, :4], X[:1, :4], np.hstack([X, X]), np.hstack([X, X])[:1]):
        with pytest.raises(ValueError, match=f"X has {rows.shape[1]} features, but .* expecting 6"):
            _scores.decision(check_rows(rows), coef, intercept)
    for rows in (X[:1], sp.csr_array(X), sp.csr_array(X[:1])):
        for other in (np.zeros(0), np.zeros(3)):
            with pytest.raises(ValueError, match="other classes"):
                _scores.decision(check_rows(rows), coef, other)


@pytest.mark.parametrize("kind", [SGDClassifier, MLPClassifier])
def test_parameters_that_change_during_a_call_are_refused(kind, monkeypatch):
    options = {"optimizer": "sgd"} if kind is SGDClassifier else {"solver": "sgd"}
    others = {"optimizer": "adagrad"} if kind is SGDClassifier else {"solver": "adam"}
    for first, then in ((options, others), (others, options), (others, {**others, "batch_size": 7})):
        model, later = (kind(random_state=0, **{"batch_size": 1, **given}) for given in (first, then))
        monkeypatch.setattr(model, "_settings", later._settings)
        with pytest.raises(ValueError, match="parameters were changed while it trained"):
            model.partial_fit(sp.csr_array(X), Y, classes=[0, 1])


def test_an_optimizer_that_changes_when_the_state_is_made(monkeypatch):
    model = SGDClassifier(optimizer="adagrad").partial_fit(X, Y, classes=[0, 1])
    state = model._state_now()
    model.set_params(optimizer="sgd", penalty="l1")
    monkeypatch.setattr(model, "_state_now", lambda: state)
    with pytest.raises(ValueError, match="parameters were changed while it trained"):
        model.partial_fit(X, Y)
    assert state.received is None  # of the size of more than weights: `settle` would go beyond
    assert np.isfinite(model.coef_).all()


def test_a_copy_taken_while_the_estimator_trains_is_whole():
    """Its weights and their scale are of one moment."""
    rng, n, d = np.random.default_rng(3), 20_000, 2000
    rows = sp.csr_array((rng.standard_normal(20 * n), rng.integers(0, d, 20 * n), np.arange(0, 20 * n + 1, 20)), (n, d))
    options = {"alpha": 1e-3, "learning_rate": "constant", "eta0": 0.5}
    model, copies = classifier(**options).partial_fit(rows, np.arange(n) % 2, classes=[0, 1]), []
    largest = 10 * abs(model.decision_function(rows)).max()

    def train():
        for _ in range(30):
            model.partial_fit(rows, np.arange(n) % 2)

    def take():
        for how in (copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))) * 20:
            copies.append(how(model))
            copies[-1] = abs(copies[-1].decision_function(rows)).max()

    assert not at_once(train, take)
    assert len(copies) == 60
    assert max(copies) < largest


def test_a_copy_learns_on_its_own():
    model = classifier().fit(X, Y)
    before, other = model.coef_.copy(), copy.copy(model)
    other.partial_fit(X, 1 - Y)
    np.testing.assert_array_equal(model.coef_, before)
    same(model.partial_fit(X, Y), classifier().fit(X, Y).partial_fit(X, Y))


def test_a_subclass_may_have_a_lock_of_its_own():
    class Locked(SGDClassifier):
        def fit(self, *given):
            self._lock = threading.Lock()
            with self._lock:
                return super().fit(*given)

        def __getstate__(self):
            return {name: value for name, value in vars(self).items() if name != "_lock"}

    assert not at_once(lambda: pickle.dumps(Locked().fit(X, Y).__getstate__()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_lock_that_a_thread_holds_at_a_fork_is_none_in_the_child():
    model, held, done = classifier().partial_fit(X, Y, classes=[0, 1]), threading.Event(), threading.Event()

    def hold():
        with _threads.lock_of(model):
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        trained = threading.Thread(target=lambda: os._exit(int(not model.partial_fit(X, Y).coef_.any())), daemon=True)
        trained.start()
        trained.join(20)
        os._exit(2)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_rows_that_are_replaced_while_they_are_opened(tmp_path, monkeypatch):
    path, rows = tmp_path / "rows", sp.csr_array(X)
    fastsgd.save_csr(path, rows)
    calls, real = [], disk._map

    def replacing(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            fastsgd.save_csr(path, 2 * rows)
        return real(*arguments)

    monkeypatch.setattr(disk, "_map", replacing)
    read, _ = fastsgd.load_csr(path)
    np.testing.assert_array_equal(read.data, 2 * rows.data)
    monkeypatch.undo()
    next(path.glob("data*")).unlink()
    with pytest.raises(FileNotFoundError):
        fastsgd.load_csr(path)
