"""What the endpoints answer."""

import base64
import gzip
import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from web_service import (
    HERE,
    Bright,
    dicom_bytes,
    disc,
    encoded,
    model_info,
    nifti_bytes,
    sent,
    serving,
)

from delineate.inference.measurements import MEASUREMENTS
from delineate.inference.predictor import Predictor
from delineate.web.app import create_app
from delineate.web.hosted import model_names


@pytest.fixture(scope="module")
def client():
    with serving() as made:
        yield made


def pixels(text):
    return np.array(Image.open(io.BytesIO(base64.b64decode(text))))


def test_models_say_what_they_are(tmp_path):
    run = tmp_path / "second"
    run.mkdir()
    record = {"dataset": "ph2", "cases": {"train": 3}, "epochs": 2, "finished": "2026-01-01", "seed": 0}
    (run / "record.json").write_text(json.dumps(record))
    (run / "summary.json").write_text(json.dumps({"test": {"dice": {"mean": 0.5, "low": None}}}))
    organs = Predictor(Bright(model_info(classes=("disc", "cup"), labels=())))
    with serving(more=[(organs, run)]) as client:
        first, second = client.get("/api/v1/models").json()
    assert (first["name"], first["classes"], first["labels"]) == ("bright", ["lesion"], ["good", "bad"])
    assert (first["threshold"], first["size"], first["backend"]) == (0.5, [32, 32], "bright")
    assert first["identity"] == "test@111111111111 bright"
    assert first["explanations"] == []
    assert first["corrections"] is False
    assert first["card"]["trained"] is None
    assert second["card"]["trained"] == {
        "dataset": "ph2", "cases": {"train": 3}, "epochs": 2, "finished": "2026-01-01"
    }  # fmt: skip
    assert second["card"]["scores"] == {"test": {"dice": 0.5}}


def test_an_answer_is_what_the_predictor_says(client):
    image = disc()
    answer = client.post("/api/v1/predict?uncertainty=true&spacing=0.5", **sent(encoded(image))).json()
    alone = Predictor(Bright(), uncertainty=True)(image)
    np.testing.assert_array_equal(pixels(answer["mask"]["png"]), alone.mask)
    shown = pixels(answer["probability"]["png8"])
    np.testing.assert_array_equal(shown, np.rint(alone.probability * 255))
    np.testing.assert_array_equal(
        pixels(answer["uncertainty"]["entropy"]), np.rint(alone.uncertainty.entropy * 255)
    )
    assert answer["uncertainty"]["variance"] is None
    assert answer["label"] == pytest.approx(alone.label)
    assert answer["chosen_label"] == "good"
    assert answer["look"] == pytest.approx(alone.uncertainty.look)
    assert (answer["height"], answer["width"], answer["spacing"]) == (40, 60, [0.5, 0.5])
    assert answer["explanation"] is None
    assert answer["research_only"] == "For research only, not for diagnosis."
    (lesion,) = answer["measurements"]
    assert lesion["class_name"] == "lesion"
    assert set(lesion["values"]) == set(MEASUREMENTS)
    assert lesion["values"]["area_px"] == alone.mask.sum()
    assert lesion["values"]["area_mm2"] == pytest.approx(alone.mask.sum() / 4)
    (feature,) = answer["mask"]["contours"]["features"]
    assert feature["properties"]["area_px"] == alone.mask.sum()
    assert "upload" not in json.dumps(answer["mask"]["contours"])


def test_what_is_not_asked_for_is_left_out(client):
    answer = client.post("/api/v1/predict?measure=false", **sent(encoded(disc()))).json()
    assert answer["measurements"] == []
    assert answer["uncertainty"] is None
    assert answer["spacing"] is None
    assert (answer["slices"], answer["slice"]) == (1, None)
    assert answer["look"] is not None


def test_models_without_mask_or_label_and_with_several_classes():
    labels = Predictor(Bright(model_info(classes=())), uncertainty=True)
    organs = Predictor(Bright(model_info(classes=("disc", "cup"), labels=())), uncertainty=True)
    with serving(labels, "runs/a", more=[(organs, Path("other/a"))]) as client:
        answer = client.post("/api/v1/predict", **sent(encoded(disc()))).json()
        assert (answer["mask"], answer["probability"], answer["measurements"]) == (None, None, [])
        assert sum(answer["label"].values()) == pytest.approx(1)
        answer = client.post("/api/v1/predict?model=a-2", **sent(encoded(disc()))).json()
        assert (answer["label"], answer["chosen_label"]) == (None, None)
        assert len(answer["probability"]["png8"]) == 2
        assert pixels(answer["mask"]["png"]).max() == 1
        wrong = client.post("/api/v1/predict?model=a-3", **sent(encoded(disc())))
    assert wrong.status_code == 404
    assert wrong.json() == {
        "error": "There is no model 'a-3' here. Did you mean 'a-2'?", "code": "unknown_model"
    }  # fmt: skip


def test_names_of_models():
    assert model_names(["runs/a", "x/a/", "b", "y/a"]) == ["a", "a-2", "b", "a-3"]


@pytest.mark.parametrize("method", ["clnet", "gradcam", "gradcam++", "auto"])
def test_activation_maps(network, method):
    with serving(network, "runs/real") as client:
        (model,) = client.get("/api/v1/models").json()
        assert model["explanations"] == ["clnet", "gradcam", "gradcam++"]
        answer = client.post(f"/api/v1/predict?explain={method.replace('+', '%2B')}", **sent(encoded(disc())))
    found = answer.json()["explanation"]
    name = "clnet" if method == "auto" else method
    assert (found["method"], found["target"]) == (name, "label")
    expected = network.explain(disc(), method=name)
    np.testing.assert_allclose(pixels(found["png"]), expected * 255, atol=0.51)


def test_an_activation_map_that_there_is_not(client):
    answer = client.post("/api/v1/predict?explain=clnet", **sent(encoded(disc())))
    assert answer.status_code == 422
    assert answer.json()["error"] == "explain must be one of none for this model."


def test_every_kind_of_file(client):
    grey = disc()[..., 0]
    kinds = {
        "x.png": encoded(disc()),
        "x.bmp": encoded(disc(), "BMP"),
        "x.tif": encoded(grey, "TIFF"),
        "x.jpg": encoded(disc(), "JPEG", quality=100),
        "colour.dcm": dicom_bytes(disc()),
        "grey.dcm": dicom_bytes(grey.astype(np.uint16) * 16, WindowCenter=2048, WindowWidth=4096),
        "x.nii": nifti_bytes(grey.T[::-1, ::-1, None]),
        "x.nii.gz": gzip.compress(nifti_bytes(grey.T[::-1, ::-1, None])),
    }
    for name, content in kinds.items():
        answer = client.post("/api/v1/predict", **sent(content, "../../" + name))
        assert answer.status_code == 200, (name, answer.text)
        found = pixels(answer.json()["mask"]["png"])
        assert found.shape == grey.shape, name
        assert (found != (grey > 127)).mean() < 0.03, name
        spacing = [0.7, 0.5] if ".nii" in name else None
        assert answer.json()["spacing"] == spacing


def test_stacks_need_a_position(client):
    frames = np.stack([np.full((20, 20), 0, np.uint16), disc(20, 20, 5)[..., 0].astype(np.uint16) * 256])
    content = dicom_bytes(frames, PixelSpacing=[0.2, 0.3])
    answer = client.post("/api/v1/predict", **sent(content))
    assert answer.status_code == 422
    assert answer.json()["code"] == "slice_needed"
    assert "The file holds 2 pictures; add slice=, from 0 to 1," in answer.json()["error"]
    assert answer.json()["slices"] == 2
    answer = client.post("/api/v1/predict?slice=1", **sent(content)).json()
    assert answer["spacing"] == [0.2, 0.3]
    assert (answer["slices"], answer["slice"]) == (2, 1)
    assert pixels(answer["mask"]["png"]).sum() > 30
    assert pixels(client.post("/api/v1/predict?slice=0", **sent(content)).json()["mask"]["png"]).sum() == 0
    answer = client.post("/api/v1/predict?slice=2", **sent(content))
    assert answer.json()["error"] == "The file holds 2 picture(s), numbered from 0, so there is no 2."


def test_a_batch_answers_for_each_file(client):
    good = encoded(disc())
    files = [
        ("file", ("a.png", good)),
        ("file", ("..\\evil/\x01b?.png", good[:60])),
        ("files", ("c.png", good)),
    ]
    answer = client.post("/api/v1/predict/batch", files=files)
    assert answer.status_code == 200
    first, second, third = answer.json()["results"]
    assert [e["index"] for e in (first, second, third)] == [0, 1, 2]
    assert (first["filename"], second["filename"]) == ("a.png", "_01b_.png")
    assert first["result"]["mask"] == third["result"]["mask"] | {
        "contours": first["result"]["mask"]["contours"]
    }
    assert first["error"] is None
    assert second["result"] is None
    assert second["error"]["code"] == "unreadable_image"
    assert second["error"]["error"].startswith("The image cannot be decoded")
    assert "/tmp" not in answer.text


def test_a_large_jpeg_is_answered_at_its_own_size(client):
    image = disc(600, 900, 200)
    answer = client.post("/api/v1/predict", **sent(encoded(image, "JPEG", quality=95))).json()
    (lesion,) = answer["measurements"]
    found = pixels(answer["mask"]["png"])
    assert found.shape == (600, 900)
    assert lesion["values"]["area_px"] == found.sum()
    assert (found != (image[..., 0] > 127)).mean() < 0.03


def test_only_the_largest_lesions_are_measured(client):
    image = np.full((400, 400, 3), 10, np.uint8)
    image[::40, ::40] = 255
    specks = Predictor(Bright(model_info(size=(400, 400))), uncertainty=True)
    image[200:230, 200:230] = 255
    with serving(specks) as fine:
        answer = fine.post("/api/v1/predict", **sent(encoded(image))).json()
    assert len(answer["mask"]["contours"]["features"]) > 90
    assert len(answer["measurements"]) == 50
    assert answer["measurements"][0]["values"]["area_px"] == 900


def test_watching(client):
    assert client.get("/health").json()["status"] == "alive"
    assert client.get("/ready").json() == {"status": "ready"}
    client.post("/api/v1/predict", **sent(encoded(disc())))
    client.post("/api/v1/predict", **sent(b"nothing"))
    client.get("/api/v1/nowhere/at/all")
    text = client.get("/metrics").text
    assert re.search(r'delineate_requests_total\{endpoint="/api/v1/predict",status="200"\} \d', text)
    assert 'delineate_rejected_total{reason="unsupported_type"} ' in text
    assert 'delineate_queue_images{model="bright"} 0.0' in text
    assert 'delineate_batch_images_count{model="bright"}' in text
    assert "process_resident_memory_bytes" in text
    assert "nowhere" not in text


def test_not_ready_before_the_first_pass(client):
    client.service.warm = False
    answer = client.get("/ready")
    client.service.warm = True
    assert answer.status_code == 503
    assert answer.json()["error"] == "Not ready: warming up."
    assert answer.headers["retry-after"] == "1"


def test_a_failed_warm_up_is_told(caplog):
    broken = Predictor(Bright(), uncertainty=True)
    broken.predict = lambda *_, **__: 1 / 0
    app = create_app([(broken, Path("runs/broken"))])
    with TestClient(app, base_url=HERE) as client:
        deadline = time.monotonic() + 10
        while not app.state.service.warm_up_failed and time.monotonic() < deadline:
            time.sleep(0.005)
        answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["error"] == "Not ready: the warm-up failed, and the log says why."
    assert "the model broken failed on its first picture" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_the_description_is_whole_and_needs_no_other_server(client):
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) >= {
        "/api/v1/models", "/api/v1/predict", "/api/v1/predict/batch", "/api/v1/measure", "/api/v1/render/png",
        "/api/v1/render/dicom-seg",
        "/health", "/ready", "/metrics",
    }  # fmt: skip
    body = api["paths"]["/api/v1/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert body["schema"]["required"] == ["file"]
    docs = client.get("/docs")
    for path in api["paths"]:
        assert path in docs.text
    assert "POST /api/v1/predict" in docs.text
    assert not re.search(r"(src|href)=\"(https?:)?//", docs.text)
    assert client.get("/docs/style.css").headers["content-type"].startswith("text/css")


def test_the_page_is_served_or_not(client):
    assert HERE in str(client.base_url)
    with serving(page=False) as bare:
        assert bare.get("/").status_code == 404
        assert bare.get("/").json()["code"] == "not_found"


def test_further_endpoints_have_the_same_guard():
    from fastapi import APIRouter

    router = APIRouter(prefix="/api/v1/corrections")
    closed = []

    @router.post("")
    async def store(body: dict) -> dict:
        return {"keys": sorted(body)}

    router.add_event_handler("shutdown", lambda: closed.append(True))
    with serving(routers=[router], max_upload_bytes=1000) as client:
        assert client.get("/api/v1/models").json()[0]["corrections"] is True
        assert client.post("/api/v1/corrections", json={"a": 1}).json() == {"keys": ["a"]}
        answer = client.post("/api/v1/corrections", json={"a": "x" * 80_000})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert client.post("/api/v1/corrections", content=b"{").status_code == 422
