"""Structure measure as the two toolboxes compute it; PySODMetrics' is `saliency.s_measure`.

The measure is half object and half region similarity. Object: over the object's pixels and over the
background's, 2 m / (m^2 + 1 + s + eps) with mean m and standard deviation s of the map (of 1 - map for the
background), weighted by their shares. Region: the image is cut into four at the reference's centroid, and
each quarter adds its share of the pixels times 4 x y c / ((x^2 + y^2) (vx + vy) + eps), with the means x, y,
the variances vx, vy and the covariance c of map and reference; 1 where both are constant and the fraction is
0 / 0, 0 where only the numerator is 0. An empty reference gives 1 - mean(map), one that fills the image
mean(map).

                    deviation, variance     covariance    eps       below 0    centroid between two pixels
    PraNet          divided by n - 1        n - 1         2.2e-16   0          the later pixel
    MSNet           divided by n            n - 1         1e-8      stays      the even index

Mended in both: a quarter without a pixel weighs 0 (the toolboxes multiply that 0 by NaN), and a quarter of
one pixel has covariance 0 (MSNet's has 0 / 0).

Source:
    Fan et al., ICCV 2017, arXiv:1708.00786; github.com/DengPingFan/PraNet eval/StructureMeasure.m, S_object.m
    and S_region.m, commit 95f12bd; github.com/Xiaoqi-Zhao-DLUT/MSNet-M2SNet utils/metric.py, commit 7442a3e.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rules:
    """In what the toolboxes differ."""

    lost: int
    """Degrees of freedom taken off deviations and variances."""
    eps: float
    """Added to denominators."""
    floor: float
    """Smallest value."""
    half_up: bool
    """Whether a centroid between two pixels goes to the later one, else to the even index."""


PRANET = Rules(lost=1, eps=float(np.spacing(1.0)), floor=0.0, half_up=True)
MSNET = Rules(lost=0, eps=1e-8, floor=-math.inf, half_up=False)


def structure_measure(reference: Mask, stretched: FloatArray, rules: Rules) -> float:
    """Compute the measure of one image.

    Args:
        reference: (H, W) bool.
        stretched: (H, W) float64, 0 to 1; the toolboxes stretch it per image first.
        rules: `PRANET` or `MSNET`.

    Returns:
        PraNet: 0 to 1. MSNet: about -1 to 1; a quarter of few pixels may lift it over 1, because its variance
        is divided by n and its covariance by n - 1.
    """
    share = float(reference.mean())
    if share == 0:
        return float(1 - stretched.mean())
    if share == 1:
        return float(stretched.mean())
    inside = _object(stretched[reference], rules)
    outside = _object(1 - stretched[~reference], rules)
    similarity = share * inside + (1 - share) * outside
    return max(rules.floor, (similarity + _region(reference, stretched, rules)) / 2)


def _object(values: FloatArray, rules: Rules) -> float:
    mean = float(values.mean())
    deviation = float(values.std(ddof=rules.lost)) if values.size > rules.lost else 0.0
    return 2 * mean / (mean**2 + 1 + deviation + rules.eps)


def _region(reference: Mask, stretched: FloatArray, rules: Rules) -> float:
    rows, columns = reference.sum(axis=1), reference.sum(axis=0)
    row, column = _after_centroid(rows, rules), _after_centroid(columns, rules)
    score = 0.0
    for vertical in (slice(0, row), slice(row, None)):
        for horizontal in (slice(0, column), slice(column, None)):
            part = np.s_[vertical, horizontal]
            if reference[part].size:
                score += reference[part].size * _similarity(reference[part], stretched[part], rules)
    return score / reference.size


def _after_centroid(profile: npt.NDArray[np.int_], rules: Rules) -> int:
    """Return the index of the first row (or column) after the centroid's."""
    mean = float((profile * np.arange(profile.size)).sum() / profile.sum())
    return (math.floor(mean + 0.5) if rules.half_up else round(mean)) + 1


def _similarity(reference: Mask, stretched: FloatArray, rules: Rules) -> float:
    x, y = float(stretched.mean()), float(reference.mean())
    constant = stretched.min() == stretched.max()  # its deviations are 0, not rounding
    from_x = np.zeros_like(stretched) if constant else stretched - x
    from_y = reference - y
    n = reference.size
    less = n - 1 + rules.eps if rules.lost else n
    variance = (float((from_x**2).sum()) + float((from_y**2).sum())) / less
    covariance = float((from_x * from_y).sum()) / (n - 1 + rules.eps if rules.lost else max(n - 1, 1))
    numerator, denominator = 4 * x * y * covariance, (x**2 + y**2) * variance
    if numerator != 0:
        return numerator / (denominator + rules.eps)
    return 1.0 if denominator == 0 else 0.0
