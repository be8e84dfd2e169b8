"""A service with models that need no training, and pictures whose answer is known."""

import io
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from delineate.inference.predictor import Predictor
from delineate.models import create_model
from delineate.models.checkpoint import ModelInfo
from delineate.models.prediction import Prediction
from delineate.web.app import create_app
from delineate.web.server import make_server
from delineate.web.settings import Settings

HERE = "http://127.0.0.1"


def model_info(**changes):
    return ModelInfo(
        **{
            "model": "clnet",
            "encoder": "test_resnet",
            "options": {"widths": [8, 8, 16, 16, 16]},
            "classes": ("lesion",),
            "labels": ("good", "bad"),
            "size": (32, 32),
            "normalisation": "unit",
            "threshold": 0.5,
            "recipe": "test",
            "recipe_sha256": "0" * 64,
            "weights_sha256": "1" * 64,
            "delineate": "0.0.0",
        }
        | changes
    )


class Bright:
    """A backend that takes what is brighter than 127.5 for lesion, and bright pictures for bad ones."""

    name, device_name, notes = "bright", "cpu", ()

    def __init__(self, info=None, seconds=0.0):
        self.info = info or model_info()
        self.seconds = seconds
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        time.sleep(self.seconds)
        grey = torch.from_numpy(images).float().mean(3)
        mask = (grey[:, None] - 127.5) / 16
        if len(self.info.classes) > 1:
            mask = torch.cat([-mask, mask, mask - 1], 1)
        label = (grey.mean((1, 2)) - 127.5)[:, None] / 64
        return Prediction(mask=mask if self.info.classes else None, label=label if self.info.labels else None)


def random_network():
    """A predictor with a real network of the table, with random weights."""
    torch.manual_seed(0)
    info = model_info()
    model = create_model("clnet", classes=1, labels=1, encoder="test_resnet", options=info.options)
    return Predictor(model, info, device="cpu", uncertainty=True)


@contextmanager
def serving(predictor=None, folder="runs/bright", *, more=(), routers=(), **limits):
    """A client of an application in this process; its `.service` is what the endpoints share."""
    predictor = predictor or Predictor(Bright(), uncertainty=True)
    app = create_app([(predictor, Path(folder)), *more], Settings(**limits), routers=routers)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        client.service = app.state.service
        deadline = time.monotonic() + 10
        while not client.service.warm and time.monotonic() < deadline:
            time.sleep(0.005)
        yield client


@contextmanager
def listening(predictor=None, **limits):
    """(port, service) of a real server on the loopback."""
    predictor = predictor or Predictor(Bright(), uncertainty=True)
    settings = Settings(**limits)
    app = create_app([(predictor, Path("runs/bright"))], settings)
    server = make_server(app, settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not (server.started and app.state.service.warm) and time.monotonic() < deadline:
                time.sleep(0.005)
            yield listener.getsockname()[1], app.state.service
        finally:
            server.should_exit = True
            thread.join()


def disc(height=40, width=60, radius=12, inside=220, outside=40):
    """uint8 RGB with a bright disc in the middle."""
    rows, columns = np.mgrid[:height, :width]
    inner = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < radius**2
    return np.where(inner, inside, outside).astype(np.uint8)[..., None].repeat(3, 2)


def encoded(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def sent(content, name="image.png", field="file"):
    return {"files": [(field, (name, content, "application/octet-stream"))]}


def dicom_bytes(values, **changes):
    """A DICOM file of grey (H, W) or (frames, H, W) uint16, or RGB (H, W, 3) uint8."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import (
        ExplicitVRLittleEndian,
        SecondaryCaptureImageStorage,
        UltrasoundMultiFrameImageStorage,
        generate_uid,
    )

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = changes.pop("syntax", ExplicitVRLittleEndian)
    several = values.ndim == 3 and values.dtype != np.uint8
    meta.MediaStorageSOPClassUID = (
        UltrasoundMultiFrameImageStorage if several else SecondaryCaptureImageStorage
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset("x.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.PatientID, file.Modality = "P1", "OT"
    colour = values.dtype == np.uint8
    file.SamplesPerPixel = 3 if colour else 1
    file.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        file.PlanarConfiguration = 0
    elif several:
        file.NumberOfFrames = len(values)
    file.Rows, file.Columns = values.shape[:2] if colour else values.shape[-2:]
    file.BitsAllocated = file.BitsStored = 8 * values.dtype.itemsize
    file.HighBit, file.PixelRepresentation = file.BitsStored - 1, 0
    file.PixelData = values.tobytes()
    for name, value in changes.items():
        setattr(file, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, file, enforce_file_format=True)
    return stream.getvalue()


def nifti_bytes(values, spacing=(0.5, 0.7, 2.0)):
    """A .nii file of (x, y, z) values."""
    nibabel = pytest.importorskip("nibabel")
    return nibabel.Nifti1Image(values, np.diag([*spacing, 1.0])).to_bytes()


def refused(answer, status, code):
    """Check that an answer refuses, in one sentence that tells nothing of the server; return the sentence."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    sentence = answer.json()["error"]
    assert set(answer.json()) == {"error", "code"}
    assert "Traceback" not in sentence
    assert "/tmp" not in sentence
    return sentence
