"""Scores of the probability map itself: S-, E- and weighted F-measure and MAE, as PySODMetrics computes them.

The map is taken raw by default. `stretch=True` first stretches it per image so that its smallest value
becomes 0 and its largest 1, as published saliency tables do: a stretched score cannot see whether the map is
confident, and a faint map of an image without a lesion becomes a strong one. A report must say which of the
two it prints; the plain names of `METRICS` are raw. The published tables also save the map with 8 bits first;
here it is not rounded (the E-measure's 256 thresholds round it themselves).

The measures themselves are in `smeasure.py`, `emeasure.py` and `weighted_fmeasure.py`: the library's values,
several times faster, with one defect of the library mended (see `smeasure.py`).

What PySODMetrics does with an empty reference (nothing is changed here, so that values stay comparable):

    S-measure       1 - mean(map); with a reference that fills the image, mean(map)
    E-measure       share of background pixels of the thresholded map. Threshold 0 makes every pixel object:
                    the mean over thresholds is at most about 255/256, and the adaptive threshold of an
                    all-zero map is 0, so the adaptive E-measure of a perfect empty map is 0
    weighted F      0, whatever the prediction
    MAE             mean(map)

These functions know no policy for empty masks; `score_image` leaves a case with two empty masks out of these
scores, as of Dice and the distances, when its policy is "skip".

The E-measure divides by H W - 1, as its authors' code does: a perfect map scores H W / (H W - 1), a little
over 1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from delineate.checks import InputError
from delineate.metrics.emeasure import emeasure_curve
from delineate.metrics.reference_shape import ReferenceShape
from delineate.metrics.smeasure import smeasure
from delineate.metrics.weighted_fmeasure import weighted_fmeasure

FloatMap = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_ROUNDING = 1e-4  # resized softmax maps overshoot 0 and 1 by a few units in the last place


@dataclass(frozen=True)
class EMeasure:
    """The three readings of one E-measure curve, each about 0 to 1."""

    max: float
    """Largest over the 256 thresholds; it picks the threshold with the reference in sight."""
    mean: float
    """Mean over the 256 thresholds."""
    adp: float
    """At the adaptive threshold, twice the map's mean, at most 1."""


def prepare(
    reference: npt.NDArray[np.bool_], probability: FloatMap, *, stretch: bool
) -> npt.NDArray[np.float64]:
    """Check a probability map, and stretch it when asked; a constant map is not stretched.

    Returns:
        (H, W) float64, 0 to 1.

    Raises:
        InputError: not boolean and floating, shapes differ, fewer than 2 pixels, or values outside 0 to 1 or
            NaN.
    """
    if reference.dtype != np.bool_ or not np.issubdtype(probability.dtype, np.floating):
        raise InputError(
            "reference must be boolean and probability floating point, "
            f"got {reference.dtype} and {probability.dtype}; divide an 8-bit map by 255 first."
        )
    if reference.shape != probability.shape or reference.ndim != 2 or reference.size < 2:
        raise InputError(
            "reference and probability must have one shape (height, width) with at least two pixels, "
            f"got {[*reference.shape]} and {[*probability.shape]}; resize the map to the reference."
        )
    low, high = float(probability.min()), float(probability.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN fails both
        raise InputError(
            f"Probabilities must lie between 0 and 1, got {low:.4g} to {high:.4g}; pass no logits."
        )
    clean = probability.astype(np.float64)
    if low < 0 or high > 1:
        clean.clip(0, 1, out=clean)
    if stretch and high > low:
        low, high = float(clean.min()), float(clean.max())
        return (clean - low) / (high - low) if high > low else clean
    return clean


def s_measure(reference: npt.NDArray[np.bool_], probability: FloatMap, *, stretch: bool = False) -> float:
    """Structure measure with equal weight for object and region, 0 to 1.

    Args:
        reference: (H, W) bool.
        probability: (H, W) floating, 0 to 1.
        stretch: stretch the map to 0..1 first.

    Source:
        Fan et al., ICCV 2017, arXiv:1708.00786; empty references as in the module's docstring.
    """
    return smeasure(ReferenceShape(reference), prepare(reference, probability, stretch=stretch))


def e_measure(reference: npt.NDArray[np.bool_], probability: FloatMap, *, stretch: bool = False) -> EMeasure:
    """Enhanced-alignment measure: the curve over 256 thresholds and the adaptive threshold, computed once.

    Args:
        reference: (H, W) bool.
        probability: (H, W) floating, 0 to 1.
        stretch: stretch the map to 0..1 first.

    Source:
        Fan et al., IJCAI 2018, arXiv:1805.10421; empty references as in the module's docstring.
    """
    return _e_measure(ReferenceShape(reference), prepare(reference, probability, stretch=stretch))


def e_measure_max(reference: npt.NDArray[np.bool_], probability: FloatMap, *, stretch: bool = False) -> float:
    """Largest E-measure over 256 thresholds; see `e_measure`."""
    return e_measure(reference, probability, stretch=stretch).max


def e_measure_mean(
    reference: npt.NDArray[np.bool_], probability: FloatMap, *, stretch: bool = False
) -> float:
    """Mean E-measure over 256 thresholds; see `e_measure`."""
    return e_measure(reference, probability, stretch=stretch).mean


def e_measure_adp(reference: npt.NDArray[np.bool_], probability: FloatMap, *, stretch: bool = False) -> float:
    """E-measure at the adaptive threshold; see `e_measure`."""
    return e_measure(reference, probability, stretch=stretch).adp


def weighted_f(
    reference: npt.NDArray[np.bool_],
    probability: FloatMap,
    *,
    stretch: bool = False,
    shape: ReferenceShape | None = None,
) -> float:
    """Weighted F-measure with beta 1, 0 to 1; an empty reference gives 0. See `weighted_fmeasure.py`.

    `shape` holds facts of the reference, to compute them once for several maps.
    """
    clean = prepare(reference, probability, stretch=stretch)
    return weighted_fmeasure(reference, clean, shape=shape)


def mae(reference: npt.NDArray[np.bool_], probability: FloatMap, *, stretch: bool = False) -> float:
    """Mean absolute difference of map and reference, 0 to 1, lower is better; defined for empty masks."""
    return _mae(ReferenceShape(reference), prepare(reference, probability, stretch=stretch))


def saliency_scores(
    reference: npt.NDArray[np.bool_],
    probability: FloatMap,
    *,
    stretch: bool = False,
    shape: ReferenceShape | None = None,
) -> dict[str, float]:
    """Compute the six scores of this module together; the map is checked once, the E-measure curve shared.

    Args:
        reference: (H, W) bool.
        probability: (H, W) floating, 0 to 1.
        stretch: stretch the map to 0..1 first.
        shape: facts of the reference, to compute them once for the raw and the stretched map.
    """
    clean = prepare(reference, probability, stretch=stretch)
    shape = shape or ReferenceShape(reference)
    e = _e_measure(shape, clean)
    return {
        "s_measure": smeasure(shape, clean),
        "e_measure_max": e.max,
        "e_measure_mean": e.mean,
        "e_measure_adp": e.adp,
        "weighted_f": weighted_fmeasure(reference, clean, shape=shape),
        "mae": _mae(shape, clean),
    }


def _e_measure(shape: ReferenceShape, clean: npt.NDArray[np.float64]) -> EMeasure:
    curve, adaptive = emeasure_curve(shape, clean)
    return EMeasure(max=float(curve.max()), mean=float(curve.mean()), adp=adaptive)


def _mae(shape: ReferenceShape, clean: npt.NDArray[np.float64]) -> float:
    """Mean absolute error: p on the background and 1 - p on the object, whose box holds all of the object."""
    if shape.pixels == 0:
        return float(clean.mean())
    on_object = float(np.einsum("ij,ij->", clean[shape.box], shape.weight))
    error = (float(clean.sum()) - on_object) + (shape.pixels - on_object)
    return max(error, 0.0) / clean.size  # rounding of differences
