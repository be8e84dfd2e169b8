"""Counts and overlap scores: hand-computed values, every empty case, identities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delineate.checks import InputError
from delineate.metrics import overlap
from delineate.metrics.counts import Counts, count, pool

SCORES = ("dice", "iou", "precision", "sensitivity", "specificity", "accuracy", "dice_fgbg")
pixels = st.integers(0, 10_000)
any_counts = st.builds(Counts, pixels, pixels, pixels, pixels).filter(lambda counts: sum(counts) > 0)


def masks(reference: str, prediction: str) -> tuple[np.ndarray, np.ndarray]:
    return tuple(
        np.array([[*map(int, row)] for row in text.split()], bool) for text in (reference, prediction)
    )


def test_counts_of_a_small_image():
    reference, prediction = masks("1100 1100", "0110 0100")
    counts = count(reference, prediction)
    assert counts == Counts(tp=2, fp=1, fn=2, tn=3)
    assert (counts.reference, counts.prediction) == (4, 3)
    assert counts.flipped == Counts(tp=3, fp=2, fn=1, tn=2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dice", 4 / 7),
        ("iou", 2 / 5),
        ("precision", 2 / 3),
        ("sensitivity", 2 / 4),
        ("specificity", 3 / 4),
        ("accuracy", 5 / 8),
        ("dice_fgbg", (4 / 7 + 6 / 9) / 2),
    ],
)
def test_scores_of_a_small_image(name, value):
    assert getattr(overlap, name)(Counts(2, 1, 2, 3)) == pytest.approx(value, abs=1e-15)


NAN = math.nan
EMPTY_CASES = {  # counts: (score: value under zero, one, skip)
    "both empty": (
        Counts(0, 0, 0, 9),
        {
            "dice": (0, 1, NAN),
            "iou": (0, 1, NAN),
            "precision": (0, 1, NAN),
            "sensitivity": (0, 1, NAN),
            "specificity": (1, 1, 1),
            "accuracy": (1, 1, 1),
            "dice_fgbg": (0.5, 1, NAN),
        },
    ),
    "reference empty": (
        Counts(0, 3, 0, 6),
        {
            "dice": (0, 0, 0),
            "iou": (0, 0, 0),
            "precision": (0, 0, 0),
            "sensitivity": (0, 0, 0),
            "specificity": (6 / 9,) * 3,
            "accuracy": (6 / 9,) * 3,
            "dice_fgbg": (0.4, 0.4, 0.4),
        },
    ),
    "prediction empty": (
        Counts(0, 0, 3, 6),
        {
            "dice": (0, 0, 0),
            "iou": (0, 0, 0),
            "precision": (0, 0, 0),
            "sensitivity": (0, 0, 0),
            "specificity": (1, 1, 1),
            "accuracy": (6 / 9,) * 3,
            "dice_fgbg": (0.4, 0.4, 0.4),
        },
    ),
    "reference full": (
        Counts(6, 0, 3, 0),
        {"dice": (0.8,) * 3, "precision": (1,) * 3, "sensitivity": (6 / 9,) * 3, "specificity": (0, 0, 0)},
    ),
    "both full": (
        Counts(9, 0, 0, 0),
        {"dice": (1,) * 3, "iou": (1,) * 3, "specificity": (0, 1, NAN), "dice_fgbg": (0.5, 1, NAN)},
    ),
}


@pytest.mark.parametrize("case", EMPTY_CASES)
@pytest.mark.parametrize("column", [0, 1, 2])
def test_undefined_cases(case, column):
    counts, table = EMPTY_CASES[case]
    for name, values in table.items():
        value = getattr(overlap, name)(counts, empty=("zero", "one", "skip")[column])
        assert value == pytest.approx(values[column], abs=1e-15, nan_ok=True), name


@given(any_counts)
def test_dice_follows_from_iou(counts):
    iou = overlap.iou(counts)
    assert overlap.dice(counts) == pytest.approx(2 * iou / (1 + iou))


@given(any_counts)
def test_all_scores_lie_between_0_and_1(counts):
    for name in SCORES:
        assert 0 <= getattr(overlap, name)(counts) <= 1


@given(any_counts)
def test_swapping_reference_and_prediction_swaps_precision_and_sensitivity(counts):
    swapped = Counts(counts.tp, counts.fn, counts.fp, counts.tn)
    assert overlap.precision(counts) == overlap.sensitivity(swapped)
    for name in ("dice", "iou", "accuracy", "dice_fgbg"):
        assert getattr(overlap, name)(counts) == getattr(overlap, name)(swapped)


@given(any_counts)
def test_swapping_object_and_background_swaps_sensitivity_and_specificity(counts):
    assert overlap.sensitivity(counts) == overlap.specificity(counts.flipped)


@given(st.lists(any_counts, min_size=1, max_size=5))
def test_pooled_counts_are_sums(many):
    assert pool(many) == tuple(sum(column) for column in zip(*many, strict=True))


def test_pooling_nothing_gives_zeros_and_no_score():
    assert pool([]) == Counts(0, 0, 0, 0)
    with pytest.raises(InputError, match="dice needs at least one pixel, but all four counts are 0"):
        overlap.dice(pool([]))


def test_many_counts_at_once():
    table = [[2, 1, 2, 3], [0, 0, 0, 9]]
    np.testing.assert_allclose(overlap.overlap("dice", table), [4 / 7, 1])


@pytest.mark.parametrize(
    ("reference", "prediction", "message"),
    [
        (
            np.zeros((2, 2), np.uint8),
            np.zeros((2, 2), bool),
            "must be boolean, got uint8 and bool; compare the",
        ),
        (np.zeros((2, 2), bool), np.zeros((2, 3), bool), r"got \[2, 2\] and \[2, 3\]; resize the prediction"),
        (np.zeros((0, 2), bool), np.zeros((0, 2), bool), "at least one pixel"),
        (np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), bool), r"one shape \(height, width\)"),
    ],
)
def test_wrong_masks(reference, prediction, message):
    with pytest.raises(InputError, match=message):
        count(reference, prediction)


def test_unknown_policy():
    with pytest.raises(InputError, match="Unknown empty policy 'ones'. Did you mean 'one'?"):
        overlap.dice(Counts(1, 0, 0, 0), empty="ones")
