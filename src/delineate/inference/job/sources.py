"""What a job predicts: files, folders, patterns, lists of names and archives, listed one by one.

The id of a file, which names everything that is written about it, is its name without the ending. Below a
folder, a pattern or an archive the folders between become part of it: `ward/7/a.png` is `ward__7__a`.
"""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from delineate.checks import InputError
from delineate.data.fetch.unpack import safe_path
from delineate.data.images import ENDINGS
from delineate.data.pictures import count_pages
from delineate.data.volumes import is_volume, volume_slices
from delineate.inference.job.archives import Member, is_archive, list_members

STACKS = (".tif", ".tiff")
"""Endings of the pictures that may have several pages, in lower case."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One file to predict: a picture, or a volume or stack of several."""

    id: str
    """Unique in a job."""
    file: str
    """Where it lies, for people and tables; in an archive "<archive>/<name>"."""
    member: Member | None = None
    """Its place in an archive; None for a file of its own."""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.file.rpartition("/")[2] if self.member else os.path.basename(self.file)


def count_images(path: Path) -> int:
    """Number of images in a file: slices of a volume, frames of a DICOM file, pages of a TIFF, else 1.

    Raises:
        InputError: the header that says so is missing or damaged.
    """
    if is_volume(path):
        return volume_slices(path)
    return count_pages(path) if path.name.lower().endswith(STACKS) else 1


def list_units(sources: Iterable[str | Path], *, recursive: bool = False) -> Iterator[Unit]:
    """List the files of some sources, lazily, in the order given; folders sorted by name.

    The names of one folder, and those that a pattern matches, are in memory while they are sorted, about 100
    bytes each.

    Args:
        sources: image files; folders; patterns such as "scans/*.dcm" or "scans/**/*.dcm"; "@names.txt", a
            text file with one path per line, counted from the current folder; .zip, .tar, .tar.gz and .tgz
            archives. Folders, patterns and archives give the files with an ending that is read; hidden ones
            are left out.
        recursive: also list what lies in the folders below the named ones.

    Raises:
        InputError: a source does not exist or holds no image, or an archive is damaged or malicious.
    """
    for source in sources:
        text = str(source)
        path = Path(text)
        if path.is_dir():
            found = _in_folder(path, recursive)
            reason = f"The folder {text} holds no image ({', '.join(ENDINGS)})."
            if not recursive:
                reason = reason[:-1] + "; --recursive also looks into the folders below it."
        elif path.exists():
            found, reason = _of_file(text), f"The archive {text} holds no image ({', '.join(ENDINGS)})."
        elif text.startswith("@"):
            found, reason = _named_in(Path(text[1:])), f"The list {text[1:]} names no file."
        elif glob.has_magic(text):
            found, reason = _matching(text), f"The pattern {text} matches no image ({', '.join(ENDINGS)})."
        else:
            raise InputError(f"{text} does not exist.")
        empty = True
        for unit in found:
            empty = False
            yield unit
        if empty:
            raise InputError(reason)


def id_of(parts: Sequence[str]) -> str:
    """The id of a file: its folders and its name without the ending, joined by "__"."""
    name = parts[-1]
    lower = name.lower()
    known = max((e for e in ENDINGS if lower.endswith(e)), key=len, default="") or Path(name).suffix
    return "__".join((*parts[:-1], name[: len(name) - len(known)]))


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def _of_file(text: str) -> Iterator[Unit]:
    if is_archive(text):
        return _in_archive(Path(text))
    return iter([Unit(id_of([Path(text).name]), text)])


def _in_folder(folder: Path, recursive: bool, above: tuple[str, ...] = ()) -> Iterator[Unit]:
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_image(entry.name) and not entry.is_dir():
                files.append(entry.name)
            elif recursive and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
    files.sort()
    for name in files:
        yield Unit(id_of((*above, name)), str(folder / name))
    for name in sorted(folders):
        yield from _in_folder(folder / name, recursive, (*above, name))


def _matching(pattern: str) -> Iterator[Unit]:
    """The files that a pattern matches; ids count from the last folder without a wildcard."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    for text in sorted(glob.iglob(pattern, recursive=True)):
        if is_archive(text) and os.path.isfile(text):
            yield from _in_archive(Path(text))
        elif _is_image(Path(text).name) and not os.path.isdir(text):
            yield Unit(id_of(Path(text).parts[fixed:]), text)


def _named_in(names: Path) -> Iterator[Unit]:
    """The files that a list names; one that is missing is found out when it is read."""
    try:
        with names.open(encoding="utf-8-sig") as lines:
            for line in lines:
                text = line.strip()
                if text and not text.startswith("#"):
                    yield from _of_file(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(
            f"The list {names} cannot be read: {reason}; give a text file with a path per line."
        ) from error


def _in_archive(archive: Path) -> Iterator[Unit]:
    for member in list_members(archive):
        if not _is_image(member.name.rpartition("/")[2]):
            continue
        parts = safe_path(member.name, str(archive)).parts
        if "__MACOSX" not in parts:
            yield Unit(id_of(parts), f"{archive}/{'/'.join(parts)}", member)
