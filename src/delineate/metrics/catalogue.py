"""METRICS: every score by its name, with its range, its direction, and what empty masks give.

A new per-image score is one row with `image`: `score_image`, `summarise`, the documentation and the contract
test (tests/metrics/test_catalogue.py) pick it up from here. The names fix the rule: two rules are two names.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from delineate.metrics import calibration, labels, overlap, surface, thresholded
from delineate.metrics.conventions import LAYERS, MSNET, NO_OUTLINE, PIXELS, PRANET, UNITS, nsd_row
from delineate.metrics.labels import FloatArray, Labels
from delineate.metrics.metric import Kind, Metric
from delineate.metrics.pair import Pair

__all__ = ["METRICS", "Kind", "Metric", "metric_of"]

_AGREE = "Exactly one of the masks empty: 0. Both empty: 1 (policy one), 0 (zero), left out (skip)."
_LIBRARY = "PySODMetrics"
_TWO_CLASSES = "Undefined (null) unless two classes occur among the targets."

Formula = Callable[..., float]


def _overlap(description: str, empty: str, source: str, formula: Formula, *, default: bool = True) -> Metric:
    def image(pair: Pair) -> float:
        return formula(pair.counts, empty=pair.empty)

    return Metric("overlap", description, 0, 1, "up", "", empty, source, image=image, default=default)


def _saliency(description: str, empty: str, source: str, name: str, high: float = 1) -> dict[str, Metric]:
    """Make the row on the raw map, and the one on the stretched map."""
    better: Literal["up", "down"] = "down" if name == "mae" else "up"

    def raw(pair: Pair) -> float:
        return math.nan if pair.skipped else pair.saliency[name]

    def stretched(pair: Pair) -> float:
        return math.nan if pair.skipped else pair.saliency_stretched[name]

    empty += " Both empty: the same, or left out (policy skip)."

    row = Metric("saliency", f"{description}, raw map", 0, high, better, "", empty, source, image=raw)
    text = f"{description}, map stretched to 0..1 per image"
    other = replace(row, description=text, image=stretched, default=False)
    return {name: row, f"{name}_stretched": other}


def _surface(description: str, source: str, score: Formula) -> Metric:
    def image(pair: Pair) -> float:
        return score(pair.distances, empty=pair.empty)

    return Metric("surface", description, 0, math.inf, "down", "px or mm", NO_OUTLINE, source, image=image)


def _nsd(pair: Pair, tolerance: float) -> float:
    return surface.nsd(pair.distances, tolerance, empty=pair.empty)


def _count(description: str, image: Callable[[Pair], float]) -> Metric:
    return Metric(
        "count", description, 0, math.inf, "none", "px", "Counted as it is.", "definition", image=image
    )


def _pooled(formula: str) -> Metric:
    text = f"{formula} of the pixel counts summed over all images; weighs images by their pixels"
    empty = "Images with empty masks add their counts. No object pixel in any image: 1."
    return Metric("pooled", text, 0, 1, "up", "", empty, "definition", pooled=formula)


def _batch(formula: str) -> Metric:
    text = (
        f"{formula} of the pixel counts summed over each batch of images in the table's order, then the mean "
        "over batches, weighted by their images; changes with the order and the batch size"
    )
    empty = "Images with empty masks add their counts. No object pixel in a batch: 1 for it."
    return Metric(
        "batch",
        text,
        0,
        1,
        "up",
        "",
        empty,
        "UNeXt family and U-Bench, training scripts",
        batch=formula,
        parameter="images per batch",
        usual="8",
        default=False,
    )


def _label(
    description: str,
    empty: str,
    source: str,
    rows: Callable[[Labels, FloatArray | None], FloatArray],
    *,
    high: float = 1,
    better: Literal["up", "down"] = "up",
    decides: bool = False,
) -> Metric:
    parameter = "probability above which the positive of two labels is predicted" if decides else ""
    return Metric("label", description, 0, high, better, "", empty, source, labels=rows, parameter=parameter)


def _total(description: str) -> Metric:
    return Metric("total", description, 0, math.inf, "none", "cases", "Counted as it is.", "definition")


_OVERLAP: dict[str, Metric] = {
    "dice": _overlap("Dice (F1): 2 tp / (2 tp + fp + fn)", _AGREE, "Dice 1945", overlap.dice),
    "iou": _overlap("Intersection over union: tp / (tp + fp + fn)", _AGREE, "Jaccard 1912", overlap.iou),
    "precision": _overlap("tp / (tp + fp)", _AGREE, "definition", overlap.precision),
    "sensitivity": _overlap("Recall: tp / (tp + fn)", _AGREE, "definition", overlap.sensitivity),
    "specificity": _overlap(
        "tn / (tn + fp)",
        "Defined for empty masks. Reference fills the image: policy value if prediction too, else 0.",
        "definition",
        overlap.specificity,
    ),
    "accuracy": _overlap("(tp + tn) / all pixels", "Always defined.", "definition", overlap.accuracy),
    "dice_fgbg": _overlap(
        "Mean of the object's and the background's Dice",
        "As dice, for object and background each, then averaged.",
        "mmsegmentation mDice",
        overlap.dice_fgbg,
        default=False,
    ),
    "jaccard_thr065": _overlap(
        "IoU, tp / (tp + fp + fn), counted as 0 where it is below 0.65",
        _AGREE,
        "ISIC 2018 challenge, task 1, arXiv:1902.03368",
        thresholded.jaccard_thr065,
        default=False,
    ),
}

_SALIENCY: dict[str, Metric] = {
    **_saliency(
        "Structure measure",
        "Empty reference: 1 - mean of the map. Empty prediction: as usual.",
        f"Fan et al., ICCV 2017; {_LIBRARY}",
        "s_measure",
    ),
    **_saliency(
        "Enhanced-alignment measure, best of 256 thresholds",
        "Empty reference: largest share of pixels below a threshold. Empty prediction: as usual.",
        f"Fan et al., IJCAI 2018; {_LIBRARY}",
        "e_measure_max",
        high=2,  # H W / (H W - 1): 2 for an image of two pixels, 1.00002 for 256 x 256
    ),
    **_saliency(
        "Enhanced-alignment measure, mean over 256 thresholds",
        "Empty reference: mean share of pixels below the thresholds, at most about 255/256.",
        f"Fan et al., IJCAI 2018; {_LIBRARY}",
        "e_measure_mean",
        high=2,
    ),
    **_saliency(
        "Enhanced-alignment measure at twice the map's mean",
        "Empty reference: share of pixels below the threshold; 0 for an all-zero map, whose threshold is 0.",
        f"Fan et al., IJCAI 2018; {_LIBRARY}",
        "e_measure_adp",
        high=2,
    ),
    **_saliency(
        "Weighted F-measure, beta 1",
        "Empty reference: 0, whatever the prediction. Empty prediction: 0, a little more for an object "
        "near the frame.",
        f"Margolin et al., CVPR 2014; {_LIBRARY}",
        "weighted_f",
    ),
    **_saliency("Mean absolute error", "As usual.", _LIBRARY, "mae"),
}

_SURFACE: dict[str, Metric] = {
    "hd": _surface("Hausdorff distance of the outlines", "MONAI", surface.hd),
    "hd95": _surface(
        "95th percentile (linear interpolation) of each direction, then the larger", "MONAI", surface.hd95
    ),
    "assd": _surface("Mean distance over the pixels of both outlines", "MONAI", surface.assd),
    "nsd": nsd_row(_nsd, "px or mm"),
}

_COUNTS: dict[str, Metric] = {
    "reference_pixels": _count("Object pixels of the reference", lambda pair: pair.counts.reference),
    "predicted_pixels": _count("Object pixels of the prediction", lambda pair: pair.counts.prediction),
    "tp": _count("Object in both", lambda pair: pair.counts.tp),
    "fp": _count("Object in the prediction only", lambda pair: pair.counts.fp),
    "fn": _count("Object in the reference only", lambda pair: pair.counts.fn),
    "tn": _count("Background in both", lambda pair: pair.counts.tn),
}

_LABELS: dict[str, Metric] = {
    "auc": _label("Area under the ROC curve", _TWO_CLASSES, "scikit-learn", labels.auc_rows),
    "average_precision": _label(
        "Precision averaged over recall, no interpolation",
        _TWO_CLASSES,
        "scikit-learn",
        labels.average_precision_rows,
    ),
    "label_accuracy": _label(
        "Share of cases with the right label, at the recipe's threshold or the stated one",
        "Undefined without labels.",
        "definition",
        labels.accuracy_rows,
        decides=True,
    ),
    "label_sensitivity": _label(
        "Share of positives found, at the recipe's threshold or the stated one",
        "Undefined without a positive.",
        "definition",
        labels.sensitivity_rows,
        decides=True,
    ),
    "label_specificity": _label(
        "Share of negatives left alone, at the recipe's threshold or the stated one",
        "Undefined without a negative.",
        "definition",
        labels.specificity_rows,
        decides=True,
    ),
    "balanced_accuracy": _label(
        "Mean recall over the classes that occur, at the recipe's threshold or the stated one",
        _TWO_CLASSES,
        "scikit-learn",
        labels.balanced_accuracy_rows,
        decides=True,
    ),
    "ece": _label(
        f"Expected calibration error, {calibration.BINS} bins of equal width",
        "Undefined without labels.",
        "Guo et al., ICML 2017",
        calibration.ece_rows,
        better="down",
    ),
    "brier": _label(
        "Mean squared error of the probabilities; summed over three and more classes",
        "Undefined without labels.",
        "Brier 1950",
        calibration.brier_rows,
        high=2,
        better="down",
    ),
}

_TOTALS: dict[str, Metric] = {
    "empty_references": _total("Images whose reference has no object pixel"),
    "empty_predictions": _total("Images whose prediction has no object pixel"),
    "missing_labels": _total("Cases without a label"),
}

_FORMULAS = ("dice", "iou", "precision", "sensitivity", "specificity", "accuracy")

METRICS: dict[str, Metric] = {
    **_OVERLAP,
    **_SALIENCY,
    **_SURFACE,
    **UNITS,
    **LAYERS,
    **PRANET,
    **MSNET,
    **PIXELS,
    **_COUNTS,
    **{f"{name}_pooled": _pooled(name) for name in _FORMULAS},
    **{f"{name}_batch": _batch(name) for name in _FORMULAS},
    **_LABELS,
    **_TOTALS,
}
"""Name -> row. The table's columns are `name`, `name@number`, `name[CLASS]` and `name@number[CLASS]`."""


def metric_of(column: str) -> Metric | None:
    """Return the row that a column of the per-image table or a key of the summary belongs to, or None."""
    return METRICS.get(column.split("[", 1)[0].split("@", 1)[0])
