"""Threshold curves as the evaluation toolbox of PraNet computes them.

The map is stretched per image so that its smallest value becomes 0 and its largest 1 (a constant map is left
alone), and compared, value >= threshold, with the 256 thresholds k / 255, k = 0 .. 255. At each threshold,
with n = tp + fp + fn + tn pixels,

    Dic   2 tp / (2 tp + fp + fn)
    IoU   tp / (tp + fp + fn)
    Sen   tp / (tp + fn)
    Spe   tn / (tn + fp)
    Em    E-measure of the binary map; divided by n - 1, so that a perfect map scores a little over 1

and a threshold without any true positive gives 0 for the first four, also for specificity. The toolbox prints
two readings of each: `mean`, over thresholds and images, which is the mean of a per-image score, and `max`,
the best threshold of the curve that is averaged over the images first. The latter is no mean of per-image
scores: it needs the curves of all images (`delineate.metrics.histograms`).

What follows from the rule: at threshold 0 everything is object, so a perfect mask has a mean Dice below 1, an
image without an object scores 0 in Dic, IoU, Sen and Spe whatever the prediction, and maxSen is 1 as soon as
no reference is empty.

Differences from the toolbox: it reads maps saved with 8 bits, and here the map is not rounded; a map of 8-bit
values gives its values. It takes the reference from a file at > 128, and here the reference is decoded
already. It gives NaN for the specificity of a reference that fills the image, and here that is 0.

Source:
    github.com/DengPingFan/PraNet, eval/main.m, eval/Fmeasure_calu.m and eval/Enhancedmeasure.m, commit
    95f12bd; Fan et al., MICCAI 2020, arXiv:2006.11392.
"""

import numpy as np
import numpy.typing as npt

from delineate.metrics.emeasure import level_counts

FloatArray = npt.NDArray[np.float64]

LEVELS = 256
CURVES = ("Dic", "IoU", "Sen", "Spe", "Em")

# A map of 8-bit values that went through float32 must still reach its own threshold.
_SLACK = 255 * 2.0**-22
_EPS = np.spacing(1.0)


def level_histogram(reference: npt.NDArray[np.bool_], stretched: FloatArray) -> npt.NDArray[np.int64]:
    """Count pixels by the highest threshold they reach.

    Args:
        reference: (H, W) bool.
        stretched: (H, W) float64, 0 to 1.

    Returns:
        (2, 256): background and object pixels whose highest threshold is k / 255.
    """
    return level_counts(reference, stretched, slack=_SLACK)


def curves(histogram: npt.ArrayLike) -> dict[str, FloatArray]:
    """Compute the five curves from level histograms.

    Args:
        histogram: (..., 2, 256) as `level_histogram`, of one image or of many.

    Returns:
        Name of `CURVES` -> (..., 256), by threshold from 0 to 1; all 0 to 1 except Em, at most n / (n - 1).
    """
    reached = np.asarray(histogram, dtype=np.float64)[..., ::-1].cumsum(axis=-1)[..., ::-1]
    fp, tp = reached[..., 0, :], reached[..., 1, :]
    background, objects = fp[..., :1], tp[..., :1]  # at threshold 0 every pixel is predicted
    tn = background - fp
    return {
        "Dic": _share(2 * tp, objects + tp + fp),
        "IoU": _share(tp, objects + fp),
        "Sen": _share(tp, objects),
        "Spe": _share(np.where(tp > 0, tn, 0.0), background),
        "Em": _alignment(tp, fp, objects, background),
    }


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _alignment(tp: FloatArray, fp: FloatArray, objects: FloatArray, background: FloatArray) -> FloatArray:
    """E-measure of binary maps: every pixel is one of four kinds, so four values and their counts suffice."""
    pixels = objects + background
    predicted = tp + fp
    in_reference, in_prediction = objects / pixels, predicted / pixels  # the two means
    total = (
        tp * _enhanced(1 - in_reference, 1 - in_prediction)
        + fp * _enhanced(-in_reference, 1 - in_prediction)
        + (objects - tp) * _enhanced(1 - in_reference, -in_prediction)
        + (background - fp) * _enhanced(-in_reference, -in_prediction)
    )
    total = np.where(objects == 0, pixels - predicted, np.where(background == 0, predicted, total))
    return np.asarray(total / (pixels - 1 + _EPS))


def _enhanced(reference: FloatArray, prediction: FloatArray) -> FloatArray:
    alignment = 2 * reference * prediction / (reference**2 + prediction**2 + _EPS)
    return np.asarray((alignment + 1) ** 2 / 4)
