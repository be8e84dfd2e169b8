"""The tables of a study's report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from delineate.metrics import metric_of
from delineate.study.published import beside_published
from delineate.study.sizes import SizeClass
from delineate.study.statistics import RankStability
from delineate.study.study_costs import SystemCost
from delineate.study.study_results import StudyResults
from delineate.study.tables import Cell, Column, Mark, Row, Table

_INTERVALS = (
    "Mean over repetitions ± standard deviation over runs, with the 95 % interval over cases and repetitions."
)


def overview_table(study: StudyResults, units: Mapping[str, str]) -> Table:
    """One score of every system on every data set: the first of `compare.scores` that the data set has."""
    chosen = [(data, study.compared(data)[0]) for data in study.data if study.compared(data)]
    columns = tuple(_column(score, units[data], name=f"{data}: {score}") for data, score in chosen)
    rows = tuple(
        Row((system,), tuple(score_cell(study, data, score, system) for data, score in chosen))
        for system in study.systems
    )
    return Table("overview", "Every system on every data set", ("system",), columns, rows, (_INTERVALS,))


def data_table(study: StudyResults, data: str, unit: str) -> Table:
    """The compared scores of all systems on one data set."""
    scores = study.compared(data)
    rows = tuple(
        Row((system,), tuple(score_cell(study, data, score, system) for score in scores))
        for system in study.systems
        if any(study.result(data, score, system) for score in scores)
    )
    columns = tuple(_column(score, unit) for score in scores)
    return Table(f"{data}-scores", f"Compared scores on {data}", ("system",), columns, rows, (_INTERVALS,))


def all_scores_table(study: StudyResults, data: str, unit: str) -> Table:
    """Every score in a row, every system in a column; what was not compared carries no mark."""
    systems = [s for s in study.systems if any(study.result(data, name, s) for name in study.scores_of(data))]
    rows, arrows = [], {"up": " ↑", "down": " ↓", "none": ""}
    for score in study.scores_of(data):
        metric = metric_of(score)
        if metric is None:
            continue
        shown = unit if metric.unit == "px or mm" else metric.unit
        cells = tuple(replace(score_cell(study, data, score, system), unit=shown) for system in systems)
        rows.append(Row((f"{score}{arrows[metric.better]}", shown), cells))
    columns = tuple(Column(system) for system in systems)
    return Table(
        f"{data}-all", f"All scores on {data}", ("score", "unit"), columns, tuple(rows), (_INTERVALS,)
    )


def comparison_table(study: StudyResults, data: str) -> Table | None:
    """Every tested pair on one data set; None when nothing was compared."""
    chosen = study.comparisons[study.comparisons["data"] == data]
    if chosen.empty:
        return None
    columns = (
        Column("verdict", style="text"),
        Column("difference", style="difference"),
        Column("p (Holm)", style="p"),
        Column("test", style="text"),
        Column("p of t-test (Holm)", style="p"),
        Column("rank-biserial", style="difference"),
        Column("d_z", style="difference"),
        Column("cases", style="count"),
    )
    rows = []
    for row in chosen.to_dict("records"):
        said = {"better": f"{row['first']} better", "worse": f"{row['second']} better", "tie": "tie"}
        cells = (
            Cell(said[row["verdict"]]),
            Cell(_float(row["difference"]), low=_float(row["low"]), high=_float(row["high"])),
            Cell(_float(row["p_holm"])),
            Cell(str(row["test"])),
            Cell(_float(row["t_p_holm"])),
            Cell(_float(row["rank_biserial"])),
            Cell(_float(row["cohens_dz"])),
            Cell(_float(row["n"])),
        )
        rows.append(Row((str(row["score"]), f"{row['first']}, {row['second']}"), cells))
    alpha = study.study.compare.alpha
    notes = (
        "Difference: first minus second, with its 95 % interval.",
        f"p-values are corrected over all pairs, scores and data sets together; level {alpha:g}.",
        "A difference is a tie unless its interval leaves out 0, its corrected p-value is below the level "
        "and the effect points the same way.",
    )
    return Table(
        f"{data}-comparisons",
        f"Differences on {data}",
        ("score", "first, second"),
        columns,
        tuple(rows),
        notes,
    )


def rank_table(data: str, score: str, found: RankStability) -> Table:
    """Probability of each rank when cases and repetitions are drawn again."""
    columns = tuple(Column(f"rank {place}") for place in range(1, len(found.systems) + 1))
    rows = tuple(
        Row((system,), tuple(Cell(share) for share in shares))
        for system, shares in zip(found.systems, found.probability, strict=True)
    )
    note = f"Share of {found.resamples} resamples of cases and repetitions in which the system has the rank."
    return Table(
        f"{data}-ranks", f"Stability of the ranks by {score} on {data}", ("system",), columns, rows, (note,)
    )


def size_table(data: str, score: str, classes: Sequence[SizeClass], cases: pd.DataFrame) -> Table:
    """Mean score of each system on small, medium and large references.

    Args:
        data: name of the data set.
        score: name of the score.
        classes: thirds of the cases.
        cases: index `image_id`, one column per system.
    """
    better = _better(score)
    columns = tuple(Column(f"{part.name} ({part.range}, {len(part.ids)} cases)", better) for part in classes)
    means = {part.name: cases.loc[[key for key in part.ids if key in cases.index]].mean() for part in classes}
    rows = tuple(
        Row((str(system),), tuple(Cell(_float(means[part.name][system])) for part in classes))
        for system in cases.columns
    )
    note = "A third of the cases each, by the size of the reference in % of the image; mean over repetitions."
    return Table(f"{data}-sizes", f"{score} by size on {data}", ("system",), columns, rows, (note,))


def cost_table(study: StudyResults, costs: Sequence[SystemCost], data: str) -> Table:
    """What each system costs on one data set's classes."""
    timed = any(cost.milliseconds is not None for cost in costs)
    columns = [Column("weights", style="large"), Column("multiply-adds", style="large")]
    columns += [Column("latency, ms", style="number")] if timed else []
    rows, sizes = [], set()
    for cost in (cost for cost in costs if cost.data == data):
        cells = [Cell(float(cost.parameters)), Cell(float(cost.macs))]
        rows.append(Row((cost.system,), tuple(cells + ([Cell(cost.milliseconds)] if timed else []))))
        sizes.add(f"{cost.height} x {cost.width}")
    notes = [f"One forward pass of one image of {' or '.join(sorted(sizes))} pixels."]
    devices = sorted({cost.device for cost in costs if cost.milliseconds is not None})
    notes += [f"Latency: median, batch of one, float32, on {', '.join(devices)}."] if devices else []
    return Table(f"{data}-costs", f"Costs on {data}", ("system",), tuple(columns), tuple(rows), tuple(notes))


def published_table(study: StudyResults) -> Table | None:
    """Published values beside measured ones, where study.yaml names them; None where it names none."""
    rows: list[Row] = []
    for wanted in study.study.published:
        summary = {
            score: {"mean": found.mean, "low": found.low, "high": found.high, "n": found.cases}
            for score in study.scores_of(wanted.data)
            if (found := study.result(wanted.data, score, wanted.system)) is not None
            and not np.isnan(found.mean)
        }
        lines = beside_published(
            summary, wanted.paper, wanted.table, dataset=wanted.dataset, method=wanted.method
        )
        for line in lines.to_dict("records"):
            inside = {True: "yes", False: "no"}.get(line["inside"], "–")
            cells = (
                Cell(_float(line["published"]), sd=_float(line["published_sd"])),
                Cell(str(line["score"]) or "no score of ours"),
                Cell(_float(line["measured"]), low=_float(line["low"]), high=_float(line["high"])),
                Cell(_float(line["gap"])),
                Cell(inside),
            )
            source = f"{wanted.paper} table {wanted.table}: {wanted.method}, {wanted.dataset}"
            rows.append(Row((wanted.data, wanted.system, source, str(line["metric"])), cells))
    if not rows:
        return None
    columns = (
        Column("published"),
        Column("our score", style="text"),
        Column("measured"),
        Column("gap", style="difference"),
        Column("inside the interval", style="text"),
    )
    notes = (
        "A paper's word may mean several rules; each candidate is a line. The gap is measured minus "
        "published, as fractions.",
        "Another split, another training budget or fewer repetitions than the paper's make gaps too.",
    )
    heads = ("data", "system", "published as", "word")
    return Table("published", "Published and measured", heads, columns, tuple(rows), notes)


def score_cell(study: StudyResults, data: str, score: str, system: str) -> Cell:
    """One score with its spread, its interval, and whether it is the best or ties with the best."""
    found = study.result(data, score, system)
    if found is None or np.isnan(found.mean):
        return Cell(None)
    return Cell(found.mean, found.sd, found.low, found.high, _mark(study, data, score, system))


def _mark(study: StudyResults, data: str, score: str, system: str) -> Mark:
    """Only compared scores are marked: a best one that nobody tested would say too much."""
    if score not in study.study.compare.scores:
        return ""
    means = {s: r.mean for s in study.systems if (r := study.result(data, score, s)) is not None}
    means = {name: mean for name, mean in means.items() if not np.isnan(mean)}
    better = _better(score)
    if len(means) < 2 or better == "none":
        return ""
    best = max(means, key=lambda name: means[name] if better == "up" else -means[name])
    if system == best:
        return "best"
    return "tie" if study.verdict(data, score, system, best) == "tie" else ""


def _better(score: str) -> Literal["up", "down", "none"]:
    metric = metric_of(score)
    return "none" if metric is None else metric.better


def _column(score: str, unit: str, name: str | None = None) -> Column:
    metric = metric_of(score)
    length = metric is not None and metric.unit == "px or mm"
    return Column(
        name or score, _better(score), unit if length else metric.unit if metric is not None else ""
    )


def _float(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
