"""Our own forms of the expensive scores give the libraries' values, above all where rounding decides."""

import math

import numpy as np
import py_sod_metrics
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist

from delineate.metrics import saliency, surface
from delineate.metrics.emeasure import level_counts
from delineate.metrics.reference_shape import REACH, WINDOW, ReferenceShape
from delineate.metrics.surface import outline

sides = st.integers(1, 9)
shapes = st.tuples(sides, sides).filter(lambda shape: shape[0] * shape[1] > 1)
# 8-bit values, among them those whose mean of many equal ones is not the value itself.
levels = st.sampled_from([0.0, 1e-100, 1 / 255, 0.1, math.nextafter(0.1, 1), 0.3, 0.5, 0.7, 254 / 255, 1.0])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(shapes)
    # `fill` makes large equal parts likely: constant quarters of the S-measure.
    return draw(arrays(np.bool_, shape, fill=st.booleans())), draw(
        arrays(np.float64, shape, elements=levels, fill=levels)
    )


def library(reference: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    found = {}
    for key, name in {"sm": "Smeasure", "wfm": "WeightedFmeasure", "mae": "MAE", "em": "Emeasure"}.items():
        measure = getattr(py_sod_metrics, name)()
        with np.errstate(invalid="ignore"):
            measure.step(probability, reference, normalize=False)
        found[key] = measure.get_results()[key]
    return {
        "s_measure": found["sm"],
        "weighted_f": found["wfm"],
        "mae": found["mae"],
        "e_measure_adp": found["em"]["adp"],
        "e_measure_max": found["em"]["curve"].max(),
        "e_measure_mean": found["em"]["curve"].mean(),
    }


def assert_same(reference: np.ndarray, probability: np.ndarray, tolerance: float = 1e-7) -> None:
    ours = saliency.saliency_scores(reference, probability)
    for name, value in library(reference, probability).items():
        if not (name == "s_measure" and math.isnan(value)):  # the library's defect, see smeasure.py
            assert ours[name] == pytest.approx(value, abs=tolerance), name


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@settings(max_examples=300, deadline=None)
@given(pairs())
def test_small_and_flat_maps_are_pysodmetrics(pair):
    assert_same(*pair)


@pytest.mark.parametrize("level", [1 / 255, 0.1, 0.3, 2 / 3, 1.0])
@pytest.mark.parametrize("side", [30, 101])
def test_a_constant_quarter_scores_as_in_the_library(level, side):
    """1 or 0 there hangs on whether the mean of equal numbers is that number."""
    reference = np.zeros((side, side), bool)
    reference[side // 2 : side // 2 + 4, side // 2 - 3 : side // 2 + 1] = True
    probability = np.full((side, side), level)
    probability[reference] = 0.9
    assert_same(reference, probability)


@pytest.mark.parametrize("noise", [0, 1e-9, 1e-7, 1e-5])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.9])
def test_nearly_constant_parts_of_large_images_keep_their_digits(level, noise):
    """Sums over many equal values lose the digits that a small deviation is made of."""
    rng = np.random.default_rng(0)
    reference = np.zeros((400, 500), bool)
    reference[100:250, 200:420] = True
    probability = np.where(reference, 0.97, level) + noise * rng.random(reference.shape)
    measure = py_sod_metrics.Smeasure()
    measure.step(probability, reference, normalize=False)
    ours = saliency.s_measure(reference, probability)
    assert ours == pytest.approx(measure.get_results()["sm"], abs=1e-11)


def test_binary_maps_are_pysodmetrics():
    rng = np.random.default_rng(0)
    reference = np.zeros((40, 50), bool)
    reference[5:20, 8:30] = True
    assert_same(reference, (reference ^ (rng.random(reference.shape) < 0.1)).astype(float))
    assert_same(reference, np.roll(reference, 15, axis=0).astype(float))
    assert_same(reference, np.zeros(reference.shape))


@pytest.mark.parametrize("shape", [(12, 700), (700, 12)])
def test_beyond_the_reach_the_weighted_f_is_pysodmetrics(shape):
    reference = np.zeros(shape, bool)
    reference[4:7, 4:7] = True  # all but a thirtieth of the false alarms are far away
    probability = np.random.default_rng(0).random(shape)
    assert max(shape) > 4 * REACH
    assert_same(reference, probability, tolerance=1e-8)


def test_the_shape_of_a_reference_serves_all_its_maps():
    rng = np.random.default_rng(0)
    reference, probability = rng.random((20, 30)) < 0.3, rng.random((20, 30))
    shape = ReferenceShape(reference)
    for stretch in (False, True):
        alone = saliency.saliency_scores(reference, probability, stretch=stretch)
        assert saliency.saliency_scores(reference, probability, stretch=stretch, shape=shape) == alone
        assert (
            saliency.weighted_f(reference, probability, stretch=stretch, shape=shape) == alone["weighted_f"]
        )


def test_scoring_leaves_the_map_alone():
    reference = np.eye(9, dtype=bool)
    probability = np.linspace(0, 1, 81).reshape(9, 9)
    saved = probability.copy()
    saliency.saliency_scores(reference, probability)
    np.testing.assert_array_equal(probability, saved)


@pytest.mark.parametrize("seed", range(5))
def test_nearest_pixels_are_those_of_the_whole_image(seed):
    """Ties are frequent among whole-numbered places; the crop must not change which pixel wins."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((60, 420), bool)
    mask[20:40, 180:230] = rng.random((20, 50)) < 0.1
    distance, (row, column) = distance_transform_edt(~mask, return_indices=True)
    found = ReferenceShape(mask).surroundings
    assert found.zone != np.s_[0:60, 0:420]
    np.testing.assert_array_equal(found.nearest, (row * 420 + column)[found.window])
    near = np.where(distance <= REACH, 2.0 ** (-distance / 5), 2.0 ** (-REACH / 5))
    np.testing.assert_allclose(found.nearness, near[found.zone], atol=1e-12)


def test_boxes_and_centre_by_hand():
    mask = np.zeros((10, 300), bool)
    mask[1, 2:4] = True
    shape = ReferenceShape(mask)
    assert (shape.pixels, shape.box) == (2, np.s_[1:2, 2:4])
    assert shape.centre == (1, 2)  # 2.5 rounds to even
    assert shape.around(WINDOW) == np.s_[0:5, 0:7]
    assert shape.around(REACH) == np.s_[0:10, 0 : 4 + REACH]


def test_levels_by_hand():
    reference = np.array([[True, True, False, False]])
    probability = np.array([[1.0, 128 / 255, 127.9 / 255, 0.0]])
    background, objects = level_counts(reference, probability)
    assert np.flatnonzero(objects).tolist() == [128, 255]
    assert np.flatnonzero(background).tolist() == [0, 127]
    assert np.flatnonzero(level_counts(reference, probability, slack=0.2)[0]).tolist() == [0, 128]


def test_levels_of_more_than_one_block():
    rng = np.random.default_rng(0)
    reference, probability = rng.random((300, 300)) < 0.3, rng.random((300, 300))
    expected = [np.histogram(probability[part], np.arange(257) / 255)[0] for part in (~reference, reference)]
    np.testing.assert_array_equal(level_counts(reference, probability), expected)


@st.composite
def masks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(shapes)
    some = arrays(np.bool_, shape).filter(np.any)
    return draw(some), draw(some)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(masks(), st.sampled_from([None, (0.7, 1.9)]))
def test_surface_of_small_masks_is_monai(pair, spacing):
    reference, prediction = pair
    distances = surface.surface_distances(reference, prediction, spacing=spacing)
    y, p = (torch.from_numpy(mask)[None, None].float() for mask in pair)
    options = {"include_background": True, "spacing": spacing}
    assert surface.hd(distances) == pytest.approx(
        compute_hausdorff_distance(p, y, **options).item(), abs=1e-6
    )
    hd95 = compute_hausdorff_distance(p, y, percentile=95, **options).item()
    assert surface.hd95(distances) == pytest.approx(hd95, abs=1e-6)
    assd = compute_average_surface_distance(p, y, symmetric=True, **options).item()
    assert surface.assd(distances) == pytest.approx(assd, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(masks())
def test_distances_are_the_smallest_of_all_pairs(pair):
    reference, prediction = pair
    points = [np.argwhere(outline_by_loop(mask)) for mask in (prediction, reference)]
    every = cdist(*points).astype(np.float32)
    distances = surface.surface_distances(reference, prediction)
    np.testing.assert_array_equal(distances.to_reference, every.min(axis=1))
    np.testing.assert_array_equal(distances.to_prediction, every.min(axis=0))
    np.testing.assert_array_equal(outline(reference), outline_by_loop(reference))


def outline_by_loop(mask: np.ndarray) -> np.ndarray:
    rim, padded = np.zeros_like(mask), np.pad(mask, 1)
    for row, column in np.argwhere(mask):
        neighbours = [(0, 1), (2, 1), (1, 0), (1, 2)]
        rim[row, column] = not all(padded[row + a, column + b] for a, b in neighbours)
    return rim
