"""The charts of a run's report: learning curves, distributions, labels, calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from delineate.checks import InputError
from delineate.config import Recipe
from delineate.metrics.calibration import Calibration, calibration
from delineate.metrics.histograms import Histograms
from delineate.record import RunRecord
from delineate.study import charts
from delineate.study.page import Chart, number
from delineate.study.sizes import reference_percent, size_classes

HISTOGRAMS = "histograms"
"""Folder of a run with `<split>.npz`, what `metrics.histograms.Histograms.save` wrote; may be absent."""
_EXPLAINED = "A dot is a case; box: quartiles, thick mark: median, thin line: 5th to 95th percentile."


class _Interval(Protocol):
    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def learning_curves(path: Path, record: RunRecord, recipe: Recipe) -> list[Chart]:
    """Draw `history.csv`; [] without it.

    Raises:
        InputError: the file is damaged.
    """
    if not path.is_file():
        return []
    try:
        history = pd.read_csv(path)
    except ValueError as error:
        raise InputError(
            f"{path} is damaged; delete it to write a report without learning curves."
        ) from error
    if "epoch" not in history or history.empty:
        return []
    selected = record.selected_epoch
    losses = {name: text for name, text in (("train_loss", "training"), ("val_loss", "validation"))}
    losses = {name: text for name, text in losses.items() if has_values(history, name)}
    scores = {
        name: text for name, text in (("val_dice", "dice"), ("val_auc", "AUC")) if has_values(history, name)
    }
    found = []
    if losses:
        values = history[list(losses)].to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        log = bool(values.size and values.min() > 0 and values.max() > 20 * values.min())
        svg = charts.curves(history, losses, selected=selected, label="loss", log=log)
        found.append(
            Chart("loss", svg, "Loss. The dashed line marks the epoch whose weights are the result.")
        )
    if scores:
        svg = charts.curves(history, scores, selected=selected, label=" and ".join(scores.values()))
        chosen = recipe.training.monitor if recipe.training.select == "best" else "the last epoch"
        found.append(Chart("validation", svg, f"Scores on the validation split; selected by: {chosen}."))
    if has_values(history, "rate"):
        svg = charts.curves(history, {"rate": "learning rate"}, selected=None, label="learning rate")
        found.append(Chart("rate", svg, "Learning rate."))
    return found


def distributions(table: pd.DataFrame) -> list[Chart]:
    """Draw the scores of all cases."""
    found = []
    names = [name for name in ("dice", "iou", "precision", "sensitivity") if has_values(table, name)]
    names += [name for name in table.columns if name.startswith("dice[") and has_values(table, name)]
    if names:
        values = {name: table[name].to_numpy(dtype=np.float64) for name in names}
        svg = charts.distribution(values, label="score", unit_range=True)
        found.append(Chart("overlap", svg, f"Overlap scores. {_EXPLAINED}"))
    names = [name for name in ("hd", "hd95", "assd") if has_values(table, name)]
    if names:
        values = {name: table[name].to_numpy(dtype=np.float64) for name in names}
        svg = charts.distribution(values, label="distance", unit_range=False)
        found.append(
            Chart(
                "distance",
                svg,
                "Distances of the outlines; a mask that is missing counts as the image diagonal.",
            )
        )
    return found


def label_probabilities(table: pd.DataFrame, labels: Sequence[str]) -> list[Chart]:
    """Draw the probability that each case's true label got."""
    found = []
    if has_values(table, "true_probability"):
        values = {
            name: table.loc[table["truth"] == name, "true_probability"].to_numpy(dtype=np.float64)
            for name in labels
        }
        svg = charts.distribution(values, label="probability of the true label", unit_range=True)
        found.append(
            Chart("label-probability", svg, "Probability that each case's true label got, by true label.")
        )
    return found


def dice_by_size(table: pd.DataFrame) -> list[Chart]:
    """Draw dice over the size of the reference, and by thirds of that size."""
    if not has_values(table, "dice") or not has_values(table, "reference_pixels"):
        return []
    percent = reference_percent(table)
    if percent is None:
        return []
    empty = int((table["reference_pixels"] == 0).sum())
    groups = table["truth"].fillna("no label").tolist() if "truth" in table else None
    svg = charts.scatter(percent, table["dice"], groups, xlabel="reference, % of the image", ylabel="dice")
    left_out = f" {empty} cases with an empty reference are left out." if empty else ""
    found = [Chart("dice-by-size", svg, f"Dice against the size of the reference.{left_out}")]
    dice = table.set_index("image_id")["dice"]
    classes = {f"{part.name}, {part.range}": dice.loc[list(part.ids)] for part in size_classes(table)}
    if len(classes) > 1:
        svg = charts.distribution(classes, label="dice", unit_range=True)
        text = (
            "Dice of small, medium and large references, a third of the cases each; sizes in % of the image."
        )
        found.append(Chart("dice-by-size-class", svg, f"{text} {_EXPLAINED}"))
    return found


def roc_curves(
    table: pd.DataFrame, labels: Sequence[str], threshold: float, scores: Mapping[str, _Interval]
) -> list[Chart]:
    """Draw the ROC curve of two labels, or of each label against the rest."""
    if "truth" not in table:
        return []
    from sklearn.metrics import roc_curve  # slow to import

    known = table[table["truth"].notna()]
    curves, point = {}, None
    for name in labels[1:] if len(labels) == 2 else labels:
        positive = (known["truth"] == name).to_numpy()
        if positive.all() or not positive.any():
            continue  # without both kinds there is no curve
        false, true, _ = roc_curve(positive, known[f"label_probability[{name}]"])
        score = scores.get("auc" if len(labels) == 2 else f"auc[{name}]")
        area = "" if score is None else f"AUC {number(score.mean)} ({number(score.low)}–{number(score.high)})"
        curves[area if len(labels) == 2 and area else f"{name} {area}".strip()] = (false, true)
        if len(labels) == 2:
            found = (known["predicted"] == name).to_numpy()
            point = (float(found[~positive].mean()), float(found[positive].mean()))
    if not curves:
        return []
    if len(labels) == 2:
        caption = f"ROC curve for {labels[1]}; the dot is the decision threshold {threshold:g}."
    else:
        caption = "ROC curves, each label against the rest."
    return [Chart("roc", charts.roc(curves, point), f"{caption} AUC with its 95 % interval.")]


def label_reliability(table: pd.DataFrame, labels: Sequence[str]) -> Calibration | None:
    """Reliability diagram of the labels, or None without any labelled case.

    Args:
        table: rows of `scores.csv`.
        labels: names of the labels; of two, the second is the positive one.
    """
    columns = [f"label_probability[{name}]" for name in labels]
    if not labels or "label" not in table or not set(columns) <= set(table.columns):
        return None
    probabilities = table[columns].to_numpy(dtype=np.float64)
    targets = table["label"].fillna(-1).to_numpy(dtype=np.int64)
    found = calibration(probabilities[:, 1] if len(labels) == 2 else probabilities, targets)
    return found if found.cases.sum() else None


def label_calibration(table: pd.DataFrame, labels: Sequence[str]) -> list[Chart]:
    """Draw whether the label probabilities mean what they say."""
    found = label_reliability(table, labels)
    if found is None:
        return []
    svg = charts.reliability({"": found}, **axes_of_reliability(labels))
    text = "A dot is a bin of probabilities, larger with more cases; on the dashed line they come true."
    return [Chart("label-reliability", svg, f"Calibration of the labels. {text}")]


def axes_of_reliability(labels: Sequence[str]) -> dict[str, str]:
    """Name the axes: two labels speak of the positive one, more of the predicted one."""
    if len(labels) == 2:
        return {"xlabel": f"predicted probability of {labels[1]}", "ylabel": f"share of {labels[1]}"}
    return {"xlabel": "probability of the predicted label", "ylabel": "share predicted rightly"}


def pixel_histograms(run: Path, split: str) -> Histograms | None:
    """Read the histograms of a run's probability maps, None when they were not kept."""
    path = run / HISTOGRAMS / f"{split}.npz"
    return Histograms.load(path) if path.is_file() else None


def pixel_calibration(run: Path, split: str, ids: Sequence[str]) -> list[Chart]:
    """Draw whether the pixels' probabilities mean what they say; [] without histograms.

    Raises:
        InputError: the histograms are damaged or lack a case.
    """
    found = pixel_histograms(run, split)
    if found is None:
        return []
    known = [key for key in ids if key in found]
    curves = {name: found.stack(known, name).reliability() for name in found.classes}
    if not any(curve.cases.sum() for curve in curves.values()):
        return []
    svg = charts.reliability(
        curves, xlabel="predicted probability of a pixel", ylabel="share of object pixels"
    )
    text = "A dot is a bin of probabilities, larger with more pixels; on the dashed line they come true."
    return [Chart("pixel-reliability", svg, f"Calibration of the pixels of all images together. {text}")]


def has_values(table: pd.DataFrame, name: str) -> bool:
    """Whether the table has the column with anything in it."""
    return name in table and bool(table[name].notna().any())
