"""The cache: never stale, never half, safe for two."""

import os
import pickle
import shutil
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import disc, picture, save

from delineate.checks import InputError
from delineate.data import Cache, Case, CaseDataset, MaskEncoding, index, read_image
from delineate.data import cache as cache_module
from delineate.data import hashes as hashes_module
from delineate.data.cache import Plan, default_folder, resize_image, resize_mask, sized_image, sized_mask
from delineate.data.entries import FORMAT
from delineate.data.hashes import RACY_NS

SIZE = (12, 16)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def entries(cache: Cache) -> list[Path]:
    return sorted(cache.folder.glob(f"v{FORMAT}/*/[!.]*.npy"))


def age(cache: Cache, monkeypatch) -> None:
    """Pretend that every file was at rest for long when it was hashed."""
    real = time.time_ns
    monkeypatch.setattr(hashes_module.time, "time_ns", lambda: real() + 10 * RACY_NS)


def test_what_comes_back(cache, make_folder):
    cases = index(make_folder(3))
    assert cache.prepare(cases, SIZE, workers=2) == 3
    assert len(entries(cache)) == 6
    for case in cases:
        image = cache.image(case, SIZE)
        mask = cache.mask(case, SIZE)
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
    assert not np.array_equal(
        cache.mask(Case("x", path, path, encoding=one), (9, 9)),
        cache.mask(Case("x", path, path, encoding=other), (9, 9)),
    )
    assert cache.image(Case("x", path), (9, 9)).shape == (9, 9, 3)
    assert cache.mask(Case("x", path, path, encoding=one), (3, 9)).shape == (3, 9)


def test_same_bytes_share_an_entry(cache, tmp_path):
    first = save(picture(1), tmp_path / "a.png")
    second = Path(shutil.copy(first, tmp_path / "b.png"))
    cache.image(Case("x", first), SIZE)
    cache.image(Case("x", second), SIZE)
    assert len(entries(cache)) == 1


@pytest.mark.parametrize("aged", [True, False])
def test_changed_content_with_same_size_and_time_is_noticed(cache, tmp_path, monkeypatch, aged):
    if aged:
        age(cache, monkeypatch)
    path = save(picture(1), tmp_path / "x.bmp")
    status = path.stat()
    before = np.array(cache.image(Case("x", path), SIZE))
    save(picture(2), path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after = cache.image(Case("x", path), SIZE)
    np.testing.assert_array_equal(after, resize_image(picture(2), SIZE))
    assert not np.array_equal(before, after)


def test_replaced_file_is_noticed(cache, tmp_path, monkeypatch):
    age(cache, monkeypatch)
    path = save(picture(1), tmp_path / "x.bmp")
    cache.image(Case("x", path), SIZE)
    save(picture(2), tmp_path / "y.bmp")
    os.replace(tmp_path / "y.bmp", path)
    np.testing.assert_array_equal(cache.image(Case("x", path), SIZE), resize_image(picture(2), SIZE))


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_entry_is_made_of_the_bytes_it_is_named_after(cache, tmp_path, monkeypatch, kind):
    """The source changes between hashing and decoding: the old name must not get the new pixels."""
    old, new = (picture(1), picture(2)) if kind == "image" else (disc(1), disc(2))
    path = save(old, tmp_path / "x.png")
    case = Case("x", path, path)
    read_now, take = (sized_image, cache.image) if kind == "image" else (sized_mask, cache.mask)
    content = path.read_bytes()
    reader = f"read_case_{kind}"
    real = getattr(cache_module, reader)

    def changed_meanwhile(*arguments, **options):
        if path.read_bytes() == content:
            save(new, path)
        return real(*arguments, **options)

    monkeypatch.setattr(cache_module, reader, changed_meanwhile)
    take(case, SIZE)
    monkeypatch.setattr(cache_module, reader, real)
    np.testing.assert_array_equal(take(case, SIZE), read_now(case, SIZE))
    path.write_bytes(content)
    np.testing.assert_array_equal(take(case, SIZE), read_now(case, SIZE))


def test_mask_that_keeps_changing(cache, tmp_path, monkeypatch):
    path = save(disc(1), tmp_path / "x.png")
    numbers = iter(range(2, 99))

    def changed_meanwhile(case):
        save(disc(next(numbers)), path)
        return disc(0)

    monkeypatch.setattr(cache_module, "read_case_mask", changed_meanwhile)
    with pytest.raises(InputError, match=r"x.png keeps changing while it is read; wait until it is written"):
        cache.mask(Case("x", path, path), SIZE)
    assert entries(cache) == []


def test_union_of_masks(cache, tmp_path):
    first, second = save(disc(1), tmp_path / "a.png"), save(disc(9), tmp_path / "b.png")
    one = Case("x", first, first)
    both = Case("x", first, first, more_masks=(second,))
    union = resize_mask(((disc(1) | disc(9)) > 0).astype(np.uint8), SIZE)
    assert cache.mask(both, SIZE).sum() > cache.mask(one, SIZE).sum()
    np.testing.assert_array_equal(cache.mask(both, SIZE), union)
    save(disc(5), second)  # a change of any of the files is another entry
    np.testing.assert_array_equal(cache.mask(both, SIZE), sized_mask(both, SIZE))
    assert not np.array_equal(cache.mask(both, SIZE), union)


def test_no_mask(cache, tmp_path):
    case = Case("x", save(picture(1), tmp_path / "a.png"))
    with pytest.raises(InputError, match="Case 'x' has no mask; take a case that has one"):
        cache.mask(case, SIZE)
    assert cache.prepare([case], SIZE) == 1
    assert len(entries(cache)) == 1


def volume(path: Path, seed: int = 0) -> Path:
    nibabel = pytest.importorskip("nibabel")
    values = np.random.default_rng(seed).integers(-1000, 400, (16, 12, 4)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([0.5, 0.5, 2, 1])), path)
    return path


def test_slices_and_windows_of_a_volume(cache, tmp_path):
    image = volume(tmp_path / "v.nii.gz")
    cases = [Case(f"v_s{i}", image, slice=i, group="v", window=(-1000, 400)) for i in range(4)]
    narrow = Case("n", image, slice=0, window=(-100, 100))
    assert cache.prepare([*cases, narrow], SIZE, workers=2) == 5
    assert len(entries(cache)) == 5
    for case in [*cases, narrow]:
        np.testing.assert_array_equal(cache.image(case, SIZE), sized_image(case, SIZE))
    assert len({cache.image(case, SIZE).tobytes() for case in [*cases, narrow]}) == 5
    np.testing.assert_array_equal(
        cache.image(Case("w", image, slice=1, window=(-1000.0, 400.0)), SIZE), cache.image(cases[1], SIZE)
    )
    assert len(entries(cache)) == 5  # the same window in other numbers is the same entry


def test_volume_is_hashed_but_not_held_as_bytes(cache, tmp_path, monkeypatch):
    case = Case("v", volume(tmp_path / "v.nii"), slice=0)
    monkeypatch.setattr(cache._hashes, "read", lambda path: pytest.fail("read whole"))
    assert cache.image(case, SIZE).shape == (*SIZE, 3)


def test_large_jpeg_is_the_same_with_and_without_the_cache(cache, tmp_path):
    smooth = resize_image(picture(3), (600, 800))
    case = Case("x", save(smooth, tmp_path / "x.jpg", quality=90))
    full = resize_image(read_image(case.image), (60, 80))
    without = sized_image(case, (60, 80))
    cache.prepare([case], (60, 80))
    np.testing.assert_array_equal(cache.image(case, (60, 80)), without)
    assert not np.array_equal(without, full)  # decoded at a reduced scale
    assert abs(without.astype(int) - full).mean() < 1


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "other shape"])
def test_damaged_entries_are_made_again(cache, tmp_path, damage):
    path = save(picture(1), tmp_path / "x.png")
    expected = np.array(cache.image(Case("x", path), SIZE))
    (entry,) = entries(cache)
    content = entry.read_bytes()
    if damage == "other shape":
        np.save(entry, np.zeros((3, 3, 3), np.uint8))
    else:
        entry.write_bytes({"cut": content[:-9], "empty": b"", "header": b"x" * len(content)}[damage])
    assert cache.prepare([Case("x", path)], SIZE) == 1
    np.testing.assert_array_equal(cache.image(Case("x", path), SIZE), expected)
    assert entry.read_bytes() == content


def test_plan_is_what_the_disk_holds(cache, make_folder):
    cases = index(make_folder(3))
    plan = cache.plan(cases, (64, 64))
    cache.prepare(cases, (64, 64))
    used = sum(-(-path.stat().st_size // 4096) * 4096 for path in entries(cache))
    assert (plan.bytes, plan.entries) == (used, len(entries(cache)))


def test_samples_are_the_same_with_and_without_the_cache(cache, tmp_path):
    photograph = save(resize_image(picture(3), (600, 800)), tmp_path / "x.jpg", quality=90)
    masks = [save(disc(n, (600, 800)), tmp_path / f"m{n}.png") for n in range(2)]
    ct = volume(tmp_path / "v.nii.gz")
    cases = [
        Case("x", photograph, masks[0], more_masks=(masks[1],)),
        Case("v", ct, slice=2, window=(-1000, 400)),
        Case("w", ct, slice=3),
    ]
    cached, plain = CaseDataset(cases, size=(60, 80), cache=cache), CaseDataset(cases, size=(60, 80))
    for _ in range(2):  # filling the cache, then reading from it
        for position in range(len(cases)):
            one, other = cached[position], plain[position]
            assert torch.equal(one.image, other.image)
            assert torch.equal(one.mask, other.mask)
            assert one.has_mask == other.has_mask == (position == 0)
    assert len(entries(cache)) == 4


def test_plan(cache, make_folder):
    cases = index(make_folder(3))
    cases[2] = replace(cases[2], mask=None)
    plan = cache.plan(cases, SIZE)
    assert plan == Plan(bytes=5 * 4096, entries=5, folder=cache.folder)
    assert str(plan) == f"5 images and masks, at most 1 MiB, in {cache.folder}"
    assert entries(cache) == []
    cache.mask(cases[0], SIZE)
    seen = []
    assert cache.prepare(cases, SIZE, on_plan=lambda p: seen.append((p.entries, len(entries(cache))))) == 3
    assert seen == [(4, 1)]  # told before anything was made
    assert cache.prepare(cases, SIZE, on_plan=lambda p: seen.append(p.entries)) == 0
    assert seen[1] == 0
    assert cache.plan(cases, (60, 90)).bytes == (3 * 4 + 2 * 2) * 4096  # 16,328 and 5,528 bytes each
    with pytest.raises(InputError, match=r"gone.png cannot be read \(No such file or directory\)"):
        cache.plan([replace(cases[0], image=Path("gone.png"))], SIZE)


def test_too_little_space(cache, make_folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    cases = index(make_folder(2))
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage(2**30, 2**30, 5 * 2**20))
    with pytest.raises(InputError, match=r"needs 1 MiB but only 5 MiB are free; .*set cache: false"):
        cache.prepare(cases, SIZE)
    assert entries(cache) == []
    monkeypatch.undo()
    cache.prepare(cases, SIZE)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage(2**30, 2**30, 5 * 2**20))
    assert Cache(cache.folder).prepare(cases, SIZE) == 0  # nothing to write, so no room is needed
    (cache.folder / "index.json").unlink()
    assert Cache(cache.folder).prepare(cases, SIZE) == 0  # unknown files are read before a refusal


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
    np.testing.assert_array_equal(copy.image(cases[0], SIZE), cache.image(cases[0], SIZE))


def test_a_stopped_process_does_not_stop_the_others(cache, make_folder, monkeypatch):
    cases = index(make_folder(2))
    waits = []

    @contextmanager
    def always_taken(path, *, patience=0.0):
        waits.append(patience)
        yield False

    monkeypatch.setattr(cache_module, "claim", always_taken)
    assert cache.prepare(cases, SIZE) == 2
    assert waits == [0, 0, 60, 60]  # passed over first, waited for at the end


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
        for image in pool.map(lambda _: cache.image(Case("x", path), SIZE), range(16)):
            np.testing.assert_array_equal(image, expected)


def test_resizing_averages_images_and_keeps_mask_values():
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert abs(resize_image(stripes, (8, 16)).astype(int)[:, 2:-2] - 100).max() <= 2  # no aliasing
    mask = np.kron(np.array([[0, 3], [7, 1]], np.uint8), np.ones((8, 8), np.uint8))
    np.testing.assert_array_equal(resize_mask(mask, (2, 2)), [[0, 3], [7, 1]])
    assert set(np.unique(resize_mask(disc(1), (50, 50)))) == {0, 255}
