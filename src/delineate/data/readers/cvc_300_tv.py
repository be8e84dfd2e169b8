"""CVC-300-TV: validation and test clips of CVC-300 (CVC-ColonDB's 300 frames), as PNS-Net divides them.

Layout: dataset code of https://github.com/GewelsJI/PNS-Net; division: Ji et al., MICCAI 2021, and the lists
of clips in https://github.com/wener-yung/TCCNet.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from delineate.data.case import Case
from delineate.data.readers.about import About
from delineate.data.readers.polyps import MASK_VALUES, clip_cases

PARTS: Mapping[str, str] = MappingProxyType(
    {"train": "VPS-TrainSet/CVC-ColonDB-300/Train", "test": "VPS-TestSet/CVC-ColonDB-300"}
)
"""Split -> folder below the data set's."""

ABOUT = About(
    title="CVC-300-TV",
    modality="endoscopy",
    summary="120 frames of six clips of CVC-300 for testing, with the set's training clips",
    # The number of training frames is not known: PNS-Net speaks of 12 clips in all, TCCNet lists 13.
    counts={"test": 120},
    classes=("polyp",),
    mask_values=MASK_VALUES,
    labels={},
    groups="clip",
    licence="None stated for the bundle of PNS-Net; its origin, CVC-ColonDB, is offered for research.",
    citation=(
        "G.-P. Ji, Y.-C. Chou, D.-P. Fan, G. Chen, H. Fu, D. Jha, L. Shao: Progressively Normalized "
        "Self-Attention Network for Video Polyp Segmentation, MICCAI 2021, arXiv:2105.08468; frames: "
        "J. Bernal, F. J. Sanchez, F. Vilarino, Pattern Recognition 45(9), 2012"
    ),
    home="https://github.com/GewelsJI/PNS-Net",
    layout="""\
MICCAI-VPS-dataset/
  VPS-TrainSet/CVC-ColonDB-300/Train/<clip>/Frame/<frame>.jpg    split train
  VPS-TrainSet/CVC-ColonDB-300/Train/<clip>/GT/<frame>.png
  VPS-TestSet/CVC-ColonDB-300/Frame/<clip>/<frame>.jpg           split test
  VPS-TestSet/CVC-ColonDB-300/GT/<clip>/<frame>.png
other endings are accepted; the bundle's other folders are passed over""",
    steps=(
        "Open https://github.com/GewelsJI/PNS-Net and follow its link to the data (Google Drive, 2 GB).",
        "Unpack the archive so that OUT/MICCAI-VPS-dataset/VPS-TestSet exists.",
    ),
    pitfalls=(
        "T and V are one: the test and the validation clips together, 20 + 20 % of the set.",
        "The number of 120 frames is derived from TCCNet's lists of clips; PNS-Net states none.",
        "PNS-Net's evaluation leaves out the first and the last frame of each clip and averages over clips.",
        "PNS-Net trains on Kvasir-SEG, ASU-Mayo and the training clips of CVC-300 and CVC-612 together.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the cases, sorted by id, which is `<clip>_<frame>`; group: clip.

    Args:
        root: the folder into which PNS-Net's archive was unpacked, or MICCAI-VPS-dataset in it.

    Raises:
        InputError: another folder, or a frame or a mask of a clip is missing.
    """
    return clip_cases(root, ABOUT, PARTS)
