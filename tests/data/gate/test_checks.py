"""The gate: each fault is planted in an otherwise sound data set and must be found."""

import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tiny_data import disc, picture, save, write

from delineate.checks import InputError
from delineate.data import Case, index
from delineate.data.gate import CHECKS, check_cases, facts
from delineate.data.gate.outliers import outliers
from delineate.data.readers.about import About


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
    root = make_folder(3)
    (root / "images" / "a00.png").write_bytes((root / "images" / "a00.png").read_bytes()[:900])
    save(np.where(disc(2) > 0, 200, 0).astype(np.uint8), root / "masks" / "a02.png")
    codes = found(root)
    assert [f.ids for f in codes["image-unreadable"]] == [("a00",)]
    assert "a00.png cannot be decoded" in codes["image-unreadable"][0].message
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


def test_one_file_for_two_cases_is_an_error(make_folder):
    cases = index(make_folder(3))
    cases[1] = replace(cases[1], mask=cases[0].mask)
    codes = {f.code: f for f in check_cases(cases).findings}
    assert (codes["mask-shared"].level, codes["mask-shared"].ids) == ("error", ("a00", "a01"))
    assert "a00.png is the mask of 2 cases (a00, a01); each needs its own." in codes["mask-shared"].message
    assert codes["mask-repeated"].ids == ("a00", "a01")
    assert "image-shared" not in codes


def test_slices_of_one_file_do_not_share_it(make_folder):
    case = index(make_folder(1))[0]
    cases = [replace(case, id=f"s{i}", slice=i) for i in range(3)]
    assert "image-shared" not in {f.code for f in check_cases(cases).findings}


def test_ids_must_be_unique(make_folder):
    case = index(make_folder(1))[0]
    with pytest.raises(InputError, match="Two cases have the id 'a00'; ids must be unique"):
        check_cases([case, case])


def test_published_counts(make_folder):
    about = About(
        "The Set", "CT", "s", {"train": 2, "test": 2}, ("lesion",), "0/255", {"x": 3, "y": 1}, None, "none",
        "c", "https://example.org", "images/",
    )  # fmt: skip
    split = "image_id,split\na00,train\na01,train\na02,test\na03,test\n"
    labels = "image_id,label\na00,x\na01,x\na02,y\na03,y\n"
    cases = index(make_folder(4, split=split, labels=labels))
    codes = {f.code: f for f in check_cases(cases, about=about).findings}
    assert "case-count" not in codes
    assert codes["label-count"].level == "warning"
    whole = [f.message for f in check_cases(cases, about=about).findings if f.code == "label-count"]
    assert whole[0].startswith("The Set has 3 cases labelled 'x', but 2 were found")
    (fault,) = [f for f in check_cases(cases[:3], about=about).findings if f.code == "case-count"]
    assert fault.level == "error"
    assert "The Set has 2 cases of the part test, but 1 were found" in fault.message


def test_rare_labels(make_folder):
    labels = "image_id,label\n" + "".join(f"a{i:02},{'y' if i == 0 else 'x'}\n" for i in range(24))
    (finding,) = found(make_folder(24, labels=labels))["label-rare"]
    assert (finding.level, finding.message) == ("warning", "Only 1 case labelled 'y' of 24.")


def test_outliers_of_size_and_brightness(make_folder):
    root = make_folder(24)
    save(picture(90, (200, 300)), root / "images" / "a03.png")
    save(disc(90, (200, 300)), root / "masks" / "a03.png")
    save((picture(91) // 8), root / "images" / "a05.png")
    save(np.full((24, 32, 3), 77, np.uint8), root / "images" / "a06.png")
    codes = found(root)
    assert codes["resolution-outlier"][0].ids == ("a03",)
    assert "1 image is far from the rest in number of pixels (a03)." in codes["resolution-outlier"][0].message
    assert codes["brightness-outlier"][0].ids == ("a05", "a06")
    assert (codes["image-constant"][0].level, codes["image-constant"][0].ids) == ("warning", ("a06",))


def test_outliers_are_robust_and_want_many_values():
    values = [10.0, 11, 9, 10, 12, 8, 10, 11, 9, 10] * 3
    # median 10, MAD 1: 5 standard deviations are 7.413
    assert outliers([*values, 17.4], 0.1) == []
    assert outliers([*values, 17.5, -20.0], 0.1) == [31, 30]
    assert outliers([*values, 17.5], 2.0) == []
    assert outliers([1.0] * 18 + [100.0], 0.1) == []


def test_transparency_and_shallow_depth_are_told(make_folder):
    root = make_folder(3)
    alpha = np.full((24, 32, 1), 255, np.uint8)
    alpha[3:6] = 90
    save(np.dstack([picture(1), alpha]), root / "images" / "a01.png")
    deep = np.random.default_rng(2).integers(1000, 1100, (24, 32)).astype(np.uint16)
    save(deep, root / "images" / "a02.png")
    codes = found(root)
    assert "image-unreadable" not in codes
    assert codes["image-transparent"][0].ids == ("a01",)
    assert codes["image-shallow"][0].ids == ("a02",)


def test_few_cases_are_in_flight(make_folder, monkeypatch):
    case = index(make_folder(1))[0]
    running, most = [], []

    def slow(one: Case) -> facts.CaseFacts:
        running.append(one.id)
        most.append(len(running) - len(most))
        return facts.CaseFacts()

    monkeypatch.setattr(facts, "read_facts", slow)
    cases = [replace(case, id=str(i)) for i in range(600)]
    seen = []
    facts.gather(cases, workers=2, progress=lambda: seen.append(len(running)))
    assert len(seen) == 600
    assert seen[0] <= 9  # 4 per thread ahead, and the one that was taken
    assert max(started - done for done, started in enumerate(seen)) <= 9


def test_table_groups_kinds_and_shows_brackets(make_folder):
    root = make_folder(4)
    for path in (root / "images").iterdir():
        path.write_bytes(b"x")
    (root / "images" / "a00.png").rename(root / "images" / "[red]a00.png")
    (root / "masks" / "a00.png").rename(root / "masks" / "[red]a00.png")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(check_cases(index(root)).to_table(limit=2))
    text = console.export_text()
    assert text.startswith("4 cases: 4 errors")
    assert "[red]a00.png" in text
    assert "... and 2 more" in text
    (row,) = [line for line in text.splitlines() if "image-unreadable" in line]
    assert "error" in row
    assert " 4 " in row


REAL = Path(os.environ.get("DELINEATE_REAL_DATA", "no such folder"))


@pytest.mark.skipif(not REAL.is_dir(), reason="DELINEATE_REAL_DATA does not name a folder of real data sets")
@pytest.mark.slow
def test_known_faults_of_real_sets():
    isic = found(REAL / "isic2017")
    assert ("ISIC_0000171", "ISIC_0015124") in [f.ids for f in isic["near-duplicate-in-two-splits"]]
    assert isic["duplicate-in-two-splits"][0].ids == ("ISIC_0012127", "ISIC_0012970")
    busi = found(REAL / "busi")
    assert len(busi["near-duplicate"]) > 150
    pairs = [set(f.ids) for f in busi["near-duplicate-with-two-labels"] if f.level == "error"]
    assert {"benign (399)", "malignant (93)"} in pairs
    kvasir = [set(f.ids) for f in found(REAL / "kvasir_seg")["near-duplicate"]]
    assert {"cju886ryxnsl50801r93jai7q", "cju8amfdtqi4x09871tygrgqe"} in kvasir
    assert "near-duplicates" not in found(REAL / "ph2")
    assert "'11' and '12'" in found(REAL / "covid19_ct")["groups-alike"][0].message
    assert busi["duplicate-with-two-labels"][0].ids == ("benign (433)", "malignant (145)")
