"""Saliency scores by hand where a hand can, the documented empty cases, and the defect that is mended."""

import numpy as np
import pytest

from delineate.checks import InputError
from delineate.metrics import saliency


@pytest.fixture
def reference():
    mask = np.zeros((8, 10), bool)
    mask[2:6, 3:7] = True
    return mask


def test_perfect_map(reference):
    scores = saliency.saliency_scores(reference, reference.astype(np.float32))
    n = reference.size
    assert scores["s_measure"] == pytest.approx(1)
    assert scores["weighted_f"] == pytest.approx(1)
    assert scores["mae"] == 0
    assert scores["e_measure_max"] == scores["e_measure_adp"] == pytest.approx(n / (n - 1))
    # At threshold 0 all is object: alignment 0, which enhances to (0 + 1)^2 / 4.
    assert scores["e_measure_mean"] == pytest.approx((255 + 0.25) / 256 * n / (n - 1))


def test_mae_by_hand(reference):
    half = np.full(reference.shape, 0.25, np.float32)
    assert saliency.mae(reference, half) == pytest.approx((16 * 0.75 + 64 * 0.25) / 80)


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_empty_reference_gives_what_the_docstring_says(level):
    empty, n = np.zeros((8, 10), bool), 80
    scores = saliency.saliency_scores(empty, np.full((8, 10), level, np.float32))
    assert scores["s_measure"] == pytest.approx(1 - level)
    assert scores["mae"] == pytest.approx(level)
    assert scores["weighted_f"] == 0
    assert scores["e_measure_max"] == pytest.approx(n / (n - 1))
    below = 255 - int(level * 255)  # thresholds at which nothing is object
    assert scores["e_measure_mean"] == pytest.approx(below / 256 * n / (n - 1))
    assert scores["e_measure_adp"] == (0 if level == 0 else pytest.approx(n / (n - 1)))


def test_full_reference():
    full = np.ones((4, 4), bool)
    scores = saliency.saliency_scores(full, np.full((4, 4), 0.75, np.float32))
    assert scores["s_measure"] == pytest.approx(0.75)
    assert scores["weighted_f"] == pytest.approx(2 * 0.75 / 1.75, abs=0.2)
    assert scores["mae"] == pytest.approx(0.25)


def test_raw_is_the_default_and_stretching_hides_a_faint_map(reference):
    faint = reference * 0.01
    assert saliency.mae(reference, faint) == pytest.approx(16 * 0.99 / 80)
    assert saliency.mae(reference, faint, stretch=True) == 0
    assert saliency.s_measure(reference, faint, stretch=True) == pytest.approx(1)
    assert saliency.s_measure(reference, faint) < 0.6
    assert (
        saliency.weighted_f(reference, faint)
        < 0.2
        < 0.9
        < saliency.weighted_f(reference, faint, stretch=True)
    )


def test_a_constant_map_is_not_stretched(reference):
    flat = np.full(reference.shape, 0.25)
    assert saliency.mae(reference, flat, stretch=True) == saliency.mae(reference, flat)


def test_the_single_functions_agree_with_all_at_once(reference):
    probability = np.random.default_rng(0).random(reference.shape, dtype=np.float32)
    together = saliency.saliency_scores(reference, probability, stretch=True)
    assert together == {
        name: getattr(saliency, name)(reference, probability, stretch=True) for name in together
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("corner", [np.s_[:, -1:], np.s_[-1:, :], np.s_[-1:, -1:]])
def test_s_measure_of_an_object_at_the_far_edge(corner):
    """The library returns NaN for it: a quadrant is empty."""
    reference = np.zeros((8, 10), bool)
    reference[corner] = True
    assert saliency.s_measure(reference, reference.astype(np.float64)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        (np.full((8, 10), 1.5), "Probabilities must lie between 0 and 1, got 1.5 to 1.5; pass no logits."),
        (np.full((8, 10), np.nan), "Probabilities must lie between 0 and 1, got nan"),
        (np.zeros((8, 10), np.uint8), "got bool and uint8; divide an 8-bit map by 255 first"),
        (np.zeros((8, 9)), r"got \[8, 10\] and \[8, 9\]; resize the map"),
    ],
)
def test_wrong_maps(reference, probability, message):
    with pytest.raises(InputError, match=message):
        saliency.mae(reference, probability)


def test_rounding_beyond_1_is_accepted(reference):
    assert saliency.mae(reference, np.where(reference, 1 + 1e-6, -1e-6)) == 0
