"""The folder of a study while it is executed: its files, the state of each run, its record."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from delineate.checks import InputError
from delineate.files import write_json, write_text
from delineate.recipe_io import load_recipe
from delineate.record import Environment, RunRecord, read_json_record, read_record
from delineate.study.plan import PlannedRun, Study, difference, dump_study, load_study
from delineate.training.run import RunFolder

State = Literal["done", "failed", "started", "missing"]


@dataclass(frozen=True)
class StudyPaths:
    """Paths inside a study."""

    root: Path

    @property
    def study(self) -> Path:
        """The study, complete, as run."""
        return self.root / "study.yaml"

    @property
    def plan(self) -> Path:
        """All runs with the hashes of their recipes; written last when a study begins."""
        return self.root / "plan.json"

    @property
    def failures(self) -> Path:
        """Run -> why it failed the last time."""
        return self.root / "failures.json"

    @property
    def scores(self) -> Path:
        """One row per run and case."""
        return self.root / "scores.csv"

    @property
    def results(self) -> Path:
        """One row per system, data and score."""
        return self.root / "results.csv"

    @property
    def comparisons(self) -> Path:
        """One row per pair of systems, data and score."""
        return self.root / "comparisons.csv"

    @property
    def record(self) -> Path:
        """Where and when it ran, and the state of every run."""
        return self.root / "record.json"

    @property
    def lock(self) -> Path:
        """Held while a process works on the study."""
        return self.root / ".lock"

    def run(self, key: str) -> RunFolder:
        """Folder of a run."""
        return RunFolder(self.root / "runs" / key)

    def log(self, key: str) -> Path:
        """What the process of a run said."""
        return self.root / "logs" / f"{key}.log"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RunState(_Part):
    """One run in `record.json`."""

    state: State
    """done: trained and evaluated; failed; started: stopped on the way; missing: not begun."""
    wall_seconds: float | None
    """Training and evaluation together, with the start of the process; None unless done."""
    reason: str | None
    """Why it failed."""


class StudyRecord(_Part):
    """`record.json` of a study."""

    schema_version: Literal[1] = 1
    name: str
    started: str
    """UTC, ISO 8601; of the first session."""
    finished: str
    """When the record was written."""
    wall_seconds: float
    """Of all sessions that ran something; of one that was killed, up to the last run that ended in it."""
    sessions: int
    """How often the study was begun or continued."""
    engine: str
    """Of the last session that ran something."""
    workers: int | None
    """Runs at a time; None when it was left to the engine."""
    environment: Environment
    """Where the command ran; the records of the runs say where each was trained."""
    runs: dict[str, RunState]
    warnings: tuple[str, ...] = ()
    """What limits the results, in sentences; to be printed with them."""


def open_study(
    study: Study, runs: Sequence[PlannedRun], out: Path, *, resume: bool, write: bool = True
) -> StudyPaths:
    """Begin a study in a folder, or find the one to go on with.

    Args:
        study: from `load_study`.
        runs: its plan.
        out: new, empty, or with `resume` the folder of this very study.
        resume: go on.
        write: write study.yaml and plan.json; False only checks.

    Raises:
        InputError: the folder holds other things, a study and `resume` is not given, or another study; the
            message names what differs.
    """
    paths = StudyPaths(out.absolute())
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is not a folder; choose another --out.")
    entries = (
        {path.name for path in out.iterdir() if not path.name.startswith(".")} if out.exists() else set()
    )
    if paths.plan.is_file() and paths.study.is_file():
        if not resume:
            raise InputError(
                f"{out} already holds a study; continue it with --resume or choose another --out."
            )
        _check_same(study, runs, paths)
    elif entries - {paths.study.name}:  # one that was killed while it began has at most that file
        raise InputError(f"{out} is not empty and holds no study; choose another --out.")
    elif write:
        write_text(paths.study, dump_study(study, paths.root))
        write_json(paths.plan, [run.row() for run in runs])
    return paths


def state_of(paths: StudyPaths, key: str, split: str, failures: Mapping[str, str]) -> State:
    """Say how far a run is."""
    if read_done(paths, key, split) is not None:
        return "done"
    if key in failures:
        return "failed"
    return "started" if paths.run(key).root.exists() else "missing"


def read_done(paths: StudyPaths, key: str, split: str) -> RunRecord | None:
    """Return the record of a run that is trained and evaluated, else None."""
    place = paths.run(key)
    if not place.record.is_file():
        return None
    record = read_record(place.record)
    return record if split in record.evaluations else None


def seconds_of(record: RunRecord, split: str) -> float:
    """Time that a finished run took, its evaluation included."""
    return record.wall_seconds + record.evaluations[split].wall_seconds


def read_failures(paths: StudyPaths) -> dict[str, str]:
    """Return why runs failed: key -> sentence; empty when none did.

    Raises:
        InputError: the file is damaged.
    """
    if not paths.failures.is_file():
        return {}
    try:
        content = json.loads(paths.failures.read_text(encoding="utf-8"))
        return {str(key): str(reason) for key, reason in content.items()}
    except (ValueError, AttributeError) as error:
        raise InputError(f"{paths.failures} is damaged; remove it, failed runs are tried again.") from error


def read_study_record(path: Path) -> StudyRecord:
    """Read and check a study's `record.json`.

    Raises:
        InputError: it is missing, damaged, or does not fit the schema.
    """
    return read_json_record(
        path,
        StudyRecord,
        missing=f"{path.parent} is not a study that has run.",
        unfit="does not fit the schema of a study's record; remove it.",
    )


def write_study_record(path: Path, record: StudyRecord) -> None:
    """Write a study's `record.json` atomically."""
    write_text(path, record.model_dump_json(indent=2) + "\n")


def _check_same(study: Study, runs: Sequence[PlannedRun], paths: StudyPaths) -> None:
    found = difference(load_study(paths.study), study)
    if found is None:
        try:
            rows = json.loads(paths.plan.read_text(encoding="utf-8"))
            planned = {row["key"]: row["recipe_sha256"] for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{paths.plan} is damaged; choose another --out.") from error
        changed = next((run for run in runs if planned.get(run.key) != run.recipe.sha256()), None)
        if changed is not None:
            found = f"the recipe of {changed.key} {_recipe_difference(paths, changed)}"
    if found is not None:
        raise InputError(
            f"The study in {paths.root} is not this one: {found}; go on with the same study, or choose "
            "another --out."
        )


def _recipe_difference(paths: StudyPaths, run: PlannedRun) -> str:
    path = paths.run(run.key).recipe
    if not path.is_file():
        return "has changed"
    old = load_recipe(path).model_dump(mode="json")
    for section, new in run.recipe.model_dump(mode="json").items():
        if old[section] == new:
            continue
        if not isinstance(new, dict):
            return f"has another {section}"
        key = next(key for key in new if old[section].get(key) != new[key])
        return f"had {section}.{key} {old[section].get(key)!r}, now {new[key]!r}"
    return "has changed"
