"""E-measure: alignment of the thresholded map with the reference, from pixel counts alone.

Paper: Fan et al., Enhanced-alignment Measure for Binary Foreground Map Evaluation, IJCAI 2018,
arXiv:1805.10421.

This is PySODMetrics' `Emeasure` with the same value to rounding, tested against it. The thresholded map and
the reference have four kinds of pixels, and all of a kind have the same alignment, so that two counts for
each threshold suffice. `level_counts` gives them for 256 thresholds at once, and serves every other curve
over thresholds.
"""

import numpy as np
import numpy.typing as npt

from delineate.metrics.reference_shape import ReferenceShape

LEVELS = 256
_EPS = np.spacing(1.0)  # as the library
_BLOCK = 1 << 16  # pixels at a time, so that what is made between two steps stays in the cache


def level_counts(
    reference: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64], *, slack: float = 0.0
) -> npt.NDArray[np.int64]:
    """Count the pixels of each of 256 levels: the whole part of 255 times the map.

    Args:
        reference: (H, W) bool.
        probability: (H, W) float64, 0 to 1.
        slack: added to 255 times the map, less than 1, for maps whose levels have gone through rounding.

    Returns:
        (2, 256) pixels of the background and of the object at each level. Summed from level k upwards they
        are the false and the true positives of the map thresholded at >= k / 255.
    """
    values, mask = probability.ravel(), reference.ravel()
    total, in_object = np.zeros((2, LEVELS), dtype=np.int64)
    for start in range(0, values.size, _BLOCK):
        level = (values[start : start + _BLOCK] * (LEVELS - 1) + slack).astype(np.intp)
        total += np.bincount(level, minlength=LEVELS)
        in_object += np.bincount(level[mask[start : start + _BLOCK]], minlength=LEVELS)
    return np.stack([total - in_object, in_object])


def emeasure_curve(
    shape: ReferenceShape, probability: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], float]:
    """Compute the measure at 256 thresholds and at the adaptive one.

    Args:
        shape: facts of the reference (H, W).
        probability: (H, W) float64, 0 to 1.

    Returns:
        (256,) at the thresholds k / 255, highest first, and the value at the adaptive threshold: twice the
        map's mean, at most 1. About 0 to 1; a perfect map gives H W / (H W - 1).
    """
    below = level_counts(shape.mask, probability)[:, ::-1].cumsum(axis=1)
    curve = _alignment(below[1], below[0], shape.pixels, probability.size)
    adaptive = probability >= min(2 * probability.mean(), 1.0)
    predicted = np.count_nonzero(adaptive)
    hits = np.count_nonzero(adaptive & shape.mask)
    single = _alignment(np.array([hits]), np.array([predicted - hits]), shape.pixels, probability.size)
    return curve, float(single[0])


def _alignment(
    hits: npt.NDArray[np.int64], false_alarms: npt.NDArray[np.int64], object_pixels: int, pixels: int
) -> npt.NDArray[np.float64]:
    """Compute the measure from true and false positives, (T,) for T thresholds."""
    predicted = hits + false_alarms
    if object_pixels in (0, pixels):  # nothing to align with: share of pixels on the right side
        return (predicted if object_pixels else pixels - predicted) / (pixels - 1 + _EPS)
    misses = object_pixels - hits
    mean, share = predicted / pixels, object_pixels / pixels
    kinds = [
        (hits, 1 - mean, 1 - share),
        (false_alarms, 1 - mean, -share),
        (misses, -mean, 1 - share),
        (pixels - predicted - misses, -mean, -share),
    ]
    total = np.zeros(hits.shape)
    for count, p, g in kinds:
        total += count * (2 * p * g / (p**2 + g**2 + _EPS) + 1) ** 2 / 4
    return total / (pixels - 1 + _EPS)
