"""B: how irregular the outline of a lesion is, and how abruptly its pigment ends there."""

import math

import numpy as np
from numpy.typing import NDArray

from delineate.inference.measurements.shape import FloatArray, Mask, Steps, crofton_perimeter
from delineate.inference.measurements.view import View

SEGMENTS = 8
"""Of the border in the ABCD rule of dermoscopy."""
BAND = 0.05
"""Width of the bands on both sides of the outline, of the equivalent diameter; at least one pixel."""
NO_EDGE = 3.0
"""A lesion that differs from its surroundings by less, in units of L*, has no edge in that segment."""
ABRUPT = 1 / 3
"""At least this share of the lightness step lies between the two bands beside an abrupt outline: twice what
an even gradient over all four bands has, whose centres lie 1 and at least 6 widths apart."""
FEWEST_PIXELS = 4
"""Of each band in each segment; with fewer the segment is not measured."""
SHORTEST = 16
"""Longer side of the box of a region with a fractal dimension, at least: three sizes of boxes."""


def compactness(filled: Mask, steps: Steps) -> float:
    """Return perimeter^2 / (4 pi area) of a region without holes: about 1 for a disc, else more."""
    area = int(np.count_nonzero(filled)) * steps[0] * steps[1]
    return crofton_perimeter(filled, steps) ** 2 / (4 * math.pi * area)


def fractal_dimension(filled: Mask, steps: Steps = (1.0, 1.0)) -> float | None:
    """Return the box-counting dimension of the outline of a region without holes.

    The slope of log(boxes that hold outline pixels) over log(1 / size of the box), for boxes of 1, 2, 4, ...
    pixels up to a quarter of the longer side of the region's box. Of four grids, one from each corner of
    that box, the one with the fewest boxes counts, so that turning the picture changes nothing. Boxes are
    square in space: of oblong pixels, a size counts the longer side.

    Args:
        filled: (h, w) the region's box.
        steps: height and width of a pixel, the larger 1.

    Returns:
        About 1 for a smooth outline, at most 2; None for a region shorter than 16 pixels.
    """
    height, width = filled.shape
    longest = max(height * steps[0], width * steps[1])
    if longest < SHORTEST:
        return None
    count = int(math.log2(longest / 4)) + 1
    rows, columns = np.nonzero(_outline(filled))
    corners = [
        (down * steps[0], right * steps[1])
        for down in (rows, height - 1 - rows)
        for right in (columns, width - 1 - columns)
    ]
    sizes = [2**k for k in range(count)]
    boxes = [min(_boxes(down, right, size) for down, right in corners) for size in sizes]
    return -float(np.polyfit(np.log(sizes), np.log(boxes), 1)[0])


def cutoff(view: View) -> dict[str, float | None]:
    """Measure how abruptly the lightness changes at the outline, in eight segments around the centroid.

    In each segment, L* just outside the outline minus L* just inside, over L* well outside minus L* well
    inside: 1 when the whole change happens at the outline, near 0 when it is gradual.

    Returns:
        border_cutoff: mean of the segments, in [0, 1]; border_cutoff_segments: how many are abrupt, 0 to 8.
        Both None without an image, or when not all segments can be measured.
    """
    none: dict[str, float | None] = {"border_cutoff": None, "border_cutoff_segments": None}
    if view.lab is None:
        return none
    lightness = view.lab[..., 0]
    near_in, far_in, near_out, far_out = bands(view)
    along, across = view.offsets()
    turn = 2 * math.pi / SEGMENTS
    segment = np.rint(np.arctan2(across, along) / turn).astype(int) % SEGMENTS  # centred on the axes
    shares = []
    for k in range(SEGMENTS):
        levels = []
        for band in (near_in, far_in, near_out, far_out):
            here = band & (segment == k)
            if np.count_nonzero(here) < FEWEST_PIXELS:
                return none
            levels.append(float(lightness[here].mean()))
        step, whole = levels[2] - levels[0], levels[3] - levels[1]
        shares.append(0.0 if abs(whole) < NO_EDGE else min(max(step / whole, 0.0), 1.0))
    return {
        "border_cutoff": sum(shares) / SEGMENTS,
        "border_cutoff_segments": float(sum(share >= ABRUPT for share in shares)),
    }


def bands(view: View) -> tuple[Mask, Mask, Mask, Mask]:
    """Return pixels just inside the outline, well inside, just outside, well outside; each (h, w).

    With w = 5 % of the equivalent diameter: up to w inside, more than 2 w inside, up to w outside, 2 w to
    4 w outside. Outside are only pixels of the background.
    """
    from scipy.ndimage import distance_transform_edt

    width = max(BAND * view.diameter, max(view.steps))
    inside = view.cover >= view.half
    half = min(view.steps) / 2  # the outline runs between the centres of two pixels
    depth: FloatArray = distance_transform_edt(inside, sampling=view.steps) - half
    height: FloatArray = distance_transform_edt(~inside, sampling=view.steps) - half
    outside = view.background & ~inside
    return (
        inside & (depth <= width),
        inside & (depth > 2 * width),
        outside & (height <= width),
        outside & (height > 2 * width) & (height <= 4 * width),
    )


def _outline(filled: Mask) -> Mask:
    """Pixels of the region with one of their eight neighbours outside it."""
    inner = np.pad(filled, 1)
    inner = inner[:-2] & inner[1:-1] & inner[2:]
    inner = inner[:, :-2] & inner[:, 1:-1] & inner[:, 2:]
    outline: Mask = filled & ~inner
    return outline


def _boxes(down: NDArray[np.floating], right: NDArray[np.floating], size: int) -> int:
    """How many boxes of size x size hold one of the points."""
    exact = 1e-9  # a third of a pixel, three times, is one
    rows, columns = (np.floor(places / size + exact).astype(np.int64) for places in (down, right))
    return len(np.unique(rows * (columns.max() + 1) + columns))
