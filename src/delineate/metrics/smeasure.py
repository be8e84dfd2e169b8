"""S-measure: likeness of the map to the reference as an object and in the four quarters around its centre.

Paper: Fan et al., Structure-measure: A New Way to Evaluate Foreground Maps, ICCV 2017, arXiv:1708.00786.

This is PySODMetrics' `Smeasure` with the same value to 1e-8, tested against it, except for one defect of the
library: an object whose centre lies in the last row or column leaves quarters without pixels. Their weight is
0, but the library multiplies it by the NaN of an empty mean, and the whole measure becomes NaN; here such a
quarter adds 0. It is written out because every mean, variance and covariance of the measure follows from four
sums over each quarter, where the library goes over the pixels dozens of times.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from delineate.metrics.reference_shape import ReferenceShape

FloatArray = npt.NDArray[np.float64]
_EPS = np.spacing(1.0)  # as the library
_FLAT = 1e-10  # a spread below this share of the squares it is left over from has lost too many digits


class _Sums(NamedTuple):
    """Sums over one region: pixels, map p, p squared, reference g, g p."""

    n: int
    p: float
    pp: float
    g: float
    gp: float


def smeasure(shape: ReferenceShape, probability: FloatArray) -> float:
    """Compute the measure with equal weight for object and region.

    Args:
        shape: facts of the reference (H, W).
        probability: (H, W) float64, 0 to 1.

    Returns:
        0 to 1, higher is better. An empty reference gives 1 - mean(map), one that fills the image mean(map).
    """
    n = probability.size
    if shape.pixels in (0, n):
        mean = float(probability.sum()) / n
        return mean if shape.pixels else 1 - mean
    rows, columns = shape.box
    row, column = shape.centre[0] + 1, shape.centre[1] + 1  # the centre belongs to the upper left quarter
    weighted = probability[shape.box] * shape.weight
    quarters = []
    for down in (slice(0, row), slice(row, probability.shape[0])):
        for along in (slice(0, column), slice(column, probability.shape[1])):
            part = probability[down, along]
            inner = (_within(down, rows), _within(along, columns))
            sums = _Sums(
                n=part.size,
                p=float(part.sum()),
                pp=float(np.einsum("ij,ij->", part, part)),
                g=float(shape.weight[inner].sum()),
                gp=float(weighted[inner].sum()),
            )
            quarters.append((sums, part))
    region = sum(sums.n / n * _likeness(sums, part) for sums, part in quarters)
    whole = _Sums(*(sum(values) for values in zip(*(sums for sums, _ in quarters), strict=True)))
    squares = float(np.vdot(weighted, weighted))
    inside, outside = shape.pixels, n - shape.pixels
    total = whole.p - whole.gp
    spread = squares - whole.gp**2 / inside
    if spread <= _FLAT * squares:
        spread = _squared_deviations(probability[shape.mask])
    spread_outside = whole.pp - squares - total**2 / outside
    if spread_outside <= _FLAT * whole.pp:
        spread_outside = _squared_deviations(probability[~shape.mask])
    # Of the background the complement 1 - p is compared; it deviates as much as p.
    objects = inside / n * _object_score(inside, whole.gp / inside, spread)
    objects += outside / n * _object_score(outside, 1 - total / outside, spread_outside)
    return max(0.0, 0.5 * objects + 0.5 * region)


def _within(part: slice, box: slice) -> slice:
    """Return the part of a line that lies in a box, counted from the box's start; may be empty."""
    start = max(part.start, box.start) - box.start
    return slice(start, max(min(part.stop, box.stop) - box.start, start))


def _object_score(n: int, mean: float, spread: float) -> float:
    """Object score of n values with a sum of squared deviations `spread`: high mean, small deviation."""
    deviation = math.sqrt(spread / (n - 1)) if n > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + deviation + _EPS)


def _squared_deviations(values: FloatArray) -> float:
    """Sum of squared deviations in two passes: slower than from sums, but exact for nearly equal values."""
    return float(np.sum((values - np.mean(values)) ** 2))


def _likeness(sums: _Sums, part: FloatArray) -> float:
    """Structural similarity of map and reference in one quarter, with one window for all of it."""
    n, p, pp, g, gp = sums
    if n == 0:
        return 0.0
    x, y = p / n, g / n
    constant = g in (0, n)
    spread = pp - p * x
    if constant and p > 0 and spread <= _FLAT * pp:
        # Without covariance the score is 1 when the map is constant too, else 0, and the library decides by
        # exact comparison: a spread near rounding must be computed as it does.
        spread = _squared_deviations(part)
    freedom = n - 1 + _EPS
    covariance = 0.0 if constant else (gp - p * y) / freedom
    alpha = 4 * x * y * covariance
    beta = (x**2 + y**2) * (max(spread, 0.0) + (g - g * y)) / freedom
    if alpha == 0:
        return 1.0 if beta == 0 else 0.0
    return alpha / (beta + _EPS)
