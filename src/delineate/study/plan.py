"""The plan of a study: systems x data sets x folds x seeds, each run with its whole recipe.

    study = load_study(Path("STUDY.yaml"))
    for run in plan_runs(study):
        run.key, run.recipe, run.split

Every run is one folder, `<study>/runs/<key>/`. The key is made of what tells runs apart:
`<system>__<data>__fold<K>__seed<S>`, without the fold where there is none.

Changes of recipes are applied in this order, the later winning: the study's `set`, the system's, the data
entry's (which knows what the data holds: task.classes, task.labels), and the seed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from delineate.checks import InputError, did_you_mean
from delineate.config import Recipe
from delineate.data.protocols import number_of_folds
from delineate.data.readers import READERS
from delineate.metrics import metric_of
from delineate.metrics.names import expand_names
from delineate.recipe_io import load_recipe
from delineate.study.published import published_values
from delineate.study.schema import (
    CompareSettings,
    DataEntry,
    EvaluateSettings,
    PublishedRow,
    Study,
    System,
    is_recipe_file,
    refuse_unknown,
    relative,
    sentence,
)
from delineate.training.splitting import ProtocolChoice
from delineate.yaml_io import read_yaml

__all__ = [
    "CompareSettings",
    "DataEntry",
    "EvaluateSettings",
    "PlannedRun",
    "PublishedRow",
    "Study",
    "System",
    "difference",
    "dump_study",
    "load_study",
    "parse_study",
    "plan_runs",
]


@dataclass(frozen=True)
class PlannedRun:
    """One training with its evaluation."""

    key: str
    """Name of the run's folder, unique in the study."""
    system: str
    """Name of the system."""
    data: DataEntry
    """The data set."""
    fold: int | None
    """Which fold is tested, from 0; None without folds."""
    seed: int
    """training.seed."""
    recipe: Recipe
    """Complete, with all changes."""

    @property
    def split(self) -> ProtocolChoice | None:
        """How the data is divided, for `train`."""
        if self.data.protocol is None:
            return None
        return ProtocolChoice(self.data.protocol, self.fold, self.data.number_of_folds, self.data.split_seed)

    def row(self) -> dict[str, Any]:
        """Return the run's entry in plan.json."""
        return {
            "key": self.key,
            "system": self.system,
            "data": self.data.name,
            "fold": self.fold,
            "seed": self.seed,
            "recipe_sha256": self.recipe.sha256(),
            "run": f"runs/{self.key}",
        }


def load_study(path: Path, roots: Mapping[str, Path] | None = None) -> Study:
    """Read a STUDY.yaml; its paths of data and of recipe files become absolute.

    Args:
        path: the file; relative paths in it are seen from its folder.
        roots: data entry -> folder, in place of what the file says.

    Raises:
        InputError: the file cannot be read, or a key is unknown, missing or wrong; the message names both.
    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"Cannot read the study {path}: {reason}.") from error
    study = parse_study(content, where=str(path), folder=path.absolute().parent)
    given = dict(roots or {})
    refuse_unknown(f"data entry of {path}", given, [entry.name for entry in study.data])
    if not given:
        return study
    entries = [
        entry.model_copy(update={"root": str(given[entry.name].absolute())}) if entry.name in given else entry
        for entry in study.data
    ]
    return study.model_copy(update={"data": tuple(entries)})


def parse_study(content: Any, *, where: str, folder: Path) -> Study:
    """Check what a STUDY.yaml holds.

    Args:
        content: the parsed file.
        where: file or name for messages.
        folder: absolute; relative paths of data and recipe files are seen from here.

    Raises:
        InputError: as `load_study`.
    """
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold a mapping with the keys name, systems, data and others.")
    try:
        # The JSON mode is strict about types and still takes a list where a tuple is declared.
        study = Study.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise InputError(f"{where}: {sentence(error)}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}.") from error
    try:
        _check_names(study)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    systems = [
        s.model_copy(update={"recipe": str(folder / s.recipe)}) if is_recipe_file(s.recipe) else s
        for s in study.systems
    ]
    data = [
        entry if entry.root is None else entry.model_copy(update={"root": str(folder / entry.root)})
        for entry in study.data
    ]
    return study.model_copy(update={"systems": tuple(systems), "data": tuple(data)})


def dump_study(study: Study, folder: Path) -> str:
    """Return the study as complete YAML text that `load_study` reads back from `folder`."""
    content = study.model_dump(mode="json")
    for system in content["systems"]:
        if is_recipe_file(system["recipe"]):
            system["recipe"] = relative(Path(system["recipe"]), folder)
    for entry in content["data"]:
        if entry["root"] is not None:
            entry["root"] = relative(Path(entry["root"]), folder)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def plan_runs(study: Study) -> tuple[PlannedRun, ...]:
    """List all runs, seed by seed, so that every system has been on all data before the second seed begins.

    Nothing of the data is read.

    Raises:
        InputError: a recipe, a change, a protocol or a fold does not exist or does not fit.
    """
    folds = {entry.name: _folds(entry) for entry in study.data}
    recipes = {(s.name, d.name): _recipe(study, s, d) for d in study.data for s in study.systems}
    runs = [
        _run(system.name, entry, fold, seed, recipes[system.name, entry.name])
        for seed in study.seeds
        for entry in study.data
        for fold in folds[entry.name]
        for system in study.systems
    ]
    _check_scores(study, runs)
    return tuple(runs)


def difference(old: Study, new: Study) -> str | None:
    """Name the first key in which two studies differ, or None; where the data lies does not count."""
    one, other = (_without_places(study) for study in (old, new))
    return _difference(one, other, "")


def _recipe(study: Study, system: System, entry: DataEntry) -> Recipe:
    changes = study.set | system.set | entry.set
    try:
        # JSON is YAML, so that the value that is read is the value that was given.
        texts = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in changes.items()]
        return load_recipe(system.recipe, texts)
    except InputError as error:
        raise InputError(f"System {system.name!r} on {entry.name!r}: {error}") from error


def _run(system: str, entry: DataEntry, fold: int | None, seed: int, recipe: Recipe) -> PlannedRun:
    part = "" if fold is None else f"__fold{fold}"
    training = recipe.training.model_copy(update={"seed": seed})
    seeded = recipe.model_copy(update={"training": training})
    return PlannedRun(f"{system}__{entry.name}{part}__seed{seed}", system, entry, fold, seed, seeded)


def _folds(entry: DataEntry) -> list[int | None]:
    where = f"Data entry {entry.name!r}"
    if entry.protocol is None:
        if entry.folds is not None or entry.number_of_folds is not None:
            raise InputError(f"{where}: folds belong to a protocol; name one, or leave the folds out.")
        return [None]
    try:
        number = number_of_folds(entry.protocol, entry.number_of_folds)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if number is None:
        if entry.folds is not None:
            raise InputError(f"{where}: protocol {entry.protocol} has no folds; leave them out.")
        return [None]
    if entry.folds is None or entry.folds == "all":
        return list(range(number))
    chosen = list(entry.folds)
    if not chosen or len(set(chosen)) < len(chosen) or max(chosen) >= number:
        raise InputError(
            f"{where}: folds must be some of 0 to {number - 1}, each once, or all, got {chosen}."
        )
    return list(chosen)


def _check_names(study: Study) -> None:
    """Refuse at once what would otherwise be found after the last training."""
    expand_names(study.evaluate.metrics)
    for entry in study.data:
        refuse_unknown("data set", [entry.dataset], READERS)
    for changes in (study.set, *(s.set for s in study.systems), *(d.set for d in study.data)):
        if "training.seed" in changes:
            raise InputError("set: training.seed comes from the list seeds; name it there.")
    for score in study.compare.scores:
        metric = metric_of(score)
        if metric is None or metric.better == "none":
            raise InputError(f"compare.scores: {score!r} is no score that can be better or worse.")
        if metric.batch or metric.histograms is not None:
            raise InputError(
                f"compare.scores: {score!r} cannot be compared case by case; choose a score per image, a "
                "pooled one or one of labels."
            )
    for row in study.published:
        values = published_values(row.paper, row.table)
        for kind, name, known in (
            ("data set", row.dataset, {value.dataset for value in values}),
            ("method", row.method, {v.method for v in values if v.dataset == row.dataset}),
        ):
            if name not in known:
                table = f"table {row.table} of {row.paper}"
                raise InputError(f"published: {table} has no {kind} {name!r}.{did_you_mean(name, known)}")


def _check_scores(study: Study, runs: list[PlannedRun]) -> None:
    """A score of masks needs a system with mask classes, one of labels a system with labels."""
    for score in study.compare.scores:
        metric = metric_of(score)
        part = "labels" if metric is not None and metric.kind == "label" else "classes"
        if not any(getattr(run.recipe.task, part) for run in runs):
            raise InputError(
                f"compare.scores: {score!r} needs task.{part}, and no system has any; choose another score."
            )


def _without_places(study: Study) -> dict[str, Any]:
    content = study.model_dump(mode="json")
    for entry in content["data"]:
        entry.pop("root")
    for system in content["systems"]:
        if is_recipe_file(system["recipe"]):
            system["recipe"] = Path(system["recipe"]).name  # what it holds is in the hashes of plan.json
    return content


def _difference(old: Any, new: Any, place: str) -> str | None:
    before, now = (json.dumps(value, ensure_ascii=False) for value in (old, new))
    if before == now:
        return None
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, dict) and isinstance(new, dict) and set(old) == set(new):
        for key in old:
            if (
                found := _difference(old[key], new[key], f"{place}.{key}" if place else str(key))
            ) is not None:
                return found
        return f"{place} had another order"  # which decides, for one, which of two labels is the positive one
    return f"{place} was {before}, now {now}"
