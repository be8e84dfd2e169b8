"""The files of a job in order, written down once, so that a million of them need no memory.

Files are finished in groups of as many as pass the network together. A group is the same whenever and
wherever it is predicted, which keeps every byte the same after a restart and on a cluster: the last digits
of a prediction may depend on which images share a batch.
"""

import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.data.volumes import ENDINGS as VOLUMES
from delineate.inference.job.archives import Member
from delineate.inference.job.sources import STACKS, Unit, count_images

Digests = NDArray[np.uint64]
SLICE = re.compile(r"(.+)_s\d{3,}")
"""The id of a slice, frame or page; its group is the id of the file."""


def digest(text: str) -> int:
    """A 64-bit number for a text; two of a million texts share one with a chance of 3 in 10^8."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


def file_digest(unit: Unit) -> int:
    """As `digest`, for where a file lies, however its path was written."""
    return digest(os.path.abspath(unit.file))


def holds_id(ids: Digests, name: str) -> bool:
    """Whether sorted digests hold that of an id."""
    wanted = np.uint64(digest(name))
    place = int(np.searchsorted(ids, wanted))
    return place < len(ids) and bool(ids[place] == wanted)


@dataclass(frozen=True)
class Plan:
    """The listed files of a job."""

    path: Path
    """Text file with a group per line."""
    files: int
    """Number of files."""
    starts: "array[int]"
    """First byte of each group's line."""

    def group_at(self, start: int) -> list[Unit]:
        """Read the group whose line begins at a byte."""
        with self.path.open("rb") as lines:
            lines.seek(start)
            return _units(lines.readline())

    def groups(self) -> Iterator[list[Unit]]:
        """Read all groups in order."""
        with self.path.open("rb") as lines:
            for line in lines:
                yield _units(line)


def write_plan(units: Iterable[Unit], path: Path, size: int) -> Plan:
    """List the files of a job and check that no two would be written under one id.

    A file that is listed twice counts once.

    Args:
        units: as `list_units` gives them.
        path: file to write.
        size: files per group.

    Raises:
        InputError: two files have one id, or a picture has the id of a slice or page of another file.
    """
    ids, volumes, slices = array("Q"), array("Q"), array("Q")

    def noted() -> Iterator[Unit]:
        for unit in units:
            ids.append(digest(unit.id))
            if unit.file.lower().endswith((*VOLUMES, *STACKS)):
                volumes.append(ids[-1])
            if (of_slice := SLICE.fullmatch(unit.id)) is not None:
                slices.append(digest(of_slice[1]))
            yield unit

    plan = _write(noted(), path, size)
    twice = _repeated(ids)
    _refuse_clashes(plan, twice, set(np.intersect1d(_numbers(volumes), _numbers(slices)).tolist()))
    if twice:  # none of them clashes, so they are the same files again
        whole = path.with_name(path.name + ".whole")
        path.rename(whole)
        plan = _write(_once(Plan(whole, 0, plan.starts), twice), path, size)
        whole.unlink()
    return plan


def planned_ids(path: Path) -> Digests:
    """Sorted digests of the ids in a plan, whose last line may be half written."""
    ids = array("Q")
    with suppress(ValueError):
        for group in Plan(path, 0, array("Q")).groups():
            ids.extend(digest(unit.id) for unit in group)
    return np.unique(_numbers(ids))


def _write(units: Iterable[Unit], path: Path, size: int) -> Plan:
    path.parent.mkdir(parents=True, exist_ok=True)
    starts, files, place = array("Q"), 0, 0
    with path.open("wb") as lines:
        group: list[Unit] = []

        def write() -> None:
            nonlocal place
            fields = [[unit.id, unit.file, unit.member and unit.member.fields()] for unit in group]
            starts.append(place)
            place += lines.write(json.dumps(fields).encode("ascii") + b"\n")
            group.clear()

        for unit in units:
            group.append(unit)
            files += 1
            if len(group) == size:
                write()
        if group:
            write()
    return Plan(path, files, starts)


def _units(line: bytes) -> list[Unit]:
    return [Unit(name, file, member and Member(*member)) for name, file, member in json.loads(line)]


def _numbers(values: "array[int]") -> Digests:
    return np.frombuffer(values, np.uint64) if len(values) else np.zeros(0, np.uint64)


def _repeated(ids: "array[int]") -> set[int]:
    ordered = np.sort(_numbers(ids))
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _refuse_clashes(plan: Plan, twice: set[int], volumes: set[int]) -> None:
    if not twice and not volumes:
        return
    seen: dict[str, str] = {}
    of_several = {unit.id for group in plan.groups() for unit in group if _is_stack(unit, volumes)}
    for unit in (unit for group in plan.groups() for unit in group):
        if digest(unit.id) in twice:
            other = seen.setdefault(unit.id, unit.file)
            if os.path.abspath(other) != os.path.abspath(unit.file):
                raise InputError(
                    f"{other} and {unit.file} would both be written as {unit.id!r}; rename one of them."
                )
        of_slice = SLICE.fullmatch(unit.id)
        if of_slice is not None and of_slice[1] in of_several:
            raise InputError(
                f"{unit.file} has a name like a slice of the volume {of_slice[1]!r}, which is predicted too; "
                "rename one of them."
            )


def _is_stack(unit: Unit, volumes: set[int]) -> bool:
    """Whether a file is one of some volumes, and no TIFF of one page; in an archive that is not looked up."""
    if digest(unit.id) not in volumes or not unit.file.lower().endswith((*VOLUMES, *STACKS)):
        return False
    if unit.member is not None or not unit.file.lower().endswith(STACKS):
        return True
    try:
        return count_images(Path(unit.file)) > 1
    except InputError:
        return False  # reading it says what is wrong


def _once(plan: Plan, twice: set[int]) -> Iterator[Unit]:
    seen: set[str] = set()
    for unit in (unit for group in plan.groups() for unit in group):
        if digest(unit.id) in twice:
            if unit.id in seen:
                continue
            seen.add(unit.id)
        yield unit
