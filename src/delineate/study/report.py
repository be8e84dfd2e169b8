"""The report of a run: one HTML file that needs nothing else."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.explain.activation import Method
from delineate.explain.overlay import map_method
from delineate.files import write_text
from delineate.metrics import metric_of
from delineate.recipe_io import dump_recipe, load_recipe
from delineate.record import read_record
from delineate.study import run_charts
from delineate.study.evidence import activation_tiers, overlay_tiers, with_decisions
from delineate.study.page import KINDS, Heading, metric_order, render, unit_of
from delineate.version import __version__

if TYPE_CHECKING:
    from delineate.inference.predictor import ImagePrediction, Predictor

_HEADLINES = ("dice", "iou", "auc", "balanced_accuracy", "hd95", "label_accuracy")


@dataclass(frozen=True)
class Score(Heading):
    """One line of the score table."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Confusion:
    """True labels in rows, predicted ones in columns."""

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Subject:
    """What a report is about when no run was trained here: predictions that another program wrote."""

    title: str
    """Heading of the page."""
    summary: str
    """One line beneath it."""
    data_name: str
    """Name of the data set."""
    classes: Sequence[str]
    """Mask classes without the background."""
    labels: Sequence[str] = ()
    """Labels, when the table has their probabilities."""
    threshold: float = 0.5
    """Above which the second of two labels counts as found."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """The record: term -> text."""


def write_report(run: Path, *, split: str, predictor: "Predictor", cases: Sequence[Case]) -> Path:
    """Write `report.html` of an evaluated run, and its charts as SVG files under `figures/`.

    Args:
        run: a run folder with recipe.yaml, record.json, scores.csv and summary.json; history.csv may be
            absent, and `histograms/<split>.npz` too, from which the calibration of pixels is drawn.
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
    subject = Subject(
        title=recipe.name,
        summary=recipe.summary,
        data_name=Path(record.data_root).name or record.dataset,
        classes=recipe.task.classes,
        labels=tuple(predictor.info.labels),
        threshold=predictor.info.threshold,
    )
    method = map_method(recipe.model.name)
    table = _read_table(run, split, subject)
    page = _scores_page(run, split, subject, table, cases, predictor) | {
        "model": recipe.model,
        "record": record,
        "version": record.environment.delineate,
        "evaluation": record.evaluations.get(split),
        "recipe": recipe,
        "recipe_text": dump_recipe(recipe),
        "activations": _activations(table, {case.id: case for case in cases}, predictor, method),
        "activation_method": method,
        "learning": run_charts.learning_curves(run / "history.csv", record, recipe),
    }
    return _write(run, split, page)


def write_scores_report(
    folder: Path,
    *,
    split: str,
    subject: Subject,
    cases: Sequence[Case],
    predict: "Callable[[Case], ImagePrediction] | None" = None,
) -> Path:
    """Write the report of scores whose predictions came as files: as `write_report`, without a model.

    Args:
        folder: with scores.csv and summary.json; `histograms/<split>.npz` may be absent.
        split: as these two files name it.
        subject: what the scores are of.
        cases: the scored cases; one that is not among them is not pictured.
        predict: gives the prediction of a case, or None for a report without pictures.

    Raises:
        InputError: as `write_report`.
    """
    table = _read_table(folder, split, subject)
    page = _scores_page(folder, split, subject, table, cases, predict) | {
        "model": None,
        "record": None,
        "version": __version__,
        "recipe": None,
        "activations": [],
        "learning": [],
    }
    return _write(folder, split, page)


def _read_table(folder: Path, split: str, subject: Subject) -> pd.DataFrame:
    table = _read_scores(folder / "scores.csv", split)
    return with_decisions(table, tuple(subject.labels), subject.threshold)


def _scores_page(
    folder: Path,
    split: str,
    subject: Subject,
    table: pd.DataFrame,
    cases: Sequence[Case],
    predict: "Callable[[Case], ImagePrediction] | None",
) -> dict[str, Any]:
    """Everything of the page that needs the scores only."""
    labels = tuple(subject.labels)
    scores = _read_summary(folder / "summary.json", split, cases)
    pictured = {case.id: case for case in cases}
    overlays = []
    if predict is not None and run_charts.has_values(table, "dice"):
        overlays = overlay_tiers(table, pictured, predict)
    return {
        "split": split,
        "subject": subject,
        "classes": subject.classes,
        "labels": labels,
        "threshold": subject.threshold,
        "cases": len(table),
        "headlines": _headlines(scores),
        "score_groups": _grouped(scores),
        "totals": [score for score in scores.values() if score.metric.kind == "total"],
        "overlays": overlays,
        "distributions": [*run_charts.distributions(table), *run_charts.dice_by_size(table)],
        "pixel_charts": run_charts.pixel_calibration(folder, split, table["image_id"].tolist()),
        "label_charts": [
            *run_charts.roc_curves(table, labels, subject.threshold, scores),
            *run_charts.label_probabilities(table, labels),
            *run_charts.label_calibration(table, labels),
        ],
        "confusion": _confusion(table, labels),
    }


def _write(folder: Path, split: str, page: Mapping[str, Any]) -> Path:
    for kind in ("learning", "distributions", "pixel_charts", "label_charts"):
        for chart in page[kind]:
            write_text(folder / "figures" / f"{split}-{chart.name}.svg", chart.svg)
    path = folder / "report.html"
    write_text(path, render("run.html", page))
    return path


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
    scores = {}
    for name, (mean, low, high) in rows.items():
        metric = metric_of(name)
        if metric is not None:
            unit = unit_of(metric, spaced)
            scores[name] = Score(name, metric, unit, mean, low, high, int(content[name]["n"]))
    return scores


def _headlines(scores: Mapping[str, Score]) -> list[Score]:
    return [scores[name] for name in _HEADLINES if name in scores and np.isfinite(scores[name].mean)][:4]


def _grouped(scores: Mapping[str, Score]) -> list[tuple[str, list[Score], list[Score]]]:
    """Return (title, scores over everything, scores of single classes) for each kind that occurs."""
    groups = []
    for kind, title in KINDS.items():
        members = [score for score in scores.values() if score.metric.kind == kind]
        members.sort(key=lambda score: metric_order(score.name))
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


def _confusion(table: pd.DataFrame, labels: Sequence[str]) -> Confusion | None:
    if "truth" not in table or table["truth"].isna().all():
        return None
    counts = [
        [int(((table["truth"] == true) & (table["predicted"] == found)).sum()) for found in labels]
        for true in labels
    ]
    return Confusion(labels, counts)
