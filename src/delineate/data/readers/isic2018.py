"""ISIC 2018 task 1: lesion masks; labels only where the tables of the two years before lie beside them."""

from pathlib import Path

from delineate.data.case import Case
from delineate.data.readers import isic2016, isic2017
from delineate.data.readers.about import About, Download
from delineate.data.readers.isic import Part, index_parts

ARCHIVE = "https://isic-archive.s3.amazonaws.com/challenges/2018/"
PARTS = (
    Part("train", "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"),
    Part("val", "ISIC2018_Task1-2_Validation_Input", "ISIC2018_Task1_Validation_GroundTruth"),
    Part("test", "ISIC2018_Task1-2_Test_Input", "ISIC2018_Task1_Test_GroundTruth"),
)
LABELS = ("benign", "melanoma")
"""What the tables of 2016 and of 2017 can both say: 2016 calls melanoma malignant, 2017 splits the benign."""
CONFLICTING = ("ISIC_0000077", "ISIC_0000511", "ISIC_0010094")
"""Training images that 2016 calls benign and 2017 melanoma, as FCP-Net reports, which leaves them out."""

_ARCHIVES = {
    "ISIC2018_Task1-2_Training_Input": (
        11_165_358_566,
        "sha256:80f98572347a2d7a376227fa9eb2e4f7459d317cb619865b8b9910c81446675f",
    ),
    "ISIC2018_Task1_Training_GroundTruth": (
        27_402_895,
        "sha256:99f8b2bb3c4d6af483362010715f7e7d5d122d9f6c02cac0e0d15bef77c7604c",
    ),
    "ISIC2018_Task1-2_Validation_Input": (
        239_231_159,
        "sha256:0ea920fcfe512d12a6e620b50b50233c059f67b10146e1479c82be58ff15a797",
    ),
    "ISIC2018_Task1_Validation_GroundTruth": (
        759_706,
        "sha256:f6911e9c0a64e6d687dd3ca466ca927dd5e82145cb2163b7a1e5b37d7a716285",
    ),
    "ISIC2018_Task1-2_Test_Input": (
        2_370_457_338,
        "sha256:e59ae1f69f4ed16f09db2cb1d76c2a828487b63d28f6ab85997f5616869b127d",
    ),
    "ISIC2018_Task1_Test_GroundTruth": (
        9_680_101,
        "sha256:2e8f6edce454a5bdee52485e39f92bd6eddf357e81f39018d05512175238ef82",
    ),
}

ABOUT = About(
    title="ISIC 2018 (task 1)",
    modality="dermoscopy",
    summary="3694 dermoscopic images with lesion masks, 2594 of them for training; no labels of its own",
    counts={"train": 2594, "val": 100, "test": 1000},
    classes=("lesion",),
    mask_values="0 background, 255 lesion (8-bit grey PNG)",
    labels={},
    groups=None,
    licence="CC-0 for the images and masks of task 1, as the challenge's data page states",
    citation=(
        "Codella, Rotemberg, Tschandl, Celebi, Dusza, Gutman, Helba, Kalloo, Liopyris, Marchetti, Kittler, "
        "Halpern: Skin Lesion Analysis Toward Melanoma Detection 2018: A Challenge Hosted by the "
        "International Skin Imaging Collaboration (ISIC), 2019, arXiv:1902.03368; Tschandl, Rosendahl, "
        "Kittler: The HAM10000 dataset, Scientific Data 5, 180161, 2018, doi:10.1038/sdata.2018.161"
    ),
    home="https://challenge.isic-archive.com/data/#2018",
    layout="""\
ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg    beside ATTRIBUTION.txt and LICENSE.txt
ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png
ISIC2018_Task1-2_Validation_Input/, ISIC2018_Task1_Validation_GroundTruth/
ISIC2018_Task1-2_Test_Input/, ISIC2018_Task1_Test_GroundTruth/
optional, for labels: the tables ISBI2016_ISIC_Part3_*_GroundTruth.csv of ISIC 2016
                      and ISIC-2017_*_Part3_GroundTruth.csv of ISIC 2017""",
    downloads=tuple(
        Download(f"{ARCHIVE}{name}.zip", f"{name}.zip", size=size, checksum=checksum)
        for name, (size, checksum) in _ARCHIVES.items()
    ),
    steps=(
        "For labels, put the five tables of part 3 of ISIC 2016 and ISIC 2017 beside the folders; "
        "delineate data fetch isic2016 and isic2017 download them.",
    ),
    pitfalls=(
        "The set has no labels. With the tables of 2016 and 2017 beside it an image is labelled melanoma or "
        "benign, which is what both years can say; an image that neither table names has no label.",
        "ISIC_0000077, ISIC_0000511 and ISIC_0010094 are benign in 2016 and melanoma in 2017: the reader "
        "gives an image with two different labels none, and FCP-Net leaves these three out (2591 of 2594).",
        "Papers divide the 2594 training images in several ways (7:3, 8:2, 1886/141/564), others use the "
        "official 1000 test images: such scores must not stand in one table.",
        "The images come from the archive that ISIC 2016 and ISIC 2017 were drawn from, so the sets overlap.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the cases of ISIC 2018 task 1, sorted by id, without opening an image.

    Args:
        root: folder that the archives lie in; with the tables of part 3 of ISIC 2016 or 2017 in it the images
            that these name are labelled as `read_labels` says.

    Raises:
        InputError: no part is there, a part is incomplete, or a table of the older years is faulty.
    """
    labels, _ = read_labels(root)
    return index_parts(root, ABOUT, PARTS, {part.split: labels for part in PARTS})


def read_labels(root: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Take labels from those tables of ISIC 2016 and 2017 that lie in a folder.

    Returns:
        (image id -> "benign" or "melanoma", ids that two tables label differently, sorted). The latter are
        not in the former.
    """
    labels: dict[str, str] = {}
    conflicts: set[str] = set()
    tables = [(root / name, isic2016.read_labels) for name in isic2016.TABLES.values()]
    tables += [(root / name, isic2017.read_labels) for name in isic2017.TABLES.values()]
    for path, read in tables:
        if not path.is_file():
            continue
        for case_id, label in read(path).items():
            common = "melanoma" if label in ("malignant", "melanoma") else "benign"
            if labels.setdefault(case_id, common) != common:
                conflicts.add(case_id)
    return {i: label for i, label in labels.items() if i not in conflicts}, tuple(sorted(conflicts))
