"""What is refused: too much, too large, too slow, too many, from elsewhere, without a token."""

import gzip
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from web_service import Bright, dicom_bytes, disc, encoded, nifti_bytes, refused, sent, serving

from delineate.checks import InputError
from delineate.inference.predictor import Predictor
from delineate.web.settings import Settings
from delineate.web.uploads import Folder, harmless_name

SMALL = encoded(disc())


@pytest.fixture(scope="module")
def client():
    with serving(max_pixels=100_000, max_upload_bytes=500_000) as made:
        yield made


def png_header(width, height):
    """A PNG whose header promises a picture, with hardly any bytes behind it."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (500, 201)])
def test_pictures_are_measured_before_they_are_decoded(client, width, height):
    start = time.monotonic()
    sentence = refused(
        client.post("/api/v1/predict", **sent(png_header(width, height))),
        *((422, "unreadable_image") if width > 1000 else (413, "too_many_pixels")),
    )
    assert "pixels" in sentence
    assert time.monotonic() - start < 2


def test_every_kind_is_measured(client):
    wide = np.zeros((300, 400), np.uint8)
    for content in (
        encoded(wide, "BMP"),
        encoded(wide, "TIFF", compression="tiff_deflate"),
        encoded(wide, "JPEG"),
        dicom_bytes(wide.astype(np.uint16)),
        nifti_bytes(wide[..., None]),
        gzip.compress(nifti_bytes(wide[..., None])),
    ):
        sentence = refused(client.post("/api/v1/predict", **sent(content)), 413, "too_many_pixels")
        assert "a picture may have 100000 and a stack of pictures four times as many" in sentence


def test_a_stack_is_measured_as_a_whole(client):
    frames = np.zeros((90, 70, 70), np.uint8)
    content = gzip.compress(nifti_bytes(frames))
    refused(client.post("/api/v1/predict?slice=0", **sent(content)), 413, "too_many_pixels")


def test_compressed_bombs_are_not_unpacked(client):
    bomb = gzip.compress(nifti_bytes(np.zeros((9, 9, 1), np.uint8)) + bytes(2_000_000))
    sentence = refused(client.post("/api/v1/predict", **sent(bomb)), 413, "too_many_pixels")
    assert sentence == "The file unpacks to more than 800000 bytes; send one slice of it."
    refused(client.post("/api/v1/predict", **sent(gzip.compress(SMALL))), 415, "unsupported_type")
    cut = gzip.compress(nifti_bytes(np.zeros((9, 9, 1), np.uint8)))[:-20]
    refused(client.post("/api/v1/predict", **sent(cut)), 422, "unreadable_image")


def test_deflated_dicom_is_not_unpacked(client):
    pydicom = pytest.importorskip("pydicom")
    content = dicom_bytes(disc(), syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    sentence = refused(client.post("/api/v1/predict", **sent(content)), 415, "unsupported_type")
    assert sentence == "The file is stored as Deflated Explicit VR Little Endian; store it uncompressed."


def test_endless_tiffs_and_jpegs_of_many_scans(client):
    circle = b"II*\0" + struct.pack("<LHL", 8, 0, 8)
    refused(client.post("/api/v1/predict", **sent(circle)), 422, "too_many_pages")
    scans = encoded(disc(), "JPEG") + b"\xff\xda" * 65
    refused(client.post("/api/v1/predict", **sent(scans)), 422, "too_many_scans")


def test_the_content_tells_the_kind_and_the_name_nothing(client):
    assert client.post("/api/v1/predict", **sent(SMALL, "x.dcm")).status_code == 200
    sentence = refused(client.post("/api/v1/predict", **sent(b"GIF89a", "x.png")), 415, "unsupported_type")
    assert sentence == "The file is none of PNG, JPEG, BMP, TIFF, DICOM or NIfTI; convert it to PNG."


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\a\\b.png", "b.png"),
        ("..", "image"),
        ("<script>.png", "_script_.png"),
        ("a" * 300, "a" * 100),
        ("Läsion 1.png", "Läsion 1.png"),
        ("\0\r\n", "___"),
    ],
)
def test_names_are_made_harmless(given, kept):
    assert harmless_name(given) == kept


def test_bodies_are_cut_off(client):
    big = bytes(700_000)
    answer = client.post("/api/v1/predict", **sent(big))
    assert "larger than 565536 bytes" in refused(answer, 413, "too_large")
    assert answer.headers["connection"] == "close"

    def chunks():  # without a length stated before
        for _ in range(7):
            yield bytes(100_000)

    refused(
        client.post("/api/v1/predict", content=chunks(), headers={"content-type": "multipart/form-data"}),
        *(400, "bad_multipart"),
    )
    kind = {"content-type": "multipart/form-data; boundary=x"}
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    many = (start if i == 0 else bytes(100_000) for i in range(8))
    refused(client.post("/api/v1/predict", content=many, headers=kind), 413, "too_large")
    refused(client.post("/health", content=bytes(70_000)), 413, "too_large")
    batch = [("file", ("a", bytes(600_000))), ("file", ("b", SMALL))]
    sentence = refused(client.post("/api/v1/predict/batch", files=batch), 413, "too_large")
    assert sentence == "A file has 600000 bytes, but at most 500000 are taken."


def test_parts_are_counted(client):
    files = [("file", (f"{i}.png", SMALL)) for i in range(17)]
    sentence = refused(client.post("/api/v1/predict/batch", files=files), 400, "bad_multipart")
    assert "Maximum number of files is 16" in sentence
    two = files[:2]
    sentence = refused(client.post("/api/v1/predict", files=two), 422, "missing_file")
    assert sentence == "Send one file, in a part named file with a file name; got 2."
    refused(client.post("/api/v1/predict", json={}), 415, "not_multipart")


@pytest.mark.parametrize(
    "query",
    ["spacing=nan", "spacing=0", "spacing=-1", "spacing=1,2,3", "spacing=x", "spacing=1e999", "slice=-1",
     "slice=1e3", "uncertainty=perhaps", "explain=magic", "model=" + "x" * 300],
)  # fmt: skip
def test_parameters_are_checked(client, query):
    sentence = refused(client.post(f"/api/v1/predict?{query}", **sent(SMALL)), 422, "invalid_parameter")
    assert sentence.startswith(query.split("=")[0])


def test_the_guard_of_names_and_origins():
    with serving(allowed_hosts=("Skin.example",)) as client:
        for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "a b"):
            refused(client.get("/health", headers={"Host": host}), 421, "wrong_host")
        for host in ("localhost:8000", "skin.example", "10.1.2.3", "[::1]:80"):
            assert client.get("/health", headers={"Host": host}).status_code == 200, host
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:81"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            refused(client.post("/api/v1/predict", headers=headers, **sent(SMALL)), 403, "cross_site")
        own = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
        answer = client.post("/api/v1/predict", headers=own, **sent(SMALL))
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


def test_a_token_is_wanted_for_all_but_the_page():
    token = "s3cret-" * 4
    with serving(token=token) as client:
        for path in ("/api/v1/models", "/metrics", "/openapi.json", "/docs"):
            answer = client.get(path)
            refused(answer, 401, "unauthorised")
            assert answer.headers["www-authenticate"] == "Bearer"
            refused(client.get(path, headers={"Authorization": b"Bearer \xe9"}), 401, "unauthorised")
            assert client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 200


def test_every_answer_has_the_headers_of_safety(client):
    for path in ("/health", "/nowhere", "/api/v1/models"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'self'; img-src 'self' blob: data:; object-src 'none'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert len(headers["x-request-id"]) == 16


def test_errors_of_our_own_are_told_without_their_traceback(client, caplog, monkeypatch):
    monkeypatch.setattr(client.service.models[0].predictor, "open", lambda case: 1 / 0)
    sentence = refused(client.post("/api/v1/predict", **sent(SMALL)), 500, "internal")
    assert "The service failed on this request; its log says why under " in sentence
    assert "ZeroDivisionError" in caplog.text


def test_a_full_queue_says_when_to_come_back():
    slow = Predictor(Bright(seconds=0.3), uncertainty=True)
    with serving(slow, queue=2) as client, ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: client.post("/api/v1/predict", **sent(SMALL)), range(6)))
        full = [a for a in answers if a.status_code == 503]
        assert len(full) >= 3
        assert {a.status_code for a in answers} == {200, 503}
        refused(full[0], 503, "queue_full")
        assert full[0].headers["retry-after"] == "1"
        assert client.service.in_work == 0
        assert client.post("/api/v1/predict", **sent(SMALL)).status_code == 200


def test_work_that_takes_too_long_is_dropped():
    slow = Predictor(Bright(seconds=0.4), uncertainty=True)
    with serving(slow, timeout=0.2) as client:
        answer = client.post("/api/v1/predict", **sent(SMALL))
        sentence = refused(answer, 504, "timeout")
        assert sentence.startswith("The answer took longer than 0.2 s; try again")
        assert answer.headers["retry-after"] == "5"
        assert len(client.service.models[0].batcher) == 0


def test_large_pictures_take_turns():
    most = 64 * 64
    with serving(max_pixels=most) as client, ThreadPoolExecutor(5) as threads:
        budget, seen = client.service.budget, []
        take = budget.take

        async def watched(pixels):
            taken = await take(pixels)
            seen.append(budget._free)
            return taken

        budget.take = watched
        content = encoded(disc(64, 64))
        answers = list(threads.map(lambda _: client.post("/api/v1/predict", **sent(content)), range(5)))
        assert [a.status_code for a in answers] == [200] * 5
        assert len(seen) == 5
        assert min(seen) >= 0
        assert budget._free == 2 * most


def test_nothing_stays_on_disk(client, monkeypatch):
    folder = client.service.folder.path
    assert folder.stat().st_mode & 0o077 == 0
    seen = []
    predictor = client.service.models[0].predictor
    opened = predictor.open
    monkeypatch.setattr(predictor, "open", lambda case: (seen.append(case.image.exists()), opened(case))[1])
    for content in (SMALL, SMALL[:100], dicom_bytes(disc()), b"x"):
        client.post("/api/v1/predict", **sent(content, "../../../evil.png"))
    assert seen == [True, True, True]
    assert [p.name for p in folder.iterdir()] == [".claimed"]


def test_the_folder_goes_with_the_service_and_dead_ones_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = tmp_path / "delineate-serve-dead"
    foreign = tmp_path / "delineate-serve-unclaimed"
    for path in (dead, foreign):
        path.mkdir()
        (path / "patient.png").write_bytes(b"x")
    (dead / ".claimed").touch()
    living = Folder()
    assert living.path.is_dir()
    with serving() as client:
        path = client.service.folder.path
        assert path.parent == tmp_path
        assert {p.name for p in tmp_path.iterdir()} == {path.name, living.path.name, foreign.name}
    assert not path.exists()
    living.close()
    assert [p.name for p in tmp_path.iterdir()] == [foreign.name]


def test_a_dead_folder_that_another_service_removes_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = tmp_path / "delineate-serve-dead"
    dead.mkdir()
    (dead / ".claimed").touch()
    folder = Folder()
    monkeypatch.setattr(Path, "glob", lambda *_: [tmp_path / "delineate-serve-gone", dead])
    folder.sweep()
    assert not dead.exists()
    folder.close()


def test_a_job_that_was_given_up_cleans_up_when_its_thread_ends(monkeypatch):
    released = threading.Event()
    with serving(timeout=0.2) as client:
        predictor, folder = client.service.models[0].predictor, client.service.folder.path
        monkeypatch.setattr(predictor, "open", lambda case: released.wait(5))
        refused(client.post("/api/v1/predict", **sent(SMALL)), 504, "timeout")
        assert len(list(folder.iterdir())) == 2  # the thread may still read its file
        assert client.service.budget._free < 10**8
        released.set()
        deadline = time.monotonic() + 5
        while len(list(folder.iterdir())) > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [p.name for p in folder.iterdir()] == [".claimed"]
        assert client.service.budget._free == 10**8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"queue": 0}, "queue must be at least 1, got 0."),
        ({"timeout": float("nan")}, "timeout must be a number of seconds above 0, got nan."),
        ({"max_wait": 2}, "max_wait must lie between 0 and 1 second, got 2."),
        ({"port": 70000}, "port must lie between 0 and 65535, got 70000."),
        ({"token": "short"}, "The token must have at least 16 characters; make one with "
         "`openssl rand -hex 32`."),
    ],
)  # fmt: skip
def test_settings_are_checked(wrong, message):
    with pytest.raises(InputError) as error:
        Settings(**wrong)
    assert str(error.value) == message
