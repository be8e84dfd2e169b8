"""Fetch what a publisher offers at direct addresses, checked, into a folder that the data set's reader takes.

OUT/fetched.json     addresses, sizes and SHA-256 of what was fetched, compared the next time
OUT/archives/        archives that are kept, or that a person put there; those are checked and unpacked
OUT/.fetch/          what is not whole yet, and the lock that keeps two processes apart
OUT/...              what the archives hold
"""

import filecmp
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from delineate.checks import InputError, did_you_mean
from delineate.data.fetch.transfer import Job, Patience, download, forget
from delineate.data.fetch.unpack import BadArchiveError, Limits, Progress, megabytes, safe_path, unpack
from delineate.data.locks import claim
from delineate.data.readers.about import About, Download
from delineate.files import atomic_path, write_json

__all__ = ["RECORD", "Fetched", "Limits", "Listener", "Patience", "fetch"]

RECORD = "fetched.json"
"""Name of the file that says what was fetched."""
_ARCHIVES = "archives"
_WORK = ".fetch"


@dataclass(frozen=True)
class Fetched:
    """One file that was fetched."""

    name: str
    """Its name, as in `Download.name`."""
    url: str
    """Where it came from."""
    size: int
    """Bytes."""
    sha256: str
    """SHA-256 of its bytes, 64 hexadecimal digits."""
    fetched: str
    """Date and time, UTC."""
    holds: tuple[str, ...]
    """Paths below the folder that must be there while it counts as fetched, with "/" between folders."""


@dataclass(frozen=True)
class Listener:
    """Who wants to know how it goes on."""

    progress: Callable[[str], AbstractContextManager[Progress]] | None = None
    """Opens a progress bar of a title; what it gives is called with (bytes done, bytes in all or 0)."""
    say: Callable[[str], None] = field(default=lambda _: None)
    """Told sentences about what happens."""

    def bar(self, title: str) -> AbstractContextManager[Progress | None]:
        """Open a progress bar, or nothing when nobody listens."""
        return nullcontext() if self.progress is None else self.progress(title)


def fetch(
    about: About,
    out: Path,
    *,
    only: str | None = None,
    keep_archives: bool = False,
    listener: Listener | None = None,
    patience: Patience | None = None,
    limits: Limits | None = None,
) -> list[Fetched]:
    """Download and unpack the files of a data set that have direct addresses.

    A run that was stopped goes on where it stopped; files that are there are not fetched again. A second
    process with the same folder waits for the first.

    Args:
        about: the data set, `READERS[name].about`.
        out: folder to fill, the `root` of the reader.
        only: name of one file, `Download.name`; None for all.
        keep_archives: keep the archives in `out`/archives.
        listener: told about progress.
        patience: timeouts and repeats; None for the usual ones.
        limits: where an archive counts as a bomb; None for the usual ones.

    Returns:
        What is there now, in the order of `about.downloads`.

    Raises:
        InputError: nothing to download, an unknown `only`, another data set in `out`, no room, no connection,
            an answer that is not the file, a wrong size or checksum, or a bad archive. Nothing half-written
            is left but what the next run goes on with, in `out`/.fetch.
    """
    listener = listener or Listener()
    wanted = _wanted(about, only)
    try:
        (out / _WORK).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write to {out}: {error.strerror}; choose another folder.") from error
    with _alone(out, listener):
        for leftover in (out / _WORK).glob("unpack-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        known = _read_record(out, about)
        missing = [one for one in wanted if not _is_there(out, known.get(one.name))]
        for one in wanted:
            if one not in missing:
                listener.say(f"{one.name} is there already")
        _check_room(out, missing)
        for one in missing:
            whole, sha256 = _obtain(one, out, about, known.get(one.name), listener, patience)
            size = whole.stat().st_size
            brought = _place(one, whole, out, keep_archives, listener, limits)
            when = datetime.now(UTC).isoformat(timespec="seconds")
            holds = tuple(path.relative_to(out).as_posix() for path in brought)
            known[one.name] = Fetched(one.name, one.url, size, sha256, when, holds)
            _write_record(out, about, known)
    return [known[one.name] for one in wanted]


def _wanted(about: About, only: str | None) -> list[Download]:
    if not about.downloads:
        raise InputError(
            f"{about.title} has no direct address to download from; follow the steps that `delineate "
            f"datasets` prints for it ({about.home})."
        )
    names = [one.name for one in about.downloads]
    if only is not None and only not in names:
        raise InputError(f"{about.title} has no file {only!r}.{did_you_mean(only, names)}")
    return [one for one in about.downloads if only in (None, one.name)]


@contextmanager
def _alone(out: Path, listener: Listener) -> Iterator[None]:
    lock = out / _WORK / "lock"
    with claim(lock) as mine:
        if mine:
            yield
            return
    listener.say(f"another process is fetching into {out}; waiting for it")
    with claim(lock, patience=float("inf")):
        yield


def _obtain(
    one: Download,
    out: Path,
    about: About,
    before: Fetched | None,
    listener: Listener,
    patience: Patience | None,
) -> tuple[Path, str]:
    """The whole, checked file and its SHA-256: the one in archives/, one from a stopped run, or a new one."""
    placed = out / _ARCHIVES / one.name
    if placed.is_file():
        listener.say(f"{placed} is there and is used")
        return placed, _check_bytes(placed, one, before, listener, f"remove {placed} to download it again")
    whole = out / _WORK / one.name.replace("/", "_")
    by_hand = f"get it with a browser from {about.home}, save it as {placed} and run this again"
    if not whole.is_file():
        part = whole.with_name(whole.name + ".part")
        job = Job(one.url, one.name, part, by_hand, one.size, verified=one.checksum is not None)
        with listener.bar(one.name) as update:
            download(job, patience=patience, progress=update, say=listener.say)
        os.replace(part, whole)
        forget(part)
    try:
        return whole, _check_bytes(whole, one, before, listener, f"run this again, or {by_hand}")
    except InputError:
        whole.unlink()
        raise


def _check_bytes(path: Path, one: Download, before: Fetched | None, listener: Listener, remedy: str) -> str:
    """Compare a file with what the publisher states and with what was fetched the last time; its SHA-256."""
    size = path.stat().st_size
    if one.size is not None and size != one.size:
        raise InputError(f"{one.name} has {size} bytes, but {one.size} are published; {remedy}.")
    kind, _, expected = (one.checksum or "sha256:").partition(":")
    with listener.bar(f"checking {one.name}") as update:
        found = _digests(path, {kind, "sha256"}, update)
    if expected and found[kind] != expected.lower():
        raise InputError(
            f"{one.name} has the checksum {kind}:{found[kind]}, but {one.checksum} is published: it is "
            f"damaged or was changed by the publisher; {remedy}."
        )
    if before is not None and before.url == one.url and found["sha256"] != before.sha256:
        raise InputError(
            f"{one.name} has the SHA-256 {found['sha256']}, but had {before.sha256} when it was fetched on "
            f"{before.fetched[:10]}: it is damaged or was changed by the publisher; fetch into a new folder "
            "to take it as it is now."
        )
    return found["sha256"]


def _digests(path: Path, kinds: Collection[str], progress: Progress | None) -> dict[str, str]:
    """Checksums of a file, read once: kind -> hexadecimal digits."""
    states = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(2**22):
            for state in states.values():
                state.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    return {kind: state.hexdigest() for kind, state in states.items()}


def _place(
    one: Download, whole: Path, out: Path, keep: bool, listener: Listener, limits: Limits | None
) -> list[Path]:
    """Unpack a whole file, or put it where it belongs; the paths that it brought."""
    ours = whole.parent.name == _WORK  # what a person put into archives/ stays there
    if one.unpack is None:
        target = out / safe_path(one.name, one.url)
        there = target.exists()
        if there and not filecmp.cmp(whole, target, shallow=False):
            raise InputError(
                f"{target} is there already and differs from what {one.url} gives; move it away or choose "
                "another folder."
            )
        if ours and not there:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(whole, target)
        elif not there:
            with atomic_path(target) as temporary:
                shutil.copyfile(whole, temporary)
        brought = [target]
    else:
        into = out / safe_path(one.unpack, one.url) if one.unpack else out
        try:
            with listener.bar(f"unpacking {one.name}") as update:
                brought = [into / name for name in unpack(whole, into, out / _WORK, limits, update)]
        except BadArchiveError:
            if ours:
                whole.unlink()
            raise
    if ours and keep and one.unpack is not None:
        (out / _ARCHIVES).mkdir(exist_ok=True)
        os.replace(whole, out / _ARCHIVES / one.name)
    elif ours:
        whole.unlink(missing_ok=True)
    return brought


def _check_room(out: Path, missing: Sequence[Download]) -> None:
    """Refuse early when the sizes that are known, each once packed and once unpacked, exceed the disk."""
    sizes = [one.size or 0 for one in missing]
    needed = sum(sizes) + max(sizes, default=0)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise InputError(
            f"{out} has {megabytes(free)} free, but at least {megabytes(needed)} are needed; free space or "
            "choose another folder."
        )


def _is_there(out: Path, before: Fetched | None) -> bool:
    return before is not None and all((out / name).exists() for name in before.holds)


def _read_record(out: Path, about: About) -> dict[str, Fetched]:
    path = out / RECORD
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        title = content["title"]
        files = [Fetched(**{**row, "holds": tuple(row["holds"])}) for row in content["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged; remove it to fetch everything again.") from error
    if title != about.title:
        raise InputError(f"{out} holds {title}; choose another folder for {about.title}.")
    return {one.name: one for one in files}


def _write_record(out: Path, about: About, known: dict[str, Fetched]) -> None:
    write_json(
        out / RECORD,
        {
            "title": about.title,
            "licence": about.licence,
            "citation": about.citation,
            "files": [asdict(one) for one in known.values()],
        },
    )
