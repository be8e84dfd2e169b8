"""CVC-300 (also CVC-T, EndoScene): the 60 test images that PraNet and its successors report.

Layout and count: PraNet's bundle, https://github.com/DengPingFan/PraNet; origin: Vazquez et al. 2017.
"""

from pathlib import Path

from delineate.data.case import Case
from delineate.data.readers.about import About
from delineate.data.readers.layout import not_this_dataset
from delineate.data.readers.polyps import MASK_VALUES, folders_of_pairs, paired_cases

ABOUT = About(
    title="CVC-300",
    modality="endoscopy",
    summary="60 colonoscopy frames with polyp masks, a test set only (CVC-T of EndoScene)",
    counts={"test": 60},
    classes=("polyp",),
    mask_values=MASK_VALUES,
    labels={},
    groups=None,
    licence="None stated in PraNet's bundle; CVC-EndoSceneStill, its origin, is offered for research.",
    citation=(
        "D. Vazquez, J. Bernal, F. J. Sanchez, G. Fernandez-Esparrach, A. M. Lopez, A. Romero, M. Drozdzal, "
        "A. Courville: A Benchmark for Endoluminal Scene Segmentation of Colonoscopy Images, Journal of "
        "Healthcare Engineering, 2017, doi:10.1155/2017/4037190"
    ),
    home="https://github.com/DengPingFan/PraNet",
    layout="""\
TestDataset/
  CVC-300/
    images/<number>.png
    masks/<number>.png
the root may be any of these folders""",
    steps=(
        "Open https://github.com/DengPingFan/PraNet and follow its link to the testing data (Google Drive).",
        "Unpack the archive so that OUT/TestDataset/CVC-300 exists.",
    ),
    pitfalls=(
        "Not the 300 images of CVC-ColonDB, which some papers also call CVC-300.",
        "The 60 frames come from few sequences that are not published with them, so an interval over images "
        "is too narrow.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the cases, all of the split test, sorted by id, which is the file's name without its ending.

    Args:
        root: the folder that holds TestDataset, TestDataset itself, or the set's own folder.

    Raises:
        InputError: another folder, or an image or a mask is missing.
    """
    found = folders_of_pairs(root, "TestDataset/CVC-300", "TestDataset/TestDataset/CVC-300", "CVC-300", ".")
    if found is None:
        raise not_this_dataset(root, ABOUT, "the folder TestDataset/CVC-300/images, CVC-300/images or images")
    return paired_cases(*found, ABOUT, split="test")
