"""Reading single files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from raw_pictures import png
from tiny_data import disc, picture, save

from delineate.checks import InputError
from delineate.data import Case, MaskEncoding, image_size, read_image, read_mask
from delineate.data.images import case_image_size, read_case_image

BINARY = MaskEncoding()


@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_lossless_colour_comes_back_exactly(tmp_path, ending):
    expected = picture(1)
    image = read_image(save(expected, tmp_path / f"x.{ending}"))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


def test_grey_and_palette_become_rgb(tmp_path):
    grey = picture(2)[..., 0]
    np.testing.assert_array_equal(read_image(save(grey, tmp_path / "g.png")), np.stack([grey] * 3, axis=2))
    palette = Image.fromarray(picture(3)).quantize(8)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))
    bits = disc(0) > 0
    np.testing.assert_array_equal(read_image(save(bits, tmp_path / "b.png"))[..., 1], bits * 255)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_orientation_is_applied(tmp_path, ending):
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[:8, :8] = 255  # top left as stored; orientation 6 says: turn clockwise, so it shows top right
    path = tmp_path / f"x.{ending}"
    image = Image.fromarray(stored)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, **({"tiffinfo": {0x0112: 6}} if ending == "tif" else {"exif": exif}))
    upright = read_image(path)
    assert upright.shape == (40, 24, 3)
    assert upright[2, -3].min() > 200
    assert upright[2, 2].max() < 50
    assert image_size(path) == (40, 24)


def test_image_size_needs_no_pixels(tmp_path):
    path = save(picture(1, (300, 400)), tmp_path / "x.png")
    path.write_bytes(path.read_bytes()[:200])
    assert image_size(path) == (300, 400)
    with pytest.raises(InputError):
        read_image(path)


def test_opaque_alpha_is_dropped_and_transparency_is_shown_over_black(tmp_path):
    colour, half = picture(1), np.full((24, 32), 128, np.uint8)
    opaque = save(np.dstack([colour, half | 255]), tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_image(opaque), colour)
    grey = Image.fromarray(colour[..., 0]).convert("LA")
    grey.save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png")[..., 2], colour[..., 0])
    for ending in ("png", "tif"):
        glass = save(np.dstack([colour, half]), tmp_path / f"glass.{ending}")
        assert np.abs(read_image(glass) - colour * (128 / 255)).max() <= 1
    palette = Image.fromarray(colour).quantize(8)
    palette.save(tmp_path / "p.png", transparency=3)
    shown = np.asarray(palette.convert("RGB")) * (np.asarray(palette) != 3)[..., None]
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), shown)


def test_masks_may_have_alpha_only_where_it_hides_nothing(tmp_path):
    mask = disc(1)
    for name, array in {"rgba": [mask] * 3, "la": [mask]}.items():
        path = save(np.dstack([*array, np.full_like(mask, 255)]), tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_mask(path, BINARY), mask > 0)
    path = save(np.dstack([mask, mask, mask, mask]), tmp_path / "cut.png")
    with pytest.raises(
        InputError, match=r"cut.png has transparent pixels, and a mask may not leave open what"
    ):
        read_mask(path, BINARY)


def test_pages_of_a_tiff(tmp_path):
    path = tmp_path / "stack.tif"
    pages = [Image.fromarray(picture(k, (20 + k, 30))) for k in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    for k in range(3):
        np.testing.assert_array_equal(read_image(path, slice=k), picture(k, (20 + k, 30)))
        assert case_image_size(Case("x", path, slice=k)) == (20 + k, 30)
    with pytest.raises(InputError, match=r"stack.tif holds 3 pages, numbered from 0, so there is no page 3"):
        read_image(path, slice=3)
    masks = [Image.fromarray(disc(k)) for k in range(2)]
    masks[0].save(tmp_path / "masks.tif", save_all=True, append_images=masks[1:])
    np.testing.assert_array_equal(read_mask(tmp_path / "masks.tif", BINARY, slice=1), disc(1) > 0)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif"])
def test_in_memory(tmp_path, ending):
    path = save(picture(1), tmp_path / f"x.{ending}")
    content = path.read_bytes()
    expected = read_image(path)
    path.unlink()
    np.testing.assert_array_equal(read_image(path, data=content), expected)


def smooth(size, seed=0):
    """Something like a photograph: blots with soft and some sharp edges."""
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)
    values = np.array(image)
    values[size[0] // 4 : size[0] // 2, size[1] // 3 : size[1] // 2] //= 3
    return values


@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
@pytest.mark.parametrize(
    ("target", "scale"), [((50, 60), 4), ((30, 40), 8), ((150, 100), 1), ((100, 150), 2)]
)
def test_jpeg_is_decoded_at_a_smaller_scale(tmp_path, orientation, target, scale):
    stored = smooth((500, 641))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(stored, tmp_path / "x.jpg", exif=exif, quality=95)
    whole = read_image(path)
    target = target if orientation < 5 else target[::-1]
    reduced = read_image(path, reduce_to=target)
    assert reduced.shape[:2] == tuple(round(side / scale) for side in whole.shape[:2])
    assert all(side >= 2 * wanted for side, wanted in zip(reduced.shape[:2], target, strict=True))
    ends = [
        np.asarray(Image.fromarray(x).resize(target[::-1], Image.Resampling.BILINEAR), int)
        for x in (whole, reduced)
    ]
    difference = np.abs(ends[0] - ends[1])
    assert difference.mean() < (0.9 if scale == 8 else 0.4)  # unaligned it would be 1.0 to 2.8
    assert difference.max() <= 16
    if scale == 1:
        np.testing.assert_array_equal(whole, reduced)


def test_only_jpeg_is_decoded_smaller_and_never_a_mask(tmp_path):
    path = save(smooth((200, 300)), tmp_path / "x.png")
    assert read_image(path, reduce_to=(10, 10)).shape == (200, 300, 3)
    small = save(smooth((20, 30)), tmp_path / "x.jpg")
    assert read_image(small, reduce_to=(200, 300)).shape == (20, 30, 3)
    case = Case("x", save(smooth((200, 300)), tmp_path / "y.jpg"))
    assert read_case_image(case, reduce_to=(30, 40)).shape == (100, 150, 3)


def refused_files(folder: Path) -> dict[str, tuple[Path, str]]:
    rgb = Image.fromarray(picture(1))
    nan = disc(1).astype(np.float32)
    nan[0, 0] = np.nan
    files = {
        "NaN": (save(nan, folder / "f.tif"), "holds NaN or infinite values"),
        "cmyk": (folder / "cmyk.jpg", "is stored as CMYK; convert it to 8-bit RGB"),
        "stack": (folder / "stack.tif", "holds 2 pages; save each page"),
        "animation": (folder / "moving.png", "is an animation; save the frame that counts"),
        "bomb": (png(folder / "bomb.png", 40000, 40000, 8, 2, b""), "more than 178956970 pixels"),
        "empty": (folder / "empty.png", "is an empty file"),
        "text": (folder / "text.png", "is damaged or not a PNG, JPEG, BMP or TIFF image"),
        "missing": (folder / "missing.png", "does not exist"),
        "folder": (folder / "folder.png", "is a folder"),
        "other format": (folder / "gif.png", "is damaged or not a PNG, JPEG, BMP or TIFF image"),
    }
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.save(folder / "stack.tif", save_all=True, append_images=[rgb])
    rgb.save(folder / "moving.png", save_all=True, append_images=[Image.fromarray(picture(2))])
    rgb.save(folder / "gif.png", format="GIF")
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no image", encoding="utf-8")
    (folder / "folder.png").mkdir()
    return files


KINDS = ["NaN", "cmyk", "stack", "animation", "bomb", "empty", "text", "missing", "folder", "other format"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [read_image, lambda path: read_mask(path, BINARY)], ids=["image", "mask"])
def test_refused_with_one_sentence_that_names_the_file(tmp_path, kind, read):
    path, text = refused_files(tmp_path)[kind]
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert text in str(error.value)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), ending=st.sampled_from(["png", "jpg", "bmp", "tif"]), compressed=st.booleans())
def test_truncated_files_never_give_wrong_pixels(tmp_path, cut, ending, compressed):
    options = {"compression": "tiff_lzw"} if ending == "tif" and compressed else {}
    path = save(picture(7), tmp_path / f"x.{ending}", **options)
    whole = read_image(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    try:
        image = read_image(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
    else:
        np.testing.assert_array_equal(image, whole)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ending=st.sampled_from(["png", "jpg", "bmp", "tif"]))
def test_damaged_bytes_raise_nothing_but_input_errors(tmp_path, data, ending):
    path = save(picture(7), tmp_path / f"x.{ending}")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content) - 1, 400)))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    for read in (read_image, image_size, lambda p: read_mask(p, BINARY)):
        try:
            read(path)
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("top", [1, 255])
def test_binary_masks(tmp_path, top):
    mask = (disc(3) > 0).astype(np.uint8)
    read = read_mask(save(mask * top, tmp_path / "m.png"), BINARY)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, mask)
    colour = np.stack([mask * top] * 3, axis=2)
    np.testing.assert_array_equal(read_mask(save(colour, tmp_path / "c.png"), BINARY), mask)


def test_one_bit_and_empty_and_full_masks(tmp_path):
    np.testing.assert_array_equal(read_mask(save(disc(1) > 0, tmp_path / "b.png"), BINARY), disc(1) > 0)
    for value, index in ((0, 0), (1, 1), (255, 1)):
        path = save(np.full((4, 5), value, np.uint8), tmp_path / f"{value}.png")
        assert set(read_mask(path, BINARY).ravel()) == {index}


@pytest.mark.parametrize("values", [(0, 1, 255), (0, 128), (1, 255), (0, 254, 255)])
def test_other_values_in_a_binary_mask(tmp_path, values):
    mask = np.resize(np.array(values, np.uint8), (6, 6))
    path = save(mask, tmp_path / "m.png")
    with pytest.raises(InputError, match=r"holds the values .*name the classes in classes.csv") as error:
        read_mask(path, BINARY)
    assert f"{path} holds the values {', '.join(map(str, values))}, but" in str(error.value)


def test_many_wrong_values_are_cut_short(tmp_path):
    path = save(np.arange(256, dtype=np.uint8).reshape(16, 16), tmp_path / "m.png")
    with pytest.raises(InputError, match=r"0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 246 more, but"):
        read_mask(path, BINARY)


def test_multi_class(tmp_path):
    goals = MaskEncoding(classes=("rnfl", "gcipl", "choroid"), values=(0, 80, 160), background=255)
    path = save(np.array([[0, 80], [160, 255]], np.uint8), tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(path, goals), [[1, 2], [3, 0]])
    save(np.array([[0, 81], [160, 255]], np.uint8), path)
    with pytest.raises(
        InputError,
        match=r"the values 81, which are neither the background \(255\) nor a class \(0, 80, 160\)",
    ):
        read_mask(path, goals)


def test_colour_palette_holds_indices_and_grey_palette_holds_greys(tmp_path):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "voc.png")
    voc = MaskEncoding(classes=("plane", "bird"), values=(1, 2))
    np.testing.assert_array_equal(read_mask(tmp_path / "voc.png", voc), indices)
    image = Image.fromarray(indices % 2, "P")
    image.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white, as some editors write it
    image.save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "grey.png", BINARY), 1 - indices % 2)


def test_colour_mask_is_refused(tmp_path):
    path = save(picture(1), tmp_path / "m.png")
    with pytest.raises(InputError, match=r"is a colour image, but a mask holds one value per pixel"):
        read_mask(path, BINARY)
    with pytest.raises(InputError, match=r"is a colour image"):
        read_mask(path, MaskEncoding(threshold=128))


def test_jpeg_mask_has_a_threshold(tmp_path):
    path = save(disc(1, (64, 64)), tmp_path / "m.jpg", quality=60)
    assert len(np.unique(np.asarray(Image.open(path)))) > 2
    np.testing.assert_array_equal(read_mask(path, MaskEncoding(threshold=128)), disc(1, (64, 64)) > 0)


def test_classes_without_values(tmp_path):
    path = save(disc(1), tmp_path / "m.png")
    with pytest.raises(InputError, match="The mask classes a, b have no file values"):
        read_mask(path, MaskEncoding(classes=("a", "b")))
