"""Corrections as a data set to train on, alone or together with the data set that a model came from."""

import csv
import io
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.convert import convert
from delineate.files import write_text
from delineate.web.recognise import recognise
from delineate.web.store.correction import Stored, read_index_mask
from delineate.web.store.database import CorrectionStore

TABLE = "corrections.csv"
_COLUMNS = (
    "image_id",
    "correction",
    "stored_at",
    "author",
    "model",
    "identity",
    "label",
    "seconds",
    "comment",
)


@dataclass(frozen=True)
class Exported:
    """What `export_corrections` wrote."""

    cases: int
    """Images in the new data set."""
    added: int
    """Images that the old data set did not have."""
    replaced: int
    """Images of the old data set with a corrected mask or label."""
    kept_out: int
    """Corrections of images that the old data set validates or tests on; those stay as they were."""
    superseded: int
    """Corrections with a newer one of the same image."""


def export_corrections(
    store: CorrectionStore,
    out: Path,
    *,
    base: Sequence[Case] = (),
    model: str | None = None,
    author: str | None = None,
    since: datetime | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write corrections as a plain folder, whole or not at all.

    Of several corrections of one image the one stored last counts. An image of `base` is recognised by its
    bytes: its mask and its label are replaced when it trains, and left alone when it validates or tests,
    because a reference that began as a prediction flatters the model that made it. New images train, when
    `base` has splits; the window through which the model saw them is applied. corrections.csv says who
    corrected what, when, and what the model was.

    Args:
        store: where the corrections are.
        out: folder to write; new or empty.
        base: cases of a data set to take along.
        model: only corrections of this model, by the name that it was served with.
        author: only this person's.
        since: only corrections stored at or after this moment, with a time zone.
        progress: called with (done, all) while files are written.

    Raises:
        InputError: no correction is left, they speak of different mask classes, `base` has other classes, an
            image is missing, or `out` holds files.
    """
    newest: dict[str, Stored] = {}
    superseded = 0
    for one in store:
        kept = one.correction
        if (model is not None and kept.model != model) or (author is not None and kept.author != author):
            continue
        if since is not None and one.stored_at < since:
            continue
        superseded += one.image_sha256 in newest
        newest[one.image_sha256] = one
    if not newest:
        raise InputError(f"The store {store.shown} holds no such correction; correct an image first.")
    classes = _common_classes(newest.values(), base)
    with tempfile.TemporaryDirectory(prefix="delineate-corrections-") as temporary:
        folder = Path(temporary)
        cases, used, kept_out = [], [], 0
        for case in base:
            found = newest.pop(sha256(case.image.read_bytes()).hexdigest(), None)
            if found is not None and case.split in ("val", "test"):
                kept_out += 1
            elif found is not None:
                case = _corrected(case, found, folder, classes)
                used.append((case.id, found))
            cases.append(case)
        replaced = len(used)
        split = "train" if any(case.split is not None for case in base) else None
        taken = {case.id for case in cases}
        for found in newest.values():
            case = _new_case(found, folder, taken)
            taken.add(case.id)
            cases.append(_corrected(replace(case, split=split), found, folder, classes))
            used.append((case.id, found))
        if not used:
            raise InputError("All corrections are of validation or test images, which stay as they are.")
        about = {"corrections": store.shown, "added": len(newest), "replaced": replaced}
        convert(cases, out, about=about, progress=progress)
    write_text(out / TABLE, _table(used))
    return Exported(len(cases), len(newest), replaced, kept_out, superseded)


def _common_classes(found: Any, base: Sequence[Case]) -> tuple[str, ...]:
    sets = {one.correction.classes for one in found}
    if len(sets) > 1:
        named = " and ".join(sorted(str(list(classes)) for classes in sets))
        raise InputError(f"The corrections have the mask classes {named}; choose one model with --model.")
    classes: tuple[str, ...] = sets.pop()
    masked = next((case for case in base if case.mask is not None), None)
    if masked is not None and len(masked.encoding.classes) != len(classes):
        raise InputError(
            f"The data set has the mask classes {list(masked.encoding.classes)}, the corrections "
            f"{list(classes)}; export them without the data set."
        )
    # A plain folder of one class calls it foreground, so names may differ; with several they must agree.
    if masked is not None and len(classes) > 1 and masked.encoding.classes != classes:
        raise InputError(
            f"The data set has the mask classes {list(masked.encoding.classes)}, the corrections "
            f"{list(classes)}; they must have the same names in the same order."
        )
    return classes if masked is None else masked.encoding.classes


def _corrected(case: Case, found: Stored, folder: Path, classes: tuple[str, ...]) -> Case:
    kept = found.correction
    case = replace(case, label=kept.label or case.label)
    if kept.mask is None:
        return case
    path = folder / f"{found.id}.mask.png"
    mask = read_index_mask(kept.mask, len(kept.classes))
    Image.fromarray(mask).save(path)
    values = tuple(range(1, len(classes) + 1)) if len(classes) > 1 else None
    return replace(case, mask=path, more_masks=(), encoding=MaskEncoding(classes=classes, values=values))


def _new_case(found: Stored, folder: Path, taken: set[str]) -> Case:
    kept = found.correction
    path = folder / f"{found.id}{recognise(kept.image) or '.png'}"
    path.write_bytes(kept.image)
    stem = re.sub(r"[^\w\-]+", "_", Path(kept.filename).stem).strip("_") or "image"
    name = stem if stem not in taken else f"{stem}_{found.image_sha256[:8]}"
    return Case(id=name, image=path, window=kept.window)


def _table(used: Sequence[tuple[str, Stored]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for name, one in sorted(used, key=lambda pair: pair[0]):
        kept = one.correction
        moment = one.stored_at.isoformat(timespec="seconds")
        seconds = "" if kept.seconds is None else f"{kept.seconds:g}"
        comment = " ".join(kept.comment.split())
        writer.writerow(
            (name, one.id, moment, kept.author, kept.model, kept.identity, kept.label or "", seconds, comment)
        )
    return text.getvalue()


def mask_change(one: Stored) -> float | None:
    """Dice of the corrected and the predicted mask, foreground against background; None without both."""
    kept = one.correction
    if kept.mask is None or kept.predicted_mask is None:
        return None
    a = read_index_mask(kept.mask, len(kept.classes)) > 0
    b = read_index_mask(kept.predicted_mask, len(kept.classes)) > 0
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2 * int(np.logical_and(a, b).sum()) / total
