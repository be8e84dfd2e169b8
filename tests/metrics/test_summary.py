"""summarise: means, intervals, pooling, labels, groups, and JSON without NaN."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from delineate.checks import InputError
from delineate.metrics import Summary, as_json, summarise


def counts_table(**columns) -> pd.DataFrame:
    base = {"image_id": list("abc"), "tp": [8, 0, 1], "fp": [2, 0, 1], "fn": [0, 0, 3], "tn": [90, 100, 95]}
    return pd.DataFrame(base | columns)


def labelled(classes: int, cases: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), cases)
    table = pd.DataFrame({f"label_probability[{'ABCDEFG'[i]}]": probabilities[:, i] for i in range(classes)})
    hits = rng.random(cases) < 0.4
    table["label"] = np.where(hits, probabilities.argmax(axis=1), rng.integers(0, classes, cases))
    return table


def test_means_leave_skipped_images_out_and_count_the_rest():
    pixels = {"reference_pixels": [8, 0, 4], "predicted_pixels": [10, 0, 2]}
    summary = summarise(counts_table(dice=[0.9, math.nan, 0.3], **pixels))
    dice = summary["dice"]
    assert (dice.mean, dice.n) == (pytest.approx(0.6), 2)
    assert dice.low == pytest.approx(0.3)
    assert dice.high == pytest.approx(0.9)
    assert summary["empty_references"] == Summary(1, None, None, 3)
    assert summary["empty_predictions"] == Summary(1, None, None, 3)
    assert "image_id" not in summary
    assert "tp" not in summary


def test_pooled_scores_come_from_summed_counts():
    summary = summarise(counts_table())
    assert summary["dice_pooled"].mean == pytest.approx(2 * 9 / (2 * 9 + 3 + 3))
    assert summary["iou_pooled"].mean == pytest.approx(9 / 15)
    assert summary["specificity_pooled"].mean == pytest.approx(285 / 288)
    assert summary["dice_pooled"].low < summary["dice_pooled"].mean < summary["dice_pooled"].high
    assert summary["dice_pooled"].n == 3


def test_pooled_scores_of_several_classes_and_their_mean():
    disc = {"tp[disc]": [5, 5], "fp[disc]": [0, 0], "fn[disc]": [5, 5], "tn[disc]": [9, 9]}
    cup = {"tp[cup]": [1, 1], "fp[cup]": [0, 0], "fn[cup]": [0, 0], "tn[cup]": [9, 9]}
    table = pd.DataFrame(disc | cup)
    summary = summarise(table.assign(**{"dice[cup]": [1.0, 0.5], "dice": [0.5, 0.7]}), resamples=50)
    assert summary["iou_pooled[disc]"].mean == 0.5
    assert summary["iou_pooled[cup]"].mean == 1
    assert summary["iou_pooled"].mean == 0.75
    assert summary["dice[cup]"].mean == 0.75


def test_rows_without_a_mask_do_not_enter_pooled_scores():
    nan = math.nan
    counts = {"tp": [4, nan], "fp": [1, nan], "fn": [0, nan], "tn": [5, nan]}
    table = pd.DataFrame(counts | {"reference_pixels": [4, nan]})
    summary = summarise(table)
    assert (summary["precision_pooled"].mean, summary["precision_pooled"].n) == (0.8, 1)
    assert summary["precision_pooled"].low is None
    assert summary["empty_references"].n == 1


def test_one_case_or_one_group_has_no_interval():
    table = pd.DataFrame({"dice": [0.5, 0.7]})
    reason = "An interval needs at least two cases or groups."
    assert summarise(table[:1])["dice"] == Summary(0.5, None, None, 1, reason)
    assert summarise(table, groups=["p", "p"])["dice"].low is None
    assert summarise(table, groups=["p", "q"])["dice"].low == 0.5


def test_groups_widen_the_interval_of_repeated_cases():
    values = np.repeat(np.random.default_rng(0).random(20), 10)
    table, groups = pd.DataFrame({"dice": values}), np.repeat(np.arange(20), 10)
    cases, patients = summarise(table)["dice"], summarise(table, groups=groups)["dice"]
    assert patients.high - patients.low > 2 * (cases.high - cases.low)
    assert patients.mean == cases.mean


def test_a_seed_fixes_the_intervals():
    table = labelled(2)
    assert summarise(table, seed=3) == summarise(table, seed=3)
    assert summarise(table, seed=3)["auc"] != summarise(table, seed=4)["auc"]


def test_chunks_do_not_change_the_result(monkeypatch):
    table = labelled(2, 50)
    whole = summarise(table, resamples=300)
    monkeypatch.setattr("delineate.metrics.resampling._CHUNK", 500)
    chunked = summarise(table, resamples=300)
    assert chunked["auc"].low == pytest.approx(whole["auc"].low, abs=0.05)
    assert chunked["auc"].mean == whole["auc"].mean


def test_label_scores_of_two_and_of_three_classes():
    two = summarise(labelled(2), resamples=200)
    assert {"auc", "average_precision", "label_accuracy", "label_sensitivity"} <= set(two)
    assert not [name for name in two if "[" in name]
    three = summarise(labelled(3), resamples=200)
    assert three["auc"].mean == pytest.approx(np.mean([three[f"auc[{name}]"].mean for name in "ABC"]))
    assert three["balanced_accuracy"].mean == pytest.approx(three["label_sensitivity"].mean)
    for summary in (two, three):
        for name, score in summary.items():
            assert name == "missing_labels" or score.low <= score.mean <= score.high or name == "ece"


def test_one_probability_column_is_the_positive_class():
    table = labelled(2).drop(columns="label_probability[A]")
    assert summarise(table, resamples=10) == summarise(labelled(2), resamples=10)


def test_missing_labels_are_counted():
    table = labelled(2, 40)
    table.loc[:9, "label"] = -1
    table.loc[:9, "label_probability[A]"] = math.nan
    summary = summarise(table.assign(dice=1.0), resamples=50)
    assert (summary["auc"].n, summary["dice"].n, summary["missing_labels"].mean) == (30, 40, 10)
    assert summarise(table[10:], resamples=50)["auc"].mean == summary["auc"].mean


def test_a_single_class_is_null_with_a_reason():
    summary = summarise(labelled(2, 20).assign(label=1), resamples=50)
    reason = "Every labelled case is 'B'; a second class is needed."
    assert summary["auc"] == Summary(None, None, None, 20, reason)
    assert summary["label_sensitivity"].mean is not None


def test_a_rare_class_may_leave_resamples_undefined():
    table = labelled(2, 30).assign(label=[1] + [0] * 29)
    auc = summarise(table)["auc"]  # about 36 % of the resamples hold no positive case
    assert auc.low <= auc.mean <= auc.high


def test_json_has_the_four_keys_and_no_nan():
    table = labelled(2, 20).assign(label=1, dice=math.nan, hd=[1.0] * 20)
    content = as_json(summarise(table, resamples=50))
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text)["dice"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert json.loads(text)["hd"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 20}


def test_no_resamples_no_intervals():
    score = summarise(pd.DataFrame({"dice": [0.5, 0.7]}), resamples=0)["dice"]
    assert (score.mean, score.low, score.high) == (0.6, None, None)


def test_wrong_input():
    with pytest.raises(InputError, match="has no rows; there is nothing to summarise"):
        summarise(pd.DataFrame({"dice": []}))
    with pytest.raises(InputError, match="The column 'hd' of the table of scores holds an infinite value"):
        summarise(pd.DataFrame({"hd": [1.0, math.inf]}))
    with pytest.raises(
        InputError, match="'label' must hold class numbers from 0, or -1 for missing, not names"
    ):
        summarise(labelled(2, 2).assign(label=["A", "B"]))
    with pytest.raises(InputError, match="confidence must be between 0 and 1"):
        summarise(pd.DataFrame({"dice": [1.0]}), confidence=95)
    with pytest.raises(InputError, match="has no column 'fn', which pooled scores need"):
        summarise(counts_table().drop(columns="fn"))
