"""How training is doing, while it runs: a bar on a terminal that has tqdm, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from ._training import Epoch, Progress

LINE_EVERY = 10.0  # seconds
REDRAW_EVERY = 0.1


class Reporter:
    """Reports the whole of a run; `total` is in rows, and may change as more becomes known.

    Lines about epochs go to stdout, the bar to stderr. The running loss is the mean over the epoch so far.
    """

    def __init__(self, epochs: int, quiet: bool) -> None:
        self.epochs, self.quiet = epochs, quiet
        self.bar: Any = None if quiet else _new_bar()
        self.started = self.last = time.monotonic()
        self.before = 0  # rows that a resumed run had visited already
        self.position = self.epoch_began = 0  # in the present epoch: rows visited, of which another run the first

    def __call__(self, progress: Progress, rows_per_epoch: int | None) -> None:
        """After every slice."""
        now, self.position = time.monotonic(), progress.position
        if self.quiet or now - self.last < (LINE_EVERY if self.bar is None else REDRAW_EVERY):
            return
        self.last = now
        totals = progress.totals
        loss = totals.loss / totals.weight if totals.weight else float("nan")
        visited = progress.epoch * (rows_per_epoch or 0) + progress.position
        total = self.epochs * rows_per_epoch if rows_per_epoch else None
        if self.bar is not None:
            self.bar.total, self.bar.n, self.bar.initial = total, visited, self.before
            self.bar.set_description_str(f"epoch {progress.epoch + 1}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {loss:.4f}")
            return
        speed = (visited - self.before) / max(now - self.started, 1e-9)
        left = f", {_duration((total - visited) / speed)} left" if total and speed and total >= visited else ""
        done = f"{min(progress.position / rows_per_epoch, 1):.0%}" if rows_per_epoch else f"{progress.position:,} rows"
        speed_text = f"  {speed:,.0f} rows/s" if speed else ""
        print(f"epoch {progress.epoch + 1:3d}  {done}  loss {loss:.4f}{speed_text}{left}", flush=True)

    def resume(self, progress: Progress, rows_per_epoch: int | None) -> None:
        """Before the first slice of a run that goes on from another."""
        self.position = self.epoch_began = progress.position
        self.before = progress.epoch * (rows_per_epoch or 0) + progress.position

    def end_epoch(self, record: Epoch) -> None:
        """After every epoch."""
        rows, self.position, self.epoch_began = self.position - self.epoch_began, 0, 0
        if self.quiet:
            return
        score = "" if record.validation_score is None else f"  validation score {record.validation_score:.4f}"
        line = f"epoch {record.epoch:3d}  objective {record.loss:.6f}{score}  {rows / record.seconds:,.0f} rows/s"
        if self.bar is None:
            print(line, flush=True)
        else:
            self.bar.write(line, file=sys.stdout)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _new_bar() -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # without tqdm's thread: slices come often enough

    return Bar(unit="row", unit_scale=True, dynamic_ncols=True, leave=False, file=sys.stderr)


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
