"""The contract of METRICS: every row is complete, in its range, and best for a perfect prediction."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from delineate.metrics import METRICS, metric_of, score_image, summarise
from delineate.metrics.histograms import Histograms, image_histograms
from delineate.metrics.names import GROUPS
from delineate.metrics.overlap import overlap

PER_IMAGE = {name: row for name, row in METRICS.items() if row.image is not None}
EXTRA = GROUPS["all"]


def all_scores(reference: np.ndarray, probability: np.ndarray, **options) -> dict[str, float]:
    return score_image(
        reference.astype(np.uint8),
        probability.astype(np.float32),
        classes=("lesion",),
        extra=EXTRA,
        **options,
    )


@pytest.mark.parametrize("name", METRICS)
def test_row_is_complete(name):
    row = METRICS[name]
    assert row.description
    assert row.empty
    assert row.source
    assert row.low < row.high
    assert row.better in ("up", "down", "none")
    ways = [
        row.image is not None,
        bool(row.pooled),
        bool(row.batch),
        row.histograms is not None,
        row.labels is not None,
    ]
    assert sum(ways) == (0 if row.kind == "total" else 1)
    assert (row.better == "none") == (row.kind in ("count", "total"))
    assert metric_of(f"{name}@2[A class]") is row
    if row.pooled:
        assert overlap(row.pooled, [1, 0, 0, 1]) == 1


def test_every_image_row_is_a_column():
    columns = all_scores(np.eye(6), np.eye(6))
    assert {name.split("@")[0] for name in columns} == set(PER_IMAGE)


binary = arrays(np.bool_, (6, 5))
grey = arrays(np.float32, (6, 5), elements=st.floats(0, 1, width=32))


@settings(max_examples=60, deadline=None)
@given(binary, grey)
def test_every_score_is_finite_and_in_its_range(reference, probability):
    scores = all_scores(reference, probability, spacing=(0.5, 2.0))
    if reference.all() or not reference.any():
        assert math.isnan(scores.pop("auc_pixel"))
    for name, value in scores.items():
        row = metric_of(name)
        assert row.low - 1e-9 <= value <= row.high + 1e-9, name
        assert math.isfinite(value), name


@settings(max_examples=60, deadline=None)
@given(binary.filter(lambda mask: mask.any() and not mask.all()), grey)
def test_nothing_beats_a_perfect_prediction(reference, probability):
    spacing = (0.5, 2.0)
    best = all_scores(reference, reference, spacing=spacing)
    other = all_scores(reference, probability, spacing=spacing)
    for name, value in best.items():
        better, slack = metric_of(name).better, 1e-6 if name.startswith("msnet") else 1e-9
        if better == "up":
            assert other[name] <= value + slack, name
        elif better == "down":
            assert other[name] >= value - slack, name
    nearly = {name for name in best if name.startswith(("e_measure", "pranet_mean", "msnet_e", "msnet_s"))}
    for name in best.keys() - nearly:  # those are above or below 1 by construction
        row = metric_of(name)
        if row.better != "none":
            assert best[name] == pytest.approx(row.high if row.better == "up" else row.low), name


def test_perfect_labels_and_pooled_scores():
    rows = [all_scores(np.eye(4), np.eye(4)) for _ in range(6)]
    table = pd.DataFrame(rows).assign(label=[0, 1, 0, 1, 0, 1])
    table["label_probability[benign]"] = 1 - table["label"]
    table["label_probability[malignant]"] = table["label"]
    table["image_id"] = list("abcdef")
    histograms = Histograms(("lesion",))
    for image_id in table["image_id"]:
        image = image_histograms(np.eye(4, dtype=np.uint8), np.eye(4), classes=("lesion",))
        histograms.add(image_id, image)
    summary = summarise(table, resamples=20, histograms=histograms, extra=EXTRA)
    for name, row in METRICS.items():
        if row.kind in ("pooled", "batch", "set", "label"):
            column = f"{name}@{row.usual}" if row.usual else name
            wanted = {"up": min(row.high, 1), "down": row.low}[row.better]
            wanted = 16 / 15 if name == "pranet_maxEm" else wanted  # divided by pixels - 1
            assert summary[column].mean == pytest.approx(wanted), name


@pytest.mark.parametrize("empty", ["one", "zero", "skip"])
def test_two_empty_masks(empty):
    nothing = np.zeros((5, 5))
    row = all_scores(nothing, nothing, empty=empty, spacing=(1, 1))
    assert math.isnan(row.pop("auc_pixel"))
    left_out = {name for name, value in row.items() if math.isnan(value)}
    defined = {"specificity", "accuracy"} | {name for name in row if metric_of(name).kind == "count"}
    assert left_out == (set(row) - defined if empty == "skip" else set())
