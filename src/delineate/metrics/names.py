"""Names of scores as a user writes them: one score, one with its number (`nsd@2`), or a group of scores."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from delineate.checks import InputError, did_you_mean
from delineate.metrics.catalogue import METRICS, Metric
from delineate.metrics.conventions import LAYERS, MSNET, PIXELS, PRANET, UNITS


class Chosen(NamedTuple):
    """One score that was asked for."""

    column: str
    """As it was written, `name` or `name@number`."""
    name: str
    """Key of METRICS."""
    metric: Metric
    """Its row."""
    number: float | None
    """What stands after "@"."""


def _usual(name: str) -> str:
    return f"{name}@{METRICS[name].usual}" if METRICS[name].usual else name


def _groups() -> dict[str, tuple[str, ...]]:
    def of_kind(*kinds: str) -> list[str]:
        return [name for name, row in METRICS.items() if row.kind in kinds]

    saliency = of_kind("saliency")
    surface = [name for name in of_kind("surface") if name not in LAYERS]
    names: dict[str, Iterable[str]] = {
        "overlap": of_kind("overlap"),
        "pooled": of_kind("pooled"),
        "batch": of_kind("batch"),
        "saliency": [name for name in saliency if not name.endswith("_stretched")],
        "stretched": [name for name in saliency if name.endswith("_stretched")],
        "boundary": [name for name in surface if name not in UNITS],
        "boundary_px": [name for name in UNITS if name.endswith("_px")],
        "boundary_mm": [name for name in UNITS if name.endswith("_mm")],
        "layers": LAYERS,
        "pranet": PRANET,
        "msnet": MSNET,
        "pixels": PIXELS,
        "labels": of_kind("label"),
        "all": [name for name, row in METRICS.items() if row.kind not in ("count", "total")],
    }
    return {group: tuple(_usual(name) for name in members) for group, members in names.items()}


GROUPS: dict[str, tuple[str, ...]] = _groups()
"""Group -> its scores. Scores that need a number stand there with a usual one: tolerance 2, batches of 8."""


def read_name(column: str) -> Chosen:
    """Look up one score, with its number when it takes one.

    Raises:
        InputError: there is no such score, its number is lacking, wrong or too much, or it is a count or a
            total, which is always there.
    """
    name, at, number = column.partition("@")
    known = {key: row for key, row in METRICS.items() if row.kind not in ("count", "total")}
    if name in METRICS and name not in known:
        raise InputError(f"{name!r} is counted always; leave it out of the names of scores.")
    if name not in known:
        raise InputError(f"Unknown metric {name!r}.{did_you_mean(name, known)}")
    metric = known[name]
    if (at and not metric.parameter) or (not at and metric.usual):
        form = f"{name}@NUMBER, the {metric.parameter}" if metric.parameter else name
        raise InputError(f"The metric {column!r} is not complete or takes no number; write {form}.")
    return Chosen(column, name, metric, _number(column, name, metric, number) if at else None)


def _number(column: str, name: str, metric: Metric, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        example = metric.usual or "0.3"
        raise InputError(
            f"The metric {column!r} needs a number after '@', for example {name}@{example}."
        ) from error
    if metric.batch and (value < 1 or value != int(value)):
        raise InputError(f"The metric {column!r} needs a whole number of images from 1, such as {name}@8.")
    if metric.labels is not None and not 0 <= value <= 1:
        raise InputError(f"The metric {column!r} needs a probability from 0 to 1, such as {name}@0.3.")
    if not 0 <= value < float("inf"):
        raise InputError(f"The metric {column!r} needs a finite number of at least 0, such as {name}@2.")
    return value


def expand_names(names: Sequence[str]) -> tuple[str, ...]:
    """Turn names of scores and of groups into names of scores, each once, in the order they were given.

    `score_image` and `summarise` both take the result as `extra`: each computes what is its own.

    Args:
        names: for example ["pranet", "hd95", "nsd@2"]; the groups are in `GROUPS`.

    Raises:
        InputError: a name is neither a score nor a group, or its number is lacking or wrong.
    """
    if isinstance(names, str):
        raise InputError(f"Names of scores must be a sequence of names, got {names!r}; put it into a list.")
    found: dict[str, None] = {}
    for name in names:
        if name not in GROUPS and name.partition("@")[0] not in METRICS:
            raise InputError(f"Unknown metric or group {name!r}.{did_you_mean(name, [*METRICS, *GROUPS])}")
        found |= dict.fromkeys(GROUPS[name] if name in GROUPS else (read_name(name).column,))
    return tuple(found)


def needs_histograms(names: Iterable[str]) -> bool:
    """Whether one of these scores is computed from the histograms of all images."""
    return any(read_name(name).metric.histograms is not None for name in names)
