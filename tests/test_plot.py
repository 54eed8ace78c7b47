"""Pictures: what they show is what the library computes, and nothing overlaps."""

import itertools
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from bad_input import run
from matplotlib import pyplot
from matplotlib.text import Text  # of an annotation, its text without the line
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastsgd
from fastsgd import Perceptron, SGDClassifier, SGDRegressor, plot
from fastsgd.losses import LOSSES

RNG = np.random.default_rng(8)
X = np.vstack([RNG.normal(size=(60, 2)) + centre for centre in ([0, 0], [3, 1], [0, 4])])
Y3 = np.repeat(["a", "b", "c"], 60)
Y = Y3 == "b"


@pytest.fixture(autouse=True)
def no_side_effects(monkeypatch):
    """No picture is shown, no setting changed, none left open."""
    mpl.use("Agg")
    monkeypatch.setattr(pyplot, "show", lambda *_, **__: pytest.fail("plt.show was called"))
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    pyplot.close("all")


def texts(panel):
    return [text for text in panel.texts if text.get_text()]


def assert_readable(figure):
    """No two texts overlap, and all lie on the picture."""
    figure.canvas.draw()
    boxes = []
    for panel in figure.axes:
        legend = panel.get_legend()
        ticks = [tick for axis in (panel.xaxis, panel.yaxis) for tick in axis.get_ticklabels()]
        inside = [t for t in ticks if t.get_text() and panel.bbox.padded(9).overlaps(t.get_window_extent())]
        entries = [*texts(panel), *(legend.get_texts() if legend else ()), panel.xaxis.label, panel.yaxis.label]
        entries += [panel.title, panel._left_title, *inside]
        boxes += [(text.get_text(), Text.get_window_extent(text)) for text in entries if text.get_text()]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.padded(-0.5).overlaps(b.padded(-0.5)), f"{one!r} lies on {other!r}"
    for name, box in boxes:
        assert box.x0 >= 0 <= box.y0, name
        assert box.x1 <= figure.bbox.x1, name
        assert box.y1 <= figure.bbox.y1, name


def test_losses():
    panels = plot.losses()
    names = {name for name, loss in LOSSES.items() if loss.targets == "sign"} | {"zero_one"}
    assert len(names) == 7
    for panel, method in zip(panels, ("value", "gradient"), strict=True):
        assert {text.get_text() for text in texts(panel)} == names
        curves = {line.get_color(): line.get_data() for line in panel.lines if len(line.get_xdata()) > 2}
        assert len(curves) == 7
        for text in texts(panel):
            m, drawn = curves[text.get_color()]
            if text.get_text() == "zero_one":
                expected = (m <= 0) * 1.0 if method == "value" else 0 * m
            else:
                expected = getattr(LOSSES[text.get_text()], method)(m, np.ones_like(m))
            shown = np.isfinite(drawn)
            assert (~shown).sum() <= 1  # where it jumps
            np.testing.assert_array_equal(drawn[shown], expected[shown])
            low, high = panel.get_ylim()
            assert low < expected.min() <= expected.max() < high
    assert panels[0].figure is panels[1].figure
    assert_readable(panels[0].figure)


def test_history():
    model = SGDClassifier("log_loss", max_iter=12, tol=None, random_state=0).fit(X, Y)
    (panel,) = plot.history(model)
    epochs, objectives = panel.lines[0].get_data()
    np.testing.assert_array_equal(epochs, np.arange(1, 13))
    np.testing.assert_array_equal(objectives, model.loss_curve_)
    assert texts(panel)[0].get_text() == f"{model.loss_curve_[-1]:.4g}"
    assert_readable(panel.figure)
    one = SGDRegressor(max_iter=1, tol=None).fit(X, X[:, 0])
    assert_readable(plot.history(one)[0].figure)


def test_history_of_early_stopping():
    model = SGDClassifier("log_loss", early_stopping=True, random_state=0).fit(X, Y)
    panels = plot.history(model)
    assert [panel.get_title("left") for panel in panels] == ["objective", "validation score"]
    np.testing.assert_array_equal(panels[1].lines[0].get_ydata(), model.validation_scores_)
    assert texts(panels[1])[0].get_text() == f"kept: {max(model.validation_scores_):.4g}"
    assert_readable(panels[0].figure)


@pytest.mark.parametrize("kind", ["array", "csr", "pandas", "polars", "pipeline"])
@pytest.mark.parametrize("y", [Y, Y3])
def test_boundary(kind, y):
    model = SGDClassifier("log_loss", max_iter=30, tol=None, random_state=0, intercept_decay=1.0)
    if kind == "pipeline":
        model = make_pipeline(StandardScaler(), model)
    forms = {"csr": sp.csr_array, "pandas": pd.DataFrame, "polars": pl.DataFrame}
    rows = {"length": X[:, 0], "width": X[:, 1]} if kind in ("pandas", "polars") else X
    rows = forms.get(kind, np.asarray)(rows)
    panel = plot.boundary(model.fit(rows, y), rows, y)
    named = kind in ("pandas", "polars")
    assert panel.get_xlabel() == ("length" if named else "feature 0")
    assert panel.get_ylabel() == ("width" if named else "feature 1")
    drawn = np.vstack([points.get_offsets() for points in panel.collections if len(points.get_offsets()) > 1])
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(X, axis=0))
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert labels == [str(label) for label in np.unique(y)] + ["score ±1"] * (y is Y)
    on_the_line = 0
    for lines in panel.collections:
        if len(lines.get_offsets()) > 1 or lines.get_facecolor().size:
            continue
        level = 1 if lines.get_linestyle()[0][1] else 0  # dashed: the scores -1 and +1
        for path in lines.get_paths():
            scores = model.decision_function(forms["pandas"](path.vertices, columns=["length", "width"])
                                             if named else path.vertices)  # fmt: skip
            if scores.ndim == 1:
                np.testing.assert_allclose(abs(scores), level, atol=1e-6)
            else:
                top = np.sort(scores, axis=1)
                assert np.median(top[:, -1] - top[:, -2]) < 1e-6
            on_the_line += len(scores)
    assert on_the_line > 200
    assert_readable(panel.figure)


def test_on_given_axes():
    figure, panels = pyplot.subplots(2, 3, figsize=(16, 9))
    model = Perceptron(max_iter=3, tol=None).fit(X, Y3)
    assert plot.boundary(model, X, Y3, ax=panels[0, 0]) is panels[0, 0]
    assert plot.history(model, ax=panels[0, 1]) == (panels[0, 1],)
    stopped = SGDClassifier(early_stopping=True, random_state=0).fit(X, Y3)
    assert plot.history(stopped, ax=panels[:, 2]) == tuple(panels[:, 2])
    assert plot.losses(ax=panels[1, :2]) == tuple(panels[1, :2])
    assert pyplot.get_fignums() == [figure.number]


def test_many_classes_and_rows():
    y = RNG.integers(0, 11, 3000)
    rows = RNG.normal(size=(3000, 2))
    model = SGDClassifier("softmax", max_iter=2, tol=None, learning_rate="constant").fit(rows, y)
    panel = plot.boundary(model, rows, y)
    assert len({(str(c.get_facecolor()), len(c.get_paths()[0].vertices)) for c in panel.collections[-11:]}) == 11
    assert_readable(panel.figure)


def test_what_cannot_be_drawn():
    model = SGDClassifier(max_iter=3, tol=None).fit(X, Y3)
    with pytest.raises(ValueError, match="X has 3 features; boundary draws a model of two"):
        plot.boundary(model, np.ones((3, 3)), Y3[:3])
    with pytest.raises(ValueError, match=r"a label at row 2 that the model does not know: \['a', 'b', 'c'\]"):
        plot.boundary(model, X[:3], ["a", "b", "z"])
    with pytest.raises(TypeError, match="SGDRegressor has no classes_"):
        plot.boundary(SGDRegressor(max_iter=3, tol=None).fit(X, X[:, 0]), X, Y3)
    with pytest.raises(TypeError, match="SGDClassifier has no classes_"):
        plot.boundary(SGDClassifier(), X, Y3)
    with pytest.raises(TypeError, match="one label a row"):
        plot.boundary(SGDClassifier(max_iter=3, tol=None).fit(X, np.eye(3, dtype=int)[RNG.integers(0, 3, 180)]), X, Y3)
    with pytest.raises(fastsgd.NotFittedError):
        plot.history(SGDClassifier())


def test_without_matplotlib(monkeypatch):
    code = "import sys, fastsgd; print('matplotlib' in sys.modules, callable(fastsgd.plot.losses))"
    assert run(code) == (0, "False True\n")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    model = SGDClassifier(max_iter=3, tol=None).fit(X, Y)
    for draw in (plot.losses, lambda: plot.history(model), lambda: plot.boundary(model, X, Y)):
        with pytest.raises(ImportError, match=r"pip install 'fastsgd\[plot\]'"):
            draw()
