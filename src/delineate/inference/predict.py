"""Predict files: masks, overlays and a table on disk; a bad file is reported and does not stop the rest."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.images import ENDINGS, read_case_image
from delineate.data.volumes import is_volume, slice_ids, volume_slices
from delineate.files import atomic_path, write_text
from delineate.inference.predictor import ImagePrediction, Predictor

TABLE = "predictions.csv"
COLOURS = (
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
)
"""Okabe and Ito's palette, told apart by colour-blind readers; one colour per class, then from the start."""


@dataclass
class PredictReport:
    """What `predict_files` did."""

    written: list[str] = field(default_factory=list)
    """Ids of the images that were predicted."""
    failed: dict[str, str] = field(default_factory=dict)
    """File -> why it was left out."""


def find_images(sources: Sequence[Path]) -> dict[str, Case]:
    """List the image files that are named directly or lie in the named folders (not below them).

    Returns:
        Id -> case, in the order given, folders sorted. The id is the file name without its ending; each slice
        of a volume is a case of its own, `<id>_s000` and so on.

    Raises:
        InputError: a path does not exist, a folder holds no image, or two files would get one id.
    """
    found: dict[str, Case] = {}
    for source in sources:
        if source.is_dir():
            files = sorted(
                f for f in source.iterdir() if f.name.lower().endswith(ENDINGS) and not f.name.startswith(".")
            )
            if not files:
                raise InputError(f"The folder {source} holds no image ({', '.join(ENDINGS)}).")
        elif source.exists():
            files = [source]
        else:
            raise InputError(f"{source} does not exist.")
        for file in files:
            for case in _cases_of(file):
                other = found.setdefault(case.id, case)
                if other != case:
                    raise InputError(
                        f"{other.image} and {file} would both be written as {case.id!r}; rename one of them."
                    )
    return found


def _cases_of(file: Path) -> list[Case]:
    """The pictures in a file; of one whose header is damaged a single one, to be reported when it is read."""
    ending = max((e for e in ENDINGS if file.name.lower().endswith(e)), key=len, default=file.suffix)
    name = file.name.removesuffix(file.name[len(file.name) - len(ending) :])
    try:
        slices = volume_slices(file) if is_volume(file) else 1
    except InputError:
        slices = 1
    return [Case(id=case_id, image=file, slice=position) for case_id, position in slice_ids(name, slices)]


def predict_files(
    predictor: Predictor,
    sources: Sequence[Path],
    out: Path,
    *,
    overwrite: bool = False,
    extra: Callable[[str, np.ndarray, ImagePrediction, Path], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PredictReport:
    """Predict images and write what was found.

    Writes `masks/<id>.png` (0/255 for one class, class index for several), `overlays/<id>.png` (outline on
    the image) and predictions.csv: image, size, label probabilities, pixels of each class.

    Args:
        predictor: a loaded model.
        sources: image files and folders.
        out: folder to write to; made if needed.
        overwrite: replace the results of an earlier call.
        extra: called as (id, image, prediction, out) for each image, to write more.
        progress: called with (done, all).

    Raises:
        InputError: no image is found, or `out` already holds predictions and `overwrite` is not given.
    """
    images = find_images(sources)
    if (out / TABLE).exists() and not overwrite:
        raise InputError(f"{out} already holds predictions; choose another --out or give --overwrite.")
    report = PredictReport()
    rows: list[dict[str, object]] = []
    for done, (name, case) in enumerate(images.items(), 1):
        try:
            case = predictor.with_window(case)
            image = read_case_image(case)
            prediction = predictor(case)
        except InputError as error:
            report.failed[str(case.image)] = str(error)
        else:
            _write_pictures(name, image, prediction, out)
            if extra is not None:
                extra(name, image, prediction, out)
            rows.append(_row(name, case.image, image, prediction, predictor))
            report.written.append(name)
        if progress is not None:
            progress(done, len(images))
    if rows:
        write_text(out / TABLE, _csv(rows))
    return report


def draw_outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw the outline of each class of a mask on a copy of an image.

    Args:
        image: uint8 RGB (H, W, 3).
        mask: uint8 (H, W), class indices, 0 background.

    Returns:
        uint8 RGB (H, W, 3); lines are about a 200th of the longer side wide, and lie inside the class.
    """
    from scipy.ndimage import binary_erosion

    drawn = image.copy()
    width = max(1, round(max(mask.shape) / 200))
    for index in np.unique(mask[mask > 0]):
        region = mask == index
        # A class that touches the frame is outlined there too, so that the line is closed.
        inner = binary_erosion(region, iterations=width)
        drawn[region & ~inner] = COLOURS[(int(index) - 1) % len(COLOURS)]
    return drawn


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels, grey or RGB, atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def _write_pictures(name: str, image: np.ndarray, prediction: ImagePrediction, out: Path) -> None:
    if prediction.mask is None:
        return
    several = prediction.probability is not None and prediction.probability.ndim == 3
    write_png(out / "masks" / f"{name}.png", prediction.mask if several else prediction.mask * 255)
    write_png(out / "overlays" / f"{name}.png", draw_outline(image, prediction.mask))


def _row(
    name: str, file: Path, image: np.ndarray, prediction: ImagePrediction, predictor: Predictor
) -> dict[str, object]:
    row: dict[str, object] = {
        "image_id": name,
        "file": str(file),
        "height": image.shape[0],
        "width": image.shape[1],
    }
    if prediction.label is not None:
        row["label"] = predictor.choose_label(prediction.label)
        row |= {f"label_probability[{label}]": f"{value:.6f}" for label, value in prediction.label.items()}
    if prediction.mask is not None:
        for index, name_of_class in enumerate(predictor.info.classes, 1):
            row[f"pixels[{name_of_class}]"] = int((prediction.mask == index).sum())
    return row


def _csv(rows: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
