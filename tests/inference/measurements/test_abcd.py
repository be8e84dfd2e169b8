"""Asymmetry, border and colour against shapes and pictures whose values are known."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw
from skimage.color import lab2rgb
from skimage.draw import polygon

from delineate.inference.measurements import measure
from delineate.inference.measurements.border import compactness, fractal_dimension
from delineate.inference.measurements.colour import COLOURS

SKIN = (220, 180, 170)


def values(mask, image=None, **options):
    return measure(np.asarray(mask), image, classes=("lesion",), **options)[0].values


def disc(radius, size, centre=None):
    rows, columns = np.ogrid[:size, :size]
    middle = centre or ((size - 1) / 2, (size - 1) / 2)
    return np.hypot(rows - middle[0], columns - middle[1]) <= radius


def painted(mask, colour):
    return np.where(mask[..., None], np.uint8(colour), np.uint8(SKIN)).astype(np.uint8)


@pytest.mark.parametrize("shape", [disc(20, 61), np.pad(np.ones((12, 30), bool), 9), disc(300, 640)])
def test_symmetric_shapes(shape):
    found = values(shape, painted(shape, (90, 60, 40)))
    assert found["asymmetry_2"] == pytest.approx(0, abs=1e-9)
    assert found["colour_asymmetry_2"] == pytest.approx(0, abs=0.2)


def test_a_half_disc_is_symmetric_about_one_axis_only():
    """The other share by numerical integration of the widths above and below the centroid."""
    radius = 120
    mask = disc(radius, 301, (150, 150))
    mask[:150] = False
    y = np.linspace(0, 1, 200001)
    width = np.sqrt(1 - y**2)
    mirrored = 2 * (4 / (3 * math.pi)) - y
    other = np.sqrt(np.clip(1 - mirrored**2, 0, None)) * (mirrored >= 0)
    expected = np.maximum(width - other, 0).mean() / width.mean()
    found = values(mask)
    assert found["asymmetry_1"] == pytest.approx(0, abs=1e-9)
    assert found["asymmetry_2"] == pytest.approx(expected, abs=0.01)
    turned = values(np.rot90(mask))
    assert turned["asymmetry_2"] == pytest.approx(found["asymmetry_2"], abs=1e-9)


def test_a_wedge_is_asymmetric_about_both_axes():
    rows, columns = polygon([10, 10, 90, 40], [10, 60, 90, 20])
    mask = np.zeros((110, 110), bool)
    mask[rows, columns] = True
    found = values(mask)
    assert found["asymmetry_1"] > 0.1
    assert found["asymmetry_2"] > 2 * found["asymmetry_1"] - 1e-12


def test_colours_that_differ_between_two_halves_of_a_disc():
    mask = np.pad(np.ones((40, 80), bool), 20)  # longer than high: the axis is along the columns
    image = painted(mask, (0, 0, 0))
    image[mask & (np.arange(120) >= 60)] = 255  # left half black, right half white: 100 apart
    found = values(mask, image)
    assert found["asymmetry_2"] == pytest.approx(0, abs=1e-9)
    assert found["colour_asymmetry_1"] == pytest.approx(0, abs=0.01)
    assert found["colour_asymmetry_2"] == pytest.approx(100, abs=0.1)


def test_compactness_ignores_holes():
    ring = disc(40, 101) & ~disc(20, 101)
    assert values(ring)["border_compactness"] == pytest.approx(1, abs=0.02)
    assert values(ring)["circularity"] < 0.55
    square = np.ones((100, 100), bool)
    assert compactness(square, (1, 1)) == pytest.approx(4 / math.pi * 0.948**2, abs=0.015)


def koch(level):
    """Corners of a snowflake, as complex numbers."""
    points = np.exp(2j * math.pi * np.arange(4) / 3)
    for _ in range(level):
        start, step = points[:-1, None], np.diff(points)[:, None] / 3
        bump = np.array([0, 1, 1 + np.exp(-1j * math.pi / 3), 2])
        points = np.append((start + step * bump).ravel(), points[-1])
    return points


def test_fractal_dimension_of_smooth_and_of_ragged_outlines():
    assert fractal_dimension(disc(150, 311)) == pytest.approx(1, abs=0.03)
    assert fractal_dimension(np.ones((128, 90), bool)) == pytest.approx(1, abs=0.1)
    for level, turn in [(5, 1), (5, 1j), (6, 1)]:
        points = 400 + 400j + 380 * turn * koch(level)
        canvas = Image.new("1", (800, 800))
        ImageDraw.Draw(canvas).polygon(list(zip(points.real, points.imag, strict=True)), fill=1)
        mask = np.asarray(canvas)
        assert fractal_dimension(mask) == pytest.approx(math.log(4) / math.log(3), abs=0.07)
    assert fractal_dimension(np.ones((15, 15), bool)) is None


def test_fractal_dimension_counts_boxes_that_are_square_in_space():
    mask = disc(40, 101) | disc(25, 101, (75, 70))
    expected = fractal_dimension(mask)
    for axis, steps in ((0, (1 / 3, 1.0)), (1, (1.0, 1 / 3))):
        assert fractal_dimension(np.repeat(mask, 3, axis), steps) == pytest.approx(expected, abs=1e-12)
    found = values(np.repeat(mask, 3, axis=1), spacing=(0.3, 0.1))
    assert found["border_fractal_dimension"] == pytest.approx(
        values(mask)["border_fractal_dimension"], abs=1e-12
    )


def test_sharp_and_gradual_borders():
    mask = disc(50, 181)
    sharp = values(mask, painted(mask, (90, 60, 40)))
    assert sharp["border_cutoff"] > 0.95
    assert sharp["border_cutoff_segments"] == 8

    distance = np.hypot(*(np.indices(mask.shape) - 90))
    lightness = np.clip(40 + 40 * (distance - 20) / 60, 40, 80)  # rises evenly from 20 to 80 pixels
    lab = np.stack([lightness, np.full_like(lightness, 10), np.full_like(lightness, 15)], axis=-1)
    even = np.rint(255 * lab2rgb(lab)).astype(np.uint8)
    gradual = values(mask, even)
    assert 0.05 < gradual["border_cutoff"] < 0.2
    assert gradual["border_cutoff_segments"] == 0

    half = np.where((np.arange(181) > 90)[None, :, None], painted(mask, (90, 60, 40)), even)
    assert values(mask, half)["border_cutoff_segments"] in (3, 4, 5)


def test_no_edge_no_cutoff_and_a_cut_lesion_is_not_measured():
    mask = disc(50, 181)
    assert values(mask, painted(mask, SKIN))["border_cutoff"] == 0
    cut = disc(50, 181, (90, 20))
    found = values(cut, painted(cut, (90, 60, 40)))
    assert (found["touches_frame"], found["border_cutoff"], found["border_cutoff_segments"]) == (
        1,
        None,
        None,
    )
    assert found["colours"] == 1


def test_beyond_the_frame_there_is_no_black():
    """A lesion so large that its view is reduced, cut by the frame in the middle of a block."""
    mask = np.zeros((1000, 1200), bool)
    mask[:702, 200:902] = True
    found = values(mask, np.full((*mask.shape, 3), (90, 60, 40), np.uint8))
    assert found["touches_frame"] == 1
    assert found["colour_variegation"] == pytest.approx(0, abs=1e-9)


def test_a_neighbouring_lesion_is_not_skin():
    """The dark second lesion lies in the first one's surroundings and changes nothing there."""
    mask = np.uint8(disc(30, 160, (80, 50)))
    alone = measure(mask, painted(mask > 0, (90, 60, 40)), classes=("a", "b"))[0].values
    mask[disc(20, 160, (80, 103))] = 2
    image = painted(mask > 0, (90, 60, 40))
    image[mask == 2] = 0
    first, _ = measure(mask, image, classes=("a", "b"))
    assert first.values["border_cutoff"] == pytest.approx(alone["border_cutoff"], abs=1e-6)
    assert first.values["colour_dark_brown"] == alone["colour_dark_brown"]


@pytest.mark.parametrize("name", COLOURS)
def test_each_colour_is_found(name):
    mask = disc(30, 101)
    found = values(mask, painted(mask, COLOURS[name]))
    assert {other: found[f"colour_{other}"] for other in COLOURS} == {
        other: float(other == name) for other in COLOURS
    }
    assert found["colours"] == 1
    assert found["colour_variegation"] == pytest.approx(0, abs=1e-9)


def test_shares_spread_and_number_of_colours():
    mask = np.pad(np.ones((100, 100), bool), 40)
    image = painted(mask, (0, 0, 0))
    image[40:140, 40:90] = 255  # half white, L* 100; half black, L* 0
    found = values(mask, image)
    assert (found["colour_white"], found["colour_black"], found["colours"]) == (0.5, 0.5, 2)
    assert found["colour_sd_l"] == pytest.approx(50, abs=1e-3)
    assert found["colour_variegation"] == pytest.approx(0.5, abs=1e-3)
    image[40:140, 40:90] = 0
    image[40:44, 40:140] = COLOURS["red"]  # 4 % do not count
    assert values(mask, image)["colours"] == 1
    image[44, 40:140] = COLOURS["red"]  # 5 % do
    assert values(mask, image)["colours"] == 2


def test_white_counts_only_where_it_is_lighter_than_the_skin_and_skin_is_no_colour():
    mask = disc(30, 101)
    image = painted(mask, COLOURS["white"])
    assert values(mask, image)["colour_white"] == 1
    image[~mask] = (255, 255, 255)
    assert values(mask, image)["colour_white"] == 0
    light_brown = painted(mask, COLOURS["light_brown"])
    assert values(mask, light_brown)["colour_light_brown"] == 1
    light_brown[~mask] = COLOURS["light_brown"]  # the patient's skin has that colour
    found = values(mask, light_brown)
    assert (found["colour_light_brown"], found["colours"]) == (0, 0)
    full = np.ones((40, 40), bool)  # no skin to compare with
    assert values(full, painted(full, COLOURS["white"]))["colour_white"] == 1
