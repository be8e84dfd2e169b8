"""HAM10000 with the lesion masks of Tschandl et al. 2020: 10,015 images of 7,470 lesions in seven classes."""

from pathlib import Path

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.readers.about import About, Download
from delineate.data.readers.isic import LESION, MASKS, PHOTOGRAPHS, picture_folder, read_lines, read_text
from delineate.data.readers.layout import check_pairs, files_by_stem, not_this_dataset, optional_folder
from delineate.data.tables import read_table

DIAGNOSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
"""The publisher's short names of the seven classes."""
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
TOGETHER = ("HAM10000_images", "ISIC2018_Task3_Training_Input")
SEGMENTATIONS = "HAM10000_segmentations_lesion_tschandl"
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")
TASK3_LABELS = "ISIC2018_Task3_Training_GroundTruth"
TASK3_LESIONS = "ISIC2018_Task3_Training_LesionGroupings.csv"

_DATAVERSE = "https://dataverse.harvard.edu/api/access/datafile/"

ABOUT = About(
    title="HAM10000 with masks",
    modality="dermoscopy",
    summary="10015 dermoscopic images of 7470 lesions in seven diagnostic classes, with lesion masks",
    counts={"all": 10015},
    classes=("lesion",),
    mask_values="0 background, 255 lesion (PNG, 600 x 450; some with a palette whose index 0 is white)",
    labels={"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142},
    groups="lesion",
    licence="CC BY-NC 4.0",
    citation=(
        "Tschandl, Rosendahl, Kittler: The HAM10000 dataset, a large collection of multi-source "
        "dermatoscopic images of common pigmented skin lesions, Scientific Data 5, 180161, 2018, "
        "doi:10.1038/sdata.2018.161; for the masks Tschandl, Rinner, Apalla et al.: Human-computer "
        "collaboration for skin cancer recognition, Nature Medicine 26, 1229-1234, 2020, "
        "doi:10.1038/s41591-020-0942-0"
    ),
    home="https://doi.org/10.7910/DVN/DBW86T",
    layout="""\
HAM10000_images_part_1/ISIC_0024306.jpg
HAM10000_images_part_2/ISIC_0029306.jpg
HAM10000_segmentations_lesion_tschandl/ISIC_0024306_segmentation.png
HAM10000_metadata.csv    lesion_id,image_id,dx,dx_type,age,sex,localization,dataset

or, as the ISIC 2018 challenge (task 3) publishes the same images:
ISIC2018_Task3_Training_Input/ISIC_0024306.jpg
HAM10000_segmentations_lesion_tschandl/ISIC_0024306_segmentation.png
ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv
                                               image,MEL,NV,BCC,AKIEC,BKL,DF,VASC
ISIC2018_Task3_Training_LesionGroupings.csv    image,lesion_id,diagnosis_confirm_type""",
    downloads=(
        Download(
            _DATAVERSE + "3172585",
            "HAM10000_images_part_1.zip",
            size=1_366_522_108,
            checksum="md5:4639bfa73ab251610530a97c898e6e46",
            unpack="HAM10000_images_part_1",
        ),
        Download(
            _DATAVERSE + "3172584",
            "HAM10000_images_part_2.zip",
            size=1_403_566_547,
            checksum="md5:da43d6cc50f6613013be07e8986b384b",
            unpack="HAM10000_images_part_2",
        ),
        Download(
            _DATAVERSE + "3838943",
            "HAM10000_segmentations_lesion_tschandl.zip",
            size=10_808_743,
            checksum="md5:6e8d252e09cfdb0189199f15985a5b84",
            unpack="HAM10000_segmentations_lesion_tschandl",
        ),
        Download(
            _DATAVERSE + "4338392?format=original",
            "HAM10000_metadata.csv",
            size=690_218,
            checksum="md5:8f85fb1aa29d80a2797247e434deb79d",
            unpack=None,
        ),
    ),
    pitfalls=(
        "10015 images show 7470 lesions: a split that ignores the lesion puts one lesion on both sides.",
        "Two thirds of the images are nv; report scores per class.",
        "Some masks are palette PNGs whose index 0 is white, so a program that reads the index inverts them; "
        "here the grey that is shown counts.",
        "Without ?format=original the publisher sends the metadata as a tab-separated table, which is read "
        "too.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the cases of HAM10000, sorted by id, without opening an image.

    Args:
        root: folder that the archives and the metadata lie in; without a table of labels or lesions the
            images have no label or no group.

    Raises:
        InputError: the images or the masks are not there, do not belong together, two files have one id, or a
            table is faulty or leaves out images.
    """
    images = _images(root)
    folder = picture_folder(root, SEGMENTATIONS)
    if folder is None:
        raise not_this_dataset(root, ABOUT, f"the folder {SEGMENTATIONS}")
    masks = files_by_stem(folder, suffix="_segmentation", endings=MASKS)
    check_pairs(images, masks, ABOUT, root)
    labels, lesions = _tables(root)
    for kind, table in (("diagnosis", labels), ("lesion", lesions)):
        missing = [case_id for case_id in images if case_id not in table]
        if table and missing:
            raise InputError(
                f"The tables in {root} name no {kind} for {len(missing)} of {len(images)} images of "
                f"{ABOUT.title}, {missing[0]!r} for example; download them again."
            )
    return [
        Case(i, images[i], masks[i], label=labels.get(i), group=lesions.get(i), encoding=LESION)
        for i in sorted(images)
    ]


def _images(root: Path) -> dict[str, Path]:
    """The photographs of both parts, or of the folder that holds them together."""
    whole = optional_folder(root, *(f"{name}/{name}" for name in TOGETHER), *TOGETHER)
    if whole is not None:
        return files_by_stem(whole, endings=PHOTOGRAPHS)
    images: dict[str, Path] = {}
    for name in PARTS:
        folder = picture_folder(root, name)
        if folder is None:
            raise not_this_dataset(root, ABOUT, f"the folder {name}")
        for case_id, path in files_by_stem(folder, endings=PHOTOGRAPHS).items():
            if case_id in images:
                raise InputError(f"{images[case_id]} and {path} have the same id {case_id!r}; remove one.")
            images[case_id] = path
    return images


def _tables(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Diagnosis and lesion of each image, from the metadata or from the challenge's two tables."""
    metadata = next((root / name for name in METADATA if (root / name).is_file()), None)
    if metadata is not None:
        return read_metadata(metadata)
    table = TASK3_LABELS + ".csv"
    labels = next(
        (path for path in (root / TASK3_LABELS / table, root / table) if path.is_file()),
        None,
    )
    lesions = next(
        (path for path in (root / TASK3_LESIONS, root / TASK3_LABELS / TASK3_LESIONS) if path.is_file()), None
    )
    return (
        {} if labels is None else _read_task3(labels),
        {}
        if lesions is None
        else {r.cells[0]: r.cells[1] for r in read_table(lesions, ("image", "lesion_id"))},
    )


def read_metadata(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Read HAM10000_metadata: (image id -> diagnosis, image id -> lesion).

    Args:
        path: the publisher's table with commas, or the tab-separated one that Dataverse derives from it.

    Raises:
        InputError: a column is missing, a line is too short, a diagnosis is unknown or an image comes twice.
    """
    tabs = "\t" in read_text(path).split("\n", 1)[0]
    (_, header), *lines = read_lines(path, delimiter="\t" if tabs else ",")
    missing = [column for column in ("image_id", "lesion_id", "dx") if column not in header]
    if missing:
        raise InputError(f"{path}: the column {missing[0]} is missing from the header; download it again.")
    at = {column: header.index(column) for column in ("image_id", "lesion_id", "dx")}
    labels: dict[str, str] = {}
    lesions: dict[str, str] = {}
    for number, cells in lines:
        if len(cells) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(cells)} cells where the header has {len(header)}; "
                "download it again."
            )
        image, lesion, diagnosis = (cells[at[column]] for column in ("image_id", "lesion_id", "dx"))
        if diagnosis not in DIAGNOSES or not image or not lesion:
            raise InputError(
                f"{path}, line {number}: image_id {image!r}, lesion_id {lesion!r} and dx {diagnosis!r} must "
                f"be two names and one of {', '.join(DIAGNOSES)}; download the table again."
            )
        if image in labels:
            raise InputError(f"{path}, line {number}: {image!r} comes twice; remove one line.")
        labels[image], lesions[image] = diagnosis, lesion
    return labels, lesions


def _read_task3(path: Path) -> dict[str, str]:
    """Read the challenge's table with a column of 0.0 and 1.0 for each class."""
    labels: dict[str, str] = {}
    for row in read_table(path, ("image", *(name.upper() for name in DIAGNOSES))):
        case_id, *cells = row.cells
        chosen = [name for name, cell in zip(DIAGNOSES, cells, strict=True) if cell in ("1", "1.0")]
        if len(chosen) != 1 or any(cell not in ("0", "0.0", "1", "1.0") for cell in cells):
            raise InputError(
                f"{path}, line {row.line}: exactly one class must be 1 and the others 0; download it again."
            )
        labels[case_id] = chosen[0]
    return labels
