"""`fastsgd train --stream`, checkpoints, interruption: always the model of an undisturbed training on all rows."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from svmlight_data import assert_no_threads

import fastsgd
from fastsgd import load_csr, load_svmlight
from fastsgd._checkpoint import Checkpoint
from fastsgd.cli import main

DATA = Path(__file__).parent / "data"
TRAIN, TEST = str(DATA / "a9a.gz"), str(DATA / "a9a.t.gz")
FIXED = ("--no-shuffle", "--quiet")


def rows(n, labels, first=1, late_zero=False, seed=0):
    """Text whose features become more and more; label k prefers feature first + k."""
    random = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        k = int(random.integers(len(labels)))
        ids = {first + k} | set(random.integers(first, first + 5 + i // 4, 4).tolist())
        if late_zero and i == 2 * n // 3:
            ids.add(0)
        lines.append(f"{labels[k]} " + " ".join(f"{j}:{random.random() + 0.1:.3g}" for j in sorted(ids)) + "\n")
    return "".join(lines)


@pytest.fixture
def run(capsys, tmp_path):
    """Run `train`, which must succeed; the model and the lines that it printed."""

    def run(*argv, code=0):
        model = tmp_path / "model.npz"
        model.unlink(missing_ok=True)
        assert main(["train", *map(str, argv), "--model", str(model)]) == code, capsys.readouterr().err
        return fastsgd.load(model), capsys.readouterr()

    return run


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Many chunks of text, and many slices in each."""
    monkeypatch.setattr(fastsgd._blocks, "BLOCK", 1000)
    monkeypatch.setattr(fastsgd._scores, "NONZEROS_PER_SLICE", 4)


def same(model, expected, rtol=0):
    """The same model bit for bit; its objectives, whose norms are measured at other steps in a stream, to rtol."""
    for name in ("coef_", "intercept_", "classes_"):
        np.testing.assert_array_equal(getattr(model, name, None), getattr(expected, name, None), name)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=rtol)
    assert (model.t_, model.n_iter_, model.average) == (expected.t_, expected.n_iter_, expected.average)


STREAMS = {
    "two classes": (["-1", "+1"], {}, []),
    "counts from 0": (["0", "1"], {"first": 0}, []),
    "an id 0 late": (["0", "1"], {"late_zero": True}, []),
    "three classes": (["1", "2", "7"], {"late_zero": True}, ["--loss", "softmax"]),
    "one against the rest": (["1", "2", "7"], {}, ["--penalty", "elasticnet", "--class-weight", "1:2,7:0"]),
    "regression": (["1.5", "2", "-7"], {"late_zero": True}, ["--regression"]),
    "no average": (["-1", "+1"], {"late_zero": True}, ["--no-average", "--penalty", "l1"]),
    "features and double": (["-1", "+1"], {}, ["--features", 500, "--dtype", "float64"]),
    "adagrad": (["-1", "+1"], {"late_zero": True}, ["--optimizer", "adagrad"]),
    "normalized": (["1.5", "2", "-7"], {"late_zero": True}, ["--regression", "--optimizer", "normalized"]),
    "ftrl": (["1", "2", "7"], {"late_zero": True}, ["--optimizer", "ftrl", "--penalty", "l1", "--loss", "softmax"]),
    "adam": (["1", "2", "7"], {"late_zero": True}, ["--optimizer", "adam"]),
}


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize(("labels", "kind", "options"), STREAMS.values(), ids=STREAMS)
def test_a_stream_trains_the_model_of_all_rows(run, write, labels, kind, options, epochs):
    """Bit for bit, where the rows come in the order of the file."""
    path = write("rows.svm", rows(400, labels, **kind))
    options = [*options, *FIXED, "--epochs", epochs]
    if epochs == 1:
        options.append("--no-average")  # the number of rows is not known in time
    expected, _ = run(path, *options)
    assert expected.n_features_in_ > 100
    model, _ = run(path, *options, "--stream", "--threads", 2)
    same(model, expected, rtol=1e-4)


def test_a_shuffled_stream_is_as_good(run):
    for options in (["--stream"], []):
        _, (out, _) = run(TRAIN, "--test", TEST, "--epochs", 5, "--quiet", *options)
        assert float(out.split()[2]) > 0.848


def test_a_stream_tunes_the_step_on_its_beginning(run, write):
    text = rows(400, ["-1", "1"], late_zero=True)
    path = write("rows.svm", text)
    for learning_rate in ("constant", "optimal"):
        options = ["--stream", "--quiet", "--epochs", 2, "--learning-rate", learning_rate, "--tune-eta0"]
        model, _ = run(path, *options)
        assert model.eta0_ == run(path, *options)[0].eta0_ != model.eta0
        if learning_rate == "constant":
            same(model, run(path, *options[:-1], "--eta0", model.eta0_)[0])


def test_standard_input_and_many_passes(run, write, monkeypatch):
    path = write("rows.svm", rows(300, ["-1", "1"]))
    expected, _ = run(path, *FIXED, "--epochs", 3, "--stream")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(path.read_bytes()))))
    model, _ = run("-", *FIXED, "--epochs", 3, "--stream")
    same(model, expected)


def test_the_cache_is_removed_or_kept(run, write, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    path = write("rows.svm", rows(300, ["-1", "1"], late_zero=True))
    run(path, "--stream", "--quiet", "--epochs", 2)
    assert os.listdir(tmp_path / "tmp") == []
    run(path, "--stream", "--quiet", "--epochs", 2, "--cache", tmp_path / "kept")
    (X, y), (Z, z) = load_csr(tmp_path / "kept", verify=True), load_svmlight(path)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(X, name), getattr(Z, name))
    np.testing.assert_array_equal(y, z)


def test_labels_of_a_first_look(run, write, capsys):
    """In class order the first chunk has one label; the look finds the others anywhere in the file."""
    text = "".join(f"{label} {label + 1}:1 9:0.5\n" * 200 for label in (0, 1, 2))
    model, _ = run(write("rows.svm", text), "--stream", "--quiet")
    assert model.classes_.tolist() == [0, 1, 2]
    text += "# a comment\n\n4 1:1\n" + "2 1:1\n"
    path = write("rows.svm", text)
    assert main(["train", str(path), "--stream", "--quiet"]) == 1
    assert "line 603: label 4 is not among those that a first look" in capsys.readouterr().err
    model, _ = run(path, "--stream", "--quiet", "--classes", "0,1,2,4", "--epochs", 2)
    assert model.classes_.tolist() == [0, 1, 2, 4]
    assert main(["train", str(write("one.svm", "1 1:1\n" * 9)), "--stream"]) == 1
    assert "found the label 1 only; name all labels, with --classes" in capsys.readouterr().err


# --- folders


def test_folders_wherever_a_file_is(run, write, tmp_path, capsys):
    train, test = write("train.svm", rows(300, ["-1", "1"])), write("test.svm", rows(99, ["-1", "1"], seed=1))
    for path in (train, test):
        assert main(["convert", str(path), str(path.with_suffix(".rows"))]) == 0
    assert "train.rows: 300 rows" in capsys.readouterr().out
    results = []
    for suffix in (".svm", ".rows"):
        files = [str(path.with_suffix(suffix)) for path in (train, test)]
        model, (out, err) = run(files[0], "--no-shuffle", "--test", files[1], "--valid", files[1], "--quiet")
        for command in ("evaluate", "predict"):
            assert main([command, files[1], "--model", str(tmp_path / "model.npz")]) == 0
            more = capsys.readouterr()
            out, err = out + more.out, err + more.err
        results.append((model.coef_.tolist(), model.validation_scores_, out, err.replace(suffix, "")))
    assert results[0] == results[1]
    fastsgd.save_csr(tmp_path / "bare", load_csr(tmp_path / "train.rows")[0])
    assert main(["train", str(tmp_path / "bare")]) == 1
    assert "the folder has no labels" in capsys.readouterr().err


def test_a_folder_that_counts_otherwise_than_the_model(run, write, tmp_path, capsys):
    zero, one = write("zero.svm", rows(99, ["0", "1"], first=0)), write("one.svm", rows(99, ["0", "1"], first=1))
    for path in (zero, one):
        assert main(["convert", str(path), str(path.with_suffix(".rows")), "--quiet"]) == 0
    model, _ = run(zero, "--quiet")
    X, _ = load_svmlight(one, zero_based=True, n_features=1000)
    assert main(["predict", str(one.with_suffix(".rows")), "--model", str(tmp_path / "model.npz")]) == 0
    expected = model.predict(fastsgd.CSR(X.data, X.indices, X.indptr, (99, 1000)).to_scipy()[:, : model.n_features_in_])
    np.testing.assert_array_equal(list(map(float, capsys.readouterr().out.split())), expected)
    run(one, "--quiet")
    assert main(["predict", str(zero.with_suffix(".rows")), "--model", str(tmp_path / "model.npz")]) == 1
    assert "count from 0" in capsys.readouterr().err


def test_info(run, write, tmp_path, capsys):
    path = write("rows.svm", rows(200, ["1", "2", "7"]))
    run(path, "--quiet", "--epochs", 2, "--checkpoint", tmp_path / "checkpoint", "--every", 0)
    assert main(["convert", str(path), str(tmp_path / "rows"), "--quiet"]) == 0
    printed = {}
    for name in ("model.npz", "checkpoint", "rows"):
        assert main(["info", str(tmp_path / name)]) == 0
        printed[name] = capsys.readouterr().out
    assert re.search(
        r"model +SGDClassifier\(.*\nfeatures .*counted from 1\nclasses +3: 1, 2, 7\n", printed["model.npz"]
    )
    assert re.search(r"checkpoint +in epoch 2, after 200 rows of it\n", printed["checkpoint"])
    assert re.search(r"rows +200, with labels\n(.*\n)+checksums +not compared", printed["rows"])
    data = tmp_path / "rows" / "data.1.npy"
    content = data.read_bytes()
    data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert main(["info", str(tmp_path / "rows"), "--verify"]) == 1
    assert "data.1.npy: corrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "1,2"], "--classes is for classification with --stream"),
        (["--cache", "x"], "--cache is for --stream"),
        (["--stream", "--class-weight", "balanced"], "give weights: -1:0.7,1:2.5"),
        (["--stream", "--early-stopping"], "give --valid FILE"),
        (["--optimizer", "adam", "--tune-eta0"], "--tune-eta0 is for --optimizer sgd"),
        (["--optimizer", "newton"], "invalid choice"),
        (["--resume"], "--resume goes on from the file that --checkpoint names"),
        (["--stream", "--classes", "1"], "names fewer than two labels"),
        (["--class-weight", "heavy"], "is neither 'balanced' nor weights of labels"),
        (["--zero-based", "maybe"], "is not one of yes, no, auto"),
    ],
)
def test_options_that_do_not_go_together(capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        main(["train", "rows.svm", *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


# --- checkpoints


class Killed(BaseException):
    pass


def kill_after(monkeypatch, slices):
    """A checkpoint after so many slices, and death at the next."""
    left = [slices]

    def checkpoint(self, *arguments):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        if left[0] == 0:
            self.seconds = 0
            write(self, *arguments)

    write = Checkpoint.__call__
    monkeypatch.setattr(Checkpoint, "__call__", checkpoint)


RUNS = {
    "plain": [],
    "adaptive": ["--learning-rate", "adaptive", "--eta0", 0.5, "--tol", 1, "--patience", 1],
    "l1": ["--penalty", "elasticnet", "--alpha", 0.01],
    "softmax": ["--loss", "softmax", "--batch-size", 7],
    "valid": ["--valid", "VALID"],
    "tuned": ["--tune-eta0"],
    "adagrad": ["--optimizer", "adagrad"],
    "ftrl": ["--optimizer", "ftrl", "--penalty", "elasticnet", "--valid", "VALID"],
    "normalized": ["--optimizer", "normalized", "--loss", "softmax"],
}


@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("source", ["text", "folder", "stream"])
def test_resumed_after_a_kill_at_any_slice(run, write, tmp_path, monkeypatch, source, options):
    path = write("rows.svm", rows(250, ["1", "2", "7"], late_zero=True))
    options = [write("valid.svm", rows(60, ["1", "2", "7"], seed=1)) if o == "VALID" else o for o in options]
    options = [*options, "--epochs", 4, "--quiet", *(["--stream"] if source == "stream" else [])]
    if source == "folder":
        fastsgd.convert_svmlight(path, tmp_path / "rows")
        path = tmp_path / "rows"
    expected, _ = run(path, *options)
    checkpoint = tmp_path / "checkpoint"
    for slices in (1, 7, 40, 77, 119):
        checkpoint.unlink(missing_ok=True)
        with monkeypatch.context() as patch:
            kill_after(patch, slices)
            with pytest.raises(Killed):
                main(["train", str(path), *map(str, options), "--checkpoint", str(checkpoint)])
        model, _ = run(path, *options, "--checkpoint", checkpoint, "--resume")
        same(model, expected)


def test_resume_needs_the_same_run(run, write, tmp_path, capsys):
    path, checkpoint = write("rows.svm", rows(100, ["-1", "1"])), tmp_path / "checkpoint"
    options = [path, "--quiet", "--checkpoint", checkpoint, "--every", 0, "--resume"]
    run(*options)  # there is none yet: from the start
    run(*options)
    for more, message in (
        (["--alpha", 0.5], "of another run: alpha was None and is 0.5"),
        (["--stream"], "of another run: stream was False and is True"),
        (["--optimizer", "ftrl"], "of another run: optimizer was 'sgd' and is 'ftrl'"),
    ):
        assert main(["train", *map(str, [*options, *more])]) == 1
        assert message in capsys.readouterr().err
        assert_no_threads()  # that read the stream
    path.write_text(rows(101, ["-1", "1"]))
    assert main(["train", *map(str, options)]) == 1
    assert "file was" in capsys.readouterr().err
    fastsgd.SGDClassifier().fit([[0.0], [1]], [0, 1]).save(checkpoint)
    assert main(["train", *map(str, options)]) == 1
    assert "is no checkpoint" in capsys.readouterr().err


# --- interruption


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("stream", [True, False])
def test_ctrl_c_keeps_the_model_so_far(write, tmp_path, stream):
    path = write("rows.svm", rows(3000, ["-1", "1"]))
    argv = [sys.executable, "-P", "-m", "fastsgd", "train", path, "--epochs", "1000000", "--model", tmp_path / "m"]
    argv += ["--checkpoint", tmp_path / "c", "--every", "0.1", *(["--stream"] if stream else [])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        while not (tmp_path / "c").exists():
            child.stdout.readline()
        child.send_signal(signal.SIGINT)
        started = time.perf_counter()
        err = child.communicate()[1]
        assert time.perf_counter() - started < 2  # the interpreter's end included
    assert child.returncode == 130
    assert "fastsgd: interrupted in epoch " in err
    assert "the model so far is in " in err
    assert "--resume goes on" in err
    X, y = load_svmlight(path)
    assert fastsgd.load(tmp_path / "m").score(X, y) > 0.6


# --- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [True, False])
def test_a_bar_on_a_terminal(run, write, monkeypatch, stream):
    path = write("rows.svm", rows(300, ["-1", "1"]))
    monkeypatch.setattr(fastsgd._progress, "REDRAW_EVERY", 0)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    _, (out, _) = run(path, "--epochs", 3, *(["--stream"] if stream else []))
    assert "epoch 2/3" in screen.getvalue()
    assert "loss 0." in screen.getvalue()
    assert "row/s" in screen.getvalue()
    assert re.findall(r"^epoch   (\d)", out, re.MULTILINE) == ["1", "2", "3"]


@pytest.mark.parametrize("tqdm", [True, False])
def test_lines_elsewhere(run, write, monkeypatch, tqdm):
    path = write("rows.svm", rows(300, ["-1", "1"]))
    monkeypatch.setattr(fastsgd._progress, "LINE_EVERY", 0)
    if not tqdm:
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setitem(sys.modules, "tqdm", None)
    _, (out, _) = run(path, "--epochs", 2)
    assert re.search(r"epoch   2  5\d%  loss 0\.\d+  [\d,]+ rows/s, 0:00 left\n", out)
