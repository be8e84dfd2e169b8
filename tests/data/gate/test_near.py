"""Near-duplicates: an exact search of hashes, and a confirmation that tells likeness from a shared frame."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from tiny_data import save

from delineate.data import index
from delineate.data.gate import check_cases
from delineate.data.gate.near import HAMMING, SAME, SIMILAR, close_hashes, near_pairs, perceptual_hashes


def scene(seed: int, size: tuple[int, int] = (96, 128), frame: bool = False) -> np.ndarray:
    """A smooth random picture, inside a dark round frame on request: (H, W) uint8."""
    rng = np.random.default_rng(seed)
    coarse = gaussian_filter(rng.normal(size=(48, 64)), 2)
    coarse = (coarse - coarse.min()) / np.ptp(coarse) * 200 + 30
    grey = np.asarray(Image.fromarray(coarse.astype(np.float32)).resize((size[1], size[0])))
    if frame:
        rows, columns = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
        grey = np.where(rows**2 + columns**2 < 0.9, grey * 0.3 + 120, 5)
    return np.clip(grey, 0, 255).astype(np.uint8)


def thumbnails(pictures: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(p).resize((32, 32), Image.Resampling.BOX)) for p in pictures])


def pairs_of(pictures: list[np.ndarray]) -> dict[tuple[int, int], tuple[float, bool]]:
    return {(p.first, p.second): (p.score, p.mirrored) for p in near_pairs(thumbnails(pictures))}


@pytest.mark.parametrize("count", [3, 130, 700])
def test_search_equals_every_pair_compared_one_by_one(count):
    rng = np.random.default_rng(count)
    hashes = rng.integers(0, 2**20, count, dtype=np.uint64)  # few bits, so that many pairs are close
    others = rng.integers(0, 2**20, 600, dtype=np.uint64)

    def distance(a: np.uint64, b: np.uint64) -> int:
        return (int(a) ^ int(b)).bit_count()

    def pairs(blocks) -> list[tuple[int, int]]:
        return sorted((int(a), int(b)) for i, j in blocks for a, b in zip(i, j, strict=True))

    expected = [(i, j) for i, j in combinations(range(count), 2) if distance(hashes[i], hashes[j]) <= 4]
    assert pairs(close_hashes(hashes, distance=4)) == expected
    between = [(i, j) for i in range(count) for j in range(600) if distance(hashes[i], others[j]) <= 4]
    assert pairs(close_hashes(hashes, others, distance=4)) == between
    ordered = [(i, j) for i, j in between if i < j]
    assert pairs(close_hashes(hashes, others, distance=4, ordered=True)) == ordered


def test_no_hashes_no_pairs():
    none = np.zeros(0, dtype=np.uint64)
    assert list(close_hashes(none)) == list(close_hashes(none, none)) == []
    assert list(near_pairs(np.zeros((0, 32, 32), np.uint8))) == []


def test_hash_is_the_sign_of_low_frequencies_against_their_median():
    from scipy.fft import dctn

    pictures = thumbnails([scene(i) for i in range(5)])
    low = dctn(pictures.astype(float), axes=(1, 2))[:, :8, :8].reshape(5, -1)
    # The orthonormal and the plain transform differ by factors of the first row and column; the plain one
    # is used here as there.
    above = low > np.median(low[:, 1:], axis=1, keepdims=True)
    above[:, 0] = False
    expected = [int("".join("01"[bit] for bit in row), 2) for row in above.astype(int)]
    assert perceptual_hashes(pictures).tolist() == expected
    assert all(value.bit_count() == 31 for value in expected)


def test_copies_are_found_whatever_was_done_to_them():
    original = scene(1)
    noisy = np.clip(original + np.random.default_rng(0).normal(0, 6, original.shape), 0, 255).astype(np.uint8)
    small = np.asarray(Image.fromarray(original).resize((70, 50)))
    darker = (original * 0.6).astype(np.uint8)
    marked = original.copy()
    marked[40:42, 30:60] = marked[30:50, 44:46] = 255  # callipers
    found = pairs_of([original, noisy, small, darker, marked, original[:, ::-1], *map(scene, range(10, 30))])
    for copy in (1, 2, 3):
        assert found[0, copy][0] >= SAME
        assert not found[0, copy][1]
    assert found[0, 4][0] >= SIMILAR
    assert found[0, 5] == (pytest.approx(1.0, abs=1e-5), True)
    assert all(second <= 5 for _, second in found)


def test_a_shared_dark_frame_makes_no_likeness():
    framed = [scene(i, frame=True) for i in range(40)]
    flat = thumbnails(framed).reshape(40, -1).astype(float)
    plain = np.corrcoef(flat)[np.triu_indices(40, 1)]
    assert plain.min() > 0.9  # what the confirmation must not fall for
    assert pairs_of(framed) == {}
    assert set(pairs_of([*framed, framed[3]])) == {(3, 40)}


def test_flat_pictures_are_not_compared():
    assert pairs_of([np.full((40, 40), 9, np.uint8), np.full((40, 40), 9, np.uint8)]) == {}


def test_skipped_units():
    pictures = thumbnails([scene(1)] * 4)
    found = {(p.first, p.second) for p in near_pairs(pictures, skip=np.array([5, 5, -1, -1]))}
    assert found == {(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_hamming_leaves_room_for_what_copies_differ_by():
    hashes = perceptual_hashes(thumbnails([scene(1), (scene(1) * 0.5 + 60).astype(np.uint8), scene(2)]))
    first, second, other = (int(value) for value in hashes)
    assert (first ^ second).bit_count() <= HAMMING < (first ^ other).bit_count()


@pytest.fixture
def pictures_folder(make_folder):
    """Six different scenes; a01 is a JPEG copy of a00, a03 that of a02 mirrored."""

    def make(**tables: str):
        root = make_folder(6, size=(96, 128), **tables)
        for number in range(6):
            save(scene(number), root / "images" / f"a0{number}.png")
        (root / "images" / "a01.png").unlink()
        save(scene(0), root / "images" / "a01.jpg", quality=60)
        save(np.clip(scene(2)[:, ::-1] + 1.0, 0, 255).astype(np.uint8), root / "images" / "a03.png")
        return root

    return make


def found(root, **options):
    codes: dict[str, list] = {}
    for finding in check_cases(index(root), **options).findings:
        codes.setdefault(finding.code, []).append(finding)
    return codes


def rows(column: str, values: str) -> str:
    return f"image_id,{column}\n" + "".join(f"a0{i},{v}\n" for i, v in enumerate(values.split()))


def test_across_splits_is_an_error(pictures_folder):
    codes = found(pictures_folder(split=rows("split", "train test train train val test")))
    (finding,) = codes["near-duplicate-in-two-splits"]
    assert (finding.level, finding.ids) == ("error", ("a00", "a01"))
    assert "'a00' and 'a01' are practically the same picture (correlation 0.9" in finding.message
    assert "are in the splits test and train; keep one or group them" in finding.message
    (inside,) = codes["near-duplicate"]
    assert (inside.level, inside.ids) == ("info", ("a02", "a03"))
    assert "mirrored" in inside.message
    assert codes["near-duplicates"][0].level == "warning"
    assert codes["near-duplicates"][0].ids == ("a02", "a03")


def test_two_labels_and_two_masks(pictures_folder):
    root = pictures_folder(labels=rows("label", "x y x x x x"))
    mask = np.zeros((96, 128), np.uint8)
    mask[60:, 90:] = 255
    save(mask, root / "masks" / "a01.png")
    codes = found(root)
    assert [(f.level, f.ids) for f in codes["near-duplicate-with-two-labels"]] == [("error", ("a00", "a01"))]
    masks = {f.ids: f.message for f in codes["near-duplicate-with-two-masks"]}
    assert "with unlike masks (Dice 0.000)" in masks["a00", "a01"]


def test_masks_of_mirrored_copies_are_compared_mirrored(pictures_folder):
    root = pictures_folder()
    mask = np.zeros((96, 128), np.uint8)
    mask[10:40, 5:50] = 255
    for case_id, drawn in (("a00", mask), ("a01", mask), ("a02", mask), ("a03", mask[:, ::-1])):
        save(drawn, root / "masks" / f"{case_id}.png")
    assert "near-duplicate-with-two-masks" not in found(root)


def test_one_group_is_passed_over_and_alike_groups_are_told(pictures_folder):
    codes = found(pictures_folder(groups=rows("group", "p p q r s t")))
    assert "near-duplicate" not in codes
    assert "near-duplicates" not in codes
    (finding,) = codes["groups-alike"]
    assert (finding.level, finding.ids) == ("warning", ("a02", "a03"))
    assert "The groups 'q' and 'r' share 1 pair of look-alikes (a02 and a03 first)" in finding.message


def test_slices_of_one_volume_are_passed_over(pictures_folder):
    cases = [replace(case, slice=0) for case in index(pictures_folder())]
    volume = [replace(case, group="v", label=label) for case, label in zip(cases, "xyxyxy", strict=True)]
    codes = {f.code for f in check_cases(volume).findings}
    assert not {code for code in codes if code.startswith("near-duplicate")}


def test_another_data_set(pictures_folder, make_folder):
    ours = index(pictures_folder(split=rows("split", "train val train val val val")))
    root = make_folder(3, name="other", size=(96, 128), split=rows("split", "test test test"))
    save(scene(0), root / "images" / "a00.png")
    save(scene(2).astype(np.uint8), root / "images" / "a01.png")
    save(scene(77), root / "images" / "a02.png")
    report = check_cases(ours, against=index(root))
    exact = [f for f in report.findings if f.code == "duplicate-in-other-set"]
    assert [(f.level, f.ids, f.other_ids) for f in exact] == [("error", ("a00", "a02"), ("a00", "a01"))]
    assert "2 images of the split train are also in the split test of the other data set" in exact[0].message
    assert "(a00, a02 = a01)" in exact[0].message
    near = {(f.level, f.ids, f.other_ids) for f in report.findings if f.code == "near-duplicate-in-other-set"}
    assert near == {("warning", ("a01",), ("a00",)), ("warning", ("a03",), ("a01",))}


def test_lists_of_pairs_are_limited(make_folder, monkeypatch):
    from delineate.data.gate import duplicates

    root = make_folder(6, size=(96, 128))
    for number in range(6):
        save(np.clip(scene(1) + float(number), 0, 255).astype(np.uint8), root / "images" / f"a0{number}.png")
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 4)
    monkeypatch.setattr(duplicates, "_MOST_KEPT", 10)
    codes = found(root)
    assert len(codes["near-duplicate"]) == 5
    assert codes["near-duplicate"][-1].message == "6 more pairs of this kind."
    assert codes["near-duplicates-many"][0].message.startswith("15 pairs look the same, of which the 10 most")
