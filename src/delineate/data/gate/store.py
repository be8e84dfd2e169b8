"""Facts of files, kept between runs, so that the gate before every training need not decode all again.

One SQLite file in the cache folder. A row is believed only while size, mtime, ctime, inode and device of
every file of the case are what they were before it was read, and only when all had been at rest for two
seconds then (see `delineate.data.hashes` on racy files). Every row carries a digest of itself. A damaged
store is removed and made anew; one that is locked or cannot be written is done without: it saves time and
decides nothing.
"""

import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import PIL

from delineate.data.cache import default_folder
from delineate.data.case import Case
from delineate.data.gate.facts import THUMBNAIL, CaseFacts, MaskValues
from delineate.data.hashes import RACY_NS
from delineate.version import __version__

T = TypeVar("T")

FORMAT = 1
"""Raise it when facts are read or written in another way, so that no old row is used."""
_TABLE = "CREATE TABLE IF NOT EXISTS facts (key BLOB PRIMARY KEY, stamp BLOB, content BLOB, digest BLOB)"
_BYTES = ("image_pixels", "mask_pixels", "thumbnail")
_TUPLES = ("image_size", "mask_size", "mask_counts", "raw_range")
_log = logging.getLogger(__name__)


class FactStore:
    """Facts of cases that were read before; safe to share between processes.

    Args:
        path: the file; None for `gate.sqlite` in the cache folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = default_folder() / "gate.sqlite" if path is None else Path(path)
        self._usable = True

    def stamp(self, case: Case) -> bytes | None:
        """What the status of the case's files says, or None while one is missing or was just written."""
        now = time.time_ns()
        parts = []
        for path in (case.image, *case.masks):
            try:
                status = os.stat(path)
            except OSError:
                return None
            if status.st_ctime_ns + RACY_NS > now:
                return None
            parts.append(
                (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
            )
        return _digest(repr(parts).encode())

    def get(self, cases: Sequence[Case]) -> dict[int, CaseFacts]:
        """Position in `cases` -> facts, for the cases whose files are surely unchanged."""
        keys = [_key(case) for case in cases]
        query = f"SELECT key, stamp, content, digest FROM facts WHERE key IN ({','.join('?' * len(keys))})"
        rows = (
            self._use(lambda connection: {row[0]: row[1:] for row in connection.execute(query, keys)}) or {}
        )
        found = {}
        for position, (case, key) in enumerate(zip(cases, keys, strict=True)):
            if key in rows:
                stamp, content, digest = rows[key]
                whole = all(isinstance(part, bytes) for part in rows[key])
                if whole and digest == _digest(key, stamp, content) and stamp == self.stamp(case):
                    fact = _unpack(content)
                    if fact is not None:
                        found[position] = fact
        return found

    def put(self, read: Sequence[tuple[Case, CaseFacts]], stamps: Sequence[bytes | None]) -> None:
        """Keep facts, except those of unreadable files, which another version may be able to read.

        Args:
            read: the cases and what was read.
            stamps: the stamp of each, taken before it was read.
        """
        rows = []
        for (case, fact), stamp in zip(read, stamps, strict=True):
            sound = fact.image_error is None and fact.mask_error is None
            if sound and stamp is not None and stamp == self.stamp(case):  # else written to meanwhile
                key, content = _key(case), _pack(fact)
                rows.append((key, stamp, content, _digest(key, stamp, content)))
        if rows:
            command = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)"
            self._use(lambda connection: connection.executemany(command, rows))

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` gives, or None when the store cannot be used, which is no fault of the caller's."""
        if not self._usable:
            return None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=20)) as connection, connection:
                connection.execute(_TABLE)
                return work(connection)
        except (sqlite3.DatabaseError, OSError) as error:
            # Locked, no space, read-only are states of the machine; the rest are faults of the file, among
            # them the plain SQLITE_ERROR of a table with other columns.
            kind = getattr(error, "sqlite_errorname", "")
            if isinstance(error, OSError) or (
                isinstance(error, sqlite3.OperationalError) and kind != "SQLITE_ERROR"
            ):
                _log.info("The gate reads all files again: %s cannot be used (%s)", self.path, error)
                self._usable = False
            else:
                _log.info("Making %s anew: %s", self.path, error)
                with suppress(OSError):
                    self.path.unlink()
        return None


def _key(case: Case) -> bytes:
    """Which reading of which files; the stamp says whether it still holds."""
    paths = [os.path.abspath(path) for path in (case.image, *case.masks)]
    encoding = case.encoding
    rule = (len(encoding.classes), encoding.values, encoding.background, encoding.threshold)
    versions = (FORMAT, __version__, PIL.__version__)  # another Pillow may decode otherwise
    return _digest(repr((versions, paths, case.mask is None, case.slice, case.window, rule)).encode())


def _pack(fact: CaseFacts) -> bytes:
    content: dict[str, Any] = asdict(fact)
    for name in _BYTES:
        content[name] = None if content[name] is None else content[name].hex()
    if fact.mask_values is not None:
        values = fact.mask_values
        content["mask_values"] = [values.present.hex(), values.frequent.hex(), values.middle]
    return json.dumps(content).encode()


def _unpack(content: bytes) -> CaseFacts | None:
    """The facts, or None when they are not what this version writes."""
    try:
        fields = json.loads(content)
        for name in _BYTES:
            fields[name] = None if fields[name] is None else bytes.fromhex(fields[name])
        for name in _TUPLES:
            fields[name] = None if fields[name] is None else tuple(fields[name])
        if fields["mask_values"] is not None:
            present, frequent, middle = fields["mask_values"]
            fields["mask_values"] = MaskValues(bytes.fromhex(present), bytes.fromhex(frequent), float(middle))
        fact = CaseFacts(**fields)
    except (ValueError, TypeError, KeyError):
        return None
    return fact if fact.thumbnail is not None and len(fact.thumbnail) == THUMBNAIL**2 else None


def _digest(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
