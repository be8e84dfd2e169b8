"""Charts of a report: one small panel each, as SVG text.

A chart is drawn in the colours of `PALETTE`, which suit a white page, and stands alone. `inline` makes it a
part of an HTML page: each colour becomes a CSS variable, so that one chart serves light and dark pages.
Figures are made through `Figure`, never through pyplot, which would keep them in a global list.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from delineate.metrics.calibration import Calibration

PALETTE: Mapping[str, str] = {
    "ink": "#1b1f24",
    "muted": "#636b75",
    "grid": "#dfe3e8",
    "s1": "#0068a8",
    "s2": "#bf4f08",
    "s3": "#00765a",
    "s4": "#8e4a7c",
    "s5": "#6f6500",
    "s6": "#2f7fb8",
}
"""CSS variable -> colour on a white page. The series s1, s2, ... stay apart for colour-blind readers."""

WIDTH = 4.2  # inches; at 72 points an inch this is 400 CSS pixels, so that text keeps its size on a phone
_HEIGHT = 2.7
SERIES = tuple(PALETTE[name] for name in ("s1", "s2", "s3", "s4", "s5", "s6"))
"""Colours of series, in this order."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Shapes that go with them, for readers without colour."""


def curves(
    history: pd.DataFrame, columns: Mapping[str, str], *, selected: int | None, label: str, log: bool = False
) -> str:
    """Draw columns of `history.csv` over the epochs.

    Args:
        history: with the column `epoch`; NaN leaves a gap.
        columns: column -> name in the legend.
        selected: epoch to mark, or None.
        label: of the vertical axis.
        log: whether the vertical axis is logarithmic.
    """
    from matplotlib.ticker import MaxNLocator  # slow to import

    with panel(f"curves {' '.join(columns)}") as (axes, finish):
        epochs = history["epoch"].to_numpy()
        for (column, name), colour in zip(columns.items(), SERIES, strict=False):
            marker = "o" if len(epochs) < 3 else ""
            axes.plot(
                epochs, history[column], color=colour, label=name, linewidth=1.5, marker=marker, markersize=4
            )
        if selected is not None:
            axes.axvline(selected, color=PALETTE["muted"], linewidth=1, linestyle=(0, (3, 3)), zorder=1)
            late = selected > (epochs.min() + epochs.max()) / 2
            axes.annotate(
                f"selected: {selected}",
                (selected, 1),
                xycoords=("data", "axes fraction"),
                xytext=(-4 if late else 4, -2),
                textcoords="offset points",
                ha="right" if late else "left",
                va="top",
                color=PALETTE["muted"],
            )
        if log:
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=label)
        axes.margins(x=0.02, y=0.12)
        if len(columns) > 1:
            legend(axes, columns=len(columns))
        return finish()


def distribution(values: Mapping[str, ArrayLike], *, label: str, unit_range: bool) -> str:
    """Draw one row per score: each case a dot, quartiles as a box, whiskers to percentiles 5 and 95.

    Args:
        values: name -> (N,) one value per case; NaN is left out.
        label: of the horizontal axis.
        unit_range: whether the scores lie in [0, 1]; if not, they are at least 0 and the axis is logarithmic
            beyond 1.
    """
    generator = np.random.default_rng(0)  # only spreads the dots, so that equal values do not hide each other
    with panel(f"distribution {' '.join(values)}", height=0.75 + 0.42 * len(values)) as (axes, finish):
        for row, column in enumerate(values.values()):
            found = np.asarray(column, dtype=np.float64)
            found = found[np.isfinite(found)]
            if found.size == 0:
                continue
            dots(axes, found, row - 0.16 + generator.uniform(-0.1, 0.1, found.size), SERIES[0], size=2.4)
            low, first, median, third, high = np.percentile(found, [5, 25, 50, 75, 95])
            box = row + 0.16
            axes.plot([low, high], [box, box], color=PALETTE["muted"], linewidth=1, zorder=3)
            axes.plot(
                [first, third],
                [box, box],
                color=PALETTE["muted"],
                linewidth=6,
                zorder=3,
                solid_capstyle="butt",
            )
            axes.plot([median, median], [box - 0.17, box + 0.17], color=PALETTE["ink"], linewidth=2, zorder=4)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)
        if unit_range:
            axes.set_xlim(-0.02, 1.02)
        else:  # linear up to 1, logarithmic beyond: a missed mask's distance must not squeeze all others
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xlim(left=-0.1)
            axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
        return finish()


def scatter(
    x: ArrayLike, y: ArrayLike, groups: Sequence[str] | None = None, *, xlabel: str, ylabel: str
) -> str:
    """Draw one dot per case over a logarithmic horizontal axis; pairs with NaN are left out.

    Args:
        x: (N,) positive; zero has no place on the axis and is left out.
        y: (N,) in [0, 1].
        groups: (N,) one name per case for the colour, or None.
        xlabel: of the horizontal axis.
        ylabel: of the vertical axis.
    """
    across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    shown = np.isfinite(across) & np.isfinite(up) & (across > 0)
    names = np.asarray(groups if groups is not None else [""] * across.size, dtype=object)
    with panel("scatter") as (axes, finish):
        axes.set_xscale("log")
        kinds = sorted(set(names[shown].tolist()))[: len(SERIES)]
        for kind, colour in zip(kinds, SERIES, strict=False):
            chosen = shown & (names == kind)
            dots(axes, across[chosen], up[chosen], colour, size=3.6, label=str(kind))
        if shown.any():
            axes.set_xlim(across[shown].min() / 1.3, across[shown].max() * 1.3)
        axes.set_ylim(-0.03, 1.03)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if shown.any():
            label_decades(axes, across[shown].max() / across[shown].min())
        if len(kinds) > 1:
            legend(axes, columns=len(kinds))
        return finish()


def roc(curve: Mapping[str, tuple[ArrayLike, ArrayLike]], point: tuple[float, float] | None = None) -> str:
    """Draw receiver operating characteristics.

    Args:
        curve: name in the legend -> (false positive rate, true positive rate), both rising from 0 to 1.
        point: (false positive rate, true positive rate) at the decision threshold, or None.
    """
    with panel("roc", height=3.4) as (axes, finish):
        axes.plot([0, 1], [0, 1], color=PALETTE["muted"], linewidth=1, linestyle=(0, (3, 3)))
        for (name, (false, true)), colour in zip(curve.items(), SERIES, strict=False):
            axes.plot(false, true, color=colour, linewidth=1.7, label=name)
        if point is not None:
            axes.plot(
                *point, marker="o", markersize=6, color=SERIES[1], linestyle="none", label="at the threshold"
            )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 − specificity", ylabel="sensitivity")
        if len(curve) > 1:  # several names need more room than the corner below a good curve has
            legend(axes, columns=1)
        else:
            axes.legend(loc="lower right", frameon=False, labelcolor=PALETTE["ink"])
        return finish()


def reliability(curve: Mapping[str, "Calibration"], *, xlabel: str, ylabel: str) -> str:
    """Draw reliability diagrams: how often each probability came true, with the diagonal of perfect ones.

    A dot is a bin; its area grows with the bin's share of all cases or pixels.

    Args:
        curve: name in the legend -> diagram; at most six.
        xlabel: of the horizontal axis.
        ylabel: of the vertical axis.
    """
    with panel(f"reliability {xlabel}", height=3.4) as (axes, finish):
        axes.plot([0, 1], [0, 1], color=PALETTE["muted"], linewidth=1, linestyle=(0, (3, 3)))
        for (name, found), colour, marker in zip(curve.items(), SERIES, MARKERS, strict=False):
            some = found.cases > 0
            across, up = found.confidence[some], found.frequency[some]
            share = found.cases[some] / max(int(found.cases.sum()), 1)
            axes.plot(across, up, color=colour, linewidth=1.3, zorder=3)
            axes.scatter(across, up, s=8 + 70 * share, color=colour, marker=marker, linewidths=0, zorder=4)
            axes.plot([], [], color=colour, marker=marker, markersize=4, linewidth=1.3, label=name)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=xlabel, ylabel=ylabel)
        if len(curve) > 1:
            legend(axes, columns=legend_columns(curve))
        return finish()


def inline(svg: str, key: str = "") -> str:
    """Turn a chart into markup for an HTML page: no prologue, colours as CSS variables, the page's font.

    Args:
        svg: the chart.
        key: put before the ids inside the chart, so that like charts may stand on one page; letters, digits,
            ".", "-", "_" and "+".
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = body.replace("font-family: sans-serif", "font-family: inherit")
    used = set(re.findall(r"#([\w.]+)[\")]", body))
    ids = {name for name in re.findall(r' id="([^"]*)"', body) if name in used}
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{key}{m[1]}"' if m[1] in ids else "", body)
    body = re.sub(r'#([\w.]+)(?=[")])', lambda m: f"#{key}{m[1]}" if m[1] in ids else m[0], body)
    body = re.sub(r'\s(xmlns(:xlink)?="[^"]*"|version="[^"]*")', "", body)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 class="chart" aria-hidden="true"', body, count=1)
    body = re.sub(r"\s+(?=<)", "\n", body)
    for name, colour in PALETTE.items():
        body = body.replace(colour, f"var(--{name})")
    return body.strip()


@contextmanager
def panel(salt: str, height: float = _HEIGHT) -> Iterator[tuple["Axes", Callable[[], str]]]:
    """Give axes to draw on and a function that returns the SVG; the settings last as long as the block.

    Args:
        salt: makes the ids inside the SVG differ from other charts' on the page, and the same in each run.
        height: of the panel in inches.
    """
    from matplotlib import rc_context  # slow to import
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "text.parse_math": False,  # a "$" in the name of a class is a dollar
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "font.size": 8.5,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "axes.edgecolor": PALETTE["muted"],
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelcolor": PALETTE["ink"],
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": PALETTE["grid"],
        "grid.linewidth": 0.7,
        "xtick.color": PALETTE["muted"],
        "ytick.color": PALETTE["muted"],
        "xtick.labelcolor": PALETTE["ink"],
        "ytick.labelcolor": PALETTE["ink"],
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.minor.size": 0,
    }
    with rc_context(settings):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()

        def finish() -> str:
            text = io.StringIO()
            FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
            # The reader's own font in place of the one that matplotlib measured with.
            return re.sub(r"font-family: [^;\"]*", "font-family: sans-serif", text.getvalue())

        yield axes, finish


def legend(axes: "Axes", columns: int) -> None:
    """Put the names of the series above the axes, in this many columns."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0,
        borderpad=0.2,
        handlelength=1.4,
        columnspacing=1.2,
        labelcolor=PALETTE["ink"],
    )


def label_decades(axes: "Axes", ratio: float) -> None:
    """Write plain numbers on a logarithmic horizontal axis, between the decades as many as have room.

    Args:
        axes: with its scale set.
        ratio: largest value over smallest, at least 1.
    """
    digits = "123456789" if ratio < 4 else "125" if ratio < 50 else "1"
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axes.xaxis.set_minor_formatter(
        lambda value, _position: f"{value:.3g}" if f"{value:e}"[0] in digits else ""
    )


def legend_columns(names: Iterable[str]) -> int:
    """How many names of this length fit beside each other."""
    longest = max(map(len, names), default=0)
    return 3 if longest <= 12 else 2 if longest <= 20 else 1


def dots(
    axes: "Axes", x: NDArray[np.float64], y: NDArray[np.float64], colour: str, size: float, label: str = ""
) -> None:
    """Draw dots as one path of zero-length strokes with round ends, far shorter than separate markers."""
    if x.size == 0:
        return
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    vertices = np.repeat(np.column_stack([x, y]), 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], x.size)
    path = Path(vertices, codes)
    path.should_simplify = False
    axes.add_patch(
        PathPatch(path, fill=False, edgecolor=colour, linewidth=size, capstyle="round", alpha=0.65, zorder=3)
    )
    axes.plot([], [], marker="o", linestyle="none", markersize=4, color=colour, label=label)
    axes.update_datalim(vertices)
    axes.autoscale_view()
