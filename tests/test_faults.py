"""What must survive: kill -9 at random moments, a full disk, files that vanish or cannot be read."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse as sp

import fastsgd
from fastsgd import convert_svmlight, load_csr, save_csr
from fastsgd.cli import main
from fastsgd.io import load_archive, save_archive

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, limits and permissions of POSIX")
KILLS = 20


def text(n, seed):
    random = np.random.default_rng(seed)
    lines = (f"{i % 2} {1 + i % 2}:1 {3 + random.integers(50)}:0.{seed + 1}\n" for i in range(n))
    return "".join(lines)


ZYGOTE = """if True:
    import os, random, signal, sys, time, numpy as np, fastsgd
    from fastsgd.cli import main
    os.chdir(sys.argv[1])
    fastsgd._blocks.BLOCK = 10_000

    def kill(work, longest):
        # A child works until it is killed; it has the modules already.
        child = os.fork()
        if child == 0:
            try: work()
            finally: os._exit(1)
        time.sleep(longest * random.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""


def run(folder, code):
    """Run Python code in a process that forks others; what it prints."""
    code = ZYGOTE + textwrap.indent(textwrap.dedent(code), "    ")
    done = subprocess.run([sys.executable, "-P", "-c", code, folder], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_kill_9_during_conversion(tmp_path):
    (tmp_path / "0.svm").write_text(text(3000, 0))
    (tmp_path / "1.svm").write_text(text(5000, 1))
    code = f"""
        def work():
            while True:
                for name in "01": fastsgd.convert_svmlight(name + ".svm", "rows", n_jobs=2)
        fastsgd.convert_svmlight("0.svm", "rows")
        for _ in range({KILLS}):
            kill(work, 0.1)
            X, y = fastsgd.load_csr("rows", verify=True)
            print(X.shape[0], len(y), *np.setdiff1d(X.data, [1]))"""
    printed = run(tmp_path, code)
    assert len(printed) == 3 * KILLS
    seen = set(zip(printed[::3], printed[1::3], printed[2::3], strict=True))
    assert seen <= {("3000", "3000", "0.1"), ("5000", "5000", "0.2")}
    convert_svmlight(tmp_path / "1.svm", tmp_path / "rows")
    assert len(os.listdir(tmp_path / "rows")) == 5  # what the dead left is swept


def test_kill_9_during_a_first_conversion_leaves_nothing_that_loads(tmp_path):
    (tmp_path / "0.svm").write_text(text(60_000, 0))
    code = f"""
        def work():
            fastsgd.convert_svmlight("0.svm", "rows", n_jobs=2)
            time.sleep(9)
        for i in range({KILLS}):
            kill(work, 0.15 if i % 2 else 0.02)  # at all moments, but not by chance always when it has ended
            try: print(fastsgd.load_csr("rows", verify=True)[0].shape[0])
            except FileNotFoundError: print("none")
            else:
                for name in os.listdir("rows"): os.unlink("rows/" + name)"""
    printed = run(tmp_path, code)
    assert len(printed) == KILLS
    assert set(printed) - {"60000"} == {"none"}


def test_kill_9_during_save(tmp_path):
    code = f"""
        models = [fastsgd.SGDClassifier().fit(np.eye(2, 300_000) * (k + 1), [0, 1]) for k in range(2)]
        def work():
            while True:
                for model in models: model.save("model")
        models[0].save("model")
        for _ in range({KILLS}):
            kill(work, 0.05)
            loaded = fastsgd.load("model").coef_
            print([np.array_equal(loaded, model.coef_) for model in models].count(True))"""
    assert run(tmp_path, code) == ["1"] * KILLS


def test_kill_9_during_training_with_checkpoints_and_resume(tmp_path):
    """Killed 20 times on the way, the run ends with the very model of one that was left alone."""
    (tmp_path / "rows.svm").write_text(text(20_000, 0))
    code = f"""
        from fastsgd.io import load_archive
        train = ["train", "rows.svm", "--stream", "--epochs", "12", "--quiet", "--penalty", "elasticnet", "--model"]
        resume = [*train, "model", "--checkpoint", "checkpoint", "--every", "0", "--resume"]
        last = 0
        for _ in range({KILLS}):
            kill(lambda: main(resume), 0.2)
            if os.path.exists("checkpoint"):
                progress = load_archive("checkpoint")[0]["progress"]
                present = 10**9 * len(progress["objectives"]) + progress["position"]
                print(present >= last)
                last = present
        main(resume)
        main([*train, "expected"])
        models = [fastsgd.load(name) for name in ("model", "expected")]
        for name in ("coef_", "intercept_", "loss_curve_"):
            print(np.array_equal(*(getattr(model, name) for model in models)))"""
    printed = run(tmp_path, code)
    assert len(printed) > 13  # ten kills at least had a checkpoint to go on from
    assert set(printed) == {"True"}


def test_disk_full(tmp_path):
    """Beyond a limit every write fails, as on a full disk: what was there stays, and nothing else is left."""
    X = sp.random_array((2000, 50), density=0.5, rng=np.random.default_rng(0), format="csr")
    save_csr(tmp_path / "rows", X[:10], np.arange(10))
    save_archive(tmp_path / "model", {"a": 1}, {})
    sp.save_npz(tmp_path / "X.npz", X)
    (tmp_path / "rows.svm").write_text(text(20_000, 0))
    code = """if True:
        import os, resource, signal, sys, numpy as np, scipy.sparse as sp, fastsgd
        from fastsgd.cli import main
        from fastsgd.io import save_archive
        os.chdir(sys.argv[1])
        X = sp.load_npz("X.npz")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        for work in (
            lambda: fastsgd.save_csr("rows", X, np.arange(2000)),
            lambda: fastsgd.save_csr("new", X, np.arange(2000)),
            lambda: fastsgd.convert_svmlight("rows.svm", "rows"),
            lambda: save_archive("model", {}, {"a": np.zeros(10**6)}),
        ):
            try: work()
            except OSError as error: print(error.strerror)
        print(main(["train", "rows.svm", "--stream", "--epochs", "2", "--quiet"]))"""
    done = subprocess.run([sys.executable, "-P", "-c", code, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.stdout == "File too large\n" * 4 + "1\n"
    assert "fastsgd: error: " in done.stderr
    assert "File too large" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["X.npz", "model", "rows", "rows.svm"]
    assert load_csr(tmp_path / "rows", verify=True)[0].shape == (10, 50)
    assert load_archive(tmp_path / "model") == ({"a": 1}, {})


def test_unreadable(tmp_path):
    save_csr(tmp_path / "rows", sp.csr_array(np.eye(3)), [0, 1, 0])
    save_archive(tmp_path / "model", {}, {})
    os.chmod(tmp_path, 0o755)
    code = """
        names = ["rows/fastsgd.json", *(f"rows/{name}.1.npy" for name in ("data", "indices", "indptr", "y")), "model"]
        fastsgd.load_csr("rows")  # the modules that it imports are the other user's not to read, perhaps
        for name in names: os.chmod(name, 0)
        if os.geteuid() == 0: os.seteuid(65534)  # to root all is readable
        for name in names:
            try: fastsgd.load(name) if name == "model" else fastsgd.load_csr("rows")
            except PermissionError as error: print(error.filename)
            os.seteuid(os.getuid())
            os.chmod(name, 0o644)
            if os.getuid() == 0: os.seteuid(65534)"""
    arrays = [f"rows/{name}.1.npy" for name in ("data", "indices", "indptr", "y")]
    assert run(tmp_path, code) == ["rows/fastsgd.json", *arrays, "model"]


def test_vanishing_files(tmp_path, capsys):
    """Names that go away between one look and the next: an error that names them."""
    save_csr(tmp_path / "rows", sp.csr_array(np.eye(3)), [0, 1, 0])
    X, y = load_csr(tmp_path / "rows")
    for name in os.listdir(tmp_path / "rows"):
        os.rename(tmp_path / "rows" / name, tmp_path / "away")
        assert main(["train", str(tmp_path / "rows"), "--quiet"]) == 1
        err = capsys.readouterr().err
        assert "No such file" in err or "no complete rows" in err
        assert str(tmp_path / "rows") in err
        os.rename(tmp_path / "away", tmp_path / "rows" / name)
    for name in os.listdir(tmp_path / "rows"):
        os.unlink(tmp_path / "rows" / name)
    fastsgd.SGDClassifier(max_iter=3, tol=None).fit(X, y)  # mapped already, they are there as long as X is


def test_a_text_that_changes_is_not_resumed_or_read_on(tmp_path, capsys):
    path = tmp_path / "rows.svm"
    path.write_text(text(2000, 0))
    train = ["train", str(path), "--stream", "--quiet", "--checkpoint", str(tmp_path / "c"), "--every", "0"]
    assert main(train) == 0
    path.write_text(text(2001, 0))
    assert main([*train, "--resume"]) == 1
    assert "of another run: file was" in capsys.readouterr().err
    path.unlink()
    assert main([*train, "--resume"]) == 1
    assert f"{path}: No such file or directory" in capsys.readouterr().err
