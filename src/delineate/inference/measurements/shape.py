"""Size and shape of one region, on square or oblong pixels."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
Steps = tuple[float, float]
"""Height and width of a pixel, in any unit of length."""


class Hull(NamedTuple):
    """Convex hull of a region, its pixels taken as squares."""

    corners: FloatArray
    """(n, 2) row and column, in order around the hull; pixel (0, 0) reaches from (0, 0) to (1, 1)."""
    area: float
    """In pixels."""


def convex_hull(region: Mask) -> Hull:
    """Return the convex hull of the corners of all pixels, so that one pixel is a square of area 1.

    Args:
        region: (H, W), at least one pixel set.
    """
    from scipy.spatial import ConvexHull

    rows = np.flatnonzero(region.any(axis=1))
    first = region[rows].argmax(axis=1)
    last = region.shape[1] - region[rows, ::-1].argmax(axis=1)  # one past the last pixel of the row
    points = np.empty((4 * len(rows), 2))
    points[:, 0] = np.concatenate([rows, rows, rows + 1, rows + 1])
    points[:, 1] = np.concatenate([first, last, first, last])
    hull = ConvexHull(points)
    return Hull(hull.points[hull.vertices], float(hull.volume))


def feret_diameters(corners: FloatArray) -> tuple[float, float]:
    """Return the largest and the smallest distance of two parallel lines that enclose a convex polygon.

    The largest is the longest distance of two corners; the smallest has one line along an edge.

    Args:
        corners: (n, 2) corners in order, in the unit that the result has.
    """
    from scipy.spatial.distance import pdist

    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    away = corners[None, :, :] - corners[:, None, :]  # [edge, corner]: from the edge's start to the corner
    across = np.abs(away[..., 0] * edges[:, None, 1] - away[..., 1] * edges[:, None, 0])
    return float(pdist(corners).max()), float((across.max(axis=1) / lengths).min())


def crofton_perimeter(region: Mask, steps: Steps = (1.0, 1.0)) -> float:
    """Estimate the length of all outlines of a region, those of its holes included.

    Crofton's formula with the lines through pixel centres along rows, columns and both diagonals: half the
    sum over the four directions of (angle that the direction stands for) x (distance of its lines) x (number
    of times they cross the outline). For square pixels it is `skimage.measure.perimeter_crofton`.

    Args:
        region: (H, W).
        steps: height and width of a pixel.

    Returns:
        The length, in the unit of `steps`.
    """
    height, width = steps
    padded = np.pad(region, 1)
    slope = math.atan2(height, width)
    between_diagonals = height * width / math.hypot(height, width)
    crossings = (
        (slope, height, padded[:, 1:] != padded[:, :-1]),
        (math.pi / 2 - slope, width, padded[1:] != padded[:-1]),
        (math.pi / 4, between_diagonals, padded[1:, 1:] != padded[:-1, :-1]),
        (math.pi / 4, between_diagonals, padded[1:, :-1] != padded[:-1, 1:]),
    )
    return sum(angle * apart * int(np.count_nonzero(met)) for angle, apart, met in crossings) / 2


def fill_holes(region: Mask) -> Mask:
    """Return a region with the holes filled that it surrounds; corners that touch close a hole."""
    from scipy.ndimage import label

    outer, _ = label(np.pad(~region, 1, constant_values=True))
    filled: Mask = outer[1:-1, 1:-1] != outer[0, 0]
    return filled


def lengths(region: Mask, hull: Hull, steps: Steps) -> dict[str, float]:
    """Measure everything that is a length, and what follows from lengths.

    Args:
        region: (H, W), at least one pixel set.
        hull: its hull.
        steps: height and width of a pixel.

    Returns:
        perimeter, equivalent_diameter, feret_max, feret_min, major_axis and minor_axis in the unit of
        `steps`; eccentricity and circularity without one.
    """
    from skimage.measure import regionprops

    properties = regionprops(region.view(np.uint8), spacing=steps)[0]
    area = int(np.count_nonzero(region)) * steps[0] * steps[1]
    perimeter = crofton_perimeter(region, steps)
    feret_max, feret_min = feret_diameters(hull.corners * steps)
    return {
        "perimeter": perimeter,
        "equivalent_diameter": 2 * math.sqrt(area / math.pi),
        "feret_max": feret_max,
        "feret_min": feret_min,
        "major_axis": float(properties.axis_major_length),
        "minor_axis": float(properties.axis_minor_length),
        "eccentricity": float(properties.eccentricity),
        "circularity": 4 * math.pi * area / perimeter**2,
    }
