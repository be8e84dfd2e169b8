"""Write any data set as a plain folder: one layout for every tool, whatever the publisher's is."""

import csv
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delineate.checks import InputError, choose
from delineate.data.cache import resize_image, resize_mask
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import read_case_image, read_case_mask
from delineate.data.regions import REGIONS, Box
from delineate.files import write_json

_JPEG = b"\xff\xd8\xff"
_FOREGROUND = 255  # of a mask with one class, so that a person sees something


class Converted(NamedTuple):
    """What `convert` wrote."""

    cases: int
    """Number of images."""
    masks: int
    """Number of masks."""
    copied: int
    """Images whose bytes are the original's; the others were decoded and written as PNG."""
    cut: tuple[str, ...]
    """Ids of the cases whose mask reaches beyond the region, so that foreground was lost."""


@dataclass(frozen=True)
class _Written:
    """One case after conversion."""

    id: str
    masked: bool
    copied: bool
    lost: bool
    spacing: tuple[float, float] | None
    region: Box | None
    original: tuple[int, int]


def convert(
    cases: Sequence[Case],
    out: Path,
    *,
    region: str | None = None,
    size: int | None = None,
    about: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Write cases as a plain folder, whole or not at all.

    Images become `images/<id>.png`, RGB of 8 bits, with the case's slice and window applied; an 8-bit JPEG
    that is neither cut nor resized keeps its bytes. Masks become `masks/<id>.png`: 0 and 255 for one class,
    else 0 for the background and i for the i-th class, named in classes.csv. Beside them lie labels.csv,
    split.csv, groups.csv and spacing.csv as far as anything is known, regions.csv with `region` (the box in
    the original's pixels), and conversion.json.

    Args:
        cases: what to write; ids are unique and usable as file names.
        out: folder to write; new or empty.
        region: key of `delineate.data.regions.REGIONS`: part of the picture that is kept.
        size: longer side of the pictures in pixels, larger or smaller than it was, the aspect ratio kept;
            None keeps the size. Spacing is scaled with it.
        about: written to conversion.json, for example data set, protocol and seed.
        workers: threads; None for as many as there are cores, at most 8.
        progress: called with (done, all) after each case.

    Returns:
        What was written.

    Raises:
        InputError: `out` holds files, a file cannot be read or written, an image and its mask differ in size,
            two cases differ in their mask classes, or an id is not a file name.
    """
    if not cases:
        raise InputError("There is no case to convert; check the data set and the protocol.")
    if size is not None and size < 1:
        raise InputError(f"The size must be at least 1 pixel, got {size}.")
    classes = _common_classes(cases)
    for case in cases:
        if Path(case.id).name != case.id or case.id.startswith("."):
            raise InputError(f"The id {case.id!r} is not usable as a file name; rename the case.")
    if len({case.id for case in cases}) != len(cases):
        raise InputError("Two cases have the same id; ids must be unique within a data set.")
    find = None if region is None else choose("region", region, REGIONS)

    with _whole_folder(out) as folder:
        (folder / "images").mkdir()
        written: list[_Written] = []
        threads = workers or min(8, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(cases), 8 * threads):
                part = cases[start : start + 8 * threads]
                for one in pool.map(lambda case: _write_case(case, folder, find, size, len(classes)), part):
                    written.append(one)
                    if progress is not None:
                        progress(len(written), len(cases))
        _write_tables(cases, written, folder, classes)
        steps = {"region": region, "size": size}
        write_json(folder / "conversion.json", {**(about or {}), **steps, "cases": len(written)})
    return Converted(
        cases=len(written),
        masks=sum(one.masked for one in written),
        copied=sum(one.copied for one in written),
        cut=tuple(sorted(one.id for one in written if one.lost)),
    )


def _common_classes(cases: Sequence[Case]) -> tuple[str, ...]:
    masked = [case for case in cases if case.mask is not None]
    for case in masked:
        if case.encoding.classes != masked[0].encoding.classes:
            raise InputError(
                f"The mask classes of {case.id!r} are {', '.join(case.encoding.classes)}, those of "
                f"{masked[0].id!r} {', '.join(masked[0].encoding.classes)}; convert them into two folders."
            )
    return masked[0].encoding.classes if masked else ()


def _write_case(
    case: Case,
    folder: Path,
    find: Callable[[NDArray[np.uint8]], Box] | None,
    size: int | None,
    classes: int,
) -> _Written:
    """Write the image and the mask of one case."""
    image = read_case_image(case)
    mask = None if case.mask is None else read_case_mask(case)
    original = image.shape[0], image.shape[1]
    if mask is not None and mask.shape != original:
        raise InputError(
            f"{case.mask} has {[*mask.shape]} pixels, its image {[*original]}; give both one size."
        )
    box, lost = None, False
    if find is not None:
        try:
            box = find(image)
        except InputError as error:
            raise InputError(f"{case.image}: {error}") from error
        image = np.ascontiguousarray(box.crop(image))
        if mask is not None:
            part = np.ascontiguousarray(box.crop(mask))
            lost = bool(np.count_nonzero(part) < np.count_nonzero(mask))
            mask = part
    kept = image.shape[0], image.shape[1]
    target = kept if size is None else _scaled(kept, size)

    plain = case.slice is None and case.window is None
    copied = find is None and target == kept and plain and _is_jpeg(case.image)
    if copied:
        shutil.copyfile(case.image, folder / "images" / f"{case.id}.jpg")
    else:
        _save(resize_image(image, target), folder / "images" / f"{case.id}.png")
    if mask is not None:
        indices = resize_mask(mask, target)
        values = indices * np.uint8(_FOREGROUND) if classes == 1 else indices
        _save(values, folder / "masks" / f"{case.id}.png")
    spacing = case.spacing and (case.spacing[0] * kept[0] / target[0], case.spacing[1] * kept[1] / target[1])
    return _Written(case.id, mask is not None, copied, lost, spacing, box, original)


def _scaled(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """The (height, width) whose longer side is `size`, with the aspect ratio of `shape`."""
    longer = max(shape)
    return max(1, round(shape[0] * size / longer)), max(1, round(shape[1] * size / longer))


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_JPEG)) == _JPEG


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=3)


def _write_tables(
    cases: Sequence[Case], written: Iterable[_Written], folder: Path, classes: tuple[str, ...]
) -> None:
    """Write what is known about the cases; a table with nothing to say is left out."""
    for name, column in (("labels", "label"), ("split", "split"), ("groups", "group")):
        rows = [(case.id, value) for case in cases if (value := getattr(case, column)) is not None]
        _table(folder / f"{name}.csv", ("image_id", column), rows)
    scales = [(one.id, *(f"{side:.9g}" for side in one.spacing)) for one in written if one.spacing]
    _table(folder / "spacing.csv", ("image_id", "row_mm", "column_mm"), scales)
    boxes = [(one.id, *one.region, *one.original) for one in written if one.region]
    head = ("image_id", "top", "left", "height", "width", "image_height", "image_width")
    _table(folder / "regions.csv", head, boxes)
    if classes == MaskEncoding().classes:
        return  # what a folder without the table has
    if len(classes) == 1:
        # A threshold, not a value, so that the mask still fits a task that calls its one class otherwise.
        _table(folder / "classes.csv", ("value", "name"), [(">=128", classes[0])])
    else:
        _table(folder / "classes.csv", ("value", "name"), list(enumerate(classes, start=1)))


def _table(path: Path, head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    if not rows:
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *sorted(rows, key=lambda row: str(row[0]))])


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Give a hidden folder beside `out` to fill; it takes the place of `out` only when the block succeeds."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out} holds files already; name a new or empty folder.")
    folder: Path | None = None
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}."))
        inner = folder / "data"
        inner.mkdir()  # with the permissions of any new folder, which mkdtemp's own lacks
        yield inner
        with suppress(FileNotFoundError):
            out.rmdir()
        inner.rename(out)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(
            f"Cannot write {out}: {reason}; free space or choose a folder you may write to."
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
