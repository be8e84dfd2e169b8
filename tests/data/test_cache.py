"""The cache: never stale, never half, safe for two."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_data import disc, picture, save

from delineate.checks import InputError
from delineate.data import Cache, Case, MaskEncoding, estimate, index, read_image
from delineate.data import cache as cache_module
from delineate.data.cache import RACY_NS, default_folder, resize_image, resize_mask
from delineate.files import sha256_of

SIZE = (12, 16)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def entries(cache: Cache) -> list[Path]:
    return sorted(cache.folder.glob("v1/*/[!.]*.npy"))


def age(cache: Cache, monkeypatch) -> None:
    """Pretend that every file was at rest for long when it was hashed."""
    real = time.time_ns
    monkeypatch.setattr(cache_module.time, "time_ns", lambda: real() + 10 * RACY_NS)


def test_what_comes_back(cache, make_folder):
    cases = index(make_folder(3))
    assert cache.prepare(cases, SIZE, workers=2) == 3
    assert len(entries(cache)) == 6
    for case in cases:
        image = cache.image(case.image, SIZE)
        mask = cache.mask(case.mask, case.encoding, SIZE)
        assert isinstance(image, np.memmap)
        np.testing.assert_array_equal(image, resize_image(read_image(case.image), SIZE))
        assert mask.shape == SIZE
        assert set(np.unique(mask)) <= {0, 1}
    assert cache.prepare(cases, SIZE) == 0
    assert cache.prepare(cases, (6, 8)) == 3
    assert len(entries(cache)) == 12


def test_size_encoding_and_kind_are_part_of_the_key(cache, tmp_path):
    path = save(np.resize(np.array([0, 1, 2], np.uint8), (9, 9)), tmp_path / "m.png")
    one = MaskEncoding(("a", "b"), (1, 2))
    other = MaskEncoding(("b", "a"), (2, 1))
    assert not np.array_equal(cache.mask(path, one, (9, 9)), cache.mask(path, other, (9, 9)))
    assert cache.image(path, (9, 9)).shape == (9, 9, 3)
    assert cache.mask(path, one, (3, 9)).shape == (3, 9)


def test_same_bytes_share_an_entry(cache, tmp_path):
    first = save(picture(1), tmp_path / "a.png")
    second = Path(shutil.copy(first, tmp_path / "b.png"))
    cache.image(first, SIZE)
    cache.image(second, SIZE)
    assert len(entries(cache)) == 1


@pytest.mark.parametrize("aged", [True, False])
def test_changed_content_with_same_size_and_time_is_noticed(cache, tmp_path, monkeypatch, aged):
    if aged:
        age(cache, monkeypatch)
    path = save(picture(1), tmp_path / "x.bmp")
    status = path.stat()
    before = np.array(cache.image(path, SIZE))
    save(picture(2), path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after = cache.image(path, SIZE)
    np.testing.assert_array_equal(after, resize_image(picture(2), SIZE))
    assert not np.array_equal(before, after)


def test_replaced_file_is_noticed(cache, tmp_path, monkeypatch):
    age(cache, monkeypatch)
    path = save(picture(1), tmp_path / "x.bmp")
    cache.image(path, SIZE)
    save(picture(2), tmp_path / "y.bmp")
    os.replace(tmp_path / "y.bmp", path)
    np.testing.assert_array_equal(cache.image(path, SIZE), resize_image(picture(2), SIZE))


def test_hashes_are_reused_only_when_the_file_was_at_rest(cache, tmp_path, monkeypatch):
    path = save(picture(1), tmp_path / "x.png")
    calls = []
    monkeypatch.setattr(cache_module, "sha256_of", lambda p: calls.append(p) or sha256_of(p))
    cache.digest(path)
    cache.digest(path)
    assert len(calls) == 2  # written a moment ago: a further change might not show in its times
    age(cache, monkeypatch)
    cache.digest(path)
    cache.digest(path)
    assert len(calls) == 3
    cache.save_index()
    assert Cache(cache.folder).digest(path) == sha256_of(path)
    assert len(calls) == 3


def test_file_that_changes_while_it_is_hashed(cache, tmp_path, monkeypatch):
    path = save(picture(1), tmp_path / "x.png")

    def slow_hash(p):
        save(picture(time.time_ns() % 1000), path)
        return sha256_of(p)

    monkeypatch.setattr(cache_module, "sha256_of", slow_hash)
    with pytest.raises(InputError, match="keeps changing while it is read; wait until it is written"):
        cache.digest(path)


def test_entry_is_made_of_the_bytes_it_is_named_after(cache, tmp_path, monkeypatch):
    """The source changes between hashing and decoding: the old name must not get the new pixels."""
    path = save(picture(1), tmp_path / "x.png")
    old = path.read_bytes()
    digest = cache.digest

    def then_change(p):
        found = digest(p)
        save(picture(2), path)
        return found

    monkeypatch.setattr(cache, "digest", then_change)
    cache.image(path, SIZE)
    monkeypatch.setattr(cache, "digest", digest)
    path.write_bytes(old)
    np.testing.assert_array_equal(cache.image(path, SIZE), resize_image(picture(1), SIZE))


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "other shape"])
def test_damaged_entries_are_made_again(cache, tmp_path, damage):
    path = save(picture(1), tmp_path / "x.png")
    expected = np.array(cache.image(path, SIZE))
    (entry,) = entries(cache)
    content = entry.read_bytes()
    if damage == "other shape":
        np.save(entry, np.zeros((3, 3, 3), np.uint8))
    else:
        entry.write_bytes({"cut": content[:-9], "empty": b"", "header": b"x" * len(content)}[damage])
    assert cache.prepare([Case("x", path)], SIZE) == 1
    np.testing.assert_array_equal(cache.image(path, SIZE), expected)
    assert entry.read_bytes() == content


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"format": 99}', '{"format": 1, "files": {"x": [1]}}', '{"format": 1, "files": 3}'],
)
def test_damaged_index_is_made_again(cache, make_folder, text):
    cases = index(make_folder(2))
    cache.prepare(cases, SIZE)
    (cache.folder / "index.json").write_text(text, encoding="utf-8")
    again = Cache(cache.folder)
    assert again.prepare(cases, SIZE) == 0
    assert len(json.loads((cache.folder / "index.json").read_text())["files"]) == 4


def test_estimate_is_what_the_disk_holds(cache, make_folder):
    cases = index(make_folder(3))
    cache.prepare(cases, (64, 64))
    used = sum(-(-path.stat().st_size // 4096) * 4096 for path in entries(cache))
    assert estimate(cases, (64, 64)) == used


def test_too_little_space(cache, make_folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage(2**30, 2**30, 5 * 2**20))
    with pytest.raises(InputError, match=r"needs 0 MiB but only 5 MiB are free; .*set cache: false"):
        cache.prepare(index(make_folder(2)), SIZE)
    assert entries(cache) == []


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"The cache folder .* cannot be written to .* cache: false"):
        Cache(tmp_path / "file" / "cache")
    if os.geteuid() == 0:
        return  # root may write anywhere
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InputError, match=r"cannot be written to \(Permission denied\); set DELINEATE_CACHE"):
        Cache(tmp_path / "closed")


def test_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("DELINEATE_CACHE", raising=False)
    assert default_folder() == tmp_path / "xdg" / "delineate"
    monkeypatch.setenv("DELINEATE_CACHE", str(tmp_path / "named"))
    assert default_folder() == tmp_path / "named"
    assert Cache().folder == tmp_path / "named"
    monkeypatch.delenv("DELINEATE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "delineate"


def test_unreadable_source(cache, make_folder):
    cases = index(make_folder(3))
    cases[1].image.write_bytes(b"x")
    with pytest.raises(InputError, match=r"a01.png is damaged"):
        cache.prepare(cases, SIZE, workers=1)
    cases[1].image.unlink()
    with pytest.raises(InputError, match=r"a01.png cannot be read \(No such file or directory\)"):
        cache.prepare(cases, SIZE, workers=1)


def test_progress_and_pickling(cache, make_folder):
    calls = []
    cases = index(make_folder(3))
    cache.prepare(cases, SIZE, workers=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    copy = pickle.loads(pickle.dumps(cache))  # as it travels to a worker process
    np.testing.assert_array_equal(copy.image(cases[0].image, SIZE), cache.image(cases[0].image, SIZE))


PREPARE = (
    "import sys; from pathlib import Path; from delineate.data import Cache, index\n"
    "Cache(Path(sys.argv[2])).prepare(index(Path(sys.argv[1])), (200, 300), workers=2,"
    " progress=lambda done, total: print(done, flush=True))"
)


def test_two_processes_and_a_kill_in_the_middle(tmp_path, make_folder):
    root = make_folder(40)
    cases = index(root)
    command = [sys.executable, "-c", PREPARE, str(root), str(tmp_path / "cache")]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    beside = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    killed.stdout.readline()  # it is in the middle
    killed.send_signal(signal.SIGKILL)
    assert (killed.wait(), beside.wait()) == (-signal.SIGKILL, 0)
    killed.stdout.close()
    beside.stdout.close()
    cache = Cache(tmp_path / "cache")
    assert cache.prepare(cases, (200, 300)) == 0
    for case in cases:
        np.testing.assert_array_equal(
            cache.image(case.image, (200, 300)), resize_image(read_image(case.image), (200, 300))
        )


def test_leftovers_of_a_killed_process_are_removed(cache, make_folder):
    cases = index(make_folder(1))
    cache.prepare(cases, SIZE)
    old = entries(cache)[0].with_name(".old.npy.1.npy")
    young = old.with_name(".young.npy.1.npy")
    old.touch()
    young.touch()
    os.utime(old, (1, 1))
    cache.prepare(cases, SIZE)
    assert (old.exists(), young.exists()) == (False, True)


def test_threads_share_a_cache(cache, tmp_path):
    path = save(picture(1), tmp_path / "x.png")
    expected = resize_image(picture(1), SIZE)
    with ThreadPoolExecutor(4) as pool:
        for image in pool.map(lambda _: cache.image(path, SIZE), range(16)):
            np.testing.assert_array_equal(image, expected)


def test_resizing_averages_images_and_keeps_mask_values():
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert abs(resize_image(stripes, (8, 16)).astype(int)[:, 2:-2] - 100).max() <= 2  # no aliasing
    mask = np.kron(np.array([[0, 3], [7, 1]], np.uint8), np.ones((8, 8), np.uint8))
    np.testing.assert_array_equal(resize_mask(mask, (2, 2)), [[0, 3], [7, 1]])
    assert set(np.unique(resize_mask(disc(1), (50, 50)))) == {0, 255}
