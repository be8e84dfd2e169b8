"""Write docs/reference/ from the tables of the package: `python tools/reference.py`. A test compares them."""

import types
import typing
from pathlib import Path

from pydantic import BaseModel

import reference_datasets
import reference_measurements
from delineate.config import Recipe
from delineate.losses import LOSSES
from delineate.metrics import METRICS
from delineate.models import MODELS, PLUGINS

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by tools/reference.py; change the tables in the package, not this file. -->\n"


def pages() -> dict[str, str]:
    """Return file name -> text of every generated page."""
    return {
        "metrics.md": metrics(),
        "models.md": models(),
        "losses.md": losses(),
        "recipe.md": recipe(),
        "datasets.md": reference_datasets.page(),
        "measurements.md": reference_measurements.page(),
    }


def metrics() -> str:
    """Every score: definition, range, direction, empty rule, source."""
    rows = [
        (f"`{name}`", m.kind, m.description, _range(m.low, m.high), m.better, m.unit, m.empty, m.source)
        for name, m in METRICS.items()
    ]
    intro = """Scores are computed per image first, at the reference's own size, probability > 0.5 (or the
recipe's threshold). Means and 95 % bootstrap intervals are views of that table. A name fixes its rule; two
rules have two names. Multi-class tables have one column per class, `dice[NAME]`, and the plain name is their
mean.

Kinds: overlap, saliency and surface are per image and averaged; count is per image and not averaged; pooled
sums the pixel counts of all images first; toolbox and pixel are per image and averaged; batch sums the counts
of each batch and averages over batches; set is computed from the histograms of
all images; label is computed from the labels of all cases; total is a number of cases.
"""
    head = ("name", "kind", "definition", "range", "better", "unit", "empty masks, undefined", "source")
    return _page("Metrics", intro, head, rows)


def models() -> str:
    """Every model with its options."""
    rows = []
    for name, spec in MODELS.items():
        options = ", ".join(f"`{key}: {default}`" for key, (_, default) in spec.options.items())
        rows.append(
            (f"`{name}`", spec.summary, spec.encoder, "yes" if spec.classifies else "no", options, spec.paper)
        )
    for name, row in PLUGINS.items():
        options = ", ".join(f"`{key}: {default}`" for key, (_, default) in row.options.items())
        rows.append((f"`+{name}`", row.summary, "", "yes" if row.classifies else "no", options, row.paper))
    intro = """`model.encoder` takes any network of timm that gives feature maps; the column names the
default. Rows with a plus sign are plug-ins for any model, as in `unet+dsmca+hlf`; one that classifies comes
last.
"""
    return _page(
        "Models", intro, ("name", "what it is", "encoder", "labels", "options and defaults", "paper"), rows
    )


def losses() -> str:
    """Every loss with its options."""
    rows = [
        (
            f"`{name}`",
            spec.summary,
            ", ".join(spec.kinds),
            ", ".join(f"`{key}`" for key in spec.options),
            spec.source,
        )
        for name, spec in LOSSES.items()
    ]
    intro = "All are computed in float32, whatever the network's precision.\n"
    return _page("Losses", intro, ("name", "what it is", "for", "options", "source"), rows)


def recipe() -> str:
    """Every key of a recipe."""
    lines = [f"{NOTE}# Recipe\n", f"{Recipe.__doc__}\n", "Every key must be there; no key has a default.\n"]
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            lines += [f"## {name}", f"{section.__doc__}\n", *_keys(section), ""]
        else:
            lines += [f"**{name}** ({_type(section)}): {field.description}\n"]
    return "\n".join(lines)


def _keys(section: type[BaseModel]) -> list[str]:
    lines = ["| key | type | meaning |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `{name}` | {_type(field.annotation)} | {_cell(meaning)} |")
    for field in section.model_fields.values():
        inner = typing.get_args(field.annotation)[:1]
        if inner and isinstance(inner[0], type) and issubclass(inner[0], BaseModel):
            lines += ["", f"Each term: {inner[0].__doc__}", "", *_keys(inner[0])]
            break
    return lines


def _type(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return " \\| ".join(str(value) for value in typing.get_args(annotation))
    if isinstance(annotation, types.UnionType):
        return " \\| ".join(_type(part) for part in typing.get_args(annotation))
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return {"LossTerm": "term"}.get(annotation.__name__, annotation.__name__)
    if typing.get_origin(annotation) is typing.Annotated:
        return _type(typing.get_args(annotation)[0])
    parts = [_type(part) for part in typing.get_args(annotation) if part is not Ellipsis]
    kind = "mapping" if typing.get_origin(annotation) is dict else "list"
    return f"{kind} of {', '.join(parts)}"


def _range(low: float, high: float) -> str:
    return f"{low:g} to {high:g}" if high != float("inf") else f"from {low:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _page(title: str, intro: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    table = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    table += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return f"{NOTE}# {title}\n\n{intro}\n" + "\n".join(table) + "\n"


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
