"""CVC-612-T: the test clips of CVC-612 (CVC-ClinicDB), as PNS-Net divides them, with its validation clips.

Layout: dataset code of https://github.com/GewelsJI/PNS-Net; division: Ji et al., MICCAI 2021, and the lists
of clips in https://github.com/wener-yung/TCCNet.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from delineate.data.case import Case
from delineate.data.readers import cvc_612_v
from delineate.data.readers.polyps import clip_cases

PARTS: Mapping[str, str] = MappingProxyType(
    {
        "train": cvc_612_v.PARTS["train"],
        "val": cvc_612_v.PARTS["test"],
        "test": "VPS-TestSet/CVC-ClinicDB-612-Test",
    }
)
"""Split -> folder below the data set's: CVC-612 by clip, 60/20/20 % of the frames."""

ABOUT = replace(
    cvc_612_v.ABOUT,
    title="CVC-612-T",
    summary="122 frames of five clips of CVC-612 for testing, with its training and validation clips",
    counts={"train": 367, "val": 123, "test": 122},
    layout="""\
MICCAI-VPS-dataset/
  VPS-TrainSet/CVC-ClinicDB-612/Train/<clip>/Frame/<frame>.jpg    split train
  VPS-TrainSet/CVC-ClinicDB-612/Train/<clip>/GT/<frame>.png
  VPS-TestSet/CVC-ClinicDB-612-Valid/Frame/<clip>/<frame>.jpg     split val
  VPS-TestSet/CVC-ClinicDB-612-Valid/GT/<clip>/<frame>.png
  VPS-TestSet/CVC-ClinicDB-612-Test/Frame/<clip>/<frame>.jpg      split test
  VPS-TestSet/CVC-ClinicDB-612-Test/GT/<clip>/<frame>.png
other endings are accepted; the bundle's other folders are passed over""",
    pitfalls=cvc_612_v.ABOUT.pitfalls[1:],
)


def index(root: Path) -> list[Case]:
    """List the cases, sorted by id, which is `<clip>_<frame>`; group: clip.

    Args:
        root: the folder into which PNS-Net's archive was unpacked, or MICCAI-VPS-dataset in it.

    Raises:
        InputError: another folder, or a frame or a mask of a clip is missing.
    """
    return clip_cases(root, ABOUT, PARTS)
