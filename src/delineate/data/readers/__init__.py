"""Readers: one data set layout = one file with `index(root) -> list[Case]`, entered in the table below."""

from pathlib import Path

from delineate.checks import InputError, choose
from delineate.data.case import Case
from delineate.data.readers import folder
from delineate.data.readers.about import About, Download, Reader, count_faults

__all__ = ["READERS", "About", "Download", "Reader", "count_faults", "index"]

READERS: dict[str, Reader] = {
    "folder": Reader(
        folder.index,
        "images/, masks/ (same name), optional labels.csv, split.csv, groups.csv, spacing.csv, classes.csv",
    ),
}


def index(root: Path, dataset: str = "folder", *, partial: bool = False) -> list[Case]:
    """List the cases of a data set.

    Args:
        root: folder of the data set.
        dataset: name of the reader, a key of `READERS`.
        partial: accept a part that holds another number of cases than the publisher's.

    Returns:
        The cases, sorted by id.

    Raises:
        InputError: unknown `dataset`, the folder does not hold what the reader expects, or a part of a
            published data set is incomplete.
    """
    reader = choose("data set", dataset, READERS)
    cases = reader.index(Path(root))
    if reader.about is not None and not partial and (faults := count_faults(reader.about, cases)):
        raise InputError(faults[0])
    return cases
