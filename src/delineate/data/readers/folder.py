"""The plain folder: images/, masks/ and small tables.

    images/<id>.<png|jpg|jpeg|bmp|tif|tiff|nii|nii.gz|dcm>   required
    masks/<id>.<any of these>                 optional as a whole and for each image
    labels.csv    image_id,label              optional, may leave images out
    split.csv     image_id,split              train, val or test
    groups.csv    image_id,group              patient, lesion or video; in a table of two columns the second
                                              may have any name (patient_id, video, ...)
    spacing.csv   image_id,row_mm,column_mm   millimetres per pixel; without a line the header's of a NIfTI or
                                              DICOM file
    window.csv    image_id,low,high           grey values that become black and white, for files of more than
                                              8 bits; the id * means all others
    classes.csv   value,name                  the classes of multi-class masks; the row named "background"
                                              gives the background's value, which is 0 without such a row; or
                                              one row such as >=128,lesion for binary masks saved with losses

A volume (NIfTI with several slices, DICOM with several frames) becomes one case per slice, `<id>_s000`,
`<id>_s001` and so on, of the group `<id>`; tables may name a slice, or the volume's id for all its slices.
Hidden files and what file managers leave behind (Thumbs.db, desktop.ini) are passed over.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from delineate.checks import InputError, did_you_mean
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import ENDINGS
from delineate.data.tables import Row, check_known, read_column, read_table
from delineate.data.volumes import is_volume, slice_ids, volume_slices, volume_spacing

SPLITS = ("train", "val", "test")
JPEG_THRESHOLD = 128
ALL = "*"
"""The id in window.csv that stands for every image that has no line of its own."""
_LEFT_BEHIND = ("thumbs.db", "desktop.ini")

T = TypeVar("T")


class _Picture(NamedTuple):
    """One case to be: a file, or a slice of one."""

    id: str
    file_id: str
    slice: int | None


def index(root: Path) -> list[Case]:
    """List the cases of a plain folder, sorted by id; of volumes the headers are read, of pictures nothing.

    Masks are binary (0/1 or 0/255) unless there is a classes.csv; JPEG masks are binary with threshold 128.

    Raises:
        InputError: a folder is missing or empty, a file has an unknown ending, two files have one id, a mask
            has no image or another number of slices, a volume's header is damaged, or a table is faulty or
            speaks of an unknown image. The message names file and line.
    """
    if not root.is_dir():
        raise InputError(f"The data folder {root} does not exist; check the path.")
    if not (root / "images").is_dir():
        raise InputError(f"{root} has no folder images/; put the images into {root / 'images'}.")
    images = _files_by_id(root / "images")
    if not images:
        raise InputError(f"{root / 'images'} holds no images; supported endings are {' '.join(ENDINGS)}.")
    masks = _files_by_id(root / "masks") if (root / "masks").is_dir() else {}
    for mask_id, path in masks.items():
        if mask_id not in images:
            raise InputError(
                f"The mask {path} has no image of the same name in images/; add the image or remove the mask."
            )
    pictures = _pictures(images, masks)
    known = images.keys() | {picture.id for picture in pictures}

    labels = _optional_column(root / "labels.csv", "label", known)
    groups = _optional_column(root / "groups.csv", "group", known, any_second=True)
    splits = _optional_column(root / "split.csv", "split", known)
    for row in splits.values():
        if row.cells[1] not in SPLITS:
            raise InputError(
                f"{root / 'split.csv'}, line {row.line}: unknown split {row.cells[1]!r}."
                f"{did_you_mean(row.cells[1], SPLITS)}"
            )
    headers = {name: volume_spacing(path) for name, path in images.items() if is_volume(path)}
    spacings = headers | _read_spacing(root / "spacing.csv", known)
    windows = _read_windows(root / "window.csv", known)
    encoding = _read_classes(root / "classes.csv")
    return [
        Case(
            id=picture.id,
            image=images[picture.file_id],
            mask=masks.get(picture.file_id),
            label=_cell(labels, picture),
            group=_cell(groups, picture) or (None if picture.slice is None else picture.file_id),
            split=_cell(splits, picture),
            spacing=_of(spacings, picture),
            encoding=_encoding_of(masks.get(picture.file_id), encoding),
            slice=picture.slice,
            window=_of(windows, picture) or windows.get(ALL),
        )
        for picture in pictures
    ]


def _pictures(images: dict[str, Path], masks: dict[str, Path]) -> list[_Picture]:
    """One entry for each picture and each slice of a volume, sorted by id."""
    pictures = []
    for file_id, path in images.items():
        slices = volume_slices(path) if is_volume(path) else 1
        mask = masks.get(file_id)
        mask_slices = slices if mask is None else volume_slices(mask) if is_volume(mask) else 1
        if mask_slices != slices:
            raise InputError(
                f"{mask} has {_slices(mask_slices)} and its image {path} has {_slices(slices)}; "
                "export both from the same volume."
            )
        for case_id, position in slice_ids(file_id, slices):
            if position is not None and case_id in images:
                raise InputError(f"{images[case_id]} has the id of a slice of {path}; rename one of them.")
            pictures.append(_Picture(case_id, file_id, position))
    return sorted(pictures)


def _slices(count: int) -> str:
    return "1 slice" if count == 1 else f"{count} slices"


def _files_by_id(folder: Path) -> dict[str, Path]:
    """Map the name without ending to the file, refusing what would otherwise be left out silently."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__MACOSX", "@")) or path.name.lower() in _LEFT_BEHIND:
            continue
        if path.is_dir():
            raise InputError(f"{path} is a folder inside {folder.name}/; move its files up or out.")
        # The longest one first, so that x.nii.gz is x.
        ending = next(
            (e for e in sorted(ENDINGS, key=len, reverse=True) if path.name.lower().endswith(e)), ""
        )
        if not ending:
            raise InputError(
                f"{path} has an ending that is not supported; convert it to PNG or move it out of "
                f"{folder.name}/ (supported: {' '.join(ENDINGS)})."
            )
        stem = path.name[: -len(ending)]
        if stem in found:
            raise InputError(f"{found[stem]} and {path} have the same id {stem!r}; rename or remove one.")
        found[stem] = path
    return found


def _optional_column(path: Path, column: str, ids: set[str], *, any_second: bool = False) -> dict[str, Row]:
    return read_column(path, column, ids, any_second=any_second) if path.is_file() else {}


def _of(table: Mapping[str, T], picture: _Picture) -> T | None:
    """What a table says about the slice, else about its whole volume."""
    return table[picture.id] if picture.id in table else table.get(picture.file_id)


def _cell(rows: dict[str, Row], picture: _Picture) -> str | None:
    row = _of(rows, picture)
    return None if row is None else row.cells[1]


def _read_spacing(path: Path, ids: set[str]) -> dict[str, tuple[float, float]]:
    if not path.is_file():
        return {}
    rows = read_table(path, ("image_id", "row_mm", "column_mm"))
    check_known(path, rows, ids)
    return {row.cells[0]: (_millimetres(path, row, 1), _millimetres(path, row, 2)) for row in rows}


def _read_windows(path: Path, ids: set[str]) -> dict[str, tuple[float, float]]:
    if not path.is_file():
        return {}
    rows = read_table(path, ("image_id", "low", "high"))
    check_known(path, [row for row in rows if row.cells[0] != ALL], ids)
    windows = {}
    for row in rows:
        low, high = (_number(cell) for cell in row.cells[1:])
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(
                f"{path}, line {row.line}: {row.cells[1]} to {row.cells[2]} is not a window; write two grey "
                "values, the one that becomes black and a higher one that becomes white, such as -1250,250."
            )
        windows[row.cells[0]] = (low, high)
    return windows


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _millimetres(path: Path, row: Row, position: int) -> float:
    value = _number(row.cells[position])
    if not (math.isfinite(value) and value > 0):
        raise InputError(
            f"{path}, line {row.line}: {row.cells[position]!r} is not a spacing; "
            "write millimetres per pixel as a positive number such as 0.25."
        )
    return value


def _read_classes(path: Path) -> MaskEncoding | None:
    if not path.is_file():
        return None
    names: dict[str, int] = {}
    rows = read_table(path, ("value", "name"))
    if any(row.cells[0].startswith(">") for row in rows):
        return _threshold(path, rows)
    for row in rows:
        text, name = row.cells
        if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255):
            raise InputError(
                f"{path}, line {row.line}: {text!r} is not a mask value; write a whole number 0 to 255."
            )
        if int(text) in names.values():
            raise InputError(
                f"{path}, line {row.line}: the value {int(text)} is named twice; remove one line."
            )
        if name in names:
            raise InputError(f"{path}, line {row.line}: the class {name!r} is named twice; rename one.")
        names[name] = int(text)
    background = names.pop("background", 0)
    if not names:
        raise InputError(f"{path} names no class besides the background; add lines such as 1,lesion.")
    if background in names.values():
        raise InputError(
            f"{path}: the value {background} is the background and the class "
            f"{next(n for n, v in names.items() if v == background)!r} at once; "
            "give the background a line of its own, such as 255,background."
        )
    return MaskEncoding(classes=tuple(names), values=tuple(names.values()), background=background)


def _threshold(path: Path, rows: list[Row]) -> MaskEncoding:
    """The encoding of binary masks whose values were blurred by compression or resizing."""
    text, name = rows[0].cells
    level = text.removeprefix(">=").strip()
    if len(rows) != 1 or not text.startswith(">=") or name == "background":
        raise InputError(
            f"{path}: a threshold stands alone and names the foreground, such as >=128,lesion; "
            "remove the other lines."
        )
    if not (level.isascii() and level.isdigit() and len(level) <= 3 and 1 <= int(level) <= 255):
        raise InputError(
            f"{path}, line {rows[0].line}: {level!r} is not a threshold; write a whole number 1 to 255."
        )
    return MaskEncoding(classes=(name,), threshold=int(level))


def _encoding_of(mask: Path | None, classes: MaskEncoding | None) -> MaskEncoding:
    lossy = mask is not None and mask.suffix.lower() in (".jpg", ".jpeg")
    if classes is None:
        return MaskEncoding(threshold=JPEG_THRESHOLD) if lossy else MaskEncoding()
    if lossy and classes.threshold is None:
        raise InputError(
            f"{mask} is a JPEG, which changes the values that classes.csv names; save it as PNG, or write "
            "one line such as >=128,lesion for binary masks."
        )
    return classes
