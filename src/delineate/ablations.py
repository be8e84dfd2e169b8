"""The papers' ablation tables: each row is a recipe, written as what it changes in a base recipe."""

from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from delineate.yaml_io import read_yaml


class AblationRow(BaseModel):
    """One row of a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    """What the paper calls the row."""
    changes: dict[str, Any] = Field(alias="set")
    """Dotted key -> value that replaces the base recipe's."""


class Ablation(BaseModel):
    """One table of a paper."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: str
    """Name of the paper, as in docs/papers/."""
    table: str
    """Number of the table, as the paper prints it."""
    summary: str
    """One line."""
    base: str
    """Name of the recipe that the rows change."""
    rows: dict[str, AblationRow]
    """Name of the row -> its changes."""


@cache
def ablations() -> MappingProxyType[str, Ablation]:
    """Return every table that comes with the package: name, for example "m2snet.table7" -> table."""
    folder = resources.files("delineate.recipes") / "ablations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return MappingProxyType(
        {
            file.name.removesuffix(".yaml"): Ablation.model_validate(
                read_yaml(file.read_text(encoding="utf-8"), file.name)
            )
            for file in files
        }
    )


def ablation_row(name: str) -> tuple[Ablation, AblationRow] | None:
    """Return the table and the row that a recipe name such as "m2snet.table7.order-2" means, or None."""
    table, _, row = name.rpartition(".")
    found = ablations().get(table)
    return (found, found.rows[row]) if found is not None and row in found.rows else None
