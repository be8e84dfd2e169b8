"""GOALS 2022: circumpapillary OCT with three retinal layers."""

from collections.abc import Mapping
from pathlib import Path

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.readers.about import About
from delineate.data.readers.layout import check_pairs, files_by_stem, not_this_dataset, optional_folder
from delineate.data.readers.spreadsheet import read_columns

ABOUT = About(
    title="GOALS 2022 (Glaucoma OCT analysis and layer segmentation)",
    modality="OCT",
    summary="300 circumpapillary OCT images of 1100 x 800 pixels; masks of RNFL, GCIPL and choroid for 100",
    counts={"train": 100, "val": 100, "test": 100},
    classes=("RNFL", "GCIPL", "choroid"),
    mask_values="0 RNFL, 80 GCIPL, 160 choroid, 255 background",
    labels={"glaucoma": 0, "normal": 0},
    groups=None,
    licence="by registration with the challenge; License.pdf comes with the data",
    citation=(
        "Fang, Li, Fu, Wu, Zhang, Xu: Dataset and evaluation algorithm design for GOALS challenge. OMIA "
        "2022, LNCS 13576. doi:10.1007/978-3-031-16525-2_14, arXiv:2207.14447"
    ),
    home="https://aistudio.baidu.com/aistudio/competition/detail/230",
    layout="""\
Train/Image/              0001.png ... 0100.png
Train/Layer_Masks/        the same names
Train/Layer_show/         the masks in colours (passed over)
Train/Train_GC_GT.xlsx    ImgName, GC_Label (1 glaucoma, 0 normal)
Validation/Image/         without masks
Test/Image/               without masks""",
    steps=(
        "Register at https://aistudio.baidu.com/aistudio/competition/detail/230 and accept the licence.",
        "Download the archives of the training, preliminary and final parts and unpack them into one folder, "
        "as Train/, Validation/ and Test/.",
    ),
    pitfalls=(
        "The validation and the test part come without masks: their 200 images are listed for prediction "
        "only, and published scores on them came from the challenge's server.",
        "How many of the images show glaucoma is not stated; Train_GC_GT.xlsx tells for the training part.",
        "Mask values run against habit: 255 is the background and 0 the first layer.",
        "The layers are thin bands, so resizing decides much: the challenge scores at 1100 x 800.",
    ),
)

LAYERS = MaskEncoding(classes=ABOUT.classes, values=(0, 80, 160), background=255)
_PARTS = {"train": "Train", "val": "Validation", "test": "Test"}
_LABELS = {"1": "glaucoma", "0": "normal"}


def index(root: Path) -> list[Case]:
    """List the cases of those parts that are there, sorted by id; ids are the publisher's numbers, "0001".

    Args:
        root: the folder that holds Train/, Validation/ and Test/, or those of the archives' names with them.

    Raises:
        InputError: no part is there, the training part lacks a folder, an image of a part with masks has
            none, a mask has no image, two parts hold the same number, or the table is damaged or incomplete.
    """
    cases: dict[str, Case] = {}
    for split, part in _PARTS.items():
        archive = f"GOALS2022-{part}"
        folder = optional_folder(root, part, f"{archive}/{part}", f"{archive}/{archive}", archive)
        for case in _part(folder, split) if folder else ():
            if case.id in cases:
                raise InputError(
                    f"{cases[case.id].image} and {case.image} have the same id {case.id!r}, but "
                    f"{ABOUT.title} numbers its parts on; remove one."
                )
            cases[case.id] = case
    if not cases:
        raise not_this_dataset(root, ABOUT, "the folder Train, Validation or Test")
    return [cases[case_id] for case_id in sorted(cases)]


def _part(folder: Path, split: str) -> list[Case]:
    if not (folder / "Image").is_dir() or (split == "train" and not (folder / "Layer_Masks").is_dir()):
        raise not_this_dataset(folder, ABOUT, "the folders Image and Layer_Masks")
    images = files_by_stem(folder / "Image", endings=(".png",))
    masks: Mapping[str, Path] = {}
    if (folder / "Layer_Masks").is_dir():
        masks = files_by_stem(folder / "Layer_Masks", endings=(".png",))
        check_pairs(images, masks, ABOUT, folder)
    table = folder / "Train_GC_GT.xlsx"
    labels = _labels(table, images) if table.is_file() else {}
    return [
        Case(stem, image, masks.get(stem), label=labels.get(stem), split=split, encoding=LAYERS)
        for stem, image in images.items()
    ]


def _labels(table: Path, images: Mapping[str, Path]) -> dict[str, str]:
    rows = read_columns(table, "ImgName", ("GC_Label",), tidy=_number)
    if absent := sorted(images.keys() - rows.keys()):
        raise InputError(
            f"{table}: {len(absent)} of {len(images)} images of {ABOUT.title} have no row, {absent[0]!r} for "
            "example; restore the file."
        )
    labels: dict[str, str] = {}
    for stem in images:
        value = rows[stem][0].strip().removesuffix(".0")
        if value not in _LABELS:
            raise InputError(f"{table}: the GC_Label of {stem} is {value!r}, not 0 or 1; restore the file.")
        labels[stem] = _LABELS[value]
    return labels


def _number(name: str) -> str:
    """The table counts 1, 2, 3; the files are called 0001, 0002, 0003."""
    name = name.strip().removesuffix(".png").removesuffix(".0")
    return name.zfill(4) if name.isdigit() else name
