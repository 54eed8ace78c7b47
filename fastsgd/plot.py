"""Pictures of losses, of training and of boundaries; needs matplotlib (``pip install 'fastsgd[plot]'``).

Every function returns the Axes it drew on, of which `.figure` is the Figure; none shows it or changes matplotlib's
settings. Colours are those of Okabe and Ito (2008), which colour-blind readers tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import Array
from ._frames import column_names
from ._linear import LinearSGD
from ._validation import check_labels, check_rows
from .losses import LOSSES, zero_one

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["boundary", "history", "losses"]

BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, "black", "#8A8A8A")
MARKERS = "osD^vPX*<>"
INK, PALE = "0.15", "0.85"
SMALL = 9  # points, of labels


def losses(ax: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
    """Draw every loss of a binary classifier, and its derivative, against the margin.

    The error that all of them stand in for, `zero_one`, is grey.

    Parameters
    ----------
    ax : two Axes, optional
        For the losses and for their derivatives; by default those of a new figure.

    Returns
    -------
    tuple of two Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    above, below = _axes(2, (10.0, 4.6)) if ax is None else ax
    margins = np.linspace(-2, 2.5, 1801)
    curves = {name: loss for name, loss in LOSSES.items() if loss.targets == "sign"}
    for panel, title in ((above, "loss  L"), (below, "derivative  dL/dm")):
        _clean(panel, title)
        panel.set_xlim(margins[0], margins[-1])
        panel.set_xlabel("margin  m = t z  (wrong side below 0)", color=INK)
        panel.axvline(0, color=PALE, linewidth=1, zorder=0)
        panel.yaxis.tick_right()  # the labels of the curves stand on the left, where these are apart
        panel.tick_params(axis="y", length=0)
    labels: tuple[list[Any], list[Any]] = ([], [])
    ones = np.ones_like(margins)
    errors = zero_one(margins, ones)
    rows: list[Any] = [("zero_one", "0.45", "-", errors, 0 * errors)]
    for j, (name, loss) in enumerate(curves.items()):
        dash = (0, (4, 2)) if name in ("modified_huber", "perceptron") else "-"  # where they lie on another
        rows.append((name, COLORS[j % len(COLORS)], dash, loss.value(margins, ones), loss.gradient(margins, ones)))
    for name, color, dash, *values in rows:
        for panel, ends, line in zip((above, below), labels, values, strict=True):
            panel.plot(margins, _broken(line), color=color, linestyle=dash, linewidth=2, solid_capstyle="butt")
            ends.append((line[0], name, color))
    above.set_ylim(-0.25, 9.25)
    below.set_ylim(-6.25, 0.25)
    above.figure.canvas.figure.draw_without_rendering()  # lays out: labels are kept apart in points
    for panel, ends in zip((above, below), labels, strict=True):
        _label_ends(panel, margins[0], ends, -1)
    return above, below


def history(model: LinearSGD, ax: Axes | Sequence[Axes] | None = None) -> tuple[Axes, ...]:
    """Draw the objective of every epoch and, after `early_stopping`, the validation scores.

    Parameters
    ----------
    model : SGDClassifier, SGDRegressor or Perceptron
        Fitted.
    ax : Axes or sequence of them, optional
        One, and a second for validation scores if there are any; by default those of a new figure.

    Returns
    -------
    tuple of one or two Axes

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ImportError
        If matplotlib is not installed.
    """
    model._coefficients()
    _import()
    from matplotlib.ticker import MaxNLocator

    curves = [("objective", np.array(model.loss_curve_), BLUE)]
    if getattr(model, "validation_scores_", None):
        curves.append(("validation score", np.array(model.validation_scores_), VERMILION))
    if ax is None:
        panels = tuple(_axes(len(curves), (5.4 * len(curves), 3.6)))
    else:
        panels = tuple(np.ravel(np.asarray(ax, dtype=object)))[: len(curves)]
    for panel, (title, values, color) in zip(panels, curves, strict=False):
        _clean(panel, title)
        panel.set_xlabel("epoch", color=INK)
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        panel.margins(y=0.12)
        epochs = np.arange(1, len(values) + 1)
        panel.plot(epochs, values, color=color, linewidth=2, marker="o", markersize=4 if len(values) <= 40 else 0)
        if values.min() > 0 and values.max() > 10 * values.min():
            panel.set_yscale("log")
        if title == "objective":
            at, text, place, side = len(values) - 1, "", (9, 0), "left"
        else:
            at, text, place, side = int(values.argmax()), "kept: ", (0, 11), "center"
        panel.plot(epochs[at], values[at], "o", color=color, markersize=8, markeredgecolor="white")
        panel.annotate(
            f"{text}{values[at]:.4g}", (epochs[at], values[at]), place, textcoords="offset points", color=color,
            ha=side, va="center", size=SMALL, annotation_clip=False,
        )  # fmt: skip
    return panels


def boundary(model: Any, X: Any, y: Any, ax: Axes | None = None) -> Axes:
    """Draw a classifier of two features: its regions, the boundaries between them, and the rows.

    Of two classes, dashed lines show where the score is -1 and +1.

    Parameters
    ----------
    model : classifier
        Fitted on two features: an SGDClassifier or Perceptron, or anything with `classes_` and `decision_function`
        (a Pipeline, for example).
    X : {array-like, CSR, sparse matrix, table} of shape (n, 2)
        The rows to draw.
    y : array-like of shape (n,)
        Their labels.
    ax : Axes, optional
        By default that of a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If the model is no classifier, not fitted, or gives several labels a row.
    ValueError
        If X has not two columns, or y a label that the model does not know.
    ImportError
        If matplotlib is not installed.
    """
    if not hasattr(model, "classes_"):
        raise TypeError(f"boundary draws a fitted classifier; this {type(model).__name__} has no classes_")
    if getattr(model, "multilabel_", False):
        raise TypeError("boundary draws models of one label a row; this one gives several")
    rows = check_rows(X)
    if rows.shape[1] != 2:
        raise ValueError(f"X has {rows.shape[1]} features; boundary draws a model of two: train one on two columns")
    points = np.zeros(rows.shape)
    line = np.arange(rows.nnz) // 2 if rows.indptr is None else np.repeat(np.arange(len(points)), np.diff(rows.indptr))
    column = np.arange(rows.nnz) % 2 if rows.indptr is None else rows.indices[: rows.nnz]
    np.add.at(points, (line, column), rows.data[: rows.nnz])
    classes = np.asarray(model.classes_)
    numbers = {label: k for k, label in enumerate(classes.tolist())}
    codes = np.array([numbers.get(label, -1) for label in check_labels(y, len(points)).tolist()])
    if codes.min() < 0:
        raise ValueError(f"y has a label at row {codes.argmin()} that the model does not know: {list(numbers)}")
    panel = _axes(1, (5.6, 4.8))[0] if ax is None else ax
    _clean(panel, None)
    names = column_names(X) or ["feature 0", "feature 1"]
    panel.set_xlabel(str(names[0]), color=INK)
    panel.set_ylabel(str(names[1]), color=INK)
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.where(high > low, 0.06 * (high - low), 0.5)
    low, high = low - room, high + room
    panel.set_xlim(low[0], high[0])
    panel.set_ylim(low[1], high[1])
    _regions(panel, model, low, high, column_names(X) and X)
    size = float(np.clip(9000 / len(points), 7, 34))
    for k, label in enumerate(classes.tolist()):
        mine = points[codes == k]
        panel.scatter(
            mine[:, 0], mine[:, 1], size, color=COLORS[k % len(COLORS)], marker=MARKERS[k % len(MARKERS)],
            edgecolors="white", linewidths=0.5 if size > 12 else 0.0, label=str(label), rasterized=len(points) > 2000,
            zorder=3,
        )  # fmt: skip
    if len(classes) == 2:
        panel.plot([], [], color=INK, linewidth=0.8, linestyle="dashed", label="score ±1")
    panel.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(classes) + 1, 5), frameon=False, borderaxespad=0.2,
        handletextpad=0.2, columnspacing=1.2, labelcolor=INK, markerscale=max(1.0, (20 / size) ** 0.5),
    )  # fmt: skip
    return panel


def _regions(panel: Axes, model: Any, low: Array, high: Array, table: Any) -> None:
    """Tint the classes' regions and draw the lines between them; `table` is given if X is one."""
    x, y = (np.linspace(low[k], high[k], 400) for k in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    if table is not None:
        columns = dict(zip(column_names(table) or (), grid.T, strict=True))
        scores = model.decision_function(getattr(type(table), "from_pydict", type(table))(columns))
    else:
        scores = model.decision_function(grid)
    scores = np.asarray(scores, np.float64)
    if scores.ndim == 1:
        leads = [-scores, scores]
        panel.contour(x, y, scores.reshape(400, 400), [-1, 1], colors=INK, linewidths=0.8, linestyles="dashed")
    else:
        # How far a class is ahead of the best other one: smooth, where the winner's number is a staircase.
        ranked = np.sort(scores, axis=1)
        leads = [np.where(z == ranked[:, -1], z - ranked[:, -2], z - ranked[:, -1]) for z in scores.T]
    for k, lead in enumerate(leads):
        lead = lead.reshape(400, 400)
        if lead.max() > 0:
            panel.contourf(x, y, lead, [0, lead.max()], colors=[COLORS[k % len(COLORS)]], alpha=0.14)
        if lead.max() > 0 > lead.min():
            panel.contour(x, y, lead, [0], colors=INK, linewidths=1.4)


def _axes(n: int, size: tuple[float, float]) -> list[Axes]:
    """Axes of a new figure, side by side."""
    pyplot = _import()
    return list(pyplot.subplots(1, n, figsize=size, squeeze=False, layout="constrained")[1][0])


def _import() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("fastsgd.plot needs matplotlib: pip install 'fastsgd[plot]'") from error
    return pyplot


def _clean(panel: Axes, title: str | None) -> None:
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color("0.6")
    panel.tick_params(colors="0.35", labelsize=SMALL)
    if title is not None:
        panel.grid(axis="y", color=PALE, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.set_title(title, loc="left", color=INK, size=11, pad=10)


def _broken(line: Array) -> Array:
    """The line with a gap where it jumps."""
    jumps = np.flatnonzero(np.abs(np.diff(line)) > 0.2)
    broken = line.astype(np.float64)
    broken[jumps] = np.nan
    return broken


def _label_ends(panel: Axes, x: float, ends: Sequence[tuple[float, str, Any]], side: int) -> None:
    """Write each curve's name beside its end (y, name, color), moved up or down where they would touch."""
    scale = panel.figure.dpi / 72
    ends = sorted(ends, key=lambda end: end[0])
    wanted = np.array([panel.transData.transform((x, y))[1] / scale for y, *_ in ends])
    for (y, name, color), at, want in zip(ends, _spread(wanted, 1.35 * SMALL), wanted, strict=True):
        panel.annotate(
            name, (x, y), (22 * side, at - want), textcoords="offset points", color=color, size=SMALL,
            ha="right" if side < 0 else "left", va="center",
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 2,
                        "relpos": (1.0 if side < 0 else 0.0, 0.5)},
        )  # fmt: skip


def _spread(wanted: Array, gap: float) -> Array:
    """The nearest increasing positions at least `gap` apart, by pooling neighbours that are too close."""
    pools: list[list[float]] = []
    for i, value in enumerate(wanted):
        pools.append([value - i * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    apart: Array = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools]) + gap * np.arange(len(wanted))
    return apart
