"""Which of our scores a paper's word may mean, and why.

No paper defines its averaging, so most words have several candidates, the most likely first. The evidence is
in the tables themselves (`averaging_gap`), in released scoring code, and in what a paper says it follows.
"""

from dataclasses import dataclass

from delineate.checks import choose
from delineate.study.published.reader import published_values


@dataclass(frozen=True)
class Convention:
    """One candidate for a paper's word."""

    name: str
    """Key of `METRICS`, the score to measure."""
    reason: str
    """Why it is a candidate, a sentence."""


def averaging_gap(dice: float, iou: float) -> float:
    """How far an IoU lies above the one its Dice implies: iou - dice / (2 - dice).

    For counts summed over all images it is 0 but for rounding. For means over images it is above 0 unless all
    images score the same, since d / (2 - d) is convex (Jensen): the wider the scores, the larger. A negative
    gap fits neither.

    Args:
        dice: 0 to 1.
        iou: 0 to 1.
    """
    return iou - dice / (2 - dice)


_FCP_NET = (
    "The paper names no averaging; IoU is dice / (2 - dice) within 0.001 in 64 of its 73 rows with both, as "
    "for counts summed over images."
)
_CLNET = (
    "The paper names no averaging; IoU is dice / (2 - dice) to the last digit in all 4 rows, as for counts "
    "summed over images."
)
_SILENT = "The paper names no averaging, and the mean over images is the field's default."
_ABOVE = (
    "IoU lies above dice / (2 - dice) in every row, as for means over images and never for summed counts."
)
_RELEASED = (
    "The scorer released with MSNet and M2SNet (utils/metric.py) computes it; that it made the table is not "
    "said, and the table's maximal E-measure is not from it."
)
_SHARED = (
    "Some of its rows stand in M2SNet's tables too, whose released scorer (MSNet-M2SNet, utils/metric.py) "
    "computes it; that it made the table is not said."
)
_PRANET = (
    "Rows of this table come from work that scores with the toolbox of PraNet, of which Inf-Net's is a "
    "sibling: 256 thresholds on the map stretched per image."
)
_PLAIN = "The plain rule at 0.5, if no toolbox was used."
_RAW = "The same measure on the raw map, if it was not stretched."
_STRETCHED = "The toolboxes of this field stretch each map to 0..1 first."
_PER_IMAGE = f"{_ABOVE} The toolboxes of the field do not report it at one threshold."
_LABEL = "A score of the image label: the paper defines the task as one label against the rest."
_HD = "Called Hausdorff distance; the percentile and the unit are not said, so the largest distance."
_HD_MM = "Called Hausdorff distance in mm; no percentile is said. The pixel spacing it used is not given."
_GOALS = "The challenge's score of each layer."
_AUC = "Area under the ROC curve over pixels; per image or over all is not said."

_Rule = tuple[tuple[str, str], ...]
_Rules = dict[str, _Rule]


def _toolboxes(reason: str) -> _Rules:
    """Words of the polyp and infection tables; `reason` is why MSNet's scorer comes first."""
    dice = (("msnet_mdice", reason), ("pranet_meanDic", _PRANET), ("dice", _PLAIN))
    return {
        "mdice": dice,
        "dsc": dice,
        "miou": (("msnet_miou", reason), ("pranet_meanIoU", _PRANET), ("iou", _PLAIN)),
        "s_measure": (("msnet_s", reason), ("pranet_Sm", _PRANET), ("s_measure", _RAW)),
        "e_measure_max": (
            ("pranet_maxEm", _PRANET),
            ("e_measure_max_stretched", _STRETCHED),
            ("e_measure_max", _RAW),
        ),
        "weighted_f": (
            ("pranet_wFm", _PRANET),
            ("weighted_f_stretched", _STRETCHED),
            ("weighted_f", _RAW),
        ),
        "mae": (("pranet_MAE", _PRANET), ("mae_stretched", _STRETCHED), ("mae", _RAW)),
        "precision": (("precision", _PLAIN),),
        "recall": (("pranet_meanSen", _PRANET), ("sensitivity", _PLAIN)),
    }


def _summed(reason: str) -> _Rules:
    """Words of a paper whose tables fit counts summed over images."""
    ours = {
        "f1": "dice",
        "dice": "dice",
        "jaccard": "iou",
        "iou": "iou",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "accuracy": "accuracy",
    }
    return {word: ((f"{name}_pooled", reason), (name, _SILENT)) for word, name in ours.items()}


def _means(reason: str) -> _Rules:
    """Words of a table of means over images."""
    words = {
        "dice": "dice",
        "jaccard": "iou",
        "precision": "precision",
        "recall": "sensitivity",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "accuracy": "accuracy",
    }
    return {word: ((name, reason),) for word, name in words.items()}


_AUC_PIXEL: _Rule = (("auc_pixel_pooled", _AUC), ("auc_pixel", _AUC))
_LOST = "s_measure or e_measure (header lost)"
_LOST_IS_E = (
    "The column's header is lost; its row with LossNet is MSNet's of table 1, where the value is the maximal "
    "E-measure."
)
_LABEL_WORDS = {
    "auc": "auc",
    "accuracy": "label_accuracy",
    "sensitivity": "label_sensitivity",
    "specificity": "label_specificity",
}

_FCP_NET_RULES: _Rules = {
    **_summed(_FCP_NET),
    **{word: _AUC_PIXEL for word in ("auc", "auc_isic2017", "auc_isic2018", "auc_ph2")},
    "hd": (("hd", _HD),),
    "hd_mm": (("hd", _HD_MM),),
}
_M2SNET_RULES = _means(_PER_IMAGE) | _toolboxes(_RELEASED)
_CHNET_RULES = _toolboxes(_SHARED)
_OF_PAPER: dict[str, _Rules] = {
    "fcp-net": _FCP_NET_RULES,
    "ulffn": _means(_ABOVE),
    "clnet": _summed(_CLNET),
    "chnet": _CHNET_RULES | {"s_measure (header lost)": _CHNET_RULES["s_measure"]},
    "m2snet": _M2SNET_RULES,
}
_OF_TABLE: dict[tuple[str, str], _Rules] = {
    ("fcp-net", "II"): {},  # p-values of the words, not scores
    ("clnet", "1"): {word: ((name, _LABEL),) for word, name in _LABEL_WORDS.items()},
    ("chnet", "2"): _means(_PER_IMAGE),
    ("m2snet", "4"): _means(_PER_IMAGE),
    ("m2snet", "5"): {"dice": (("dice", _GOALS),), "med": (("med", _GOALS),)},
    ("m2snet", "7"): _M2SNET_RULES
    | {_LOST: tuple((name, _LOST_IS_E) for name, _ in _M2SNET_RULES["e_measure_max"])},
}


def conventions(paper: str, table: str | int, metric: str) -> tuple[Convention, ...]:
    """List our scores that a word in a table may mean, the most likely first.

    Args:
        paper: key of `PAPERS`.
        table: as in `load_published`.
        metric: the paper's word, a value of the column `metric` of that table.

    Returns:
        Empty for what is no score of predictions (parameters, operations, milliseconds, p-values) and for
        columns whose header is lost.

    Raises:
        InputError: the paper, its table or its word is unknown.
    """
    values = published_values(paper, table)
    choose(f"metric of table {table} of {paper}", metric, {value.metric: None for value in values})
    rules = _OF_TABLE.get((paper, str(table)), _OF_PAPER[paper])
    return tuple(Convention(name, reason) for name, reason in rules.get(metric, ()))
