"""The folder of a job: what may be written there, what lies there already, what is done.

predictions.csv, predictions.jsonl, measurements.csv, failed.csv   the tables
job.json                                                           which model, which options
masks/, overlays/, ...                                             what the writers write
.job/                                                              the journal, and what a running job needs
"""

import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from delineate.checks import InputError
from delineate.files import write_json
from delineate.inference.job.journal import Journal, read_done
from delineate.inference.job.options import JobOptions
from delineate.inference.job.pipeline import MAPS
from delineate.inference.job.plan import SLICE, Digests, Plan, holds_id, planned_ids
from delineate.inference.job.rows import FAILED, LINES, MEASURED, TABLE, heads
from delineate.inference.predictor import Predictor
from delineate.inference.writers import WRITERS
from delineate.version import __version__

JOB = "job.json"
_KEPT = ("model", "options")
"""What must stay the same when a job goes on."""

_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}(?:\.\w+)?")
"""Name of a file that `files.atomic_path` has not moved into place."""

_AT_ONCE = 10_000
"""Files that are listed before they are removed, which bounds the memory."""

_Places = Mapping[str, tuple[str, ...]]
"""Folders and files of a job, as `WriterSpec.places` has them."""


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
        self._is_running = False

    def is_known(self) -> bool:
        """Whether the folder holds results of an earlier job."""
        return (self.out / JOB).exists()

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder whose contents would be lost or mixed up.

        Raises:
            InputError: it holds predictions and neither is given, or it cannot be resumed, or it holds files
                of other origin where the job would write.
        """
        theirs: _Places = {}
        if self.is_known():
            if not resume and not overwrite:
                raise InputError(
                    f"{self.out} already holds predictions; choose another --out, or give --resume to go on "
                    "or --overwrite to replace them."
                )
            earlier = _read_job(self.out / JOB)
            if resume:
                self._check_same(earlier)
            theirs = _places(earlier["options"])
        for place in _places(self.options.as_json()):
            if place not in theirs and _holds_something(self.out / place):
                raise InputError(
                    f"{self.out / place} exists and no prediction wrote it; choose another --out."
                )

    def recover(self) -> None:
        """Remove what a job that was stopped left behind: copies, half-written files and unfinished results.

        To be called before another plan is written: the plan of the stopped job says what may be unfinished.
        """
        self._clear_after_kill()
        if self.is_known() and self.plan_path.exists():
            earlier = _read_job(self.out / JOB)
            planned, done = planned_ids(self.plan_path), read_done(self.state / "journal").ids
            unfinished = np.setdiff1d(planned, done)
            if earlier.get("state") == "running" and len(unfinished):
                self._remove_results(_places(earlier["options"]), unfinished)
        _remove(self.plan_path)

    def begin(self, *, overwrite: bool) -> None:
        """Clear what is to be replaced, say what is being done, and open the tables.

        Raises:
            InputError: the folder cannot be written to.
        """
        if overwrite and self.is_known():
            self._remove_earlier()
        _remove(self.out / FAILED)
        write_json(self.out / JOB, self._describe() | {"state": "running"})
        self._is_running = True
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
        self._is_running = False

    def tidy(self) -> None:
        """Remove what only a running job needs; of a folder without results everything of ours."""
        shutil.rmtree(self.members, ignore_errors=True)
        if not self._is_running:  # of a job that broke off `recover` needs it
            _remove(self.plan_path)
        if not self.is_known():
            shutil.rmtree(self.state, ignore_errors=True)
            with suppress(OSError):  # unless it is not empty
                self.out.rmdir()

    def _clear_after_kill(self) -> None:
        """Remove copies and half-written files of a process that was killed."""
        shutil.rmtree(self.members, ignore_errors=True)
        places = [*_places(self.options.as_json()), JOB]

        def is_half(name: str) -> bool:
            return _TEMPORARY.fullmatch(name) is not None

        def is_ours_and_half(name: str) -> bool:
            match = _TEMPORARY.fullmatch(name)
            return match is not None and match[1] in places

        _remove_from(self.out, is_ours_and_half)
        for place in places:
            _remove_from(self.out / place, is_half)

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
        places = _places(_read_job(self.out / JOB)["options"])
        self._remove_results(places, read_done(self.state / "journal").ids)
        for place in places:
            if (self.out / place).is_file():
                _remove(self.out / place)
        _remove(self.state / "journal")

    def _remove_results(self, places: _Places, ids: Digests) -> None:
        """Remove what was written about files, and nothing with any other name."""
        for place, endings in places.items():
            _remove_from(self.out / place, partial(_belongs, endings=endings, ids=ids))


def _flat(description: Mapping[str, Any]) -> dict[str, Any]:
    """What must stay the same, by the name that a sentence gives it."""
    return {"model": description.get("model"), **description["options"]}


def _places(options: Mapping[str, Any]) -> _Places:
    """Where a job with the options of a job.json writes."""
    places: dict[str, tuple[str, ...]] = {TABLE: (), LINES: (), FAILED: ()}
    for name in options.get("formats", ()):
        if name in WRITERS:
            places |= WRITERS[name].places
    if options.get("measure"):
        places[MEASURED] = ()
    if options.get("explain") is not None:
        places[MAPS] = (".png",)
    return places


def _holds_something(path: Path) -> bool:
    """Whether there is a file, or a folder that is not empty, as `--overwrite` may have left it."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _belongs(name: str, endings: tuple[str, ...], ids: Digests) -> bool:
    """Whether a name is just what a writer calls the result for one of some files, or for a slice of it."""
    for ending in endings:
        if name.endswith(ending):
            stem = name.removesuffix(ending)
            of_slice = SLICE.fullmatch(stem)
            if holds_id(ids, stem) or (of_slice is not None and holds_id(ids, of_slice[1])):
                return True
    return False


def _remove_from(folder: Path, is_chosen: Callable[[str], bool]) -> None:
    """Remove files of a folder by their names; a folder that is not there holds none."""
    while folder.is_dir():
        with os.scandir(folder) as entries:
            chosen = (e.name for e in entries if is_chosen(e.name) and not e.is_dir(follow_symlinks=False))
            names = list(islice(chosen, _AT_ONCE))
        for name in names:
            _remove(folder / name)
        if len(names) < _AT_ONCE:
            return


def _read_job(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("options"), dict):
        raise InputError(f"{path} is missing or damaged, or no prediction wrote it; choose another --out.")
    return found


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
