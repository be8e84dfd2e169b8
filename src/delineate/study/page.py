"""What the reports of a run and of a study share: the page around them, charts with captions, formats."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from delineate.metrics import METRICS, Metric
from delineate.study import charts

KINDS: Mapping[str, str] = {
    "overlap": "Overlap, mean over images",
    "surface": "Distance of the outlines, mean over images",
    "saliency": "Agreement of the probability map, mean over images",
    "toolbox": "As published scoring code computes it",
    "pixel": "Probabilities of the pixels, mean over images",
    "set": "From the pixels of all images together",
    "pooled": "Overlap, pixels of all images pooled",
    "batch": "Overlap, pixels of each batch pooled",
    "label": "Labels",
}
"""Kind of a metric -> heading of its scores, in the order of a report."""
ARROWS: Mapping[str, str] = {"up": "↑", "down": "↓", "none": ""}
DIRECTIONS: Mapping[str, str] = {"up": "higher is better", "down": "lower is better", "none": ""}


@dataclass(frozen=True)
class Chart:
    """A chart and the words beneath it."""

    name: str
    """Of its file; unique on a page."""
    svg: str
    caption: str

    @property
    def markup(self) -> Markup:
        """The chart as a part of the page; its text was escaped when it was drawn."""
        return Markup(charts.inline(self.svg, f"{self.name}-"))


@dataclass(frozen=True)
class Heading:
    """A score as the head of a row or column: its name, and what the name means."""

    name: str
    metric: Metric
    unit: str

    @property
    def arrow(self) -> str:
        """Which direction is better, as a sign."""
        return ARROWS[self.metric.better]

    @property
    def direction(self) -> str:
        """Which direction is better, in words."""
        return DIRECTIONS[self.metric.better]


def render(template: Literal["run.html", "study.html"], page: Mapping[str, Any]) -> str:
    """Fill in a template of `templates/`; everything but `Markup` is escaped.

    Raises:
        jinja2.UndefinedError: the template asks for something that `page` lacks.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # slow to import

    environment = Environment(
        loader=PackageLoader("delineate.study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["duration"] = duration
    environment.filters["moment"] = moment
    environment.filters["large"] = large
    environment.filters["probability"] = probability
    return environment.get_template(template).render(page).strip() + "\n"


def number(value: float | None, unit: str = "") -> str:
    """Format a score for people: three decimals for a plain number, one for a length; "–" when undefined."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.1f}" if unit and unit != "cases" else f"{value:.0f}" if unit else f"{value:.3f}"


def probability(p: float | None) -> str:
    """Format a p-value: "< 0.001" or three decimals; "–" when undefined."""
    if p is None or not np.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def large(value: float | None) -> str:
    """Format a count for people: "950", "31.4 k", "28.6 M", "12.0 G"; "–" when undefined."""
    if value is None or not np.isfinite(value):
        return "–"
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if round(value / size, 1) >= 1:
            return f"{value / size:.1f} {sign}"
    return f"{value:.0f}"


def moment(time: str) -> str:
    """Format a time of a run record for people: "2026-01-31 10:00:00 UTC"."""
    return time.replace("T", " ").replace("+00:00", " UTC")


def duration(seconds: float) -> str:
    """Format a time span for people, for example "3 min 20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def unit_of(metric: Metric, spaced: set[bool]) -> str:
    """Return the unit of a score: distances are in mm when all cases have a spacing, in px when none has."""
    if metric.unit != "px or mm":
        return metric.unit
    return "px or mm" if len(spaced) != 1 else "mm" if True in spaced else "px"


def metric_order(name: str) -> int:
    """Position of a score's rule in `METRICS`, by which tables are sorted; unknown names come last."""
    rule = name.split("[", 1)[0].split("@", 1)[0]
    return _ORDER.get(rule, len(_ORDER))


_ORDER = {name: place for place, name in enumerate(METRICS)}
