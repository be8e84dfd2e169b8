"""COVID-19 CT segmentation of medicalsegmentation.com: 100 single slices, and nine volumes."""

from pathlib import Path
from typing import Literal

from delineate.checks import InputError, choose
from delineate.data.case import Case, MaskEncoding
from delineate.data.readers.about import About, Download
from delineate.data.readers.covid19_ct_20 import LUNG_WINDOW, VOLUMES, slices_of
from delineate.data.readers.layout import check_pairs, files_by_stem, find_folder, not_this_dataset

_CITATION = (
    "Jenssen, Sakinis: MedSeg COVID dataset {0}. Figshare (2021) doi:10.6084/m9.figshare.{1}; described at "
    "medicalsegmentation.com/covid19"
)
_VALUES = (
    "0 background, 1 ground-glass opacity, 2 consolidation, 3 pleural effusion; all three are the infection"
)
_LICENCE = "CC0 as catalogues list it; the slices come from SIRM and Radiopaedia, whose terms may add to it"

ABOUT = About(
    title="COVID-19 CT segmentation dataset (MedSeg, 100 slices)",
    modality="CT",
    summary="100 axial chest CT slices of more than 40 patients with infection masks (NIfTI)",
    counts={"all": 100},
    classes=("infection",),
    mask_values=_VALUES,
    labels={},
    groups=None,
    licence=_LICENCE,
    citation=_CITATION.format(1, 13521488),
    home="https://figshare.com/articles/dataset/MedSeg_Covid_Dataset_1/13521488",
    layout="""\
tr_im.nii.gz      100 slices of 512 x 512 in one file
tr_mask.nii.gz    their masks
val_im.nii.gz     10 slices without masks (passed over)""",
    downloads=(
        Download("https://ndownloader.figshare.com/files/25953977", "tr_im.nii.gz", unpack=None),
        Download("https://ndownloader.figshare.com/files/25953980", "tr_mask.nii.gz", unpack=None),
    ),
    pitfalls=(
        "The slices were JPEG pictures; their Hounsfield units were estimated from the grey of air and fat, "
        "so they are rough, and the window -1250 to 250 is shared with the other CT sets.",
        "100 slices come from more than 40 patients, but which slice is whose is not told: no split of this "
        "set alone can be guaranteed to keep patients apart.",
        "Neighbours in the file are not neighbours in a body; the file only looks like a volume.",
    ),
)

ABOUT_VOLUMES = About(
    title="COVID-19 CT segmentation dataset nr. 2 (MedSeg, nine volumes)",
    modality="CT",
    summary="829 axial slices of nine chest CT volumes from Radiopaedia with infection masks (NIfTI)",
    counts={"all": 829},
    classes=("infection",),
    mask_values=_VALUES,
    labels={},
    groups="volume",
    licence=_LICENCE,
    citation=_CITATION.format(2, 13521509),
    home="https://figshare.com/articles/dataset/Covid_Dataset_2/13521509",
    layout="""\
rp_im/         1.nii.gz ... 9.nii.gz
rp_msk/        1.nii.gz ... 9.nii.gz
rp_lung_msk/   1.nii.gz ... 9.nii.gz (passed over)""",
    steps=(
        "Download rp_im.zip and rp_msk.zip at https://figshare.com/articles/dataset/Covid_Dataset_2/13521509.",
        "Unpack both into one folder.",
    ),
    pitfalls=(
        "373 of the 829 slices show an infection.",
        "The numbers of slices (45, 39, 418, ...) are those of Radiopaedia volumes of COVID-19-CT-Seg "
        "(Zenodo 3757476): take them for the same patients, never train on one set and test on the other, "
        "and check both together for duplicates before merging them.",
    ),
)

INFECTION = MaskEncoding(classes=("infection",), values=((1, 2, 3),))
FINDINGS = MaskEncoding(classes=("ground_glass", "consolidation", "pleural_effusion"), values=(1, 2, 3))
_ENCODINGS = {"infection": INFECTION, "findings": FINDINGS}


def index(root: Path, classes: Literal["infection", "findings"] = "infection") -> list[Case]:
    """List the 100 slices, sorted by id; ids are "tr_im_s000" to "tr_im_s099".

    Args:
        root: the folder with tr_im.nii.gz and tr_mask.nii.gz; both may also be unpacked (.nii).
        classes: "infection" for one class, "findings" for the three that the file tells apart.

    Raises:
        InputError: a file is missing or damaged, both have different numbers of slices, or `classes` is
            unknown.
    """
    encoding = choose("set of classes", classes, _ENCODINGS)
    image, mask = (_volume(root, name) for name in ("tr_im", "tr_mask"))
    if image is None and mask is None:
        raise not_this_dataset(root, ABOUT, "the files tr_im.nii.gz and tr_mask.nii.gz")
    if image is None or mask is None:
        absent = "tr_im.nii.gz" if image is None else "tr_mask.nii.gz"
        raise InputError(f"{root}: {ABOUT.title} lacks its file {absent}; download it again ({ABOUT.home}).")
    return slices_of(image, mask, "tr_im", None, encoding, LUNG_WINDOW)


def index_volumes(root: Path, classes: Literal["infection", "findings"] = "infection") -> list[Case]:
    """List the slices of the nine volumes, sorted by id; ids are "rp_1_s000" and so on, groups the volumes.

    Args:
        root: the folder with rp_im/ and rp_msk/.
        classes: as in `index`.

    Raises:
        InputError: a folder is missing, a volume has no mask or a mask no volume, or a header cannot be read
            or disagrees with its mask's, or `classes` is unknown.
    """
    encoding = choose("set of classes", classes, _ENCODINGS)
    images, masks = (
        files_by_stem(find_folder(root, ABOUT_VOLUMES, name), endings=VOLUMES) for name in ("rp_im", "rp_msk")
    )
    check_pairs(images, masks, ABOUT_VOLUMES, root)
    cases = [
        case
        for stem, image in images.items()
        for case in slices_of(image, masks[stem], f"rp_{stem}", f"rp_{stem}", encoding, LUNG_WINDOW)
    ]
    return sorted(cases, key=lambda case: case.id)


def _volume(root: Path, stem: str) -> Path | None:
    places = (root / f"{stem}{ending}" for ending in VOLUMES)
    return next((place for place in places if place.is_file()), None)
