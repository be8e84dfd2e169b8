"""The folder of a job: what may be written there, what lies there already, what is done.

predictions.csv, predictions.jsonl, measurements.csv, failed.csv   the tables
job.json                                                           which model, which options
masks/, overlays/, ...                                             what the writers write
.job/                                                              the journal, and what a running job needs
"""

import json
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from delineate.checks import InputError
from delineate.files import write_json
from delineate.inference.job.journal import Done, Journal, read_done
from delineate.inference.job.options import JobOptions
from delineate.inference.job.pipeline import MAPS
from delineate.inference.job.plan import Plan
from delineate.inference.job.rows import FAILED, LINES, MEASURED, TABLE, heads
from delineate.inference.predictor import Predictor
from delineate.inference.writers import WRITERS
from delineate.version import __version__

JOB = "job.json"
_KEPT = ("model", "options")
"""What must stay the same when a job goes on."""

_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}(?:\.\w+)?")
"""Name of a file that `files.atomic_path` has not moved into place."""


class JobFolder:
    """One folder of results.

    Args:
        predictor: what predicts.
        out: the folder.
        options: what is written.
    """

    def __init__(self, predictor: Predictor, out: Path, options: JobOptions) -> None:
        self.predictor, self.out, self.options = predictor, out, options
        self.state = out / ".job"
        self.members = self.state / "members"
        self.plan_path = self.state / "plan"
        self.lock_path = self.state / "lock"
        self.journal: Journal
        self.skipped = 0
        """Files that `todo` passed over because they were finished."""

    def is_known(self) -> bool:
        """Whether the folder holds results of an earlier job."""
        return (self.out / JOB).exists() or (self.out / TABLE).exists()

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder whose contents would be lost or mixed up.

        Raises:
            InputError: it holds predictions and neither is given, or it cannot be resumed, or it holds files
                of other origin where the job would write.
        """
        if not self.is_known():
            for place in _places(self.options.formats, self.options.explain):
                if (self.out / place).exists():
                    raise InputError(
                        f"{self.out / place} exists and no prediction wrote it; choose another --out."
                    )
            return
        if not resume and not overwrite:
            raise InputError(
                f"{self.out} already holds predictions; choose another --out, or give --resume to go on or "
                "--overwrite to replace them."
            )
        if resume:
            self._check_same(_read_job(self.out / JOB))

    def begin(self, *, overwrite: bool) -> None:
        """Clear what is to be replaced, say what is being done, and open the tables.

        Raises:
            InputError: the folder cannot be written to.
        """
        self._clear_after_kill()
        if overwrite and self.is_known():
            self._remove_earlier()
        _remove(self.out / FAILED)
        write_json(self.out / JOB, self._describe() | {"state": "running"})
        columns = heads(
            self.predictor.info, uncertainty=self.predictor.uncertainty, measure=self.options.measure
        )
        self.journal = Journal(self.out, self.state / "journal", columns)

    def todo(self, plan: Plan) -> Iterator[tuple[int, list[int]]]:
        """The groups that hold unfinished files: their first bytes, and the positions of those files."""
        for start in plan.starts:
            positions = []
            for position, unit in enumerate(plan.group_at(start)):
                if self.journal.done.holds(unit):
                    self.skipped += 1
                else:
                    positions.append(position)
            if positions:
                yield start, positions

    def end(self, counts: Mapping[str, int]) -> None:
        """Write what sums up all pictures, and that the job is finished."""
        self._clear_after_kill()  # a worker of a cluster may have been
        for name in self.options.formats:
            WRITERS[name].make(self.out, self.predictor.info).finish()
        write_json(self.out / JOB, self._describe() | {"state": "finished", "counts": dict(counts)})

    def tidy(self) -> None:
        """Remove what only a running job needs; of a folder without results everything of ours."""
        shutil.rmtree(self.members, ignore_errors=True)
        _remove(self.plan_path)
        if not self.is_known():
            shutil.rmtree(self.state, ignore_errors=True)
            with suppress(OSError):  # unless it is not empty
                self.out.rmdir()

    def _clear_after_kill(self) -> None:
        """Remove copies and half-written files of a process that was killed."""
        shutil.rmtree(self.members, ignore_errors=True)
        places = [*_places(self.options.formats, self.options.explain), JOB]
        for folder in (self.out, *(self.out / place for place in places)):
            if folder.is_dir():
                for file in list(folder.iterdir()):
                    name = _TEMPORARY.fullmatch(file.name)
                    if name is not None and (folder != self.out or name[1] in places):
                        _remove(file)

    def _describe(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "model": self.predictor.identity,
            "options": self.options.as_json() | {"uncertainty": self.predictor.uncertainty},
            "versions": {
                "delineate": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        }

    def _check_same(self, earlier: Mapping[str, Any]) -> None:
        now, then = _flat(self._describe()), _flat(earlier)
        for name, value in now.items():
            if value != then.get(name):
                raise InputError(
                    f"{self.out} was begun with {name} {then.get(name)!r}, now it is {value!r}; resume with "
                    "the same, or choose another --out."
                )

    def _remove_earlier(self) -> None:
        """Remove the files of the earlier job, and nothing that it did not write."""
        earlier = _read_job(self.out / JOB) if (self.out / JOB).exists() else {}
        options = earlier.get("options", {})
        formats = [name for name in options.get("formats", ("masks", "overlays")) if name in WRITERS]
        done = read_done(self.state / "journal")
        for place in _places(formats, options.get("explain")):
            path = self.out / place
            if path.is_file():
                _remove(path)
            elif path.is_dir():
                for file in list(path.iterdir()):
                    if _belongs(file.name, done):
                        _remove(file)
        for path in (self.state / "journal", *(self.out / name for name in (LINES, MEASURED, TABLE))):
            _remove(path)


def _flat(description: Mapping[str, Any]) -> dict[str, Any]:
    """What must stay the same, by the name that a sentence gives it."""
    return {"model": description.get("model"), **description.get("options", {})}


def _places(formats: Iterable[str], explain: str | None) -> list[str]:
    places = [place for name in formats for place in WRITERS[name].places]
    return places if explain is None else [*places, MAPS]


def _belongs(name: str, done: Done) -> bool:
    """Whether a file is named after a file, or a slice of one, that the earlier job finished."""
    stem = name
    while "." in stem:
        stem = stem.rpartition(".")[0]
        if done.has_id(stem) or done.has_id(re.sub(r"_s\d+$", "", stem)):
            return True
    return False


def _read_job(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path} is missing or damaged, so the job cannot go on; choose another --out.")
    return found


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
