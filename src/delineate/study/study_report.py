"""The report of a study: one HTML file that needs nothing else, with its tables and figures as files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from delineate.checks import InputError
from delineate.data.readers import index
from delineate.files import write_text
from delineate.study.page import render
from delineate.study.study_costs import system_costs
from delineate.study.study_pictures import OpenRun, open_run
from delineate.study.study_results import Planned, StudyResults
from delineate.study.study_sections import DataSection, data_section
from delineate.study.study_tables import overview_table, published_table
from delineate.study.tables import Table, write_tables


@dataclass(frozen=True)
class RunLine:
    """One run in the list of runs."""

    key: str
    state: str
    reason: str
    """Why it failed, or ""."""
    score: float | None
    """Mean of the first compared score."""
    epochs: str
    seconds: float | None
    device: str
    fingerprint: str
    """First digits of the hash of its data."""


def write_study_report(
    folder: Path,
    *,
    pictures: bool = True,
    latency: bool = False,
    progress: Callable[[int, int], None] | None = None,
    opener: Callable[[Path], OpenRun] = open_run,
) -> Path:
    """Write `report.html` of a study, its tables under `tables/` and its charts under `figures/`.

    The report is made of what is done: systems and repetitions that failed are named and left out.

    Args:
        folder: of the study, after at least one run.
        pictures: predict the hard cases again and draw them; needs the models and the data.
        latency: measure the time of a forward pass of each system too.
        progress: called with (done, all) after each data set.
        opener: loads a run for its pictures.

    Returns:
        The path of the report.

    Raises:
        InputError: a file of the study is missing or damaged, or no run is done.
    """
    study = StudyResults(folder)
    if not study.data:
        raise InputError(f"No run of the study in {folder} is done; there is nothing to report.")
    units = {data: _unit(study, data) for data in study.data}
    costs = system_costs(study, latency=latency)
    sections = []
    for done, data in enumerate(study.data, 1):
        sections.append(
            data_section(study, data, unit=units[data], costs=costs, opener=opener if pictures else None)
        )
        if progress is not None:
            progress(done, len(study.data))
    overview, published = overview_table(study, units), published_table(study)
    tables = [overview, *(table for part in sections for table in part.tables)]
    tables += [published] if published is not None else []
    write_tables(folder / "tables", tables)
    for chart in (chart for part in sections for chart in part.charts):
        write_text(folder / "figures" / f"{chart.name}.svg", chart.svg)
    path = folder / "report.html"
    write_text(path, render("study.html", _page(study, sections, overview, published)))
    return path


def _page(
    study: StudyResults, sections: list[DataSection], overview: Table, published: Table | None
) -> dict[str, Any]:
    runs = [_line(study, run) for run in study.plan]
    states = [line.state for line in runs]
    return {
        "study": study.study,
        "study_text": (study.root / "study.yaml").read_text(encoding="utf-8"),
        "record": study.record,
        "version": study.record.environment.delineate,
        "sections": sections,
        "overview": overview,
        "published": published,
        "runs": runs,
        "done": states.count("done"),
        "failed": [line for line in runs if line.state == "failed"],
        "unfinished": len(states) - states.count("done") - states.count("failed"),
        "primary": study.study.compare.scores[0] if study.study.compare.scores else "",
    }


def _line(study: StudyResults, run: Planned) -> RunLine:
    state = study.record.runs.get(run.key)
    record = study.record_of(run)
    score = None
    compared = study.compared(run.data)
    if study.scored(run) and compared and compared[0] in study.scores:
        mean = study.rows(run).get(compared[0], pd.Series(dtype=float)).mean()
        score = None if pd.isna(mean) else float(mean)
    return RunLine(
        key=run.key,
        state="missing" if state is None else state.state,
        reason=(state.reason or "") if state is not None else "",
        score=score,
        epochs="" if record is None else f"{record.selected_epoch} of {record.epochs}",
        seconds=None if state is None else state.wall_seconds,
        device="" if record is None else record.environment.device,
        fingerprint="" if record is None else record.data_fingerprint[:12],
    )


def _unit(study: StudyResults, data: str) -> str:
    """Unit of distances on a data set: as `evaluate` chose it, from its cases; both when they are away."""
    for run in study.plan:
        record = study.record_of(run) if run.data == data and study.scored(run) else None
        if record is None:
            continue
        try:
            cases = index(Path(record.data_root), record.dataset, partial=record.gate_overridden)
        except (InputError, OSError):
            return "px or mm"
        tested = set(study.rows(run)["image_id"])
        return "mm" if all(case.spacing is not None for case in cases if case.id in tested) else "px"
    return "px or mm"
