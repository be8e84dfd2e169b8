"""What an upload may cost while it is opened: passes over its pixels, memory, room on the disk."""

import errno
import gzip
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from web_service import dicom_bytes, disc, encoded, nifti_bytes, refused, sent, serving

from delineate.web import work
from delineate.web.server import limit_pillow

SMALL = encoded(disc())


@pytest.fixture(scope="module")
def client():
    with serving(max_pixels=100_000, max_upload_bytes=500_000) as made:
        yield made


@pytest.mark.parametrize("pieces", [1, 7])
def test_jpegs_of_many_scans_inside_dicom(client, pieces):
    """Also where the marks of the scans are cut apart by the fragments."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.encaps import encapsulate

    def wrapped(jpeg, count=pieces):
        return dicom_bytes(
            disc(), syntax=pydicom.uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422",
            PixelData=encapsulate([jpeg], fragments_per_frame=count), LossyImageCompression="01",
        )  # fmt: skip

    plain = encoded(disc(), "JPEG", quality=95)
    assert client.post("/api/v1/predict", **sent(wrapped(plain))).status_code == 200
    many = plain + b"\xff\xda" * 65 + b"\0" * 21
    refused(client.post("/api/v1/predict", **sent(wrapped(many))), 422, "too_many_scans")


def test_volumes_are_unpacked_within_the_budget_only(monkeypatch):
    content = gzip.compress(nifti_bytes(np.zeros((30, 30, 4), np.uint8)))
    lock, inside = threading.Lock(), []

    def slow(*arguments):
        with lock:
            inside.append(+1)
            most.append(sum(inside))
        time.sleep(0.02)
        try:
            return opened(*arguments)
        finally:
            with lock:
                inside.append(-1)

    most: list[int] = []
    opened = work.open_upload
    monkeypatch.setattr(work, "open_upload", slow)
    with serving(max_pixels=10_000, decoders=8) as client, ThreadPoolExecutor(8) as threads:
        path = "/api/v1/predict?slice=0"
        answers = list(threads.map(lambda _: client.post(path, **sent(content)), range(8)))
        assert [a.status_code for a in answers] == [200] * 8
        assert max(most) == 2  # each may unpack to `max_pixels`, of which there is room for twice as many
        assert client.service.budget._free == 20_000


def test_a_full_disk_is_said_and_may_be_tried_again(client, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    answer = client.post("/api/v1/predict", **sent(SMALL))
    refused(answer, 503, "disk_full")
    assert answer.headers["Retry-After"] == "5"


def test_no_warning_of_pillow_reaches_anybody(monkeypatch):
    """Of pictures between half and all of what is allowed, which Pillow calls possible bombs."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with serving(max_pixels=40 * 60 + 1) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        limit_pillow(client.service.settings)
        assert Image.MAX_IMAGE_PIXELS == 1200
        both = [("file", ("a", SMALL)), ("mask", ("m.png", encoded(np.zeros((40, 60), np.uint8))))]
        assert client.post("/api/v1/measure", files=both).status_code == 200
