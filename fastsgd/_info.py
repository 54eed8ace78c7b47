"""What is in a file or folder of this package, for `fastsgd info`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._archive import from_archive
from ._checkpoint import KIND
from .disk import open_csr
from .io import load_archive


def describe(path: str, verify: bool = False) -> Iterator[tuple[str, str]]:
    """Names and values, to be printed one a line.

    Raises
    ------
    OSError, ValueError
        As `load_csr` and `load`.
    """
    if os.path.isdir(path):
        yield from _folder(path, verify)
        return
    header, arrays = load_archive(path)
    if header.get("kind") == KIND:
        yield from _checkpoint(header)
        return
    try:
        model: Any = from_archive(header, arrays)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no model of this version: {error}") from error
    yield "model", str(model)
    yield "features", f"{model.n_features_in_:,}, counted from {_base(header.get('zero_based'))}"
    if hasattr(model, "classes_"):
        labels = [f"{label:g}" if isinstance(label, float) else str(label) for label in model.classes_.tolist()]
        yield "classes", f"{len(labels):,}: {', '.join(labels[:10])}{', ...' if len(labels) > 10 else ''}"
    weights = [np.asarray(coef) for coef in (model.coefs_ if hasattr(model, "coefs_") else [model.coef_])]
    size, nonzero = sum(w.size for w in weights), sum(np.count_nonzero(w) for w in weights)
    yield "weights", f"{size:,} of {weights[0].dtype}, {nonzero:,} of them not 0"
    yield "trained", f"{model.n_iter_} passes, {model.t_ - 1:,.0f} steps"
    if model.loss_curve_:
        yield "objective", f"{model.loss_curve_[-1]:.6f} in the last pass"


def _folder(path: str, verify: bool) -> Iterator[tuple[str, str]]:
    (n, d), notes, arrays = open_csr(path, verify=verify)
    yield "rows", f"{n:,}, {'with' if 'y' in arrays else 'without'} labels"
    yield "features", f"{d:,}, counted from {_base(notes.get('zero_based'))} in the text"
    nnz = arrays["data"].size
    yield "values", f"{nnz:,} of {arrays['data'].dtype}, {nnz / max(n, 1):.1f} a row"
    yield "size", f"{sum(array.nbytes for array in arrays.values()) / 1e6:,.1f} MB"
    yield "checksums", "as written" if verify else "not compared; --verify does"


def _checkpoint(header: dict[str, Any]) -> Iterator[tuple[str, str]]:
    progress = header["progress"]
    yield "checkpoint", f"in epoch {len(progress['objectives']) + 1}, after {progress['position']:,} rows of it"
    run = header["run"]
    yield (
        "of a run with",
        ", ".join(f"{k}={v!r}" for k, v in run.items() if v is not None and k not in ("file", "valid")),
    )
    for number, objective in list(enumerate(progress["objectives"], 1))[-1:]:
        yield "objective", f"{objective:.6f} in epoch {number}"


def _base(zero_based: Any) -> str:
    return {True: "0", False: "1"}.get(zero_based, "where FILE does")
