"""Protocols: published counts on made-up cases with the publishers' ids and on real data."""

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from delineate.checks import InputError
from delineate.data import Case
from delineate.data.protocols import PROTOCOLS, apply_protocol, number_of_folds, protocols_of
from delineate.data.protocols.covid19 import patient_of
from delineate.data.protocols.protocol import read_ids
from delineate.data.readers import folder

CORONACASES = (301, 200, 200, 270, 290, 213, 249, 301, 256, 301)
VOLUMES = {  # slices of the 20 volumes of Zenodo 3757476: 3520 together
    **{f"coronacases_{i:03}": count for i, count in enumerate(CORONACASES, start=1)},
    **{"radiopaedia_4_85506_1": 39, "radiopaedia_7_85703_0": 45, "radiopaedia_10_85902_1": 39},
    **{"radiopaedia_10_85902_3": 418, "radiopaedia_14_85914_0": 110, "radiopaedia_27_86410_0": 66},
    **{"radiopaedia_29_86490_1": 42, "radiopaedia_29_86491_1": 42, "radiopaedia_36_86526_0": 45},
    "radiopaedia_40_86625_0": 93,
}


def cases(ids, *, split=None, label=None, group=None) -> list[Case]:
    """Cases without files; `label` and `group` may be functions of the id."""
    return [
        Case(
            id=one,
            image=Path("images") / f"{one}.png",
            split=split,
            label=label(one) if callable(label) else label,
            group=group(one) if callable(group) else group,
        )
        for one in ids
    ]


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"ISIC_{number:07}" for number in range(start, start + count)]


def third(one: str) -> str:
    return "melanoma" if int(one[-1]) < 3 else "nevus"


def kvasir_ids() -> list[str]:
    return [*read_ids("kvasir-seg.pranet.test.txt"), *(f"ck{number:023}" for number in range(900))]


def clinicdb() -> list[Case]:
    return cases([str(number) for number in range(1, 613)])


def pranet() -> list[Case]:
    tests = {"Kvasir": 100, "CVC-ClinicDB": 62, "CVC-ColonDB": 380, "ETIS-LaribPolypDB": 196, "CVC-300": 60}
    train = {"Kvasir": 900, "CVC-ClinicDB": 550}
    return [
        case
        for split, sets in (("train", train), ("test", tests))
        for name, count in sets.items()
        for case in cases([f"{name}_{split}{number}" for number in range(count)], split=split)
    ]


def parts(start=0, label=None, **counts: int) -> list[Case]:
    found = []
    for split, count in counts.items():
        found += cases(numbered(count, start), split=split, label=label)
        start += count
    return found


def isic2018() -> list[Case]:
    ids = ["ISIC_0000077", "ISIC_0000511", "ISIC_0010094", *numbered(2591, 20000)]
    return cases(ids, split="train", label=third) + parts(start=50000, val=100, test=1000)


def busi() -> list[Case]:
    counts = {"benign": 437, "malignant": 210, "normal": 133}
    return [
        case
        for label, count in counts.items()
        for case in cases([f"{label} ({number})" for number in range(1, count + 1)], label=label)
    ]


def volumes() -> list[Case]:
    return [
        case
        for name, count in VOLUMES.items()
        for case in cases([f"{name}_s{number:03}" for number in range(count)], group=patient_of)
    ]


def hundred() -> list[Case]:
    return cases([f"tr_im_s{number:03}" for number in range(100)])


def clips(train: int, test: int) -> list[Case]:
    return parts(train=train, test=test)


SETS = {  # data set -> its cases as published, without files
    "isic2016": lambda: parts(train=900, test=379, label=third),
    "isic2017": lambda: parts(train=2000, val=150, test=600, label=third),
    "isic2018": isic2018,
    "ph2": lambda: cases([f"IMD{number:03}" for number in range(200)], label=third),
    "ham10000": lambda: cases(numbered(10015), label=third, group=lambda one: f"lesion{int(one[5:]) // 3}"),
    "pranet": pranet,
    "kvasir-seg": lambda: cases(kvasir_ids()),
    "cvc-clinicdb": clinicdb,
    "cvc-colondb": lambda: cases(numbered(380)),
    "etis-larib": lambda: cases(numbered(196)),
    "cvc-300": lambda: cases(numbered(60)),
    "cvc-300-tv": lambda: clips(180, 120),
    "cvc-612-v": lambda: clips(367, 123),
    "cvc-612-t": lambda: clips(367, 122),
    "busi": busi,
    "refuge": lambda: parts(train=400, val=400, test=400),
    "drishti-gs": lambda: parts(train=50, test=51),
    "goals2022": lambda: parts(train=100, val=100, test=100),
    "covid19-ct-20": volumes,
    "covid19-ct-100": hundred,
    "covid19-ct-20 and covid19-ct-100": lambda: volumes() + hundred(),
    "any": busi,
}

COUNTS = {  # protocol -> train, val, test as published; absent where groups of different sizes decide
    "isic2016.official": (900, 0, 379),
    "isic2016.ulffn": (700, 200, 379),
    "isic2017.official": (2000, 150, 600),
    "isic2017.fcp-net-ablation": (1250, 150, 600),
    "isic2017.ulffn-test": (0, 0, 600),
    "isic2018.official": (2594, 100, 1000),
    "isic2018.fcp-net": (1886, 141, 564),
    "ph2.fcp-net": (144, 16, 40),
    "pranet.official": (1450, 0, 798),
    "kvasir-seg.pranet": (900, 0, 100),
    "kvasir-seg.fcp-net": (800, 100, 100),
    "cvc-clinicdb.pranet": (550, 0, 62),
    "cvc-clinicdb.pns-net": (367, 123, 122),
    "cvc-colondb.all-test": (0, 0, 380),
    "etis-larib.all-test": (0, 0, 196),
    "cvc-300.all-test": (0, 0, 60),
    "cvc-300-tv.pns-net": (180, 0, 120),
    "cvc-300-tv.all-test": (0, 0, 120),
    "cvc-612-v.pns-net": (367, 0, 123),
    "cvc-612-v.all-test": (0, 0, 123),
    "cvc-612-t.pns-net": (367, 0, 122),
    "cvc-612-t.all-test": (0, 0, 122),
    "busi.fcp-net": (453, 65, 129),
    "busi.4-fold": (585, 0, 195),
    "refuge.official": (400, 400, 400),
    "drishti-gs.official": (50, 0, 51),
    "goals2022.official": (100, 100, 100),
    "covid19-ct.chnet": (894, 0, 383),
    "covid19-ct-20.chnet": (824, 0, 354),
    "covid19-ct-100.chnet": (70, 0, 29),
    "all-test": (0, 0, 780),
}
NEEDS_SPLITS = "own"


def fold_of(name: str) -> int | None:
    return None if PROTOCOLS[name].folds is None else 0


def source(name: str) -> list[Case]:
    return SETS["refuge" if name == NEEDS_SPLITS else PROTOCOLS[name].dataset]()


def sizes(found: list[Case]) -> tuple[int, int, int]:
    count = Counter(case.split for case in found)
    return count["train"], count["val"], count["test"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_published_counts_and_repeatable(name):
    before = source(name)
    first = apply_protocol(before, name, seed=0, fold=fold_of(name))
    if name in COUNTS:
        assert sizes(first) == COUNTS[name]
    assert {case.split for case in first} <= {"train", "val", "test"}
    known = {case.id: case for case in before}
    split_of = {case.id: case.split for case in first}
    # Nothing but the split changes, and the order stays.
    unchanged = [replace(case, split=known[case.id].split) for case in first]
    assert unchanged == [case for case in before if case.id in split_of]

    if len(before) < 5000:  # for time's sake
        shuffled = apply_protocol(before[::-1], name, seed=0, fold=fold_of(name))
        assert {case.id: case.split for case in shuffled} == split_of
    other = apply_protocol(before, name, seed=1, fold=fold_of(name))
    assert ({case.id: case.split for case in other} != split_of) == PROTOCOLS[name].drawn


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if PROTOCOLS[name].dataset != "any"])
def test_other_data_is_refused_with_expected_and_found(name):
    wrong = cases(["one", "two", "three"], label="x", group="g")
    numbers = r"Protocol [\w.-]+ (names|divides|has) \d+ cases.*\d+ (of them )?were (not )?found.*; \w+"
    if name == "cvc-300-tv.pns-net":  # the number of its training frames is not published
        numbers = "3 of 3 cases have none"
    with pytest.raises(InputError, match=numbers):
        apply_protocol(wrong, name, seed=0, fold=fold_of(name))


@pytest.mark.parametrize(
    ("name", "lost", "message"),
    [
        ("isic2017.official", "ISIC_0000005", "2000 cases in the part train, but 1999 were found"),
        ("isic2017.official", "ISIC_0002005", "150 cases in the part val, but 149 were found"),
        ("isic2016.ulffn", "ISIC_0000950", "379 cases in the part test, but 378 were found"),
        (
            "isic2018.fcp-net",
            "ISIC_0020007",
            "2591 cases of the part train without ISIC_0000077.*but 2590 were",
        ),
        ("busi.fcp-net", "benign (7)", "647 cases without the label normal, but 646 were found"),
        ("busi.4-fold", "normal (7)", "divides 780 cases, but 779 were found"),
        ("pranet.official", "CVC-300_test3", "798 cases in the part test, but 797 were found"),
        ("kvasir-seg.pranet", "cju0u82z3cuma0835wlxrnrjv", "names 100 cases, but 1 of them were not found"),
        (
            "covid19-ct-20.chnet",
            "coronacases_001_s003",
            "names 1178 cases.*'coronacases_001_s003' for example",
        ),
    ],
)
def test_one_lost_case_is_noticed(name, lost, message):
    rest = [case for case in source(name) if case.id != lost]
    with pytest.raises(InputError, match=message):
        apply_protocol(rest, name, seed=0, fold=fold_of(name))


def test_a_bundle_is_counted_set_by_set():
    swapped = [replace(c, id=c.id.replace("CVC-300_", "Kvasir_new")) for c in pranet()]
    with pytest.raises(InputError, match=r"100 cases of Kvasir in the part test, but 160 were found"):
        apply_protocol(swapped, "pranet.official", seed=0)


def test_parts_may_be_absent_but_not_train():
    train_and_val = [case for case in SETS["isic2017"]() if case.split != "test"]
    assert sizes(apply_protocol(train_and_val, "isic2017.official", seed=0)) == (2000, 150, 0)
    assert sizes(apply_protocol(train_and_val, "isic2017.fcp-net-ablation", seed=0)) == (1250, 150, 600)
    test = [case for case in SETS["isic2017"]() if case.split == "test"]
    with pytest.raises(InputError, match="2000 cases in the part train, but 0 were found"):
        apply_protocol(test, "isic2017.official", seed=0)
    with pytest.raises(InputError, match="600 cases in the part test, but 0 were found"):
        apply_protocol(train_and_val, "isic2017.ulffn-test", seed=0)


def test_draws_keep_label_proportions():
    found = apply_protocol(busi(), "busi.fcp-net", seed=3)
    count = Counter((case.split, case.label) for case in found)
    assert not any(case.label == "normal" for case in found)
    for split, size in (("train", 453), ("val", 65), ("test", 129)):
        assert abs(count[split, "malignant"] - size * 210 / 647) <= 1


def test_shares_of_any_data_set():
    found = sizes(apply_protocol(busi(), "70-15-15", seed=0))
    assert found == pytest.approx((546, 117, 117), abs=2)


def test_colondb_of_the_publisher_has_300_images():
    assert sizes(apply_protocol(cases(numbered(300)), "cvc-colondb.all-test", seed=0)) == (0, 0, 300)


def test_the_three_images_labelled_twice_are_left_out():
    ids = {case.id for case in apply_protocol(isic2018(), "isic2018.fcp-net", seed=0)}
    assert len(ids) == 2591
    assert not ids & {"ISIC_0000077", "ISIC_0000511", "ISIC_0010094"}


@pytest.mark.parametrize(("name", "folds"), [("busi.4-fold", None), ("k-fold", 3)])
def test_folds_test_every_case_once(name, folds):
    number = number_of_folds(name, folds)
    tested = Counter(
        case.id
        for fold in range(number)
        for case in apply_protocol(busi(), name, seed=0, fold=fold, folds=folds)
        if case.split == "test"
    )
    assert tested == Counter(case.id for case in busi())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "busi.4-fold"}, "has the folds 0 to 3, but none was named"),
        ({"name": "busi.4-fold", "fold": 4}, "has the folds 0 to 3, but 4 was asked for"),
        ({"name": "busi.4-fold", "fold": 0, "folds": 5}, "has 4 folds, got 5"),
        ({"name": "busi.fcp-net", "fold": 0}, "busi.fcp-net has no folds; leave the fold out"),
        ({"name": "busi.fcp-net", "folds": 3}, "busi.fcp-net has no folds; leave their number out"),
        ({"name": "k-fold", "fold": 0, "folds": 1}, "at least 2 folds, got 1"),
        ({"name": "busi.5-fold"}, "Unknown protocol 'busi.5-fold'. Did you mean 'busi.4-fold'"),
    ],
)
def test_wrong_calls(arguments, message):
    with pytest.raises(InputError, match=re.escape(message)):
        apply_protocol(busi(), arguments.pop("name"), seed=0, **arguments)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("ham10000.lesion-folds", lambda case: case.group),
        ("cvc-clinicdb.sequence", lambda case: case.group),
        ("covid19-ct.patients", lambda case: patient_of(case.id)),
        ("covid19-ct-20.patients", lambda case: patient_of(case.id)),
    ],
)
def test_groups_stay_whole(name, group):
    found = source(name)
    if name == "cvc-clinicdb.sequence":
        from delineate.data.readers import cvc_clinicdb

        found = [replace(c, group=cvc_clinicdb.group_of(c.id, Path())) for c in found]
    splits: dict[str, set] = {}
    divided = apply_protocol(found, name, seed=0, fold=fold_of(name))
    for case in divided:
        splits.setdefault(group(case), set()).add(case.split)
    assert len(splits) > 10
    assert all(len(members) == 1 for members in splits.values())
    shares = [size / len(divided) for size in sizes(divided)]
    expected = {"ham10000.lesion-folds": (0.68, 0.12, 0.2), "cvc-clinicdb.sequence": (0.6, 0.2, 0.2)}
    assert shares == pytest.approx(expected.get(name, (0.7, 0, 0.3)), abs=0.04)


def test_sequences_are_known_without_groups():
    with_groups = apply_protocol(
        [replace(c, group=f"sequence-{1 + (int(c.id) > 25):02}") for c in clinicdb()[:50]] + clinicdb()[50:],
        "cvc-clinicdb.sequence",
        seed=0,
    )
    bare = apply_protocol(clinicdb(), "cvc-clinicdb.sequence", seed=0)
    assert [case.split for case in bare] == [case.split for case in with_groups]
    assert {case.group for case in bare} == {None}


def test_lesions_need_groups():
    with pytest.raises(InputError, match="keeps each lesion whole, but 10015 of 10015 cases have no group"):
        apply_protocol(cases(numbered(10015)), "ham10000.lesion-folds", seed=0, fold=0)


def test_covid_slices_are_every_third_of_each_volume_and_99_pictures():
    listed = [*read_ids("covid19-ct.chnet.train.txt"), *read_ids("covid19-ct.chnet.test.txt")]
    expected = [f"{name}_s{number:03}" for name, count in VOLUMES.items() for number in range(0, count, 3)]
    expected += [f"tr_im_s{number:03}" for number in range(100) if number != 48]
    assert sorted(listed) == sorted(expected)
    assert sum(VOLUMES.values()) == 3520


def test_patients_of_volumes():
    names = {patient_of(f"{name}_s000") for name in VOLUMES}
    assert len(names) == 18  # two of the twenty show a patient a second time
    assert patient_of("radiopaedia_29_86490_1_s002") == patient_of("radiopaedia_29_86491_1_s040")
    assert patient_of("tr_im_s003") == patient_of("tr_im_s004")


def test_what_is_said_about_protocols():
    from delineate.data.readers import READERS

    known = {name.partition(":")[0] for name in READERS}
    for name, protocol in PROTOCOLS.items():
        assert protocol.summary.endswith(".")
        assert protocol.source
        if protocol.dataset != "any":
            assert name.partition(".")[0] in (protocol.dataset, "covid19-ct")
            if len(known) > 1:  # the table of readers is filled
                assert set(protocol.dataset.split(" and ")) <= known
    assert set(protocols_of("busi:first")) == {"busi.fcp-net", "busi.4-fold"}
    assert "covid19-ct.chnet" in protocols_of("covid19-ct-100")


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        ("kvasir_seg", "kvasir-seg.pranet", (900, 0, 100)),
        ("kvasir_seg", "kvasir-seg.fcp-net", (800, 100, 100)),
        ("busi", "busi.fcp-net", (453, 65, 129)),
        ("busi", "busi.4-fold", (585, 0, 195)),
        ("ph2", "ph2.fcp-net", (144, 16, 40)),
        ("isic2017", "isic2017.official", (2000, 150, 0)),
        ("isic2017", "isic2017.fcp-net-ablation", (1250, 150, 600)),
    ],
)
def test_on_real_data(data, name, expected):
    root = Path(os.environ.get("DELINEATE_REAL_DATA", "")) / data
    if "DELINEATE_REAL_DATA" not in os.environ or not root.is_dir():
        pytest.skip(f"DELINEATE_REAL_DATA names no folder with {data}")
    found = folder.index(root)
    divided = apply_protocol(found, name, seed=0, fold=fold_of(name))
    assert sizes(divided) == expected
    if name == "kvasir-seg.pranet":  # the folder brings the same split, from another copy of the list
        assert divided == found
