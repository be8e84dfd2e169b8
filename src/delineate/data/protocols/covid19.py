"""Protocols of the COVID-19 CT data sets.

CHNet (section 5.1) and M2SNet (section 4.1) merge two public sets "by uniform sampling" into 1277 slices, 894
for training and 383 for testing, and name none of them. The lists here are those that MADGNet (Nam et al.,
CVPR 2024; github.com/Inha-CVAI/MADGNet, dataset/BioMedicalDataset/COVID19, which refers to M2SNet's page for
this data) publishes: exactly 894 + 383 names. They are every third slice, from the first, of the 20 volumes
of Zenodo 3757476 (1178), and 99 of the 100 slices of medicalsegmentation.com (all but number 48).

That list calls a volume by a number. 001 to 010 are coronacases; 4, 7, 10, 11, 14, 27, 29, 30, 36, 40 are the
Radiopaedia volumes, where 10 and 11 must be 10_85902_1 and 10_85902_3 by their number of slices (39 and 418).
29 and 30 have 42 slices both and are taken as 29_86490_1 and 29_86491_1 in order of name. The list counts
slices in the file's order, which is this package's where the file runs from the feet to the head.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from delineate.data.case import Case
from delineate.data.protocols.protocol import Assign, Call, Protocol, listed
from delineate.data.splits import split_cases

_LISTS = {"train": "covid19-ct.chnet.train.txt", "test": "covid19-ct.chnet.test.txt"}
_VOLUMES = ("coronacases_", "radiopaedia_")
_PICTURES = ("tr_im_",)
_CHNET = "CHNet, section 5.1; M2SNet, section 4.1; lists of MADGNet (CVPR 2024)"
_LEAK = "Neighbouring slices of one patient lie in both parts: the scores say little about new patients."


def patient_of(case_id: str) -> str:
    """The patient whom a slice shows, as far as the names tell.

    Two Radiopaedia volumes with one case number are one patient. The hundred single slices come from more
    than 40 patients whom nobody names, so all of them count as one.
    """
    found = re.match(r"(coronacases_\d+|radiopaedia_\d+)_", case_id)
    return found[1] if found else "medicalsegmentation.com"


def _by_patient(prefix: tuple[str, ...]) -> Assign:
    """The same slices, but every patient whole, in nearly the same shares."""
    choose = listed(_LISTS, prefix=prefix)

    def assign(cases: Sequence[Case], call: Call) -> list[Case]:
        group_of = {case.id: case.group for case in cases}
        patients = [replace(case, group=patient_of(case.id)) for case in choose(cases, call)]
        divided = split_cases(patients, fractions={"train": 0.7, "test": 0.3}, seed=call.seed)
        return [replace(case, group=group_of[case.id]) for case in divided]

    return assign


PROTOCOLS = {
    "covid19-ct.chnet": Protocol(
        "covid19-ct-20 and covid19-ct-100",
        "894 slices for training, 383 for testing, out of both COVID-19 CT sets together; no validation "
        "part. " + _LEAK,
        _CHNET,
        listed(_LISTS),
    ),
    "covid19-ct.patients": Protocol(
        "covid19-ct-20 and covid19-ct-100",
        "The same 1277 slices, about 70 % for training and 30 % for testing by whole patients, drawn with "
        "the seed; the hundred single slices, whose patients nobody names, stay together.",
        "this project",
        _by_patient((*_VOLUMES, *_PICTURES)),
        drawn=True,
    ),
    "covid19-ct-20.chnet": Protocol(
        "covid19-ct-20",
        "The 824 training and 354 test slices of covid19-ct.chnet that the 20 volumes hold. " + _LEAK,
        _CHNET,
        listed(_LISTS, prefix=_VOLUMES),
    ),
    "covid19-ct-20.patients": Protocol(
        "covid19-ct-20",
        "The same 1178 slices, about 70 % for training and 30 % for testing by whole patients (18), drawn "
        "with the seed.",
        "this project",
        _by_patient(_VOLUMES),
        drawn=True,
    ),
    "covid19-ct-100.chnet": Protocol(
        "covid19-ct-100",
        "The 70 training and 29 test slices of covid19-ct.chnet that the set of 100 slices holds; its second "
        "part is left out, because its volumes are among the 20 of the other set.",
        _CHNET,
        listed(_LISTS, prefix=_PICTURES),
    ),
}
