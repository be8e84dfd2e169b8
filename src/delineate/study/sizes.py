"""Small, medium and large references: the classes in which a report looks for failures."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

_NAMES = ("small", "medium", "large")
_SMALLEST = 6  # cases with an object below which three classes say nothing


@dataclass(frozen=True)
class SizeClass:
    """Cases whose reference has about the same size."""

    name: str
    """small, medium or large."""
    low: float
    """Smallest reference in it, percent of the image."""
    high: float
    """Largest, percent of the image."""
    ids: tuple[str, ...]
    """Cases, in the table's order."""

    @property
    def range(self) -> str:
        """Return "0.8 to 3.1 %"."""
        return f"{self.low:.2g} to {self.high:.2g} %"


def reference_percent(table: pd.DataFrame) -> pd.Series | None:
    """Size of each reference in percent of its image, by row of a per-image table; None without counts."""
    tags = [match[1] for name in table.columns if (match := re.fullmatch(r"tp(\[.+\])?", str(name)))]
    counts = [f"{kind}{tags[0] or ''}" for kind in ("tp", "fp", "fn", "tn")] if tags else []
    if not counts or "reference_pixels" not in table or not set(counts) <= set(table.columns):
        return None
    return 100 * table["reference_pixels"] / table[counts].sum(axis=1)


def size_classes(table: pd.DataFrame) -> tuple[SizeClass, ...]:
    """Divide the cases with an object into thirds by the size of their reference.

    Args:
        table: one row per case, with `image_id`, `reference_pixels` and the counts.

    Returns:
        From small to large; () for fewer than six cases with an object. Equal sizes stay in one class, so a
        class may be missing.
    """
    percent = reference_percent(table)
    if percent is None:
        return ()
    percent = percent[percent > 0]
    if len(percent) < _SMALLEST:
        return ()
    edges = np.quantile(percent, [1 / 3, 2 / 3])
    member = np.searchsorted(edges, percent, side="left")  # up to and with the edge
    classes = []
    for number, name in enumerate(_NAMES):
        inside = percent[member == number]
        if len(inside):
            ids = tuple(table.loc[inside.index, "image_id"].astype(str))
            classes.append(SizeClass(name, float(inside.min()), float(inside.max()), ids))
    return tuple(classes)
