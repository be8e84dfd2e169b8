"""What the subtraction units of MSNet and M2SNet find: M2SNet's Fig. 8, with figures.

MS^n_i, the difference of order n that ends at level i, is a map of many channels, all at least 0. Here each
is averaged over its channels and resized to the image: large where the levels disagree. The table holds the
mean of that inside and outside the predicted mask, at the image's own size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from delineate.checks import InputError
from delineate.data.images import read_case_image
from delineate.files import atomic_path
from delineate.inference.predict import find_images
from delineate.inference.predictor import Predictor
from delineate.layers.conv import resize_to
from delineate.models.msnet import MSNet
from delineate.study.analyses.canvas import SERIES, sheet
from delineate.study.analyses.references import read_reference
from delineate.study.pictures import fitted_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE = "differences.csv"
_LONGEST = 320  # pixels of a panel
_PANEL = 2.1  # inches


class Difference(NamedTuple):
    """One map of the triangle."""

    order: int
    """n, from 1."""
    level: int
    """i, from 1, the shallowest."""
    values: NDArray[np.float32]
    """(H, W) at least 0: mean over the channels, at the image's size."""


def write_differences(
    run: Path, images: Sequence[Path], out: Path, *, masks: Path | None = None, device: str = "auto"
) -> Path:
    """Draw the differences of each image, `<id>.png`, and write differences.csv.

    Args:
        run: folder of a finished run of MSNet or M2SNet.
        images: image files and folders.
        out: folder to write to.
        masks: folder with reference masks named as the images, or None; an image may lack one. Binary masks
            hold 0/1 or 0/255, those of several classes the index of the class.
        device: "auto" takes a GPU when there is one.

    Returns:
        The table: image, order, level, inside, outside; the latter two are the mean absolute difference in
        the predicted mask and around it, empty where there are no such pixels.

    Raises:
        InputError: no run, a run of another model or without differences, no images, or an image or mask that
            cannot be read or does not fit.
    """
    predictor = Predictor.load(run, device)
    files = find_images(images)
    references = {} if masks is None else find_images([masks])
    rows: list[dict[str, object]] = []
    for name, case in files.items():
        image = read_case_image(predictor.with_window(case))
        reference = read_reference(references.get(name), predictor.info.classes, image)
        found, predicted = differences(predictor, image)
        for difference in found:
            inside, outside = (
                _mean(difference.values, predicted > 0),
                _mean(difference.values, predicted == 0),
            )
            place = {"image": name, "order": difference.order, "level": difference.level}
            rows.append({**place, "inside": inside, "outside": outside})
        draw_differences(out / f"{name}.png", name, image, found, mask=predicted, reference=reference)
    with atomic_path(out / TABLE) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g")
    return out / TABLE


def differences(predictor: Predictor, image: NDArray[np.uint8]) -> tuple[list[Difference], NDArray[np.uint8]]:
    """Predict one image and keep every MS^n_i on the way.

    Args:
        predictor: of MSNet or M2SNet.
        image: (H, W, 3) uint8 RGB.

    Returns:
        The differences, order by order and shallow to deep, and the predicted mask (H, W), class indices.

    Raises:
        InputError: the model has no differences.
    """
    model = predictor.model
    if not isinstance(model, MSNet) or not len(model.rows):
        raise InputError(
            f"A run of {predictor.info.model} has no feature differences; "
            f"give one of msnet or m2snet whose order is at least 1."
        )
    rows: list[list[Tensor]] = []
    handles = [
        row.register_forward_hook(lambda _module, _inputs, output: rows.append(output)) for row in model.rows
    ]
    try:
        mask = predictor(image).mask
    finally:
        for handle in handles:
            handle.remove()
    size = (image.shape[0], image.shape[1])
    found = [
        Difference(n, i, resize_to(m.float().mean(1, keepdim=True), size)[0, 0].cpu().numpy())
        for n, row in enumerate(rows, start=1)
        for i, m in enumerate(row, start=1)
    ]
    return found, np.zeros(size, np.uint8) if mask is None else mask


def draw_differences(
    path: Path,
    title: str,
    image: NDArray[np.uint8],
    found: Sequence[Difference],
    *,
    mask: NDArray[np.uint8],
    reference: NDArray[np.uint8] | None,
) -> None:
    """Draw image, reference and prediction, and below them the triangle: a row per order, a column per level.

    Each map has its own colour scale from 0 to its largest value, which stands above it, because the
    magnitude of learned maps cannot be compared between units.

    Args:
        path: the picture.
        title: above all panels.
        image: (H, W, 3) uint8.
        found: what `differences` gives.
        mask: (H, W) predicted class indices, 0 background.
        reference: the same of the reference, or None.
    """
    height, width = fitted_size(image, _LONGEST)
    small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    orders = max(d.order for d in found)
    columns = max(3, *(d.level for d in found))
    panel_height = _PANEL * height / width + 0.3
    with sheet(path, width=columns * _PANEL, height=(1 + orders) * panel_height + 0.4) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
        axes = figure.subplots(1 + orders, columns, squeeze=False)
        for panel in axes.flat:
            panel.set(xticks=[], yticks=[])
            panel.axis("off")
        shown = [("image", None), ("reference", reference), ("prediction", mask)]
        for panel, (text, region) in zip(axes[0], shown, strict=False):
            if text != "image" and region is None:
                continue
            panel.imshow(small)
            panel.set_title(text)
            _outline(panel, region, (height, width))
        for d in found:
            panel = axes[d.order, d.level - 1]
            resized = Image.fromarray(d.values).resize((width, height), Image.Resampling.BILINEAR)
            panel.imshow(np.asarray(resized), cmap="viridis", vmin=0, vmax=max(float(d.values.max()), 1e-12))
            panel.set_title(f"order {d.order}, level {d.level}: 0 to {d.values.max():.2g}", fontsize=8)
            _outline(panel, mask, (height, width))


def _outline(panel: "Axes", region: NDArray[np.uint8] | None, size: tuple[int, int]) -> None:
    """Draw the outline of `region` on a panel of (height, width) pixels."""
    if region is None or not region.any():
        return
    member = Image.fromarray((region > 0).astype(np.uint8) * 255)
    inside = np.asarray(member.resize((size[1], size[0]), Image.Resampling.BILINEAR)) / 255
    panel.contour(inside, [0.5], colors="black", linewidths=2.2, alpha=0.55)
    panel.contour(inside, [0.5], colors=[SERIES[1]], linewidths=1.2)


def _mean(values: NDArray[np.float32], region: NDArray[np.bool_]) -> float | None:
    return float(values[region].mean(dtype=np.float64)) if region.any() else None
