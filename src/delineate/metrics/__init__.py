"""Scores: counts per image, scores from counts, reductions over images, with intervals.

`score_image` makes one row of the per-image table, `summarise` its means with intervals, `METRICS` says what
each score is; `expand_names` chooses some by name or group. The functions behind the rows are in `overlap`,
`surface`, `saliency`, `pranet`, `msnet`, `pixels`, `layers`, `labels` and `calibration`.
"""

from delineate.metrics.catalogue import METRICS, Metric, metric_of
from delineate.metrics.counts import Counts, count, pool
from delineate.metrics.histograms import Histograms, ImageHistograms, image_histograms
from delineate.metrics.names import GROUPS, expand_names, needs_histograms
from delineate.metrics.summary import Summary, as_json, summarise
from delineate.metrics.table import score_image

__all__ = [
    "GROUPS",
    "METRICS",
    "Counts",
    "Histograms",
    "ImageHistograms",
    "Metric",
    "Summary",
    "as_json",
    "count",
    "expand_names",
    "image_histograms",
    "metric_of",
    "needs_histograms",
    "pool",
    "score_image",
    "summarise",
]
