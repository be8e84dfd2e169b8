"""Outlines in the right place, and pictures that carry their own data."""

import base64
import io
import re

import numpy as np
from PIL import Image

from delineate.study.pictures import activation_svg, heat_uri, outline, overlay_svg, thumbnail


def points(path):
    return np.array([[float(v) for v in pair.split()] for pair in re.findall(r"[\d.]+ [\d.]+", path)])


def test_an_outline_encloses_its_mask():
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:20, 30:50] = 1  # in SVG the edges are x = 30, 50 and y = 10, 20
    found = points(outline(mask, (40, 60)))
    np.testing.assert_allclose(found.min(0), [30, 10], atol=0.05)
    np.testing.assert_allclose(found.max(0), [50, 20], atol=0.05)


def test_an_outline_scales_with_the_picture():
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:20, 30:50] = 1
    found = points(outline(mask, (20, 30)))
    np.testing.assert_allclose(found.min(0), [15, 5], atol=0.3)
    np.testing.assert_allclose(found.max(0), [25, 10], atol=0.3)


def test_a_mask_that_fills_the_image_is_outlined_at_the_frame():
    found = points(outline(np.ones((8, 9), dtype=np.uint8), (8, 9)))
    np.testing.assert_array_equal(found.min(0), [0, 0])
    np.testing.assert_array_equal(found.max(0), [9, 8])


def test_empty_holes_and_classes():
    assert outline(np.zeros((8, 8), dtype=np.uint8), (8, 8)) == ""
    ring = np.zeros((30, 30), dtype=np.uint8)
    ring[5:25, 5:25] = 1
    ring[10:20, 10:20] = 0
    assert outline(ring, (30, 30)).count("M") == 2
    ring[10:20, 10:20] = 2
    assert outline(ring, (30, 30)).count("M") == 3  # outside and inside of class 1, outside of class 2


def test_thumbnails_keep_the_aspect_and_never_grow():
    image = np.zeros((100, 300, 3), dtype=np.uint8)
    assert thumbnail(image, 150).shape == (50, 150, 3)
    assert thumbnail(image, 1000) is image


def test_pictures_escape_and_hold_their_image():
    image = np.full((10, 20, 3), 200, dtype=np.uint8)
    svg = overlay_svg(image, {"reference": "M0 0L1 1Z", "prediction": ""}, '<b>&"')
    assert "<title>&lt;b&gt;&amp;&#34;</title>" in svg
    assert svg.count('class="reference"') == 1
    assert 'class="prediction"' not in svg
    encoded = re.search(r"data:image/jpeg;base64,([^\"]+)", svg)[1]
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (20, 10)
    assert activation_svg(image, np.zeros((2, 4), dtype=np.float32), {}, "x").count("<image") == 2


def test_heat_is_transparent_where_the_map_is_zero():
    uri = heat_uri(np.array([[0.0, 1.0]], dtype=np.float32))
    alpha = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))[0, :, 3]
    assert alpha[0] == 0
    assert alpha[1] > 128
