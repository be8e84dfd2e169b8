"""ISIC 2016 as its archives unpack: capital S in the masks' names, tables without a header."""

import shutil
from pathlib import Path

from tiny_data import disc, picture, save, write

from delineate.data.readers import isic2016
from layouts import Expected

READER = isic2016
PARTS = {"Training": ("train", ("ISIC_0000000", "ISIC_0000002")), "Test": ("test", ("ISIC_0000003",))}
LABELS = {"ISIC_0000000": "benign", "ISIC_0000002": "malignant", "ISIC_0000003": "benign"}


def build(root: Path) -> list[Expected]:
    expected = []
    for part, (split, ids) in PARTS.items():
        for case_id in ids:
            number = int(case_id[5:])
            save(picture(number), root / f"ISBI2016_ISIC_Part1_{part}_Data" / f"{case_id}.jpg")
            masks = root / f"ISBI2016_ISIC_Part1_{part}_GroundTruth"
            save(disc(number), masks / f"{case_id}_Segmentation.png")
            expected.append(Expected(case_id, split, LABELS[case_id]))
    write(
        root / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv",
        "ISIC_0000000,benign\nISIC_0000002,malignant\n",
    )
    write(root / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv", "ISIC_0000003,0.0\n")
    return expected


def remove_part(root: Path) -> str:
    shutil.rmtree(root / "ISBI2016_ISIC_Part1_Test_Data")
    shutil.rmtree(root / "ISBI2016_ISIC_Part1_Test_GroundTruth")
    (root / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv").unlink()
    return "test"
