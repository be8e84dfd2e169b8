"""The plain folder: images/, masks/ and small tables.

    images/<id>.<png|jpg|jpeg|bmp|tif|tiff>   required
    masks/<id>.<any of these>                 optional as a whole and for each image
    labels.csv    image_id,label              optional, may leave images out
    split.csv     image_id,split              train, val or test
    groups.csv    image_id,group              patient, lesion or video; in a table of two columns the second
                                              may have any name (patient_id, video, ...)
    spacing.csv   image_id,row_mm,column_mm   millimetres per pixel
    classes.csv   value,name                  the classes of multi-class masks; the row named "background"
                                              gives the background's value, which is 0 without such a row

Hidden files and what file managers leave behind (Thumbs.db, desktop.ini) are passed over.
"""

import math
from pathlib import Path

from delineate.checks import InputError, did_you_mean
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import ENDINGS
from delineate.data.tables import Row, check_known, read_column, read_table

SPLITS = ("train", "val", "test")
JPEG_THRESHOLD = 128
_LEFT_BEHIND = ("thumbs.db", "desktop.ini")


def index(root: Path) -> list[Case]:
    """List the cases of a plain folder, sorted by id, without opening an image.

    Masks are binary (0/1 or 0/255) unless there is a classes.csv; JPEG masks are binary with threshold 128.

    Raises:
        InputError: a folder is missing or empty, a file has an unknown ending, two files have one id, a mask
            has no image, or a table is faulty or speaks of an unknown image. The message names file and line.
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

    labels = _optional_column(root / "labels.csv", "label", images)
    groups = _optional_column(root / "groups.csv", "group", images, any_second=True)
    splits = _optional_column(root / "split.csv", "split", images)
    for row in splits.values():
        if row.cells[1] not in SPLITS:
            raise InputError(
                f"{root / 'split.csv'}, line {row.line}: unknown split {row.cells[1]!r}."
                f"{did_you_mean(row.cells[1], SPLITS)}"
            )
    spacings = _read_spacing(root / "spacing.csv", images)
    encoding = _read_classes(root / "classes.csv")
    return [
        Case(
            id=case_id,
            image=images[case_id],
            mask=masks.get(case_id),
            label=_cell(labels, case_id),
            group=_cell(groups, case_id),
            split=_cell(splits, case_id),
            spacing=spacings.get(case_id),
            encoding=_encoding_of(masks.get(case_id), encoding),
        )
        for case_id in sorted(images)
    ]


def _files_by_id(folder: Path) -> dict[str, Path]:
    """Map the name without ending to the file, refusing what would otherwise be left out silently."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__MACOSX", "@")) or path.name.lower() in _LEFT_BEHIND:
            continue
        if path.is_dir():
            raise InputError(f"{path} is a folder inside {folder.name}/; move its files up or out.")
        if path.suffix.lower() not in ENDINGS:
            raise InputError(
                f"{path} has an ending that is not supported; convert it to PNG or move it out of "
                f"{folder.name}/ (supported: {' '.join(ENDINGS)})."
            )
        if path.stem in found:
            raise InputError(
                f"{found[path.stem]} and {path} have the same id {path.stem!r}; rename or remove one."
            )
        found[path.stem] = path
    return found


def _optional_column(
    path: Path, column: str, images: dict[str, Path], *, any_second: bool = False
) -> dict[str, Row]:
    return read_column(path, column, images, any_second=any_second) if path.is_file() else {}


def _cell(rows: dict[str, Row], case_id: str) -> str | None:
    return rows[case_id].cells[1] if case_id in rows else None


def _read_spacing(path: Path, images: dict[str, Path]) -> dict[str, tuple[float, float]]:
    if not path.is_file():
        return {}
    rows = read_table(path, ("image_id", "row_mm", "column_mm"))
    check_known(path, rows, images)
    return {row.cells[0]: (_millimetres(path, row, 1), _millimetres(path, row, 2)) for row in rows}


def _millimetres(path: Path, row: Row, position: int) -> float:
    try:
        value = float(row.cells[position])
    except ValueError:
        value = math.nan
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
    for row in read_table(path, ("value", "name")):
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


def _encoding_of(mask: Path | None, classes: MaskEncoding | None) -> MaskEncoding:
    lossy = mask is not None and mask.suffix.lower() in (".jpg", ".jpeg")
    if classes is None:
        return MaskEncoding(threshold=JPEG_THRESHOLD) if lossy else MaskEncoding()
    if lossy:
        raise InputError(
            f"{mask} is a JPEG, which changes the values that classes.csv names; save it as PNG."
        )
    return classes
