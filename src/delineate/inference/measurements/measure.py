"""Find the lesions of a mask and measure each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.inference.measurements.border import compactness, cutoff, fractal_dimension
from delineate.inference.measurements.catalogue import LENGTHS, MEASUREMENTS
from delineate.inference.measurements.colour import colour
from delineate.inference.measurements.shape import Mask, convex_hull, fill_holes, lengths
from delineate.inference.measurements.symmetry import asymmetry
from delineate.inference.measurements.view import SMALLEST_AREA, View


@dataclass(frozen=True, slots=True)
class Lesion:
    """One connected region of one class, and its measurements."""

    class_name: str
    """The class, as the model names it."""
    index: int
    """From 1, the largest lesion of its class first."""
    bbox: tuple[int, int, int, int]
    """First row, first column, last row + 1, last column + 1, in pixels of the mask."""
    centroid: tuple[float, float]
    """Row and column in pixels; the centre of the first pixel is (0, 0)."""
    values: dict[str, float | None]
    """Every name of MEASUREMENTS; None where it is undefined or what it needs was not given."""


def measure(
    mask: NDArray[Any],
    image: NDArray[np.uint8] | None = None,
    *,
    classes: Sequence[str],
    spacing: tuple[float, float] | None = None,
    minimum_area: int = 1,
    whole: bool = False,
) -> list[Lesion]:
    """Measure each lesion of a mask: each region of pixels of one class that touch, corners included.

    Args:
        mask: (H, W) whole numbers or truth values: 0 background, i + 1 the class `classes[i]`.
        image: uint8 RGB (H, W, 3) of the same size, for the measurements of colour; else they are None.
        classes: names of the foreground classes.
        spacing: millimetres per pixel, (row, column), for the measurements in mm; else they are None.
        minimum_area: regions of fewer pixels are left out.
        whole: measure all pixels of a class as one lesion, however many pieces they are.

    Returns:
        Class by class, the largest lesion first; empty for an empty mask.

    Raises:
        InputError: the mask holds a value without a class, or an argument is of another kind or size.
    """
    mask = _checked_mask(mask, classes)
    _check_image(image, mask)
    _check_spacing(spacing)
    found: list[Lesion] = []
    for value, name in enumerate(classes, start=1):
        regions = _regions(mask == value, minimum_area, whole)
        for index, (top, left, region) in enumerate(regions, start=1):
            rows, columns = region.sum(axis=1), region.sum(axis=0)
            centroid = (
                top + float(rows @ np.arange(len(rows)) / rows.sum()),
                left + float(columns @ np.arange(len(columns)) / columns.sum()),
            )
            bbox = (top, left, top + region.shape[0], left + region.shape[1])
            values = _values(mask, region, (top, left), image, spacing)
            found.append(Lesion(name, index, bbox, centroid, values))
    return found


def _regions(chosen: Mask, minimum_area: int, whole: bool) -> list[tuple[int, int, Mask]]:
    """First row, first column and pixels of each region's box, the largest region first."""
    from scipy import ndimage

    rows, columns = np.flatnonzero(chosen.any(axis=1)), np.flatnonzero(chosen.any(axis=0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    chosen = chosen[top : rows[-1] + 1, left : columns[-1] + 1]
    labels, count = (chosen, 1) if whole else ndimage.label(chosen, structure=np.ones((3, 3)))
    if count == 1:  # the usual case, and the slow part of it for a large mask
        return [(top, left, chosen)] if np.count_nonzero(chosen) >= minimum_area else []
    areas = np.bincount(labels.ravel())[1:]
    boxes = ndimage.find_objects(labels)
    found = []
    for i in np.argsort(-areas, kind="stable"):
        if areas[i] >= minimum_area:
            box = boxes[i]
            found.append((top + box[0].start, left + box[1].start, labels[box] == i + 1))
    return found


def _values(
    mask: NDArray[Any],
    region: Mask,
    corner: tuple[int, int],
    image: NDArray[np.uint8] | None,
    spacing: tuple[float, float] | None,
) -> dict[str, float | None]:
    area = int(np.count_nonzero(region))
    hull = convex_hull(region)
    pixels = lengths(region, hull, (1.0, 1.0))
    height, width = spacing or (1.0, 1.0)
    aspect = (height / max(height, width), width / max(height, width))
    true_shape = pixels if height == width else lengths(region, hull, (height, width))
    end = (corner[0] + region.shape[0], corner[1] + region.shape[1])
    values: dict[str, float | None] = dict.fromkeys(MEASUREMENTS)
    values |= {f"{name}_px": pixels[name] for name in LENGTHS}
    values |= {name: true_shape[name] for name in ("eccentricity", "circularity")}
    values["area_px"] = float(area)
    values["solidity"] = area / hull.area
    values["touches_frame"] = float(0 in corner or end[0] == mask.shape[0] or end[1] == mask.shape[1])
    if spacing is not None:
        scale = height if height == width else 1.0
        values |= {f"{name}_mm": scale * true_shape[name] for name in LENGTHS}
        values["area_mm2"] = area * height * width
    if area >= SMALLEST_AREA:
        filled = fill_holes(region)
        view = View.of(mask, region, corner, image, aspect)
        values["border_compactness"] = compactness(filled, aspect)
        values["border_fractal_dimension"] = fractal_dimension(filled, aspect)
        values |= asymmetry(view) | cutoff(view) | colour(view)
    return values


def _checked_mask(mask: NDArray[Any], classes: Sequence[str]) -> NDArray[Any]:
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.size == 0 or mask.dtype.kind not in "bui":
        raise InputError(
            f"A mask to measure must be (H, W) whole numbers, got shape {mask.shape} of {mask.dtype}; "
            "give the mask, not the probability."
        )
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > len(classes):
        raise InputError(
            f"The mask holds the value {low if low < 0 else high}, but 0 is the background and "
            f"1 to {len(classes)} are the classes; name the classes that are in it."
        )
    return mask


def _check_image(image: NDArray[np.uint8] | None, mask: NDArray[Any]) -> None:
    if image is not None and (image.dtype != np.uint8 or image.shape != (*mask.shape, 3)):
        raise InputError(
            f"The image must be uint8 of shape {(*mask.shape, 3)} like its mask, got {image.dtype} of shape "
            f"{image.shape}; read it at its own size."
        )


def _check_spacing(spacing: tuple[float, float] | None) -> None:
    if spacing is not None and not (
        len(spacing) == 2 and all(math.isfinite(step) and step > 0 for step in spacing)
    ):
        raise InputError(
            f"The spacing must be two numbers above 0, mm per row and per column, got {spacing}; "
            "leave it out when it is not known."
        )
