"""ISIC 2018 task 1 as its archives unpack: a licence and an attribution lie in each folder."""

import shutil
from pathlib import Path

from tiny_data import disc, picture, save, write

from delineate.data.readers import isic2018
from layouts import Expected

READER = isic2018
PARTS = {
    "Training": ("train", ("ISIC_0000000", "ISIC_0000077")),
    "Validation": ("val", ("ISIC_0012255",)),
    "Test": ("test", ("ISIC_0012169",)),
}


def build(root: Path) -> list[Expected]:
    expected = []
    for part, (split, ids) in PARTS.items():
        images = root / f"ISIC2018_Task1-2_{part}_Input"
        masks = root / f"ISIC2018_Task1_{part}_GroundTruth"
        for case_id in ids:
            number = int(case_id[5:])
            save(picture(number), images / f"{case_id}.jpg")
            save(disc(number), masks / f"{case_id}_segmentation.png")
            expected.append(Expected(case_id, split))
        for folder in (images, masks):
            write(folder / "ATTRIBUTION.txt", "Cite the publisher.\n")
            write(folder / "LICENSE.txt", "CC-0\n")
    return expected


def remove_part(root: Path) -> str:
    shutil.rmtree(root / "ISIC2018_Task1-2_Test_Input")
    shutil.rmtree(root / "ISIC2018_Task1_Test_GroundTruth")
    return "test"
