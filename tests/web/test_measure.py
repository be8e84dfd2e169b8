"""Masks that clients send are measured as the masks of predictions are."""

import base64

import numpy as np
import pytest
from web_service import Bright, dicom_bytes, disc, encoded, model_info, serving

from delineate.inference.measurements import measure
from delineate.inference.predictor import Predictor

PATH = "/api/v1/measure"
IMAGE = disc(40, 60)


@pytest.fixture(scope="module")
def client():
    with serving(max_pixels=100_000) as made:
        yield made


def both(image, mask):
    return {"files": [("file", ("a", image)), ("mask", ("mask.png", mask))]}


@pytest.mark.parametrize("scale", [1, 255])
def test_a_drawn_mask_is_measured_on_its_image(client, scale):
    mask = np.zeros((40, 60), np.uint8)
    mask[5:15, 10:30] = 1
    mask[30:33, 40:44] = 1
    answer = client.post(PATH + "?spacing=0.5,0.25", **both(encoded(IMAGE), encoded(mask * scale)))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["spacing"] == [0.5, 0.25]
    assert told["research_only"] == "For research only, not for diagnosis."
    large, small = told["measurements"]
    assert (large["class_name"], large["index"], large["bbox"]) == ("lesion", 1, [5, 10, 15, 30])
    assert large["values"]["area_px"] == 200
    assert large["values"]["area_mm2"] == pytest.approx(200 * 0.5 * 0.25)
    assert small["values"]["area_px"] == 12
    expected = measure(mask, IMAGE, classes=("lesion",), spacing=(0.5, 0.25))
    assert large["values"] == pytest.approx(expected[0].values, nan_ok=True)  # colours too


def test_the_mask_of_a_prediction_measures_the_same(client):
    content = encoded(IMAGE, "JPEG", quality=95)
    predicted = client.post("/api/v1/predict?spacing=0.1", **both(content, b"")).json()
    mask = base64.b64decode(predicted["mask"]["png"])
    again = client.post(PATH + "?spacing=0.1", **both(content, mask)).json()
    assert len(again["measurements"]) == 1
    assert again["measurements"] == predicted["measurements"]


def test_an_empty_mask_has_no_lesion(client):
    answer = client.post(PATH, **both(encoded(IMAGE), encoded(np.zeros((40, 60), np.uint8))))
    assert (answer.json()["measurements"], answer.json()["spacing"]) == ([], None)


def test_a_slice_has_the_spacing_of_its_file(client):
    frames = np.stack([IMAGE[..., 0].astype(np.uint16)] * 3)
    content = dicom_bytes(frames, PixelSpacing=[0.2, 0.3])
    mask = encoded((IMAGE[..., 0] > 127).astype(np.uint8))
    lacking = client.post(PATH, **both(content, mask)).json()
    assert (lacking["code"], lacking["slices"]) == ("slice_needed", 3)
    answer = client.post(PATH + "?slice=2", **both(content, mask)).json()
    assert answer["spacing"] == [0.2, 0.3]
    area = (IMAGE[..., 0] > 127).sum() * 0.2 * 0.3
    assert answer["measurements"][0]["values"]["area_mm2"] == pytest.approx(area)


def test_specks_are_measured_no_further_than_in_a_prediction(client):
    mask = np.zeros((40, 60), np.uint8)
    mask[::4, ::4] = 1  # 150 of them
    answer = client.post(PATH, **both(encoded(IMAGE), encoded(mask)))
    assert len(answer.json()["measurements"]) == 50


MASK = encoded((IMAGE[..., 0] > 127).astype(np.uint8))
LARGE = encoded(np.zeros((3000, 3000), np.uint8))


@pytest.mark.parametrize(
    ("query", "image", "mask", "status", "message"),
    [
        ("", encoded(IMAGE), LARGE, 422, "The mask has 3000 x 3000 pixels, its image 40 x 60; send a mask"),
        ("", encoded(IMAGE), encoded(IMAGE[..., 0]), 422, "The mask holds the value 220, but there are 1"),
        ("", encoded(IMAGE), b"\x89PNG", 422, "The mask is no readable PNG; send it again."),
        ("", LARGE, MASK, 413, "The image has 3000 x 3000 pixels, but a picture may have 100000"),
        ("", b"x", MASK, 415, "The file is none of PNG, JPEG"),
        ("?spacing=-1", encoded(IMAGE), MASK, 422, "spacing must be one or two numbers of millimetres"),
        ("?slice=1", encoded(IMAGE), MASK, 422, "The file holds 1 picture(s), numbered from 0, so there is"),
        ("?model=other", encoded(IMAGE), MASK, 404, "There is no model 'other' here."),
    ],
)
def test_what_cannot_be_measured(client, query, image, mask, status, message):
    answer = client.post(PATH + query, **both(image, mask))
    assert (answer.status_code, message in answer.json()["error"]) == (status, True), answer.text
    assert "/tmp" not in answer.text
    assert client.service.in_work == 0


def test_both_files_and_a_model_with_masks_are_needed(client):
    answer = client.post(PATH, files={"file": ("a", encoded(IMAGE))})
    assert answer.json()["error"] == "Send one file, in a part named mask with a file name; got 0."
    with serving(Predictor(Bright(model_info(classes=())))) as labels:
        answer = labels.post(PATH, **both(encoded(IMAGE), MASK))
    assert answer.json() == {"error": "This model only classifies, so it has no masks.", "code": "no_classes"}
