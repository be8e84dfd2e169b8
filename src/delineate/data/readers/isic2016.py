"""ISIC 2016 (ISBI 2016 challenge): lesion masks of part 1 with the labels of part 3."""

from pathlib import Path

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.readers.about import About, Download
from delineate.data.readers.isic import Part, index_labelled, read_lines

ARCHIVE = "https://isic-archive.s3.amazonaws.com/challenges/2016/"
PARTS = (
    Part(
        "train",
        "ISBI2016_ISIC_Part1_Training_Data",
        "ISBI2016_ISIC_Part1_Training_GroundTruth",
        suffix="_Segmentation",
    ),
    Part(
        "test",
        "ISBI2016_ISIC_Part1_Test_Data",
        "ISBI2016_ISIC_Part1_Test_GroundTruth",
        suffix="_Segmentation",
    ),
)
TABLES = {
    "train": "ISBI2016_ISIC_Part3_Training_GroundTruth.csv",
    "test": "ISBI2016_ISIC_Part3_Test_GroundTruth.csv",
}
"""Split -> the table of labels, which lies beside the folders."""

_CELLS = {"benign": "benign", "malignant": "malignant", "0.0": "benign", "1.0": "malignant"}
_CELLS |= {"0": "benign", "1": "malignant"}

ABOUT = About(
    title="ISIC 2016 (ISBI 2016 challenge, part 1)",
    modality="dermoscopy",
    summary="1279 dermoscopic images with lesion masks, labelled benign or malignant; official test set",
    counts={"train": 900, "test": 379},
    classes=("lesion",),
    mask_values="0 background, 255 lesion (8-bit grey PNG)",
    labels={"benign": 1031, "malignant": 248},
    groups=None,
    licence="CC-0, as the challenge's data page states",
    citation=(
        "Gutman, Codella, Celebi, Helba, Marchetti, Mishra, Halpern: Skin Lesion Analysis toward Melanoma "
        "Detection: A Challenge at the International Symposium on Biomedical Imaging (ISBI) 2016, hosted by "
        "the International Skin Imaging Collaboration (ISIC), 2016, arXiv:1605.01397"
    ),
    home="https://challenge.isic-archive.com/data/#2016",
    layout="""\
ISBI2016_ISIC_Part1_Training_Data/ISIC_0000000.jpg
ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_0000000_Segmentation.png
ISBI2016_ISIC_Part1_Test_Data/ISIC_0000003.jpg
ISBI2016_ISIC_Part1_Test_GroundTruth/ISIC_0000003_Segmentation.png
ISBI2016_ISIC_Part3_Training_GroundTruth.csv    no header: ISIC_0000000,benign
ISBI2016_ISIC_Part3_Test_GroundTruth.csv        no header: ISIC_0000003,0.0""",
    downloads=(
        Download(
            ARCHIVE + "ISBI2016_ISIC_Part1_Training_Data.zip",
            "ISBI2016_ISIC_Part1_Training_Data.zip",
            checksum="md5:2029f387e62dcc062b1370b1efc1f7fb",
        ),
        Download(
            ARCHIVE + "ISBI2016_ISIC_Part1_Training_GroundTruth.zip",
            "ISBI2016_ISIC_Part1_Training_GroundTruth.zip",
            checksum="md5:fbd77134298f3511479a37bac93109c7",
        ),
        Download(
            ARCHIVE + "ISBI2016_ISIC_Part1_Test_Data.zip",
            "ISBI2016_ISIC_Part1_Test_Data.zip",
            checksum="md5:efebcaeaae751007401a40a60d391f93",
        ),
        Download(
            ARCHIVE + "ISBI2016_ISIC_Part1_Test_GroundTruth.zip",
            "ISBI2016_ISIC_Part1_Test_GroundTruth.zip",
            checksum="md5:492a7711a2e19b96114cab6c96bd1ad5",
        ),
        Download(
            ARCHIVE + TABLES["train"],
            TABLES["train"],
            checksum="sha256:0ffadd63b7cec650cddfbe5df54d1d3167453fe6004c2bbf05824184b0c4d405",
            unpack=None,
        ),
        Download(ARCHIVE + TABLES["test"], TABLES["test"], unpack=None),
    ),
    pitfalls=(
        "Malignant means melanoma here; benign covers nevi and seborrhoeic keratoses, so the labels are not "
        "those of ISIC 2017.",
        "By their ids, 305 of the 379 test images are training images of ISIC 2017 (as are 746 of the 900 "
        "training images): never train on the one and test on the other without removing them.",
        "The table of part 3 writes benign and malignant for training, but 0.0 and 1.0 for the test images.",
        "Patients and lesions are not published, so a split inside a part cannot be grouped.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the cases of ISIC 2016, sorted by id, without opening an image.

    Args:
        root: folder that the archives and the tables of labels lie in; without a part's table its images
            have no label.

    Raises:
        InputError: no part is there, a part is incomplete, or a table is faulty or leaves out images.
    """
    return index_labelled(root, ABOUT, PARTS, TABLES, read_labels)


def read_labels(path: Path) -> dict[str, str]:
    """Read a table of part 3: image id -> "benign" or "malignant".

    The publisher's tables have no header; a header that a copy brings is passed over.

    Raises:
        InputError: the table cannot be read, a line has not two cells or an unknown label, or an id comes
            twice; the message names file and line.
    """
    labels: dict[str, str] = {}
    for position, (number, cells) in enumerate(read_lines(path)):
        if len(cells) != 2:
            raise InputError(
                f"{path}, line {number}: {len(cells)} cells where two were expected (image id and label); "
                "download the table again."
            )
        case_id, cell = cells
        if position == 0 and not case_id.startswith("ISIC_"):
            continue
        if cell not in _CELLS:
            raise InputError(
                f"{path}, line {number}: {cell!r} is not one of the labels benign, malignant, 0.0 and 1.0; "
                "download the table again."
            )
        if case_id in labels:
            raise InputError(f"{path}, line {number}: {case_id!r} comes twice; download the table again.")
        labels[case_id] = _CELLS[cell]
    return labels
