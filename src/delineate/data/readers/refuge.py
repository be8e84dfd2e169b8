"""REFUGE: fundus photographs with optic disc and cup, and glaucoma labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from delineate.checks import InputError, choose
from delineate.data.case import Case, MaskEncoding
from delineate.data.readers.about import About
from delineate.data.readers.layout import check_pairs, files_by_stem, not_this_dataset, optional_folder
from delineate.data.readers.spreadsheet import read_columns

ABOUT = About(
    title="REFUGE (Retinal fundus glaucoma challenge 2018)",
    modality="fundus",
    summary="1200 fundus photographs, masks of optic disc rim and cup, glaucoma labels",
    counts={"train": 400, "val": 400, "test": 400},
    classes=("rim", "cup"),
    mask_values="0 cup, 128 disc rim, 255 background; refuge:disc takes 0 and 128 together as the disc",
    labels={"glaucoma": 120, "non_glaucoma": 1080},
    groups=None,
    licence="by registration with the challenge; no open licence known",
    citation=(
        "Orlando et al.: REFUGE Challenge: a unified framework for evaluating automated methods for glaucoma "
        "assessment from fundus photographs. Medical Image Analysis 59 (2020) 101570. arXiv:1910.03667"
    ),
    home="https://refuge.grand-challenge.org/",
    layout="""\
Training400/{Glaucoma,Non-Glaucoma}/               g0001.jpg ... g0040.jpg, n0001.jpg ... n0360.jpg
Annotation-Training400/Disc_Cup_Masks/{Glaucoma,Non-Glaucoma}/    g0001.bmp ..., n0001.bmp ...
REFUGE-Validation400/                              V0001.jpg ... V0400.jpg
REFUGE-Validation400-GT/Disc_Cup_Masks/            V0001.bmp ...
REFUGE-Validation400-GT/Fovea_locations.xlsx       ImgName, Glaucoma Label
Test400/                                           T0001.jpg ... T0400.jpg
REFUGE-Test-GT/Disc_Cup_Masks/{G,N}/               T0001.bmp ...""",
    steps=(
        "Register at https://refuge.grand-challenge.org/ and join the challenge.",
        "Download REFUGE2.zip at https://refuge.grand-challenge.org/REFUGE2Download/; it holds "
        "REFUGE-Training400.zip, Annotation-Training400.zip, REFUGE-Validation400.zip, "
        "REFUGE-Validation400-GT.zip, REFUGE-Test400.zip and REFUGE-Test-GT.zip.",
        "Unpack these six archives into one folder.",
    ),
    pitfalls=(
        "Training images are from another camera (Zeiss Visucam 500, 2124 x 2056) than validation and test "
        "images (Canon CR-2, 1634 x 1634).",
        "Mask values run against habit: 255 is the background and 0 the cup.",
        "Only one in ten images is labelled glaucoma.",
        "Papers on the disc train on a square around it; delineate.data.regions finds one without the masks.",
    ),
)

RIM_AND_CUP = MaskEncoding(classes=("rim", "cup"), values=(128, 0), background=255)
DISC = MaskEncoding(classes=("disc",), values=((0, 128),), background=255)
_ENCODINGS = {"rim-and-cup": RIM_AND_CUP, "disc": DISC}
_LABELS = {"Glaucoma": "glaucoma", "G": "glaucoma", "Non-Glaucoma": "non_glaucoma", "N": "non_glaucoma"}
_LABEL_VALUES = {"1": "glaucoma", "0": "non_glaucoma"}


def index(root: Path, classes: Literal["rim-and-cup", "disc"] = "rim-and-cup") -> list[Case]:
    """List the cases of those parts that are there, sorted by id.

    Labels come from the folders' names, and for the validation part from the table beside its masks; without
    the table its cases have no label.

    Args:
        root: the folder into which the publisher's archives were unpacked.
        classes: "rim-and-cup" for two classes that do not overlap, "disc" for one that covers both.

    Raises:
        InputError: no part is there, a part has only images or only masks, an image has no mask or a mask no
            image, the table is damaged, incomplete or of other values, or `classes` is unknown.
    """
    encoding = choose("set of classes", classes, _ENCODINGS)
    cases = [
        *_part(root, "train", "Training400", "Annotation-Training400", encoding),
        *_part(root, "val", "REFUGE-Validation400", "REFUGE-Validation400-GT", encoding),
        *_part(root, "test", "Test400", "REFUGE-Test-GT", encoding),
    ]
    if not cases:
        raise not_this_dataset(root, ABOUT, "the folder Training400, REFUGE-Validation400 or Test400")
    return sorted(cases, key=lambda case: case.id)


def _part(root: Path, split: str, photographs: str, truth: str, encoding: MaskEncoding) -> list[Case]:
    packed = photographs if photographs.startswith("REFUGE-") else f"REFUGE-{photographs}"
    images = _innermost(root, photographs, packed)
    masks = _innermost(root, truth)
    if images is None and masks is None:
        return []
    if images is None or masks is None or not (masks / "Disc_Cup_Masks").is_dir():
        raise not_this_dataset(root, ABOUT, f"the folders {photographs} and {truth}/Disc_Cup_Masks together")
    pictures, folders_of_pictures = _by_class(images)
    truths, folders_of_truths = _by_class(masks / "Disc_Cup_Masks")
    check_pairs(pictures, truths, ABOUT, images)

    labels = folders_of_truths | folders_of_pictures
    table = masks / "Fovea_locations.xlsx"
    if split == "val" and table.is_file():
        labels |= _validation_labels(table, pictures)
    return [
        Case(stem, image, truths[stem], label=labels.get(stem), split=split, encoding=encoding)
        for stem, image in pictures.items()
    ]


def _innermost(root: Path, *names: str) -> Path | None:
    """The folder, also where a program unpacked the archive into a folder of the same name."""
    nested = [f"{outer}/{inner}" for outer in reversed(names) for inner in names]
    return optional_folder(root, *nested, *names)


def _by_class(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The pictures of a folder and of its class folders, and the labels that the class folders tell."""
    found = files_by_stem(folder)
    labels: dict[str, str] = {}
    for name, label in _LABELS.items():
        if (folder / name).is_dir():
            inside = files_by_stem(folder / name)
            if twice := sorted(found.keys() & inside.keys()):
                raise InputError(
                    f"{found[twice[0]]} and {inside[twice[0]]} have the same id {twice[0]!r}, but "
                    f"{ABOUT.title} has each once; remove one."
                )
            found |= inside
            labels |= dict.fromkeys(inside, label)
    return found, labels


def _validation_labels(table: Path, pictures: Mapping[str, Path]) -> dict[str, str]:
    rows = read_columns(table, "ImgName", ("Glaucoma Label",), tidy=_stem)
    if absent := sorted(pictures.keys() - rows.keys()):
        raise InputError(
            f"{table}: {len(absent)} of {len(pictures)} validation images of {ABOUT.title} have no row, "
            f"{absent[0]!r} for example; restore the file."
        )
    labels: dict[str, str] = {}
    for stem in pictures:
        value = rows[stem][0].removesuffix(".0")
        if value not in _LABEL_VALUES:
            raise InputError(
                f"{table}: the Glaucoma Label of {stem} is {value!r}, not 0 or 1; restore the file."
            )
        labels[stem] = _LABEL_VALUES[value]
    return labels


def _stem(name: str) -> str:
    return name.strip().removesuffix(".jpg")
