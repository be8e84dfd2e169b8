"""ISIC 2017 (ISBI 2017 challenge): lesion masks of part 1 with the labels of part 3."""

from pathlib import Path

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.readers.about import About, Download
from delineate.data.readers.isic import Part, index_labelled
from delineate.data.tables import read_table

ARCHIVE = "https://isic-archive.s3.amazonaws.com/challenges/2017/"
PARTS = (
    Part("train", "ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth"),
    Part("val", "ISIC-2017_Validation_Data", "ISIC-2017_Validation_Part1_GroundTruth"),
    Part("test", "ISIC-2017_Test_v2_Data", "ISIC-2017_Test_v2_Part1_GroundTruth"),
)
TABLES = {
    "train": "ISIC-2017_Training_Part3_GroundTruth.csv",
    "val": "ISIC-2017_Validation_Part3_GroundTruth.csv",
    "test": "ISIC-2017_Test_v2_Part3_GroundTruth.csv",
}
"""Split -> the table of labels, which lies beside the folders."""

_LABELS = {(1.0, 0.0): "melanoma", (0.0, 1.0): "seborrheic_keratosis", (0.0, 0.0): "nevus"}
_CHECKSUMS = {
    "ISIC-2017_Training_Data": "md5:a14a7e622c67a358797ae59abb8a0b0c",
    "ISIC-2017_Training_Part1_GroundTruth": "md5:77fdbeb6fbec4139937224416b250f4c",
    "ISIC-2017_Validation_Data": "md5:8d6419d942112f709894c0d82f6c9038",
    "ISIC-2017_Validation_Part1_GroundTruth": "md5:64d3e68fa2deeb8a5e89aa8dec2efd44",
    "ISIC-2017_Test_v2_Data": "md5:5f6a0b5e1f2972bd1f5ea02680489f09",
    "ISIC-2017_Test_v2_Part1_GroundTruth": "md5:b1742de6bd257faca3b2b21a4aa3b781",
}
_TABLE_CHECKSUMS = {
    "train": "md5:0cb4add57c65c22ca1a1cb469ad1f0c5",
    "val": "md5:8d4826a76adcd8fb928ca52a23ebae4c",
    "test": "md5:9e957b72a0c4f9e0d924889fd03b36ed",
}

ABOUT = About(
    title="ISIC 2017 (ISBI 2017 challenge, part 1)",
    modality="dermoscopy",
    summary="2750 dermoscopic images with lesion masks; melanoma, seborrheic keratosis or nevus; three parts",
    counts={"train": 2000, "val": 150, "test": 600},
    classes=("lesion",),
    mask_values="0 background, 255 lesion (8-bit grey PNG)",
    labels={"melanoma": 521, "nevus": 1843, "seborrheic_keratosis": 386},
    groups=None,
    licence="CC-0, as the challenge's data page states",
    citation=(
        "Codella, Gutman, Celebi, Helba, Marchetti, Dusza, Kalloo, Liopyris, Mishra, Kittler, Halpern: Skin "
        "Lesion Analysis Toward Melanoma Detection: A Challenge at the 2017 International Symposium on "
        "Biomedical Imaging (ISBI), Hosted by the International Skin Imaging Collaboration (ISIC), "
        "ISBI 2018, arXiv:1710.05006"
    ),
    home="https://challenge.isic-archive.com/data/#2017",
    layout="""\
ISIC-2017_Training_Data/ISIC_0000000.jpg
ISIC-2017_Training_Data/ISIC_0000000_superpixels.png        passed over
ISIC-2017_Training_Data/ISIC-2017_Training_Data_metadata.csv  passed over
ISIC-2017_Training_Part1_GroundTruth/ISIC_0000000_segmentation.png
ISIC-2017_Training_Part3_GroundTruth.csv    image_id,melanoma,seborrheic_keratosis
ISIC-2017_Validation_Data/, ..._Validation_Part1_GroundTruth/, ..._Validation_Part3_GroundTruth.csv
ISIC-2017_Test_v2_Data/, ..._Test_v2_Part1_GroundTruth/, ..._Test_v2_Part3_GroundTruth.csv""",
    downloads=(
        *(
            Download(f"{ARCHIVE}{name}.zip", f"{name}.zip", checksum=checksum)
            for name, checksum in _CHECKSUMS.items()
        ),
        *(
            Download(ARCHIVE + name, name, checksum=_TABLE_CHECKSUMS[split], unpack=None)
            for split, name in TABLES.items()
        ),
    ),
    pitfalls=(
        "By their ids, 305 training images are in the test set of ISIC 2016 and 746 in its training set.",
        "ISIC_0012127 and ISIC_0012970 are one image with two ids; Cassidy et al. 2022 "
        "(doi:10.1016/j.media.2021.102305) count duplicates within and between the challenges' sets.",
        "The images are up to 6748 pixels wide, and the training archive holds about 6 GB.",
        "The superpixel pictures lie among the photographs and are not masks.",
        "Patients and lesions are not published, so a split inside a part cannot be grouped.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the cases of ISIC 2017, sorted by id, without opening an image.

    Args:
        root: folder that the archives and the tables of labels lie in; without a part's table its images
            have no label.

    Raises:
        InputError: no part is there, a part is incomplete, or a table is faulty or leaves out images.
    """
    return index_labelled(root, ABOUT, PARTS, TABLES, read_labels)


def read_labels(path: Path) -> dict[str, str]:
    """Read a table of part 3: image id -> "melanoma", "seborrheic_keratosis" or, with neither flag, "nevus".

    Raises:
        InputError: as `read_table`, or a flag is neither 0 nor 1, or both are set.
    """
    labels: dict[str, str] = {}
    for row in read_table(path, ("image_id", "melanoma", "seborrheic_keratosis")):
        case_id, *cells = row.cells
        try:
            labels[case_id] = _LABELS[float(cells[0]), float(cells[1])]
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{path}, line {row.line}: melanoma {cells[0]!r} and seborrheic_keratosis {cells[1]!r} must "
                "each be 0 or 1 and not both 1; download the table again."
            ) from error
    return labels
