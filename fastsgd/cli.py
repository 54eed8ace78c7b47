"""The command line: `fastsgd train`, `predict`, `evaluate`, `convert` and `info`."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

from . import __version__
from ._archive import from_archive
from ._info import describe
from ._rows import Fitted, Report
from ._train import Run, number, tell
from .core.state import OPTIMIZERS
from .disk import convert_svmlight, open_csr
from .io import load_archive, replacing
from .losses import LOSSES, get_loss

DESCRIPTION = "Train linear models by stochastic gradient descent, and use them."

FILES = """\
FILE is text in svmlight / LIBSVM format, plain or compressed (gzip, bzip2, xz), - for standard input, or a folder that
`fastsgd convert` wrote. A line of text is a row, its label first:

  -1 3:1 11:0.5 14:2e-3    # label, then index:value of each feature that is not 0
"""

EXAMPLES = """\
examples:
  fastsgd train tests/data/a9a.gz --test tests/data/a9a.t.gz --model a9a.npz
  fastsgd evaluate tests/data/a9a.t.gz --model a9a.npz
  fastsgd predict tests/data/a9a.t.gz --model a9a.npz --proba | head

a file larger than memory, read once for all passes; or turned into a folder first, for several trainings:
  fastsgd train big.svm --stream --epochs 5 --model big.npz --checkpoint big.ckpt
  fastsgd convert big.svm big.rows && fastsgd train big.rows --model big.npz

exit codes: 0 done, 1 failed (the reason is on stderr), 2 arguments that make no sense, 130 interrupted
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
    error = args.parser.error
    if args.regression and args.class_weight:
        error("--class-weight is for classification, not --regression")
    if args.classes and (args.regression or not args.stream):
        error("--classes is for classification with --stream")
    if args.cache and not args.stream:
        error("--cache is for --stream")
    if args.stream and args.class_weight == "balanced":
        error("--class-weight balanced needs all labels before training; with --stream give weights: -1:0.7,1:2.5")
    if args.stream and args.early_stopping:
        error("--early-stopping holds out rows of FILE, which --stream does not know yet; give --valid FILE")
    if args.average is None:
        args.average = args.optimizer == "sgd"
    if args.optimizer != "sgd" and args.tune_eta0:
        error(f"--tune-eta0 is for --optimizer sgd; the steps of {args.optimizer} need no tuning")
    if args.resume and not args.checkpoint:
        error("--resume goes on from the file that --checkpoint names")
    if args.checkpoint and args.file == "-":
        error("--checkpoint needs a FILE that can be read again, not standard input")
    for option in ("model", "checkpoint"):
        path = getattr(args, option)
        if path and (os.path.isdir(path) or not os.path.isdir(os.path.dirname(os.path.abspath(path)))):
            raise ValueError(f"{path}: the {option} cannot be kept there; name a file in a directory that exists")
    Run(args, _say)()


def _predict(args: argparse.Namespace) -> None:
    model, blocks = _load(args)
    if args.proba and not hasattr(model, "classes_"):
        raise ValueError(f"{args.model} is a regression model, which has no probabilities; leave out --proba")
    try:
        predict = model.predict_proba if args.proba else model.predict
    except AttributeError as error:
        raise ValueError(error) from error
    with _output(args.output) as out:
        if args.proba:
            out.write("labels " + " ".join(map(number, model.classes_)) + "\n")
        for X, _ in blocks:
            values = predict(X)
            lines: Iterable[str] = map(number, values)
            if args.proba:
                lines = (" ".join(f"{p:.9g}" for p in row) for row in values.tolist())
            out.writelines(f"{line}\n" for line in lines)


def _evaluate(args: argparse.Namespace) -> None:
    model, blocks = _load(args)
    report = Report(model)
    for X, y in blocks:
        if y is None:
            raise ValueError(f"{args.file}: the folder has no labels to compare with")
        report.add(X, y)
    tell(report, _say)


def _load(args: argparse.Namespace) -> tuple[Any, Fitted]:
    header, arrays = load_archive(args.model)
    try:
        model: Any = from_archive(header, arrays)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{args.model} holds no model of this version: {error}") from error
    zero_based, readers = header.get("zero_based", "auto"), args.n_jobs or -1
    warn = partial(_say, "warning")
    return model, Fitted(args.file, model.n_features_in_, zero_based, model._state.weights.dtype, readers, warn)


def _convert(args: argparse.Namespace) -> None:
    started = time.perf_counter()
    convert_svmlight(
        args.file, args.folder, n_features=args.features, dtype=args.dtype, zero_based=args.zero_based,
        n_jobs=args.n_jobs or -1,
    )  # fmt: skip
    if not args.quiet:
        (n, d), _, arrays = open_csr(args.folder)
        seconds = time.perf_counter() - started
        size = f"{n:,} rows, {d:,} features, {len(arrays['data']):,} values"
        print(f"{args.folder}: {size}, written in {seconds:.2f} s")


def _info(args: argparse.Namespace) -> None:
    for name, value in describe(args.path, args.verify):
        print(f"{name:<14} {value}")


@contextmanager
def _output(path: str) -> Iterator[IO[str]]:
    if path == "-":
        yield sys.stdout
    else:
        with replacing(path) as file:
            out = io.TextIOWrapper(file, encoding="utf-8")
            yield out
            out.detach()  # which flushes


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
        ("convert", _convert, "turn text into a folder of arrays, which training maps into memory"),
        ("info", _info, "print what is in a model, a checkpoint or a folder of rows"),
    ):
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary.capitalize()}.\n\n{FILES}",
            epilog=EXAMPLES,
            formatter_class=style,
        )
        command.set_defaults(run=run, parser=command)
        add = command.add_argument
        if name == "info":
            add("path", metavar="PATH", help="what `train --model`, `train --checkpoint` or `convert` wrote")
            add("--verify", action="store_true", help="read all rows of a folder and compare their checksums")
            continue
        add("file", metavar="FILE", help="rows with labels (in predict, labels may be anything)")
        if name == "train":
            _add_training_options(command)
        elif name == "convert":
            add("folder", metavar="DIR", help="folder to write; rows that it holds are replaced once the new are whole")
            add("--quiet", action="store_true", help="print nothing")
            _add_reading_options(add)
        else:
            add("--model", required=True, metavar="MODEL", help="file that `train --model` wrote")
            add("--threads", dest="n_jobs", type=_count, metavar="N", help="threads (default: one for each CPU)")
        if name == "predict":
            add("--output", default="-", metavar="OUT", help="file to write to (default: -, print)")
            add("--proba", action="store_true", help="the probability of each label, after a line that names them")
    return parser


def _add_reading_options(add: Callable[..., object]) -> None:
    add("--dtype", choices=["float32", "float64"], default="float32", help="precision (default: %(default)s)")
    add("--features", type=_count, metavar="N", help="columns (default: as many as FILE uses); more are an error")
    add(
        "--zero-based",
        type=_zero_based,
        default="auto",
        metavar="{yes,no,auto}",
        help="whether FILE counts features from 0 (default: auto, yes if there is a feature 0)",
    )
    add(
        "--threads",
        dest="n_jobs",
        type=_count,
        metavar="N",
        help="threads (default: one to train, one for each CPU to read)",
    )


def _add_training_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--test", metavar="FILE", help="rows to test the model on")
    add("--model", metavar="OUT", help="file to keep the model in, also that of a training that is interrupted")
    add("--quiet", action="store_true", help="print nothing but the test's results")
    _add_reading_options(add)

    _add_objective(command.add_argument_group("what to minimise").add_argument)
    _add_descent(command.add_argument_group("how to minimise it").add_argument)
    _add_stopping(command.add_argument_group("when to stop").add_argument)
    _add_scale(command.add_argument_group("large data and long runs").add_argument)


def _add_stopping(add: Callable[..., object]) -> None:
    add("--valid", metavar="FILE", help="rate the model on these rows after every pass, and keep the best")
    add("--early-stopping", action="store_true", help="the same with a tenth of FILE, which is not trained on")
    add(
        "--tol",
        type=float,
        help="stop before --epochs once the objective falls by less than this, or, with --valid or --early-stopping, "
        "the score (accuracy, R^2) does not rise by it (default: never, or 0)",
    )
    add(
        "--patience",
        dest="n_iter_no_change",
        type=_count,
        default=5,
        metavar="N",
        help="passes in a row that must miss --tol (default: %(default)s)",
    )


def _add_scale(add: Callable[..., object]) -> None:
    add(
        "--stream",
        action="store_true",
        help="train while FILE is parsed and never hold it; later passes read a binary copy on the disk",
    )
    add("--classes", type=_labels, metavar="A,B,...", help="all labels (default: those that a first look finds)")
    add("--cache", metavar="DIR", help="keep the binary copy there (default: in TMPDIR, removed afterwards)")
    add("--checkpoint", metavar="PATH", help="file to keep the state of training in, for --resume")
    add(
        "--every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="between two checkpoints (default: %(default)g)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on from --checkpoint, to the model that an uninterrupted run gives; from the start if there is none",
    )


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
    add(
        "--class-weight",
        type=_class_weight,
        metavar="{balanced,A:W,...}",
        help="weigh rows so that all classes count the same, or by weights for the labels: -1:0.5,1:2",
    )
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
    add(
        "--optimizer",
        choices=list(OPTIMIZERS),
        default="sgd",
        help="how a gradient becomes a step (default: %(default)s, one step size for all weights; the others have one "
        "for each and need no tuning: normalized does not mind the columns' units, ftrl goes with --penalty l1)",
    )
    add(
        "--learning-rate",
        choices=["optimal", "constant", "invscaling", "adaptive", "pa1", "pa2"],
        help="schedule of the step size (default: optimal, invscaling with --regression); with another --optimizer "
        "than sgd, these two are its own steps, and constant and adaptive are --eta0",
    )
    add("--eta0", type=float, help="step size to begin with, for all but optimal (default: 0.01)")
    add("--tune-eta0", action="store_true", help="find --eta0, of optimal too, on a sample of FILE before training")
    add("--power-t", type=float, metavar="POWER", help="exponent of invscaling (default: 0.5, 0.25 with --regression)")
    add(
        "--average",
        action=argparse.BooleanOptionalAction,
        help="take the mean of the weights over the second half of training (default: with --optimizer sgd)",
    )
    add("--batch-size", type=_count, default=1, metavar="M", help="rows per step (default: %(default)s)")
    add(
        "--intercept-decay",
        type=float,
        metavar="FACTOR",
        help="step size of the constant term, relative to the weights' (default: 0.01; 1 with another --optimizer than "
        "sgd)",
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


def _zero_based(text: str) -> bool | str:
    choices: dict[str, bool | str] = {"yes": True, "no": False, "auto": "auto"}
    if text not in choices:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of yes, no, auto")
    return choices[text]


def _labels(text: str) -> list[float]:
    labels = sorted({float(label) for label in text.split(",")})
    if len(labels) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} names fewer than two labels")
    return labels


def _class_weight(text: str) -> str | dict[float, float]:
    if text == "balanced":
        return text
    try:
        pairs = [pair.rsplit(":", 1) for pair in text.split(",")]
        return {float(label): float(weight) for label, weight in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither 'balanced' nor weights of labels as in -1:0.5,1:2"
        ) from None
