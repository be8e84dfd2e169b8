"""GOALS: grey masks whose background is 255, a workbook of labels, two parts without masks."""

import shutil

import numpy as np
from tiny_data import picture, save
from tiny_files import workbook

from delineate.data.readers import goals2022
from layouts import Expected

READER = goals2022


def layers(number):
    """Three bands, from the top: RNFL 0, GCIPL 80, choroid 160."""
    mask = np.full((24, 32), 255, np.uint8)
    top = 3 + number % 4
    mask[top : top + 3] = 0
    mask[top + 3 : top + 5] = 80
    mask[top + 9 : top + 13] = 160
    return mask


def build(root):
    expected = []
    for number in (1, 2, 10):
        name = f"{number:04d}"
        save(picture(number), root / "Train" / "Image" / f"{name}.png")
        save(layers(number), root / "Train" / "Layer_Masks" / f"{name}.png")
        save(picture(number), root / "Train" / "Layer_show" / f"{name}.png")
        label = "glaucoma" if number == 2 else "normal"
        expected.append(Expected(name, "train", label, indices=frozenset(range(4))))
    workbook(root / "Train" / "Train_GC_GT.xlsx", [["ImgName", "GC_Label"], [1, 0], [2, 1], [10, 0]])
    for part, split, number in (("Validation", "val", 101), ("Test", "test", 201)):
        save(picture(number), root / part / "Image" / f"{number:04d}.png")
        expected.append(Expected(f"{number:04d}", split, indices=None))
    return expected


def remove_part(root):
    shutil.rmtree(root / "Validation")
    return "val"
