"""REFUGE: three parts of two archives each, with class folders in the first and the last."""

import shutil

import numpy as np
from tiny_data import disc, picture, save
from tiny_files import workbook

from delineate.data.readers import refuge
from layouts import Expected

READER = refuge

FOLDERS = {
    "g0001": ("Training400/Glaucoma", "Annotation-Training400/Disc_Cup_Masks/Glaucoma", "train"),
    "n0001": ("Training400/Non-Glaucoma", "Annotation-Training400/Disc_Cup_Masks/Non-Glaucoma", "train"),
    "n0002": ("Training400/Non-Glaucoma", "Annotation-Training400/Disc_Cup_Masks/Non-Glaucoma", "train"),
    "V0001": ("REFUGE-Validation400", "REFUGE-Validation400-GT/Disc_Cup_Masks", "val"),
    "V0002": ("REFUGE-Validation400", "REFUGE-Validation400-GT/Disc_Cup_Masks", "val"),
    "T0001": ("Test400", "REFUGE-Test-GT/Disc_Cup_Masks/N", "test"),
    "T0002": ("Test400", "REFUGE-Test-GT/Disc_Cup_Masks/G", "test"),
}
GLAUCOMA = {"g0001", "V0002", "T0002"}


def rim_and_cup(number):
    """255 around, 128 for the rim and 0 for the cup, as in the original."""
    mask = np.where(disc(number) > 0, 128, 255).astype(np.uint8)
    mask[9:12, 7 + number : 10 + number] = 0
    return mask


def build(root, indices=(0, 1, 2)):
    expected = []
    for number, (name, (images, masks, split)) in enumerate(FOLDERS.items()):
        save(picture(number), root / images / f"{name}.jpg")
        save(rim_and_cup(number), root / masks / f"{name}.bmp")
        label = "glaucoma" if name in GLAUCOMA else "non_glaucoma"
        expected.append(Expected(name, split, label, indices=frozenset(indices)))
    workbook(
        root / "REFUGE-Validation400-GT" / "Fovea_locations.xlsx",
        [
            ["ID", "ImgName", "Fovea_X", "Fovea_Y", "Glaucoma Label"],
            [1, "V0001.jpg", 1060.5, 800.25, 0],
            [2, "V0002.jpg", 1055.5, 790.75, 1],
        ],
    )
    workbook(root / "Annotation-Training400" / "Fovea_location.xlsx", [["ID", "ImgName"], [1, "g0001.jpg"]])
    workbook(
        root / "REFUGE-Test-GT" / "Glaucoma_label_and_Fovea_location.xlsx",
        [["ID", "ImgName", "Label(Glaucoma=1)"], [1, "T0001.jpg", 0], [2, "T0002.jpg", 1]],
    )
    return expected


def remove_part(root):
    shutil.rmtree(root / "REFUGE-Validation400")
    shutil.rmtree(root / "REFUGE-Validation400-GT")
    return "val"
