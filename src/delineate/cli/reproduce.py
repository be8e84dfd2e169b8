"""The command that repeats a published table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import AsJson

if TYPE_CHECKING:  # the command imports what it needs, so that --help stays quick
    from delineate.study.plan import PlannedRun
    from delineate.study.reproduce_plan import Plan


def reproduce(
    paper: Annotated[str, typer.Argument(help="chnet, m2snet, ulffn, clnet or fcp-net.")],
    table: Annotated[str, typer.Argument(help="Number of the table, as the paper prints it: 2, VII.")],
    data: Annotated[Path, typer.Option("--data", help="Folder with one folder per data set.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for runs, table and report.")] = None,
    row: Annotated[
        list[str] | None, typer.Option("--row", help="Only this method of the table; may be given again.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value for every recipe; may be given again."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Of the trainings, with commas.")] = "0",
    split_seed: Annotated[int, typer.Option("--split-seed", help="Of splits no paper publishes.")] = 0,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="In place of the paper's, to try it on other data.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster.")] = "local",
    workers: Annotated[int | None, typer.Option(help="Runs at a time.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what can be run, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Repeat a published table and print measured beside published: exit code 1 when a run failed.

    Example: delineate reproduce chnet 2 --data data --dry-run
    Example: delineate reproduce chnet 2 --data data --row "CHNet (ours)" --out chnet-2
    """
    from delineate.study.engines import EngineOptions
    from delineate.study.execution import StudyListener
    from delineate.study.reproduce import reproduce as repeat
    from delineate.study.reproduce_plan import plan_table

    if out is None and not dry_run:
        raise InputError("Name the folder for the runs with --out, or only plan with --dry-run.")
    plan = plan_table(
        paper,
        table,
        data,
        overrides=overrides or (),
        seeds=_seeds(seeds),
        split_seed=split_seed,
        rows=row or (),
        protocol=protocol,
    )
    if dry_run or out is None:
        _print_plan(plan, as_json)
        return
    _print_plan(plan, False)

    def on_start(run: "PlannedRun", attempt: int) -> None:
        console.say(f"{run.key}: " + ("starts" if attempt == 1 else f"starts again, attempt {attempt}"))

    def on_end(run: "PlannedRun", reason: str | None, seconds: float) -> None:
        if reason is None:
            console.say(f"{run.key}: done in {seconds:.0f} s")
        else:
            console.print_error(f"{run.key}: {reason}")

    with console.progress_bar("runs") as update:
        result = repeat(
            plan,
            out,
            engine=engine,
            options=EngineOptions(workers=workers),
            resume=resume,
            listener=StudyListener(on_start, on_end, update),
            say=console.say,
        )
    if as_json:
        rows = result.table.astype(object).where(result.table.notna(), None)
        console.print_json({"rows": rows.to_dict("records"), "failed": result.failed})
    else:
        _print_result(result.table)
        console.out.print(f"Report: {result.report}", markup=False)
    for key, reason in result.failed.items():
        console.print_error(f"{key}: {reason}")
    if result.failed:
        raise typer.Exit(1)


def _seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts) or len(set(parts)) < len(parts):
        raise InputError(f"--seeds takes whole numbers with commas, each once, such as 0,1,2, got {text!r}.")
    return tuple(map(int, parts))


def _print_plan(plan: "Plan", as_json: bool) -> None:
    if as_json:
        content: dict[str, Any] = {
            "paper": plan.paper,
            "table": plan.table,
            "runs": plan.runs,
            "rows": [
                {
                    "method": e.method,
                    "dataset": e.dataset,
                    "state": e.state,
                    "reason": e.reason,
                    "note": e.note,
                }
                for e in plan.entries
            ],
            "data": {
                name: {"folder": str(p.folder), "protocol": p.protocol, "cases": p.cases, "reason": p.reason}
                for name, p in plan.places.items()
            },
        }
        console.print_json(content)
        return
    words = {"run": "can be run", "cost": "can be measured", "data": "lacks data", "cannot": "cannot be run"}
    title = f"{plan.paper}, table {plan.table}: {plan.wanted.title}"
    rows = [(entry.method, entry.dataset or "-", words[entry.state]) for entry in plan.entries]
    console.print_table(title, ("method", "data set", "here"), rows)
    reasons: dict[str, list[str]] = {}
    for entry in plan.entries:
        for text in (entry.reason, entry.note):
            if text and entry.method not in reasons.setdefault(text, []):
                reasons[text].append(entry.method)
    for text, methods in reasons.items():
        console.say(f"{', '.join(methods)}: {text}")
    for caveat in plan.caveats():
        console.say(caveat)
    console.say(f"{plan.runs} training{'s' if plan.runs != 1 else ''} to run")


def _print_result(table: Any) -> None:
    from delineate.study.reproduce_report import figure, likeliest

    shown = likeliest(table)
    rows = [
        (
            row["method"],
            row["dataset"] or "-",
            row["metric"],
            row["score"] or "-",
            figure(row["published"]),
            figure(row["measured"]),
            figure(row["gap"]),
        )
        for row in shown[shown["measured"].notna()].to_dict("records")
    ]
    columns = ("method", "data set", "word", "score", "published", "measured", "gap")
    console.print_table("Measured beside published", columns, rows)
