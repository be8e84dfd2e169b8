"""PNS-Net's data: clips of CVC-300, training by clip, testing by kind; other sets lie beside."""

import shutil
from pathlib import Path

from tiny_data import disc, picture, save

from delineate.data.readers import cvc_300_tv
from layouts import Expected

READER = cvc_300_tv

TRAIN = {"0": (1, 2), "10": (226,)}
TEST = {"3": (77, 78), "12": (300,)}


def build(root: Path) -> list[Expected]:
    test_clips(root, "CVC-ClinicDB-612-Test", {"0": (1,)}, "test")  # another set of the same archive
    return train_clips(root, "CVC-ColonDB-300", TRAIN) + test_clips(root, "CVC-ColonDB-300", TEST, "test")


def remove_part(root: Path) -> str:
    shutil.rmtree(root / "MICCAI-VPS-dataset" / "VPS-TrainSet")
    return "train"


def train_clips(root: Path, name: str, clips: dict[str, tuple[int, ...]]) -> list[Expected]:
    top = root / "MICCAI-VPS-dataset" / "VPS-TrainSet" / name / "Train"
    return [
        _save(top / clip / "Frame", top / clip / "GT", clip, frame, "train")
        for clip, frames in clips.items()
        for frame in frames
    ]


def test_clips(root: Path, name: str, clips: dict[str, tuple[int, ...]], split: str) -> list[Expected]:
    top = root / "MICCAI-VPS-dataset" / "VPS-TestSet" / name
    return [
        _save(top / "Frame" / clip, top / "GT" / clip, clip, frame, split)
        for clip, frames in clips.items()
        for frame in frames
    ]


def _save(images: Path, masks: Path, clip: str, frame: int, split: str) -> Expected:
    save(picture(frame), images / f"{frame}.jpg", quality=90)
    save(disc(frame), masks / f"{frame}.png")
    return Expected(f"{clip}_{frame}", split, group=f"clip-{clip}")
