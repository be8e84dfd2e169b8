"""ETIS-LaribPolypDB: 196 frames of 34 colonoscopy sequences with polyp masks.

Publisher: https://polyp.grand-challenge.org/EtisLarib/; the copy of PraNet's bundle:
https://github.com/DengPingFan/PraNet.
"""

from pathlib import Path

from delineate.data.case import Case
from delineate.data.readers.about import About
from delineate.data.readers.layout import not_this_dataset, optional_folder
from delineate.data.readers.polyps import (
    MASK_VALUES,
    cases_of,
    folders_of_pairs,
    paired_cases,
    pictures_in,
    without_letter_p,
)

ABOUT = About(
    title="ETIS-LaribPolypDB",
    modality="endoscopy",
    summary="196 frames of 34 colonoscopy sequences, 1225x966, with masks of 44 polyps, a test set only",
    counts={"test": 196},
    classes=("polyp",),
    mask_values=MASK_VALUES,
    labels={},
    groups=None,
    licence=(
        "None found beyond research use; images: Lariboisiere Hospital-APHP, Paris; masks: ETIS laboratory, "
        "ENSEA, University of Cergy-Pontoise."
    ),
    citation=(
        "J. Silva, A. Histace, O. Romain, X. Dray, B. Granado: Toward embedded detection of polyps in WCE "
        "images for early diagnosis of colorectal cancer, International Journal of Computer Assisted "
        "Radiology and Surgery 9(2), 2014, pp. 283-293, doi:10.1007/s11548-013-0926-3"
    ),
    home="https://polyp.grand-challenge.org/EtisLarib/",
    layout="""\
ETIS-LaribPolypDB/
  ETIS-LaribPolypDB/<1..196>.tif
  Ground Truth/p<1..196>.tif
or, in PraNet's bundle,
TestDataset/ETIS-LaribPolypDB/images/<1..196>.png
TestDataset/ETIS-LaribPolypDB/masks/<1..196>.png""",
    steps=(
        "Open https://polyp.grand-challenge.org/EtisLarib/ and follow its link to ETIS-LaribPolypDB.rar, or "
        "take the testing data of https://github.com/DengPingFan/PraNet.",
        "Unpack the archive so that OUT/ETIS-LaribPolypDB or OUT/TestDataset/ETIS-LaribPolypDB exists.",
    ),
    pitfalls=(
        "Which of the 34 sequences a frame belongs to is not published, so an interval over images is too "
        "narrow.",
        "Some frames show several polyps.",
    ),
)

_NAME = "ETIS-LaribPolypDB"


def index(root: Path) -> list[Case]:
    """List the cases, all of the split test, sorted by id, which is the frame's number as the name has it.

    Args:
        root: the folder into which the publisher's archive or PraNet's testing data were unpacked, or the
            set's own folder in it.

    Raises:
        InputError: another folder, or an image or a mask is missing.
    """
    for top in (_NAME, "."):
        images = optional_folder(root / top, _NAME)
        masks = optional_folder(root / top, "Ground Truth", "GroundTruth")
        if images is not None and (masks is not None or pictures_in(images)):
            if masks is None:
                raise not_this_dataset(root / top, ABOUT, f"the folder Ground Truth beside {_NAME}")
            return cases_of(
                pictures_in(images), without_letter_p(pictures_in(masks)), ABOUT, masks.parent, split="test"
            )
    found = folders_of_pairs(root, f"TestDataset/{_NAME}", f"TestDataset/TestDataset/{_NAME}", _NAME, ".")
    if found is None:
        raise not_this_dataset(
            root, ABOUT, f"the folder {_NAME}/{_NAME}, {_NAME}/images or TestDataset/{_NAME}/images"
        )
    return paired_cases(*found, ABOUT, split="test")
