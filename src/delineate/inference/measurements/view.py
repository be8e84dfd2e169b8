"""A lesion with its surroundings, at most some hundred pixels a side: what A, B and C are measured on."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from delineate.inference.measurements.shape import FloatArray, Mask, Steps

LARGEST_SIDE = 512
"""Larger views are reduced by a whole factor: each pixel becomes the mean of a block."""
SMALLEST_AREA = 64
"""Regions of fewer pixels have no view: A, B and C mean nothing on a speck."""
MARGIN = 0.22
"""Of the equivalent diameter, at least 4 pixels: how much of the surroundings is in the view."""


@dataclass(frozen=True)
class View:
    """A region and what is around it."""

    cover: FloatArray
    """(h, w) in [0, 1]: share of the pixel that the region covers; 0 or 1 unless the view was reduced."""
    background: Mask
    """(h, w): pixels wholly within the image that belong to no class."""
    lab: FloatArray | None
    """(h, w, 3) CIELAB, D65, of the image taken as sRGB; outside the image its nearest pixel's, so that a
    block of a reduced view that lies across the frame has its inner part's colour; None without an image."""
    steps: Steps
    """Height and width of a pixel in units of the larger side of one of the mask's own pixels."""
    centre: FloatArray
    """Row and column of the centroid."""
    axis: FloatArray
    """Direction (row, column), of length 1 in the unit of `steps`, in which the region is longest; (0, 1)
    when it is equally long in all directions, as a disc or a square."""

    @classmethod
    def of(
        cls,
        mask: NDArray[Any],
        region: Mask,
        corner: tuple[int, int],
        image: NDArray[np.uint8] | None,
        aspect: Steps,
    ) -> Self:
        """Cut the view of a region out of its mask and image.

        Args:
            mask: (H, W), 0 where there is background.
            region: (h, w) the region's box.
            corner: row and column of the box in the mask.
            image: uint8 RGB (H, W, 3).
            aspect: height and width of a pixel, the larger 1.
        """
        from skimage.color import rgb2lab

        diameter = 2 * math.sqrt(np.count_nonzero(region) * aspect[0] * aspect[1] / math.pi)
        widest = max(LARGEST_SIDE, *region.shape)  # very oblong pixels must not make the view huge
        margins = [min(max(4, math.ceil(MARGIN * diameter / step)), widest) for step in aspect]
        box = [
            (start - margin, start + side + margin)
            for start, side, margin in zip(corner, region.shape, margins, strict=True)
        ]
        inside = tuple(
            slice(max(low, 0), min(high, size)) for (low, high), size in zip(box, mask.shape, strict=True)
        )
        beyond = [
            (max(-low, 0), max(high - size, 0)) for (low, high), size in zip(box, mask.shape, strict=True)
        ]
        factor = math.ceil(max(high - low for low, high in box) / LARGEST_SIDE)
        cover = _reduce(np.pad(region, [(margin, margin) for margin in margins]), factor)
        empty = np.pad(mask[inside] == 0, beyond)
        lab = None
        if image is not None:
            lab = rgb2lab(_reduce(np.pad(image[inside], [*beyond, (0, 0)], mode="edge"), factor) / 255)
        steps = (factor * aspect[0], factor * aspect[1])
        centre, axis = _principal_axis(cover, steps)
        return cls(cover, _reduce(empty, factor) == 1, lab, steps, centre, axis)

    @property
    def diameter(self) -> float:
        """Equivalent diameter, in the unit of `steps`."""
        return 2 * math.sqrt(float(self.cover.sum()) * self.steps[0] * self.steps[1] / math.pi)

    @property
    def half(self) -> float:
        """Cover from which on a pixel is inside: half of the largest, so that a reduced line has one."""
        return float(self.cover.max()) / 2

    def offsets(self) -> tuple[FloatArray, FloatArray]:
        """Return how far each pixel is from the centroid along the axis, and across it; each (h, w)."""
        rows = (np.arange(self.cover.shape[0]) - self.centre[0]) * self.steps[0]
        columns = (np.arange(self.cover.shape[1]) - self.centre[1]) * self.steps[1]
        along = rows[:, None] * self.axis[0] + columns[None, :] * self.axis[1]
        across = columns[None, :] * self.axis[0] - rows[:, None] * self.axis[1]
        return along, across


def _reduce(values: NDArray[Any], factor: int) -> FloatArray:
    """Average blocks of factor x factor; blocks over the end are filled up with zeros."""
    from skimage.measure import block_reduce

    if factor == 1:
        return values.astype(np.float64)
    reduced: FloatArray = block_reduce(values, (factor, factor, 1)[: values.ndim], np.mean)
    return reduced


def _principal_axis(cover: FloatArray, steps: Steps) -> tuple[FloatArray, FloatArray]:
    down, right = cover.sum(axis=1), cover.sum(axis=0)
    total = cover.sum()
    rows, columns = np.arange(len(down)), np.arange(len(right))
    centre = np.array([down @ rows, right @ columns]) / total
    y, x = (rows - centre[0]) * steps[0], (columns - centre[1]) * steps[1]
    yy, xx, yx = down @ y**2 / total, right @ x**2 / total, y @ cover @ x / total
    if math.hypot(yy - xx, 2 * yx) <= 1e-9 * (yy + xx):
        return centre, np.array([0.0, 1.0])
    angle = math.atan2(2 * yx, xx - yy) / 2  # from the direction of the columns towards that of the rows
    return centre, np.array([math.sin(angle), math.cos(angle)])
