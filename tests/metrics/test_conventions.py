"""Toolbox scores, pixels, layers and units by hand."""

import math

import numpy as np
import pytest

from delineate.metrics import layers, pixels, pranet, score_image
from delineate.metrics.names import GROUPS

REFERENCE = np.array([[1, 1, 0, 0]], np.uint8).repeat(2, axis=0)
MAP = np.array([[0.8, 0.4, 0.4, 0.2]]).repeat(2, axis=0)  # stretched: 1, 1/3, 1/3, 0


def score(reference: np.ndarray, probability: np.ndarray, *names: str, **options) -> dict[str, float]:
    row = score_image(
        reference, probability, classes=("a",), surface=False, saliency=False, extra=names, **options
    )
    return {name: row[name] for name in names}


def test_pranet_by_hand():
    found = score(REFERENCE, MAP, "pranet_meanDic", "pranet_meanIoU", "pranet_meanSen", "pranet_meanSpe")
    # threshold 0: everything (tp 4, fp 4); 1/255 to 85/255: three columns (tp 4, fp 2); above: one (tp 2)
    assert found["pranet_meanDic"] == pytest.approx((8 / 12 + 85 * 8 / 10 + 170 * 4 / 6) / 256)
    assert found["pranet_meanIoU"] == pytest.approx((4 / 8 + 85 * 4 / 6 + 170 * 2 / 4) / 256)
    assert found["pranet_meanSen"] == pytest.approx((1 + 85 + 170 / 2) / 256)
    assert found["pranet_meanSpe"] == pytest.approx((0 + 85 * 2 / 4 + 170) / 256)


def test_pranet_without_a_true_positive_is_zero_also_in_specificity():
    curves = pranet.curves(
        pranet.level_histogram(np.array([[True, False, False]]), np.array([[0.0, 0.0, 1.0]]))
    )
    assert curves["Spe"].sum() == 0  # threshold 0 has no true negative, all others no true positive
    assert curves["Dic"][0] == pytest.approx(2 / 4)
    assert curves["Dic"][1:].sum() == 0


def test_pranet_counts_an_empty_image_as_zero_unless_it_is_skipped():
    nothing = np.zeros((4, 4), np.uint8)
    assert score(nothing, np.zeros((4, 4)), "pranet_meanDic")["pranet_meanDic"] == 0
    assert math.isnan(score(nothing, np.zeros((4, 4)), "pranet_meanDic", empty="skip")["pranet_meanDic"])


def test_msnet_by_hand():
    found = score(REFERENCE, MAP, "msnet_mdice", "msnet_miou", "msnet_mae")
    assert found["msnet_mdice"] == pytest.approx((2 * 2 * 4 / 3 + 1e-5) / (2 * 5 / 3 + 4 + 1e-5))
    assert found["msnet_miou"] == pytest.approx((2 + 1e-5) / (4 + 1e-5))
    assert found["msnet_mae"] == pytest.approx((0 + 2 / 3 + 1 / 3 + 0) / 4)


def test_a_constant_map_is_not_stretched():
    found = score(REFERENCE, np.full((2, 4), 0.6), "msnet_mdice", "msnet_miou")
    assert found["msnet_mdice"] == pytest.approx(2 * 4 * 0.6 / (8 * 0.6 + 4), abs=1e-5)
    assert found["msnet_miou"] == pytest.approx(0.5, abs=1e-5)


def test_structure_measures_differ_in_floor_and_centroid():
    reference = np.zeros((6, 6), np.uint8)
    reference[:3, :3] = 1
    inverted = 1.0 - reference
    found = score(reference, inverted, "pranet_Sm", "msnet_s")
    assert found["pranet_Sm"] == 0
    assert found["msnet_s"] < 0


@pytest.mark.parametrize(("found", "wanted"), [(65, 65 / 100), (64, 0)])
def test_jaccard_below_the_threshold_is_zero(found, wanted):
    reference = np.ones((10, 10), np.uint8)
    probability = (np.arange(100) < found).astype(float).reshape(10, 10)
    assert score(reference, probability, "jaccard_thr065")["jaccard_thr065"] == wanted


def test_auc_of_pixels_by_hand():
    reference = np.array([[True, False, True, False]])
    assert pixels.auc(reference, np.array([[0.9, 0.1, 0.5, 0.5]])) == 3.5 / 4
    assert pixels.auc(reference, np.full((1, 4), 0.2)) == 0.5
    assert math.isnan(pixels.auc(np.zeros((1, 4), bool), np.zeros((1, 4))))


def test_calibration_of_pixels_by_hand():
    reference = np.array([[True, False, False, True]])
    probability = np.array([[0.95, 0.95, 0.01, 0.51]])
    # bins: two at 0.95 (one true), one at 0.01, one at 0.51
    assert pixels.ece(reference, probability) == pytest.approx((0.9 + 0.01 + 0.49) / 4)
    assert pixels.brier(reference, probability) == pytest.approx((0.05**2 + 0.95**2 + 0.01**2 + 0.49**2) / 4)


def band(first: int, last: int, columns: slice = np.s_[:]) -> np.ndarray:
    mask = np.zeros((20, 10), bool)
    mask[first : last + 1, columns] = True
    return mask


def test_med_is_the_mean_distance_of_both_boundaries():
    reference = band(5, 9)
    assert layers.med(reference, reference, spacing=None) == 0
    assert layers.med(reference, band(6, 9), spacing=None) == 0.5  # upper boundary by 1, lower by 0
    assert layers.med(reference, band(7, 11), spacing=None) == 2
    assert layers.med(reference, band(7, 11), spacing=(0.5, 9.0)) == 1
    hole = reference.copy()
    hole[7] = False
    assert layers.med(reference, hole, spacing=None) == 0


def test_med_counts_columns_without_the_layer():
    reference = band(5, 9)
    half = band(6, 10, np.s_[:5])
    assert layers.med(reference, half, spacing=None) == (5 * 1 + 5 * 20) / 10
    assert layers.med(half, half, spacing=None) == 0  # columns with neither do not count
    nothing = np.zeros_like(reference)
    assert layers.med(reference, nothing, spacing=None) == 20
    assert layers.med(nothing, nothing, spacing=None) == 0
    assert math.isnan(layers.med(nothing, nothing, spacing=None, empty="skip"))


def test_pixels_and_millimetres_side_by_side():
    reference = np.zeros((10, 12), np.uint8)
    reference[2:6, 2:6] = 1
    moved = np.roll(reference, 2, axis=0).astype(float)
    names = (*GROUPS["boundary_px"], *GROUPS["boundary_mm"], "hd", "nsd@1", "med_px", "med_mm")
    found = score(reference, moved, *names, spacing=(0.5, 9.0))
    assert (found["hd_px"], found["hd_mm"], found["hd"]) == (2, 1, 1)
    assert (found["hd95_px"], found["hd95_mm"]) == (2, 1)
    assert found["nsd_px@2"] == found["nsd_mm@2"] == 1
    assert (found["med_px"], found["med_mm"]) == (2, 1)
    without = score(reference, moved, *names)
    assert (without["hd_px"], without["hd"], without["med_px"]) == (2, 2, 2)
    in_mm = ("hd_mm", "hd95_mm", "assd_mm", "nsd_mm@2", "med_mm")
    assert all(math.isnan(without[name]) for name in in_mm)


def test_classes_are_scored_against_the_rest_and_averaged():
    reference = np.array([[0, 1, 2], [0, 1, 2]], np.uint8)
    probability = np.stack([np.where(reference == i, 0.7, 0.15) for i in range(3)])
    probability[:, 0, 2] = (0.15, 0.7, 0.15)  # one pixel of the second class is taken for the first
    names = ("pranet_meanDic", "msnet_mdice", "auc_pixel")
    row = score_image(reference, probability, classes=("disc", "cup"), extra=names)
    for name in names:
        assert row[name] == pytest.approx((row[f"{name}[disc]"] + row[f"{name}[cup]"]) / 2)
    assert row["auc_pixel[cup]"] == pytest.approx((4 + 2) / 8)  # 0.7 beats 4, 0.15 ties with 4
