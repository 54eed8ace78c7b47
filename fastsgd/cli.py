"""The command line: `fastsgd train`, `predict` and `evaluate`, on files in svmlight / LIBSVM format."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from . import SGDClassifier, SGDRegressor, __version__
from ._linear import from_archive
from .io import CSR, load_archive, save_archive
from .losses import LOSSES, get_loss
from .svmlight import ZeroBased, read_svmlight

Vector = npt.NDArray[np.float64]

DESCRIPTION = "Train linear models by stochastic gradient descent, and use them."

FILES = """\
Files are text in svmlight / LIBSVM format, plain or gzip; - is standard input. A line is a row, its label first:

  -1 3:1 11:0.5 14:2e-3    # label, then index:value of each feature that is not 0
"""

EXAMPLES = """\
examples:
  fastsgd train tests/data/a9a.gz --test tests/data/a9a.t.gz --model a9a.npz
  fastsgd evaluate tests/data/a9a.t.gz --model a9a.npz
  fastsgd predict tests/data/a9a.t.gz --model a9a.npz --proba | head
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        Exit code: 0, 1 if the command failed (the reason is on stderr), 130 if it was interrupted.

    Raises
    ------
    SystemExit
        With code 2 if the arguments make no sense, with 0 after --help and --version.
    """
    args = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: _say("warning", message)
            args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone. Nothing is left to say, not even by the interpreter's own flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _say("error", f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error)
        return 1
    except MemoryError as error:
        _say("error", f"not enough memory: {error}")
        return 1
    except ValueError as error:
        _say("error", error)
        return 1
    return 0


def _say(kind: str, message: object) -> None:
    print(f"fastsgd: {kind}: {message}", file=sys.stderr)


def _train(args: argparse.Namespace) -> None:
    if args.regression and args.class_weight:
        args.parser.error("--class-weight is for classification, not --regression")
    if args.model and (os.path.isdir(args.model) or not os.path.isdir(os.path.dirname(os.path.abspath(args.model)))):
        raise ValueError(f"{args.model}: the model cannot be kept there; name a file in a directory that exists")
    started = time.perf_counter()
    X, y, zero_based = read_svmlight(args.file, dtype=args.dtype)
    if not args.quiet:
        print(f"{args.file}: {_size(X)}, read in {time.perf_counter() - started:.2f} s", flush=True)
    test = _read_for(args.test, X.shape[1], zero_based, args.dtype) if args.test else None
    estimator = _estimator(args, len(y))
    started = time.perf_counter()
    estimator.fit(X, y)
    if not args.quiet:
        print(f"trained in {time.perf_counter() - started:.2f} s", flush=True)
    if args.model:
        # A file without an id 0 counts from 1, unless the model learned from one that counts from 0.
        header, arrays = estimator.to_archive()
        save_archive(args.model, {**header, "zero_based": zero_based}, arrays)
    if test:
        _report(estimator, *test, "test ")


def _estimator(args: argparse.Namespace, n_rows: int) -> Any:
    given = {name: vars(args)[name] for name in PARAMETERS if vars(args)[name] is not None}
    # Early iterates are far off, so only those of the second half of all steps are averaged.
    steps = -(-n_rows // args.batch_size) * args.max_iter
    given |= {
        "penalty": None if args.penalty == "none" else args.penalty,
        "tol": args.tol,
        "average": max(1, steps // 2) if args.average else False,
        "verbose": int(not args.quiet),
    }
    if args.regression:
        return SGDRegressor(**{"loss": "squared_error", **given})
    return SGDClassifier(**{"loss": "log_loss", "class_weight": args.class_weight, **given})


def _predict(args: argparse.Namespace) -> None:
    model, X, _ = _load(args)
    if args.proba and not hasattr(model, "classes_"):
        raise ValueError(f"{args.model} is a regression model, which has no probabilities; leave out --proba")
    if args.proba:
        try:
            probabilities = model.predict_proba(X)
        except AttributeError as error:
            raise ValueError(error) from error
        head = "labels " + " ".join(map(_number, model.classes_))
        lines: Iterable[str] = [head, *(" ".join(f"{p:.9g}" for p in row) for row in probabilities.tolist())]
    else:
        lines = map(_number, model.predict(X))
    with _output(args.output) as out:
        out.writelines(f"{line}\n" for line in lines)


def _evaluate(args: argparse.Namespace) -> None:
    _report(*_load(args))


def _report(model: Any, X: CSR, y: Vector, of: str = "") -> None:
    """Accuracy and log loss of a classifier, R^2 and root mean squared error of a regression."""
    if not hasattr(model, "classes_"):
        print(f"{of}R^2 {model.score(X, y):.4f}")
        print(f"{of}RMSE {np.sqrt(np.mean((model.predict(X) - y) ** 2)):.6g}")
        return
    known = np.isin(y, model.classes_)
    if not known.all():
        labels, classes = (", ".join(map(_number, values)) for values in (np.unique(y[~known])[:5], model.classes_[:5]))
        _say(
            "warning", f"{np.sum(~known)} rows count as errors: labels {labels} are not among those learned, {classes}"
        )
    print(f"{of}accuracy {np.mean(model.predict(X) == y):.4f}")
    if hasattr(model, "predict_log_proba") and known.all():
        logs = model.predict_log_proba(X)
        print(f"{of}log loss {-np.mean(logs[np.arange(len(y)), np.searchsorted(model.classes_, y)]):.4f}")


def _load(args: argparse.Namespace) -> tuple[Any, CSR, Vector]:
    header, arrays = load_archive(args.model)
    try:
        model: Any = from_archive(header, arrays)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{args.model} holds no model of this version: {error}") from error
    return model, *_read_for(args.file, model.n_features_in_, header.get("zero_based", "auto"), model.coef_.dtype)


def _read_for(path: str, columns: int, zero_based: ZeroBased, dtype: npt.DTypeLike) -> tuple[CSR, Vector]:
    """Rows for a model of so many columns. A feature that it never saw has weight 0, so it is left out."""
    X, y, _ = read_svmlight(path, dtype=dtype, zero_based=zero_based)
    data, indices, indptr = X.data, X.indices, X.indptr
    if X.shape[1] > columns:
        known = indices < columns
        _say("warning", f"{path}: ignored {np.sum(~known)} values of features that were not in the training file")
        data, indices, indptr = data[known], indices[known], np.r_[0, np.cumsum(known)][indptr]
    return CSR(data, indices, indptr, (len(y), columns)), y


def _size(X: CSR) -> str:
    return f"{X.shape[0]:,} rows, {X.shape[1]:,} features, {len(X.data):,} values"


def _number(value: float) -> str:
    """A whole number without a point, any other as short as it reads back."""
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)


@contextmanager
def _output(path: str) -> Iterator[IO[str]]:
    if path == "-":
        yield sys.stdout
    else:
        with open(path, "w", encoding="utf-8") as file:
            yield file


# Options that are parameters of the estimators under the same name; left out, the estimator's default holds.
PARAMETERS = (
    "loss", "alpha", "l1_ratio", "max_iter", "learning_rate", "eta0", "power_t", "epsilon", "batch_size",
    "intercept_decay", "fit_intercept", "shuffle", "random_state",
)  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="fastsgd", description=f"{DESCRIPTION}\n\n{FILES}", epilog=EXAMPLES, formatter_class=style
    )
    parser.add_argument("--version", action="version", version=f"fastsgd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, summary in (
        ("train", _train, "train a model and test it"),
        ("predict", _predict, "print a model's prediction for each row"),
        ("evaluate", _evaluate, "print how good a model's predictions are"),
    ):
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary.capitalize()}.\n\n{FILES}",
            epilog=EXAMPLES,
            formatter_class=style,
        )
        command.add_argument("file", metavar="FILE", help="rows with labels (in predict, labels may be anything)")
        command.set_defaults(run=run, parser=command)
        if name == "train":
            _add_training_options(command)
        else:
            command.add_argument("--model", required=True, metavar="MODEL", help="file that `train --model` wrote")
        if name == "predict":
            command.add_argument("--output", default="-", metavar="OUT", help="file to write to (default: print)")
            command.add_argument(
                "--proba", action="store_true", help="the probability of each label, after a line that names them"
            )
    return parser


def _add_training_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--test", metavar="FILE", help="rows to test the model on")
    add("--model", metavar="OUT", help="file to keep the model in")
    add("--quiet", action="store_true", help="print nothing but the test's results")
    add("--dtype", choices=["float32", "float64"], default="float32", help="precision (default: %(default)s)")

    _add_objective(command.add_argument_group("what to minimise").add_argument)
    _add_descent(command.add_argument_group("how to minimise it").add_argument)


def _add_objective(add: Callable[..., object]) -> None:
    add("--regression", action="store_true", help="predict a number instead of a class")
    add(
        "--loss",
        type=_loss,
        help=f"one of {', '.join(LOSSES)} (default: log_loss, squared_error with --regression)",
    )
    add("--epsilon", type=float, help="threshold of huber and the epsilon_insensitive losses (default: 0.1)")
    add("--penalty", choices=["l2", "l1", "elasticnet", "none"], default="l2", help="(default: %(default)s)")
    add("--alpha", type=float, help="strength of the penalty (default: 1e-4)")
    add("--l1-ratio", type=float, metavar="RATIO", help="share of l1 in elasticnet (default: 0.15)")
    add("--class-weight", choices=["balanced"], help="weigh rows so that all classes count the same")
    add("--no-intercept", dest="fit_intercept", action="store_false", help="scores without a constant term")


def _add_descent(add: Callable[..., object]) -> None:
    add(
        "--epochs",
        dest="max_iter",
        type=_count,
        default=20,
        metavar="N",
        help="passes over FILE (default: %(default)s)",
    )
    add("--tol", type=float, help="stop before --epochs once the objective falls by less than this (default: never)")
    add(
        "--learning-rate",
        choices=["optimal", "constant", "invscaling", "adaptive", "pa1", "pa2"],
        help="schedule of the step size (default: optimal, invscaling with --regression)",
    )
    add("--eta0", type=float, help="step size to begin with, for all but optimal (default: 0.01)")
    add("--power-t", type=float, metavar="POWER", help="exponent of invscaling (default: 0.5, 0.25 with --regression)")
    add(
        "--average",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take the mean of the weights over the second half of training (default: yes)",
    )
    add("--batch-size", type=_count, default=1, metavar="M", help="rows per step (default: %(default)s)")
    add(
        "--intercept-decay",
        type=float,
        metavar="FACTOR",
        help="step size of the constant term, relative to the weights' (default: 0.01)",
    )
    add("--no-shuffle", dest="shuffle", action="store_false", help="visit the rows in the order of the file")
    add(
        "--seed",
        dest="random_state",
        type=int,
        default=0,
        metavar="SEED",
        help="of the shuffling (default: %(default)s)",
    )


def _loss(text: str) -> str:
    try:
        get_loss(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a number of 1 or more")
    return value
