"""Readers: one data set layout = one file with `index(root) -> list[Case]`, entered in the table below."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from delineate.checks import choose
from delineate.data.case import Case
from delineate.data.readers import folder


@dataclass(frozen=True)
class Reader:
    """How to index one kind of data set."""

    index: Callable[[Path], list[Case]]
    """Lists the cases of a data set below its root folder, sorted by id; opens no image."""
    description: str
    """One line for `delineate datasets`."""


READERS: dict[str, Reader] = {
    "folder": Reader(
        folder.index,
        "images/, masks/ (same name), optional labels.csv, split.csv, groups.csv, spacing.csv, classes.csv",
    ),
}


def index(root: Path, dataset: str = "folder") -> list[Case]:
    """List the cases of a data set.

    Args:
        root: folder of the data set.
        dataset: name of the reader, a key of `READERS`.

    Returns:
        The cases, sorted by id.

    Raises:
        InputError: unknown `dataset`, or the folder does not hold what the reader expects.
    """
    return choose("data set", dataset, READERS).index(Path(root))
