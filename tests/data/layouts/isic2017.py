"""ISIC 2017 as its archives unpack: superpixel pictures and a table lie among the photographs."""

import shutil
from pathlib import Path

from tiny_data import disc, picture, save, write

from delineate.data.readers import isic2017
from layouts import Expected

READER = isic2017
PARTS = {
    "Training": ("train", {"ISIC_0000000": "nevus", "ISIC_0000002": "melanoma"}),
    "Validation": ("val", {"ISIC_0001769": "nevus"}),
    "Test_v2": ("test", {"ISIC_0012086": "seborrheic_keratosis"}),
}
FLAGS = {"nevus": "0.0,0.0", "melanoma": "1.0,0.0", "seborrheic_keratosis": "0.0,1.0"}


def build(root: Path) -> list[Expected]:
    expected = []
    for part, (split, labels) in PARTS.items():
        images = root / f"ISIC-2017_{part}_Data"
        masks = root / f"ISIC-2017_{part}_Part1_GroundTruth"
        for case_id, label in labels.items():
            number = int(case_id[5:])
            save(picture(number), images / f"{case_id}.jpg")
            save(picture(number + 1), images / f"{case_id}_superpixels.png")
            save(disc(number), masks / f"{case_id}_segmentation.png")
            expected.append(Expected(case_id, split, label))
        rows = "".join(f"{case_id},55,female\n" for case_id in labels)
        write(images / f"ISIC-2017_{part}_Data_metadata.csv", "image_id,age_approximate,sex\n" + rows)
        rows = "".join(f"{case_id},{FLAGS[label]}\n" for case_id, label in labels.items())
        write(
            root / f"ISIC-2017_{part}_Part3_GroundTruth.csv",
            "image_id,melanoma,seborrheic_keratosis\n" + rows,
        )
    return expected


def remove_part(root: Path) -> str:
    shutil.rmtree(root / "ISIC-2017_Validation_Data")
    shutil.rmtree(root / "ISIC-2017_Validation_Part1_GroundTruth")
    (root / "ISIC-2017_Validation_Part3_GroundTruth.csv").unlink()
    return "val"
