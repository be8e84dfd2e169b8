"""Readers on real images, arranged by links into the publishers' layouts: counts, labels, masks.

The files at hand may have been made smaller and saved in another format; a reader goes by the names, and the
content decides how a file is decoded, so a name that ends in .bmp may lead to a JPEG.
"""

import csv
import importlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from delineate.data import index
from delineate.data.images import read_case_image, read_case_mask
from delineate.data.readers.about import count_faults

REAL = Path(os.environ.get("DELINEATE_REAL_DATA", "no such folder"))
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason="DELINEATE_REAL_DATA does not name a folder of real data sets"
)
SAMPLE = 12


def column(name: str, table: str) -> dict[str, str]:
    """The second column of a table of a plain folder by image id."""
    with (REAL / name / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return dict(row[:2] for row in list(csv.reader(file))[1:])


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def plain_folder(name: str) -> dict:
    """The cases of the plain folder by id, whose images and masks are the same pixels."""
    if not (REAL / name).is_dir():
        pytest.skip(f"the folder of real data has no {name}")
    return {case.id: case for case in index(REAL / name)}


def check_sample(cases: list, plain: dict, *, ids=lambda case_id: case_id) -> None:
    """A sample of masks and images must read equal to the plain folder's."""
    for case in cases[:: max(1, len(cases) // SAMPLE)]:
        other = plain[ids(case.id)]
        np.testing.assert_array_equal(read_case_mask(case), read_case_mask(other), err_msg=case.id)
        np.testing.assert_array_equal(read_case_image(case), read_case_image(other), err_msg=case.id)


def test_isic2017(tmp_path):
    reader = importlib.import_module("delineate.data.readers.isic2017")
    plain, parts = plain_folder("isic2017"), {"train": "Training", "val": "Validation"}
    labels, splits = column("isic2017", "labels"), column("isic2017", "split")
    rows = {split: ["image_id,melanoma,seborrheic_keratosis"] for split in parts}
    for case_id, case in plain.items():
        part = parts[splits[case_id]]
        link(case.image, tmp_path / f"ISIC-2017_{part}_Data" / f"{case_id}.jpg")
        link(case.mask, tmp_path / f"ISIC-2017_{part}_Part1_GroundTruth" / f"{case_id}_segmentation.png")
        flags = (labels[case_id] == "melanoma", labels[case_id] == "seborrheic_keratosis")
        rows[splits[case_id]].append(f"{case_id},{float(flags[0])},{float(flags[1])}")
    for split, lines in rows.items():
        (tmp_path / reader.TABLES[split]).write_text("\n".join(lines), encoding="utf-8")

    cases = reader.index(tmp_path)
    assert count_faults(reader.ABOUT, cases) == []
    assert Counter(case.split for case in cases) == {"train": 2000, "val": 150}
    assert Counter(case.label for case in cases if case.split == "train") == {
        "nevus": 1372,
        "melanoma": 374,
        "seborrheic_keratosis": 254,
    }
    assert {case.id: case.label for case in cases} == labels
    check_sample(cases, plain)


def test_ph2(tmp_path):
    reader = importlib.import_module("delineate.data.readers.ph2")
    plain, fine = plain_folder("ph2"), column("ph2", "diagnosis3")
    header = "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry ||"
    rows = [header]
    for case_id, case in plain.items():
        place = tmp_path / "PH2Dataset" / "PH2 Dataset images" / case_id
        link(case.image, place / f"{case_id}_Dermoscopic_Image" / f"{case_id}.bmp")
        link(case.mask, place / f"{case_id}_lesion" / f"{case_id}_lesion.bmp")
        rows.append(f"|| {case_id} ||   || {reader.DIAGNOSES.index(fine[case_id]):18} ||  0 ||")
    (tmp_path / "PH2Dataset" / "PH2_dataset.txt").write_text("\n".join(rows), encoding="utf-8")

    cases = reader.index(tmp_path)
    assert count_faults(reader.ABOUT, cases) == []
    assert Counter(case.label for case in cases) == reader.ABOUT.labels == {"nevus": 160, "melanoma": 40}
    assert {case.id: case.label for case in cases} == column("ph2", "labels")
    assert Counter(case.label for case in reader.index(tmp_path, fine=True)) == {
        "common_nevus": 80,
        "atypical_nevus": 80,
        "melanoma": 40,
    }
    check_sample(cases, plain)


def test_kvasir_seg(tmp_path):
    reader = importlib.import_module("delineate.data.readers.kvasir_seg")
    plain = plain_folder("kvasir_seg")
    for case_id, case in plain.items():
        link(case.image, tmp_path / "Kvasir-SEG" / "images" / f"{case_id}.jpg")
        link(case.mask, tmp_path / "Kvasir-SEG" / "masks" / f"{case_id}.jpg")
    (tmp_path / "Kvasir-SEG" / "kavsir_bboxes.json").write_text("{}", encoding="utf-8")

    cases = reader.index(tmp_path)
    assert count_faults(reader.ABOUT, cases) == []
    assert len(cases) == 1000
    assert {case.label for case in cases} == {None}
    check_sample(cases, plain)


def test_busi(tmp_path):
    reader = importlib.import_module("delineate.data.readers.busi")
    plain, labels = plain_folder("busi"), column("busi", "labels")
    root = tmp_path / "Dataset_BUSI_with_GT"
    for case_id, case in plain.items():
        link(case.image, root / labels[case_id] / f"{case_id}.png")
        link(case.mask, root / labels[case_id] / f"{case_id}_mask.png")

    cases = reader.index(tmp_path)
    assert count_faults(reader.ABOUT, cases) == []
    assert Counter(case.label for case in cases) == {"benign": 437, "malignant": 210, "normal": 133}
    assert all(not read_case_mask(case).any() for case in cases if case.label == "normal")
    check_sample(cases, plain)
