"""Drishti-GS: fundus photographs with optic disc and cup as drawn by four experts."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from delineate.checks import InputError, choose
from delineate.data.case import Case, MaskEncoding
from delineate.data.readers.about import About
from delineate.data.readers.layout import check_pairs, files_by_stem, not_this_dataset, optional_folder
from delineate.data.readers.spreadsheet import read_columns

ABOUT = About(
    title="Drishti-GS1",
    modality="fundus",
    summary="101 fundus photographs of 68 patients, optic disc and cup by four experts, glaucoma labels",
    counts={"train": 50, "test": 51},
    classes=("disc",),
    mask_values="soft maps 0, 64, 128, 191, 255: none, one, two, three or all of four experts drew the pixel",
    labels={"glaucomatous": 70, "normal": 31},
    groups="patient",
    licence="by registration with the publisher; no open licence known",
    citation=(
        "Sivaswamy, Krishnadas, Joshi, Jain, Tabish: Drishti-GS: retinal image dataset for optic nerve head "
        "segmentation. ISBI 2014, pp. 53-56. doi:10.1109/ISBI.2014.6867807"
    ),
    home="https://cvit.iiit.ac.in/projects/mip/drishti-gs/mip-dataset2/Home.php",
    layout="""\
Drishti-GS1_files/
    Training/Images/                     drishtiGS_002.png ...  (or in Images/GLAUCOMA/ and Images/NORMAL/)
    Training/GT/drishtiGS_002/           AvgBoundary/, drishtiGS_002_cdrValues.txt
    Training/GT/drishtiGS_002/SoftMap/   drishtiGS_002_ODsegSoftmap.png, drishtiGS_002_cupsegSoftmap.png
    Test/Images/                         drishtiGS_001.png ...
    Test/Test_GT/drishtiGS_001/          as in Training/GT
    Drishti-GS1_diagnosis.xlsx           Drishti-GS File, Total, Patient ID""",
    steps=(
        "Register at https://cvit.iiit.ac.in/projects/mip/drishti-gs/mip-dataset2/Home.php.",
        "Download the archive and unpack it; put Drishti-GS1_diagnosis.xlsx into Drishti-GS1_files/.",
    ),
    pitfalls=(
        "The ground truth is four opinions: this reader counts what at least three of four experts drew "
        "(threshold 160); other papers take two (96), one, or the average boundary.",
        "Some patients have both eyes among the images, six of them with different labels; whether the "
        "official parts keep patients apart is not stated.",
        "The cup lies inside the disc and has a file of its own: one class is read at a time.",
    ),
)

MAJORITY = 3
_STRUCTURES = {"disc": "_ODsegSoftmap", "cup": "_cupsegSoftmap"}
_PARTS = (("train", "Training", ("GT",)), ("test", "Test", ("Test_GT", "GT")))


def index(root: Path, structure: Literal["disc", "cup"] = "disc", experts: int = MAJORITY) -> list[Case]:
    """List the cases of those parts that are there, sorted by id.

    A soft map holds n/4 * 255 where n of the four experts drew the pixel. Foreground begins half a step below
    `experts` quarters, so that it does not matter how the publisher rounded.

    Labels and patients come from Drishti-GS1_diagnosis.xlsx; without it there are no patients, and labels
    only where the images lie in folders of their class.

    Args:
        root: the folder that holds Drishti-GS1_files, or that folder itself.
        structure: "disc" or "cup".
        experts: how many of the four must have drawn a pixel, 1 to 4.

    Raises:
        InputError: `structure` is unknown, `experts` is not 1 to 4, no part is there, a part has only images
            or only ground truth, an image has no soft map or a soft map no image, or the table is damaged or
            incomplete.
    """
    if not 1 <= experts <= 4:
        raise InputError(f"experts is the number of four experts who must agree, 1 to 4, not {experts}.")
    end = choose("structure", structure, _STRUCTURES)
    encoding = MaskEncoding(classes=(structure,), threshold=round((experts - 0.5) * 255 / 4))
    top = optional_folder(root, "Drishti-GS1_files/Drishti-GS1_files", "Drishti-GS1_files") or root
    cases = [
        case
        for split, part, truths in _PARTS
        if (top / part).is_dir()
        for case in _part(top / part, split, truths, end, encoding)
    ]
    if not cases:
        raise not_this_dataset(root, ABOUT, "the folder Drishti-GS1_files/Training or Drishti-GS1_files/Test")
    places = (folder / "Drishti-GS1_diagnosis.xlsx" for folder in (top, top.parent, root))
    if table := next((place for place in places if place.is_file()), None):
        cases = _with_diagnosis(cases, table)
    return sorted(cases, key=lambda case: case.id)


def _part(folder: Path, split: str, truths: tuple[str, ...], end: str, encoding: MaskEncoding) -> list[Case]:
    truth = optional_folder(folder, *truths)
    if truth is None or not (folder / "Images").is_dir():
        raise not_this_dataset(folder, ABOUT, f"the folders Images and {truths[0]} together")
    images = files_by_stem(folder / "Images")
    labels: dict[str, str] = {}
    for name, label in (("GLAUCOMA", "glaucomatous"), ("NORMAL", "normal")):
        if (folder / "Images" / name).is_dir():
            inside = files_by_stem(folder / "Images" / name)
            images |= inside
            labels |= dict.fromkeys(inside, label)
    masks: dict[str, Path] = {}
    for place in sorted(path for path in truth.iterdir() if path.is_dir()):
        soft = place / "SoftMap" / f"{place.name}{end}.png"
        if soft.is_file():
            masks[place.name] = soft
    check_pairs(images, masks, ABOUT, folder)
    return [
        Case(stem, image, masks[stem], label=labels.get(stem), split=split, encoding=encoding)
        for stem, image in images.items()
    ]


def _with_diagnosis(cases: list[Case], table: Path) -> list[Case]:
    rows = read_columns(table, "Drishti-GS File", ("Total", "Patient ID"), tidy=_stem)
    if absent := sorted({case.id for case in cases} - rows.keys()):
        raise InputError(
            f"{table}: {len(absent)} of {len(cases)} images of {ABOUT.title} have no row, {absent[0]!r} for "
            "example; restore the file."
        )
    completed = []
    for case in cases:
        label, patient = (cell.strip() for cell in rows[case.id])
        if label.lower() not in ABOUT.labels:
            raise InputError(
                f"{table}: the diagnosis of {case.id} is {label!r}, not Normal or Glaucomatous; "
                "restore the file."
            )
        if case.label not in (None, label.lower()):
            raise InputError(
                f"{case.image} lies among the {case.label} images, but {table.name} calls it {label!r}; "
                "unpack the publisher's archives again."
            )
        completed.append(replace(case, label=label.lower(), group=patient or None))
    return completed


def _stem(name: str) -> str:
    """The table's names end in an apostrophe."""
    return name.strip().strip("'‘’").strip()
