"""The command that runs a study."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import AsJson

if TYPE_CHECKING:  # the command imports what it needs, so that --help stays quick
    from delineate.study.execution import Progress
    from delineate.study.plan import PlannedRun, Study


def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="What is compared, on what.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the study.")],
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Where a data entry lies, NAME=FOLDER; may be given again."),
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster.")] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Runs at a time; one, or one per GPU, by default.")
    ] = None,
    retries: Annotated[
        int, typer.Option(help="How often a run is started again whose process died without a reason.")
    ] = 1,
    cpus: Annotated[int, typer.Option("--cpus-per-run", help="Cores promised to a run; ray only.")] = 1,
    gpus: Annotated[
        float | None, typer.Option("--gpus-per-run", help="GPUs, or a share, promised to a run; ray only.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--ray-address", help="Of a Ray cluster; one is started here by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, check the data, stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run systems x data sets x folds x seeds and compare them: exit code 1 when a run failed.

    Example: delineate study STUDY.yaml --out studies/polyps --workers 2
    """
    from delineate.study.engines import EngineOptions
    from delineate.study.execution import StudyListener, check_data, execute, progress_of
    from delineate.study.plan import load_study
    from delineate.study.study_report import write_study_report
    from delineate.study.study_state import open_study

    chosen = load_study(file, _roots(data or ()))
    before = progress_of(chosen, out)
    # Before the plan is shown, so that it is not the plan of another study's folder.
    open_study(chosen, before.runs, out, resume=resume or dry_run, write=False)
    _show_plan(chosen, before, workers)
    if dry_run:
        check_data(chosen)
        if as_json:
            rows = [run.row() | {"state": before.states[run.key]} for run in before.runs]
            console.print_json({"runs": rows, "seconds": before.remaining_seconds(workers or 1)})
        return

    def on_start(run: "PlannedRun", attempt: int) -> None:
        console.say(f"{_title(run)}: " + ("starts" if attempt == 1 else f"starts again, attempt {attempt}"))

    def on_end(run: "PlannedRun", reason: str | None, seconds: float) -> None:
        if reason is None:
            console.say(f"{_title(run)}: done in {_duration(seconds)}")
        else:
            console.print_error(f"{_title(run)}: {reason}")

    with console.progress_bar("runs") as update:
        record = execute(
            chosen,
            out,
            engine=engine,
            options=EngineOptions(workers, retries, cpus, gpus, address),
            resume=resume,
            listener=StudyListener(on_start, on_end, update),
        )
    failed = {key: run.reason for key, run in record.runs.items() if run.state != "done"}
    if not as_json:
        _show_results(chosen, out)
        for warning in record.warnings:
            console.say(f"note: {warning}")
    report = None
    if len(failed) < len(record.runs):
        with console.progress_bar("writing the report") as update:
            report = str(write_study_report(out, progress=update))
    if as_json:
        content = {"out": str(out), "report": report, "failed": failed, "warnings": record.warnings}
        console.print_json(content)
    else:
        console.say(f"{len(record.runs) - len(failed)} of {len(record.runs)} runs are done: {report or out}")
        for key, reason in failed.items():
            console.print_error(f"{key}: {reason}")
    if failed:
        raise typer.Exit(1)


def _roots(given: Sequence[str]) -> dict[str, Path]:
    roots = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder:
            raise InputError(f"--data takes NAME=FOLDER, got {text!r}; name a data entry of the study.")
        roots[name] = Path(folder)
    return roots


def _show_plan(chosen: "Study", progress: "Progress", workers: int | None) -> None:
    """Print what is to be done on the error stream, so that results can be piped."""
    cells: dict[tuple[str, str], Counter[str]] = {}
    for run in progress.runs:
        cells.setdefault((run.system, run.data.name), Counter())[progress.states[run.key]] += 1
    console.say(f"{chosen.name}: {len(progress.runs)} runs")
    for (system, data), states in cells.items():
        parts = [
            f"{states[state]} {state}" for state in ("done", "started", "failed", "missing") if states[state]
        ]
        console.say(f"  {system} on {data}: {', '.join(parts)}")
    todo = progress.count("started", "failed", "missing")
    seconds = progress.remaining_seconds(workers or 1)
    about = f", about {_duration(seconds)}" if seconds is not None and todo else ""
    console.say(f"{progress.count('done')} done, {todo} to do{about}")


def _show_results(chosen: "Study", out: Path) -> None:
    import pandas as pd

    results = pd.read_csv(out / "results.csv")
    rows = [
        (row["data"], row["system"], row["score"], _figure(row["mean"]), _figure(row["sd"]), _interval(row))
        for row in results.to_dict("records")
        if row["score"] in chosen.compare.scores
    ]
    console.print_table(
        chosen.name, ("data", "system", "score", "mean", "sd of runs", "95 % interval"), sorted(rows)
    )
    comparisons = pd.read_csv(out / "comparisons.csv")
    pairs = [
        (row["data"], row["score"], f"{row['first']} - {row['second']}", _figure(row["difference"]),
         _interval(row), _figure(row["p_holm"]), row["verdict"])
        for row in comparisons.to_dict("records")
    ]  # fmt: skip
    if pairs:
        columns = ("data", "score", "pair", "difference", "95 % interval", "p (Holm)", "the first is")
        console.print_table("Differences", columns, pairs)


def _title(run: "PlannedRun") -> str:
    fold = "" if run.fold is None else f", fold {run.fold}"
    return f"{run.system} on {run.data.name}{fold}, seed {run.seed}"


def _interval(row: Mapping[Any, Any]) -> str:
    return "-" if row["low"] != row["low"] else f"{_figure(row['low'])} to {_figure(row['high'])}"


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
