"""Reading single files."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_data import disc, picture, save

from delineate.checks import InputError
from delineate.data import MaskEncoding, image_size, read_image, read_mask

BINARY = MaskEncoding()


def png(path: Path, width: int, height: int, depth: int, colour: int, raw: bytes) -> Path:
    """A PNG written by hand, for kinds that Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


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


def refused_files(folder: Path) -> dict[str, tuple[Path, str]]:
    rgb = Image.fromarray(picture(1))
    files = {
        "alpha": (save(np.dstack([picture(1), disc(1)]), folder / "alpha.png"), "alpha channel"),
        "grey-alpha": (folder / "la.png", "alpha channel"),
        "16-bit grey": (save(disc(1).astype(np.uint16), folder / "16.png"), "more than 8 bits per channel"),
        "16-bit tiff": (save(disc(1).astype(np.uint16), folder / "16.tif"), "more than 8 bits per channel"),
        "float": (save(disc(1).astype(np.float32), folder / "f.tif"), "more than 8 bits per channel"),
        "16-bit rgb": (
            png(folder / "rgb16.png", 4, 4, 16, 2, (b"\0" + b"\1\2" * 12) * 4),
            "more than 8 bits per channel",
        ),
        "cmyk": (folder / "cmyk.jpg", "is stored as CMYK; convert it to 8-bit RGB"),
        "stack": (folder / "stack.tif", "holds 2 pages; save each page"),
        "bomb": (png(folder / "bomb.png", 40000, 40000, 8, 2, b""), "more than 178956970 pixels"),
        "empty": (folder / "empty.png", "is an empty file"),
        "text": (folder / "text.png", "is damaged or not a PNG, JPEG, BMP or TIFF image"),
        "missing": (folder / "missing.png", "does not exist"),
        "folder": (folder / "folder.png", "is a folder"),
        "other format": (folder / "gif.png", "is damaged or not a PNG, JPEG, BMP or TIFF image"),
    }
    rgb.convert("LA").save(folder / "la.png")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.save(folder / "stack.tif", save_all=True, append_images=[rgb])
    rgb.save(folder / "gif.png", format="GIF")
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no image", encoding="utf-8")
    (folder / "folder.png").mkdir()
    return files


KINDS = [
    "alpha",
    "grey-alpha",
    "16-bit grey",
    "16-bit tiff",
    "float",
    "16-bit rgb",
    "cmyk",
    "stack",
    "bomb",
    "empty",
    "text",
    "missing",
    "folder",
    "other format",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [read_image, lambda path: read_mask(path, BINARY)], ids=["image", "mask"])
def test_refused_with_one_sentence_that_names_the_file(tmp_path, kind, read):
    path, text = refused_files(tmp_path)[kind]
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert text in str(error.value)
    assert str(error.value).endswith((".", ".convert('RGB')."))
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
