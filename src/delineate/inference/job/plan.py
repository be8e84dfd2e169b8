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
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.data.volumes import ENDINGS as VOLUMES
from delineate.inference.job.archives import Member
from delineate.inference.job.sources import Unit

Digests = NDArray[np.uint64]
_SLICE = re.compile(r"(.+)_s\d{3,}")


def digest(text: str) -> int:
    """A 64-bit number for a text; two of a million texts share one with a chance of 3 in 10^8."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


def file_digest(unit: Unit) -> int:
    """As `digest`, for where a file lies, however its path was written."""
    return digest(os.path.abspath(unit.file))


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
        InputError: two files have one id, or a picture has the id of a volume's slice.
    """
    ids, volumes, slices = array("Q"), array("Q"), array("Q")

    def noted() -> Iterator[Unit]:
        for unit in units:
            ids.append(digest(unit.id))
            if unit.file.lower().endswith(VOLUMES):
                volumes.append(ids[-1])
            if (of_slice := _SLICE.fullmatch(unit.id)) is not None:
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
    for unit in (unit for group in plan.groups() for unit in group):
        if digest(unit.id) in twice:
            other = seen.setdefault(unit.id, unit.file)
            if os.path.abspath(other) != os.path.abspath(unit.file):
                raise InputError(
                    f"{other} and {unit.file} would both be written as {unit.id!r}; rename one of them."
                )
        of_slice = _SLICE.fullmatch(unit.id)
        if of_slice is not None and digest(of_slice[1]) in volumes:
            raise InputError(
                f"{unit.file} has a name like a slice of the volume {of_slice[1]!r}, which is predicted too; "
                "rename one of them."
            )


def _once(plan: Plan, twice: set[int]) -> Iterator[Unit]:
    seen: set[str] = set()
    for unit in (unit for group in plan.groups() for unit in group):
        if digest(unit.id) in twice:
            if unit.id in seen:
                continue
            seen.add(unit.id)
        yield unit
