"""PraNet's bundle: the common training set (900 + 550) and five test sets of polyp segmentation.

Layout and download: README of https://github.com/DengPingFan/PraNet; counts: Fan et al., MICCAI 2020.

One test set's scores: every id begins with the name of its set (`CVC-300_149`), so the rows of a table of
scores can be selected by prefix; `index_test(root, "CVC-300")` lists one test set alone; and the readers
cvc_300, cvc_colondb and etis_larib accept the same folder as root.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from delineate.checks import choose
from delineate.data.case import Case
from delineate.data.readers import cvc_clinicdb
from delineate.data.readers.about import About
from delineate.data.readers.layout import not_this_dataset
from delineate.data.readers.polyps import MASK_VALUES, Group, folders_of_pairs, no_group, paired_cases

TEST_SETS: Mapping[str, int] = MappingProxyType(
    {"CVC-300": 60, "CVC-ClinicDB": 62, "CVC-ColonDB": 380, "ETIS-LaribPolypDB": 196, "Kvasir": 100}
)
"""The folders of TestDataset and their numbers of images."""

ABOUT = About(
    title="PraNet's polyp bundle",
    modality="endoscopy",
    summary="1450 training images (900 Kvasir-SEG, 550 CVC-ClinicDB) and five test sets (60/62/380/196/100)",
    counts={"train": 1450, "test": sum(TEST_SETS.values())},
    classes=("polyp",),
    mask_values=MASK_VALUES,
    labels={},
    groups="sequence (CVC-ClinicDB only)",
    licence="None stated for the bundle; each of the five sets keeps its own, all for research use.",
    citation=(
        "D.-P. Fan, G.-P. Ji, T. Zhou, G. Chen, H. Fu, J. Shen, L. Shao: PraNet: Parallel Reverse Attention "
        "Network for Polyp Segmentation, MICCAI 2020, arXiv:2006.11392"
    ),
    home="https://github.com/DengPingFan/PraNet",
    layout="""\
TrainDataset/
  image/<1..612 or Kvasir-SEG id>.png
  mask/<the same>.png
TestDataset/
  CVC-300/images/<id>.png, CVC-300/masks/<id>.png
  CVC-ClinicDB/, CVC-ColonDB/, ETIS-LaribPolypDB/, Kvasir/    the same
image/ or images/, mask/ or masks/; TestDataset/TestDataset/ is accepted too""",
    steps=(
        "Open https://github.com/DengPingFan/PraNet and follow its two links to Google Drive, one for the "
        "training and one for the testing data.",
        "Unpack both so that OUT/TrainDataset and OUT/TestDataset exist; either may be left out.",
    ),
    pitfalls=(
        "The frames of CVC-ClinicDB were divided by chance: by the publisher's table of sequences each of "
        "the 62 test frames has a training frame of the same sequence next to it, so these scores measure "
        "interpolation within known videos.",
        "CVC-300 (60 images) is often called CVC-T or EndoScene; CVC-ColonDB has 380 images here, while its "
        "publisher offers 300; both come from the same hospital as CVC-ClinicDB.",
        "Scores of the five sets are reported one by one, never pooled: select by the prefix of the id.",
        "The masks of the Kvasir part began as JPEG files.",
    ),
)


def index(root: Path) -> list[Case]:
    """List the training cases and those of all test sets, sorted by id.

    The id is the name of the set, an underscore and the file's name without its ending; the group of
    CVC-ClinicDB's frames is `CVC-ClinicDB_sequence-01` to `-29`, other cases have none.

    Args:
        root: the folder that holds TrainDataset, TestDataset or both.

    Raises:
        InputError: another folder, an image or a mask is missing, or one of the test sets is missing.
    """
    cases = _train(root)
    if _test_folder(root, "*") is not None:
        cases += [case for name in TEST_SETS for case in index_test(root, name)]
    if not cases:
        raise not_this_dataset(root, ABOUT, "the folder TrainDataset or TestDataset")
    return sorted(cases, key=lambda case: case.id)


def index_test(root: Path, name: str) -> list[Case]:
    """List one of the test sets, with the ids and groups that `index` gives.

    Args:
        root: as for `index`.
        name: a key of `TEST_SETS`.

    Raises:
        InputError: an unknown name, the set is missing, or an image or a mask is.
    """
    choose("test set", name, TEST_SETS)
    found = _test_folder(root, name)
    if found is None:
        raise not_this_dataset(root, ABOUT, f"the folder TestDataset/{name}/images")
    group = _clinicdb_group(found[0]) if name == "CVC-ClinicDB" else no_group
    return paired_cases(*found, ABOUT, name=lambda stem: f"{name}_{stem}", group=group, split="test")


def _train(root: Path) -> list[Case]:
    """The training cases, none when the part is absent."""
    found = folders_of_pairs(root, "TrainDataset", "TrainDataset/TrainDataset")
    if found is None:
        return []
    sequence = _clinicdb_group(found[0])
    return paired_cases(
        *found,
        ABOUT,
        # CVC-ClinicDB's frames are plain numbers, Kvasir-SEG's names begin with letters.
        name=lambda stem: f"{'CVC-ClinicDB' if stem.isdigit() else 'Kvasir'}_{stem}",
        group=lambda stem: sequence(stem) if stem.isdigit() else None,
        split="train",
    )


def _test_folder(root: Path, name: str) -> tuple[Path, Path] | None:
    """Images and masks of one test set, of any of them for "*"."""
    for one in TEST_SETS if name == "*" else (name,):
        found = folders_of_pairs(root, f"TestDataset/{one}", f"TestDataset/TestDataset/{one}")
        if found is not None:
            return found
    return None


def _clinicdb_group(where: Path) -> Group:
    return lambda stem: f"CVC-ClinicDB_{cvc_clinicdb.group_of(stem, where)}"
