"""SHA-256 of source files, without reading again what is surely unchanged.

Hashing a file at every access would cost as much as decoding a small one. Its SHA-256 is therefore remembered
together with size, mtime, ctime, inode and device, and believed only while all of them are unchanged and the
file was at rest when it was hashed (as git does for its index, see "racy git"): a file changed less than two
seconds before may change again without a visible sign.
"""

import json
import os
import re
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from delineate.checks import InputError
from delineate.data.locks import claim
from delineate.files import sha256_of, write_text

RACY_NS = 2_000_000_000
"""How long a file must be at rest before its stamp is believed: the coarsest file time in use (FAT)."""
SCHEMA = 1
_ATTEMPTS = 5
_SAVING_SECONDS = 10.0

Status = tuple[int, int, int, int, int]
"""Size, mtime and ctime in nanoseconds, inode, device."""


class _Stamp(NamedTuple):
    """What a file's status says, and the SHA-256 it had at that time."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    hashed_ns: int
    sha256: str


class FileHashes:
    """The SHA-256 of files, kept between runs in one small JSON file; safe to share between threads.

    Args:
        store: the JSON file; a missing or damaged one is worth as much as an empty one.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._saved = time.monotonic()
        self._changed = False
        self._stamps = self._stored()

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}  # for worker processes

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def known(self, path: Path) -> str | None:
        """The SHA-256 of a file that was hashed before and has not changed since, else None.

        It is read only when it was hashed so soon after its last change that a further one might not show.

        Raises:
            InputError: the file is missing or cannot be read.
        """
        try:
            stamp, status = self._stamps.get(os.path.abspath(path)), _status(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        return self.digest(path) if stamp is not None and stamp[:5] == status else None

    def digest(self, path: Path) -> str:
        """SHA-256 of a file's bytes, read only when it is not known.

        Raises:
            InputError: the file is missing, cannot be read, or keeps changing.
        """
        return self.state(path)[0]

    def state(self, path: Path) -> tuple[str, Status]:
        """SHA-256 and status of a file: what is read between two equal states are the bytes hashed.

        Raises:
            InputError: as `digest`.
        """
        try:
            for _ in range(_ATTEMPTS):
                before = _status(path)
                if (known := self._believed(path, before)) is not None:
                    return known, before
                hashed_ns = time.time_ns()
                digest = sha256_of(Path(path))
                if _status(path) == before:  # else it was written to meanwhile
                    self._remember(path, before, hashed_ns, digest)
                    return digest, before
        except OSError as error:
            raise _unreadable(path, error) from error
        raise keeps_changing(path)

    def read(self, path: Path) -> tuple[bytes, str]:
        """The bytes of a file and their SHA-256, from one reading.

        Raises:
            InputError: the file is missing or cannot be read.
        """
        try:
            before, hashed_ns = _status(path), time.time_ns()
            data = Path(path).read_bytes()
            digest = sha256(data).hexdigest()
            if _status(path) == before:
                self._remember(path, before, hashed_ns, digest)
        except OSError as error:
            raise _unreadable(path, error) from error
        return data, digest

    def save(self, *, every: float = 0.0) -> None:
        """Write what is known, together with what another process wrote meanwhile.

        Args:
            every: seconds since the last writing before which nothing is written.

        Raises:
            InputError: the file cannot be written.
        """
        if not self._changed or time.monotonic() - self._saved < every:
            return
        with self._lock, claim(self._store.with_suffix(".lock"), patience=_SAVING_SECONDS):
            self._stamps = self._stored() | self._stamps
            content = {"schema": SCHEMA, "files": self._stamps}
            write_text(self._store, json.dumps(content, separators=(",", ":")) + "\n")
            self._changed, self._saved = False, time.monotonic()

    def _believed(self, path: Path, status: Status) -> str | None:
        stamp = self._stamps.get(os.path.abspath(path))
        if stamp is None or stamp[:5] != status or stamp.ctime_ns + RACY_NS > stamp.hashed_ns:
            return None
        return stamp.sha256

    def _remember(self, path: Path, status: Status, hashed_ns: int, digest: str) -> None:
        with self._lock:
            self._stamps[os.path.abspath(path)] = _Stamp(*status, hashed_ns, digest)
            self._changed = True

    def _stored(self) -> dict[str, _Stamp]:
        """What the file knows; a damaged one only costs hashing again."""
        try:
            content = json.loads(self._store.read_text(encoding="utf-8"))
            files = content["files"] if content["schema"] == SCHEMA else {}
            return {path: stamp for path, raw in files.items() if (stamp := _stamp(raw)) is not None}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}


def keeps_changing(path: Path) -> InputError:
    """The error for a file that somebody is still writing."""
    return InputError(f"{path} keeps changing while it is read; wait until it is written.")


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}); check the path.")


def _status(path: Path) -> Status:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _stamp(raw: object) -> _Stamp | None:
    if not isinstance(raw, list) or len(raw) != 7 or not all(type(number) is int for number in raw[:6]):
        return None
    return _Stamp(*raw) if isinstance(raw[6], str) and re.fullmatch("[0-9a-f]{64}", raw[6]) else None
