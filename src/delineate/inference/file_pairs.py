"""Find which prediction belongs to which reference, and what the small tables say about them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from delineate.checks import InputError, require
from delineate.data import pictures
from delineate.data.case import Case, MaskEncoding
from delineate.data.tables import Row, check_known, read_column, read_table
from delineate.data.volumes import ENDINGS as VOLUMES
from delineate.data.volumes import is_nifti, is_volume, slice_ids, volume_slices, volume_spacing
from delineate.inference.prediction_files import ENDINGS

_REFERENCES = (*pictures.ENDINGS, *VOLUMES)
_JPEG_THRESHOLD = 128
_LEFT_BEHIND = ("thumbs.db", "desktop.ini")

V = TypeVar("V")


@dataclass(frozen=True)
class FilePair:
    """A reference and what was predicted for it."""

    case: Case
    """`mask` is the reference, and so is `image`, since nobody needs the picture itself."""
    prediction: Path | None
    """None when there is none."""


@dataclass(frozen=True)
class Pairs:
    """What two folders hold."""

    pairs: list[FilePair]
    """One for each reference, sorted by id."""
    unmatched: tuple[str, ...]
    """Ids of predictions without a reference."""


def find_pairs(
    predictions: Path,
    references: Path,
    encoding: MaskEncoding,
    *,
    groups: Path | None = None,
    spacing: Path | None = None,
    prediction_suffix: str = "",
    reference_suffix: str = "",
) -> Pairs:
    """Match files by their names without endings; a volume gives one case per slice, grouped by volume.

    Args:
        predictions: folder of predictions.
        references: folder of reference masks.
        encoding: of the references; binary JPEG references are read with the threshold 128.
        groups: CSV file image_id,group, or None.
        spacing: CSV file image_id,row_mm,column_mm, or None. It may leave no case out; without it volumes
            have their headers' spacing.
        prediction_suffix: end of the predictions' names that is not part of the id; other files are passed
            over.
        reference_suffix: the same of the references.

    Raises:
        InputError: a folder is missing or empty, two files have one id, volumes do not fit each other, or a
            table is faulty or speaks of an unknown case.
    """
    masks = _files(references, _REFERENCES, reference_suffix)
    found = _files(predictions, ENDINGS, prediction_suffix)
    pairs: list[FilePair] = []
    for name, mask in masks.items():
        prediction = found.get(name)
        slices = volume_slices(mask) if is_volume(mask) else 1
        if prediction is not None:
            _check_volumes(prediction, mask, slices)
        header = volume_spacing(mask) if is_volume(mask) else None
        pairs += [
            FilePair(
                Case(
                    id=case_id,
                    image=mask,
                    mask=mask,
                    group=None if position is None else name,
                    spacing=header,
                    encoding=_encoding_of(mask, encoding),
                    slice=position,
                ),
                prediction,
            )
            for case_id, position in slice_ids(name, slices)
        ]
    pairs.sort(key=lambda pair: pair.case.id)
    ids = [pair.case.id for pair in pairs]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise InputError(f"Two references have the id {twice!r}, one as a slice; rename one of them.")
    return Pairs(_with_tables(pairs, groups, spacing), tuple(sorted(found.keys() - masks.keys())))


def read_classes(text: str) -> MaskEncoding:
    """Read which value of a mask is which class.

    Args:
        text: "rim,cup" for the values 1, 2 and so on; "128=rim,0=cup,255=background" with the file's values;
            ">=128=lesion" for binary masks that compression or resizing blurred; or the path of a CSV file
            value,name. One name alone is a binary mask of 0 and 1, or 0 and 255.

    Raises:
        InputError: a value or a name is wrong or comes twice, or there is no class.
    """
    path = Path(text)
    if text.lower().endswith(".csv"):
        if not path.is_file():
            raise InputError(f"The table of classes {path} does not exist; check the path.")
        rows = [(row.cells[0], row.cells[1]) for row in read_table(path, ("value", "name"))]
    else:
        rows = []
        for i, part in enumerate(text.split(","), start=1):
            value, _, name = part.rpartition("=")
            rows.append((value.strip() or str(i), name.strip()))
        if len(rows) == 1 and "=" not in text:
            rows = [("", rows[0][1])]
    names = [name for _, name in rows]
    if not all(names) or len(set(names)) < len(names) or any(set(name) & set("[],") for name in names):
        raise InputError(
            f"The classes {text!r} need a name each, without brackets and commas and none twice, such as "
            "128=rim,0=cup,255=background."
        )
    if rows[0][0] == "":
        return MaskEncoding(classes=(names[0],))
    if rows[0][0].startswith(">="):
        return MaskEncoding(classes=(names[0],), threshold=_value(text, rows[0][0].removeprefix(">="), rows))
    values = {name: _value(text, value) for value, name in rows}
    background = values.pop("background", 0)
    if not values or len({background, *values.values()}) <= len(values):
        raise InputError(
            f"The classes {text!r} need at least one class, and values that differ from each other and from "
            "the background's (0 unless named, such as 255=background)."
        )
    return MaskEncoding(tuple(values), tuple(values.values()), background)


def _value(text: str, value: str, alone: list[tuple[str, str]] | None = None) -> int:
    number = value.strip()
    if not (number.isascii() and number.isdigit() and int(number) <= 255) or len(alone or [0]) != 1:
        raise InputError(
            f"The classes {text!r} must have whole numbers from 0 to 255 as values, such as 1=lesion, or one "
            "threshold alone, such as >=128=lesion."
        )
    return int(number)


def _files(folder: Path, endings: tuple[str, ...], suffix: str) -> dict[str, Path]:
    """Map each id to its file, sorted; refuses what would otherwise be left out silently."""
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; check the path.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.startswith(".") or path.name.lower() in _LEFT_BEHIND:
            continue
        ending = next(
            (e for e in sorted(endings, key=len, reverse=True) if path.name.lower().endswith(e)), ""
        )
        if not ending:
            if path.suffix.lower() in (".csv", ".txt", ".json", ".md"):
                continue  # notes beside the files
            raise InputError(
                f"{path} has an ending that is not read here; move it out of {folder} or convert it "
                f"(read are {' '.join(endings)})."
            )
        stem = path.name[: -len(ending)]
        if not stem.endswith(suffix) or stem == suffix:
            continue
        stem = stem[: len(stem) - len(suffix)]
        if stem in found:
            raise InputError(f"{found[stem]} and {path} have the same id {stem!r}; rename or remove one.")
        found[stem] = path
    if not found:
        ends = f" that end in {suffix!r}" if suffix else ""
        raise InputError(f"{folder} holds no files{ends}; read are {' '.join(endings)}.")
    return found


def _check_volumes(prediction: Path, mask: Path, slices: int) -> None:
    """Refuse two volumes that do not lie in space the same way: their slices would not match."""
    if not is_volume(mask) and not is_volume(prediction):
        return
    predicted = volume_slices(prediction) if is_nifti(prediction) else 1
    if predicted != slices:
        raise InputError(
            f"{prediction} has {predicted} and {mask} {slices} slices; write the prediction as a NIfTI "
            "volume of the reference's geometry."
        )
    if is_nifti(prediction) and is_nifti(mask):
        nibabel = require("nibabel", "nifti")
        one, other = nibabel.load(prediction).affine, nibabel.load(mask).affine
        scale = max(1.0, float(abs(other).max()))
        if abs(one - other).max() > 1e-3 * scale:
            raise InputError(
                f"{prediction} lies in space differently than {mask} (their affines differ), so its slices "
                "may be turned; write it with the reference's header."
            )


def _with_tables(pairs: list[FilePair], groups: Path | None, spacing: Path | None) -> list[FilePair]:
    known = {pair.case.id for pair in pairs} | {pair.case.group for pair in pairs if pair.case.group}
    files = {pair.case.id: pair.case.group or pair.case.id for pair in pairs}
    rows = {} if groups is None else read_column(_there(groups), "group", known, any_second=True)
    sides = {} if spacing is None else _read_spacing(_there(spacing), known)
    done = []
    for pair in pairs:
        case = pair.case
        row = _of(rows, case.id, files)
        side = _of(sides, case.id, files)
        case = replace(case, group=case.group if row is None else row.cells[1], spacing=side or case.spacing)
        done.append(FilePair(case, pair.prediction))
    without = [pair.case.id for pair in done if pair.case.spacing is None]
    if spacing is not None and without:
        raise InputError(
            f"{spacing} has no line for {len(without)} of {len(done)} cases, for example {without[0]!r}; "
            "add them, or leave --spacing out to measure in pixels."
        )
    if without:  # one table has one unit of length
        done = [replace(pair, case=replace(pair.case, spacing=None)) for pair in done]
    return done


def _of(table: Mapping[str, V], case_id: str, files: Mapping[str, str]) -> V | None:
    """What a table says about the slice, else about its whole volume."""
    return table[case_id] if case_id in table else table.get(files[case_id])


def _there(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"The table {path} does not exist; check the path.")
    return path


def _read_spacing(path: Path, known: set[str]) -> dict[str, tuple[float, float]]:
    rows = read_table(path, ("image_id", "row_mm", "column_mm"))
    check_known(path, rows, known)
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


def _encoding_of(mask: Path, encoding: MaskEncoding) -> MaskEncoding:
    lossy = mask.suffix.lower() in (".jpg", ".jpeg")
    if not lossy or encoding.threshold is not None:
        return encoding
    if encoding.values is not None:
        raise InputError(
            f"{mask} is a JPEG, which changes the values that --classes names; save it as PNG, or give one "
            "threshold such as --classes '>=128=lesion'."
        )
    return replace(encoding, threshold=_JPEG_THRESHOLD)
