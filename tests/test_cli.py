"""The command line, called as a function and, where the process matters, as a process."""

import gzip
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastsgd
from fastsgd._rows import codes_of
from fastsgd.cli import main

DATA = Path(__file__).parent / "data"
TRAIN, TEST = str(DATA / "a9a.gz"), str(DATA / "a9a.t.gz")


@pytest.fixture
def run(capsys):
    """Run a command that must succeed; its lines of stdout."""

    def run(*argv, code=0):
        assert main([str(a) for a in argv]) == code
        out, err = capsys.readouterr()
        assert err == ""
        return out.splitlines()

    return run


@pytest.fixture
def fails(capsys):
    """Run a command that must fail with code 1 and one line on stderr; that line."""

    def fails(*argv):
        assert main([str(a) for a in argv]) == 1
        _, err = capsys.readouterr()
        assert re.fullmatch(r"fastsgd: error: .*\n", err)
        return err

    return fails


def two_classes(first, labels=("-1", "+1"), rows=60):
    """Rows that a hyperplane separates, features counted from `first`."""
    lines = []
    for i in range(rows):
        side = i % 2
        lines.append(f"{labels[side]} {first + side}:{1 + i % 3} {first + 2}:0.5\n")
    return "".join(lines)


@pytest.fixture
def rows(write):
    return write("rows.svm", two_classes(1))


@pytest.fixture
def model(rows, tmp_path, run):
    run("train", rows, "--model", tmp_path / "model.npz", "--quiet")
    return tmp_path / "model.npz"


def measured(lines, name):
    (value,) = [line.removeprefix(name + " ") for line in lines if line.startswith(name + " ")]
    return float(value)


# train


def test_a9a(run):
    """The first thing that a newcomer runs."""
    lines = run("train", TRAIN, "--test", TEST)
    assert re.search(r"a9a\.gz: 32,561 rows, 123 features, 451,592 values, read in \d+\.\d\d s$", lines[0])
    epochs = [line for line in lines if line.startswith("epoch")]
    assert len(epochs) == 20
    assert all(re.search(r"objective \d+\.\d+ .* rows/s", line) for line in epochs)
    assert re.fullmatch(r"trained in \d+\.\d\d s", lines[-3])
    assert measured(lines, "test accuracy") >= 0.8485
    assert measured(lines, "test log loss") <= 0.326
    assert len(lines) == 24


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("loss", ["log_loss", "hinge", "softmax"])
def test_a9a_with_other_losses_and_seeds(run, loss, seed):
    lines = run("train", TRAIN, "--test", TEST, "--quiet", "--loss", loss, "--seed", seed)
    assert measured(lines, "test accuracy") >= 0.848
    assert len(lines) == (1 if loss == "hinge" else 2)


def test_options_reach_the_estimator(run, rows, tmp_path):
    path = tmp_path / "model.npz"
    run(
        *("train", rows, "--model", path, "--quiet", "--loss", "huber", "--epsilon", 0.3, "--penalty", "elasticnet"),
        *("--alpha", 0.01, "--l1-ratio", 0.4, "--epochs", 7, "--learning-rate", "constant", "--eta0", 0.02),
        *(
            "--power-t",
            0.3,
            "--batch-size",
            8,
            "--intercept-decay",
            0.5,
            "--class-weight",
            "balanced",
            "--no-intercept",
        ),
        *("--no-shuffle", "--seed", 5, "--tol", 0.5, "--no-average", "--dtype", "float64"),
    )
    model = fastsgd.load(path)
    expected = {
        **{"loss": "huber", "epsilon": 0.3, "penalty": "elasticnet", "alpha": 0.01, "l1_ratio": 0.4, "max_iter": 7},
        **{"learning_rate": "constant", "eta0": 0.02, "power_t": 0.3, "batch_size": 8, "intercept_decay": 0.5},
        **{"class_weight": "balanced", "fit_intercept": False, "shuffle": False, "random_state": 5, "tol": 0.5},
        **{"average": False, "verbose": 0},
    }
    assert {name: model.get_params()[name] for name in expected} == expected
    assert model.coef_.dtype == np.float64


@pytest.mark.parametrize("optimizer", ["adagrad", "normalized", "ftrl", "adam"])
def test_optimizers_without_tuning(run, optimizer, tmp_path):
    options = ["--optimizer", optimizer, "--epochs", 3, "--quiet", "--test", TEST, "--model", tmp_path / "m"]
    lines = run("train", TRAIN, *options)
    assert measured(lines, "test log loss") <= 0.33
    model = fastsgd.load(tmp_path / "m")
    assert (model.optimizer, model.average) == (optimizer, False)
    X, y = fastsgd.load_svmlight(TRAIN)
    fitted = fastsgd.SGDClassifier("log_loss", optimizer=optimizer, max_iter=3, tol=None, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.coef_, fitted.coef_)


def test_tuned_eta0(run, tmp_path):
    for learning_rate in ("optimal", "constant"):
        options = ["--learning-rate", learning_rate, "--model", tmp_path / "m", "--quiet", "--test", TEST]
        lines = run("train", TRAIN, "--tune-eta0", *options)
        assert measured(lines, "test accuracy") >= 0.848
        assert fastsgd.load(tmp_path / "m").eta0_ != fastsgd.load(tmp_path / "m").eta0 == 0.01


def test_defaults(run, rows, tmp_path):
    path = tmp_path / "model.npz"
    run("train", rows, "--model", path, "--quiet")
    model = fastsgd.load(path)
    assert isinstance(model, fastsgd.SGDClassifier)
    expected = {"loss": "log_loss", "penalty": "l2", "max_iter": 20, "tol": None, "random_state": 0, "average": 600}
    assert {name: model.get_params()[name] for name in expected} == expected
    run("train", rows, "--model", path, "--quiet", "--penalty", "none", "--batch-size", 7, "--epochs", 3)
    assert fastsgd.load(path).penalty is None
    assert fastsgd.load(path).average == 9 * 3 // 2


def test_trains_as_the_estimator_does(run, rows, tmp_path):
    run("train", rows, "--model", tmp_path / "m", "--quiet", "--no-average", "--epochs", 3)
    X, y = fastsgd.load_svmlight(rows)
    expected = fastsgd.SGDClassifier("log_loss", max_iter=3, tol=None, random_state=0).fit(X, y)
    np.testing.assert_array_equal(fastsgd.load(tmp_path / "m").coef_, expected.coef_)


def test_regression(run, write, tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((300, 2))
    path = write("r.svm", "".join(f"{3 * a - b + 1:.17g} 1:{a:.17g} 2:{b:.17g}\n" for a, b in values))
    options = ["--regression", "--test", path, "--quiet", "--intercept-decay", 1, "--eta0", 0.1, "--epochs", 50]
    lines = run("train", path, *options, "--model", tmp_path / "m")
    assert [line.rsplit(maxsplit=1)[0] for line in lines] == ["test R^2", "test RMSE"]
    assert measured(lines, "test R^2") > 0.99
    assert measured(lines, "test RMSE") < 0.1
    assert [f"test {line}" for line in run("evaluate", path, "--model", tmp_path / "m")] == lines
    predicted = [float(line) for line in run("predict", path, "--model", tmp_path / "m")]
    np.testing.assert_allclose(predicted, values @ [3, -1] + 1, atol=0.3)
    assert isinstance(fastsgd.load(tmp_path / "m"), fastsgd.SGDRegressor)


def test_quiet_without_test_prints_nothing(run, rows):
    assert run("train", rows, "--quiet") == []


@pytest.mark.parametrize("first", [0, 1])
def test_test_file_counts_as_the_training_file_does(run, write, first, tmp_path):
    """A test file without an id 0 is ambiguous; the training file tells, also from within the model."""
    train = write("train.svm", two_classes(first))
    test = write("test.svm", f"+1 {first + 1}:1\n" * 5)
    assert run("train", train, "--test", test, "--quiet", "--model", tmp_path / "m")[0] == "test accuracy 1.0000"
    assert run("evaluate", test, "--model", tmp_path / "m")[0] == "accuracy 1.0000"
    assert run("predict", test, "--model", tmp_path / "m") == ["1"] * 5


def test_id_0_in_the_test_file_only(fails, write):
    message = fails("train", write("train.svm", two_classes(1)), "--test", write("test.svm", two_classes(0)), "--quiet")
    assert "test.svm, line 1: feature 0, but zero_based=False" in message


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_features_unseen_in_training_are_ignored(rows, model, write, capsys, command):
    test = write("test.svm", "+1 2:1 9:100 3:.5 5000000000:1\n-1 1:1\n-1 4:1 1:1\n")
    argv = ["train", str(rows), "--test", str(test), "--quiet"] if command == "train" else None
    assert main(argv or ["evaluate", str(test), "--model", str(model)]) == 0
    out, err = capsys.readouterr()
    assert "accuracy 1.0000" in out
    assert re.fullmatch(
        r"fastsgd: warning: .*test\.svm: ignored 3 values of features that were not in the training file\n", err
    )


def test_labels_that_no_class_has():
    y = np.array([0.5, 1, 0, 1.5, -1, np.inf, -np.inf, np.nan, 2**53])
    np.testing.assert_array_equal(codes_of(y, np.array([0.0, 1.0])), [-1, 1, 0, -1, -1, -1, -1, -1, -1])


def test_labels_unseen_in_training_are_errors(rows, model, write, capsys):
    test = write("test.svm", "+1 2:1\n-1 1:1\n3 1:1\n4 1:1\n")
    assert main(["evaluate", str(test), "--model", str(model)]) == 0
    out, err = capsys.readouterr()
    assert out == "accuracy 0.5000\n"
    assert err == "fastsgd: warning: 2 rows count as errors: labels 3, 4 are not among those learned, -1, 1\n"


def test_standard_input(run, rows, model, monkeypatch):
    for content in (rows.read_bytes(), gzip.compress(rows.read_bytes())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
        assert run("evaluate", "-", "--model", model)[0] == "accuracy 1.0000"


def test_divergence_is_one_line(write, capsys):
    path = write("huge.svm", "1 1:1e30\n-1 1:-1e30 2:1e30\n" * 20)
    code = main(["train", str(path), "--loss", "squared_error", "--quiet"])
    assert re.fullmatch(r"(fastsgd: (error|warning): [^\n]*\n)+", capsys.readouterr().err)
    assert code in (0, 1)


# predict and evaluate


def test_predict(run, rows, model):
    assert run("predict", rows, "--model", model) == ["-1", "1"] * 30


@pytest.mark.parametrize("labels", [("0", "1"), ("3", "7"), ("-2", "1234567")])
def test_labels_print_as_integers(run, write, tmp_path, labels):
    rows = write("rows.svm", two_classes(1, labels))
    run("train", rows, "--model", tmp_path / "m", "--quiet")
    assert run("predict", rows, "--model", tmp_path / "m") == list(labels) * 30
    assert run("predict", rows, "--model", tmp_path / "m", "--proba")[0] == f"labels {labels[0]} {labels[1]}"


def test_predict_probabilities(run, rows, model):
    head, *lines = run("predict", rows, "--model", model, "--proba")
    assert head == "labels -1 1"
    X, _ = fastsgd.load_svmlight(rows)
    printed = np.array([line.split() for line in lines], float)
    np.testing.assert_allclose(printed, fastsgd.load(model).predict_proba(X), rtol=1e-8)
    assert (printed.argmax(axis=1) == np.arange(60) % 2).all()


def test_predict_to_a_file(run, rows, model, tmp_path):
    assert run("predict", rows, "--model", model, "--output", tmp_path / "out") == []
    assert (tmp_path / "out").read_text() == "-1\n1\n" * 30


def test_many_classes(run, write, tmp_path):
    rows = write("rows.svm", "".join(f"{k} {k + 1}:1\n" for k in range(5)) * 20)
    for loss in ("log_loss", "softmax", "multiclass_hinge"):
        run("train", rows, "--model", tmp_path / "m", "--quiet", "--loss", loss)
        assert run("predict", rows, "--model", tmp_path / "m") == list("01234") * 20
    lines = run("train", rows, "--test", rows, "--quiet", "--loss", "softmax")
    assert measured(lines, "test accuracy") == 1
    assert 0 < measured(lines, "test log loss") < 0.5


def test_evaluate_repeats_the_test(run, rows, tmp_path):
    lines = run("train", TRAIN, "--test", TEST, "--quiet", "--epochs", 2, "--model", tmp_path / "m")
    assert [f"test {line}" for line in run("evaluate", TEST, "--model", tmp_path / "m")] == lines


# Mistakes


def test_missing_files(fails, rows, model, tmp_path):
    nothing = tmp_path / "nothing"
    for argv in (
        ("train", nothing),
        ("train", rows, "--test", nothing),
        ("predict", nothing, "--model", model),
        ("evaluate", rows, "--model", nothing),
    ):
        assert fails(*argv).endswith(f"{nothing}: No such file or directory\n")


def test_bad_rows(fails, write, model):
    bad = write("bad.svm", "1 1:2\n-1 2:x\n")
    for argv in (("train", bad), ("predict", bad, "--model", model), ("evaluate", bad, "--model", model)):
        assert "bad.svm, line 2: value of '2:x' is not a number" in fails(*argv)


def test_no_rows_and_one_class(fails, write):
    assert "no rows" in fails("train", write("empty.svm", ""), "--quiet")
    assert "class" in fails("train", write("one.svm", "1 1:1\n1 2:1\n"), "--quiet")


def test_bad_parameters(fails, rows):
    assert "alpha" in fails("train", rows, "--alpha", -1, "--quiet")
    assert "random_state" in fails("train", rows, "--seed", -1, "--quiet")


def test_not_a_model(fails, rows, tmp_path):
    assert "not a fastsgd model file" in fails("predict", rows, "--model", rows)
    assert "not a fastsgd model file" in fails("predict", rows, "--model", TRAIN)


def test_truncated_model(fails, rows, model):
    model.write_bytes(model.read_bytes()[:-30])
    assert "truncated or corrupted" in fails("predict", rows, "--model", model)


def test_model_that_cannot_be_written_stops_before_training(fails, rows, tmp_path):
    for path in (tmp_path / "none" / "m", tmp_path):
        assert "cannot be kept there" in fails("train", rows, "--model", path)


def test_no_probabilities(fails, run, rows, tmp_path):
    run("train", rows, "--loss", "hinge", "--model", tmp_path / "m", "--quiet")
    assert "log_loss" in fails("predict", rows, "--model", tmp_path / "m", "--proba")
    run("train", rows, "--regression", "--model", tmp_path / "m", "--quiet")
    assert "regression model, which has no probabilities" in fails(
        "predict", rows, "--model", tmp_path / "m", "--proba"
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["train"], "required: FILE"),
        (["predict", "x"], "required: --model"),
        (["train", "x", "--epochs", "0"], "0 is not a number of 1 or more"),
        (["train", "x", "--epochs", "two"], "invalid"),
        (["train", "x", "--alpha", "small"], "invalid float value: 'small'"),
        (["train", "x", "--loss", "bogus"], "there is no loss 'bogus'"),
        (["train", "x", "--loss", "zero_one"], "surrogate"),
        (["train", "x", "--penalty", "l3"], "invalid choice: 'l3'"),
        (["train", "x", "--regression", "--class-weight", "balanced"], "--class-weight is for classification"),
    ],
)
def test_usage(capsys, argv, message):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--help"], ["train", "--help"], ["predict", "-h"], ["evaluate", "-h"]])
def test_help_has_an_example(capsys, argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 0
    assert "fastsgd train tests/data/a9a.gz --test tests/data/a9a.t.gz" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"fastsgd {fastsgd.__version__}\n"


def test_interrupt(monkeypatch, rows):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastsgd.SGDClassifier, "fit", interrupt)
    assert main(["train", str(rows), "--quiet"]) == 130


def test_process(rows, tmp_path):
    command = [sys.executable, "-P", "-m", "fastsgd"]
    done = subprocess.run([*command, "train", rows, "--test", rows], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "test accuracy 1.0000" in done.stdout
    done = subprocess.run([*command, "train", tmp_path / "none"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"fastsgd: error: {tmp_path / 'none'}: No such file or directory\n")


@pytest.mark.skipif(os.name != "posix", reason="SIGPIPE is of POSIX")
def test_reader_that_goes_away(rows, model):
    """As with `| head`: the pipe is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-P", "-m", "fastsgd", "predict", rows, "--model", model]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
