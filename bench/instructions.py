"""Instructions that the kernels execute, against a committed baseline: a gate that a busy machine does not disturb.

    python bench/instructions.py            compare with instructions.json; exit 1 if a workload costs 2 % more
    python bench/instructions.py --renew    write instructions.json, after a change that is worth its cost

Counted by valgrind's callgrind, inside the functions of core/sgd, core/scores and core/state alone. The counts repeat
to 0.01 %, but another compiler or Cython makes other code: then nothing is compared, and that is said. valgrind decides
which clone of the vector kernels runs (3.19 knows no AVX-512, so x86-64-v3), so the same is asked of it. And so what it
computes is compared with what this CPU computes, perhaps with wider vectors: the bits must be the same.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastsgd
from fastsgd import CSR, SGDClassifier

BASELINE = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.02
# The functions of one type each, whose calls do not nest; the dispatchers above them would switch counting off again.
# 3sgd, 5state and 6scores: of two patterns callgrind goes by the first.
COUNTED = "__pyx_fuse_*__pyx_pw_7fastsgd_4core_?s*"
OPTIMIZERS = ("adagrad", "normalized", "ftrl", "adam")
ONE_PASS = {"max_iter": 1, "tol": None, "shuffle": False}

rng = np.random.default_rng(0)


def sparse(dtype="f4", index="i4", n=2000, d=3000, nnz=30):
    columns = np.sort(rng.integers(0, d, (n, nnz), index), axis=1).ravel()
    return CSR(rng.random(n * nnz, dtype), columns, np.arange(0, n * nnz + 1, nnz, index), (n, d))


def dense(d, n=1000, dtype="f4"):
    return rng.standard_normal((n, d), dtype)


def training(X, classes=2, **options):
    y = rng.integers(0, classes, X.shape[0])
    model = SGDClassifier(**{"loss": "log_loss", **ONE_PASS, **options})
    return lambda: model.fit(X, y).coef_


def scoring(X, classes):
    model = SGDClassifier(**ONE_PASS).fit(X, np.arange(X.shape[0]) % classes)
    return lambda: model.decision_function(X)


# Made one by one, since each draws its data.
WORKLOADS = {
    "csr": lambda: training(sparse()),
    "csr hinge": lambda: training(sparse(), loss="hinge"),
    "csr l1": lambda: training(sparse(), penalty="l1"),
    "csr elasticnet": lambda: training(sparse(), penalty="elasticnet"),
    "csr average": lambda: training(sparse(), average=True),
    "csr batches": lambda: training(sparse(), batch_size=10),
    "csr float64": lambda: training(sparse("f8")),
    "csr int64": lambda: training(sparse(index="i8")),
    "csr 20 classes": lambda: training(sparse(), 20),
    "csr softmax 20": lambda: training(sparse(), 20, loss="softmax"),
    **{f"csr {name}": lambda name=name: training(sparse(), optimizer=name) for name in OPTIMIZERS},
    **{
        f"csr softmax 20 {name}": lambda name=name: training(sparse(), 20, loss="softmax", optimizer=name)
        for name in OPTIMIZERS
    },
    "dense 200 adagrad": lambda: training(dense(200), optimizer="adagrad"),
    "dense 200 normalized": lambda: training(dense(200), optimizer="normalized"),
    "dense 20": lambda: training(dense(20)),
    "dense 200": lambda: training(dense(200)),
    "dense 784 softmax 10": lambda: training(dense(784), 10, loss="softmax"),
    "dense 784 float64": lambda: training(dense(784, dtype="f8")),
    "scores csr": lambda: scoring(sparse(), 2),
    "scores csr 20": lambda: scoring(sparse(), 20),
}


def run_all():
    """A digest of what the workloads compute; os.getppid() between two makes callgrind write what it has counted."""
    digest = hashlib.sha256()
    for make in WORKLOADS.values():
        work = make()
        os.getppid()  # what preparing has cost
        result = work()
        os.getppid()
        digest.update(np.ascontiguousarray(result))
    return digest.hexdigest()


def count():
    """Instructions by workload."""
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.run(
            ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--toggle-collect={COUNTED}",
             "--dump-before=getppid", f"--callgrind-out-file={folder}/out",
             sys.executable, __file__, "--child"],
            check=True, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"},
        )  # fmt: skip
        dumps = sorted(Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:]))
        totals = [int(re.search(r"^totals: (\d+)", path.read_text(), re.M)[1]) for path in dumps]
    counts = dict(zip(WORKLOADS, totals[1::2], strict=False))
    if len(counts) < len(WORKLOADS) or not all(counts.values()):
        raise SystemExit(f"not every workload was counted ({counts}): do the functions still match {COUNTED}?")
    if child.stdout.strip() != run_all():
        raise SystemExit("under valgrind, with other vectors than this CPU's, the models have other bits")
    return counts


def build():
    """What the counts depend on besides the source, read from the compiled module itself and from valgrind."""
    binary = Path(fastsgd._compiled.__file__).read_bytes()
    compiler = re.search(rb"GCC: \([^)]*\) [\d.]+|clang version [\d.]+", binary)
    cython = re.search(rb"_cython_(\d+_\d+_\w+?)\0", binary)
    valgrind = subprocess.run(["valgrind", "--version"], check=True, capture_output=True, text=True).stdout
    return {
        "compiler": compiler[0].decode() if compiler else "unknown",
        "cython": cython[1].decode().replace("_", ".") if cython else "unknown",
        "valgrind": valgrind.strip(),
        "libc": " ".join(platform.libc_ver()),
        "machine": os.uname().machine,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="write the baseline instead of comparing with it")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return print(run_all())
    if not shutil.which("valgrind"):
        raise SystemExit("valgrind is not installed: NOTHING WAS COUNTED")
    found = build()
    if arguments.renew:
        BASELINE.write_text(json.dumps({"build": found, "instructions": count()}, indent=1) + "\n")
        return print(f"wrote {BASELINE}")
    baseline = json.loads(BASELINE.read_text())
    if baseline["build"] != found:
        return print(f"NOT COMPARED: the baseline is of {baseline['build']}, this build of {found}")
    worse = False
    for name, instructions in count().items():
        before = baseline["instructions"].get(name)
        change = instructions / before - 1 if before else 0.0
        worse |= change > TOLERANCE
        note = "new" if not before else f"{change:+.2%}" + (" WORSE" if change > TOLERANCE else "")
        print(f"{name:22} {instructions:12,} {note}")
    if worse:
        raise SystemExit("kernels execute more instructions than the baseline says; is that worth it? then --renew")


if __name__ == "__main__":
    main()
