"""What a job has finished, so that it can go on after it was killed at any moment.

Tables only grow. After each group of files its rows are appended to the tables, then one line to the journal:
which files are done and how long the tables are now. Whatever lies beyond the last whole line is cut off when
the job goes on, so that no row stands twice or in half.
"""

import json
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from delineate.checks import InputError
from delineate.inference.job.plan import Digests, digest, file_digest
from delineate.inference.job.sources import Unit


@dataclass(frozen=True)
class Done:
    """The files that were finished before; 16 bytes each."""

    ids: Digests
    """Digests of their ids, sorted."""
    files: Digests
    """Digests of their paths, in the same order."""
    images: int
    """Images in them."""

    def holds(self, unit: Unit) -> bool:
        """Whether a file is finished.

        Raises:
            InputError: another file of the same id is.
        """
        wanted = np.uint64(digest(unit.id))
        place = int(np.searchsorted(self.ids, wanted))
        if place == len(self.ids) or self.ids[place] != wanted:
            return False
        if int(self.files[place]) != file_digest(unit):
            raise InputError(
                f"{unit.id!r} was predicted there from another file than {unit.file}; rename it, or choose "
                "another --out."
            )
        return True


class Journal:
    """The tables of a job and the list of what is done.

    Args:
        out: folder of the tables.
        path: the journal itself.
        heads: table -> its first line, or "" for none.

    Raises:
        InputError: a table cannot be written.
    """

    def __init__(self, out: Path, path: Path, heads: Mapping[str, str]) -> None:
        self._files: dict[str, IO[bytes]] = {}
        lengths, self.done, kept = _read(path, {name: _length(out / name) for name in heads})
        try:
            for name, head in heads.items():
                self._files[name] = _cut(out / name, lengths.get(name, 0))
                if head and lengths.get(name, 0) == 0:
                    self._files[name].write(head.encode())
                    self._files[name].flush()
            self._journal = _cut(path, kept)
        except OSError as error:
            self.close()
            raise InputError(
                f"Cannot write into {out}: {error.strerror}; choose a folder you may write to."
            ) from error

    def commit(self, units: Sequence[Unit], images: int, rows: Mapping[str, str]) -> None:
        """Append the rows of finished files and note that they are done.

        Raises:
            InputError: the disk is full.
        """
        try:
            for name, text in rows.items():
                self._files[name].write(text.encode("utf-8", "backslashreplace"))  # odd file names
            for file in self._files.values():
                file.flush()
            line = {
                "ids": [digest(unit.id) for unit in units],
                "files": [file_digest(unit) for unit in units],
                "images": images,
                "bytes": {name: file.tell() for name, file in self._files.items()},
            }
            self._journal.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            self._journal.flush()
        except OSError as error:
            raise InputError(
                f"Cannot write the tables: {error.strerror}; free space and go on with --resume."
            ) from error

    def close(self) -> None:
        """Close the files."""
        for file in (*self._files.values(), *([self._journal] if hasattr(self, "_journal") else [])):
            file.close()


def read_done(path: Path) -> Done:
    """Read which files a journal calls done, whatever became of the tables."""
    return _read(path, None)[1]


def _cut(path: Path, length: int) -> IO[bytes]:
    file = path.open("ab")
    file.truncate(length)
    file.seek(0, os.SEEK_END)  # truncating leaves the place, which `commit` notes, beyond the end
    return file


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read(path: Path, present: Mapping[str, int] | None) -> tuple[dict[str, int], Done, int]:
    """The lengths of the tables that count, what is done by then, and the length of the journal that counts.

    A line whose tables are not all there, as after a power failure, ends what counts.
    """
    ids, files, images, kept = array("Q"), array("Q"), 0, 0
    lengths: dict[str, int] = {}
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if entry is None:
                    break
                if present is not None and any(present.get(k, 0) < n for k, n in entry["bytes"].items()):
                    break
                ids.extend(entry["ids"])
                files.extend(entry["files"])
                images += entry["images"]
                lengths = entry["bytes"]
                kept += len(line)
    numbers = np.array(ids, np.uint64)
    order = np.argsort(numbers, kind="stable")
    return lengths, Done(numbers[order], np.array(files, np.uint64)[order], images), kept
