"""Unpack zip, tar and gz files that strangers made: nothing leaves the folder, nothing fills the disk.

An archive is unpacked beside its place first and moved there only when all of it came out whole. Refused are
absolute names, "..", links and devices, encryption, a name that stands twice, and archives that grow beyond
all measure. What is there already is kept when it has the same bytes and refused when it has others.
"""

import filecmp
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from delineate.checks import InputError

Progress = Callable[[int, int], None]

_CHUNK = 2**20
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError)


class BadArchiveError(InputError):
    """The archive itself is at fault; unpacking it again would fail again."""


@dataclass(frozen=True)
class Limits:
    """Where an archive counts as a bomb."""

    ratio: int = 100
    """Unpacked bytes per byte of the archive that are refused when `always` is passed, too. Deflate reaches
    1032; whole sets of uncompressed pictures stay far below 100."""
    always: int = 2**30
    """Unpacked bytes that are accepted whatever the ratio."""
    members: int = 1_000_000
    """Files and folders."""
    spare: int = 64 * 2**20
    """Bytes of the disk that stay free."""


class _Budget:
    """Counts unpacked bytes and members, and refuses what is too much."""

    def __init__(self, archive: Path, folder: Path, limits: Limits) -> None:
        self._archive = archive
        self._folder = folder
        self._limits = limits
        self._most = max(limits.always, limits.ratio * archive.stat().st_size)
        self._room = shutil.disk_usage(folder).free - limits.spare
        self._members = 0
        self.done = 0

    def member(self) -> None:
        self._members += 1
        if self._members > self._limits.members:
            raise BadArchiveError(
                f"{self._archive} holds more than {self._limits.members} files, which no data set needs; "
                "unpack it by hand if you trust it."
            )

    def take(self, count: int) -> None:
        self.done += count
        self.check(self.done)

    def check(self, total: int) -> None:
        """Refuse `total` unpacked bytes when they are too many."""
        if total > self._most:
            raise BadArchiveError(
                f"{self._archive} would grow to more than {self._limits.ratio} times its size, as only "
                "malicious archives do; unpack it by hand if you trust it."
            )
        if total > self._room:
            raise InputError(
                f"{self._folder} has no room for what {self._archive.name} holds; free "
                f"{megabytes(total - self._room)} or more and run this again."
            )


def unpack(
    archive: Path, into: Path, work: Path, limits: Limits | None = None, progress: Progress | None = None
) -> list[str]:
    """Unpack an archive as a whole.

    Args:
        archive: a zip file, a tar file (plain or compressed with gzip, bzip2 or xz), or one file compressed
            with gzip; the content decides, not the name.
        into: folder that gets what the archive holds; made when it is missing.
        work: folder on the same disk for what is not whole yet.
        limits: where an archive counts as a bomb; None for the usual ones.
        progress: called with (unpacked bytes, bytes in all, 0 when unknown).

    Returns:
        The names of the archive's top level, sorted.

    Raises:
        BadArchiveError: the archive is damaged or malicious, or of a kind that is not known.
        InputError: `into` holds other files of the same names, or the disk is full; `into` is unchanged.
    """
    fresh = Path(tempfile.mkdtemp(dir=work, prefix="unpack-"))
    try:
        _extract(archive, fresh, _Budget(archive, work, limits or Limits()), progress)
        entries = sorted(entry.name for entry in fresh.iterdir())
        if not entries:
            raise BadArchiveError(f"{archive} is empty; download it again.")
        into.mkdir(parents=True, exist_ok=True)
        for source, target in list(_moves(fresh, into, archive)):
            os.replace(source, target)
        return entries
    except _DAMAGE as error:
        raise BadArchiveError(f"{archive} is damaged ({error}); download it again.") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise BadArchiveError(
            f"{archive} holds the name {_inside(error, fresh)} twice; unpack it by hand if you trust it."
        ) from error
    except OSError as error:
        raise InputError(
            f"Cannot unpack {archive} into {into}: {error.strerror or error}; free space or choose a folder "
            "you may write to."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def safe_path(name: str, where: str) -> Path:
    """Turn a name from outside into a relative path that stays below its folder.

    Args:
        name: with "/" or a backslash between folders.
        where: what holds the name, for the message.

    Raises:
        BadArchiveError: the name is empty, absolute, has a drive or leads out with "..".
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or not parts or ".." in parts or ":" in parts[0] or "\0" in name:
        raise BadArchiveError(
            f"{where} holds the name {name!r}, which leads out of its folder; do not unpack it, and tell the "
            "publisher."
        )
    return Path(*parts)


def megabytes(count: int) -> str:
    """Write a number of bytes for people, in units of 1000."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 0.1):.1f} MB"


def _extract(archive: Path, fresh: Path, budget: _Budget, progress: Progress | None) -> None:
    with archive.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"PK" and zipfile.is_zipfile(archive):
        _extract_zip(archive, fresh, budget, progress)
    elif _is_tar(archive):
        _extract_tar(archive, fresh, budget, progress)
    elif start[:2] == b"\x1f\x8b":
        with gzip.open(archive) as packed:
            _copy(packed, fresh / archive.name.removesuffix(".gz"), budget, progress, 0)
    else:
        raise BadArchiveError(
            f"{archive} is no whole zip, tar or gz file; download it again, or unpack another kind by hand."
        )


def _is_tar(archive: Path) -> bool:
    """Whether a first member can be read; a file of zeros alone would pass for an empty tar file."""
    try:
        with tarfile.open(archive, "r:*") as bundle:
            return bundle.next() is not None
    except _DAMAGE:
        return False


def _extract_zip(archive: Path, fresh: Path, budget: _Budget, progress: Progress | None) -> None:
    with zipfile.ZipFile(archive) as bundle:
        members = bundle.infolist()
        total = sum(member.file_size for member in members)
        budget.check(total)
        for member in members:
            budget.member()
            place = fresh / safe_path(member.filename, str(archive))
            mode = stat.S_IFMT(member.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _no_plain_file(archive, member.filename)
            if member.flag_bits & 1:
                raise BadArchiveError(
                    f"{archive} asks for a password; unpack it by hand with the publisher's."
                )
            if member.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            try:
                with bundle.open(member) as packed:
                    _copy(packed, place, budget, progress, total)
            except NotImplementedError as error:
                raise BadArchiveError(
                    f"{archive} is compressed in a way that Python cannot read; unpack it by hand."
                ) from error


def _extract_tar(archive: Path, fresh: Path, budget: _Budget, progress: Progress | None) -> None:
    with tarfile.open(archive, "r:*") as bundle:
        for member in bundle:
            budget.member()
            if member.isdir() and member.name in (".", "./"):
                continue
            place = fresh / safe_path(member.name, str(archive))
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            packed = bundle.extractfile(member) if member.isreg() else None
            if packed is None:
                raise _no_plain_file(archive, member.name)
            with packed:
                _copy(packed, place, budget, progress, 0)


def _copy(
    packed: IO[bytes] | gzip.GzipFile, place: Path, budget: _Budget, progress: Progress | None, total: int
) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as file:
        while chunk := packed.read(_CHUNK):
            budget.take(len(chunk))
            file.write(chunk)
            if progress is not None:
                progress(budget.done, total)


def _moves(fresh: Path, into: Path, archive: Path) -> Iterator[tuple[Path, Path]]:
    """What has to be moved where; folders that are there already are filled up, equal files are left out."""
    for source in sorted(fresh.iterdir()):
        target = into / source.name
        if not os.path.lexists(target):
            yield source, target
        elif source.is_dir() and target.is_dir():
            yield from _moves(source, target, archive)
        elif not (source.is_file() and target.is_file() and filecmp.cmp(source, target, shallow=False)):
            raise InputError(
                f"{target} is there already and differs from what {archive.name} holds; move it away or "
                "choose another folder."
            )


def _no_plain_file(archive: Path, name: str) -> BadArchiveError:
    return BadArchiveError(
        f"{archive} holds {name!r}, which is a link or a device and no plain file; unpack it by hand if you "
        "trust it."
    )


def _inside(error: OSError, fresh: Path) -> str:
    path = Path(str(error.filename))
    return repr(path.relative_to(fresh).as_posix()) if path.is_relative_to(fresh) else repr(path.name)
