"""CVC-ClinicDB (also CVC-612): 612 frames of 29 colonoscopy sequences with polyp masks.

Layout, sequences and licence: README.txt of the publisher's archive CVC-ClinicDB.rar, and
https://polyp.grand-challenge.org/CVCClinicDB/.
"""

from bisect import bisect_left
from functools import partial
from pathlib import Path

from delineate.data.case import Case
from delineate.data.readers.about import About
from delineate.data.readers.layout import not_this_dataset, optional_folder
from delineate.data.readers.polyps import MASK_VALUES, frame_number, paired_cases

SEQUENCE_ENDS = (
    *(25, 50, 67, 78, 103, 126, 151, 177, 199, 205, 227, 252, 277, 297, 317),
    *(342, 363, 383, 408, 428, 447, 466, 478, 503, 528, 546, 571, 591, 612),
)
"""Last frame of each of the 29 sequences; the first frame of the next follows it. From the publisher's
README.txt, which gives all 29 ranges."""

ABOUT = About(
    title="CVC-ClinicDB",
    modality="endoscopy",
    summary="612 frames of 29 colonoscopy sequences (25 studies), 384x288, with polyp masks",
    counts={"all": 612},
    classes=("polyp",),
    mask_values=MASK_VALUES,
    labels={},
    groups="sequence",
    licence=(
        "Research and educational use only, commercial use is forbidden (README.txt of the archive); images: "
        "Hospital Clinic, Barcelona; masks: Computer Vision Center, Barcelona."
    ),
    citation=(
        "J. Bernal, F. J. Sanchez, G. Fernandez-Esparrach, D. Gil, C. Rodriguez, F. Vilarino: WM-DOVA maps "
        "for accurate polyp highlighting in colonoscopy: Validation vs. saliency maps from physicians, "
        "Computerized Medical Imaging and Graphics 43, 2015, pp. 99-111, "
        "doi:10.1016/j.compmedimag.2015.02.007"
    ),
    home="https://polyp.grand-challenge.org/CVCClinicDB/",
    layout="""\
CVC-ClinicDB/
  Original/<1..612>.tif
  Ground Truth/<1..612>.tif
  README.txt            (not read)
or, as copies on Kaggle have it,
TIF/Original, TIF/Ground Truth, PNG/Original, PNG/Ground Truth, metadata.csv (not read)""",
    steps=(
        "Open https://polyp.grand-challenge.org/CVCClinicDB/ and follow its link to CVC-ClinicDB.rar.",
        "Unpack the archive, for example with 7-Zip or unrar, so that OUT/CVC-ClinicDB/Original exists.",
    ),
    pitfalls=(
        "Frames of one sequence show the same polyp: a split by chance, such as PraNet's 550/62, has nearly "
        "the same picture on both sides; a split by sequence is the honest one.",
        "The 29 sequences come from 25 studies, and it is not published which of them share a study.",
        "CVC-612-V and CVC-612-T are clips of this set: never train on one and test on the other.",
    ),
)

_MASKS = ("Ground Truth", "GroundTruth")


def sequence_of(frame: int) -> int:
    """The sequence, 1 to 29, that shows a frame.

    Args:
        frame: 1 to 612, which is not checked.
    """
    return bisect_left(SEQUENCE_ENDS, frame) + 1


def group_of(stem: str, where: Path) -> str:
    """The group of a frame, `sequence-01` to `sequence-29`.

    Raises:
        InputError: the file's stem is not a number from 1 to 612; `where` is named in the message.
    """
    return f"sequence-{sequence_of(frame_number(stem, SEQUENCE_ENDS[-1], ABOUT, where)):02}"


def index(root: Path) -> list[Case]:
    """List the cases, sorted by id, which is the frame's number as the file's name has it; group: sequence.

    Where TIFF and PNG copies lie side by side, the TIFF files are taken, which are the publisher's.

    Args:
        root: the folder into which CVC-ClinicDB.rar was unpacked, the CVC-ClinicDB folder in it, or the
            folder of the Kaggle copy.

    Raises:
        InputError: another folder, a frame or a mask is missing, or a name is not a frame's number.
    """
    for top in ("CVC-ClinicDB", ".", "TIF", "CVC-ClinicDB/TIF", "PNG", "CVC-ClinicDB/PNG"):
        images = optional_folder(root / top, "Original")
        if images is not None:
            masks = optional_folder(root / top, *_MASKS)
            if masks is None:
                raise not_this_dataset(root / top, ABOUT, "the folder Ground Truth beside Original")
            return paired_cases(images, masks, ABOUT, group=partial(group_of, where=images))
    raise not_this_dataset(
        root, ABOUT, "the folder CVC-ClinicDB/Original, Original, TIF/Original or PNG/Original"
    )
