"""Drishti-GS: soft maps of four experts in a folder per image, a workbook with a title above its header."""

import shutil

import numpy as np
from tiny_data import disc, picture, save, write
from tiny_files import workbook

from delineate.data.readers import drishti_gs
from layouts import Expected

READER = drishti_gs

IMAGES = {
    "drishtiGS_002": ("Training", "GT", "train", "Glaucomatous", "P1"),
    "drishtiGS_004": ("Training", "GT", "train", "Normal", "P1"),
    "drishtiGS_001": ("Test", "Test_GT", "test", "Glaucomatous", "P2"),
    "drishtiGS_003": ("Test", "Test_GT", "test", "Normal", "P3"),
}


def soft_map(number):
    """Four discs, each drawn by one expert, one after another two columns to the right."""
    drawn = sum((disc(number + 2 * expert) > 0).astype(float) for expert in range(4))
    return np.rint(drawn / 4 * 255).astype(np.uint8)  # 0, 64, 128, 191, 255 as in the original


def build(root):
    top = root / "Drishti-GS1_files"
    expected, rows = [], []
    for number, (name, (part, truth, split, diagnosis, patient)) in enumerate(IMAGES.items()):
        save(picture(number), top / part / "Images" / f"{name}.png")
        folder = top / part / truth / name
        save(soft_map(number), folder / "SoftMap" / f"{name}_ODsegSoftmap.png")
        save(soft_map(number + 1), folder / "SoftMap" / f"{name}_cupsegSoftmap.png")
        (folder / "AvgBoundary").mkdir()
        write(folder / "AvgBoundary" / f"{name}_ODAvgBoundary.txt", "12 14\n")
        write(folder / f"{name}_cdrValues.txt", "0.61\n")
        expected.append(Expected(name, split, diagnosis.lower(), patient))
        rows.append([number + 1, f"{name}'", 1, 1, 1, -1, 1, 4, diagnosis, patient])
    markings = [f"Marking {i}" for i in range(1, 5)]
    workbook(
        top / "Drishti-GS1_diagnosis.xlsx",
        [
            ["Drishti-GS1: image level decisions"],
            [],
            ["Sl No.", "Drishti-GS File", *markings, "Sum", "No. of experts", "Total", "Patient ID"],
            [],
            *rows,
        ],
    )
    return expected


def remove_part(root):
    shutil.rmtree(root / "Drishti-GS1_files" / "Test")
    return "test"
