"""What a STUDY.yaml may hold, checked key by key."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from delineate.checks import InputError, did_you_mean
from delineate.config import Section

Changes = dict[str, Any]
"""Recipe key with dots -> value, for example {"training.epochs": 20}."""
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*(_[A-Za-z0-9.+-]+)*")
_RECIPE_FILE = (".yaml", ".yml")


class System(Section):
    """One row of the result: a recipe, perhaps with changes."""

    recipe: str
    """A name that `delineate recipes` lists, or a file that ends in .yaml."""
    name: str
    """What tables call it; by default the recipe's name."""
    set: Changes = {}
    """Changes of this system's recipe, on all data."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("recipe"), str) and "name" not in content:
            recipe = content["recipe"]
            return content | {"name": Path(recipe).stem if recipe.endswith(_RECIPE_FILE) else recipe}
        return content


class DataEntry(Section):
    """One data set, with the way it is divided."""

    name: str
    """What tables call it."""
    root: str | None = None
    """Its folder; null when the command names it with --data."""
    dataset: str = "folder"
    """Name of the reader."""
    protocol: str | None = None
    """How it is divided, see `delineate datasets`; null for the data set's own split."""
    folds: Literal["all"] | tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Which folds of the protocol are run, from 0; null and all run every fold that there is."""
    number_of_folds: Annotated[int, Field(ge=2)] | None = None
    """For a protocol that leaves it open, such as k-fold."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of what the protocol draws; the same for every run, so that all are tested on the same cases."""
    accept: tuple[str, ...] = ()
    """Codes of findings of the data gate to train in spite of."""
    set: Changes = {}
    """Changes of every recipe on this data, for example task.classes."""


class EvaluateSettings(Section):
    """How every run is scored."""

    split: Literal["train", "val", "test"] = "test"
    """The split that is scored."""
    metrics: tuple[str, ...] = ()
    """Scores and groups of scores that are computed besides the recipe's own, such as pranet or nsd@2."""


class CompareSettings(Section):
    """Which differences are tested."""

    scores: tuple[str, ...] = ("dice",)
    """Scores that are compared; every one more makes each test harder to pass."""
    baseline: str | None = None
    """The system that all others are compared with; null compares every pair."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Level of the tests, after correction for all of them together."""


class PublishedRow(Section):
    """The row of a published table that stands beside a system's scores."""

    system: str
    """Name of a system of the study."""
    data: str
    """Name of a data entry of the study."""
    paper: str
    """Key of the published papers, for example m2snet."""
    table: str
    """Number of the table, as the paper prints it."""
    dataset: str
    """The data set as the table calls it."""
    method: str
    """The method as the table calls it."""


class Study(Section):
    """Every choice of a study; `plan.load_study` reads it."""

    name: str
    """Title of the report."""
    summary: str = ""
    """What it is to find out."""
    systems: Annotated[tuple[System, ...], Field(min_length=1)]
    """What is compared."""
    data: Annotated[tuple[DataEntry, ...], Field(min_length=1)]
    """On what."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)] = (0,)
    """training.seed of each repetition."""
    set: Changes = {}
    """Changes of every recipe."""
    evaluate: EvaluateSettings = EvaluateSettings()
    compare: CompareSettings = CompareSettings()
    published: tuple[PublishedRow, ...] = ()
    """Published values beside the measured ones."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        systems = _names("system", (system.name for system in self.systems))
        data = _names("data entry", (entry.name for entry in self.data))
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("the seeds must differ from each other")
        if len(set(self.compare.scores)) < len(self.compare.scores):
            raise ValueError("compare.scores must differ from each other")
        if self.compare.baseline is not None:
            _known("compare.baseline", self.compare.baseline, systems)
        for row in self.published:
            _known("published.system", row.system, systems)
            _known("published.data", row.data, data)
        return self


def sentence(error: ValidationError) -> str:
    """Turn pydantic's report into one clause: key, rule, "did you mean"."""
    problems = error.errors(include_url=False)
    # An unknown key explains the missing key that comes with a typo, so it is named first.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    # Behind the number that stands for a tuple's place, pydantic names the kinds of a union; users do not.
    steps = [
        str(step) for step in first["loc"] if not re.match(r"literal|tuple|function|constrained", str(step))
    ]
    key = ".".join(steps) or "the study"
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}.{did_you_mean(steps[-1], _keys_beside(steps))}"
    if first["type"] == "missing":
        return f"the key {key!r} is missing."
    rule = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    if rule.endswith("?"):
        return rule
    if key == "the study":
        return f"{rule}."
    given = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
    return f"{key}: {rule}{given}."


def relative(path: Path, folder: Path) -> str:
    """Write an absolute path as seen from `folder` when both lie near each other, else as it is."""
    shared = os.path.commonpath([path, folder]) if path.anchor == folder.anchor else path.anchor
    return str(path) if shared == path.anchor else Path(os.path.relpath(path, folder)).as_posix()


def is_recipe_file(recipe: str) -> bool:
    """Whether a recipe is named by its file."""
    return recipe.endswith(_RECIPE_FILE)


def _names(kind: str, given: Iterable[str]) -> list[str]:
    names = list(given)
    for name in names:
        if not _FILE_NAME.fullmatch(name) or len(name) > 60 or name.endswith("."):
            raise ValueError(
                f"the {kind} {name!r} needs a name that can be part of a file's: at most 60 letters, digits, "
                "'.', '-', '+' and single '_'"
            )
    lower = [name.lower() for name in names]
    twice = [name for name in names if lower.count(name.lower()) > 1]
    if twice:
        raise ValueError(f"two of kind {kind} are called {twice[0]!r}; give each its own name")
    return names


def _known(what: str, name: str, names: list[str]) -> None:
    if name not in names:
        raise ValueError(f"{what} {name!r} is not in the study.{did_you_mean(name, names)}".rstrip("."))


def _keys_beside(steps: list[str]) -> list[str]:
    section: Any = Study
    for step in steps[:-1]:
        if step.isdigit():
            continue
        section = _section_of(section.model_fields[step].annotation)
        if section is None:
            return []
    return list(section.model_fields)


def _section_of(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    inner = getattr(annotation, "__args__", ())
    return next((found for found in map(_section_of, inner) if found is not None), None)


def refuse_unknown(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise an InputError for the first of `names` that is not `known`."""
    choices = list(known)
    for name in names:
        if name not in choices:
            raise InputError(f"Unknown {kind} {name!r}.{did_you_mean(name, choices)}")
