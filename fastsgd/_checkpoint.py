"""A point of training in a file, from which a run goes on to the very same model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._archive import pack, unpack
from ._training import Progress, Resume
from .core.state import Settings, State, Totals
from .io import PathLike, load_archive, save_archive

KIND = "checkpoint"
_TOTALS = ("loss", "penalty", "weight", "clipped", "bad_row")
_PROGRESS = ("position", "objectives", "scores", "best", "stale", "clipped", "converged")


@dataclass
class Checkpoint:
    """Writes the state of training to a file every so many seconds.

    Attributes
    ----------
    run : mapping
        What the run must have in common with the one that goes on: options, the data's size and time.
    more : callable
        What else is to be kept, by the time of writing.
    """

    path: str
    seconds: float
    run: Mapping[str, Any]
    more: Callable[[], Mapping[str, Any]] = dict
    _last: float = field(default_factory=time.monotonic)

    def __call__(self, state: State, settings: Settings, progress: Progress) -> None:
        if time.monotonic() - self._last < self.seconds:
            return
        header: dict[str, Any] = {
            "kind": KIND,
            "run": self.run,
            "more": dict(self.more()),
            "settings": {"eta0": settings.eta0, "average_from": settings.average_from},
            "progress": {name: getattr(progress, name) for name in _PROGRESS},
            "totals": {name: getattr(progress.totals, name) for name in _TOTALS},
        }
        arrays: dict[str, Any] = {}
        for prefix, kept in (("state", state), ("best", progress.best_state), ("velocity", progress.velocity)):
            header[prefix], parts = ({}, {}) if kept is None else pack(kept, prefix)
            arrays |= parts
        save_archive(self.path, header, arrays)
        self._last = time.monotonic()  # what writing takes does not count: slow disks are not written to all the time


def load_checkpoint(path: PathLike, run: Mapping[str, Any]) -> tuple[Resume, dict[str, Any]]:
    """The point to go on from, and what was kept besides.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, is no checkpoint, or one of another run: with other options, or of data that has changed.
    """
    header, arrays = load_archive(path)
    if header.get("kind") != KIND:
        raise ValueError(f"{path} is no checkpoint; give --resume the file that --checkpoint wrote")
    for name in (*run, *header["run"]):
        was, now = header["run"].get(name), run.get(name)
        if was != now:
            raise ValueError(
                f"{path} is of another run: {name} was {was!r} and is {now!r}; make them the same, or "
                "leave --resume out"
            )
    progress = Progress(**header["progress"], totals=Totals())
    for name, value in header["totals"].items():
        setattr(progress.totals, name, value)
    if header["best"]:
        progress.best_state = unpack(header["best"], arrays, "best")
    if header.get("velocity"):
        progress.velocity = unpack(header["velocity"], arrays, "velocity")
    state = unpack(header["state"], arrays, "state")
    return Resume(state, progress, **header["settings"]), header["more"]
