"""PraNet's bundle: TrainDataset/{image,mask} and five test sets with {images,masks}."""

import shutil
from pathlib import Path

from tiny_data import disc, picture, save

from delineate.data.readers import pranet
from layouts import Expected

READER = pranet

TRAIN = {
    "1": ("CVC-ClinicDB_1", "CVC-ClinicDB_sequence-01"),
    "300": ("CVC-ClinicDB_300", "CVC-ClinicDB_sequence-15"),
    "cju0qkwl35piu0993l0dewei2": ("Kvasir_cju0qkwl35piu0993l0dewei2", None),
}
TEST = {
    "CVC-300": {"149": None, "200": None},
    "CVC-ClinicDB": {"14": "CVC-ClinicDB_sequence-01"},
    "CVC-ColonDB": {"1": None, "380": None},
    "ETIS-LaribPolypDB": {"1": None},
    "Kvasir": {"cju0u82z3cuma0835wlxrnrjv": None},
}


def build(root: Path) -> list[Expected]:
    expected = []
    for number, (stem, (case_id, group)) in enumerate(TRAIN.items()):
        save(picture(number), root / "TrainDataset" / "image" / f"{stem}.png")
        save(disc(number), root / "TrainDataset" / "mask" / f"{stem}.png")
        expected.append(Expected(case_id, "train", group=group))
    for name, frames in TEST.items():
        for number, (stem, group) in enumerate(frames.items()):
            save(picture(number + 50), root / "TestDataset" / name / "images" / f"{stem}.png")
            save(disc(number), root / "TestDataset" / name / "masks" / f"{stem}.png")
            expected.append(Expected(f"{name}_{stem}", "test", group=group))
    return expected


def remove_part(root: Path) -> str:
    shutil.rmtree(root / "TestDataset")
    return "test"
