"""Reading and writing recipes: YAML in, one clear sentence out when a key is wrong."""

import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from delineate.checks import InputError, did_you_mean
from delineate.config import Recipe


class _Loader(yaml.SafeLoader):
    """YAML as users mean it: 1e-4 is a number, yes/no/on/off are words, a key stands only once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"the key {key!r} stands twice; keep one")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, rule) for tag, rule in rules if tag not in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:bool")
    ]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+)$"),
    list("-+.0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|false)$", re.IGNORECASE), list("tTfF")
)


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package, sorted."""
    folder = resources.files("delineate.recipes")
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by its name or from a YAML file.

    Args:
        source: a name that `recipe_names` lists, or the path of a file that ends in .yaml.
        overrides: "section.key=value" each, value written as in YAML; applied in order.

    Raises:
        InputError: no such recipe, or a key is missing, unknown or of the wrong type; the message
            names file and key.
    """
    where, text = _read(source)
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    except InputError as error:
        raise InputError(f"{where}: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold a mapping of sections (task, model, data, ...).")
    for override in overrides:
        _override(content, override)
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


def _read(source: str | Path) -> tuple[str, str]:
    if isinstance(source, Path) or str(source).endswith((".yaml", ".yml")):
        try:
            return str(source), Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Cannot read the recipe {source}: {_reason(error)}.") from error
    names = recipe_names()
    if source not in names:
        raise InputError(f"Unknown recipe {source!r}.{did_you_mean(source, names)} A file must end in .yaml.")
    file = resources.files("delineate.recipes") / f"{source}.yaml"
    return f"{source}.yaml", file.read_text(encoding="utf-8")


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set needs the form section.key=value, got {override!r}.")
    *path, last = key.split(".")
    target: Any = content
    try:
        for step in path:
            target = target[int(step) if isinstance(target, list) else step]
        if isinstance(target, list):
            target[int(last)] = yaml.load(value, Loader=_Loader)  # noqa: S506 - a SafeLoader
        elif isinstance(target, dict):
            target[last] = yaml.load(value, Loader=_Loader)  # noqa: S506 - a SafeLoader
        else:
            raise InputError(f"--set {override}: {'.'.join(path)} has no keys of its own.")
    except KeyError as error:
        options = target.keys() if isinstance(target, dict) else ()
        raise InputError(
            f"--set {override}: unknown key {error.args[0]!r}.{did_you_mean(str(error.args[0]), options)}"
        ) from error
    except (IndexError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--set {override}: no such place in the recipe.") from error
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not valid YAML.") from error


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
