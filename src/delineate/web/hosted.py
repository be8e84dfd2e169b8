"""The models of a service: each by a name, with its predictor, its queue and its card."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from delineate.checks import InputError, did_you_mean
from delineate.explain.activation import Method
from delineate.inference.backends import TorchBackend
from delineate.inference.predictor import Predictor
from delineate.web.batching import Batcher
from delineate.web.errors import ServiceError


@dataclass
class Hosted:
    """One model that is served."""

    name: str
    predictor: Predictor
    batcher: Batcher
    card: dict[str, Any]

    @property
    def explanations(self) -> tuple[str, ...]:
        """Names of the activation maps that this model can give; none when PyTorch does not run it."""
        return get_args(Method) if isinstance(self.predictor.backend, TorchBackend) else ()

    @property
    def identity(self) -> str:
        """Short stable text of what predicts."""
        return self.predictor.identity


def choose_model(models: Sequence[Hosted], name: str | None) -> Hosted:
    """Find a model by its name; the first without one.

    Raises:
        ServiceError: there is no such model.
    """
    if name is None:
        return models[0]
    for model in models:
        if model.name == name:
            return model
    shown = "".join(c for c in name if c.isprintable())[:60]
    hint = did_you_mean(shown, [model.name for model in models])
    raise ServiceError(404, "unknown_model", f"There is no model {shown!r} here.{hint}")


def model_names(runs: Sequence[str | Path]) -> list[str]:
    """Name each model after its folder; of several with one name the later ones get a number.

    Raises:
        InputError: no run is given.
    """
    if not runs:
        raise InputError("A service needs at least one run; name its folder.")
    names: list[str] = []
    for run in runs:
        name = base = Path(run).resolve().name
        number = 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names


def model_card(predictor: Predictor, run: Path) -> dict[str, Any]:
    """What is worth knowing about a model: how it was made, on what, and how well it did.

    Returns:
        What `model.json` says, and from the run's folder, as far as the files are there: the data set, the
        numbers of cases, the date and the mean scores of each split.
    """
    info = predictor.info
    card: dict[str, Any] = {
        "model": info.model,
        "encoder": info.encoder,
        "recipe": info.recipe,
        "weights_sha256": info.weights_sha256,
        "delineate": info.delineate,
        "trained": None,
        "scores": None,
    }
    record, summary = _json(run / "record.json"), _json(run / "summary.json")
    if isinstance(record, dict):
        card["trained"] = {key: record.get(key) for key in ("dataset", "cases", "epochs", "finished")}
    if isinstance(summary, dict):
        card["scores"] = {
            split: {name: value.get("mean") for name, value in scores.items() if isinstance(value, dict)}
            for split, scores in summary.items()
            if isinstance(scores, dict)
        }
    return card


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # a card says what is known; exported folders have no record
