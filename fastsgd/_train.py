"""`fastsgd train`: rows in memory, on a disk or in a stream; watched, checkpointed, interrupted; a model file."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from . import SGDClassifier, SGDRegressor
from ._arrays import Array
from ._checkpoint import Checkpoint, load_checkpoint
from ._labels import class_task, combine_weights
from ._progress import Reporter
from ._rows import Fitted, Report, codes_of, read_rows
from ._scores import decision
from ._states import solution
from ._stream import Coder, Streamed, look_at_labels
from ._training import BLOCKS, Epoch, Progress, Session
from ._validation import check_rows
from .core.state import Settings, State
from .core.svmlight import Chunk
from .disk import INDEX, Base
from .io import save_archive
from .losses import get_loss
from .svmlight import parsed

Say = Callable[[str, object], None]

# Options that are parameters of the estimators under the same name; left out, the estimator's default holds.
PARAMETERS = (
    "loss", "alpha", "l1_ratio", "max_iter", "learning_rate", "eta0", "power_t", "epsilon", "batch_size",
    "intercept_decay", "fit_intercept", "random_state", "n_iter_no_change", "early_stopping", "n_jobs", "optimizer",
    "tune_eta0",
)  # fmt: skip

# What a run that goes on from a checkpoint must have in common with the one that wrote it.
IDENTITY = (
    *PARAMETERS, "tol", "average", "penalty", "shuffle", "dtype", "regression", "class_weight", "stream", "features",
    "zero_based", "classes",
)  # fmt: skip


class Run:
    """One call of the command."""

    def __init__(self, args: argparse.Namespace, say: Say) -> None:
        self.args, self.say = args, say
        self.reporter = Reporter(args.max_iter, args.quiet)
        self.readers = args.n_jobs or -1
        self.zero_based: Any = args.zero_based
        self.estimator: Any = None
        self.checkpoint: Checkpoint | None = None
        self.progress = Progress()
        self.trained = time.perf_counter()

    def __call__(self) -> None:
        args = self.args
        with warnings.catch_warnings():
            if args.tol is None:  # the number of passes is what was asked for
                warnings.filterwarnings("ignore", message="Maximum number of iteration")
            try:
                if args.stream and not os.path.isdir(args.file):
                    self._train_on_stream()
                else:
                    self._train_on_all()
            except KeyboardInterrupt:
                self.reporter.close()
                self._tell_interrupted()
                raise
            finally:
                self.reporter.close()
        self._print(f"trained in {time.perf_counter() - self.trained:.2f} s")
        self._save()
        if args.test:
            report = Report(self.estimator)
            for X, y in self._fitted(args.test, self.estimator.n_features_in_, self.estimator.coef_.dtype):
                report.add(X, np.asarray(y))
            tell(report, self.say, "test ")

    def _print(self, line: str) -> None:
        if not self.args.quiet:
            print(line, flush=True)

    # Training

    def _train_on_all(self) -> None:
        args, started = self.args, time.perf_counter()
        X, y, self.zero_based = read_rows(args.file, args.dtype, args.features, args.zero_based, self.readers)
        size = f"{X.shape[0]:,} rows, {X.shape[1]:,} features, {len(X.data):,} values"
        self._print(f"{args.file}: {size}, read in {time.perf_counter() - started:.2f} s")
        by_blocks = args.shuffle and os.path.isdir(args.file)
        self.estimator = self._new_estimator(
            average=self._second_half(len(y)) if args.average else False, shuffle=BLOCKS if by_blocks else args.shuffle
        )
        self.trained = time.perf_counter()
        self.estimator._session = self._session(len(y), dict)
        self.estimator.fit(X, y)

    def _train_on_stream(self) -> None:
        args = self.args
        parse = partial(parsed, args.file, args.features, args.dtype, args.zero_based, self.readers)
        with closing(parse()) as chunks:  # with an error its threads end, too
            first = next(chunk for chunk in chunks if chunk.labels.size)
            # Of standard input there is only this one pass.
            self._train_on_chunks(first, [chain([first], chunks)], parse)

    def _train_on_chunks(
        self, first: Chunk, passes: list[Iterator[Chunk]], parse: Callable[[], Iterator[Chunk]]
    ) -> None:  # fmt: skip
        args = self.args
        estimator = self.estimator = self._new_estimator(average=2**62 if args.average else False, shuffle=args.shuffle)
        estimator._check_parameters()
        coder = self._coder(first)
        state = estimator._new_state(coder.n_outputs, args.features or 1, np.dtype(args.dtype), True)
        settings = estimator._settings(True, coder.loss)
        guess = self._guess_rows(first)

        with self._cache() as cache:
            source = Streamed(
                chunks=lambda: passes.pop() if passes else parse(),
                coder=coder, state=state, base=lambda: Base(args.features, args.zero_based), shuffle=args.shuffle,
                seed=args.random_state, cache=cache, durable=bool(args.cache), rows_per_epoch=guess,
                first=0 if args.zero_based is True else 1, head=first,
            )  # fmt: skip
            if args.average and args.max_iter == 1:
                # Of a text of unknown length, about the first ten megabytes are left out of the mean.
                unknown = 10 * first.labels.size
                settings.average_from = estimator.average = self._second_half(guess) if guess else unknown

            def known(rows: int) -> None:
                """After the text: as when all rows are known from the start."""
                self.zero_based = source.first == 0
                if args.average and args.max_iter > 1:
                    settings.average_from = estimator.average = self._second_half(rows)

            source.known = known
            session = self._session(guess, lambda: {"first": source.first})
            if session.resume is not None:
                source.first = self.more["first"]
            estimator._session = session
            try:
                self.trained = time.perf_counter()
                estimator._run(source, coder.loss, state, settings, coder.fitted, epochs=args.max_iter)
            finally:
                self.zero_based = source.first == 0

    @contextmanager
    def _cache(self) -> Iterator[str | None]:
        """Where the rows of later passes are kept: a folder of the user's, or one that is removed afterwards."""
        if self.args.cache or self.args.max_iter == 1:
            yield self.args.cache
        else:
            with tempfile.TemporaryDirectory(prefix="fastsgd-", ignore_cleanup_errors=True) as folder:
                yield os.path.join(folder, "rows")

    def _second_half(self, rows: int) -> int:
        """The step to average from: early iterates are far off."""
        steps: int = -(-rows // self.args.batch_size) * self.args.max_iter
        return max(1, steps // 2)

    def _coder(self, first: Any) -> Coder:
        args = self.args
        dtype = np.dtype(args.dtype)
        if args.regression:
            return Coder(args.file, dtype, get_loss(self.estimator.loss, epsilon=self.estimator.epsilon))
        classes = np.unique(args.classes) if args.classes else look_at_labels(args.file, first)
        if len(classes) < 2:
            raise ValueError(
                f"{args.file}: a first look found the label {classes[0]:g} only; name all labels, with --classes "
                "-1,1 for example"
            )
        per_class = None
        if args.class_weight is not None:
            per_class = combine_weights(args.class_weight, classes, np.arange(len(classes)), None)
        task = class_task(self.estimator.loss, self.estimator.epsilon, np.arange(len(classes)), classes, None, dtype)
        return Coder(
            args.file, dtype, task.loss, task.n_outputs, classes, task.targets, per_class, self.estimator._fitted(task)
        )

    def _guess_rows(self, first: Any) -> int | None:
        """From the size of a plain file: as if all of it were like its beginning."""
        path = self.args.file
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            head = file.read(1 << 20)
        lines = head.count(b"\n")
        if not lines or not head.isascii():
            return None
        share = first.labels.size / max(first.lines, 1)
        return max(1, int(os.path.getsize(path) / (head.rindex(b"\n") + 1) * lines * share))

    def _new_estimator(self, **more: Any) -> Any:
        args = self.args
        given = {name: vars(args)[name] for name in PARAMETERS if vars(args)[name] is not None}
        stops = bool(args.valid or args.early_stopping)
        given |= {
            "penalty": None if args.penalty == "none" else args.penalty,
            "tol": 0.0 if stops and args.tol is None else args.tol,
            "callbacks": [self._end_epoch],
            **more,
        }
        kind: Any = SGDRegressor if args.regression else SGDClassifier
        given.setdefault("loss", "squared_error" if args.regression else "log_loss")
        if not args.regression:
            given["class_weight"] = args.class_weight
        if "n_jobs" not in kind._parameters():
            given.pop("n_jobs", None)
        return kind(**given)

    # While it runs

    def _session(self, rows: int | None, more: Callable[[], dict[str, Any]]) -> Session:
        args, resume = self.args, None
        self.more: dict[str, Any] = {}
        if args.checkpoint:
            run = {name: vars(args)[name] for name in IDENTITY}
            run |= {"file": _stamp(args.file), "valid": _stamp(args.valid)}
            if args.resume and os.path.exists(args.checkpoint):
                resume, self.more = load_checkpoint(args.checkpoint, run)
                where = f"epoch {resume.progress.epoch + 1}, row {resume.progress.position:,}"
                self._print(f"{args.checkpoint}: goes on in {where}")
                self.reporter.resume(resume.progress, rows)
            self.checkpoint = Checkpoint(args.checkpoint, args.every, run, more)
        return Session(watch=self._watch, rate=self._rating() if args.valid else None, resume=resume)

    def _watch(self, state: State, settings: Settings, progress: Progress, rows: int | None) -> None:
        self.progress = progress
        self.reporter(progress, rows)
        if self.checkpoint is not None:
            self.checkpoint(state, settings, progress)

    def _end_epoch(self, record: Epoch) -> None:
        self.reporter.end_epoch(record)

    def _rating(self) -> Callable[[Array | None, State], float]:
        held: list[Any] = []

        def rate(classes: Array | None, state: State) -> float:
            """What `score` returns, of the rows of --valid."""
            if not held:
                columns = state.features
                X, y = self._fitted(self.args.valid, columns, state.weights.dtype).whole()
                held.extend([check_rows(X), y if classes is None else codes_of(np.asarray(y), classes)])
            rows, truth = held
            return float(self.estimator._rate(decision(rows, *solution(state)), truth, None))

        return rate

    def _fitted(self, path: str, columns: int, dtype: Any) -> Fitted:
        return Fitted(path, columns, self.zero_based, dtype, self.readers, partial(self.say, "warning"))

    # Afterwards

    def _save(self) -> None:
        if self.args.model:
            self.estimator.callbacks = None
            header, arrays = self.estimator.to_archive()
            # A file without an id 0 counts from 1, unless the model learned from one that counts from 0.
            save_archive(self.args.model, {**header, "zero_based": self.zero_based}, arrays)

    def _tell_interrupted(self) -> None:
        args, progress = self.args, self.progress
        where = f"interrupted in epoch {progress.epoch + 1}, after {progress.position:,} rows of it"
        trained = self.estimator is not None and hasattr(self.estimator, "coef_")
        if trained and args.model:
            self._save()
            kept = f"the model so far is in {args.model}"
        else:
            kept = "there is no model yet" if not trained else "the model so far is lost, for want of --model"
        more = ""
        if args.checkpoint and os.path.exists(args.checkpoint):
            more = "; the same command with --resume goes on from the last checkpoint"
        print(f"fastsgd: {where}; {kept}{more}", file=sys.stderr)


def tell(report: Report, say: Say, of: str = "") -> None:
    """Print how good predictions were."""
    if report.strangers:
        labels, classes = (", ".join(map(number, values)) for values in (report.unknown[:5], report.model.classes_[:5]))
        say(
            "warning",
            f"{report.strangers} rows count as errors: labels {labels} are not among those learned, {classes}",
        )
    for line in report.lines():
        print(f"{of}{line}")


def number(value: float) -> str:
    """A whole number without a point, any other as short as it reads back."""
    if isinstance(value, (str, bytes)):
        return str(value)
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)


def _stamp(path: str | None) -> list[int] | None:
    """What changes when a file or a folder of rows is written to."""
    if path is None or path == "-":
        return None
    status = os.stat(os.path.join(path, INDEX) if os.path.isdir(path) else path)
    return [status.st_size, status.st_mtime_ns]
