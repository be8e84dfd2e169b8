"""Every figure of the papers' tables, as printed and as a number.

`<paper>.csv` holds the tables as they were read from the papers' texts: paper, table, dataset, task, method,
metric, value, note. `additions.csv` holds what those files lack: the scores of M2SNet's table 8.
Values stay text, as printed: "0.912" or "79.21±1.28".
"""

import csv
import re
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

import pandas as pd

from delineate.checks import InputError, choose

PAPERS = {
    "fcp-net": "Liu et al., FCP-Net: A Feature-Compression-Pyramid Network Guided by Game-Theoretic "
    "Interactions for Medical Image Segmentation, IEEE Transactions on Medical Imaging 2022",
    "ulffn": "Upper and Lower Layers Feature Fusing Network, on ISIC 2016 and ISIC 2017",
    "clnet": "Zhang et al., Feature Fusion for Segmentation and Classification of Skin Lesions, ISBI 2021",
    "chnet": "Wei et al., Only Classification Head is Sufficient for Medical Image Segmentation, PRCV 2023",
    "m2snet": "Zhao et al., M2SNet: Multi-scale in Multi-scale Subtraction Network for Medical Image "
    "Segmentation, arXiv:2303.10894",
}
"""Paper -> where its tables are; the keys are the values of the column `paper`."""

COLUMNS = ("paper", "table", "dataset", "task", "method", "metric", "value", "note")
ADDITIONS = "additions"

_IN_PERCENT = {
    ("chnet", "2", "busi"),
    ("clnet", "1", "isic2017 melanoma"),
    ("clnet", "1", "isic2017 seborrheic keratosis"),
    ("clnet", "1", "isic2017 mean of both"),
    ("clnet", "2", "isic2017"),
    ("m2snet", "4", "busi"),
    ("m2snet", "8", "busi"),
}
_VALUE = re.compile(r"(?P<mean>\d+(?:\.(?P<decimals>\d+))?)(?:±(?P<sd>\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class PublishedValue:
    """One figure of one table."""

    paper: str
    """Key of `PAPERS`."""
    table: str
    """Number as the paper prints it: "2", "XIII"; "text IV.B.1" for a figure of the running text."""
    dataset: str
    """As the paper calls it; "" for a figure of no data set."""
    task: str
    """segmentation, classification, ablation, efficiency, or t-test p-value."""
    method: str
    """Row of the table."""
    metric: str
    """The paper's word; `conventions` says which of our scores it may mean."""
    value: str
    """As printed."""
    note: str
    """What limits it, or ""."""
    mean: float
    """The number; percentages as a fraction, so that it compares with our scores."""
    sd: float | None
    """Standard deviation where printed, in the unit of `mean`; over folds in all these tables."""
    percent: bool
    """Whether the paper prints percent."""
    resolution: float
    """One in the last digit printed, in the unit of `mean`: nothing finer can be compared."""


def load_published(paper: str | None = None, table: str | int | None = None) -> pd.DataFrame:
    """Load published values, one row each.

    Args:
        paper: key of `PAPERS`; None for all.
        table: of that paper, "2" or "XIII"; None for all.

    Returns:
        One column per field of `PublishedValue`; `sd` is NaN where none is printed.

    Raises:
        InputError: the paper or its table is unknown, or a table was named without its paper.
    """
    frame = pd.DataFrame([asdict(value) for value in published_values(paper, table)])
    return frame.astype({"sd": "float64"})


def published_values(paper: str | None = None, table: str | int | None = None) -> tuple[PublishedValue, ...]:
    """Return the rows of `load_published` as `PublishedValue`."""
    if paper is None:
        if table is not None:
            raise InputError(f"Table {table} of which paper? Name one of: {', '.join(PAPERS)}.")
        return _all()
    choose("paper", paper, PAPERS)
    values = [value for value in _all() if value.paper == paper]
    if table is None:
        return tuple(values)
    choose(f"table of {paper}", str(table), {value.table: None for value in values})
    return tuple(value for value in values if value.table == str(table))


@cache
def _all() -> tuple[PublishedValue, ...]:
    return tuple(value for name in (*PAPERS, ADDITIONS) for value in _read(name))


def _read(name: str) -> list[PublishedValue]:
    text = files(__package__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    head, *rows = csv.reader(text.splitlines())
    if tuple(head) != COLUMNS:
        raise InputError(f"{name}.csv must have the columns {', '.join(COLUMNS)}; install the package again.")
    return [_parsed(*row) for row in rows]


def _parsed(
    paper: str, table: str, dataset: str, task: str, method: str, metric: str, value: str, note: str
) -> PublishedValue:
    match = _VALUE.fullmatch(value)
    if match is None:
        raise InputError(f"The published value {value!r} of {method} in {paper} {table} is no number.")
    percent = (paper, table, dataset) in _IN_PERCENT
    shift = 2 if percent else 0  # rounded below, so that 79.21 % is 0.7921 and not 0.7920999...
    decimals = len(match["decimals"] or "") + shift
    sd = None if match["sd"] is None else round(float(match["sd"]) / 10**shift, decimals)
    return PublishedValue(
        paper=paper,
        table=table,
        dataset=dataset,
        task=task,
        method=method,
        metric=metric,
        value=value,
        note=note,
        mean=round(float(match["mean"]) / 10**shift, decimals),
        sd=sd,
        percent=percent,
        resolution=round(10.0**-decimals, decimals),
    )
