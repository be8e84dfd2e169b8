"""Repeat a published table: run what can be run, and put what was measured beside what was published.

plan = plan_table("chnet", "2", Path("data"))
reproduce(plan, Path("chnet-2")).table
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from delineate.checks import InputError
from delineate.files import atomic_path, write_json
from delineate.record import describe_environment, now, read_record
from delineate.study.engines import EngineOptions
from delineate.study.execution import StudyListener, execute
from delineate.study.plan import plan_runs
from delineate.study.published import PublishedValue
from delineate.study.reproduce_measure import Measured, Trained, costs, mean_of, p_value, read_split_names
from delineate.study.reproduce_plan import Entry, Plan, PlannedStudy, candidates, recipe_of
from delineate.study.reproduce_report import write_reproduction_report
from delineate.study.reproduce_spec import COST, EPOCHS
from delineate.study.study_state import StudyPaths

COLUMNS = (
    "method", "dataset", "metric", "published", "published_sd", "score", "measured", "sd", "low", "high", "n",
    "runs", "gap", "inside", "state", "reason", "note",
)  # fmt: skip
"""Of reproduction.csv. Values are in our units: fractions, not percent. `gap` is measured minus published;
`inside` says whether the published figure, to its last digit, lies in the measured interval."""
STUDIES, RECORD = "studies", "reproduction.json"


@dataclass(frozen=True)
class Reproduction:
    """What was measured beside what was published."""

    table: pd.DataFrame
    """Rows of reproduction.csv: one per published figure and score that its word may mean."""
    failed: dict[str, str]
    """Run -> reason of its failure."""
    report: Path
    """report.html."""


def reproduce(
    plan: Plan,
    out: Path,
    *,
    engine: str = "local",
    options: EngineOptions | None = None,
    resume: bool = False,
    listener: StudyListener | None = None,
    say: Callable[[str], None] | None = None,
) -> Reproduction:
    """Run the studies of a plan and write reproduction.csv, reproduction.json and report.html.

    Args:
        plan: from `plan_table`.
        out: new or empty folder, or with `resume` the one of this very reproduction.
        engine: of the studies, see `execution.execute`.
        options: of the engine.
        resume: go on with what is in `out`; done runs are not repeated.
        listener: told about the runs.
        say: told in a sentence what goes on besides.

    Raises:
        InputError: nothing of the table can be run here, or as `execute`.
    """
    if not plan.possible:
        reasons = dict.fromkeys(entry.reason for entry in plan.entries)
        raise InputError(
            f"Nothing of table {plan.table} of {plan.paper} can be run here: {' '.join(reasons)}"
        )
    _open(plan, out, resume)
    failed: dict[str, str] = {}
    for planned in plan.studies:
        record = execute(
            planned.study,
            out / STUDIES / planned.source,
            engine=engine,
            options=options,
            resume=resume and (out / STUDIES / planned.source).exists(),
            listener=listener,
        )
        failed |= {
            f"{planned.source}/{key}": run.reason or "It was not run."
            for key, run in record.runs.items()
            if run.state != "done"
        }
    failed |= _test_elsewhere(plan, out, say)
    table = beside(plan, out)
    with atomic_path(out / "reproduction.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    _write_record(plan, out, failed, finished=now())
    return Reproduction(table, failed, write_reproduction_report(plan, table, failed, out))


def _open(plan: Plan, out: Path, resume: bool) -> None:
    """Begin in a new folder, or find the one to go on with."""
    record = out / RECORD
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        _write_record(plan, out, {}, finished=None)
        return
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        before = str(content["paper"]), str(content["table"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out} is not empty and holds no reproduction; choose another --out.") from error
    if before != (plan.paper, plan.table):
        raise InputError(f"{out} repeats table {before[1]} of {before[0]}; choose another --out.")
    if not resume:
        raise InputError(f"{out} already repeats this table; go on with --resume or choose another --out.")


def _write_record(plan: Plan, out: Path, failed: Mapping[str, str], *, finished: str | None) -> None:
    write_json(
        out / RECORD,
        {
            "paper": plan.paper,
            "table": plan.table,
            "finished": finished,
            "changes": plan.changes,
            "protocol": plan.replaced or None,
            "studies": {planned.source: f"{STUDIES}/{planned.source}" for planned in plan.studies},
            "failed": dict(failed),
            "environment": describe_environment("see the records of the runs").model_dump(),
        },
    )


def beside(plan: Plan, out: Path) -> pd.DataFrame:
    """Put every published figure of the plan's rows beside what was measured; nothing is run.

    Returns:
        The columns of `COLUMNS`, one row per figure and score that its word may mean.
    """
    measured: dict[tuple[str, str], Mapping[str, Measured]] = {}
    lines = []
    for value in plan.values:
        entry = plan.entry(value.method, value.dataset)
        if entry is None:
            continue
        found = candidates(plan.paper, plan.table, plan.wanted, value.metric)
        cost = value.metric in COST
        if cost and entry.state != "cannot":
            part = plan.parts_of(value)[0]
            if (value.method, part) not in measured:
                measured[value.method, part] = _costs(plan, value.method, part)
            lines.append(
                _line(value, entry, "", measured[value.method, part].get(value.metric), COST[value.metric])
            )
            continue
        if value.metric == EPOCHS:
            lines.append(_line(value, entry, "", _epochs(plan, value, out), "epochs that were trained"))
            continue
        for name, reason in found or (("", "It is no score of predictions, or its header is lost."),):
            known = None if not name else _score(plan, value, out, name)
            lines.append(_line(value, entry, name, known, reason))
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    return table.astype({"n": "Int64", "runs": "Int64"})


def trained(plan: Plan, out: Path, method: str, part: str, *, baseline: bool = False) -> Trained | None:
    """Find the finished runs of a row on a part; None when one of them is not done."""
    for planned in plan.studies:
        system = (planned.baselines if baseline else planned.systems).get((method, part))
        if system is not None:
            return _trained(plan, planned, out, part, system)
    return None


def _trained(plan: Plan, planned: PlannedStudy, out: Path, part: str, system: str) -> Trained | None:
    wanted, paths = plan.wanted.parts[part], StudyPaths((out / STUDIES / planned.source).absolute())
    split = "test"
    if wanted.test_on is not None:
        split = f"{plan.places[wanted.test_on].folder.resolve().name}/test"
    seeds: dict[int, list[Path]] = {}
    threshold = 0.5
    for run in plan_runs(planned.study):
        if run.system != system:
            continue
        folder = paths.run(run.key).root
        if not (folder / "record.json").is_file() or split not in read_split_names(folder):
            return None
        seeds.setdefault(run.seed, []).append(folder)
        threshold = run.recipe.evaluation.threshold
    return Trained(tuple(map(tuple, seeds.values())), split, wanted.ids, threshold)


def _test_elsewhere(plan: Plan, out: Path, say: Callable[[str], None] | None) -> dict[str, str]:
    """Score finished runs on the test cases of another data set, where the table asks for it.

    Returns:
        Run -> why it could not be scored there.
    """
    from delineate.inference.evaluate import evaluate

    failed: dict[str, str] = {}
    for planned in plan.studies:
        for (_, part), system in planned.systems.items():
            wanted = plan.wanted.parts[part]
            if wanted.test_on is None:
                continue
            place = plan.places[wanted.test_on]
            paths = StudyPaths((out / STUDIES / planned.source).absolute())
            name = f"{place.folder.resolve().name}/test"
            more: dict[str, Any] = {}
            if planned.study.evaluate.metrics:
                more["metrics"] = planned.study.evaluate.metrics
            for run in plan_runs(planned.study):
                folder = paths.run(run.key).root
                if run.system != system or not (folder / "record.json").is_file():
                    continue
                if name in read_record(folder / "record.json").evaluations:
                    continue
                if say is not None:
                    say(f"scoring {run.key} on {place.folder}")
                try:
                    evaluate(folder, root=place.folder, dataset=place.dataset, split="test", **more)
                except InputError as error:  # the other trainings are worth their hours all the same
                    failed[f"{planned.source}/{run.key} on {wanted.test_on}"] = str(error)
    return failed


def _costs(plan: Plan, method: str, part: str) -> Mapping[str, Measured]:
    row, wanted = plan.wanted.rows[method], plan.wanted.parts[part]
    words = {value.metric for value in plan.values}
    return costs(recipe_of(plan, row, wanted), wanted.size, latency="inference_ms" in words)


def _epochs(plan: Plan, value: PublishedValue, out: Path) -> Measured | None:
    found = [trained(plan, out, value.method, part) for part in plan.parts_of(value)]
    return mean_of([None if one is None else one.epochs() for one in found])


def _score(plan: Plan, value: PublishedValue, out: Path, name: str) -> Measured | None:
    against = plan.wanted.rows[value.method].against is not None
    parts = []
    for part in plan.parts_of(value):
        one = trained(plan, out, value.method, part)
        if against:
            other = trained(plan, out, value.method, part, baseline=True)
            parts.append(None if one is None or other is None else p_value(one, other, name))
        else:
            parts.append(None if one is None else one.score(name))
    return mean_of(parts)


def _line(
    value: PublishedValue, entry: Entry, score: str, found: Measured | None, reason: str
) -> dict[str, Any]:
    state = "measured" if found is not None else "not measured"
    if found is None and entry.state in ("cannot", "data"):
        state = {"cannot": "cannot be run", "data": "data is missing"}[entry.state]
    inside = None
    if found is not None and found.low is not None and found.high is not None:
        slack = value.resolution / 2
        # Rounded, because these are decimal fractions, not binary ones.
        inside = round(found.low - slack, 12) <= value.mean <= round(found.high + slack, 12)
    notes = [entry.note, value.note, "" if found is not None else entry.reason]
    return {
        "method": value.method,
        "dataset": value.dataset,
        "metric": value.metric,
        "published": value.mean,
        "published_sd": value.sd,
        "score": score,
        "measured": None if found is None else found.mean,
        "sd": None if found is None else found.sd,
        "low": None if found is None else found.low,
        "high": None if found is None else found.high,
        "n": None if found is None else found.n,
        "runs": None if found is None else found.runs,
        "gap": None if found is None else found.mean - value.mean,
        "inside": inside,
        "state": state,
        "reason": reason,
        "note": " ".join(_sentence(note) for note in notes if note),
    }


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text[0].upper()}{text[1:]}."
