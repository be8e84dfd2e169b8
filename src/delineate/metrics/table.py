"""All scores of one image: one row of the per-image table."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from delineate.checks import InputError
from delineate.metrics.catalogue import METRICS
from delineate.metrics.names import read_name
from delineate.metrics.overlap import Empty, empty_value
from delineate.metrics.pair import Pair
from delineate.metrics.saliency import FloatMap

ImageScore = Callable[[Pair], float]


def score_image(
    reference: npt.NDArray[np.uint8],
    probability: FloatMap,
    *,
    classes: Sequence[str],
    spacing: Sequence[float] | None = None,
    threshold: float = 0.5,
    empty: Empty = "one",
    surface: bool = True,
    saliency: bool = True,
    extra: Sequence[str] = (),
) -> dict[str, float]:
    """Score one image at its reference's size.

    One class: the object is predicted where `probability` is above `threshold`, and the columns have plain
    names. Several classes: the most probable channel is predicted (`threshold` is not used; of equal channels
    the lower wins). Each class gives columns `dice[NAME]` and so on, against everything else; the plain name
    is the mean over the foreground classes, each class counting the same. A class that is absent from
    reference and prediction enters with the value of `empty`: 1 by default, and "skip" leaves it out (NaN,
    and the mean is over the rest). The plain `reference_pixels` and `predicted_pixels` are then all that is
    not background; `tp`, `fp`, `fn`, `tn` exist per class only.

    Args:
        reference: (H, W) uint8 index map at native size: 0 background, i + 1 is `classes[i]`.
        probability: float, 0 to 1, resized to (H, W) for one class, or (classes + 1, H, W) with channel 0 the
            background.
        classes: names of the foreground classes.
        spacing: millimetres per pixel, (row, column): surface distances are then in mm. Give it for all
            images of a table or for none, or their mean mixes units.
        threshold: for one class.
        empty: what undefined overlap is: "one", "zero" or "skip"; the rules are `METRICS[name].empty`.
        surface: compute `hd`, `hd95`, `assd`.
        saliency: compute S-, E-, weighted F-measure and MAE of the raw map.
        extra: further rows of `METRICS`, for example "dice_fgbg", "nsd@2" (tolerance 2),
            "s_measure_stretched"; `expand_names` makes them from groups such as "pranet". Scores of the whole
            set, such as "dice_batch@8", are checked and passed over: `summarise` computes them.

    Returns:
        Column -> value, in the order of `METRICS`; counts are whole numbers, "skip" gives NaN.

    Raises:
        InputError: shapes, types or values do not fit, or a name in `extra` is unknown.
    """
    _check(reference, probability, classes)
    empty_value(empty)
    kinds = {"overlap"} | ({"surface"} if surface else set()) | ({"saliency"} if saliency else set())
    scores = {
        name: metric.image
        for name, metric in METRICS.items()
        if metric.image is not None and metric.default and metric.kind in kinds
    }
    scores |= _asked_for(extra)
    counts = {
        name: metric.image for name, metric in METRICS.items() if metric.kind == "count" and metric.image
    }

    if len(classes) == 1:
        pair = Pair(reference == 1, probability > threshold, probability, spacing, empty)
        return {name: score(pair) for name, score in (scores | counts).items()}

    predicted = probability.argmax(axis=0)
    pairs = {
        name: Pair(reference == index, predicted == index, probability[index], spacing, empty)
        for index, name in enumerate(classes, start=1)
    }
    row: dict[str, float] = {}
    for name, score in scores.items():
        values = {f"{name}[{label}]": score(pair) for label, pair in pairs.items()}
        known = [value for value in values.values() if not np.isnan(value)]
        row[name] = sum(known) / len(known) if known else float("nan")
        row |= values
    row["reference_pixels"] = int(np.count_nonzero(reference))
    row["predicted_pixels"] = int(np.count_nonzero(predicted))
    for name, score in counts.items():
        row |= {f"{name}[{label}]": score(pair) for label, pair in pairs.items()}
    return row


def _asked_for(columns: Sequence[str]) -> dict[str, ImageScore]:
    """Look up the names of `extra` that are scores of one image."""
    scores: dict[str, ImageScore] = {}
    for column, _, metric, number in map(read_name, columns):
        if metric.image is not None:
            scores[column] = metric.image if number is None else partial(_at, metric.image, number)
    return scores


def _at(score: Callable[..., float], number: float, pair: Pair) -> float:
    return score(pair, number)


def _check(reference: npt.NDArray[np.uint8], probability: FloatMap, classes: Sequence[str]) -> None:
    if isinstance(classes, str) or not classes:
        raise InputError(f"classes must be a sequence of at least one class name, got {classes!r}.")
    if reference.ndim != 2 or reference.dtype != np.uint8:
        raise InputError(
            "The reference must be a uint8 index map (height, width), "
            f"got {reference.dtype} {[*reference.shape]}; decode the mask first."
        )
    wanted = reference.shape if len(classes) == 1 else (len(classes) + 1, *reference.shape)
    if probability.shape != wanted or not np.issubdtype(probability.dtype, np.floating):
        raise InputError(
            f"The probability map must be floating point {[*wanted]}, got {probability.dtype} "
            f"{[*probability.shape]}; resize it to the reference's size."
        )
    if reference.size < 2:
        raise InputError("An image must have at least two pixels to be scored.")
    highest = int(reference.max())
    if highest > len(classes):
        raise InputError(
            f"The reference holds the value {highest}, but there are {len(classes)} classes; "
            "decode the mask first."
        )
    low, high = float(probability.min()), float(probability.max())
    if not (low >= -1e-4 and high <= 1 + 1e-4):
        raise InputError(
            f"Probabilities must lie between 0 and 1, got {low:.4g} to {high:.4g}; pass no logits."
        )
