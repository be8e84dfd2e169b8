"""One row of METRICS: what a score is, and how it is computed from the one thing it is computed from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from delineate.metrics.labels import FloatArray, Labels

if TYPE_CHECKING:
    from delineate.metrics.histograms import Stack

Kind = Literal[
    "overlap", "saliency", "surface", "toolbox", "pixel", "count", "pooled", "batch", "set", "label", "total"
]


@dataclass(frozen=True)
class Metric:
    """One row: what a score is, and how to compute it from the one thing it is computed from."""

    kind: Kind
    """overlap, saliency, surface, toolbox, pixel: per image, averaged. count: per image, not averaged.
    pooled: from the counts of all images. batch: from the counts of each batch, averaged over batches. set:
    from the histograms of all images. label: from the labels of all cases. total: a number of cases, not
    averaged."""
    description: str
    """One line, with the formula."""
    low: float
    """Smallest value."""
    high: float
    """Largest value, may be infinite."""
    better: Literal["up", "down", "none"]
    """Which direction is better; "none" for a description of the data."""
    unit: str
    """"" for a plain number, else "px or mm", "px", "mm", "cases"."""
    empty: str
    """What an empty reference, an empty prediction and both give; for labels, when it is undefined."""
    source: str
    """Paper or library that fixes the rule."""
    image: Callable[..., float] | None = None
    """Pair -> score of one image; takes the number after "@" second when `parameter` is set."""
    pooled: str = ""
    """Name of the overlap formula that is applied to summed counts."""
    batch: str = ""
    """Name of the overlap formula that is applied to the summed counts of each batch."""
    histograms: "Callable[[Stack, FloatArray], FloatArray] | None" = None
    """Histograms of N images, weights (R, N) -> (R,)."""
    labels: Callable[[Labels, FloatArray | None], FloatArray] | None = None
    """Labels, weights (R, N) or None -> one row per class (classes, R)."""
    parameter: str = ""
    """What the number in `name@number` means; "" when the name takes none."""
    usual: str = ""
    """The number that a group of names asks for; "" when the number may be left out."""
    default: bool = True
    """Whether it is computed without being asked for."""
