"""The integrity gate: each fault is planted in an otherwise sound data set and must be found."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_data import disc, picture, save, write

from delineate.data import CHECKS, check_cases, index


def found(root: Path) -> dict[str, list]:
    report = check_cases(index(root), workers=1)
    codes: dict[str, list] = {}
    for finding in report.findings:
        codes.setdefault(finding.code, []).append(finding)
    return codes


def test_sound_data_has_no_errors_or_warnings(make_folder):
    root = make_folder(5, labels="image_id,label\n" + "".join(f"a0{i},{'xy'[i % 2]}\n" for i in range(5)))
    report = check_cases(index(root), workers=2)
    assert report.ok
    assert {finding.level for finding in report.findings} == {"info"}
    assert report.to_text().splitlines()[0] == "5 cases: 0 errors, 0 warnings"
    assert "class-balance: Cases per label: x 3, y 2." in report.to_text()
    assert "image-sizes: all images are 32x24." in report.to_text()
    assert json.loads(json.dumps(report.to_json()))["ok"] is True


def test_progress_counts_every_case(make_folder):
    calls = []
    check_cases(index(make_folder(3)), workers=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_unreadable_files(make_folder):
    root = make_folder(5)
    (root / "images" / "a00.png").write_bytes((root / "images" / "a00.png").read_bytes()[:900])
    save(np.dstack([picture(1), disc(1)]), root / "images" / "a01.png")
    save(disc(2).astype(np.uint16), root / "images" / "a02.png")
    save(np.where(disc(3) > 0, 200, 0).astype(np.uint8), root / "masks" / "a03.png")
    codes = found(root)
    assert [f.ids for f in codes["image-unreadable"]] == [("a00",), ("a01",), ("a02",)]
    for finding, text in zip(
        codes["image-unreadable"], ("decoded", "alpha", "more than 8 bits"), strict=True
    ):
        assert text in finding.message
    assert "holds the values 0, 200" in codes["mask-unreadable"][0].message
    assert codes["mask-unreadable"][0].level == "error"


def test_size_mismatch(make_folder):
    root = make_folder(2)
    save(disc(1, (20, 30)), root / "masks" / "a01.png")
    (finding,) = found(root)["size-mismatch"]
    assert (finding.level, finding.ids) == ("error", ("a01",))
    assert "a01.png is 30x20, but its image is 32x24 (width x height)" in finding.message


@pytest.mark.parametrize("ending", ["png", "bmp"])
def test_image_as_its_own_mask(make_folder, ending):
    root = make_folder(2)
    (root / "masks" / "a00.png").unlink()
    if ending == "png":
        shutil.copy(root / "images" / "a00.png", root / "masks" / "a00.png")
    else:
        Image.open(root / "images" / "a00.png").save(root / "masks" / "a00.bmp")
    codes = found(root)
    assert [f.ids for f in codes["mask-is-image"]] == [("a00",)]
    assert "mask-unreadable" not in codes


def test_empty_and_full_masks_and_absent_classes(make_folder):
    root = make_folder(4)
    save(np.zeros((24, 32), np.uint8), root / "masks" / "a00.png")
    save(np.full((24, 32), 255, np.uint8), root / "masks" / "a01.png")
    codes = found(root)
    assert codes["mask-empty"][0].message == "1 of 4 masks have no foreground."
    assert (codes["mask-nearly-full"][0].level, codes["mask-nearly-full"][0].ids) == ("warning", ("a01",))
    write(root / "classes.csv", "value,name\n255,lesion\n7,hair\n")
    assert "No mask holds the class 'hair'" in found(root)["class-absent"][0].message


def test_same_image_in_two_splits_even_in_another_format(make_folder):
    root = make_folder(3, split="image_id,split\na00,train\na01,val\na02,test\n")
    (root / "images" / "a02.png").unlink()
    Image.open(root / "images" / "a00.png").save(root / "images" / "a02.bmp")
    shutil.copy(root / "masks" / "a00.png", root / "masks" / "a02.png")
    codes = found(root)
    (finding,) = codes["duplicate-in-two-splits"]
    assert (finding.level, finding.ids) == ("error", ("a00", "a02"))
    assert finding.message == "'a00' and 'a02' are the same image in the splits test and train; keep one."
    assert "duplicate" not in codes
    assert "duplicate-with-two-masks" not in codes


def test_same_image_with_two_labels_or_masks_or_only_twice(make_folder):
    root = make_folder(4, labels="image_id,label\na00,x\na01,y\na02,x\na03,x\n")
    shutil.copy(root / "images" / "a00.png", root / "images" / "a01.png")
    shutil.copy(root / "images" / "a02.png", root / "images" / "a03.png")
    shutil.copy(root / "masks" / "a02.png", root / "masks" / "a03.png")
    codes = found(root)
    assert (codes["duplicate-with-two-labels"][0].level, codes["duplicate"][0].level) == ("error", "warning")
    assert "with the labels x and y, so one is wrong" in codes["duplicate-with-two-labels"][0].message
    masks = codes["duplicate-with-two-masks"][0]
    one, two = disc(0) > 0, disc(1) > 0
    dice = 2 * (one & two).sum() / (one.sum() + two.sum())
    assert f"(Dice {dice:.3f})" in masks.message
    assert (masks.level, masks.ids) == ("warning", ("a00", "a01"))
    assert codes["duplicate"][0].ids == ("a02", "a03")


def test_group_in_two_splits(make_folder):
    root = make_folder(
        3,
        split="image_id,split\na00,train\na01,test\na02,test\n",
        groups="image_id,patient\na00,p\na01,p\na02,q\n",
    )
    (finding,) = found(root)["group-in-two-splits"]
    assert (finding.level, finding.ids) == ("error", ("a00", "a01"))
    assert "The group 'p' is in the splits test and train" in finding.message


def test_coverage_and_labels_that_a_split_lacks(make_folder):
    root = make_folder(
        4,
        labels="image_id,label\na00,x\na01,y\na02,x\n",
        split="image_id,split\na00,train\na01,train\na02,test\n",
    )
    (root / "masks" / "a03.png").unlink()
    codes = found(root)
    assert codes["mask-missing"][0].message == "1 of 4 cases have no mask (a03)."
    assert codes["label-missing"][0].level == "info"
    assert codes["split-missing"][0].level == "error"
    assert codes["label-absent"][0].message == "The split test has no case labelled 'y'."


def test_text_is_limited_per_kind(make_folder):
    root = make_folder(4)
    for path in (root / "images").iterdir():
        path.write_bytes(b"x")
    text = check_cases(index(root)).to_text(limit=2)
    assert "image-unreadable: 2 more of this kind" in text
    assert text.startswith("4 cases: 4 errors")


def test_every_check_is_documented():
    assert all(check.__doc__ for check in CHECKS.values())


REAL = Path(os.environ.get("DELINEATE_REAL_DATA", "no such folder"))


@pytest.mark.skipif(not REAL.is_dir(), reason="DELINEATE_REAL_DATA does not name a folder of real data sets")
@pytest.mark.slow
def test_known_faults_of_real_sets():
    assert found(REAL / "isic2017")["duplicate-in-two-splits"][0].ids == ("ISIC_0012127", "ISIC_0012970")
    (busi,) = found(REAL / "busi")["duplicate-with-two-labels"]
    assert busi.ids == ("benign (433)", "malignant (145)")
