"""The charts of a study's report that are about one data set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import pandas as pd

from delineate.checks import InputError
from delineate.metrics import metric_of
from delineate.metrics.calibration import Calibration
from delineate.study import charts, study_charts
from delineate.study.page import Chart
from delineate.study.run_charts import axes_of_reliability, label_reliability, pixel_histograms
from delineate.study.sizes import SizeClass
from delineate.study.statistics import block_means, critical_difference, read_scores
from delineate.study.study_costs import SystemCost
from delineate.study.study_results import StudyResults

_PAIRS = 6
_SERIES = 6  # systems that keep their own colour in one chart
T = TypeVar("T")


@dataclass(frozen=True)
class ScoreCharts:
    """The charts of one compared score."""

    score: str
    charts: Sequence[Chart]
    notes: Sequence[str]
    """What could not be drawn, in sentences."""


def score_charts(study: StudyResults, data: str, score: str, unit: str) -> ScoreCharts:
    """Draw one compared score: means, distributions of the cases, ranks, and pairs of systems."""
    metric = metric_of(score)
    length = metric is not None and metric.unit == "px or mm"
    label = f"{score}, {unit}" if length else score
    rows = [row for system in study.systems if (row := study.estimate(data, score, system)) is not None]
    found: list[Chart] = []
    notes: list[str] = []
    stem = f"{data}-{_file_name(score)}"
    if rows:
        text = "Mean with its 95 % interval over cases and repetitions; small dots: single repetitions."
        svg = study_charts.intervals(rows, label=label)
        found.append(Chart(f"{stem}-intervals", svg, f"{score} on {data}. {text}"))
    cases = study.per_case(data, score).dropna()
    if cases.shape[1] == 0 or cases.empty:
        return ScoreCharts(score, found, notes)
    bounded = metric is not None and metric.low == 0 and metric.high == 1
    values = {study_charts.wrapped(str(name)): cases[name].to_numpy() for name in cases}
    text = (
        "A dot is a case, mean over repetitions; box: quartiles, thick mark: median, thin line: 5th to 95th "
        "percentile."
    )
    svg = charts.distribution(values, label=label, unit_range=bounded)
    found.append(Chart(f"{stem}-distribution", svg, f"{score} of the cases. {text}"))
    if cases.shape[1] > 1:
        try:
            found.append(_critical(study, data, score, stem))
        except InputError as error:
            notes.append(f"The ranks by {score} are not drawn: {error}")
        found += _versus(study, data, score, cases, label, bounded, stem)
    return ScoreCharts(score, found, notes)


def _critical(study: StudyResults, data: str, score: str, stem: str) -> Chart:
    scores = read_scores(study.tables(data), score)
    found = critical_difference(block_means(scores), better=scores.better, alpha=study.study.compare.alpha)
    what = "groups" if scores.grouped else "cases"
    test = ""
    if found.friedman_p is not None:
        p = "p < 0.001" if found.friedman_p < 0.001 else f"p = {found.friedman_p:.3f}"
        test = f" Friedman's test: {p}."
    text = (
        f"Mean rank by {score} over {found.blocks} {what}; systems joined by a bar on the right are not told "
        "apart"
    )
    svg = study_charts.critical_difference(found)
    return Chart(f"{stem}-ranks", svg, f"{text} (Nemenyi, level {found.alpha:g}).{test}")


def _versus(
    study: StudyResults, data: str, score: str, cases: pd.DataFrame, label: str, bounded: bool, stem: str
) -> list[Chart]:
    """One chart for each pair of few systems, or the best one against each other one of many."""
    metric = metric_of(score)
    up = metric is None or metric.better == "up"
    order = [str(name) for name in cases.mean().sort_values(ascending=not up, kind="stable").index]
    pairs = list(combinations(order, 2))
    if len(pairs) > _PAIRS:
        pairs = [(order[0], other) for other in order[1 : _PAIRS + 1]]
    found = []
    for first, second in pairs:
        x, y = cases[second], cases[first]
        better, worse = int((y > x).sum()), int((y < x).sum())
        if not up:
            better, worse = worse, better
        equal = len(cases) - better - worse
        svg = study_charts.versus(
            x, y, xlabel=f"{label}, {second}", ylabel=f"{label}, {first}", unit_range=bounded
        )
        said = {
            "tie": "a tie",
            "better": f"{first} is better",
            "worse": f"{second} is better",
            None: "not tested",
        }
        verdict = said[study.verdict(data, score, first, second)]
        text = (
            f"{score} of each case: {first} is ahead in {better}, {second} in {worse}, equal in {equal}; "
            f"over all: {verdict}."
        )
        name = "-".join(system for system in study.systems if system in (first, second))
        found.append(Chart(f"{stem}-{name}", svg, text))
    return found


def size_charts(data: str, score: str, classes: Sequence[SizeClass], cases: pd.DataFrame) -> list[Chart]:
    """Draw the mean score of each system by size of the reference."""
    titles = [f"{part.name}\n{part.range}" for part in classes]
    means = {
        str(system): [float(cases[system].reindex(list(part.ids)).mean()) for part in classes]
        for system in cases.columns
    }
    text = f"Mean {score} by size of the reference, a third of the cases each; sizes in % of the image."
    return [
        Chart(
            f"{data}-{score}-sizes{_suffix(place)}",
            study_charts.by_class(part, titles, label=score),
            text,
        )
        for place, part in enumerate(_chunks(means))
    ]


def label_charts(study: StudyResults, data: str) -> list[Chart]:
    """Draw the calibration of the labels, all repetitions of a system together."""
    curves: dict[str, Calibration] = {}
    labels: list[str] = []
    for system, tables in study.tables(data).items():
        names = [str(name) for name in tables[0] if str(name).startswith("label_probability[")]
        own = [name.removeprefix("label_probability[").removesuffix("]") for name in names]
        found = label_reliability(pd.concat(tables, ignore_index=True), own)
        if found is not None and (not labels or own == labels):
            curves[system], labels = found, own
    text = (
        "Calibration of the labels over all repetitions; a dot is a bin of probabilities, larger with more "
        "cases."
    )
    return [
        Chart(
            f"{data}-label-reliability{_suffix(place)}",
            charts.reliability(part, **axes_of_reliability(labels)),
            text,
        )
        for place, part in enumerate(_chunks(curves))
    ]


def pixel_charts(study: StudyResults, data: str) -> list[Chart]:
    """Draw the calibration of the pixels of the first class, from each system's first run with histograms."""
    curves: dict[str, Calibration] = {}
    for system in study.systems:
        for run in study.plan:
            if (run.system, run.data) != (system, data) or not study.scored(run) or system in curves:
                continue
            found = pixel_histograms(run.run, study.study.evaluate.split)
            ids = [] if found is None else [key for key in study.rows(run)["image_id"] if key in found]
            if found is not None and ids:
                curves[system] = found.stack(ids, found.classes[0]).reliability()
    text = (
        "Calibration of the pixels in the first repetition; a dot is a bin of probabilities, larger with "
        "more pixels."
    )
    return [
        Chart(
            f"{data}-pixel-reliability{_suffix(place)}",
            charts.reliability(
                part, xlabel="predicted probability of a pixel", ylabel="share of object pixels"
            ),
            text,
        )
        for place, part in enumerate(_chunks(curves))
    ]


def cost_charts(study: StudyResults, data: str, score: str, costs: Sequence[SystemCost]) -> list[Chart]:
    """Draw a score against multiply-adds, weights and, where measured, time."""
    kinds: list[tuple[str, str, Callable[[SystemCost], float | None]]] = [
        ("macs", "multiply-adds of one image, 10⁹", lambda cost: cost.macs / 1e9),
        ("weights", "weights, 10⁶", lambda cost: cost.parameters / 1e6),
        ("latency", "latency of one image, ms", lambda cost: cost.milliseconds),
    ]
    found = []
    for name, label, read in kinds:
        points = []
        for cost in (cost for cost in costs if cost.data == data):
            value, estimate = read(cost), study.estimate(data, score, cost.system)
            if value is not None and value > 0 and estimate is not None:
                points.append(study_charts.Cost(cost.system, value, estimate))
        if points:
            svg = study_charts.score_against_cost(points, xlabel=label, ylabel=score)
            text = f"{score} on {data} against {label.split(',')[0]}; lines: 95 % intervals."
            found.append(Chart(f"{data}-cost-{name}", svg, text))
    return found


def _chunks(values: Mapping[str, T]) -> list[dict[str, T]]:
    """Divide series over charts, six in each."""
    items = list(values.items())
    return [dict(items[start : start + _SERIES]) for start in range(0, len(items), _SERIES)]


def _suffix(place: int) -> str:
    return f"-{place + 1}" if place else ""


def _file_name(score: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in score)
