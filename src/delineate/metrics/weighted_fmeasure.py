"""Weighted F-measure: errors near the object and errors that neighbours repair weigh less.

Paper: Margolin et al., How to Evaluate Foreground Maps?, CVPR 2014.

This is PySODMetrics' `WeightedFmeasure` (a translation of the authors' Matlab code) with the same value to
1e-9, tested against it. It is written out because the library filters the whole image, while the filter only
matters on the object, and because the distances to the object serve every map of one reference.
"""

import numpy as np
import numpy.typing as npt

from delineate.metrics.reference_shape import WINDOW, ReferenceShape

_SIGMA = 5.0  # pixels
_EPS = np.spacing(1.0)  # Matlab's eps, as the library
_TAPS = np.exp(-0.5 * (np.arange(-WINDOW, WINDOW + 1) / _SIGMA) ** 2)
_TAPS /= _TAPS.sum()  # along one axis; the normalised 7 x 7 window is its product with itself


def weighted_fmeasure(
    reference: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.float64],
    *,
    shape: ReferenceShape | None = None,
) -> float:
    """Compute the measure with beta = 1.

    Args:
        reference: (H, W) bool; an empty one gives 0, whatever the map.
        probability: (H, W) float64, 0 to 1.
        shape: facts of the reference, to compute them once for several maps.

    Returns:
        0 to 1, higher is better.
    """
    shape = shape or ReferenceShape(reference)
    if shape.pixels == 0:
        return 0.0
    near, box, inside = shape.surroundings, shape.box, shape.weight

    # Pixel dependency: an object pixel's error is at most its neighbourhood's mean, where a background pixel
    # stands for the object pixel nearest to it, and beyond the frame there is no error.
    error = 1 - probability.ravel().take(near.nearest)  # an object pixel is its own nearest
    (top, bottom), (left, right) = (
        (WINDOW + inner.start - outer.start, WINDOW + outer.stop - inner.stop)
        for inner, outer in zip(near.window, box, strict=True)
    )
    spread = np.pad(error, ((top, bottom), (left, right)))
    smooth = _filtered(_filtered(spread).T).T
    own = spread[WINDOW:-WINDOW, WINDOW:-WINDOW]
    object_error = float(np.vdot(np.minimum(own, smooth), inside))

    # Pixel importance: a false alarm weighs 1 beside the object and up to 2 far away, halfway at 5 pixels:
    # 2 - nearness. An object pixel is at distance 0.
    on_object = float(np.einsum("ij,ij->", probability[box], inside))
    nearby = float(np.einsum("ij,ij->", probability[near.zone], near.nearness))
    false_positive = 2 * (float(probability.sum()) - on_object) - (nearby - on_object)
    false_positive = max(false_positive, 0.0)  # rounding of differences

    recall = 1 - object_error / shape.pixels
    true_positive = shape.pixels - object_error
    precision = true_positive / (true_positive + false_positive + _EPS)
    return float(2 * recall * precision / (recall + precision + _EPS))


def _filtered(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Filter along the first axis, (n + 6, m) -> (n, m), taps paired because they are symmetric."""
    stop = len(values) - 2 * WINDOW
    result = _TAPS[WINDOW] * values[WINDOW : WINDOW + stop]
    for offset in range(1, WINDOW + 1):
        pair = values[WINDOW - offset : WINDOW - offset + stop] + values[WINDOW + offset :][:stop]
        pair *= _TAPS[WINDOW + offset]
        result += pair
    return result
