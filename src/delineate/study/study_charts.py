"""Charts that compare systems; drawn like those of `charts`, one small panel each."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from delineate.study.charts import (
    MARKERS,
    PALETTE,
    SERIES,
    dots,
    label_decades,
    legend,
    legend_columns,
    panel,
)
from delineate.study.statistics import CriticalDifference

_NAME = 22  # characters of a system's name on one line beside an axis
_ROW = 0.36  # inches of a row


@dataclass(frozen=True)
class Estimate:
    """One system's score as a row of a chart."""

    name: str
    mean: float
    low: float | None
    """Lower end of its interval, or None."""
    high: float | None
    runs: tuple[float, ...] = ()
    """Score of each run."""


@dataclass(frozen=True)
class Cost:
    """One system as a point of score against cost."""

    name: str
    cost: float
    """Positive."""
    score: Estimate


def intervals(rows: Sequence[Estimate], *, label: str) -> str:
    """Draw one row per system: its mean with the interval, and each run as a small dot.

    Args:
        rows: from top to bottom.
        label: of the horizontal axis.
    """
    with panel(f"intervals {label}", height=0.7 + _ROW * len(rows)) as (axes, finish):
        for place, row in enumerate(rows):
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [place, place], color=SERIES[0], linewidth=2, alpha=0.55)
            runs = np.asarray(row.runs, dtype=np.float64)
            runs = runs[np.isfinite(runs)]
            if runs.size > 1:
                dots(axes, runs, np.full(runs.size, place + 0.26), PALETTE["muted"], size=3)
            axes.plot([row.mean], [place], marker="o", markersize=6, color=SERIES[0], linestyle="none")
        axes.set_yticks(range(len(rows)), [wrapped(row.name) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(label)
        axes.margins(x=0.06)
        axes.grid(axis="y", visible=False)
        return finish()


def versus(x: ArrayLike, y: ArrayLike, *, xlabel: str, ylabel: str, unit_range: bool) -> str:
    """Draw one dot per case, one system against another, with the line where both are equal.

    Args:
        x: (N,) score of the one system; pairs with NaN are left out.
        y: (N,) score of the other.
        xlabel: of the horizontal axis.
        ylabel: of the vertical axis.
        unit_range: whether the scores lie in [0, 1]; if not, they are at least 0 and the axes are logarithmic
            beyond 1.
    """
    across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    shown = np.isfinite(across) & np.isfinite(up)
    across, up = across[shown], up[shown]
    with panel(f"versus {xlabel} {ylabel}", height=3.8) as (axes, finish):
        if unit_range:
            lowest = min([*across, *up], default=0.0)
            ends = (np.floor(10 * lowest) / 10 - 0.03, 1.03)
        else:
            axes.set_xscale("symlog", linthresh=1)
            axes.set_yscale("symlog", linthresh=1)
            axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
            axes.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
            ends = (-0.1, 1.3 * max(1.0, *across, *up) if across.size else 1.0)
        axes.plot(ends, ends, color=PALETTE["muted"], linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        dots(axes, across, up, SERIES[0], size=3.6)
        axes.set(xlim=ends, ylim=ends, xlabel=xlabel, ylabel=ylabel)
        axes.set_box_aspect(1)
        return finish()


def critical_difference(found: CriticalDifference) -> str:
    """Draw mean ranks, best on top; a bar on the right joins systems that cannot be told apart.

    The bar above the axes is the critical difference. It is Demsar's diagram turned by a quarter, so that
    long names keep their size on a narrow page.
    """
    count = len(found.systems)
    height = 1.0 + _ROW * count
    with panel(f"ranks {' '.join(found.systems)}", height=height) as (axes, finish):
        rows = np.arange(count)
        axes.hlines(rows, 1, found.mean_ranks, color=PALETTE["grid"], linewidth=1, zorder=1)
        axes.plot(found.mean_ranks, rows, marker="o", markersize=6, color=SERIES[0], linestyle="none")
        for place, rank in enumerate(found.mean_ranks):
            axes.annotate(
                f"{rank:.2f}",
                (rank, place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=PALETTE["ink"],
            )
        edge = count + 0.55  # right of the worst rank and its number
        for number, clique in enumerate(found.cliques):
            members = [found.systems.index(name) for name in clique]
            side = edge + 0.13 * number * max(1, count / 4)
            ends = [min(members) - 0.22, max(members) + 0.22]
            axes.plot(
                [side, side], ends, color=PALETTE["ink"], linewidth=4, solid_capstyle="butt", clip_on=False
            )
        top = -0.95
        end = min(1 + found.critical_difference, count + 0.5)
        axes.plot([1, end], [top, top], color=PALETTE["muted"], linewidth=1.5)
        axes.plot([1, 1, np.nan, end, end], [top - 0.12, top + 0.12] * 2 + [top], color=PALETTE["muted"])
        axes.annotate(
            f"critical difference {found.critical_difference:.2f}",
            (1, top),
            xytext=(0, 4),
            textcoords="offset points",
            color=PALETTE["muted"],
        )
        right = edge + 0.13 * max(len(found.cliques) - 1, 0) * max(1, count / 4)
        axes.set_xlim(0.85, right + 0.15)
        axes.set_ylim(count - 0.5, -1.5)
        axes.set_xticks(range(1, count + 1))
        axes.set_yticks(rows, [wrapped(name) for name in found.systems])
        axes.set_xlabel("mean rank, 1 is best")
        axes.grid(axis="y", visible=False)
        return finish()


def by_class(values: Mapping[str, Sequence[float]], classes: Sequence[str], *, label: str) -> str:
    """Draw the mean of each system in each class of cases, joined by a line per system.

    Args:
        values: system -> one value per class, NaN where there is none; at most six.
        classes: names of the classes, from left to right.
        label: of the vertical axis.
    """
    with panel(f"classes {label}", height=_below_legend(list(values))) as (axes, finish):
        width = 0.09
        for number, (name, row) in enumerate(values.items()):
            places = np.arange(len(classes)) + width * (number - (len(values) - 1) / 2)
            colour, marker = _look(number)
            axes.plot(places, row, color=colour, marker=marker, markersize=5, linewidth=1.2, label=name)
        axes.set_xticks(range(len(classes)), list(classes))
        axes.set_xlim(-0.5, len(classes) - 0.5)
        axes.set_ylabel(label)
        axes.margins(y=0.1)
        axes.grid(axis="x", visible=False)
        if len(values) > 1:
            legend(axes, columns=legend_columns(values))
        return finish()


def score_against_cost(points: Sequence[Cost], *, xlabel: str, ylabel: str) -> str:
    """Draw one point per system with its interval over a logarithmic cost, a legend for the names.

    Args:
        points: up to 36, each with its own pair of colour and shape.
        xlabel: of the horizontal axis.
        ylabel: of the vertical axis.
    """
    names = [point.name for point in points]
    with panel(f"cost {xlabel}", height=_below_legend(names)) as (axes, finish):
        axes.set_xscale("log")
        for number, point in enumerate(points):
            colour, marker = _look(number)
            low, high = point.score.low, point.score.high
            if low is not None and high is not None:
                axes.plot([point.cost] * 2, [low, high], color=colour, linewidth=1.5, alpha=0.55)
            axes.plot(
                [point.cost],
                [point.score.mean],
                color=colour,
                marker=marker,
                markersize=6.5,
                linestyle="none",
                label=point.name,
            )
        costs = [point.cost for point in points]
        axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
        label_decades(axes, max(costs) / min(costs))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.margins(y=0.12)
        legend(axes, columns=legend_columns(names))
        return finish()


def wrapped(name: str) -> str:
    """Break a long name into lines that fit beside an axis, at most three; the rest becomes "…"."""
    lines = textwrap.wrap(name, _NAME, break_on_hyphens=True) or [name]
    return "\n".join(lines[:3]) + ("…" if len(lines) > 3 else "")


def _look(number: int) -> tuple[str, str]:
    """Colour and shape of a series; after six the colours come again with other shapes."""
    return SERIES[number % len(SERIES)], MARKERS[(number + number // len(SERIES)) % len(MARKERS)]


def _below_legend(names: Sequence[str]) -> float:
    """Height in inches of a panel whose legend stands above the axes."""
    return 2.6 + 0.17 * math.ceil(len(names) / legend_columns(names))
