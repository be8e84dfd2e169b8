"""The optic disc's region, on phantoms of fundus photographs whose disc is known."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from delineate.checks import InputError
from delineate.data.regions import REGIONS, SIDE, Box, optic_disc_region

SIZE = 240


def phantom(seed, lesion=True):
    """Draw a fundus photograph: (H, W, 3) uint8, and the mask of its disc.

    Dark surroundings, a reddish field under uneven light, a disc with a brighter cup, eight vessels that bend
    away from it, a dark macula, noise; and a bright lesion of up to the disc's size without vessels.
    """
    random = np.random.default_rng(seed)
    height, width = SIZE, SIZE + int(random.integers(0, 60))
    rows, columns = np.mgrid[:height, :width].astype(float)
    middle = np.array([height / 2, width / 2])
    field = np.hypot(rows - middle[0], columns - middle[1]) < 0.47 * SIZE

    slope = random.uniform(-0.35, 0.35, 2)
    light = 1 + slope[0] * (rows - middle[0]) / SIZE + slope[1] * (columns - middle[1]) / SIZE
    light *= 1.05 - 0.8 * ((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2) / SIZE**2
    picture = np.array([150.0, 75.0, 30.0]) * random.uniform(0.7, 1.2, 3) * light[..., None]

    angle, reach = random.uniform(0, 2 * np.pi), random.uniform(0, 0.33)
    disc_at = middle + reach * SIZE * np.array([np.sin(angle), np.cos(angle)])
    radius = random.uniform(0.05, 0.08) * SIZE
    apart = np.hypot((rows - disc_at[0]) / random.uniform(0.95, 1.15), columns - disc_at[1])
    edge = 1 / (1 + np.exp((apart - radius) / 1.5))
    cup = 1 / (1 + np.exp((apart - random.uniform(0.3, 0.7) * radius) / 1.5))
    picture *= 1 + (random.uniform(0.35, 0.6) * edge + 0.3 * cup)[..., None] * [0.7, 1.2, 1.2]

    temporal = 5 * radius * (1 if disc_at[1] < middle[1] else -1)  # two and a half discs away
    macula = np.hypot(rows - disc_at[0], columns - disc_at[1] - temporal)
    picture *= (1 - 0.35 * np.exp(-((macula / (0.06 * SIZE)) ** 2)))[..., None]

    vessels = np.zeros((height, width))
    for start in np.linspace(0, 2 * np.pi, 8, endpoint=False) + random.uniform(0, 1):
        place, turn = disc_at.copy(), random.uniform(-0.012, 0.012)
        for step in range(int(0.8 * SIZE)):
            place = place + [np.sin(start + turn * step), np.cos(start + turn * step)]
            row, column = place.round().astype(int)
            if 0 <= row < height and 0 <= column < width:
                vessels[row, column] = 1
    vessels = np.minimum(ndimage.gaussian_filter(vessels, 1.2) * 3, 1)
    picture *= 1 - vessels[..., None] * [0.25, 0.45, 0.35]

    if lesion:
        opposite = middle - (disc_at - middle) + random.normal(0, 0.08 * SIZE, 2)
        if np.hypot(*(opposite - disc_at)) < 4 * radius:  # a disc in the middle leaves room beside it
            opposite = disc_at + [0, 4 * radius]
        away = np.hypot(rows - opposite[0], columns - opposite[1])
        picture += (
            60 * np.exp(-((away / (random.uniform(0.3, 0.9) * radius)) ** 4))[..., None] * [0.8, 1, 0.6]
        )

    picture = np.where(field[..., None], picture, 4) + random.normal(0, 3, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), (apart < radius) & field


def test_the_region_holds_the_disc_of_nearly_every_phantom():
    held = 0
    for seed in range(60):
        image, disc = phantom(seed)
        held += bool(optic_disc_region(image).crop(disc).sum() == disc.sum())
    assert held >= 57  # 95 % of 60


def test_a_larger_copy_gives_the_same_region_larger():
    image, _ = phantom(3)
    double = np.asarray(Image.fromarray(image).resize((2 * image.shape[1], 2 * image.shape[0])))
    one, two = optic_disc_region(image), optic_disc_region(double)
    assert np.abs(2 * np.array(one) - np.array(two)).max() <= 8


def test_the_side_is_a_share_of_the_field_and_the_box_is_inside():
    image, _ = phantom(5)
    field = 2 * 0.47 * SIZE
    for share in (0.2, SIDE, 0.7, 1.0):
        box = optic_disc_region(image, share)
        assert box.height == box.width
        assert box.height == pytest.approx(share * field, rel=0.03)
        assert min(box) >= 0
        assert box.top + box.height <= image.shape[0]
        assert box.left + box.width <= image.shape[1]
    assert optic_disc_region(image) == optic_disc_region(image, SIDE)


def test_a_square_does_not_leave_the_picture():
    image, disc = phantom(7, lesion=False)
    rows, columns = np.nonzero(disc)
    cut = image[max(0, rows.min() - 4) :, max(0, columns.min() - 4) :]  # the disc in the corner
    box = optic_disc_region(cut, 1.0)
    assert box.height == min(cut.shape[:2])
    assert box.crop(cut).shape[:2] == (box.height, box.width)


def test_crop_cuts_rows_and_columns():
    array = np.arange(20).reshape(4, 5)
    assert Box(1, 2, 2, 3).crop(array).tolist() == [[7, 8, 9], [12, 13, 14]]


def test_the_picture_is_left_as_it_was():
    image, _ = phantom(1)
    before = image.copy()
    optic_disc_region(image)
    np.testing.assert_array_equal(image, before)


def test_table_of_regions():
    image, _ = phantom(2)
    assert REGIONS["optic-disc"](image) == optic_disc_region(image)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((200, 200, 3), np.uint8), "no field of view"),
        (np.full((200, 200, 3), 90, np.uint8), "of one colour"),
        (np.zeros((200, 40, 3), np.uint8), "200 x 40 pixels, too few"),
        (np.zeros((200, 200), np.uint8), r"200x200 uint8; read it with read_case_image"),
        (np.zeros((200, 200, 3), np.float32), "float32"),
    ],
)
def test_pictures_without_a_field_of_view_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        optic_disc_region(image)


def test_a_small_lamp_in_the_dark_is_no_field_of_view():
    image = np.zeros((200, 200, 3), np.uint8)
    image[90:110, 90:110] = 200
    with pytest.raises(InputError, match="less than a fifth of it is lit"):
        optic_disc_region(image)


@pytest.mark.parametrize("side", [0, -0.1, 1.1, float("nan")])
def test_sides_out_of_range_are_refused(side):
    image, _ = phantom(1)
    with pytest.raises(InputError, match="share of the field of view"):
        optic_disc_region(image, side)
