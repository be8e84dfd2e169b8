"""CVC-612-V: the validation clips of CVC-612 (CVC-ClinicDB), as PNS-Net divides them.

Layout: dataset code of https://github.com/GewelsJI/PNS-Net; division: Ji et al., MICCAI 2021, and the lists
of clips in https://github.com/wener-yung/TCCNet.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from delineate.data.case import Case
from delineate.data.readers import cvc_300_tv
from delineate.data.readers.polyps import clip_cases

PARTS: Mapping[str, str] = MappingProxyType(
    {"train": "VPS-TrainSet/CVC-ClinicDB-612/Train", "test": "VPS-TestSet/CVC-ClinicDB-612-Valid"}
)
"""Split -> folder below the data set's."""

ABOUT = replace(
    cvc_300_tv.ABOUT,
    title="CVC-612-V",
    summary="123 frames of six clips of CVC-612, reported as a test set, with the set's 18 training clips",
    counts={"train": 367, "test": 123},
    licence=(
        "None stated for the bundle of PNS-Net; its origin, CVC-ClinicDB, is for research and education only."
    ),
    citation=(
        "G.-P. Ji, Y.-C. Chou, D.-P. Fan, G. Chen, H. Fu, D. Jha, L. Shao: Progressively Normalized "
        "Self-Attention Network for Video Polyp Segmentation, MICCAI 2021, arXiv:2105.08468; frames: "
        "J. Bernal et al., Computerized Medical Imaging and Graphics 43, 2015"
    ),
    layout="""\
MICCAI-VPS-dataset/
  VPS-TrainSet/CVC-ClinicDB-612/Train/<clip>/Frame/<frame>.jpg    split train
  VPS-TrainSet/CVC-ClinicDB-612/Train/<clip>/GT/<frame>.png
  VPS-TestSet/CVC-ClinicDB-612-Valid/Frame/<clip>/<frame>.jpg     split test
  VPS-TestSet/CVC-ClinicDB-612-Valid/GT/<clip>/<frame>.png
other endings are accepted; the bundle's other folders are passed over""",
    pitfalls=(
        "These validation clips are reported as a test set: a model that was selected on them has seen them.",
        "Clip k, from 0, is CVC-ClinicDB's sequence k + 1: never train on CVC-ClinicDB and test here.",
        "The numbers of frames are derived from TCCNet's lists of clips (validation 2, 3, 4, 11, 15, 17; "
        "test 0, 6, 7, 16, 24) and CVC-ClinicDB's table of sequences; PNS-Net states none.",
        "PNS-Net's evaluation leaves out the first and the last frame of each clip and averages over clips.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the cases, sorted by id, which is `<clip>_<frame>`; group: clip; the validation clips are "test".

    Args:
        root: the folder into which PNS-Net's archive was unpacked, or MICCAI-VPS-dataset in it.

    Raises:
        InputError: another folder, or a frame or a mask of a clip is missing.
    """
    return clip_cases(root, ABOUT, PARTS)
