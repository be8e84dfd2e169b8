"""Overlap scores from pixel counts.

One rule covers every undefined case. A score is a fraction; when its denominator is zero

 - and prediction and reference agree on every pixel, the value is what `empty` says: "one" gives 1,
   "zero" gives 0, "skip" gives NaN, which the summary leaves out of the mean and out of `n`;
 - and they disagree, the value is 0, whatever `empty` says: a missed lesion never falls out of a mean.

    score         reference empty,    prediction empty,   both empty    reference fills the image
                  prediction not      reference not
    dice, iou     0                   0                   `empty`       as usual
    precision     0                   0                   `empty`       as usual
    sensitivity   0                   0                   `empty`       as usual
    specificity   as usual            1                   1             `empty` if the prediction too, else 0
    accuracy      as usual            as usual            1             as usual

`n` is therefore the same for dice, iou, precision and sensitivity of one set of images.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from delineate.checks import InputError, choose
from delineate.metrics.counts import Counts

Empty = Literal["zero", "one", "skip"]
FloatArray = npt.NDArray[np.float64]

EMPTY_VALUES: Mapping[str, float] = {"zero": 0.0, "one": 1.0, "skip": float("nan")}
"""What a score is when its denominator is zero and prediction and reference agree."""

# tp, fp, fn, tn -> numerator, denominator; sums of counts, so they serve one image and arrays of pooled
# counts.
_FRACTIONS: Mapping[str, Callable[..., tuple[FloatArray, FloatArray]]] = {
    "dice": lambda tp, fp, fn, tn: (2 * tp, 2 * tp + fp + fn),
    "iou": lambda tp, fp, fn, tn: (tp, tp + fp + fn),
    "precision": lambda tp, fp, fn, tn: (tp, tp + fp),
    "sensitivity": lambda tp, fp, fn, tn: (tp, tp + fn),
    "specificity": lambda tp, fp, fn, tn: (tn, tn + fp),
    "accuracy": lambda tp, fp, fn, tn: (tp + tn, tp + fp + fn + tn),
}


def empty_value(empty: str) -> float:
    """Return the value that `empty` stands for.

    Raises:
        InputError: `empty` is not "zero", "one" or "skip".
    """
    return choose("empty policy", empty, EMPTY_VALUES)


def overlap(name: str, counts: npt.ArrayLike, *, empty: Empty = "one") -> FloatArray:
    """Compute one overlap score for many counts at once.

    Args:
        name: "dice", "iou", "precision", "sensitivity", "specificity", "accuracy" or "dice_fgbg".
        counts: (..., 4), the last axis is tp, fp, fn, tn, all >= 0.
        empty: see the module's docstring.

    Returns:
        (...) float64, each 0 to 1, or NaN where `empty` is "skip" and applies.
    """
    table = np.asarray(counts, dtype=np.float64)
    if name == "dice_fgbg":
        background = overlap("dice", table[..., ::-1], empty=empty)  # reversed: tn, fn, fp, tp
        return (overlap("dice", table, empty=empty) + background) / 2
    tp, fp, fn, tn = np.moveaxis(table, -1, 0)
    numerator, denominator = choose("overlap score", name, _FRACTIONS)(tp, fp, fn, tn)
    undefined = np.where(fp + fn > 0, 0.0, empty_value(empty))
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), undefined)


def _single(name: str, counts: Counts, empty: Empty) -> float:
    if sum(counts) == 0:
        raise InputError(f"{name} needs at least one pixel, but all four counts are 0.")
    return float(overlap(name, counts, empty=empty))


def dice(counts: Counts, *, empty: Empty = "one") -> float:
    """Dice, 2 tp / (2 tp + fp + fn), 0 to 1; the F1 score. One of the masks empty: 0; both: `empty`."""
    return _single("dice", counts, empty)


def iou(counts: Counts, *, empty: Empty = "one") -> float:
    """Intersection over union, tp / (tp + fp + fn), 0 to 1. One of the masks empty: 0; both: `empty`."""
    return _single("iou", counts, empty)


def precision(counts: Counts, *, empty: Empty = "one") -> float:
    """Positive predictive value, tp / (tp + fp), 0 to 1. One of the masks empty: 0; both: `empty`."""
    return _single("precision", counts, empty)


def sensitivity(counts: Counts, *, empty: Empty = "one") -> float:
    """Recall, tp / (tp + fn), 0 to 1. One of the masks empty: 0; both: `empty`."""
    return _single("sensitivity", counts, empty)


def specificity(counts: Counts, *, empty: Empty = "one") -> float:
    """True negative rate, tn / (tn + fp), 0 to 1; defined for empty masks.

    Reference fills the image: `empty` if the prediction does too, else 0.
    """
    return _single("specificity", counts, empty)


def accuracy(counts: Counts, *, empty: Empty = "one") -> float:
    """Share of right pixels, (tp + tn) / all, 0 to 1; always defined, so `empty` never applies."""
    return _single("accuracy", counts, empty)


def dice_fgbg(counts: Counts, *, empty: Empty = "one") -> float:
    """Mean of the object's and the background's Dice, 0 to 1 (the mDice of mmsegmentation).

    Both masks empty: (`empty` + 1) / 2. It rewards the background, which is easy: never compare it with
    `dice`.
    """
    return _single("dice_fgbg", counts, empty)
