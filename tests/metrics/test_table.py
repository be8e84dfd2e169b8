"""score_image: columns, classes, errors."""

import math

import numpy as np
import pytest

from delineate.checks import InputError
from delineate.metrics import score_image
from delineate.metrics.names import GROUPS, expand_names

BINARY_COLUMNS = [
    *("dice", "iou", "precision", "sensitivity", "specificity", "accuracy"),
    *("s_measure", "e_measure_max", "e_measure_mean", "e_measure_adp", "weighted_f", "mae"),
    *("hd", "hd95", "assd"),
    *("reference_pixels", "predicted_pixels", "tp", "fp", "fn", "tn"),
]


@pytest.fixture
def reference():
    mask = np.zeros((10, 12), np.uint8)
    mask[2:6, 2:6] = 1
    return mask


def probability_of(index: np.ndarray, classes: int) -> np.ndarray:
    """Channel i is 0.8 where the map is i."""
    return np.stack([np.where(index == i, 0.8, 0.2 / classes) for i in range(classes + 1)]).astype(np.float32)


def test_binary_columns_and_values(reference):
    moved = np.roll(reference, 1, axis=1).astype(np.float32) * 0.9
    row = score_image(reference, moved, classes=("lesion",))
    assert list(row) == BINARY_COLUMNS
    assert (row["tp"], row["fp"], row["fn"], row["tn"]) == (12, 4, 4, 100)
    assert (row["dice"], row["iou"], row["hd"]) == (0.75, 0.6, 1)
    assert (row["reference_pixels"], row["predicted_pixels"]) == (16, 16)
    assert row["mae"] == pytest.approx((12 * 0.1 + 4 * 0.9 + 4 * 1) / 120)


def test_parts_can_be_left_out(reference):
    row = score_image(reference, reference.astype(np.float32), classes=("a",), surface=False, saliency=False)
    assert list(row) == BINARY_COLUMNS[:6] + BINARY_COLUMNS[15:]


def test_names_of_other_levels_are_checked_and_passed_over(reference):
    names = expand_names(["msnet", "pooled", "batch", "labels", "pranet_maxDic", "auc_pixel_pooled"])
    options = {"classes": ("a",), "surface": False, "saliency": False}
    row = score_image(reference, reference.astype(np.float32), extra=names, **options)
    plain = score_image(reference, reference.astype(np.float32), **options)
    assert set(row) - set(plain) == set(GROUPS["msnet"])


def test_threshold_is_exclusive(reference):
    half = reference.astype(np.float32) / 2
    assert score_image(reference, half, classes=("a",))["dice"] == 0
    assert score_image(reference, half, classes=("a",), threshold=0.4)["dice"] == 1


def test_spacing_makes_millimetres(reference):
    moved = np.roll(reference, 2, axis=0).astype(np.float32)
    row = score_image(reference, moved, classes=("a",), spacing=(0.5, 9.0), extra=("nsd@0.9", "nsd@1"))
    assert row["hd"] == 1
    assert row["nsd@0.9"] < row["nsd@1"] == 1


def test_several_classes_are_decided_by_argmax_and_averaged(reference):
    reference[7:9, 7:9] = 2
    predicted = reference.copy()
    predicted[7, 7:9] = 0  # half of the second class is missed
    row = score_image(reference, probability_of(predicted, 2), classes=("disc", "cup"))
    assert (row["dice[disc]"], row["dice[cup]"]) == (1, pytest.approx(2 / 3))
    assert row["dice"] == pytest.approx((1 + 2 / 3) / 2)
    assert (row["tp[cup]"], row["fn[cup]"]) == (2, 2)
    assert "tp" not in row
    assert (row["reference_pixels"], row["predicted_pixels"]) == (20, 18)
    assert row["hd"] == (row["hd[disc]"] + row["hd[cup]"]) / 2
    assert row["mae[disc]"] == pytest.approx(
        np.abs(probability_of(predicted, 2)[1] - (reference == 1)).mean()
    )


@pytest.mark.parametrize(("empty", "cup", "mean"), [("one", 1, 1), ("zero", 0, 0.5), ("skip", math.nan, 1)])
def test_a_class_absent_from_both(reference, empty, cup, mean):
    row = score_image(reference, probability_of(reference, 2), classes=("disc", "cup"), empty=empty)
    assert row["dice[cup]"] == pytest.approx(cup, nan_ok=True)
    assert row["dice"] == mean


def test_all_classes_absent_and_skipped():
    nothing = np.zeros((4, 4), np.uint8)
    row = score_image(nothing, probability_of(nothing, 2), classes=("disc", "cup"), empty="skip")
    assert math.isnan(row["dice"])
    assert row["reference_pixels"] == row["predicted_pixels"] == 0


def test_a_missed_lesion_is_never_left_out(reference):
    row = score_image(reference, np.zeros(reference.shape, np.float32), classes=("a",), empty="skip")
    assert (row["dice"], row["sensitivity"], row["precision"]) == (0, 0, 0)
    assert row["hd"] == row["hd95"] == row["assd"] == pytest.approx(math.hypot(10, 12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": "lesion"}, "classes must be a sequence of at least one class name, got 'lesion'"),
        ({"classes": ()}, "at least one class name"),
        ({"reference": np.zeros((10, 12), bool)}, r"must be a uint8 index map \(height, width\), got bool"),
        (
            {"reference": np.full((10, 12), 255, np.uint8)},
            "holds the value 255, but there are 1 classes; decode",
        ),
        (
            {"probability": np.zeros((5, 6), np.float32)},
            r"floating point \[10, 12\], got float32 \[5, 6\]; resize",
        ),
        ({"probability": np.zeros((10, 12), np.uint8)}, "must be floating point"),
        ({"probability": np.full((10, 12), np.nan, np.float32)}, "between 0 and 1, got nan"),
        ({"probability": np.full((10, 12), 7, np.float32)}, "got 7 to 7; pass no logits"),
        ({"classes": ("a", "b")}, r"floating point \[3, 10, 12\]"),
        ({"extra": ("nsd",)}, "write nsd@NUMBER, the tolerance in px or mm"),
        ({"extra": ("dice@2",)}, "takes no number; write dice"),
        ({"extra": ("nsd@two",)}, "needs a number after '@', for example nsd@2"),
        ({"extra": ("dice_fgbk",)}, "Unknown metric 'dice_fgbk'. Did you mean 'dice_fgbg'?"),
        ({"empty": "none"}, "Unknown empty policy 'none'"),
    ],
)
def test_wrong_input(reference, change, message):
    call = {"reference": reference, "probability": np.zeros((10, 12), np.float32), "classes": ("a",)} | change
    with pytest.raises(InputError, match=message):
        score_image(call.pop("reference"), call.pop("probability"), **call)
