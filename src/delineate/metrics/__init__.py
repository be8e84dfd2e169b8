"""Scores: counts per image, scores from counts, reductions over images, with intervals.

`score_image` makes one row of the per-image table, `summarise` its means with intervals, `METRICS` says what
each score is. The functions behind the rows are in `overlap`, `surface`, `saliency`, `labels` and
`calibration`.
"""

from delineate.metrics.catalogue import METRICS, Metric, metric_of
from delineate.metrics.counts import Counts, count, pool
from delineate.metrics.summary import Summary, as_json, summarise
from delineate.metrics.table import score_image

__all__ = [
    "METRICS",
    "Counts",
    "Metric",
    "Summary",
    "as_json",
    "count",
    "metric_of",
    "pool",
    "score_image",
    "summarise",
]
