"""Execute a study: every run in a process of its own, resumable, a failure costing one run.

    <study>/study.yaml, plan.json        what is to be done
    <study>/runs/<key>/                  ordinary run folders
    <study>/logs/<key>.log               what each run's process said
    <study>/failures.json, record.json   how it went
    <study>/scores.csv, results.csv, comparisons.csv   see gather.py

A run is done when its record holds the evaluation of the study's split. Called again with `resume`, done runs
are not touched, a stopped one goes on from its last whole epoch, and failed ones are tried again.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from delineate.checks import InputError, choose
from delineate.data.case import Case
from delineate.data.locks import claim
from delineate.data.protocols import apply_protocol
from delineate.data.readers import index
from delineate.files import write_json
from delineate.record import RunRecord, describe_environment, now
from delineate.study.engines import ENGINES, EngineOptions, Job, Outcome
from delineate.study.gather import gather
from delineate.study.plan import PlannedRun, Study, plan_runs
from delineate.study.study_state import (
    RunState,
    State,
    StudyPaths,
    StudyRecord,
    open_study,
    read_done,
    read_failures,
    read_study_record,
    seconds_of,
    state_of,
    write_study_record,
)


@dataclass(frozen=True)
class StudyListener:
    """What a caller wants to hear of; every function may be left out."""

    on_start: Callable[[PlannedRun, int], None] | None = None
    """Called as (run, attempt from 1) when a run is started."""
    on_end: Callable[[PlannedRun, str | None, float], None] | None = None
    """Called as (run, reason of its failure or None, seconds)."""
    on_progress: Callable[[int, int], None] | None = None
    """Called as (runs that have ended, all runs)."""


@dataclass(frozen=True)
class Progress:
    """How far a study is."""

    runs: tuple[PlannedRun, ...]
    states: dict[str, State]
    """Run -> state."""
    failures: dict[str, str]
    """Run -> reason."""
    seconds: dict[str, float]
    """Run -> how long it took, of those that are done."""

    def count(self, *states: State) -> int:
        """Return how many runs are in one of these states."""
        return sum(state in states for state in self.states.values())

    def remaining_seconds(self, workers: int = 1) -> float | None:
        """Estimate what is left, from done runs of the same system and data where there are any."""
        if not self.seconds:
            return None
        done = [(run, self.seconds[run.key]) for run in self.runs if run.key in self.seconds]
        overall = sum(self.seconds.values()) / len(self.seconds)
        left = 0.0
        for run in self.runs:
            if self.states[run.key] != "done":
                like = [
                    s for other, s in done if (other.system, other.data.name) == (run.system, run.data.name)
                ]
                left += sum(like) / len(like) if like else overall
        return left / workers


def progress_of(study: Study, out: Path) -> Progress:
    """Look how far a study is; nothing is written, and the folder need not exist.

    Raises:
        InputError: the plan cannot be made, or a record is damaged.
    """
    runs, folder, split = plan_runs(study), StudyPaths(out.absolute()), study.evaluate.split
    failures = read_failures(folder)
    records = {run.key: read_done(folder, run.key, split) for run in runs}
    timed = read_study_record(folder.record).runs if folder.record.is_file() else {}
    seconds = {
        key: max(seconds_of(record, split), (timed[key].wall_seconds or 0.0) if key in timed else 0.0)
        for key, record in records.items()
        if record is not None
    }
    states = {run.key: state_of(folder, run.key, split, failures) for run in runs}
    left = {key: reason for key, reason in failures.items() if states.get(key) == "failed"}
    return Progress(runs, states, left, seconds)


def check_data(study: Study) -> dict[str, int]:
    """Look at the data before the first training: what would fail after hours fails now.

    Returns:
        Data entry -> number of cases.

    Raises:
        InputError: a folder is not named or missing, the protocol does not fit, or the split that is to be
            scored does not exist or would differ between runs.
    """
    counts = {}
    runs = plan_runs(study)
    for entry in study.data:
        if entry.root is None:
            raise InputError(
                f"The folder of {entry.name!r} is not known; name it with --data {entry.name}=FOLDER."
            )
        if not Path(entry.root).is_dir():
            raise InputError(
                f"The folder {entry.root} of {entry.name!r} is missing; give another with --data "
                f"{entry.name}=FOLDER."
            )
        cases = index(Path(entry.root), entry.dataset, partial=True)
        for run in {run.fold: run for run in runs if run.data.name == entry.name}.values():
            _check_split(study.evaluate.split, run, cases)
        counts[entry.name] = len(cases)
    return counts


def execute(
    study: Study,
    out: Path,
    *,
    engine: str = "local",
    options: EngineOptions | None = None,
    resume: bool = False,
    listener: StudyListener | None = None,
) -> StudyRecord:
    """Run what is not done yet, and write scores, results and comparisons.

    Args:
        study: from `load_study`.
        out: folder of the study.
        engine: key of `ENGINES`.
        options: for the engine.
        resume: go on with the study in `out`.
        listener: told about progress.

    Returns:
        The record, with the state of every run; failed runs are in it and raise nothing.

    Raises:
        InputError: study, data and folder do not fit together, another process works on the study, or the
            engine cannot be started.
        KeyboardInterrupt: stopped; running runs are ended, the record is written, and all can be resumed.
    """
    run_all = choose("engine", engine, ENGINES)
    options, listener = options or EngineOptions(), listener or StudyListener()
    if options.workers is not None and options.workers < 1:
        raise InputError(f"A study needs at least one worker, got {options.workers}.")
    if options.retries < 0:
        raise InputError(f"The number of retries must be at least 0, got {options.retries}.")
    runs = plan_runs(study)
    open_study(study, runs, out, resume=resume, write=False)
    check_data(study)
    with claim(StudyPaths(out.absolute()).lock) as free:
        if not free:
            raise InputError(f"Another process works on the study in {out}; wait for it, or stop it first.")
        folder = open_study(study, runs, out, resume=resume)
        todo = [run for run in runs if read_done(folder, run.key, study.evaluate.split) is None]
        jobs = [_job(study, folder, run) for run in todo]
        session = _Session(study, folder, runs, engine, options.workers, new=bool(jobs))
        session.write()  # so that a session that is killed counts
        by_key = {run.key: run for run in runs}

        def on_start(job: Job, attempt: int) -> None:
            if listener.on_start is not None:
                listener.on_start(by_key[job.key], attempt)

        heard = replace(options, on_start=on_start)
        ended = len(runs) - len(jobs)
        try:
            with closing(run_all(jobs, heard)) as outcomes:  # stops what runs, whatever happens here
                for outcome in outcomes:
                    session.take(outcome)
                    ended += 1
                    if listener.on_end is not None:
                        listener.on_end(
                            by_key[outcome.key], session.failures.get(outcome.key), outcome.seconds
                        )
                    if listener.on_progress is not None:
                        listener.on_progress(ended, len(runs))
        finally:
            session.write()
        return session.write(gather(study, folder, runs).warnings)


class _Session:
    """One call of `execute`: keeps failures.json and record.json up to date."""

    def __init__(
        self,
        study: Study,
        folder: StudyPaths,
        runs: Sequence[PlannedRun],
        engine: str,
        workers: int | None,
        *,
        new: bool,
    ) -> None:
        """Take over what earlier sessions wrote; `new` is False when there is nothing left to run."""
        self.study, self.folder, self.runs = study, folder, runs
        self.engine, self.workers = engine, workers
        self.failures = read_failures(folder)
        self.environment = describe_environment("see the records of the runs")
        self.clock, self.started, self.before, self.sessions = time.monotonic(), now(), 0.0, 1
        self.seconds: dict[str, float] = {}
        if folder.record.is_file():
            last = read_study_record(folder.record)
            self.started, self.before, self.sessions = last.started, last.wall_seconds, last.sessions + new
            self.seconds = {key: run.wall_seconds for key, run in last.runs.items() if run.wall_seconds}
            if not new:
                self.engine, self.workers, self.environment = last.engine, last.workers, last.environment

    def take(self, outcome: Outcome) -> None:
        """Note how a run ended."""
        reason = outcome.reason
        if reason is None and read_done(self.folder, outcome.key, self.study.evaluate.split) is None:
            reason = "Its process ended well, but its folder holds no result; is the study's folder shared?"
        self.failures.pop(outcome.key, None)
        self.seconds[outcome.key] = outcome.seconds
        if reason is not None:
            tries = f" ({outcome.attempts} attempts)" if outcome.attempts > 1 else ""
            self.failures[outcome.key] = f"{reason}{tries}"
        write_json(self.folder.failures, self.failures)
        self.write()

    def write(self, warnings: tuple[str, ...] = ()) -> StudyRecord:
        """Write the record as of now."""
        split = self.study.evaluate.split
        states = {}
        for run in self.runs:
            done = read_done(self.folder, run.key, split)
            states[run.key] = RunState(
                state=state_of(self.folder, run.key, split, self.failures),
                wall_seconds=None if done is None else self._seconds(run.key, done),
                reason=None if done is not None else self.failures.get(run.key),
            )
        record = StudyRecord(
            name=self.study.name,
            started=self.started,
            finished=now(),
            wall_seconds=round(self.before + time.monotonic() - self.clock, 1),
            sessions=self.sessions,
            engine=self.engine,
            workers=self.workers,
            environment=self.environment,
            runs=states,
            warnings=warnings,
        )
        write_study_record(self.folder.record, record)
        return record

    def _seconds(self, key: str, done: RunRecord) -> float:
        """Time of a run with the start of its process; of a resumed one, of all its parts."""
        return round(max(seconds_of(done, self.study.evaluate.split), self.seconds.get(key, 0.0)), 1)


def _job(study: Study, folder: StudyPaths, run: PlannedRun) -> Job:
    return Job(
        key=run.key,
        recipe=run.recipe.model_dump(mode="json"),
        root=str(run.data.root),
        dataset=run.data.dataset,
        protocol=run.data.protocol,
        fold=run.fold,
        number_of_folds=run.data.number_of_folds,
        split_seed=run.data.split_seed,
        accept=run.data.accept,
        split=study.evaluate.split,
        metrics=study.evaluate.metrics,
        run=str(folder.run(run.key).root),
        log=str(folder.log(run.key)),
    )


def _check_split(split: str, run: PlannedRun, cases: Sequence[Case]) -> None:
    name, choice = run.data.name, run.split
    if choice is not None:
        try:
            cases = apply_protocol(cases, choice.name, seed=choice.seed, fold=choice.fold, folds=choice.folds)
        except InputError as error:
            raise InputError(f"Data entry {name!r}: {error}") from error
    present = {case.split for case in cases}
    if present == {None}:
        raise InputError(
            f"Data entry {name!r} has no split, and each seed would draw another; name a protocol, for "
            "example protocol: 70-15-15."
        )
    if split not in present and not (split == "val" and run.recipe.data.val_fraction > 0):
        raise InputError(f"The study scores the split {split!r}, and data entry {name!r} has none.")
