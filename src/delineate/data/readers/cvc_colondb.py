"""CVC-ColonDB: colonoscopy frames with polyp masks, 380 as PraNet's bundle has them or the publisher's 300.

The 380: https://github.com/DengPingFan/PraNet. The 300: Bernal et al. 2012 and the publisher's page,
http://mv.cvc.uab.es/projects/colon-qa/cvccolondb.
"""

from bisect import bisect_left
from dataclasses import replace
from functools import partial
from pathlib import Path

from delineate.data.case import Case
from delineate.data.readers.about import About
from delineate.data.readers.layout import not_this_dataset
from delineate.data.readers.polyps import (
    MASK_VALUES,
    cases_of,
    folders_of_pairs,
    frame_number,
    paired_cases,
    pictures_in,
    without_letter_p,
)

CLIP_ENDS = (38, 60, 76, 97, 148, 220, 225, 263, 273, 300)
"""Last frame of each clip of the original 300. From the file list of TCCNet (github.com/wener-yung/TCCNet,
data/sqc_pathlist.npy), which names the frames of clips 0, 1, 2, 4, 9, 10 and 11 of 13; clips 3 and 12 follow
from the gaps, and clips 5 to 8 (frames 149 to 220), whose borders it does not tell, are one group here."""
CLIPS = ("00", "01", "02", "03", "04", "05-08", "09", "10", "11", "12")

ABOUT = About(
    title="CVC-ColonDB",
    modality="endoscopy",
    summary="380 colonoscopy frames with polyp masks, a test set only, as in PraNet's bundle",
    counts={"test": 380},
    classes=("polyp",),
    mask_values=MASK_VALUES,
    labels={},
    groups=None,
    licence="None stated in PraNet's bundle; the publisher offers CVC-ColonDB for research.",
    citation=(
        "N. Tajbakhsh, S. R. Gurudu, J. Liang: Automated Polyp Detection in Colonoscopy Videos Using Shape "
        "and Context Information, IEEE Transactions on Medical Imaging 35(2), 2015, pp. 630-644 (cited by "
        "PraNet's successors for the 380); J. Bernal, F. J. Sanchez, F. Vilarino: Pattern "
        "Recognition 45(9), 2012"
    ),
    home="https://github.com/DengPingFan/PraNet",
    layout="""\
TestDataset/
  CVC-ColonDB/
    images/<number>.png
    masks/<number>.png
the root may be any of these folders""",
    steps=(
        "Open https://github.com/DengPingFan/PraNet and follow its link to the testing data (Google Drive).",
        "Unpack the archive so that OUT/TestDataset/CVC-ColonDB exists.",
    ),
    pitfalls=(
        "Papers after PraNet report 380 images, the publisher's page 300: never compare one with the other.",
        "Which sequence a frame of the 380 belongs to is not published, so an interval over images is too "
        "narrow.",
    ),
)

ABOUT_ORIGINAL = replace(
    ABOUT,
    title="CVC-ColonDB (original)",
    summary="300 frames of 15 colonoscopy sequences with polyp masks, as the publisher offers them",
    counts={"all": 300},
    groups="clip (10 groups: of the 13 clips that others use, 5 to 8 are one group)",
    licence="None stated on the publisher's page; offered for research.",
    citation=(
        "J. Bernal, F. J. Sanchez, F. Vilarino: Towards Automatic Polyp Detection with a Polyp Appearance "
        "Model, Pattern Recognition 45(9), 2012, pp. 3166-3182, doi:10.1016/j.patcog.2012.03.002"
    ),
    home="https://doi.org/10.1016/j.patcog.2012.03.002",
    layout="""\
CVC-ColonDB/
  CVC-ColonDB/
    <1..300>.bmp      frame (.tiff in some copies of the archive)
    p<1..300>.bmp     polyp mask
    s<n>.bmp, c<n>.bmp    uninformative region and contour, not read
the root may be any of these folders""",
    steps=(
        "Ask for CVC-ColonDB at the Computer Vision Center, Barcelona; its page was "
        "http://mv.cvc.uab.es/projects/colon-qa/cvccolondb.",
        "Unpack the archive so that OUT/CVC-ColonDB exists.",
    ),
    pitfalls=(
        "Papers after PraNet report 380 images, the publisher's page 300: never compare one with the other.",
        "The publisher speaks of 15 sequences, the clips that others use are 13.",
        "CVC-300-TV holds clips of this set: never train on one and test on the other.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the 380 cases, all of the split test, sorted by id, which is the file's name without its ending.

    Args:
        root: the folder that holds TestDataset, TestDataset itself, or the set's own folder.

    Raises:
        InputError: another folder, or an image or a mask is missing.
    """
    found = folders_of_pairs(
        root, "TestDataset/CVC-ColonDB", "TestDataset/TestDataset/CVC-ColonDB", "CVC-ColonDB", "."
    )
    if found is None:
        raise not_this_dataset(
            root, ABOUT, "the folder TestDataset/CVC-ColonDB/images, CVC-ColonDB/images or images"
        )
    return paired_cases(*found, ABOUT, split="test")


def index_original(root: Path) -> list[Case]:
    """List the publisher's 300 cases, sorted by id, which is the frame's number; group: clip (`CLIP_ENDS`).

    Args:
        root: the folder into which the publisher's archive was unpacked, or one of the two in it.

    Raises:
        InputError: another folder, a frame or a mask is missing, or a number is not 1 to 300.
    """
    for top in ("CVC-ColonDB/CVC-ColonDB", "CVC-ColonDB", "."):
        files = pictures_in(root / top)
        images = {stem: path for stem, path in files.items() if stem.isdigit()}
        if images:
            where = root / top
            return cases_of(
                images, without_letter_p(files), ABOUT_ORIGINAL, where, group=partial(_clip, where=where)
            )
    raise not_this_dataset(root, ABOUT_ORIGINAL, "the folder CVC-ColonDB with 1.bmp and p1.bmp")


def _clip(stem: str, where: Path) -> str:
    return f"clip-{CLIPS[bisect_left(CLIP_ENDS, frame_number(stem, CLIP_ENDS[-1], ABOUT_ORIGINAL, where))]}"
