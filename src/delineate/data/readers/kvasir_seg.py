"""Kvasir-SEG: 1000 colonoscopy images with polyp masks.

Layout, counts and licence: https://datasets.simula.no/kvasir-seg/ and Jha et al., MMM 2020.
"""

from pathlib import Path

from delineate.data.case import Case
from delineate.data.readers.about import About, Download
from delineate.data.readers.layout import not_this_dataset
from delineate.data.readers.polyps import folders_of_pairs, paired_cases

ABOUT = About(
    title="Kvasir-SEG",
    modality="endoscopy",
    summary="1000 colonoscopy images with polyp masks, each image with at least one polyp",
    counts={"all": 1000},
    classes=("polyp",),
    mask_values="JPEG: about 0 background, about 255 polyp, cut at 128",
    labels={},
    groups=None,
    licence="Research and educational use only; commercial use needs prior written permission (Simula).",
    citation=(
        "D. Jha, P. H. Smedsrud, M. A. Riegler, P. Halvorsen, T. de Lange, D. Johansen, H. D. Johansen: "
        "Kvasir-SEG: A Segmented Polyp Dataset, MMM 2020, pp. 451-462, doi:10.1007/978-3-030-37734-2_37"
    ),
    home="https://datasets.simula.no/kvasir-seg/",
    layout="""\
Kvasir-SEG/
  images/<id>.jpg
  masks/<id>.jpg
  kavsir_bboxes.json    (not read; the publisher's spelling)""",
    downloads=(Download("https://datasets.simula.no/downloads/kvasir-seg.zip", "kvasir-seg.zip"),),
    steps=(
        "If the download fails because the server's certificate cannot be verified, fetch kvasir-seg.zip "
        "with a browser and unpack it: the server was seen to leave out an intermediate certificate.",
    ),
    pitfalls=(
        "The masks are JPEG files whose values spread around 0 and 255.",
        "Neither patients nor videos are published, so a split by chance may divide a polyp's pictures.",
        "Some images show a green picture of the endoscope's position in a corner.",
        "PraNet's 900/100 and FCP-Net's 800/100/100 are different splits.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the cases, sorted by id, which is the file's name without its ending.

    Args:
        root: the folder into which kvasir-seg.zip was unpacked, or the Kvasir-SEG folder in it.

    Raises:
        InputError: another folder, or an image or a mask is missing.
    """
    found = folders_of_pairs(root, "Kvasir-SEG", ".", "Kvasir-SEG/Kvasir-SEG")
    if found is None:
        raise not_this_dataset(root, ABOUT, "the folder Kvasir-SEG/images or images")
    return paired_cases(*found, ABOUT)
