"""Scores as the toolbox of MSNet and M2SNet computes them.

The map is stretched per image so that its smallest value becomes 0 and its largest 1 (a constant map is left
alone). With the stretched map p and the reference g, sums over the pixels of one image:

    mdice   (2 sum(p g) + s) / (sum(p) + sum(g) + s), s = 1e-5: soft, no threshold
    miou    (i + s) / (u + s), i and u pixels in both and in either, p > 0.5
    s       structure measure, `structure.MSNET`
    e       E-measure of p >= min(2 mean(p), 1), eps 1e-8: the adaptive threshold only, no curve

The toolbox's weighted F-measure adds 1e-6 to its denominators where the original adds 2.2e-16; that moves it
by less than 1e-6, so `msnet_wfm` is the original on the stretched map. Every score is averaged over images.

Differences from the toolbox: it reads maps saved with 8 bits, and here the map is not rounded; it divides the
reference by its largest value and takes > 0.5, and here the reference is decoded already.

Source:
    github.com/Xiaoqi-Zhao-DLUT/MSNet-M2SNet, utils/metric.py, commit 7442a3e, and test_score.py, commit
    97aa6c0.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_SMOOTH = 1e-5
_EPS = 1e-8


def soft_dice(reference: Mask, stretched: FloatArray) -> float:
    """Soft Dice, 0 to 1; both empty give 1, a map without any object in the reference nearly 0."""
    both = float(stretched[reference].sum())
    return (2 * both + _SMOOTH) / (float(stretched.sum()) + int(np.count_nonzero(reference)) + _SMOOTH)


def smooth_iou(reference: Mask, stretched: FloatArray) -> float:
    """IoU of the stretched map at > 0.5, 0 to 1; both empty give 1."""
    predicted = stretched > 0.5
    both = int(np.count_nonzero(predicted & reference))
    either = int(np.count_nonzero(predicted | reference))
    return (both + _SMOOTH) / (either + _SMOOTH)


def adaptive_e(reference: Mask, stretched: FloatArray) -> float:
    """E-measure at the adaptive threshold, 0 to n / (n - 1) for n pixels.

    An empty reference gives the share of pixels below the threshold: 0 for an all-zero map, whose threshold
    is 0. A reference that fills the image gives the share at or above it.
    """
    predicted = stretched >= min(2 * float(stretched.mean()), 1.0)
    pixels = reference.size
    objects, found = int(np.count_nonzero(reference)), int(np.count_nonzero(predicted))
    if objects == 0:
        return (pixels - found) / (pixels - 1 + _EPS)
    if objects == pixels:
        return found / (pixels - 1 + _EPS)
    tp = int(np.count_nonzero(predicted & reference))
    total = 0.0
    counts = {(1, 1): tp, (0, 1): found - tp, (1, 0): objects - tp, (0, 0): pixels - objects - found + tp}
    for (in_reference, in_prediction), count in counts.items():
        a, b = in_reference - objects / pixels, in_prediction - found / pixels
        total += count * (2 * a * b / (a * a + b * b + _EPS) + 1) ** 2 / 4
    return total / (pixels - 1 + _EPS)
