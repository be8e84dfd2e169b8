"""One class of one image: reference and prediction, with what several scores share computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from delineate.metrics import pranet, saliency
from delineate.metrics.counts import Counts, count
from delineate.metrics.overlap import Empty
from delineate.metrics.reference_shape import ReferenceShape
from delineate.metrics.saliency import FloatMap, saliency_scores
from delineate.metrics.surface import SurfaceDistances, surface_distances


@dataclass(frozen=True)
class Pair:
    """What every per-image score of `METRICS` is computed from; shared parts are made when asked for."""

    reference: npt.NDArray[np.bool_]
    """(H, W), True where the class is."""
    prediction: npt.NDArray[np.bool_]
    """(H, W), True where the class is predicted."""
    probability: FloatMap
    """(H, W), 0 to 1, of the class."""
    spacing: Sequence[float] | None = None
    """Millimetres per pixel, (row, column), or None for pixels."""
    empty: Empty = "one"
    """Policy for scores that empty masks leave undefined."""

    @cached_property
    def counts(self) -> Counts:
        """Pixel counts."""
        return count(self.reference, self.prediction)

    @property
    def skipped(self) -> bool:
        """Whether both masks are empty and the policy leaves such a case out."""
        return self.empty == "skip" and self.counts.reference == 0 and self.counts.prediction == 0

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Distances between the two outlines."""
        return surface_distances(self.reference, self.prediction, spacing=self.spacing)

    @cached_property
    def distances_px(self) -> SurfaceDistances:
        """Distances between the two outlines in pixels, whatever the spacing."""
        return self.distances if self.spacing is None else surface_distances(self.reference, self.prediction)

    @cached_property
    def shape(self) -> ReferenceShape:
        """Facts of the reference that the scores of the raw and of the stretched map share."""
        return ReferenceShape(self.reference)

    @cached_property
    def saliency(self) -> dict[str, float]:
        """Saliency scores of the raw map."""
        return saliency_scores(self.reference, self.probability, shape=self.shape)

    @cached_property
    def saliency_stretched(self) -> dict[str, float]:
        """Saliency scores of the map stretched to 0..1."""
        return saliency_scores(self.reference, self.probability, stretch=True, shape=self.shape)

    @cached_property
    def stretched(self) -> npt.NDArray[np.float64]:
        """The map stretched so that its smallest value is 0 and its largest 1; a constant one as it is."""
        return saliency.prepare(self.reference, self.probability, stretch=True)

    @cached_property
    def curves(self) -> dict[str, npt.NDArray[np.float64]]:
        """PraNet's curves over 256 thresholds."""
        return pranet.curves(pranet.level_histogram(self.reference, self.stretched))

    @cached_property
    def weighted_f_stretched(self) -> float:
        """Weighted F-measure of the stretched map, which both toolboxes print."""
        return saliency.weighted_f(self.reference, self.probability, stretch=True, shape=self.shape)

    @cached_property
    def mae_stretched(self) -> float:
        """Mean absolute error of the stretched map, which both toolboxes print."""
        return float(np.abs(self.stretched - self.reference).mean())
