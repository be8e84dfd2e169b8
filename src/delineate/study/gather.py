"""Put the runs of a study together: all scores, their means with intervals, and the differences.

 - scores.csv: one row per run and case, as the runs measured them.
 - results.csv: one row per system, data set and score. A repetition is the training of one seed; where a
   protocol has folds, the test cases of all folds of that seed together, each case once. `mean` is the mean
   over repetitions, `low` and `high` the 95 % interval over cases (groups whole) and repetitions together,
   `sd` the standard deviation between the scores of single runs (seeds and folds), as papers print it.
 - comparisons.csv: one row per pair of systems, data set and score, with the columns of
   `statistics.PairedDifference`. All its p-values are one family: `p_holm` is corrected for every row of the
   file.

A repetition with a missing fold enters none of the means, because it lacks cases that the others have.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from delineate.checks import InputError
from delineate.files import atomic_path
from delineate.metrics import metric_of
from delineate.study.plan import PlannedRun, Study
from delineate.study.statistics import (
    Comparison,
    PairedDifference,
    compare,
    correct_together,
    join_folds,
    read_scores,
    resampled,
    spread,
)
from delineate.study.study_state import StudyPaths, read_done

RESULT_COLUMNS = (
    "system", "data", "score", "better", "unit", "mean", "sd", "low", "high", "n", "runs", "note",
)  # fmt: skip
"""Of results.csv: `n` cases of a repetition, `runs` trainings."""
COMPARISON_COLUMNS = ("data", *(field.name for field in fields(PairedDifference)))
"""Of comparisons.csv."""
_HEAD = ("system", "data", "fold", "seed", "split", "image_id", "group", "label")
_RESAMPLES = 2000
_TAIL = 2.5  # percent on either side


@dataclass(frozen=True)
class Gathered:
    """What a study found."""

    scores: pd.DataFrame
    """Rows of scores.csv; empty when no run is done."""
    results: pd.DataFrame
    """Rows of results.csv."""
    comparisons: pd.DataFrame
    """Rows of comparisons.csv."""
    warnings: tuple[str, ...]
    """What limits them, in sentences."""


@dataclass(frozen=True)
class _Cell:
    """One system on one data set."""

    tables: list[pd.DataFrame]
    """One per whole repetition."""
    summaries: list[dict[str, dict[str, float | int | None]]]
    """One per run of these repetitions."""
    threshold: float


def gather(study: Study, folder: StudyPaths, runs: Sequence[PlannedRun]) -> Gathered:
    """Read the done runs and write scores.csv, results.csv and comparisons.csv.

    Args:
        study: from `load_study`.
        folder: of the study.
        runs: the whole plan.

    Raises:
        InputError: a run's table or record is damaged.
    """
    split = study.evaluate.split
    tables = {run.key: _table(folder, run, split) for run in runs if read_done(folder, run.key, split)}
    cells, warnings = _cells(folder, runs, tables, split)
    scores = _scores(runs, tables)
    results = _results(cells)
    comparisons, said = _comparisons(study, cells)
    _write(folder.scores, scores)
    _write(folder.results, results)
    _write(folder.comparisons, comparisons)
    return Gathered(scores, results, comparisons, (*warnings, *said))


def _table(folder: StudyPaths, run: PlannedRun, split: str) -> pd.DataFrame:
    path = folder.run(run.key).root / "scores.csv"
    try:
        table = pd.read_csv(path, dtype={"image_id": str, "group": str, "split": str})
        return table[table["split"] == split].reset_index(drop=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"Cannot read the scores in {path}; evaluate the run again.") from error


def _summary(folder: StudyPaths, run: PlannedRun, split: str) -> dict[str, dict[str, float | int | None]]:
    path = folder.run(run.key).root / "summary.json"
    try:
        content: dict[str, dict[str, float | int | None]] = json.loads(path.read_text("utf-8"))[split]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"Cannot read the summary {path}; evaluate the run again.") from error
    return content


def _scores(runs: Sequence[PlannedRun], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    parts = []
    for run in runs:
        if run.key in tables:
            head = {"system": run.system, "data": run.data.name, "fold": run.fold, "seed": run.seed}
            table = tables[run.key]
            parts.append(pd.concat([pd.DataFrame(head, index=table.index), table], axis=1))
    if not parts:
        return pd.DataFrame(columns=list(_HEAD))
    whole = pd.concat(parts, ignore_index=True).astype({"fold": "Int64"})
    if "label" in whole:
        whole = whole.astype({"label": "Int64"})  # whole numbers, though a system may have no labels
    names = [str(name) for name in whole]
    first = [name for name in _HEAD if name in names]
    last = [name for name in names if name.startswith("label_probability[")]
    return whole[[*first, *(name for name in names if name not in first and name not in last), *last]]


def _cells(
    folder: StudyPaths, runs: Sequence[PlannedRun], tables: Mapping[str, pd.DataFrame], split: str
) -> tuple[dict[tuple[str, str], _Cell], list[str]]:
    """Gather whole repetitions; a repetition with a missing fold is left out, and said so."""
    planned: dict[tuple[str, str], dict[int, list[PlannedRun]]] = {}
    for run in runs:
        planned.setdefault((run.system, run.data.name), {}).setdefault(run.seed, []).append(run)
    cells: dict[tuple[str, str], _Cell] = {}
    warnings: list[str] = []
    for (system, data), seeds in planned.items():
        whole = {s: folds for s, folds in seeds.items() if all(run.key in tables for run in folds)}
        lacking = len(seeds) - len(whole)
        if lacking:
            warnings.append(
                f"{system} on {data}: {lacking} of {len(seeds)} repetition(s) lack a run and enter no mean."
            )
        if whole:
            used = [run for folds in whole.values() for run in folds]
            cells[system, data] = _Cell(
                [join_folds([tables[run.key] for run in folds]) for folds in whole.values()],
                [_summary(folder, run, split) for run in used],
                used[0].recipe.evaluation.threshold,
            )
    return cells, warnings


def _results(cells: Mapping[tuple[str, str], _Cell]) -> pd.DataFrame:
    rows = []
    for (system, data), cell in cells.items():
        names = dict.fromkeys(name for summary in cell.summaries for name in summary)
        for name in names:
            metric = metric_of(name)
            if metric is None or metric.kind == "total":
                continue
            head = {
                "system": system,
                "data": data,
                "score": name,
                "better": metric.better,
                "unit": metric.unit,
            }
            rows.append(head | _result(cell, name, bool(metric.batch) or metric.histograms is not None))
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS)).astype({"n": "Int64", "runs": "Int64"})


def _result(cell: _Cell, name: str, set_only: bool) -> dict[str, Any]:
    """Mean, spread and interval of one score; of a score that only a set has, from the runs' summaries."""
    own = spread([summary.get(name, {}).get("mean") for summary in cell.summaries])
    cases = sum(int(summary.get(name, {}).get("n") or 0) for summary in cell.summaries) // len(cell.tables)
    row: dict[str, Any] = {
        "mean": own.mean, "sd": own.sd, "low": None, "high": None, "n": cases, "runs": own.n,
        "note": own.warning,
    }  # fmt: skip
    if set_only or own.mean is None:
        if len(cell.summaries) == 1:
            row |= {end: cell.summaries[0].get(name, {}).get(end) for end in ("low", "high")}
        return row
    try:
        scores = read_scores({"": cell.tables}, name, better="up", threshold=cell.threshold)
        drawn = resampled(scores, _RESAMPLES, seed=0)[0]
    except InputError as error:
        return row | {"note": f"{row['note']} No interval: {error}".strip()}
    row["mean"] = scores.means[0]
    drawn = drawn[~np.isnan(drawn)]
    if scores.blocks > 1 and 2 * len(drawn) >= _RESAMPLES:
        row["low"], row["high"] = (float(end) for end in np.percentile(drawn, [_TAIL, 100 - _TAIL]))
    return row


def _comparisons(study: Study, cells: Mapping[tuple[str, str], _Cell]) -> tuple[pd.DataFrame, list[str]]:
    found: list[tuple[str, Comparison]] = []
    warnings: list[str] = []
    settings = study.compare
    for data in (entry.name for entry in study.data):
        for score in settings.scores:
            there = {
                system: cell
                for (system, on), cell in cells.items()
                if on == data and any(_has(summary, score) for summary in cell.summaries)
            }
            if len(there) < 2 or (settings.baseline is not None and settings.baseline not in there):
                if len(study.systems) > 1:
                    warnings.append(f"{score} on {data}: too few systems have it; nothing is compared.")
                continue
            try:
                one = compare(
                    {system: cell.tables for system, cell in there.items()},
                    score,
                    against=settings.baseline,
                    alpha=settings.alpha,
                    resamples=_RESAMPLES,
                    threshold=next(iter(there.values())).threshold,
                )
            except InputError as error:
                warnings.append(f"{score} on {data} is not compared: {error}")
                continue
            found.append((data, one))
            warnings += [f"{score} on {data}: {warning}" for warning in one.warnings]
    rows = [
        {"data": data} | asdict(pair)
        for (data, _), one in zip(found, correct_together([one for _, one in found]), strict=True)
        for pair in one.pairs
    ]
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS)), warnings


def _has(summary: Mapping[str, Mapping[str, float | int | None]], score: str) -> bool:
    return summary.get(score, {}).get("mean") is not None


def _write(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")
