"""The pictures of a run report: which cases are shown, and what is drawn on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from delineate.data.case import Case
from delineate.data.images import read_case_image, read_case_mask
from delineate.explain.activation import Method, activation_map
from delineate.explain.targets import Target, region_at
from delineate.inference.results import found_to_explain
from delineate.study.pictures import LONGEST, activation_svg, fitted_size, outline, overlay_svg, thumbnail
from delineate.study.sizes import size_classes

if TYPE_CHECKING:
    from delineate.inference.predictor import ImagePrediction, Predictor

PER_TIER = 4
PER_SIZE = 2
_ACTIVATIONS_PER_TIER = 2
_ACTIVATION_SIDE = 300  # pixels
_MAP_SIDE = (
    150  # pixels; the browser enlarges the map smoothly, and the feature map has fewer places than this
)


@dataclass(frozen=True)
class Panel:
    """One picture and the words beneath it."""

    picture: Markup
    note: str = ""


@dataclass(frozen=True)
class View:
    """One case of the report."""

    id: str
    scores: Mapping[str, float]
    """Name -> value of what chose this case."""
    truth: str | None
    predicted: str | None
    confidence: float | None
    """Probability of `predicted`."""
    panels: Sequence[Panel]

    @property
    def wrong(self) -> bool:
        """Whether the label is known and another one was predicted."""
        return self.truth is not None and self.predicted is not None and self.truth != self.predicted


@dataclass(frozen=True)
class Tier:
    """Cases that are shown together, for one reason."""

    title: str
    views: Sequence[View]


def tiers(scores: pd.Series, count: int = PER_TIER) -> dict[str, list[str]]:
    """Choose the best, the middle and the worst cases.

    Args:
        scores: case id -> score, higher is better; NaN is left out.
        count: largest number of cases in each tier; less when there are fewer than three times as many cases.

    Returns:
        Title -> ids from better to worse; no id stands twice. Fewer than three cases are one tier.
    """
    known = scores.dropna()
    # Ties are broken by the id, so that a report made again shows the same cases.
    order = [key for _, key in sorted((-float(value), str(key)) for key, value in known.items())]
    if len(order) < 3:
        return {"All cases": order} if order else {}
    size = min(count, len(order) // 3)
    middle = (len(order) - size) // 2
    return {
        "Best": order[:size],
        "Median": order[middle : middle + size],
        "Worst": order[-size:],
    }


def overlay_tiers(
    table: pd.DataFrame, cases: Mapping[str, Case], predict: Callable[[Case], "ImagePrediction"]
) -> list[Tier]:
    """Draw reference and prediction on the best, median and worst cases by dice, then the worst by size.

    The last tiers are the lowest scores below the median among small, medium and large references; no case
    is drawn twice.

    Args:
        table: rows of `scores.csv` of one split, with `dice`.
        cases: id -> case; only cases with a mask are shown.
        predict: gives the mask of a case, for example the predictor of the run.
    """
    drawable = [key for key, case in cases.items() if case.mask is not None]
    table = table[table["image_id"].isin(drawable)]
    shown = table.set_index("image_id")
    chosen = {f"{title} by dice": ids for title, ids in tiers(shown["dice"]).items()}
    drawn = {key for ids in chosen.values() for key in ids}
    for part in size_classes(table):
        rest = shown["dice"].loc[[key for key in part.ids if key not in drawn]].dropna()
        rest = rest[rest < shown["dice"].median()]
        order = [key for _, key in sorted((float(value), str(key)) for key, value in rest.items())]
        chosen[f"Other low scores of {part.name} references, {part.range} of the image"] = order[:PER_SIZE]
    return [
        Tier(title, [_overlay(_row(shown, key), cases[key], predict) for key in ids])
        for title, ids in chosen.items()
        if ids
    ]


def activation_tiers(
    table: pd.DataFrame, cases: Mapping[str, Case], predictor: "Predictor", method: Method
) -> list[Tier]:
    """Draw activation maps of wrongly classified cases, and of the best, median and worst ones.

    Cases are ordered by dice, or by the probability of their true label when there are no masks. A label's
    map explains the true label, as CLNet does; a wrongly classified case shows the map of the predicted label
    too. Models without labels explain the mask of the class with the largest predicted region. No case
    stands twice.

    Args:
        table: rows of `scores.csv` of one split, as `with_decisions` gives them.
        cases: id -> case.
        predictor: the model of the run.
        method: formula of the map.
    """
    shown = table[table["image_id"].isin(list(cases))].set_index("image_id")
    groups: dict[str, list[str]] = {}
    if "wrong" in shown:
        errors = shown[shown["wrong"]].sort_values("confidence", ascending=False, kind="stable")
        if len(errors):
            groups["Wrongly classified, the most certain first"] = errors.index[:PER_TIER].tolist()
    by, quality = "dice", shown.get("dice", pd.Series(dtype=np.float64))
    if quality.dropna().empty and "true_probability" in shown:
        by, quality = "probability of the true label", shown["true_probability"]
    seen = {key for ids in groups.values() for key in ids}
    for title, ids in tiers(quality, count=_ACTIVATIONS_PER_TIER).items():
        groups[f"{title} by {by}"] = [key for key in ids if key not in seen]
    return [
        Tier(title, [_activation(_row(shown, key), cases[key], predictor, method) for key in ids])
        for title, ids in groups.items()
        if ids
    ]


def with_decisions(table: pd.DataFrame, labels: Sequence[str], threshold: float) -> pd.DataFrame:
    """Add what follows from the label probabilities of each row.

    Args:
        table: rows of `scores.csv`.
        labels: names of the labels; () returns the table unchanged.
        threshold: probability above which the second of two labels counts as found.

    Returns:
        A table with the further columns `truth` (name or None), `predicted` (name), `confidence` (probability
        of `predicted`), `true_probability` (NaN without a label) and `wrong` (bool).
    """
    columns = [f"label_probability[{name}]" for name in labels]
    if not labels or "label" not in table or not set(columns) <= set(table.columns):
        return table
    probabilities = table[columns].to_numpy(dtype=np.float64)
    target = table["label"].fillna(-1).to_numpy(dtype=np.int64)
    if len(labels) == 2:
        decided = (probabilities[:, 1] > threshold).astype(np.int64)
    else:
        decided = probabilities.argmax(1)
    rows = np.arange(len(table))
    known = target >= 0
    return table.assign(
        truth=np.array([*labels, None], dtype=object)[target],  # -1 is the last entry
        predicted=np.array(labels, dtype=object)[decided],
        confidence=probabilities[rows, decided],
        true_probability=np.where(known, probabilities[rows, target], np.nan),
        wrong=known & (decided != target),
    )


def _overlay(row: pd.Series, case: Case, predict: Callable[[Case], "ImagePrediction"]) -> View:
    image = read_case_image(case)
    outlines = outlines_of(image, case, predict(case).mask)
    title = f"{case.id}: outlines of reference and prediction"
    return _view(row, case, [Panel(overlay_svg(thumbnail(image), outlines, title))])


def _activation(row: pd.Series, case: Case, predictor: "Predictor", method: Method) -> View:
    image = read_case_image(case)
    small = thumbnail(image, _ACTIVATION_SIDE)
    outlines = {"reference": _reference(case, small)}
    labels = predictor.info.labels
    targets: dict[str, tuple[Target, int | None]] = {}
    inside: NDArray[np.bool_] | None = None
    if labels:
        for kind, name in (("true", row.get("truth")), ("predicted", row.get("predicted"))):
            if isinstance(name, str) and not any(name == shown.split(": ")[-1] for shown in targets):
                targets[f"{kind}: {name}"] = ("label", labels.index(name))
    else:
        found, inside = found_to_explain(predictor(case), predictor.info, "mask")
        largest = found or 1
        targets[f"mask: {predictor.info.classes[largest - 1]}"] = ("mask", largest)

    panels = [Panel(overlay_svg(small, {}, f"{case.id}: image"), "image")]
    batch = predictor.prepare(predictor.open(case).pixels)
    region = None if inside is None else region_at(inside, (batch.shape[2], batch.shape[3]))
    for note, (target, index) in targets.items():
        values = activation_map(
            predictor.model,
            batch,
            region=region,
            method=method,
            target=target,
            index=index,
            size=fitted_size(image, _MAP_SIDE),
        )
        title = f"{case.id}: activation map, {note}"
        note = note if values.any() else f"{note} (nothing raises it)"
        panels.append(Panel(activation_svg(small, values, outlines, title), note))
    return _view(row, case, panels)


def _row(table: pd.DataFrame, key: str) -> pd.Series:
    return table.loc[[key]].iloc[0]


def _view(row: pd.Series, case: Case, panels: Sequence[Panel]) -> View:
    truth, predicted = row.get("truth"), row.get("predicted")
    return View(
        id=case.id,
        scores={name: float(row[name]) for name in ("dice", "iou") if name in row},
        truth=truth if isinstance(truth, str) else None,
        predicted=predicted if isinstance(predicted, str) else None,
        confidence=float(row["confidence"]) if "confidence" in row else None,
        panels=panels,
    )


def outlines_of(
    image: NDArray[np.uint8], case: Case, mask: NDArray[np.uint8] | None, longest: int = LONGEST
) -> dict[str, str]:
    """Trace reference and prediction for `overlay_svg`, for a picture of at most `longest` pixels a side.

    Args:
        image: (H, W, 3), as read.
        case: its reference is traced when it has one.
        mask: prediction (H, W) uint8, or None.
        longest: as for `thumbnail`.
    """
    outlines = {"reference": _reference(case, thumbnail(image, longest))}
    if mask is not None:
        outlines["prediction"] = outline(mask, fitted_size(image, longest))
    return outlines


def _reference(case: Case, picture: NDArray[np.uint8]) -> str:
    if case.mask is None:
        return ""
    return outline(read_case_mask(case), (picture.shape[0], picture.shape[1]))
