"""The part of a study's report that is about one data set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from delineate.checks import InputError
from delineate.metrics import metric_of
from delineate.study import section_charts, study_tables
from delineate.study.page import Chart, number
from delineate.study.sizes import SizeClass, size_classes
from delineate.study.statistics import rank_stability
from delineate.study.study_costs import SystemCost
from delineate.study.study_pictures import Gallery, OpenRun, galleries
from delineate.study.study_results import StudyResults
from delineate.study.tables import Table

_OVERLAP = ("dice", "iou")


@dataclass(frozen=True)
class DataSection:
    """One data set in the report."""

    name: str
    anchor: str
    """Id of the section."""
    description: str
    """Reader and protocol."""
    cases: int
    groups: int | None
    """Patients, videos or lesions, where they are known."""
    empties: Sequence[str]
    """Number of empty references, and of empty predictions by system."""
    verdict: str
    """Who is best by the first compared score, and who ties, a sentence."""
    scores: Table
    all_scores: Table
    comparisons: Table | None
    ranks: Table | None
    figures: Sequence[section_charts.ScoreCharts]
    sizes: Table | None
    size_charts: Sequence[Chart]
    reliability: Sequence[Chart]
    galleries: Sequence[Gallery]
    picture_note: str
    """Why there are no pictures, or ""."""
    costs: Table | None
    cost_charts: Sequence[Chart]

    @property
    def charts(self) -> list[Chart]:
        """All charts, to be written as files."""
        of_scores = [chart for part in self.figures for chart in part.charts]
        return [*of_scores, *self.size_charts, *self.reliability, *self.cost_charts]

    @property
    def tables(self) -> list[Table]:
        """All tables, to be written as files."""
        some = (self.scores, self.all_scores, self.comparisons, self.ranks, self.sizes, self.costs)
        return [table for table in some if table is not None and table.rows]


def data_section(
    study: StudyResults,
    data: str,
    *,
    unit: str,
    costs: Sequence[SystemCost],
    opener: Callable[[Path], OpenRun] | None,
) -> DataSection:
    """Put together what the report says about one data set.

    Args:
        study: what the study left.
        data: name of the data entry.
        unit: of distances: "px", "mm" or "px or mm".
        costs: of all systems.
        opener: loads a run for the pictures; None for none.
    """
    tables = study.tables(data)
    first = next(iter(tables.values()), [pd.DataFrame()])[0]
    scores = study.compared(data)
    overlap = next((name for name in _OVERLAP if name in first), None)
    classes = size_classes(first) if overlap else ()
    by_case = study.per_case(data, overlap) if overlap else pd.DataFrame()
    pictures, note = _pictures(study, data, overlap, classes, opener)
    entry = next(entry for entry in study.study.data if entry.name == data)
    groups = first["group"][first["group"] != ""].nunique() if "group" in first else 0
    return DataSection(
        name=data,
        anchor=f"data-{study.data.index(data) + 1}",
        description=f"reader {entry.dataset}" + (f", protocol {entry.protocol}" if entry.protocol else ""),
        cases=len(first),
        groups=groups or None,
        empties=_empties(tables),
        verdict=verdict_sentence(study, data, scores[0]) if scores else "No compared score was measured.",
        scores=study_tables.data_table(study, data, unit),
        all_scores=study_tables.all_scores_table(study, data, unit),
        comparisons=study_tables.comparison_table(study, data),
        ranks=_ranks(study, data, scores[0]) if scores else None,
        figures=[section_charts.score_charts(study, data, score, unit) for score in scores],
        sizes=study_tables.size_table(data, overlap, classes, by_case) if overlap and classes else None,
        size_charts=section_charts.size_charts(data, overlap, classes, by_case)
        if overlap and len(classes) > 1
        else [],
        reliability=[*section_charts.label_charts(study, data), *section_charts.pixel_charts(study, data)],
        galleries=pictures,
        picture_note=note,
        costs=study_tables.cost_table(study, costs, data) if any(c.data == data for c in costs) else None,
        cost_charts=section_charts.cost_charts(study, data, scores[0], costs) if scores else [],
    )


def verdict_sentence(study: StudyResults, data: str, score: str) -> str:
    """Say who is best and who ties: "m2snet is best by dice: 0.812 (0.790 – 0.830); tie: chnet."."""
    found = {s: r for s in study.systems if (r := study.result(data, score, s)) is not None}
    found = {system: result for system, result in found.items() if not np.isnan(result.mean)}
    if not found:
        return f"No system has the score {score}."
    metric = metric_of(score)
    sign = -1 if metric is not None and metric.better == "up" else 1
    best = min(found, key=lambda system: sign * found[system].mean)
    result = found[best]
    unit = "" if metric is None else metric.unit
    interval = ""
    if result.low is not None and result.high is not None:
        interval = f" ({number(result.low, unit)} – {number(result.high, unit)})"
    others = {s: study.verdict(data, score, s, best) for s in found if s != best}
    parts = []
    ties = [system for system, verdict in others.items() if verdict == "tie"]
    parts += [f"a tie with {', '.join(ties)}"] if ties else []
    worse = [system for system, verdict in others.items() if verdict == "worse"]
    parts += [f"better than {', '.join(worse)}"] if worse else []
    unknown = [system for system, verdict in others.items() if verdict is None]
    parts += [f"not compared with {', '.join(unknown)}"] if unknown else []
    said = f"; {'; '.join(parts)}" if parts else ""
    return f"{best} has the best mean {score}: {number(result.mean, unit)}{interval}{said}."


def _pictures(
    study: StudyResults,
    data: str,
    score: str | None,
    classes: Sequence[SizeClass],
    opener: Callable[[Path], OpenRun] | None,
) -> tuple[list[Gallery], str]:
    if score is None or opener is None:
        return [], ""
    try:
        return galleries(study, data, score, classes, opener), ""
    except (InputError, OSError) as error:  # the numbers stand without the pictures
        return [], f"Pictures are left out: {error}"


def _empties(tables: Mapping[str, Sequence[pd.DataFrame]]) -> list[str]:
    """Count empty references, and empty predictions of each system in each repetition."""
    first = next(iter(tables.values()), [pd.DataFrame()])[0]
    said = []
    if "reference_pixels" in first:
        said.append(f"Empty references: {int((first['reference_pixels'] == 0).sum())}")
    counts = {
        system: " / ".join(str(int((part["predicted_pixels"] == 0).sum())) for part in parts)
        for system, parts in tables.items()
        if all("predicted_pixels" in part for part in parts)
    }
    listed = ", ".join(f"{system} {numbers}" for system, numbers in counts.items())
    return [*said, f"empty predictions by repetition: {listed}"] if counts else said


def _ranks(study: StudyResults, data: str, score: str) -> Table | None:
    tables = study.tables(data)
    if len(tables) < 2:
        return None
    try:
        found = rank_stability(tables, score, threshold=study.threshold(data))
    except InputError:  # the table of differences says why
        return None
    return study_tables.rank_table(data, score, found)
