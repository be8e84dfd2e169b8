"""PH2: 200 dermoscopic images of melanocytic lesions with masks and clinical diagnosis."""

from pathlib import Path

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.readers.about import About
from delineate.data.readers.isic import LESION, read_lines, read_text
from delineate.data.readers.layout import find_folder, not_this_dataset

DIAGNOSES = ("common_nevus", "atypical_nevus", "melanoma")
"""Clinical diagnosis by its number in the table: 0, 1, 2."""
IMAGES = "PH2 Dataset images"
TABLES = ("PH2_dataset.txt", "PH2_dataset.csv")

ABOUT = About(
    title="PH2",
    modality="dermoscopy",
    summary="200 dermoscopic images of one hospital with lesion masks, 160 nevi and 40 melanomas; no parts",
    counts={"all": 200},
    classes=("lesion",),
    mask_values="black background, white lesion (BMP of 1 or 8 bits: 0 and 1, or 0 and 255)",
    labels={"melanoma": 40, "nevus": 160},
    groups=None,
    licence="free for research and education, as the publisher's page says; no open licence is stated",
    citation=(
        "Mendonça, Ferreira, Marques, Marçal, Rozeira: PH2 - A dermoscopic image database for research and "
        "benchmarking, EMBC 2013, doi:10.1109/EMBC.2013.6610779"
    ),
    home="https://www.fc.up.pt/addi/ph2%20database.html",
    layout="""\
PH2 Dataset images/IMD003/IMD003_Dermoscopic_Image/IMD003.bmp
PH2 Dataset images/IMD003/IMD003_lesion/IMD003_lesion.bmp
PH2 Dataset images/IMD013/IMD013_roi/IMD013_R1_Label4.bmp    colour regions, passed over
PH2_dataset.txt     cells between ||: Name, Histological Diagnosis, Clinical Diagnosis, ...
PH2_dataset.xlsx    the same, passed over""",
    steps=(
        "Open https://www.fc.up.pt/addi/ph2%20database.html and ask for the archive there.",
        "Unpack the archive; its folder PH2Dataset is the root, the folder that holds it will do too.",
    ),
    pitfalls=(
        "The clinical diagnosis has three classes, 80 common nevi, 80 atypical nevi and 40 melanomas; the "
        "papers merge the nevi, and so does the reader unless it is called with fine=True.",
        "Two masks (IMD411, IMD424) cover more than 95 % of the image, because the lesion fills the field.",
        "There is no official split and no patient id; with 40 melanomas a split has to be stratified.",
    ),
)


def index(root: Path, *, fine: bool = False) -> list[Case]:
    """List the cases of PH2, sorted by id, without opening an image.

    Args:
        root: the folder PH2Dataset, or the folder that holds it; without PH2_dataset.txt (or a .csv with the
            same columns) the images have no label.
        fine: label with the three clinical diagnoses of `DIAGNOSES`; otherwise both nevi are "nevus".

    Raises:
        InputError: the folder is not PH2, an image folder lacks its image or mask, or the table is faulty or
            leaves out images.
    """
    folder = find_folder(root, ABOUT, IMAGES, f"PH2Dataset/{IMAGES}")
    table = next((path for path in (folder.parent / name for name in TABLES) if path.is_file()), None)
    diagnoses = {} if table is None else read_diagnoses(table)

    cases = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in ".@_"):
        name = place.name
        image = place / f"{name}_Dermoscopic_Image" / f"{name}.bmp"
        mask = place / f"{name}_lesion" / f"{name}_lesion.bmp"
        for kind, path in (("image", image), ("mask", mask)):
            if not path.is_file():
                raise InputError(
                    f"{place} has no {kind} {path.relative_to(place)}, which every folder of {ABOUT.title} "
                    "has; unpack the publisher's archive again."
                )
        diagnosis = diagnoses.get(name)
        if table is not None and diagnosis is None:
            raise InputError(f"{table} has no line for {name}; take the table from the publisher's archive.")
        label = diagnosis if fine or diagnosis in (None, "melanoma") else "nevus"
        cases.append(Case(name, image, mask, label=label, encoding=LESION))
    if not cases:
        raise not_this_dataset(folder, ABOUT, "a folder such as IMD003/ for each image")
    return cases


def read_diagnoses(path: Path) -> dict[str, str]:
    """Read the table of PH2: name of the image -> one of `DIAGNOSES`.

    Args:
        path: the publisher's text table with `||` between the cells, or a table with commas or tabs and the
            same column names. What follows the last image (the legend) is passed over.

    Raises:
        InputError: the table has no columns Name and Clinical Diagnosis, a diagnosis is not 0, 1 or 2, or an
            image comes twice.
    """
    lines = _rows(path)
    start = next((i for i, (_, cells) in enumerate(lines) if "Name" in cells), None)
    if start is None or "Clinical Diagnosis" not in lines[start][1]:
        raise InputError(
            f"{path} has no line with the columns Name and Clinical Diagnosis; take the table from the "
            "publisher's archive."
        )
    header = lines[start][1]
    name_at, diagnosis_at = header.index("Name"), header.index("Clinical Diagnosis")

    diagnoses: dict[str, str] = {}
    for number, cells in lines[start + 1 :]:
        name = cells[name_at] if len(cells) > name_at else ""
        if not (name.startswith("IMD") and name[3:].isdigit()):
            continue  # rules, blank lines and the legend
        code = cells[diagnosis_at] if len(cells) > diagnosis_at else ""
        if code not in ("0", "1", "2"):
            raise InputError(
                f"{path}, line {number}: the clinical diagnosis {code!r} of {name} is not 0, 1 or 2; take "
                "the table from the publisher's archive."
            )
        if name in diagnoses:
            raise InputError(f"{path}, line {number}: {name} comes twice; remove one line.")
        diagnoses[name] = DIAGNOSES[int(code)]
    return diagnoses


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of the table as cells, with whichever of the three separators the file uses."""
    text = read_text(path)
    if "||" not in text:
        return read_lines(path, delimiter="\t" if "\t" in text else ",")
    lines = enumerate(text.splitlines(), start=1)
    return [(number, [cell.strip() for cell in line.split("||")]) for number, line in lines]
