"""Masks that mean something else than the data set says: each proposal must read the masks it is made for."""

import numpy as np
import pytest
from PIL import Image
from tiny_data import disc, save, write

from delineate.data import index
from delineate.data.gate import check_cases
from delineate.data.images import read_case_mask


def findings(root):
    return {f.code: f for f in check_cases(index(root)).findings}


def apply_proposal(root, message: str) -> None:
    """Write the classes.csv that a message proposes."""
    table = message.partition("classes.csv with the lines ")[2].rpartition(" reads them")[0]
    write(root / "classes.csv", table.replace("; ", "\n") + "\n")


@pytest.mark.parametrize(("background", "value"), [(0, 200), (1, 2), (255, 7), (0, 128)])
def test_two_other_values(make_folder, background, value):
    root = make_folder(4)
    for number in range(4):
        mask = np.where(disc(number) > 0, value, background).astype(np.uint8)
        save(mask, root / "masks" / f"a0{number}.png")
    codes = findings(root)
    low, high = sorted((background, value))
    assert f"4 masks of 4 cases do not fit their encoding (a00, a01, a02, a03): the values {low}, {high}" in (
        codes["mask-encoding"].message
    )
    assert codes["mask-encoding"].level == "warning"
    apply_proposal(root, codes["mask-encoding"].message)
    read = read_case_mask(index(root)[2])
    expected = disc(2) > 0
    # With 255 and 7 nothing tells which is the background; the darker value is taken.
    assert np.array_equal(read, expected if background < value else ~expected)


def test_separate_levels_become_classes(make_folder):
    root = make_folder(3)
    for number in range(3):
        mask = np.where(disc(number) > 0, 128, 0).astype(np.uint8)
        mask[9:11, 10:12] = 255
        save(mask, root / "masks" / f"a0{number}.png")
    message = findings(root)["mask-encoding"].message
    assert "the values 0, 128, 255, names to be chosen" in message
    assert "value,name; 128,class1; 255,class2 reads them" in message
    apply_proposal(root, message)
    assert set(np.unique(read_case_mask(index(root)[0]))) == {0, 1, 2}
    assert "mask-encoding" not in findings(root)


def test_a_value_that_the_table_lacks(make_folder):
    root = make_folder(3, classes="value,name\n255,lesion\n")
    mask = disc(1)
    mask[0, :8] = 40
    save(mask, root / "masks" / "a01.png")
    message = findings(root)["mask-encoding"].message
    assert "1 mask of 3 cases do not fit" in message
    assert "value,name; 40,class1; 255,lesion reads them" in message


def test_binary_masks_saved_with_losses(make_folder):
    root = make_folder(3, size=(96, 128))
    for number in range(3):
        blurred = Image.fromarray(disc(number, (96, 128)))
        blurred.save(root / "lossy.jpg", quality=80)
        Image.open(root / "lossy.jpg").save(root / "masks" / f"a0{number}.png")
    (root / "lossy.jpg").unlink()
    message = findings(root)["mask-encoding"].message
    assert "nearly all close to 0 or 255: a binary mask saved with losses" in message
    assert "value,name; >=128,foreground reads them" in message


@pytest.mark.parametrize("kind", ["picture", "soft", "ignore"])
def test_ambiguity_is_refused(make_folder, kind):
    root = make_folder(3)
    rng = np.random.default_rng(0)
    for number in range(3):
        mask = rng.integers(0, 256, (24, 32), dtype=np.uint8)
        if kind == "soft":
            mask = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (24, 1))
        if kind == "ignore":
            mask = disc(number)
            mask[5:15, 5:15] = 1
        save(mask, root / "masks" / f"a0{number}.png")
    codes = findings(root)
    assert "mask-encoding" not in codes
    text = "255 may be a class or a border" if kind == "ignore" else "that look like grey levels"
    assert text in codes["mask-encoding-unclear"].message


def test_lossy_masks_beside_masks_of_ones_are_refused(make_folder):
    root = make_folder(3)
    save(disc(0) // 255, root / "masks" / "a00.png")
    noisy = disc(1).copy()
    noisy[:2, :15] = np.arange(30).reshape(2, 15)
    save(noisy, root / "masks" / "a01.png")
    assert "some masks hold 0 and 1 and others grey levels" in findings(root)["mask-encoding-unclear"].message


def test_threshold_that_no_mask_reaches(make_folder):
    root = make_folder(3)
    for number in range(3):
        (root / "masks" / f"a0{number}.png").unlink()
        save(disc(number) // 255, root / "masks" / f"a0{number}.jpg", quality=100)
    finding = findings(root)["mask-encoding"]
    assert finding.level == "error"
    assert "No mask reaches the threshold 128, the largest value is 2, so all are empty" in finding.message


def test_soft_maps_cut_at_a_threshold(make_folder):
    root = make_folder(3)
    (root / "masks" / "a01.png").unlink()
    soft = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (24, 1))
    save(soft, root / "masks" / "a01.jpg", quality=95)
    assert findings(root)["mask-grey"].ids == ("a01",)


def test_inverted_masks(make_folder):
    root = make_folder(4)
    for number in range(4):
        save(255 - disc(number), root / "masks" / f"a0{number}.png")
    finding = findings(root)["mask-inverted"]
    assert (finding.level, len(finding.ids)) == ("warning", 4)
    assert "classes.csv with the lines value,name; 255,background; 0,foreground puts it right" in (
        finding.message
    )
    write(root / "classes.csv", "value,name\n255,background\n0,foreground\n")
    assert np.array_equal(read_case_mask(index(root)[1]) > 0, disc(1) > 0)
    assert "mask-inverted" not in findings(root)
