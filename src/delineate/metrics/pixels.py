"""The probability map against the reference, pixel by pixel: area under the ROC curve and calibration.

Each comes per image (averaged over images, every image counting the same) and pooled over the pixels of all
images (`delineate.metrics.histograms`). Several classes: the class's channel against everything else.
"""

import math

import numpy as np
import numpy.typing as npt

from delineate.metrics.calibration import BINS, bin_of

FloatArray = npt.NDArray[np.float64]
FloatMap = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def auc(reference: Mask, probability: FloatMap) -> float:
    """Area under the ROC curve over the pixels of one image, exact, 0 to 1; chance is 0.5.

    The share of (object, background) pairs of pixels in which the object's has the higher probability, ties
    counting half. NaN when the reference is empty or fills the image: there are no pairs.

    Source:
        The value of scikit-learn's `roc_auc_score`.
    """
    objects, background = np.sort(probability[reference]), np.sort(probability[~reference])
    if not objects.size or not background.size:
        return math.nan
    below = np.searchsorted(background, objects, side="left").sum(dtype=np.int64)
    at_most = np.searchsorted(background, objects, side="right").sum(dtype=np.int64)
    return float(below + at_most) / 2 / objects.size / background.size


def ece(reference: Mask, probability: FloatMap) -> float:
    """Expected calibration error over the pixels of one image, 0 to 1, lower is better.

    sum over 15 bins of equal width of |object pixels - summed probability|, divided by all pixels.

    Source:
        Guo et al., ICML 2017, arXiv:1706.04599, Eq. (3), read for pixels.
    """
    _, probabilities, objects = reliability_sums(reference, probability)
    return float(np.abs(objects - probabilities).sum() / reference.size)


def brier(reference: Mask, probability: FloatMap) -> float:
    """Mean squared difference of probability and reference over the pixels of one image, 0 to 1.

    Source:
        Brier, Monthly Weather Review 78, 1950, read for pixels.
    """
    return squared_error(reference, probability) / reference.size


def reliability_sums(reference: Mask, probability: FloatMap) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sum by bin of the probability: pixels, their probabilities and their object pixels, (15,) each."""
    values = probability.astype(np.float64).clip(0, 1).ravel()
    member = bin_of(values, BINS)
    pixels = np.bincount(member, minlength=BINS).astype(np.float64)
    probabilities = np.bincount(member, weights=values, minlength=BINS).astype(np.float64)
    objects = np.bincount(member[reference.ravel()], minlength=BINS).astype(np.float64)
    return pixels, probabilities, objects


def squared_error(reference: Mask, probability: FloatMap) -> float:
    """Sum of squared differences over the pixels."""
    difference = probability.astype(np.float64).clip(0, 1) - reference
    return float(np.square(difference).sum())
