"""How each published table is repeated: data of the package, one YAML file per paper in `reproduction/`."""

import json
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from delineate.checks import InputError, choose
from delineate.config import Section
from delineate.study.published import PAPERS, published_values
from delineate.yaml_io import read_yaml

COST = {
    "params_m": "parameters, millions",
    "gmacs": "multiply-adds of one image, 10^9",
    "inference_ms": "time of one forward pass of one image, milliseconds, on this machine",
}
"""What a network costs, measured without data: the paper's word -> what is measured."""
EPOCHS = "epochs_to_early_stop"
"""The paper's word for the number of epochs that were trained."""

_REASONS = {
    "code": "There is no code here for this network.",
    "label": "No network here gives labels without a mask branch.",
    "team": "The entry of another team of the challenge; there is no code for it.",
}

Changes = dict[str, Any]


class Source(Section):
    """Where cases come from."""

    folder: str
    """Below the folder that the user names."""
    dataset: str = "folder"
    """Name of the reader; a plain folder with the publisher's ids is taken too."""
    protocol: str
    """How the paper divides it."""
    make: str = ""
    """The command that makes the folder out of what publishers offer."""
    hidden: str = ""
    """Why no score can be had on it, or ""."""


class Part(Section):
    """What a published column is measured on."""

    source: str | None = None
    """Key of `sources`; null for what is measured without data."""
    recipe: str
    """Recipe of the paper's own network."""
    ids: str = ""
    """Only the test cases whose id begins so."""
    test_on: str | None = None
    """Key of `sources` whose test cases are scored instead."""
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    """Height and width at which costs are measured; the recipe's by default."""


class Row(Section):
    """One method of a table: nothing is said about the paper's own network but that it is run."""

    recipe: str | None = None
    """In place of the parts' recipes, for example a row of an ablation table."""
    like: str | None = None
    """Key of `presets`: changes of the recipe."""
    parts: tuple[str, ...] | None = None
    """Only these parts, where one training serves them all."""
    against: str | None = None
    """Recipe that the row is tested against, for p-values."""
    cannot: str | None = None
    """Why it cannot be run."""
    note: str = ""
    """What limits the comparison."""


class TableSpec(Section):
    """How one table is repeated."""

    title: str
    """What it shows."""
    scores_of: str | None = None
    """Table whose words mean the same scores, for a table of p-values."""
    parts: dict[str, Part]
    """What is measured."""
    columns: dict[str, tuple[str, ...]]
    """Data set as the table calls it -> parts, whose mean it is when there are several."""
    metrics: dict[str, tuple[str, ...]] = {}
    """Words whose parts differ from their column's."""
    rows: dict[str, Row]
    """Method as the table calls it -> how it is run."""


class PaperSpec(Section):
    """How the tables of one paper are repeated."""

    sources: dict[str, Source]
    """Data sets by name."""
    presets: dict[str, Changes]
    """Changes of a recipe by name: networks that the paper compares with."""
    notes: dict[str, str] = {}
    """Sentences that rows name."""
    tables: dict[str, TableSpec]
    """Tables by number."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, table in self.tables.items():
            groups = [*table.columns.values(), *table.metrics.values()]
            groups += [row.parts or () for row in table.rows.values()]
            sources = [one for part in table.parts.values() for one in (part.source, part.test_on)]
            for kind, found, known in (
                ("part", [part for names in groups for part in names], table.parts.keys()),
                ("source", [one for one in sources if one is not None], self.sources.keys()),
                ("preset", [r.like for r in table.rows.values() if r.like is not None], self.presets.keys()),
            ):
                for one in found:
                    if one not in known:
                        raise ValueError(f"table {name}: unknown {kind} {one!r}")
        return self

    def reason(self, row: Row) -> str:
        """Why a row cannot be run, a sentence; "" when it can."""
        return "" if row.cannot is None else self.notes.get(row.cannot, _REASONS.get(row.cannot, row.cannot))

    def note(self, row: Row) -> str:
        """What limits a row's comparison, a sentence, or ""."""
        return self.notes.get(row.note, row.note)


@cache
def paper_spec(paper: str) -> PaperSpec:
    """Read how a paper's tables are repeated.

    Raises:
        InputError: there is no such paper.
    """
    choose("paper", paper, PAPERS)
    name = f"{paper}.yaml"
    text = files("delineate.study").joinpath("reproduction", name).read_text(encoding="utf-8")
    try:
        return PaperSpec.model_validate_json(json.dumps(read_yaml(text, name)))
    except ValidationError as error:
        found = error.errors()[0]["msg"]
        raise InputError(f"{name} is damaged ({found}); install the package again.") from error


def table_spec(paper: str, table: str) -> tuple[PaperSpec, TableSpec]:
    """Read how one table is repeated.

    Raises:
        InputError: there is no such paper or table.
    """
    published_values(paper, table)  # names the tables that there are
    spec = paper_spec(paper)
    return spec, choose(f"table of {paper}", str(table), spec.tables)
