"""Reading and writing recipes: YAML in, one clear sentence out when a key is wrong."""

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from delineate.ablations import ablation_row, ablations
from delineate.checks import InputError, did_you_mean
from delineate.config import Recipe
from delineate.yaml_io import read_yaml


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package, sorted; rows of ablation tables not."""
    folder = resources.files("delineate.recipes")
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def ablation_names() -> list[str]:
    """Return the names of the recipes that are rows of a paper's ablation table, in the papers' order."""
    return [f"{name}.{row}" for name, table in ablations().items() for row in table.rows]


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by its name or from a YAML file.

    Args:
        source: a name of `recipe_names` or `ablation_names`, or the path of a file that ends in .yaml.
        overrides: "section.key=value" each, value written as in YAML; applied in order.

    Raises:
        InputError: no such recipe, or a key is missing, unknown or of the wrong type; the message
            names file and key.
    """
    where, content = _read(source)
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold a mapping of sections (task, model, data, ...).")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise InputError(f"--set needs the form section.key=value, got {override!r}.")
        _override(content, key, read_yaml(value, f"--set {override}: the value"), f"--set {override}")
    return parse_recipe(content, where=f"{where} with --set" if overrides else where)


def parse_recipe(content: dict[str, Any], *, where: str) -> Recipe:
    """Check a nested dict against the recipe's sections.

    Args:
        content: what a recipe file holds.
        where: file or name for messages.

    Raises:
        InputError: as `load_recipe`.
    """
    try:
        # The JSON mode is strict about types and still takes a list where a tuple is declared.
        return Recipe.model_validate_json(json.dumps(content))
    except (TypeError, ValueError) as error:
        if not isinstance(error, ValidationError):
            raise InputError(f"{where}: {error}.") from error
        raise InputError(_one_line(error, content, where)) from error


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as complete YAML text that `load_recipe` reads back to an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def _read(source: str | Path) -> tuple[str, Any]:
    """Return what to call the recipe in messages, and its content."""
    if isinstance(source, Path) or str(source).endswith((".yaml", ".yml")):
        try:
            return str(source), read_yaml(Path(source).read_text(encoding="utf-8"), str(source))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Cannot read the recipe {source}: {_reason(error)}.") from error
    found = ablation_row(source)
    if found is not None:
        table, row = found
        _, content = _read(table.base)
        for key, value in row.changes.items():
            _override(content, key, value, source)
        content["name"] = source
        content["summary"] = f"{table.paper}, table {table.table}, row {row.label!r}: {table.summary}"
        content["source"] = f"As {table.base}, with {', '.join(row.changes) or 'nothing'} changed."
        return source, content
    names = [*recipe_names(), *ablation_names()]
    if source not in names:
        raise InputError(f"Unknown recipe {source!r}.{did_you_mean(source, names)} A file must end in .yaml.")
    file = resources.files("delineate.recipes") / f"{source}.yaml"
    return f"{source}.yaml", read_yaml(file.read_text(encoding="utf-8"), file.name)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"


def _override(content: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Put `value` at the dotted `key`; everything above the last step must be there already."""
    *path, last = key.split(".")
    target: Any = content
    try:
        for step in path:
            target = target[int(step) if isinstance(target, list) else step]
        if isinstance(target, list):
            target[int(last)] = value
        elif isinstance(target, dict):
            target[last] = value
        else:
            raise InputError(f"{where}: {'.'.join(path)} has no keys of its own.")
    except KeyError as error:
        options = target.keys() if isinstance(target, dict) else ()
        raise InputError(
            f"{where}: unknown key {error.args[0]!r}.{did_you_mean(str(error.args[0]), options)}"
        ) from error
    except (IndexError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: no such place in the recipe.") from error


def _one_line(error: ValidationError, content: Any, where: str) -> str:
    """Turn pydantic's report into one sentence: file, key, rule, "did you mean"."""
    problems = error.errors(include_url=False)
    # An unknown key explains the missing key that comes with a typo, so it is named first.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    steps = [step for step in first["loc"] if step not in ("bool", "str")]
    key = ".".join(str(step) for step in steps) or "the recipe"
    if first["type"] == "extra_forbidden":
        siblings = [
            other["loc"][-1]
            for other in problems
            if other["type"] == "missing" and other["loc"][:-1] == first["loc"][:-1]
        ]
        known = [str(name) for name in siblings] or _keys_beside(steps)
        message = f"unknown key {key!r}.{did_you_mean(str(steps[-1]), known)}"
    elif first["type"] == "missing":
        message = f"the key {key!r} is missing; recipes are complete, `delineate recipes NAME` prints one."
    else:
        rule = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        given = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
        message = f"{key}: {rule}{given}."
    more = len({tuple(problem["loc"][:2]) for problem in problems}) - 1
    return f"{where}: {message}" + (
        f" (and {more} more)" if more > 0 and first["type"] != "extra_forbidden" else ""
    )


def _keys_beside(steps: Sequence[str | int]) -> list[str]:
    section: Any = Recipe
    for step in steps[:-1]:
        if isinstance(step, int):
            continue
        annotation = section.model_fields[step].annotation
        section = next(
            (a for a in (annotation, *getattr(annotation, "__args__", ())) if hasattr(a, "model_fields")),
            None,
        )
        if section is None:
            return []
    return list(section.model_fields)
