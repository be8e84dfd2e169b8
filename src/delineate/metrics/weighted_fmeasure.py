"""Weighted F-measure: errors near the object and errors that neighbours repair weigh less.

Paper: Margolin et al., How to Evaluate Foreground Maps?, CVPR 2014.

This is PySODMetrics' `WeightedFmeasure` (a translation of the authors' Matlab code) with the same value to
rounding, tested against it. It is written out because the library's version filters the whole image and takes
half of the time of all scores: the filter only matters on the object, so here it sees only the object's box.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, gaussian_filter

_RADIUS = 3  # 7 x 7 window
_SIGMA = 5.0  # pixels
_EPS = np.spacing(1.0)  # Matlab's eps, as the library


def weighted_fmeasure(reference: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64]) -> float:
    """Compute the measure with beta = 1.

    Args:
        reference: (H, W) bool; an empty one gives 0, whatever the map.
        probability: (H, W) float64, 0 to 1.

    Returns:
        0 to 1, higher is better.
    """
    if not reference.any():
        return 0.0
    background = ~reference
    distance, nearest = distance_transform_edt(background, return_indices=True)
    error = np.abs(probability - reference)

    # Pixel dependency: an object pixel's error is at most its neighbourhood's mean, where a background pixel
    # stands for the object pixel nearest to it. The window reaches _RADIUS beyond the object's box.
    rows, columns = np.flatnonzero(reference.any(axis=1)), np.flatnonzero(reference.any(axis=0))
    box = np.s_[
        max(rows[0] - _RADIUS, 0) : rows[-1] + _RADIUS + 1,
        max(columns[0] - _RADIUS, 0) : columns[-1] + _RADIUS + 1,
    ]
    spread = error[nearest[0][box], nearest[1][box]]  # an object pixel is its own nearest
    smooth = gaussian_filter(spread, _SIGMA, radius=_RADIUS, mode="constant")
    inside = reference[box]
    object_error = np.minimum(error[box][inside], smooth[inside])

    # Pixel importance: a false alarm weighs 1 beside the object and up to 2 far away, halfway at 5 pixels.
    importance = 2 - np.exp(np.log(0.5) / 5 * distance[background])
    false_positive = float((error[background] * importance).sum())

    recall = 1 - float(object_error.mean())
    true_positive = float(object_error.size - object_error.sum())
    precision = true_positive / (true_positive + false_positive + _EPS)
    return float(2 * recall * precision / (recall + precision + _EPS))
