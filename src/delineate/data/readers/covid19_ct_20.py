"""COVID-19 CT lung and infection segmentation: 20 volumes, Zenodo 3757476."""

import re
from collections.abc import Mapping
from pathlib import Path

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.readers.about import About, Download
from delineate.data.readers.layout import check_pairs, files_by_stem, find_folder
from delineate.data.volumes import volume_slices, volume_spacing

_FILES = "https://zenodo.org/records/3757476/files"

ABOUT = About(
    title="COVID-19-CT-Seg (COVID-19 CT Lung and Infection Segmentation Dataset)",
    modality="CT",
    summary="3520 axial slices of 20 chest CT volumes with infection masks (NIfTI)",
    counts={"all": 3520},
    classes=("infection",),
    mask_values="0 background, 1 infection; lung masks (1 left, 2 right) lie beside and are not used",
    labels={},
    groups="patient",
    licence="sources differ (CC BY 4.0, CC BY-NC-SA 4.0): read the record before use",
    citation=(
        "Ma et al.: COVID-19 CT Lung and Infection Segmentation Dataset. Zenodo (2020) "
        "doi:10.5281/zenodo.3757476; Ma et al.: Toward data-efficient learning: a benchmark for COVID-19 CT "
        "lung and infection segmentation. Medical Physics 48 (2021) 1197-1210. arXiv:2004.12537"
    ),
    home="https://zenodo.org/records/3757476",
    layout="""\
COVID-19-CT-Seg_20cases/   coronacases_001.nii.gz ... coronacases_010.nii.gz,
                           radiopaedia_4_85506_1.nii.gz ... radiopaedia_40_86625_0.nii.gz
Infection_Mask/            the same names
Lung_Mask/                 the same names (passed over)
Lung_and_Infection_Mask/   the same names (passed over)
or the Kaggle copy: ct_scans/coronacases_org_001.nii ..., infection_mask/coronacases_001.nii ...""",
    downloads=(
        Download(
            f"{_FILES}/COVID-19-CT-Seg_20cases.zip?download=1",
            "COVID-19-CT-Seg_20cases.zip",
            checksum="sha256:a5060480eff9315b069b086312dac4872777901fb80d268a5a83edd9f4e7b440",
            unpack="COVID-19-CT-Seg_20cases",
        ),
        Download(
            f"{_FILES}/Infection_Mask.zip?download=1",
            "Infection_Mask.zip",
            checksum="sha256:87901c73fdd2230260e61d2dbc57bf56026efc28264006b8ea2bf411453c1694",
            unpack="Infection_Mask",
        ),
    ),
    pitfalls=(
        "The archives have no folder of their own and hold files of the same names: unpack each into a "
        "folder called like the archive, or the masks replace the images.",
        "The ten coronacases volumes are in Hounsfield units (window -1250 to 250 here), the ten Radiopaedia "
        "volumes hold grey values 0 to 255 that someone windowed before.",
        "Two Radiopaedia cases are there twice (10_85902_1 and 10_85902_3, 29_86490_1 and 29_86491_1; the "
        "first number is the case's): the group is the case, so there are 18.",
        "Neighbouring slices are nearly equal, so a split that does not keep patients together measures "
        "memory.",
        "A large part of the slices shows no infection; papers that count fewer slices left such slices out.",
    ),
)

LUNG_WINDOW = (-1250.0, 250.0)
"""Hounsfield units that become 0 and 255: the lung window of published work on these volumes."""

VOLUMES = (".nii.gz", ".nii")
_GREY = (0.0, 255.0)
_RADIOPAEDIA = re.compile(r"radiopaedia_([0-9]+)_[0-9]+_[0-9]+")


def index(root: Path) -> list[Case]:
    """List all slices of all volumes, sorted by id; ids are "<volume>_s<slice, three digits, from 0>".

    Args:
        root: the folder into which the publisher's archives were unpacked, each into a folder of its name.

    Raises:
        InputError: a folder is missing, a volume has no mask or a mask no volume, or a header cannot be read
            or disagrees with its mask's.
    """
    images = _by_name(find_folder(root, ABOUT, "COVID-19-CT-Seg_20cases", "ct_scans"))
    masks = _by_name(find_folder(root, ABOUT, "Infection_Mask", "infection_mask"))
    check_pairs(images, masks, ABOUT, root)
    encoding = MaskEncoding(classes=ABOUT.classes)
    cases = []
    for name, image in images.items():
        window = LUNG_WINDOW if name.startswith("coronacases") else _GREY
        patient = _RADIOPAEDIA.fullmatch(name)
        group = f"radiopaedia_{patient[1]}" if patient else name
        cases += slices_of(image, masks[name], name, group, encoding, window)
    return sorted(cases, key=lambda case: case.id)


def slices_of(
    image: Path,
    mask: Path,
    name: str,
    group: str | None,
    encoding: MaskEncoding,
    window: tuple[float, float] | None,
) -> list[Case]:
    """One case for each axial slice of a volume.

    Args:
        image: the volume.
        mask: the volume of class values, of as many slices.
        name: begin of the ids.
        group: of all slices.
        encoding: of the mask.
        window: grey values that become 0 and 255, or None for the volume's own.

    Raises:
        InputError: a header cannot be read, or the two have different numbers of slices.
    """
    slices = volume_slices(image)
    if (others := volume_slices(mask)) != slices:
        raise InputError(
            f"{image} has {slices} slices, but its mask {mask} has {others}; "
            "unpack the publisher's archives again."
        )
    spacing = volume_spacing(image)
    return [
        Case(
            id=f"{name}_s{position:03d}",
            image=image,
            mask=mask,
            group=group,
            spacing=spacing,
            encoding=encoding,
            slice=position,
            window=window,
        )
        for position in range(slices)
    ]


def _by_name(folder: Path) -> Mapping[str, Path]:
    """Volume's name as in the masks' files -> file; the Kaggle copy calls its images by other names."""
    named: dict[str, Path] = {}
    for stem, path in files_by_stem(folder, endings=VOLUMES).items():
        name = stem.removesuffix("-dcm").replace("radiopaedia_org_covid-19-pneumonia-", "radiopaedia_")
        name = re.sub(r"coronacases_org_(case)?", "coronacases_", name)
        if name in named:
            raise InputError(f"{named[name]} and {path} are the same volume {name!r}; remove one.")
        named[name] = path
    return named
