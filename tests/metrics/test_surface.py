"""Surface distances by hand, and what empty masks give."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from delineate.checks import InputError
from delineate.metrics.surface import assd, hd, hd95, nsd, surface_distances


def square(top: int, left: int, side: int = 3, shape: tuple[int, int] = (12, 16)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_two_pixels():
    distances = surface_distances(square(2, 3, 1), square(5, 7, 1))
    assert (hd(distances), hd95(distances), assd(distances)) == (5, 5, 5)
    assert (nsd(distances, 4.9), nsd(distances, 5)) == (0, 1)


def test_spacing_is_row_then_column():
    distances = surface_distances(square(2, 3, 1), square(5, 7, 1), spacing=(2.0, 0.25))
    assert hd(distances) == pytest.approx(math.hypot(3 * 2, 4 * 0.25))


def test_square_moved_by_one_column():
    # The outline of a 3 x 3 square is its 8 rim pixels. Moved by one column, 4 of them lie on the other
    # outline: the shared columns without their middle row. The other 4 are 1 away, in either direction.
    distances = surface_distances(square(4, 4), square(4, 5))
    assert sorted(distances.to_reference) == sorted(distances.to_prediction) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert (hd(distances), assd(distances), nsd(distances, 0)) == (1, 0.5, 0.5)


def test_hd95_interpolates_each_direction_and_takes_the_larger():
    reference, prediction = np.zeros((3, 30), bool), np.zeros((3, 30), bool)
    reference[1, 0:2] = True
    prediction[1, 0:21] = True  # to the reference: 0, 0, 1, ..., 19; the other direction is all 0
    distances = surface_distances(reference, prediction)
    assert (hd(distances), hd95(distances)) == (19, 18)  # 21 values: 0.95 * 20 is the 19th step, value 18
    assert assd(distances) == pytest.approx(sum(range(20)) / 23)


def test_one_mask_empty_gives_the_diagonal():
    empty, lesion = np.zeros((30, 40), bool), square(2, 2, shape=(30, 40))
    for pair in ((empty, lesion), (lesion, empty)):
        distances = surface_distances(*pair)
        for empty_policy in ("one", "zero", "skip"):
            values = [score(distances, empty=empty_policy) for score in (hd, hd95, assd)]
            assert values == [50, 50, 50]
        assert nsd(distances, 3) == 0
        assert hd(surface_distances(*pair, spacing=(0.1, 0.1))) == pytest.approx(5)


def test_both_masks_empty():
    distances = surface_distances(np.zeros((3, 4), bool), np.zeros((3, 4), bool))
    assert [hd(distances), hd95(distances), assd(distances), nsd(distances, 1)] == [0, 0, 0, 1]
    skipped = [score(distances, empty="skip") for score in (hd, hd95, assd)]
    assert np.isnan([*skipped, nsd(distances, 1, empty="skip")]).all()


mask = arrays(np.bool_, (5, 7))


@settings(max_examples=50, deadline=None)
@given(mask, mask)
def test_symmetric_ordered_and_bounded(a, b):
    there, back = surface_distances(a, b), surface_distances(b, a)
    assert hd(there) == hd(back)
    assert hd95(there) == hd95(back)
    assert assd(there) == pytest.approx(assd(back))
    assert 0 <= hd95(there) <= hd(there) <= math.hypot(5, 7)
    assert assd(there) <= hd(there) + 1e-6
    assert 0 <= nsd(there, 1) <= nsd(there, 2) <= 1


@pytest.mark.parametrize("spacing", [(1.0,), (0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)])
def test_wrong_spacing(spacing):
    with pytest.raises(InputError, match="spacing must be two positive numbers"):
        surface_distances(square(1, 1), square(1, 1), spacing=spacing)


def test_wrong_tolerance_and_shape():
    with pytest.raises(InputError, match="tolerance of nsd must be a finite number of at least 0, got -1"):
        nsd(surface_distances(square(1, 1), square(1, 1)), -1)
    with pytest.raises(InputError, match="resize the prediction"):
        surface_distances(square(1, 1), square(1, 1, shape=(9, 9)))
