"""Readers: one data set layout = one file with `index(root) -> list[Case]`, entered in the table below."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from delineate.checks import InputError, choose
from delineate.data.case import Case
from delineate.data.readers import (
    busi,
    covid19_ct_20,
    covid19_ct_100,
    cvc_300,
    cvc_300_tv,
    cvc_612_t,
    cvc_612_v,
    cvc_clinicdb,
    cvc_colondb,
    drishti_gs,
    etis_larib,
    folder,
    goals2022,
    ham10000,
    isic2016,
    isic2017,
    isic2018,
    kvasir_seg,
    ph2,
    pranet,
    refuge,
)
from delineate.data.readers.about import About, Download, Reader, count_faults

__all__ = ["READERS", "About", "Download", "Reader", "count_faults", "index"]


def _published(index: Callable[[Path], list[Case]], about: About) -> Reader:
    return Reader(index, about.summary, about)


READERS: dict[str, Reader] = {
    "folder": Reader(
        folder.index,
        "images/, masks/ (same name), optional labels.csv, split.csv, groups.csv, spacing.csv, window.csv, "
        "classes.csv",
    ),
    "isic2016": _published(isic2016.index, isic2016.ABOUT),
    "isic2017": _published(isic2017.index, isic2017.ABOUT),
    "isic2018": _published(isic2018.index, isic2018.ABOUT),
    "ph2": _published(ph2.index, ph2.ABOUT),
    "ham10000": _published(ham10000.index, ham10000.ABOUT),
    "kvasir-seg": _published(kvasir_seg.index, kvasir_seg.ABOUT),
    "cvc-clinicdb": _published(cvc_clinicdb.index, cvc_clinicdb.ABOUT),
    "cvc-colondb": _published(cvc_colondb.index, cvc_colondb.ABOUT),
    "cvc-colondb:original": _published(cvc_colondb.index_original, cvc_colondb.ABOUT_ORIGINAL),
    "etis-larib": _published(etis_larib.index, etis_larib.ABOUT),
    "cvc-300": _published(cvc_300.index, cvc_300.ABOUT),
    "pranet": _published(pranet.index, pranet.ABOUT),
    "cvc-300-tv": _published(cvc_300_tv.index, cvc_300_tv.ABOUT),
    "cvc-612-v": _published(cvc_612_v.index, cvc_612_v.ABOUT),
    "cvc-612-t": _published(cvc_612_t.index, cvc_612_t.ABOUT),
    "busi": _published(busi.index, busi.ABOUT),
    "busi:first": Reader(
        functools.partial(busi.index, masks="first"),
        "BUSI, only the first mask file of each image",
        busi.ABOUT,
    ),
    "refuge": _published(refuge.index, refuge.ABOUT),
    "refuge:disc": Reader(
        functools.partial(refuge.index, classes="disc"),
        "REFUGE, rim and cup together as the disc",
        replace(refuge.ABOUT, classes=("disc",)),
    ),
    "drishti-gs": _published(drishti_gs.index, drishti_gs.ABOUT),
    "drishti-gs:cup": Reader(
        functools.partial(drishti_gs.index, structure="cup"),
        "Drishti-GS1, the optic cup",
        replace(drishti_gs.ABOUT, classes=("cup",)),
    ),
    "covid19-ct-20": _published(covid19_ct_20.index, covid19_ct_20.ABOUT),
    "covid19-ct-100": _published(covid19_ct_100.index, covid19_ct_100.ABOUT),
    "covid19-ct-9": _published(covid19_ct_100.index_volumes, covid19_ct_100.ABOUT_VOLUMES),
    "goals2022": _published(goals2022.index, goals2022.ABOUT),
}


def index(root: Path, dataset: str = "folder", *, partial: bool = False) -> list[Case]:
    """List the cases of a data set.

    Args:
        root: folder of the data set.
        dataset: name of the reader, a key of `READERS`.
        partial: accept a part that holds another number of cases than the publisher's.

    Returns:
        The cases, sorted by id.

    Raises:
        InputError: unknown `dataset`, the folder does not hold what the reader expects, or a part of a
            published data set is incomplete.
    """
    reader = choose("data set", dataset, READERS)
    cases = reader.index(Path(root))
    if reader.about is not None and not partial and (faults := count_faults(reader.about, cases)):
        raise InputError(faults[0])
    return cases
