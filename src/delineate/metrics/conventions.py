"""Rows of METRICS that reproduce a toolbox, score pixels or layers, or fix the unit of a distance."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

from delineate.metrics import histograms, layers, msnet, pixels, structure, surface
from delineate.metrics.histograms import Stack
from delineate.metrics.labels import FloatArray
from delineate.metrics.metric import Metric
from delineate.metrics.pair import Pair
from delineate.metrics.pranet import CURVES

_PRANET = "PraNet eval/main.m, commit 95f12bd"
_MSNET = "MSNet-M2SNet utils/metric.py, commit 7442a3e"
_SKIP = " Both empty: the same, or left out (policy skip)."

NO_OUTLINE = "Exactly one of the masks empty: the image diagonal. Both empty: 0, or left out (policy skip)."
_ONE_SIDED = "Exactly one of the masks empty: 0. Both empty: 1, or left out (policy skip)."
_SPACED = " No spacing known: left out."


def _unless_skipped(score: Callable[[Pair], float]) -> Callable[[Pair], float]:
    return lambda pair: math.nan if pair.skipped else score(pair)


def _image(
    kind: Literal["toolbox", "pixel"],
    description: str,
    source: str,
    score: Callable[[Pair], float],
    *,
    empty: str,
    low: float = 0,
    high: float = 1,
    better: Literal["up", "down"] = "up",
) -> Metric:
    image = _unless_skipped(score)
    return Metric(kind, description, low, high, better, "", empty + _SKIP, source, image=image, default=False)


_FORMULAS = {
    "Dic": ("Dice, 2 tp / (2 tp + fp + fn)", 1.0),
    "IoU": ("IoU, tp / (tp + fp + fn)", 1.0),
    "Sen": ("sensitivity, tp / (tp + fn)", 1.0),
    "Spe": ("specificity, tn / (tn + fp)", 1.0),
    "Em": ("E-measure, divided by pixels - 1", 2.0),
}
_NOTHING_FOUND = "Thresholds without a true positive give 0, so an empty reference gives 0."
_EMPTY_E = "Empty reference: mean share of pixels below the thresholds."


def _mean_of_curve(curve: str, pair: Pair) -> float:
    return float(pair.curves[curve].mean())


def _pranet() -> dict[str, Metric]:
    rows: dict[str, Metric] = {}
    for curve in CURVES:
        text, high = _FORMULAS[curve]
        empty = _EMPTY_E if curve == "Em" else _NOTHING_FOUND
        rows[f"pranet_mean{curve}"] = _image(
            "toolbox",
            f"Mean over the thresholds k/255, k = 0..255, of the {text}; map stretched to 0..1 per image",
            _PRANET,
            partial(_mean_of_curve, curve),
            empty=empty,
            high=high,
        )
    for curve in CURVES:
        text, high = _FORMULAS[curve]
        empty = "Empty reference: share of pixels below the threshold." if curve == "Em" else _NOTHING_FOUND
        rows[f"pranet_max{curve}"] = Metric(
            "set",
            f"Best of 256 thresholds, after averaging over the images, of the {text}; map stretched to 0..1 "
            "per image; needs the histograms",
            0,
            high,
            "up",
            "",
            empty + " No image is left out, whatever the policy.",
            _PRANET,
            histograms=partial(histograms.best_of_mean_curve, curve=curve),
            default=False,
        )
    return rows | {
        "pranet_wFm": _image(
            "toolbox",
            "Weighted F-measure, beta 1, map stretched to 0..1 per image",
            f"Margolin et al., CVPR 2014; {_PRANET}",
            lambda pair: pair.weighted_f_stretched,
            empty="Empty reference: 0 (the toolbox stops there).",
        ),
        "pranet_Sm": _image(
            "toolbox",
            "Structure measure, deviations divided by n - 1, at least 0, map stretched to 0..1 per image",
            f"Fan et al., ICCV 2017; {_PRANET}",
            lambda pair: structure.structure_measure(pair.reference, pair.stretched, structure.PRANET),
            empty="Empty reference: 1 - mean of the map.",
        ),
        "pranet_MAE": _image(
            "toolbox",
            "Mean absolute error, map stretched to 0..1 per image",
            _PRANET,
            lambda pair: pair.mae_stretched,
            empty="As usual.",
            better="down",
        ),
    }


PRANET: dict[str, Metric] = _pranet()

MSNET: dict[str, Metric] = {
    "msnet_mdice": _image(
        "toolbox",
        "Soft Dice without a threshold, (2 sum(p g) + s) / (sum(p) + sum(g) + s), s = 1e-5, map stretched to "
        "0..1 per image",
        _MSNET,
        lambda pair: msnet.soft_dice(pair.reference, pair.stretched),
        empty="Empty reference: 1 for an all-zero map, else nearly 0.",
    ),
    "msnet_miou": _image(
        "toolbox",
        "IoU at > 0.5 of the map stretched to 0..1 per image, (tp + s) / (tp + fp + fn + s), s = 1e-5",
        _MSNET,
        lambda pair: msnet.smooth_iou(pair.reference, pair.stretched),
        empty="Empty reference: 1 without a predicted pixel, else nearly 0.",
    ),
    "msnet_s": _image(
        "toolbox",
        "Structure measure, deviations divided by n, may be below 0, map stretched to 0..1 per image",
        f"Fan et al., ICCV 2017; {_MSNET}",
        lambda pair: structure.structure_measure(pair.reference, pair.stretched, structure.MSNET),
        empty="Empty reference: 1 - mean of the map.",
        low=-1,  # the region half divides a covariance by n - 1 and variances by n
        high=1.5,
    ),
    "msnet_e": _image(
        "toolbox",
        "E-measure at twice the mean of the map stretched to 0..1 per image; no curve",
        f"Fan et al., IJCAI 2018; {_MSNET}",
        lambda pair: msnet.adaptive_e(pair.reference, pair.stretched),
        empty="Empty reference: share of pixels below the threshold; 0 for an all-zero map.",
        high=2,
    ),
    "msnet_wfm": _image(
        "toolbox",
        "Weighted F-measure, beta 1, map stretched to 0..1 per image",
        f"Margolin et al., CVPR 2014; {_MSNET}",
        lambda pair: pair.weighted_f_stretched,
        empty="Empty reference: 0, whatever the prediction.",
    ),
    "msnet_mae": _image(
        "toolbox",
        "Mean absolute error, map stretched to 0..1 per image",
        _MSNET,
        lambda pair: pair.mae_stretched,
        empty="As usual.",
        better="down",
    ),
}


def _pooled(
    description: str,
    source: str,
    score: Callable[[Stack, FloatArray], FloatArray],
    *,
    empty: str,
    better: Literal["up", "down"],
) -> Metric:
    text = f"{description}, pixels of all images together; needs the histograms"
    return Metric("set", text, 0, 1, better, "", empty, source, histograms=score, default=False)


_PAIRS = "An empty reference, or one that fills the image, has no AUC and is left out."

PIXELS: dict[str, Metric] = {
    "auc_pixel": Metric(
        "pixel",
        "Area under the ROC curve over the pixels of each image: share of (object, background) pairs in "
        "order, ties half",
        0,
        1,
        "up",
        "",
        _PAIRS,
        "scikit-learn",
        image=lambda pair: pixels.auc(pair.reference, pair.probability),
        default=False,
    ),
    "ece_pixel": _image(
        "pixel",
        "Expected calibration error over the pixels of each image: sum over 15 bins of |object pixels - "
        "summed probability| / pixels",
        "Guo et al., ICML 2017",
        lambda pair: pixels.ece(pair.reference, pair.probability),
        empty="As usual.",
        better="down",
    ),
    "brier_pixel": _image(
        "pixel",
        "Mean over the pixels of each image of (probability - reference)^2",
        "Brier 1950",
        lambda pair: pixels.brier(pair.reference, pair.probability),
        empty="As usual.",
        better="down",
    ),
    "auc_pixel_pooled": _pooled(
        "Area under the ROC curve",
        "scikit-learn; 1021 bins, exact for 8-bit maps",
        histograms.pooled_auc,
        empty="Images with empty masks add their pixels. One kind of pixel only: undefined (null).",
        better="up",
    ),
    "ece_pixel_pooled": _pooled(
        "Expected calibration error, 15 bins",
        "Guo et al., ICML 2017",
        histograms.pooled_ece,
        empty="Images with empty masks add their pixels.",
        better="down",
    ),
    "brier_pixel_pooled": _pooled(
        "Mean of (probability - reference)^2",
        "Brier 1950",
        histograms.pooled_brier,
        empty="Images with empty masks add their pixels.",
        better="down",
    ),
}


def _in_unit(name: str, description: str, source: str, score: Callable[..., float]) -> dict[str, Metric]:
    """Make the row in pixels whatever the spacing, and the one in millimetres."""

    def px(pair: Pair) -> float:
        return score(pair.distances_px, empty=pair.empty)

    def mm(pair: Pair) -> float:
        return math.nan if pair.spacing is None else score(pair.distances, empty=pair.empty)

    def row(unit: str, empty: str, image: Callable[[Pair], float]) -> Metric:
        return Metric(
            "surface",
            f"{description}, in {unit}",
            0,
            math.inf,
            "down",
            unit,
            empty,
            source,
            image=image,
            default=False,
        )

    return {
        f"{name}_px": row("px", NO_OUTLINE, px),
        f"{name}_mm": row("mm", NO_OUTLINE + _SPACED, mm),
    }


def nsd_row(image: Callable[[Pair, float], float], unit: str, empty: str = "") -> Metric:
    """Make a row of the normalised surface Dice, the number after "@" being the tolerance in `unit`."""
    return Metric(
        "surface",
        "Share of both outlines within the tolerance of the other",
        0,
        1,
        "up",
        "",
        _ONE_SIDED + empty,
        "Nikolov et al., arXiv:1809.04430; MONAI",
        image=image,
        parameter=f"tolerance in {unit}",
        usual="2",
        default=False,
    )


def _nsd_px(pair: Pair, tolerance: float) -> float:
    return surface.nsd(pair.distances_px, tolerance, empty=pair.empty)


def _nsd_mm(pair: Pair, tolerance: float) -> float:
    return math.nan if pair.spacing is None else surface.nsd(pair.distances, tolerance, empty=pair.empty)


UNITS: dict[str, Metric] = {
    **_in_unit("hd", "Hausdorff distance of the outlines", "MONAI", surface.hd),
    **_in_unit("hd95", "95th percentile of each direction, then the larger", "MONAI", surface.hd95),
    **_in_unit("assd", "Mean distance over the pixels of both outlines", "MONAI", surface.assd),
    "nsd_px": nsd_row(_nsd_px, "px"),
    "nsd_mm": nsd_row(_nsd_mm, "mm", _SPACED),
}


def _med(unit: Literal["px or mm", "px", "mm"]) -> Metric:
    def image(pair: Pair) -> float:
        if unit == "mm" and pair.spacing is None:
            return math.nan
        spacing = None if unit == "px" else pair.spacing
        return layers.med(pair.reference, pair.prediction, spacing=spacing, empty=pair.empty)

    return Metric(
        "surface",
        "Mean distance of a layer's upper and lower boundary, column by column; for layers that cross the "
        "image",
        0,
        math.inf,
        "down",
        unit,
        "A column with the layer in one mask only counts with the image's height. Both empty: 0, or left out "
        "(policy skip)." + (_SPACED if unit == "mm" else ""),
        "GOALS challenge, Fang et al., arXiv:2207.14447",
        image=image,
        default=False,
    )


LAYERS: dict[str, Metric] = {"med": _med("px or mm"), "med_px": _med("px"), "med_mm": _med("mm")}
