"""Lengths and shapes against formulas, scikit-image and brute force."""

import math

import numpy as np
import pytest
from scipy.special import ellipe
from skimage.measure import perimeter_crofton

from delineate.inference.measurements.shape import convex_hull, crofton_perimeter, feret_diameters, fill_holes
from delineate.inference.measurements.shape import lengths as all_lengths


def ellipse(rows, columns, steps=(1.0, 1.0), angle=0.0, shift=(0.3, 0.2)):
    """Pixels whose centres lie in an ellipse of these half axes, in the unit of `steps`."""
    reach = [int(max(rows, columns) / step) + 2 for step in steps]
    y, x = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    y, x = (y - shift[0]) * steps[0], (x - shift[1]) * steps[1]
    u, v = y * math.cos(angle) - x * math.sin(angle), y * math.sin(angle) + x * math.cos(angle)
    return (u / rows) ** 2 + (v / columns) ** 2 <= 1


def lengths(mask, steps=(1.0, 1.0)):
    return all_lengths(mask, convex_hull(mask), steps)


@pytest.mark.parametrize("steps", [(1.0, 1.0), (1.0, 2.0), (0.9, 0.3)])
@pytest.mark.parametrize(("radius", "tolerance"), [(10, 0.006), (50, 0.0015), (150, 0.001)])
def test_discs(radius, tolerance, steps):
    found = lengths(ellipse(radius, radius, steps), steps)
    assert found["perimeter"] == pytest.approx(2 * math.pi * radius, rel=tolerance)
    assert found["equivalent_diameter"] == pytest.approx(2 * radius, rel=tolerance)
    assert found["major_axis"] == pytest.approx(2 * radius, rel=2.5 * tolerance)
    assert found["circularity"] == pytest.approx(1, abs=0.01)
    assert found["eccentricity"] < 0.25
    pixel = math.hypot(*steps)
    assert 2 * radius - pixel <= found["feret_min"] <= found["feret_max"] <= 2 * radius + pixel


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4, 2.0])
def test_ellipses(angle):
    """Half axes 30 and 60: perimeter by the complete elliptic integral."""
    mask = ellipse(30, 60, angle=angle)
    found = lengths(mask)
    assert found["perimeter"] == pytest.approx(4 * 60 * ellipe(0.75), rel=0.015)
    assert found["major_axis"] == pytest.approx(120, rel=0.005)
    assert found["minor_axis"] == pytest.approx(60, rel=0.01)
    assert found["eccentricity"] == pytest.approx(math.sqrt(0.75), abs=0.005)
    assert found["feret_max"] == pytest.approx(120, abs=1.5)
    assert found["feret_min"] == pytest.approx(60, abs=1.5)


@pytest.mark.parametrize(("smallest", "largest", "error"), [(10, 20, 0.025), (50, 80, 0.005)])
def test_the_stated_error_of_the_perimeter_of_discs(smallest, largest, error):
    random = np.random.default_rng(0)
    found = []
    for _ in range(100):
        radius = random.uniform(smallest, largest)
        mask = ellipse(radius, radius, shift=random.uniform(-0.5, 0.5, 2))
        found.append(crofton_perimeter(mask) / (2 * math.pi * radius) - 1)
    assert np.abs(found).max() < error
    assert abs(np.mean(found)) < 0.002


def test_the_stated_error_of_the_perimeter_of_a_square():
    assert crofton_perimeter(np.ones((200, 200), bool)) / 800 == pytest.approx(0.948, abs=0.002)


@pytest.mark.parametrize("seed", range(5))
def test_crofton_is_scikit_images_for_square_pixels(seed):
    mask = np.random.default_rng(seed).random((17, 23)) < 0.6
    assert crofton_perimeter(mask) == pytest.approx(perimeter_crofton(mask), rel=1e-12)
    assert crofton_perimeter(mask, (0.5, 0.5)) == pytest.approx(perimeter_crofton(mask) / 2, rel=1e-12)
    assert crofton_perimeter(mask, (0.3, 0.8)) == pytest.approx(crofton_perimeter(mask.T, (0.8, 0.3)))


@pytest.mark.parametrize("steps", [(1.0, 1.0), (0.4, 1.3)])
@pytest.mark.parametrize("seed", range(5))
def test_feret_diameters_against_all_corners_and_many_angles(seed, steps):
    random = np.random.default_rng(seed)
    mask = random.random((9, 14)) < 0.15
    mask[4, 5] = True
    rows, columns = np.nonzero(mask)
    corners = np.array(
        [(r + i, c + j) for r, c in zip(rows, columns, strict=True) for i in (0, 1) for j in (0, 1)]
    )
    corners = corners * steps
    largest, smallest = feret_diameters(convex_hull(mask).corners * steps)
    apart = corners[:, None] - corners[None]
    assert largest == pytest.approx(np.hypot(apart[..., 0], apart[..., 1]).max(), rel=1e-12)
    angles = np.linspace(0, math.pi, 20001)
    widths = np.ptp(np.outer(np.sin(angles), corners[:, 0]) + np.outer(np.cos(angles), corners[:, 1]), axis=1)
    assert smallest <= widths.min() + 1e-9
    assert smallest == pytest.approx(widths.min(), rel=2e-3)


def test_the_hull_of_squares():
    assert convex_hull(np.ones((1, 1), bool)).area == pytest.approx(1)
    assert convex_hull(np.ones((3, 7), bool)).area == pytest.approx(21)
    corner = np.zeros((2, 2), bool)
    corner[:, 0] = corner[1, :] = True
    assert convex_hull(corner).area == pytest.approx(3.5)
    assert convex_hull(np.eye(2, dtype=bool)).area == pytest.approx(3)


def test_only_what_is_enclosed_is_a_hole():
    ring = np.ones((5, 5), bool)
    ring[2, 1:4] = False
    assert fill_holes(ring).all()
    ring[2, 0] = False  # opened to the side
    np.testing.assert_array_equal(fill_holes(ring), ring)
    diamond = np.zeros((5, 5), bool)
    diamond[[0, 1, 1, 2, 2, 3, 3, 4], [2, 1, 3, 0, 4, 1, 3, 2]] = True
    assert fill_holes(diamond).sum() == 13  # closed by its corners
