"""The report of a run: one HTML file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from delineate.checks import InputError
from delineate.config import Recipe
from delineate.data.case import Case
from delineate.explain.activation import Method
from delineate.explain.overlay import map_method
from delineate.files import write_text
from delineate.metrics import METRICS, Metric, metric_of
from delineate.recipe_io import dump_recipe, load_recipe
from delineate.record import RunRecord, read_record
from delineate.study import charts
from delineate.study.evidence import activation_tiers, overlay_tiers, with_decisions

if TYPE_CHECKING:
    from delineate.inference.predictor import Predictor

_KINDS = {
    "overlap": "Overlap, mean over images",
    "surface": "Distance of the outlines, mean over images",
    "saliency": "Agreement of the probability map, mean over images",
    "pooled": "Overlap, pixels of all images pooled",
    "label": "Labels",
}
_HEADLINES = ("dice", "iou", "auc", "balanced_accuracy", "hd95", "label_accuracy")
_ARROWS = {"up": "↑", "down": "↓", "none": ""}
_DIRECTIONS = {"up": "higher is better", "down": "lower is better", "none": ""}


@dataclass(frozen=True)
class Score:
    """One line of the score table."""

    name: str
    mean: float
    low: float
    high: float
    n: int
    unit: str
    metric: Metric

    @property
    def arrow(self) -> str:
        """Which direction is better, as a sign."""
        return _ARROWS[self.metric.better]

    @property
    def direction(self) -> str:
        """Which direction is better, in words."""
        return _DIRECTIONS[self.metric.better]


@dataclass(frozen=True)
class Chart:
    """A chart and the words beneath it."""

    name: str
    svg: str
    caption: str

    @property
    def markup(self) -> Markup:
        """The chart as a part of the page; its text was escaped when it was drawn."""
        return Markup(charts.inline(self.svg))


@dataclass(frozen=True)
class Confusion:
    """True labels in rows, predicted ones in columns."""

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


def write_report(run: Path, *, split: str, predictor: "Predictor", cases: Sequence[Case]) -> Path:
    """Write `report.html` of an evaluated run, and its charts as SVG files under `figures/`.

    Args:
        run: a run folder with recipe.yaml, record.json, scores.csv and summary.json; history.csv may be
            absent.
        split: the split that is reported; scores.csv and summary.json hold it.
        predictor: the model of the run; it predicts the pictured cases again.
        cases: the cases of the split; a scored case that is not among them is not pictured.

    Returns:
        The path of the report.

    Raises:
        InputError: a file of the run is missing or damaged, the split was not evaluated, or a picture's file
            cannot be read.
    """
    recipe = load_recipe(run / "recipe.yaml")
    record = read_record(run / "record.json")
    labels = tuple(predictor.info.labels)
    table = with_decisions(_read_scores(run / "scores.csv", split), labels, predictor.info.threshold)
    scores = _read_summary(run / "summary.json", split, cases)
    by_id = {case.id: case for case in cases}
    method = map_method(recipe.model.name)
    learning = _learning(run / "history.csv", record, recipe)
    distributions = [*_distributions(table), *_dice_by_size(table)]
    label_charts = [
        *_roc(table, labels, predictor.info.threshold, scores),
        *_label_probabilities(table, labels),
    ]
    page = {
        "split": split,
        "data_name": Path(record.data_root).name or record.dataset,
        "recipe": recipe,
        "recipe_text": dump_recipe(recipe),
        "record": record,
        "evaluation": record.evaluations.get(split),
        "classes": recipe.task.classes,
        "labels": labels,
        "threshold": predictor.info.threshold,
        "cases": len(table),
        "headlines": _headlines(scores),
        "score_groups": _grouped(scores),
        "totals": [score for score in scores.values() if score.metric.kind == "total"],
        "overlays": overlay_tiers(table, by_id, predictor) if _has(table, "dice") else [],
        "activations": _activations(table, by_id, predictor, method),
        "activation_method": method,
        "learning": learning,
        "distributions": distributions,
        "label_charts": label_charts,
        "confusion": _confusion(table, labels),
    }
    for chart in [*learning, *distributions, *label_charts]:
        write_text(run / "figures" / f"{split}-{chart.name}.svg", chart.svg)
    path = run / "report.html"
    write_text(path, _render(page))
    return path


def _render(page: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # slow to import

    environment = Environment(
        loader=PackageLoader("delineate.study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["duration"] = duration
    environment.filters["moment"] = moment
    return environment.get_template("run.html").render(page).strip() + "\n"


def number(value: float | None, unit: str = "") -> str:
    """Format a score for people: three decimals for a plain number, one for a length; "–" when undefined."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.1f}" if unit and unit != "cases" else f"{value:.0f}" if unit else f"{value:.3f}"


def moment(time: str) -> str:
    """Format a time of a run record for people: "2026-01-31 10:00:00 UTC"."""
    return time.replace("T", " ").replace("+00:00", " UTC")


def duration(seconds: float) -> str:
    """Format a time span for people, for example "3 min 20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _read_scores(path: Path, split: str) -> pd.DataFrame:
    try:
        # A converter, because an id may be "NA" or "007", which is neither missing nor a number.
        table = pd.read_csv(path, converters={"image_id": str, "split": str, "group": str})
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged; run `delineate evaluate` again.") from error
    if "split" not in table or "image_id" not in table:
        raise InputError(f"{path} lacks the column split or image_id; run `delineate evaluate` again.")
    chosen = table[table["split"] == split].reset_index(drop=True)
    if chosen.empty:
        raise InputError(f"{path} holds no case of the split {split!r}; evaluate that split first.")
    return chosen


def _read_summary(path: Path, split: str, cases: Sequence[Case]) -> dict[str, Score]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))[split]
        rows = {
            name: [float("nan") if row[key] is None else float(row[key]) for key in ("mean", "low", "high")]
            for name, row in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged or lacks the split {split!r}; run `delineate evaluate` again."
        ) from error
    spaced = {case.spacing is not None for case in cases}
    length = "px or mm" if len(spaced) != 1 else "mm" if True in spaced else "px"
    scores = {}
    for name, (mean, low, high) in rows.items():
        metric = metric_of(name)
        if metric is not None:
            unit = length if metric.unit == "px or mm" else metric.unit
            scores[name] = Score(name, mean, low, high, int(content[name]["n"]), unit, metric)
    return scores


def _headlines(scores: Mapping[str, Score]) -> list[Score]:
    return [scores[name] for name in _HEADLINES if name in scores and np.isfinite(scores[name].mean)][:4]


def _grouped(scores: Mapping[str, Score]) -> list[tuple[str, list[Score], list[Score]]]:
    """Return (title, scores over everything, scores of single classes) for each kind that occurs."""
    order = list(METRICS)
    groups = []
    for kind, title in _KINDS.items():
        members = [score for score in scores.values() if score.metric.kind == kind]
        members.sort(key=lambda score: order.index(score.name.split("[")[0].split("@")[0]))
        whole = [score for score in members if "[" not in score.name]
        if members:
            groups.append((title, whole, [score for score in members if "[" in score.name]))
    return groups


def _activations(
    table: pd.DataFrame, cases: Mapping[str, Case], predictor: "Predictor", method: Method
) -> list[Any]:
    if not hasattr(predictor.model, "activation_layers"):
        return []
    return activation_tiers(table, cases, predictor, method)


def _learning(path: Path, record: RunRecord, recipe: Recipe) -> list[Chart]:
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
    losses = {name: text for name, text in losses.items() if _has(history, name)}
    scores = {name: text for name, text in (("val_dice", "dice"), ("val_auc", "AUC")) if _has(history, name)}
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
    if _has(history, "rate"):
        svg = charts.curves(history, {"rate": "learning rate"}, selected=None, label="learning rate")
        found.append(Chart("rate", svg, "Learning rate."))
    return found


def _distributions(table: pd.DataFrame) -> list[Chart]:
    explained = "A dot is a case; box: quartiles, thick mark: median, thin line: 5th to 95th percentile."
    found = []
    names = [name for name in ("dice", "iou", "precision", "sensitivity") if _has(table, name)]
    names += [name for name in table.columns if name.startswith("dice[") and _has(table, name)]
    if names:
        values = {name: table[name].to_numpy(dtype=np.float64) for name in names}
        svg = charts.distribution(values, label="score", unit_range=True)
        found.append(Chart("overlap", svg, f"Overlap scores. {explained}"))
    names = [name for name in ("hd", "hd95", "assd") if _has(table, name)]
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


def _label_probabilities(table: pd.DataFrame, labels: Sequence[str]) -> list[Chart]:
    found = []
    if _has(table, "true_probability"):
        values = {
            name: table.loc[table["truth"] == name, "true_probability"].to_numpy(dtype=np.float64)
            for name in labels
        }
        svg = charts.distribution(values, label="probability of the true label", unit_range=True)
        found.append(
            Chart("label-probability", svg, "Probability that each case's true label got, by true label.")
        )
    return found


def _dice_by_size(table: pd.DataFrame) -> list[Chart]:
    if not _has(table, "dice") or not _has(table, "reference_pixels"):
        return []
    counts = next(
        (
            [f"{kind}{name[2:]}" for kind in ("tp", "fp", "fn", "tn")]
            for name in table.columns
            if name == "tp" or name.startswith("tp[")
        ),
        [],
    )
    if not counts or not set(counts) <= set(table.columns):
        return []
    percent = 100 * table["reference_pixels"] / table[counts].sum(axis=1)
    empty = int((table["reference_pixels"] == 0).sum())
    groups = table["truth"].fillna("no label").tolist() if "truth" in table else None
    svg = charts.scatter(percent, table["dice"], groups, xlabel="reference, % of the image", ylabel="dice")
    left_out = f" {empty} cases with an empty reference are left out." if empty else ""
    return [Chart("dice-by-size", svg, f"Dice against the size of the reference.{left_out}")]


def _roc(
    table: pd.DataFrame, labels: Sequence[str], threshold: float, scores: Mapping[str, Score]
) -> list[Chart]:
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


def _confusion(table: pd.DataFrame, labels: Sequence[str]) -> Confusion | None:
    if "truth" not in table or table["truth"].isna().all():
        return None
    counts = [
        [int(((table["truth"] == true) & (table["predicted"] == found)).sum()) for found in labels]
        for true in labels
    ]
    return Confusion(labels, counts)


def _has(table: pd.DataFrame, name: str) -> bool:
    return name in table and bool(table[name].notna().any())
