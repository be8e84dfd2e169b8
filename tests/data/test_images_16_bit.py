"""Pictures and masks of more than 8 bits per channel, and their windows."""

import numpy as np
import pytest
from raw_pictures import deep_png, deep_tiff
from tiny_data import disc, picture, save

from delineate.checks import InputError
from delineate.data import MaskEncoding, read_image, read_mask

BINARY = MaskEncoding()
DEEP = np.random.default_rng(0).integers(300, 50_000, (9, 7, 4)).astype(np.uint16)


def stretched(values, low, high):
    return np.rint(np.clip((values.astype(float) - low) * 255 / (high - low), 0, 255))


def test_sixteen_bit_colour_keeps_its_low_bytes(tmp_path):
    colour = DEEP[..., :3] // 100 + 7  # within 500 levels: in the high bytes alone two would be left
    low, high = int(colour.min()), int(colour.max())
    files = [deep_png(tmp_path / "x.png", colour, 2)]
    files += [
        deep_tiff(tmp_path / f"{name}.tif", colour, order) for name, order in (("ii", "<"), ("mm", ">"))
    ]
    for path in files:
        np.testing.assert_array_equal(read_image(path), stretched(colour, low, high))
        np.testing.assert_array_equal(read_image(path, data=path.read_bytes()), read_image(path))
        np.testing.assert_array_equal(read_image(path, window=(50, 250)), stretched(colour, 50, 250))


def test_sixteen_bit_colour_with_alpha(tmp_path):
    opaque = DEEP.copy()
    opaque[..., 3] = 65535
    path = deep_png(tmp_path / "rgba.png", opaque, 6)
    np.testing.assert_array_equal(read_image(path, window=(0, 50_000)), stretched(opaque[..., :3], 0, 50_000))
    path = deep_png(tmp_path / "la.png", opaque[..., [0, 3]], 4)
    np.testing.assert_array_equal(
        read_image(path, window=(9, 999))[..., 1], stretched(opaque[..., 0], 9, 999)
    )
    path = deep_png(tmp_path / "glass.png", DEEP[..., [0, 3]], 4)
    seen = np.rint(DEEP[..., 0] * (DEEP[..., 3] / 65535))
    np.testing.assert_array_equal(read_image(path, window=(0, 9999))[..., 0], stretched(seen, 0, 9999))


def test_sixteen_bit_grey(tmp_path):
    grey = DEEP[..., 0]
    low, high = int(grey.min()), int(grey.max())
    files = [save(grey, tmp_path / "x.png"), save(grey, tmp_path / "x.tif")]
    files += [deep_tiff(tmp_path / f"{name}.tif", grey, order) for name, order in (("ii", "<"), ("mm", ">"))]
    for path in files:
        np.testing.assert_array_equal(read_image(path)[..., 0], stretched(grey, low, high))
        np.testing.assert_array_equal(
            read_image(path, window=(1000, 2000))[..., 2], stretched(grey, 1000, 2000)
        )
    white = deep_tiff(tmp_path / "white.tif", 65535 - grey, photometric=0)
    np.testing.assert_array_equal(read_image(white)[..., 0], stretched(grey, low, high))
    flat = save(np.full((4, 5), 700, np.uint16), tmp_path / "flat.png")
    assert not read_image(flat).any()
    path = save(grey.astype(np.float32) / 1000, tmp_path / "f.tif")
    assert np.abs(read_image(path)[..., 0] - stretched(grey, low, high)).max() <= 1


def test_a_window_counts_for_eight_bits_too(tmp_path):
    path = save(picture(1), tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(path, window=(20, 90)), stretched(picture(1), 20, 90))
    for window in ((5, 5), (9, 1), (0, float("nan"))):
        with pytest.raises(
            InputError, match=r"The window .* of .*x.png is none; give two numbers, the lower"
        ):
            read_image(path, window=window)


def test_masks_of_sixteen_bits(tmp_path):
    mask = (disc(1) > 0).astype(np.uint16)
    for top in (1, 255, 65535):
        np.testing.assert_array_equal(read_mask(save(mask * top, tmp_path / f"{top}.png"), BINARY), mask)
    classes = MaskEncoding(("a", "b"), (1, 2))
    path = save(np.array([[0, 1], [2, 1]], np.uint16), tmp_path / "c.tif")
    np.testing.assert_array_equal(read_mask(path, classes), [[0, 1], [2, 1]])
    with pytest.raises(InputError, match=r"x.png holds values from 0 to 300, but a mask holds whole numbers"):
        read_mask(save(mask * 300, tmp_path / "x.png"), BINARY)


def test_colours_that_are_stored_apart_are_refused(tmp_path):
    path = deep_tiff(tmp_path / "apart.tif", DEEP[..., :3], planar=2)
    with pytest.raises(
        InputError, match=r"apart.tif stores its 16-bit colours apart; convert it to 16-bit RGB"
    ):
        read_image(path)
