"""Which lesions are found, which values they have, and what never changes a value."""

import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from delineate.checks import InputError
from delineate.inference.measurements import MEASUREMENTS, measure
from delineate.inference.measurements.catalogue import LENGTHS

pytestmark = pytest.mark.filterwarnings("error")


def one(mask, image=None, **options):
    (lesion,) = measure(np.asarray(mask), image, classes=("lesion",), **options)
    return lesion


def blob(seed, size=40):
    """An irregular region of about a third of the frame, in one piece, away from the frame."""
    from scipy.ndimage import gaussian_filter, label

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), size / 10)
    inner = np.zeros((size, size), bool)
    inner[2:-2, 2:-2] = noise[2:-2, 2:-2] > 0
    labels, _ = label(inner, np.ones((3, 3)))
    return labels == 1 + np.bincount(labels[labels > 0] - 1).argmax()


def picture(mask, seed):
    """Skin with a lesion of smoothly varying colours."""
    from scipy.ndimage import gaussian_filter

    colours = gaussian_filter(np.random.default_rng(seed).uniform(0, 1500, (*mask.shape, 3)), (4, 4, 0)) % 200
    return np.where(mask[..., None], colours, (220, 180, 170)).astype(np.uint8)


def same(first, second, tolerance=1e-9):
    assert first.keys() == second.keys()
    for name, value in first.items():
        expected = None if value is None else pytest.approx(value, rel=tolerance, abs=tolerance)
        assert second[name] == expected, name


def test_touching_corners_are_one_lesion_and_the_largest_comes_first():
    mask = np.zeros((12, 12), np.uint8)
    mask[0, 5] = 1
    mask[2:4, 2:4] = mask[4:6, 4:6] = 1  # two squares that share a corner
    mask[9:12, 0:4] = 2
    first, second, third = measure(mask, classes=("polyp", "tool"))
    assert (first.class_name, first.index, first.bbox, first.centroid) == (
        "polyp",
        1,
        (2, 2, 6, 6),
        (3.5, 3.5),
    )
    assert (second.class_name, second.index, second.bbox) == ("polyp", 2, (0, 5, 1, 6))
    assert (third.class_name, third.index, third.bbox) == ("tool", 1, (9, 0, 12, 4))
    assert [lesion.values["touches_frame"] for lesion in (first, second, third)] == [0, 1, 1]


def test_specks_are_left_out_and_pieces_are_taken_together_on_request():
    mask = np.zeros((10, 10), bool)
    mask[1:4, 1:4] = mask[7, 7] = True
    assert len(measure(mask, classes=("a",))) == 2
    assert len(measure(mask, classes=("a",), minimum_area=2)) == 1
    lesion = one(mask, whole=True)
    assert lesion.bbox == (1, 1, 8, 8)
    assert lesion.centroid == (2.5, 2.5)
    assert lesion.values["area_px"] == 10
    assert measure(mask, classes=("a",), whole=True, minimum_area=11) == []


def test_a_plus_sign_by_hand():
    """Its hull is the 3 x 3 square without four half pixels."""
    values = one([[0, 1, 0], [1, 1, 1], [0, 1, 0]], spacing=(0.5, 0.5)).values
    assert values["area_px"] == 5
    assert values["area_mm2"] == 1.25
    assert values["solidity"] == pytest.approx(5 / 7)
    assert values["feret_max_px"] == pytest.approx(math.sqrt(10))
    assert values["feret_min_px"] == pytest.approx(2 * math.sqrt(2))
    assert values["feret_max_mm"] == pytest.approx(math.sqrt(10) / 2)
    assert values["major_axis_px"] == pytest.approx(4 * math.sqrt(2 / 5))  # 2 of 5 centres lie 1 away
    assert values["eccentricity"] == pytest.approx(0)
    assert values["equivalent_diameter_px"] == pytest.approx(2 * math.sqrt(5 / math.pi))
    # crossings: 6 along rows, columns and each diagonal; the diagonals' lines are sqrt(1/2) apart
    assert values["perimeter_px"] == pytest.approx(math.pi / 8 * (12 + 12 / math.sqrt(2)))


def test_oblong_pixels_by_hand():
    """Rows 2 mm high, columns 0.5 mm wide: a region of 1 x 8 pixels is 2 mm x 4 mm."""
    mask = np.zeros((5, 12), np.uint8)
    mask[2, 2:10] = 1
    values = one(mask, spacing=(2.0, 0.5)).values
    assert values["area_mm2"] == 8
    assert values["feret_max_mm"] == pytest.approx(math.sqrt(20))
    assert values["feret_min_mm"] == pytest.approx(2)
    assert values["feret_max_px"] == pytest.approx(math.sqrt(65))
    assert values["feret_min_px"] == pytest.approx(1)
    assert values["major_axis_mm"] == pytest.approx(values["major_axis_px"] / 2)


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((1, 1)),
        np.ones((1, 90)),
        np.ones((90, 1)),
        np.ones((20, 30)),
        np.eye(80),
        np.pad(np.ones((1, 1500)), 2),  # thinner than half a pixel of its reduced view
        np.pad(np.ones((1, 1)), 20),
        np.pad(np.ones((8, 8)), ((0, 3), (4, 0))),
        np.pad(np.pad(np.zeros((20, 20)), 2, constant_values=1), 30),  # a thin ring
        np.arange(400).reshape(20, 20) % 2,  # stripes
        np.indices((20, 20)).sum(axis=0) % 2,  # a chessboard, in one piece by its corners
    ],
    ids=[
        "pixel",
        "row",
        "column",
        "frame",
        "diagonal",
        "long",
        "dot",
        "corner",
        "ring",
        "stripes",
        "chessboard",
    ],
)
@pytest.mark.parametrize("spacing", [None, (0.1, 0.1), (0.3, 0.02)])
def test_degenerate_regions_give_numbers_or_none(mask, spacing):
    mask = mask.astype(np.uint8)
    image = np.full((*mask.shape, 3), 90, np.uint8)
    for picture_or_none in (None, image):
        for lesion in measure(mask, picture_or_none, classes=("a",), spacing=spacing):
            assert list(lesion.values) == list(MEASUREMENTS)
            for name, value in lesion.values.items():
                assert value is None or (type(value) is float and math.isfinite(value)), name


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 2)),
    st.one_of(st.none(), st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))),
)
def test_any_mask_gives_numbers_or_none(mask, spacing):
    image = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
    lesions = measure(mask, image, classes=("a", "b"), spacing=spacing)
    assert sum(lesion.values["area_px"] for lesion in lesions) == np.count_nonzero(mask)
    for lesion in lesions:
        values = lesion.values
        assert all(value is None or math.isfinite(value) for value in values.values())
        assert values["feret_min_px"] <= values["feret_max_px"] * (1 + 1e-12)
        assert 0 < values["solidity"] <= 1 + 1e-12
        assert 0 <= values["eccentricity"] <= 1


def test_absurdly_oblong_pixels_need_no_more_memory():
    mask = np.pad(blob(2), 5)
    tracemalloc.start()
    values = one(mask, picture(mask, 2), spacing=(1e-3, 1e3)).values
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6
    assert math.isfinite(values["asymmetry_2"])


def test_needs_say_when_a_value_is_none():
    mask = np.pad(blob(1), 20)
    image = picture(mask, 1)
    full = one(mask, image, spacing=(0.1, 0.1)).values
    assert [name for name, value in full.items() if value is None] == []
    for needs, values in [
        ("image", one(mask, spacing=(0.1, 0.1)).values),
        ("spacing", one(mask, image).values),
    ]:
        assert {name for name, value in values.items() if value is None} == {
            name for name, row in MEASUREMENTS.items() if row.needs == needs
        }
    assert list(full) == list(MEASUREMENTS)


def test_specks_have_no_abcd():
    mask = np.zeros((30, 30), np.uint8)
    mask[10:17, 10:19] = 1  # 63 pixels
    values = one(mask, np.zeros((30, 30, 3), np.uint8)).values
    absent = {name for name in values if name.startswith(("asym", "colour", "border"))}
    assert {name for name, value in values.items() if value is None} >= absent
    mask[17, 10] = 1
    assert one(mask, np.zeros((30, 30, 3), np.uint8)).values["asymmetry_2"] > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [None, (0.2, 0.07)])
def test_moving_a_lesion_changes_no_bit(seed, spacing):
    """Also of colours, as long as its surroundings come along."""
    mask = blob(seed)
    near = np.pad(mask, 30)
    far = np.pad(mask, ((47, 30), (30, 61)))
    image = np.pad(picture(mask, seed), ((30, 30), (30, 30), (0, 0)), "edge")
    moved = np.pad(picture(mask, seed), ((47, 30), (30, 61), (0, 0)), "edge")
    first, second = one(near, image, spacing=spacing), one(far, moved, spacing=spacing)
    assert first.values == second.values
    assert second.centroid == pytest.approx((first.centroid[0] + 17, first.centroid[1]))
    assert second.bbox[0] == first.bbox[0] + 17


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [None, (0.2, 0.07)])
def test_turning_and_mirroring_change_nothing(seed, spacing):
    mask = np.pad(blob(seed), 30)
    image = picture(mask, seed)
    values = one(mask, image, spacing=spacing).values
    turned = one(np.rot90(mask), np.rot90(image), spacing=spacing and spacing[::-1]).values
    assert turned["perimeter_px"] == pytest.approx(values["perimeter_px"], rel=1e-15)
    same(values, turned, 1e-7)
    same(values, one(mask[:, ::-1], image[:, ::-1], spacing=spacing).values, 1e-7)


def test_millimetres_scale_with_the_pixels():
    mask = blob(3)
    small, large = one(mask, spacing=(0.1, 0.3)).values, one(mask, spacing=(0.4, 1.2)).values
    for name in LENGTHS:
        assert large[f"{name}_mm"] == pytest.approx(4 * small[f"{name}_mm"], rel=1e-12)
        assert large[f"{name}_px"] == small[f"{name}_px"]
    assert large["area_mm2"] == pytest.approx(16 * small["area_mm2"], rel=1e-12)
    for name in ("eccentricity", "circularity", "solidity", "asymmetry_2", "border_compactness"):
        assert large[name] == pytest.approx(small[name], rel=1e-12), name


def test_square_pixels_of_any_size_give_the_same_shape_bit_for_bit():
    mask = np.pad(blob(5), 20)
    image = picture(mask, 5)
    without, known = one(mask, image).values, one(mask, image, spacing=(0.07, 0.07)).values
    assert {k: v for k, v in known.items() if MEASUREMENTS[k].needs != "spacing"} == {
        k: v for k, v in without.items() if MEASUREMENTS[k].needs != "spacing"
    }
    for name in LENGTHS:
        assert known[f"{name}_mm"] == pytest.approx(0.07 * known[f"{name}_px"])


def test_finer_rows_describe_the_same_object():
    """Every row doubled, half as high: the same shape on oblong pixels."""
    mask = blob(6)
    coarse = one(mask, spacing=(1.0, 1.0)).values
    fine = one(np.repeat(mask, 2, axis=0), spacing=(0.5, 1.0)).values
    for name in ("area_mm2", "feret_max_mm", "feret_min_mm", "solidity", "equivalent_diameter_mm"):
        assert fine[name] == pytest.approx(coarse[name], rel=1e-12), name
    for name, tolerance in [("major_axis_mm", 0.02), ("minor_axis_mm", 0.02), ("perimeter_mm", 0.08)]:
        assert fine[name] == pytest.approx(coarse[name], rel=tolerance), name
    assert fine["asymmetry_1"] == pytest.approx(coarse["asymmetry_1"], abs=0.03)


def test_bad_input_is_refused_in_one_sentence():
    mask = np.zeros((4, 5), np.uint8)
    mask[1, 1] = 2
    with pytest.raises(InputError, match=r"holds the value 2, but 0 is the background and 1 to 1 are"):
        measure(mask, classes=("a",))
    with pytest.raises(InputError, match=r"whole numbers, got shape \(4, 5\) of float32; give the mask, not"):
        measure(np.zeros((4, 5), np.float32), classes=("a",))
    with pytest.raises(InputError, match=r"got shape \(4, 5, 1\) of uint8"):
        measure(np.zeros((4, 5, 1), np.uint8), classes=("a",))
    with pytest.raises(
        InputError, match=r"image must be uint8 of shape \(4, 5, 3\) like its mask, got uint8 of"
    ):
        measure(mask, np.zeros((5, 4, 3), np.uint8), classes=("a", "b"))
    for spacing in [(0.0, 1.0), (1.0, math.nan), (1.0,)]:
        with pytest.raises(
            InputError, match="spacing must be two numbers above 0, mm per row and per column"
        ):
            measure(mask, classes=("a", "b"), spacing=spacing)
    assert measure(np.zeros((3, 3), bool), classes=("a",)) == []


def test_a_large_lesion_and_many_specks_do_not_take_long():
    """Bounds far above what an idle machine needs: they catch a slip back to quadratic or full-size work."""
    rows, columns = np.ogrid[:2000, :3000]
    large = ((rows - 1000) / 900) ** 2 + ((columns - 1500) / 1400) ** 2 <= 1
    specks = np.zeros((1000, 1000), np.uint8)
    specks[::20, ::25] = 1
    start = time.process_time()
    assert len(measure(large, classes=("a",))) == 1
    assert len(measure(specks, classes=("a",), minimum_area=2)) == 0
    assert len(measure(specks[:400], classes=("a",))) == 800
    assert time.process_time() - start < 12
