"""BUSI: breast ultrasound images with benign, malignant and no lesions."""

import re
from pathlib import Path
from typing import Literal

from delineate.checks import InputError, choose
from delineate.data.case import Case, MaskEncoding
from delineate.data.readers.about import About, Download
from delineate.data.readers.layout import check_pairs, files_by_stem, find_folder, not_this_dataset

ABOUT = About(
    title="BUSI (Dataset of breast ultrasound images)",
    modality="ultrasound",
    summary="780 breast ultrasound images of about 600 women, lesion masks, normal/benign/malignant",
    counts={"all": 780},
    classes=("lesion",),
    mask_values="0 background, 255 lesion; one file per lesion, normal images have an empty mask",
    labels={"benign": 437, "malignant": 210, "normal": 133},
    groups=None,
    licence="none stated on the publisher's page, which asks for the citation; the article is CC BY 4.0",
    citation=(
        "Al-Dhabyani, Gomaa, Khaled, Fahmy: Dataset of breast ultrasound images. Data in Brief 28 (2020) "
        "104863. doi:10.1016/j.dib.2019.104863"
    ),
    home="https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
    layout="""\
Dataset_BUSI_with_GT/
    benign/     benign (1).png      benign (1)_mask.png  [benign (1)_mask_1.png ...]  ... benign (437)
    malignant/  malignant (1).png   malignant (1)_mask.png  ...                           malignant (210)
    normal/     normal (1).png      normal (1)_mask.png  ...                              normal (133)""",
    downloads=(Download("https://scholar.cu.edu.eg/Dataset_BUSI.zip", "Dataset_BUSI.zip"),),
    pitfalls=(
        "17 images have more than one mask file: busi takes the union, busi:first only X_mask.png, as papers "
        "do that overlook the others.",
        "Many images come twice or nearly so, some of them with two labels: benign (433) and malignant (145) "
        "are one picture (Pawłowska et al., Data in Brief 2023, PMC10293973, list such faults).",
        "Patients are not identified, so no split of it can be guaranteed to keep patients apart.",
        "Text, calliper marks and body marks are burnt into a part of the images.",
        "Papers differ in whether the 133 normal images count: their masks are empty, so the rule for empty "
        "masks decides their score.",
    ),
)

_FILES = {"union": "all mask files", "first": "X_mask.png"}
_MASK = re.compile(r"(?P<image>.+?)_mask(?:_(?P<number>[0-9]+))?")


def index(root: Path, masks: Literal["union", "first"] = "union") -> list[Case]:
    """List the cases of BUSI, sorted by id; ids are the file stems, such as "benign (1)".

    Args:
        root: the folder that holds Dataset_BUSI_with_GT, or that folder itself.
        masks: "union" for all mask files of an image, "first" for X_mask.png alone.

    Raises:
        InputError: a class folder is missing, an image has no mask or a mask no image, a file is none of
            both, or `masks` is unknown.
    """
    choose("way to read several masks", masks, _FILES)
    top = find_folder(root, ABOUT, "Dataset_BUSI_with_GT/benign", "benign").parent
    absent = [name for name in ABOUT.labels if not (top / name).is_dir()]
    if absent:
        raise not_this_dataset(top, ABOUT, "the folders " + ", ".join(ABOUT.labels))
    return sorted((case for label in ABOUT.labels for case in _class(top / label, label, masks)), key=_id)


def _class(folder: Path, label: str, masks: Literal["union", "first"]) -> list[Case]:
    images: dict[str, Path] = {}
    parts: dict[str, dict[int, Path]] = {}
    for stem, path in files_by_stem(folder).items():
        if not stem.startswith(f"{label} ("):
            raise InputError(
                f"{path} is no file of {ABOUT.title}: names in {label}/ begin with {label!r} and a number in "
                "brackets; move it away."
            )
        if match := _MASK.fullmatch(stem):
            parts.setdefault(match["image"], {})[int(match["number"] or 0)] = path
        else:
            images[stem] = path
    firsts = {stem: files[0] for stem, files in parts.items() if 0 in files}
    orphans = {stem: min(files.items())[1] for stem, files in parts.items() if 0 not in files}
    check_pairs(images, firsts | orphans, ABOUT, folder)
    if orphans:
        stem = min(orphans)
        raise InputError(
            f"{folder}: {ABOUT.title} has {stem}_mask.png beside {orphans[stem].name}, but it is missing; "
            "unpack the publisher's archive again."
        )
    encoding = MaskEncoding(classes=ABOUT.classes)
    return [
        Case(
            id=stem,
            image=image,
            mask=firsts[stem],
            label=label,
            encoding=encoding,
            more_masks=() if masks == "first" else tuple(p for n, p in sorted(parts[stem].items()) if n),
        )
        for stem, image in images.items()
    ]


def _id(case: Case) -> str:
    return case.id
