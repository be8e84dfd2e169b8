"""Hundreds of requests that nobody should send: each gets a proper answer, and none breaks anything."""

import gzip
import json
import random
import struct

import numpy as np
import pytest
from web_service import dicom_bytes, disc, encoded, nifti_bytes, serving

COUNT = 300
FORM = "multipart/form-data; boundary=frontier"
GOOD = {200, 206}
PATHS = [
    "/api/v1/predict", "/api/v1/predict/batch", "/api/v1/measure", "/api/v1/render/png",
    "/api/v1/render/dicom-seg",
]  # fmt: skip


@pytest.fixture(scope="module")
def client():
    with serving(max_upload_bytes=300_000, max_pixels=200_000) as made:
        yield made


@pytest.fixture(scope="module")
def files():
    grey = disc()[..., 0]
    return [
        encoded(disc()),
        encoded(disc(), "JPEG"),
        encoded(disc(), "JPEG", progressive=True),
        encoded(grey, "BMP"),
        encoded(disc(), "TIFF", compression="tiff_lzw"),
        encoded(grey.astype(np.uint16) * 256, "TIFF"),
        dicom_bytes(disc()),
        dicom_bytes(grey.astype(np.uint16), NumberOfFrames=1),
        nifti_bytes(grey[..., None]),
        gzip.compress(nifti_bytes(grey[..., None].astype(np.float32))),
        b"",
        b"GIF89a" + bytes(40),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ]


def damaged(rng, content):
    """The content cut, flipped, repeated, mixed or with a lie about its size."""
    content = bytearray(content)
    kind = rng.randrange(6)
    if not content or kind == 0:
        return bytes(content[: rng.randrange(len(content) + 1)])
    if kind == 1:
        for _ in range(rng.randrange(1, 30)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        place = rng.randrange(min(len(content), 400))
        content[place : place + 4] = struct.pack(rng.choice("<>") + "I", rng.choice([0, 1, 2**31, 2**32 - 1]))
    elif kind == 3:
        place = rng.randrange(len(content))
        content[place:place] = rng.randbytes(rng.randrange(1, 500))
    elif kind == 4:
        content += content * rng.randrange(1, 3)
    else:
        content[8:] = rng.randbytes(len(content) - 8)
    return bytes(content)


def name(rng):
    return rng.choice(
        ["a.png", "../../etc/passwd", "..\\..\\x.dcm", "/dev/null", "\0.png", "a" * 5000, "",
        "é\u202e.png", "con",
         '"; filename="b', "a\r\nX: y", "%2e%2e%2f", "${HOME}", "x.nii.gz"]
    )  # fmt: skip


def body(rng, content):
    """A multipart body that is right or wrong in one of many ways."""
    field = rng.choice(["file", "file", "file", "files", "mask", "", "x" * 300])
    line = f'Content-Disposition: form-data; name="{field}"; filename="{name(rng)}"'.encode(
        "utf-8", "replace"
    )
    part = b"--frontier\r\n" + line + b"\r\nContent-Type: image/png\r\n\r\n" + content + b"\r\n"
    end = b"--frontier--\r\n"
    whole = rng.choice([
        part + end, part + end, part + end, part + part + end, part, part[:-1] + end, end, part + end + part,
        part.replace(b"\r\n", b"\n") + end, part.replace(b"form-data", b"attachment") + end,
        b"--frontier\r\n\r\n" + content + b"\r\n" + end, part * 20 + end, b"preamble" + part + end,
        b"--frontier\r\n" + b"X: y\r\n" * 2000 + b"\r\n" + end,
        part.replace(b'name="', b"name=") + end, rng.randbytes(300), b"",
    ])  # fmt: skip
    return whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.15 else whole


def query(rng):
    options = [
        "spacing=nan", "spacing=inf,1", "spacing=0.1,0.2", "spacing=,", "spacing=" + "9" * 50, "slice=0",
        "slice=999999",
        "slice=-1", "slice=1.5", "slice=" + "9" * 40, "model=../../x", "model=", "model=%00",
        "model=bright", "explain=clnet",
        "explain=%F0%9F%98%80", "uncertainty=2", "uncertainty=true", "measure=no", "measure=",
        "x=" + "y" * 3000,
        "spacing=0.1&spacing=nan", "%", "%zz=%zz", "=", "&&&",
    ]  # fmt: skip
    return "&".join(rng.sample(options, rng.randrange(3)))


def request(rng, files):
    """One malformed (or, now and then, merely odd) request: method, address, headers, body."""
    address = rng.choice(PATHS[:1] * 6 + PATHS + ["/api/v1/models", "/", "/metrics"])
    if rng.random() < 0.1:
        address = rng.choice([
            "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%00", "/" + "a" * 5000, "/api/v1/predict/",
            "/api/v1//predict", "/index.html%00.png", "/..%5c..%5cx", "/api/v2/predict",
            "/docs/../metrics", "//evil/x",
            "/%ff%fe", "/api/v1/corrections/-1",
        ])  # fmt: skip
    address += "?" + query(rng)
    method = rng.choice(["POST"] * 12 + ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"])
    content = rng.choice(files)
    content = content if rng.random() < 0.15 else damaged(rng, content)
    kind = rng.choice([FORM] * 10 + [
        "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other",
        "image/png",
        "application/json", "multipart/form-data; boundary=frontier; charset=nonsense", "text/html",
        "application/x-www-form-urlencoded", ";", "multipart/form-data; boundary=\"" + "b" * 500 + '"',
        FORM + "; charset=utf-16",
    ])  # fmt: skip
    headers = {"Content-Type": kind}
    if rng.random() < 0.2:
        headers |= rng.choice([
            {"X-Large": "a" * 20_000}, {"Range": "bytes=5-1,-9"}, {"Content-Encoding": "gzip"},
            {"Cookie": ";=;" * 500},
            {"Accept": "nothing/at-all"}, {"Expect": "the unexpected"}, {"If-None-Match": '"x'},
            {"Authorization": "Basic ="},
            {"Host": "evil.example"}, {"Host": ""}, {"Origin": "http://[::1"}, {"Origin": "//"},
            {"X-Forwarded-For": "\t"},
            {"Content-Length": "-5"}, {"Content-Length": "99999999999999999999"}, {"Content-Length": "x"},
        ])  # fmt: skip
    return method, address, headers, body(rng, content)


def check(client, files, seeds):
    statuses = set()
    for seed in seeds:
        rng = random.Random(seed)
        method, address, headers, content = request(rng, files)
        answer = client.request(method, address, headers=headers, content=content)
        statuses.add(answer.status_code)
        shown = (seed, method, address[:80], answer.status_code, answer.text[:300])
        assert answer.status_code < 500, shown
        if answer.status_code not in GOOD and method != "HEAD" and answer.status_code not in (304, 307):
            told = json.loads(answer.text)
            more = {"slices"} if told.get("code") == "slice_needed" else set()
            assert set(told) == {"error", "code"} | more, shown
            assert told["error"].endswith((".", "?", "'")), shown
            assert "Traceback" not in told["error"], shown
            assert "delineate-serve" not in told["error"], shown
        assert client.service.in_work == 0, shown
    assert [p.name for p in client.service.folder.path.iterdir()] in ([], [".claimed"])
    assert client.get("/health").status_code == 200
    return statuses


def test_malformed_requests(client, files):
    statuses = check(client, files, range(COUNT))
    assert {200, 400, 403, 404, 405, 413, 415, 421, 422} <= statuses
