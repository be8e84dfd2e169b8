"""Protocols of the polyp data sets.

The clips of CVC-300 and CVC-612 follow PNS-Net (Ji et al., MICCAI 2021), which divides them 60/20/20 by clip
and reports CVC-300-TV (validation and test clips together), CVC-612-V and CVC-612-T. The clip numbers are
those of the folders of its archive, as github.com/wener-yung/TCCNet, README.md, lists them; clip k of CVC-612
is sequence k + 1 of CVC-ClinicDB.
"""

from collections.abc import Sequence
from dataclasses import replace

from delineate.data.case import Case
from delineate.data.protocols.protocol import Call, Protocol, all_test, check_total, drawn, listed, own_split
from delineate.data.readers import cvc_clinicdb
from delineate.data.splits import split_cases

_PRANET = "Fan et al., PraNet, MICCAI 2020 (arXiv:2006.11392); MSNet, M2SNet and CHNet take it over"
_PNS_NET = "Ji et al., PNS-Net, MICCAI 2021 (arXiv:2105.08468); M2SNet, section 4.1"
_CLIPS_V = (2, 3, 4, 11, 15, 17)
_CLIPS_T = (0, 6, 7, 16, 24)
_BUNDLE = {
    "train": {"Kvasir": 900, "CVC-ClinicDB": 550},
    "test": {"Kvasir": 100, "CVC-ClinicDB": 62, "CVC-ColonDB": 380, "ETIS-LaribPolypDB": 196, "CVC-300": 60},
}


def _clip_of(case: Case) -> int:
    """Number of the clip of CVC-612 that a frame of CVC-ClinicDB belongs to."""
    return int(cvc_clinicdb.group_of(case.id, case.image.parent).rpartition("-")[2]) - 1


def _by_sequence(cases: Sequence[Case], call: Call) -> list[Case]:
    """Divide CVC-ClinicDB by sequence, which the frame's number tells where there are no groups."""
    check_total(cases, 612, call)
    group_of = {case.id: case.group for case in cases}
    frames = [replace(case, group=case.group or f"sequence-{_clip_of(case) + 1:02}") for case in cases]
    divided = split_cases(frames, fractions={"train": 0.6, "val": 0.2, "test": 0.2}, seed=call.seed)
    return [replace(case, group=group_of[case.id]) for case in divided]


def _by_clip(cases: Sequence[Case], call: Call) -> list[Case]:
    """Divide CVC-ClinicDB as PNS-Net divides CVC-612."""
    check_total(cases, 612, call)
    split_of = dict.fromkeys(_CLIPS_V, "val") | dict.fromkeys(_CLIPS_T, "test")
    return [replace(case, split=split_of.get(_clip_of(case), "train")) for case in cases]


def _external(dataset: str, of: str, *totals: int) -> dict[str, Protocol]:
    """All cases of a data set that the papers only test on."""
    summary = f"All {totals[0]} images for testing: {of}."
    return {f"{dataset}.all-test": Protocol(dataset, summary, _PRANET, all_test(*totals))}


def _clips(dataset: str, counts: dict[str, int] | None, test: int, of: str) -> dict[str, Protocol]:
    """A set of PNS-Net's clips: with the training clips of its video set, and alone."""
    return {
        f"{dataset}.pns-net": Protocol(
            dataset,
            f"{of}; the video set's training clips for training; no validation part.",
            _PNS_NET,
            own_split(counts),
        ),
        f"{dataset}.all-test": Protocol(
            dataset, f"{of}; the training clips are left out.", _PNS_NET, own_split({"test": test})
        ),
    }


PROTOCOLS = {
    "pranet.official": Protocol(
        "pranet",
        "900 Kvasir-SEG + 550 CVC-ClinicDB images for training; tests on 100 Kvasir-SEG, 62 CVC-ClinicDB, "
        "380 CVC-ColonDB, 196 ETIS-LaribPolypDB and 60 CVC-300 images, whose ids begin with the set's name; "
        "no validation part.",
        _PRANET,
        own_split({"train": 1450, "test": 798}, prefixes=_BUNDLE),
    ),
    "kvasir-seg.pranet": Protocol(
        "kvasir-seg",
        "900 for training, PraNet's 100 for testing, by its list of names; no validation part.",
        _PRANET,
        listed({"test": "kvasir-seg.pranet.test.txt"}, total=1000),
    ),
    "kvasir-seg.fcp-net": Protocol(
        "kvasir-seg",
        "800 for training, 100 for validation, 100 for testing. The paper follows the settings of another "
        "and names no ids, so they are drawn with the seed.",
        "FCP-Net, section V.E",
        drawn({"train": 800, "val": 100, "test": 100}),
        drawn=True,
    ),
    "cvc-clinicdb.pranet": Protocol(
        "cvc-clinicdb",
        "550 for training, PraNet's 62 for testing, by its list of frame numbers; no validation part. Frames "
        "of one sequence lie in both: prefer cvc-clinicdb.sequence where no published number is compared.",
        _PRANET,
        listed({"test": "cvc-clinicdb.pranet.test.txt"}, total=612),
    ),
    "cvc-clinicdb.sequence": Protocol(
        "cvc-clinicdb",
        "60 % for training, 20 % for validation, 20 % for testing by whole sequences (29), drawn with the "
        "seed.",
        "this project; sequences from Bernal et al., CMIG 43 (2015) 99-111",
        _by_sequence,
        drawn=True,
    ),
    "cvc-clinicdb.pns-net": Protocol(
        "cvc-clinicdb",
        "PNS-Net's clips of CVC-612: 18 for training (367 frames), 6 for validation (CVC-612-V, 123), 5 for "
        "testing (CVC-612-T, 122).",
        _PNS_NET,
        _by_clip,
    ),
    **_external("cvc-colondb", "those of PraNet's bundle; the publisher's 300 are taken too", 380, 300),
    **_external("etis-larib", "never trained on by the papers", 196),
    **_external("cvc-300", "CVC-T, never trained on by the papers", 60),
    **_clips("cvc-300-tv", None, 120, "Clips 3, 5, 6, 7, 8 and 12 of CVC-300 (120 frames) for testing"),
    **_clips(
        "cvc-612-v",
        {"train": 367, "test": 123},
        123,
        "Clips 2, 3, 4, 11, 15 and 17 of CVC-612 (123 frames), which PNS-Net calls validation, for testing",
    ),
    **_clips(
        "cvc-612-t",
        {"train": 367, "test": 122},
        122,
        "Clips 0, 6, 7, 16 and 24 of CVC-612 (122 frames) for testing",
    ),
}
