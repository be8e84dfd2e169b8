"""The model card of a run: what it is, what it was trained and measured on, and what it is not for.

Every number comes from the run's own files: record.json, recipe.yaml, model.json, summary.json.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from delineate.checks import InputError
from delineate.config import Recipe
from delineate.files import write_text
from delineate.metrics import METRICS, metric_of
from delineate.models.catalogue import MODELS
from delineate.models.checkpoint import INFO, ModelInfo
from delineate.recipe_io import load_recipe
from delineate.record import EvaluationRecord, RunRecord, read_record

CARD = "model_card.md"
_SPLITS = {
    "test": "Never used for training or for selecting the epoch.",
    "val": "The epoch was selected on these cases, so the scores are too good.",
    "train": "The model was trained on these cases: the scores say nothing about new images.",
    "all": "Cases of training and validation are among these: the scores are too good.",
}


@dataclass(frozen=True)
class Line:
    """One score as text."""

    name: str
    unit: str
    mean: str
    interval: str
    n: int


@dataclass(frozen=True)
class Part:
    """The scores on one split."""

    title: str
    about: str
    lines: list[Line]
    totals: list[str]


def write_model_card(run: Path) -> Path:
    """Write `model_card.md` into an evaluated run.

    Args:
        run: folder with record.json, recipe.yaml, model.json and summary.json.

    Returns:
        The path of the card.

    Raises:
        InputError: a file is missing or damaged, or no split was evaluated.
    """
    record, recipe = read_record(run / "record.json"), load_recipe(run / "recipe.yaml")
    info, summary = _read_info(run / INFO), _read_summary(run / "summary.json")
    evaluated = {name: record.evaluations[name] for name in summary if name in record.evaluations}
    if not evaluated:
        raise InputError(f"{run} has no scores; run `delineate evaluate {run}` first.")
    order = sorted(evaluated, key=lambda name: (name != "test", name))
    text = _render(
        {
            "recipe": recipe,
            "record": record,
            "info": info,
            "paper": _paper(info.model),
            "data_name": Path(record.data_root).name,
            "finds": _finds(info),
            "decision": _decision(info),
            "start": _start(recipe),
            "counts": ", ".join(f"{name} {count}" for name, count in record.cases.items()),
            "gate": ", ".join(f"{count} {level}" for level, count in record.gate.items()),
            "losses": ", ".join(_losses(recipe)),
            "chosen_by": f"best {recipe.training.monitor} on the validation split"
            if recipe.training.select == "best"
            else "the last",
            "parts": [_part(name, evaluated[name], summary[name]) for name in order],
            "limits": list(_limits(record, recipe, info, evaluated)),
            "packages": ", ".join(f"{name} {found}" for name, found in record.environment.packages.items()),
        }
    )
    path = run / CARD
    write_text(path, text)
    return path


def figure(value: float | int | None) -> str:
    """Format a score for the card: four significant digits, "-" when undefined."""
    return "-" if value is None else f"{value:.4g}"


def _render(page: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # slow to import

    environment = Environment(
        loader=PackageLoader("delineate.study"),
        autoescape=False,  # Markdown, not HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("model_card.md").render(page).strip() + "\n"


def _read_info(path: Path) -> ModelInfo:
    try:
        return ModelInfo.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; {path.parent} is not a finished run.") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path} does not describe a model; train the run again.") from error


def _read_summary(path: Path) -> dict[str, dict[str, dict[str, float | int | None]]]:
    try:
        content: dict[str, dict[str, dict[str, float | int | None]]] = json.loads(
            path.read_text(encoding="utf-8")
        )
        for scores in content.values():
            for row in scores.values():
                _ = row["mean"], row["low"], row["high"], row["n"]
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run `delineate evaluate {path.parent}` first.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged; run `delineate evaluate {path.parent}` again.") from error
    return content


def _paper(model: str) -> str:
    spec = MODELS.get(model.partition("+")[0])
    return "" if spec is None else spec.paper


def _finds(info: ModelInfo) -> str:
    found = []
    if info.classes:
        found.append(f"masks of {', '.join(info.classes)}")
    if info.labels:
        found.append(f"image labels {' or '.join(info.labels)}")
    return "; ".join(found)


def _decision(info: ModelInfo) -> str:
    rules = []
    if len(info.classes) == 1:
        rules.append(f"a pixel is {info.classes[0]} above the probability {info.threshold:g}")
    elif info.classes:
        rules.append("a pixel has the most probable class")
    if len(info.labels) == 2:
        rules.append(f"an image is {info.labels[1]} above the probability {info.threshold:g}")
    elif info.labels:
        rules.append("an image has the most probable label")
    return "; ".join(rules)


def _start(recipe: Recipe) -> str:
    pretrained = recipe.model.pretrained
    if isinstance(pretrained, str):
        text = f"encoder weights of the file `{Path(pretrained).name}`"
    else:
        text = "ImageNet weights of the encoder" if pretrained else "random numbers"
    for part, run in (("encoder", recipe.model.encoder_from), ("decoder", recipe.model.decoder_from)):
        if run is not None:
            text += f"; the {part} of the run `{Path(run).name}`"
    return text + ("; the encoder stays as it is" if recipe.model.freeze_encoder else "")


def _losses(recipe: Recipe) -> Iterator[str]:
    for kind, terms in (("mask", recipe.loss.mask), ("label", recipe.loss.label)):
        for term in terms:
            yield f"{term.name} on the {kind} (weight {term.weight:g})"
    if recipe.loss.interaction:
        yield f"interaction (weight {recipe.loss.interaction:g})"
    if recipe.loss.aux_weight:
        yield f"deep supervision (weight {recipe.loss.aux_weight:g})"


def _part(name: str, evaluation: EvaluationRecord, summary: Mapping[str, Any]) -> Part:
    own = name in _SPLITS
    about = _SPLITS.get(name, "Other data than the run's own; none of its images was trained on.")
    title = {"all": "All cases", "val": "Validation split", "train": "Training split", "test": "Test split"}
    lines, totals = [], []
    for score, row in sorted(summary.items(), key=lambda item: _order(item[0])):
        metric = metric_of(score)
        if metric is None:
            continue
        if metric.kind == "total":
            totals.append(f"{metric.description}: {figure(row['mean'])} of {row['n']}.")
            continue
        ends = figure(row["low"]), figure(row["high"])
        interval = "-" if "-" in ends else " to ".join(ends)
        lines.append(Line(score, metric.unit, figure(row["mean"]), interval, int(row["n"])))
    return Part(
        title=title[name] if own else f"`{name}`",
        about=f"{about} {evaluation.cases} cases, scored on {evaluation.environment.device}, "
        f"{evaluation.finished}; data fingerprint `{evaluation.data_fingerprint}`.",
        lines=lines,
        totals=totals,
    )


def _order(name: str) -> tuple[int, str]:
    rule = name.split("[", 1)[0].split("@", 1)[0]
    order = list(METRICS)
    return (order.index(rule) if rule in METRICS else len(order)), name


def _limits(
    record: RunRecord, recipe: Recipe, info: ModelInfo, evaluated: Mapping[str, EvaluationRecord]
) -> Iterator[str]:
    """What the run's own files show that a reader must know."""
    yield f"One training, seed {record.seed}: how much the scores change with the seed is not known from it."
    if "test" not in evaluated:
        yield "No test split was scored here, so no score is of cases that played no part in training."
    if not any(name not in _SPLITS for name in evaluated):
        yield "All scores are of the data set it was trained on: how it does on another one is not measured."
    if record.gate_overridden:
        yield (
            "The data has errors that were accepted (see above); cases of the test split may be known from "
            "training."
        )
    if recipe.task.pseudo_labels is not None:
        yield (
            f"The labels were made from the images ({recipe.task.pseudo_labels.method}), not by people: they "
            "name groups of pictures, not diagnoses."
        )
    if not recipe.model.pretrained and recipe.model.encoder_from is None:
        yield "It was trained from random numbers; published results mostly start from ImageNet weights."
    if info.classes:
        yield (
            f"Images are resized to {info.size[0]} x {info.size[1]} pixels first: what vanishes there cannot "
            "be found."
        )
    if not info.labels:
        yield "It says where something is, not what it is."
    if not info.classes:
        yield "It names a label without showing where it is."
    for name, evaluation in evaluated.items():
        if evaluation.weights_sha256 != info.weights_sha256:
            yield (
                f"The scores of {name} are of other weights ({evaluation.weights_sha256}) than those "
                "that lie in the folder now."
            )
