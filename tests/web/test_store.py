"""The store keeps what it was given, whatever happens to the process."""

import base64
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from store_tools import correction, drawn, encoded, picture
from web_service import serving

from delineate.checks import InputError
from delineate.web.store import CorrectionStore
from delineate.web.store.database import StoreError, database_url
from delineate.web.store.router import corrections_router


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path):
    """A fresh store; PostgreSQL's is DELINEATE_POSTGRESQL, a URL of a database that the test may fill."""
    if request.param == "sqlite":
        return str(tmp_path / "corrections.db")
    url = os.environ.get("DELINEATE_POSTGRESQL")
    if not url:
        pytest.skip("DELINEATE_POSTGRESQL names no PostgreSQL database")
    from sqlalchemy import create_engine, text

    engine = create_engine(database_url(url))
    with engine.begin() as connection:
        connection.execute(
            text("DROP TABLE IF EXISTS delineate_corrections, delineate_images, delineate_meta")
        )
    engine.dispose()
    return url


def test_everything_comes_back(address):
    given = correction(3, comment="größer\nals gezeichnet", label=None, window=(-100.5, 400.0))
    with CorrectionStore(address) as store:
        key, moment = store.add(given)
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    with CorrectionStore(address, must_exist=True) as store:
        found = store.get(key)
        assert found.correction == given
        assert abs((found.stored_at - moment).total_seconds()) < 0.001
        assert store.get(key + 1) is None
        assert [one.id for one in store] == [key]


def test_the_same_correction_is_stored_once_and_an_image_too(address):
    with CorrectionStore(address) as store:
        first, _ = store.add(correction(1))
        assert store.add(correction(1))[0] == first
        second, _ = store.add(correction(1, author="B. Reader"))
        assert second > first
        rows = store.list()
        assert [row["author"] for row in rows] == ["B. Reader", "A. Reader"]
        assert len({row["image_sha256"] for row in rows}) == 1
        assert [row["id"] for row in store.list(limit=1)] == [second]
        assert [row["id"] for row in store.list(before=second)] == [first]
        assert [row["id"] for row in store.list(author="A. Reader")] == [first]


def test_going_back_to_an_earlier_correction_is_a_further_one(address):
    a, b = correction(1), correction(1, mask=drawn(5))
    with CorrectionStore(address) as store:
        assert [store.add(one)[0] for one in (a, a, b, a, a)] == [1, 1, 2, 3, 3]
        assert [one.correction.mask for one in store] == [a.mask, b.mask, a.mask]


def test_a_save_is_stored_once_and_a_later_one_anew(address):
    a, b = correction(1), correction(1, mask=drawn(5))
    with CorrectionStore(address) as store:
        sent = [(a, "first"), (b, "second"), (a, "first"), (a, "third"), (b, "second")]
        assert [store.add(one, key=key)[0] for one, key in sent] == [1, 2, 1, 3, 2]


def test_a_store_of_the_first_version_is_taken_along(address):
    with CorrectionStore(address) as store:
        store.add(correction(1))
        with store._engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE delineate_corrections DROP COLUMN grey_window")
            connection.exec_driver_sql("UPDATE delineate_meta SET value = '1'")
    with CorrectionStore(address, must_exist=True) as store:
        assert store.get(1).correction == correction(1)
        assert store.add(correction(1))[0] == 1
        key, _ = store.add(correction(2, window=(0.0, 9.0)))
        assert store.list()[0]["window"] == (0.0, 9.0)
    with CorrectionStore(address) as store:
        assert store.get(key).correction.window == (0.0, 9.0)


def test_what_a_database_cannot_hold_is_the_corrections_fault(tmp_path):
    from sqlalchemy.exc import DataError

    with (
        CorrectionStore(str(tmp_path / "corrections.db")) as store,
        pytest.raises(InputError, match=r"cannot hold the correction \(too long\); correct it") as raised,
        store._transaction(),
    ):
        raise DataError("INSERT", {}, ValueError("too long"))
    assert not isinstance(raised.value, StoreError)


def test_several_threads_and_stores_at_once(address):
    with CorrectionStore(address) as one, CorrectionStore(address) as two:
        stores = [one, two] * 20
        numbers = [n // 4 for n in range(40)]  # each correction four times
        with ThreadPoolExecutor(8) as pool:
            keys = list(
                pool.map(lambda pair: pair[0].add(correction(pair[1]))[0], zip(stores, numbers, strict=True))
            )
        assert len(set(keys)) == 10
        assert len(one.list()) == 10


def test_nothing_stored_is_lost_when_the_process_is_killed(tmp_path):
    address = str(tmp_path / "corrections.db")
    told: dict[int, int] = {}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    for attempt in range(3):
        child = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "store_fill.py", address, str(1000 * attempt)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(4 + 3 * attempt):  # wait for some answers, then kill in the middle of the next
            key, number = child.stdout.readline().split()
            told[int(key)] = int(number)
        time.sleep(0.003 * attempt)
        child.send_signal(signal.SIGKILL)
        told |= {int(key): int(number) for key, number in (line.split() for line in child.stdout)}
        child.wait()
    assert len(told) >= 21
    with CorrectionStore(address) as store:
        kept = {one.id: one for one in store}
        for key, number in told.items():
            assert kept[key].correction == correction(number)
        assert store.add(correction(7))[0] > 0  # and it still takes new ones


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": None, "label": None}, "A correction needs a mask or a label"),
        ({"author": "  "}, "A correction needs an author of 1 to 200 characters"),
        ({"label": "ugly"}, r"The label 'ugly' is not one of the model's \(good, bad\)"),
        ({"seconds": float("nan")}, "The seconds of a correction must be 0 or more, got nan"),
        ({"mask": b"no picture"}, "The mask is no readable PNG"),
        ({"mask": drawn(0)[:60]}, "The mask is no readable PNG"),
        ({"mask": picture(0)}, "A mask must be an 8-bit grey PNG, got one of mode RGB"),
        ({"mask": drawn(0, value=7)}, r"The mask holds the value 7, but there are 1 class\(es\)"),
        ({"mask": drawn(0, side=30)}, "both must fit the image"),
        ({"image": b""}, "A correction needs the image that it belongs to"),
        ({"author": "A\0"}, "The author of a correction holds control characters; take them out."),
        ({"comment": "a\x1b"}, "The comment of a correction holds control characters"),
        ({"identity": "a\ud800"}, "The identity of a correction holds control characters"),
        ({"window": (5.0, 5.0)}, r"The window \(5.0, 5.0\) is none; give two numbers, the lower one first"),
    ],
)
def test_a_faulty_correction_is_refused_and_leaves_nothing(tmp_path, changes, message):
    with CorrectionStore(str(tmp_path / "corrections.db")) as store:
        with pytest.raises(InputError, match=message):
            store.add(correction(0, **changes))
        assert store.list() == []


def test_wrong_addresses(tmp_path):
    with pytest.raises(InputError, match="does not exist; name the file that `delineate serve` writes"):
        CorrectionStore(str(tmp_path / "none.db"), must_exist=True)
    with pytest.raises(InputError, match="does not exist; make it or choose another store"):
        CorrectionStore(str(tmp_path / "none" / "none.db"))
    with pytest.raises(InputError, match=r"SQLite \(a path\) or PostgreSQL .*, got mysql://"):
        CorrectionStore("mysql://host/base")
    (tmp_path / "text.db").write_text("this is a text and no database, " * 100)
    with pytest.raises(InputError, match="cannot be used .*file is not a database"):
        CorrectionStore(str(tmp_path / "text.db"))
    with pytest.raises(InputError, match="cannot be used") as raised:
        CorrectionStore("postgresql://someone:secret@127.0.0.1:9/base")
    assert "secret" not in str(raised.value)


def body(number=0, **changes):
    text = {
        "filename": "../../etc/scan 1.png",
        "image": base64.b64encode(picture(number)).decode(),
        "model": "bright",
        "identity": "test@111111111111 bright",
        "mask_png": base64.b64encode(drawn(number)).decode(),
        "predicted_mask_png": base64.b64encode(drawn(number + 1)).decode(),
        "label": "good",
        "author": " A.  Reader ",
        "comment": None,
        "seconds": 3.5,
    }
    return text | changes


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    address = str(tmp_path_factory.mktemp("store") / "corrections.db")
    with CorrectionStore(address) as store, serving(routers=[corrections_router(store)]) as made:
        yield made


def test_store_list_and_read_over_http(client):
    answer = client.post("/api/v1/corrections", json=body(5))
    assert answer.status_code == 201
    key = answer.json()["id"]
    assert client.post("/api/v1/corrections", json=body(5)).json() == answer.json()  # sent again: the same
    row = client.get("/api/v1/corrections").json()[0]
    assert (row["id"], row["author"], row["filename"]) == (key, "A. Reader", "scan 1.png")
    assert row["stored_at"] == answer.json()["stored_at"]
    one = client.get(f"/api/v1/corrections/{key}").json()
    assert base64.b64decode(one["mask_png"]) == drawn(5)
    assert one["classes"] == ["lesion"]
    assert client.get(f"/api/v1/corrections/{key + 1}").status_code == 404
    assert client.delete(f"/api/v1/corrections/{key}").status_code == 405


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"model": "brigth"}, 404, "There is no model 'brigth' here. Did you mean 'bright'?"),
        ({"author": ""}, 422, "A correction needs an author"),
        ({"image": "%%%"}, 422, "image is no base64"),
        ({"image": base64.b64encode(b"text").decode()}, 415, "The file is none of PNG"),
        (
            {"mask_png": base64.b64encode(drawn(0, side=25)).decode()},
            422,
            "The mask has 25 x 25 pixels, its image 24 x 24",
        ),
        ({"comment": "a\0b"}, 422, "The comment of a correction holds control characters"),
        ({"key": ""}, 422, "key: String should have at least 1 character"),
        ({"seconds": "soon"}, 422, "seconds: Input should be a valid number"),
        ({"extra": 1}, 422, "extra: Extra inputs are not permitted"),
        ({"comment": "x" * 6000}, 422, "comment: String should have at most 5000 characters"),
    ],
)
def test_faulty_requests(client, changes, status, message):
    before = len(client.get("/api/v1/corrections").json())
    answer = client.post("/api/v1/corrections", json=body(0, **changes))
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert len(client.get("/api/v1/corrections").json()) == before


def test_a_save_over_http_is_stored_once_and_a_later_one_anew(client):
    def stored(mask, key):
        text = base64.b64encode(drawn(mask)).decode()
        return client.post("/api/v1/corrections", json=body(40, mask_png=text, key=key)).json()["id"]

    first, second, again, third = (
        stored(mask, key) for mask, key in ((1, "a"), (2, "b"), (1, "a"), (1, "c"))
    )
    assert first == again < second < third


def test_the_limits_of_the_service_hold_for_corrections(tmp_path, monkeypatch):
    def code(**changes):
        answer = made.post("/api/v1/corrections", json=body(0, **changes))
        return answer.status_code, answer.json().get("code")

    large = base64.b64encode(picture(0, side=70)).decode()
    with (
        CorrectionStore(str(tmp_path / "c.db")) as store,
        serving(
            routers=[corrections_router(store)], max_upload_bytes=10_000, max_pixels=4000, queue=1
        ) as made,
    ):
        assert len(base64.b64decode(large)) > 10_000
        assert code(image=large) == (413, "too_large")
        assert code(mask_png=large) == (413, "too_large")
        decoded = []
        convert = Image.Image.convert
        monkeypatch.setattr(
            Image.Image, "convert", lambda self, *a: (decoded.append(self.size), convert(self, *a))[1]
        )
        wide = base64.b64encode(drawn(0, side=3000)).decode()
        assert code(mask_png=wide) == code(predicted_mask_png=wide) == (422, "invalid_input")
        assert (3000, 3000) not in decoded
        monkeypatch.setattr("delineate.web.work.open_upload", lambda *_: bytearray(2**62))
        assert code() == (503, "out_of_memory")
        made.service.in_work = 1
        assert code() == (503, "queue_full")
        made.service.in_work = 0
        assert store.list() == []
        assert made.service.budget._free == 8000


def test_no_json(client):
    for content in (b"", b"{", b"[1]", b"\xff" * 50, b'{"filename": NaN}'):
        answer = client.post("/api/v1/corrections", content=content)
        assert answer.status_code == 422
        assert answer.json()["code"] == "invalid_correction"


def test_a_store_that_fails_is_said_and_may_be_tried_again(tmp_path):
    with (
        CorrectionStore(str(tmp_path / "c.db")) as store,
        serving(routers=[corrections_router(store)]) as made,
    ):
        with store._engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE delineate_corrections")
        answer = made.post("/api/v1/corrections", json=body())
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer.headers["Retry-After"] == "5"
        assert made.get("/api/v1/corrections").status_code == 503


def test_masks_of_several_classes(tmp_path):
    mask = np.zeros((24, 24), np.uint8)
    mask[2:4], mask[6:8] = 1, 2
    with CorrectionStore(str(tmp_path / "c.db")) as store:
        two = {"classes": ("disc", "cup"), "predicted_mask": None}
        key, _ = store.add(correction(0, mask=encoded(mask), **two))
        assert store.get(key).correction.classes == ("disc", "cup")
        with pytest.raises(InputError, match=r"holds the value 255, but there are 2 class\(es\)"):
            store.add(correction(0, mask=drawn(0), **two))
