"""Label scores and calibration by hand; missing labels, single classes."""

import math

import numpy as np
import pytest

from delineate.checks import InputError
from delineate.metrics import calibration, labels, resampling

PROBABILITY = [0.1, 0.4, 0.35, 0.8]
TARGET = [0, 0, 1, 1]
THREE = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])


def test_two_classes_by_hand():
    assert labels.auc(PROBABILITY, TARGET) == 0.75  # 3 of 4 pairs in order
    assert labels.average_precision(PROBABILITY, TARGET) == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert labels.accuracy(PROBABILITY, TARGET) == 0.75
    assert labels.sensitivity(PROBABILITY, TARGET) == 0.5
    assert labels.specificity(PROBABILITY, TARGET) == 1
    assert labels.balanced_accuracy(PROBABILITY, TARGET) == 0.75
    assert calibration.brier(PROBABILITY, TARGET) == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)


def test_threshold_is_exclusive():
    assert labels.sensitivity([0.5, 0.5, 0.2], [1, 1, 0]) == 0
    assert labels.sensitivity([0.5, 0.5, 0.2], [1, 1, 0], threshold=0.49) == 1
    assert labels.specificity([0.5, 0.5, 0.2], [1, 1, 0], threshold=0.1) == 0


def test_two_columns_are_two_classes():
    table = np.stack([1 - np.array(PROBABILITY), PROBABILITY], axis=1)
    assert labels.auc(table, TARGET) == 0.75
    assert calibration.brier(table, TARGET) == calibration.brier(PROBABILITY, TARGET)


def test_three_classes_by_hand():
    targets = [0, 1, 1, 2]  # predicted 0, 1, 0, 2
    assert labels.accuracy(THREE, targets) == 0.75
    assert labels.sensitivity(THREE, targets) == labels.balanced_accuracy(THREE, targets) == (1 + 0.5 + 1) / 3
    assert labels.specificity(THREE, targets) == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert labels.auc(THREE, targets) == 1
    assert calibration.brier([[0.5, 0.25, 0.25]], [1]) == 0.25 + 0.5625 + 0.0625


def test_a_class_that_does_not_occur_is_left_out_of_the_macro_mean():
    targets = [0, 1, 1, 0]
    read = labels.read_labels(THREE, targets, names=("nevus", "melanoma", "keratosis"))
    assert np.isnan(labels.auc_rows(read)).tolist() == [[False], [False], [True]]
    assert labels.auc(THREE, targets) == pytest.approx(np.nanmean(labels.auc_rows(read)))
    assert labels.why_undefined(read) == "No case is 'keratosis'."


@pytest.mark.parametrize("target", [0, 1])
def test_one_class_only(target):
    probabilities, targets = [0.2, 0.9], [target, target]
    assert math.isnan(labels.auc(probabilities, targets))
    assert math.isnan(labels.average_precision(probabilities, targets))
    assert math.isnan(labels.balanced_accuracy(probabilities, targets))
    assert math.isnan(labels.sensitivity(probabilities, targets)) == (target == 0)
    assert math.isnan(labels.specificity(probabilities, targets)) == (target == 1)
    assert labels.accuracy(probabilities, targets) == 0.5
    read = labels.read_labels(probabilities, targets, names=("benign", "malignant"))
    name = ("benign", "malignant")[target]
    assert labels.why_undefined(read) == f"Every labelled case is '{name}'; a second class is needed."


def test_missing_labels_are_left_out_and_counted():
    read = labels.read_labels([*PROBABILITY, math.nan, 0.3], [*TARGET, -1, -1])
    assert (read.missing, read.targets.size) == (2, 4)
    assert labels.auc([*PROBABILITY, 0.9], [*TARGET, -1]) == 0.75


def test_no_label_at_all():
    scores = (labels.auc, labels.average_precision, labels.accuracy, labels.sensitivity, labels.specificity)
    for score in (*scores, labels.balanced_accuracy, calibration.ece, calibration.brier):
        assert math.isnan(score([0.1, 0.2], [-1, -1]))
    assert labels.why_undefined(labels.read_labels([0.1], [-1])) == "No case has a label."


def test_calibration_by_hand():
    diagram = calibration.calibration([0.1, 0.2, 0.9, 1.0], [0, 1, 1, 1], bins=2)
    np.testing.assert_allclose(diagram.confidence, [0.15, 0.95])
    np.testing.assert_allclose(diagram.frequency, [0.5, 1])
    assert diagram.cases.tolist() == [2, 2]
    assert calibration.ece([0.1, 0.2, 0.9, 1.0], [0, 1, 1, 1], bins=2) == pytest.approx((0.35 + 0.05) / 2)
    assert np.isnan(calibration.calibration([0.9], [1], bins=2).confidence[0])
    # top label: confidences 0.7 (right) and 0.6 (wrong), one bin
    assert calibration.ece(THREE[:2], [0, 0], bins=1) == pytest.approx(0.65 - 0.5)


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        ([0.1, 0.2], [0], r"one target per case, got \[2\] and \[1\]"),
        ([0.1, 0.2], [0, 2], "whole numbers from 0 to 1, or -1 for missing"),
        ([0.1, 0.2], [0, 0.5], "whole numbers from 0 to 1, or -1 for missing"),
        ([0.1, 1.2], [0, 1], "must lie between 0 and 1; pass no logits and no NaN"),
        ([0.1, math.nan], [0, 1], "must lie between 0 and 1; pass no logits and no NaN"),
    ],
)
def test_wrong_labels(probabilities, targets, message):
    with pytest.raises(InputError, match=message):
        labels.auc(probabilities, targets)


def test_wrong_names_and_bins():
    with pytest.raises(InputError, match="3 label names were given for 2 classes"):
        labels.read_labels([0.1], [0], names=("a", "b", "c"))
    with pytest.raises(InputError, match="bins must be at least 1, got 0"):
        calibration.ece([0.1], [0], bins=0)


def test_weights_are_repetitions():
    """A case of weight 2 counts as two cases, of weight 0 as none, also with ties."""
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 5, 40) / 4, rng.random(40) < 0.4
    weights = rng.integers(0, 3, (6, 40)).astype(float)
    for function in (resampling.auc, resampling.average_precision):
        for row in weights:
            repeated = np.repeat(np.arange(40), row.astype(int))
            once = function(scores[repeated], positive[repeated], np.ones((1, repeated.size)))
            np.testing.assert_allclose(function(scores, positive, row[None]), once)


def test_groups_are_drawn_whole():
    index = resampling.group_index(["a", "b", "a", None, math.nan], 5)
    assert index[0] == index[2]
    assert len(set(index.tolist())) == 4
    (weights,) = resampling.resample_weights(index, 200, seed=0)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert set(weights[:, [0, 1, 3, 4]].sum(axis=1)) == {4.0}
    with pytest.raises(InputError, match="got 2 groups for 3 cases"):
        resampling.group_index(["a", "b"], 3)
