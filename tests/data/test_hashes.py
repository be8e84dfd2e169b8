"""Remembered hashes: believed only when the file is surely the same."""

import json
import os
import pickle
import time

import pytest
from tiny_data import write

from delineate.checks import InputError
from delineate.data import hashes as hashes_module
from delineate.data.hashes import RACY_NS, FileHashes
from delineate.files import sha256_of


@pytest.fixture
def hashes(tmp_path):
    return FileHashes(tmp_path / "cache" / "index.json")


@pytest.fixture
def readings(monkeypatch):
    """The files that were read to hash them."""
    calls = []
    monkeypatch.setattr(hashes_module, "sha256_of", lambda path: calls.append(path) or sha256_of(path))
    return calls


def age(monkeypatch) -> None:
    """Pretend that every file was at rest for long when it was hashed."""
    real = time.time_ns
    monkeypatch.setattr(hashes_module.time, "time_ns", lambda: real() + 10 * RACY_NS)


def test_reused_only_when_the_file_was_at_rest(hashes, tmp_path, monkeypatch, readings):
    path = write(tmp_path / "x", "one")
    hashes.digest(path)
    hashes.digest(path)
    assert len(readings) == 2  # written a moment ago: a further change might not show in its times
    age(monkeypatch)
    assert hashes.digest(path) == hashes.digest(path) == sha256_of(path)
    assert len(readings) == 3
    hashes.save()
    assert FileHashes(tmp_path / "cache" / "index.json").digest(path) == sha256_of(path)
    assert len(readings) == 3


def test_known(hashes, tmp_path, monkeypatch, readings):
    path = write(tmp_path / "x", "one")
    assert hashes.known(path) is None
    assert readings == []
    data, digest = hashes.read(path)
    assert (data, digest) == (b"one", sha256_of(path))
    assert hashes.known(path) == digest  # read again, because it was written a moment ago
    age(monkeypatch)
    hashes.read(path)
    readings.clear()
    assert hashes.known(path) == digest
    assert readings == []
    write(path, "other")
    assert hashes.known(path) is None
    with pytest.raises(
        InputError, match=r"gone cannot be read \(No such file or directory\); check the path"
    ):
        hashes.known(tmp_path / "gone")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        hashes.read(tmp_path)


def test_file_that_changes_while_it_is_hashed(hashes, tmp_path, monkeypatch):
    path = write(tmp_path / "x", "")

    def slow_hash(path):
        write(path, path.read_text() + "more")
        return sha256_of(path)

    monkeypatch.setattr(hashes_module, "sha256_of", slow_hash)
    with pytest.raises(InputError, match="keeps changing while it is read; wait until it is written"):
        hashes.digest(path)


def test_state_tells_a_change_that_was_undone(hashes, tmp_path):
    path = write(tmp_path / "x", "one")
    before = hashes.state(path)
    assert hashes.state(path) == before
    os.utime(path, ns=(1, 1))
    after = hashes.state(path)
    assert after != before
    assert after[0] == before[0]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": 9}', '{"schema": 1, "files": {"x": [1]}}', '{"schema": 1, "files": 3}']
    + ['{"schema": 1, "files": {"x": [1, 2, 3, 4, 5, 6, "no hash"]}}', "\udcff", "[" * 100_000],
)
def test_damaged_store_is_made_again(tmp_path, text):
    store = tmp_path / "index.json"
    store.write_text(text, encoding="utf-8", errors="surrogateescape")
    path = write(tmp_path / "x", "one")
    again = FileHashes(store)
    assert again.digest(path) == sha256_of(path)
    again.save()
    assert list(json.loads(store.read_text())["files"]) == [str(path)]


def test_saving_keeps_what_another_process_wrote(hashes, tmp_path):
    other = FileHashes(tmp_path / "cache" / "index.json")
    for number, each in enumerate((hashes, other)):
        each.digest(write(tmp_path / str(number), "x"))
        each.save()
    stored = json.loads((tmp_path / "cache" / "index.json").read_text())["files"]
    assert sorted(stored) == [str(tmp_path / "0"), str(tmp_path / "1")]


def test_saving_waits_and_writes_only_changes(hashes, tmp_path):
    store = tmp_path / "cache" / "index.json"
    hashes.save()
    assert not store.exists()
    hashes.digest(write(tmp_path / "x", "one"))
    hashes.save(every=60)
    assert not store.exists()
    hashes.save()
    assert store.exists()


def test_travels_to_a_worker_process(hashes, tmp_path):
    path = write(tmp_path / "x", "one")
    hashes.digest(path)
    assert pickle.loads(pickle.dumps(hashes)).known(path) == sha256_of(path)
