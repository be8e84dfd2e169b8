"""What the readers of the International Skin Imaging Collaboration's data sets have in common."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.readers.about import About
from delineate.data.readers.layout import check_pairs, files_by_stem, not_this_dataset, optional_folder

LESION = MaskEncoding(classes=("lesion",))
"""The masks of all these sets: one lesion, written as 0 and 255."""

PHOTOGRAPHS = (".jpg", ".jpeg")
"""Only these are images: superpixel pictures (PNG), tables and licences lie among them."""
MASKS = (".png",)


class Part(NamedTuple):
    """One part of a challenge: two archives and a split."""

    split: str
    """"train", "val" or "test"."""
    images: str
    """Folder that the archive of the photographs unpacks to."""
    masks: str
    """Folder that the archive of the masks unpacks to."""
    suffix: str = "_segmentation"
    """End of a mask's name before the ending."""


def index_parts(
    root: Path, about: About, parts: Sequence[Part], labels: Mapping[str, Mapping[str, str]]
) -> list[Case]:
    """List the cases of those parts whose folders are there, sorted by id.

    Args:
        root: folder that the archives were unpacked into.
        about: the data set, for messages.
        parts: the challenge's parts; a part may be absent with both its folders.
        labels: split -> image id -> label; a split or an image that is not in it has no label.

    Raises:
        InputError: no part is there, a part has only one of its folders, an image has no mask or a mask no
            image, or two parts hold the same id.
    """
    cases: dict[str, Case] = {}
    for part in parts:
        images, masks = (picture_folder(root, name) for name in (part.images, part.masks))
        if images is None and masks is None:
            continue
        if images is None or masks is None:
            raise not_this_dataset(root, about, f"the folders {part.images} and {part.masks} together")
        photographs = files_by_stem(images, endings=PHOTOGRAPHS)
        outlines = files_by_stem(masks, suffix=part.suffix, endings=MASKS)
        check_pairs(photographs, outlines, about, images)
        for case_id, image in photographs.items():
            if case_id in cases:
                raise InputError(
                    f"{cases[case_id].image} and {image} have the same id {case_id!r}, but {about.title} has "
                    "no image in two parts; remove the copy."
                )
            label = labels.get(part.split, {}).get(case_id)
            cases[case_id] = Case(
                case_id, image, outlines[case_id], label=label, split=part.split, encoding=LESION
            )
    if not cases:
        raise not_this_dataset(root, about, "the folder " + " or ".join(part.images for part in parts))
    return [cases[case_id] for case_id in sorted(cases)]


def picture_folder(root: Path, name: str) -> Path | None:
    """Return the folder `name`, or the one of the same name inside it, or None.

    Some programs unpack x.zip into a new folder x/, although the archive brings its own folder x/.
    """
    return optional_folder(root, f"{name}/{name}", name)


def index_labelled(
    root: Path,
    about: About,
    parts: Sequence[Part],
    tables: Mapping[str, str],
    read_labels: Callable[[Path], Mapping[str, str]],
) -> list[Case]:
    """List the cases of a challenge with the labels of the tables that are there, sorted by id.

    Args:
        root: folder that the archives and tables lie in.
        about: the data set, for messages.
        parts: as in `index_parts`.
        tables: split -> name of its table of labels; without the table its images have no label.
        read_labels: reads one table: image id -> label.

    Raises:
        InputError: as `index_parts`, or a table is faulty or leaves out images.
    """
    labels = {split: read_labels(root / name) for split, name in tables.items() if (root / name).is_file()}
    cases = index_parts(root, about, parts, labels)
    for split, of_part in labels.items():
        require_labels(root / tables[split], of_part, cases, split)
    return cases


def require_labels(table: Path, labels: Mapping[str, str], cases: Sequence[Case], split: str) -> None:
    """Refuse a table of labels that leaves out images of its part.

    Raises:
        InputError: an image of `split` is not in `labels`.
    """
    ids = [case.id for case in cases if case.split == split]
    missing = [case_id for case_id in ids if case_id not in labels]
    if missing:
        raise InputError(
            f"{table} has no line for {len(missing)} of {len(ids)} images, {missing[0]!r} for example; "
            "download the table again."
        )


def read_lines(path: Path, *, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Read a table that may lack a header, as lines of (number, cells without surrounding blanks).

    Args:
        path: the file, UTF-8 with or without byte-order mark; blank lines are left out.
        delimiter: what stands between two cells.

    Raises:
        InputError: as `read_text`, or the text is not such a table.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(f"{path} is not a table of values ({error}); download it again.") from error
    return [(number, cells) for number, cells in lines if any(cells)]


def read_text(path: Path) -> str:
    """Read a small text file.

    Raises:
        InputError: the file is not UTF-8 text, holds nothing, or cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; download it again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if not text.strip():
        raise InputError(f"{path} is empty; download it again.")
    return text
