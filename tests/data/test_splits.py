"""Splits and their manifests."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import picture, save

from delineate.checks import InputError
from delineate.data import (
    Case,
    apply_manifest,
    complete_splits,
    fingerprint,
    index,
    k_folds,
    make_manifest,
    read_manifest,
    split_cases,
    write_manifest,
)

FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}


def case(number: int, **known: str | None) -> Case:
    return Case(id=f"c{number:04}", image=Path(f"c{number:04}.png"), **known)


def splits(cases: list[Case]) -> dict[str, str | None]:
    return {item.id: item.split for item in cases}


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(
        st.tuples(st.sampled_from(["x", "y", None]), st.none() | st.integers(0, 12)), min_size=3, max_size=80
    ),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_groups_stay_together_sizes_fit_and_order_does_not_matter(kinds, seed, data):
    cases = [
        case(i, label=label, group=None if group is None else str(group))
        for i, (label, group) in enumerate(kinds)
    ]
    sizes = Counter(item.group or item.id for item in cases)
    if len(sizes) < 3:
        with pytest.raises(InputError, match="independent cases or groups cannot fill 3 splits"):
            split_cases(cases, seed=seed)
        return
    result = split_cases(cases, seed=seed)
    assert [item.id for item in result] == [item.id for item in cases]
    for group in {item.group for item in result} - {None}:
        assert len({item.split for item in result if item.group == group}) == 1
    counts = Counter(item.split for item in result)
    for name, share in FRACTIONS.items():
        assert counts[name] >= 1
        assert abs(counts[name] - share * len(cases)) <= max(sizes.values()) + 2
    shuffled = data.draw(st.permutations(cases))
    assert splits(split_cases(shuffled, seed=seed)) == splits(result)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(7, 90), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_labels_are_stratified(counts, seed):
    labels = [f"label{i}" for i, count in enumerate(counts) for _ in range(count)]
    result = split_cases([case(i, label=label) for i, label in enumerate(labels)], seed=seed)
    for label, count in Counter(labels).items():
        for name, share in FRACTIONS.items():
            found = sum(item.label == label and item.split == name for item in result)
            assert abs(found - share * count) <= 1.5


def test_seed_changes_the_split_also_with_groups_of_many_sizes():
    cases = [case(100 * g + i, group=str(g)) for g in range(12) for i in range(3 + g)]
    tests = {frozenset(c.group for c in split_cases(cases, seed=s) if c.split == "test") for s in range(8)}
    assert len(tests) >= 4
    assert splits(split_cases(cases, seed=3)) == splits(split_cases(cases, seed=3))


def test_grouping_and_stratification_can_be_switched_off():
    cases = [case(i, group="one", label="x" if i < 50 else "y") for i in range(100)]
    counts = Counter(item.split for item in split_cases(cases, seed=0, grouped=False, stratify=False))
    assert counts == {"train": 70, "val": 15, "test": 15}


def test_same_on_every_machine_and_hash_seed():
    cases = [case(i, label="ab"[i % 2], group=str(i // 3)) for i in range(60)]
    initials = "".join(item.split[1] for item in split_cases(cases, seed=5))
    assert (
        initials == "rrrrrraaaaaarrrrrrrrreeeeeerrrrrrrrrrrrrrrrrreeeaaarrrrrrrrr"
    )  # written down once: published splits must not move


def test_folds_test_every_case_once_and_keep_groups():
    cases = [case(i, label="xy"[i % 2], group=str(i // 4)) for i in range(80)]
    folds = k_folds(cases, 4, seed=1)
    assert len(folds) == 4
    tested = [item.id for fold in folds for item in fold if item.split == "test"]
    assert sorted(tested) == sorted(item.id for item in cases)
    for fold in folds:
        assert {Counter(i.split for i in fold)["test"]} == {20}
        assert {item.split for item in fold} == {"train", "val", "test"}
        for group in {item.group for item in fold}:
            assert len({item.split for item in fold if item.group == group}) == 1
    assert {item.split for item in k_folds(cases, 4, seed=1, val_fraction=0)[0]} == {"train", "test"}
    with pytest.raises(InputError, match="needs at least 2 folds, got 1"):
        k_folds(cases, 1, seed=0)


def test_complete_splits_takes_val_from_train_only():
    cases = [case(i, split="train" if i < 80 else "test") for i in range(100)]
    result = complete_splits(cases, seed=0)
    assert Counter(item.split for item in result) == {"train": 68, "val": 12, "test": 20}
    assert all(item.split == "test" for item in result[80:])
    assert {i.split for i in complete_splits([case(i) for i in range(9)], seed=0)} == {"train", "val", "test"}


def test_complete_splits_refuses_what_it_cannot_complete():
    both = [case(i, split="train" if i % 2 else "val") for i in range(6)]
    assert complete_splits(both, seed=0) == both
    with pytest.raises(
        InputError, match="The data set has no test split, so there is nothing to evaluate on"
    ):
        complete_splits(both, seed=0, need_test=True)
    with pytest.raises(InputError, match=r"1 of 7 cases have no split, 'c0009' for example; name all images"):
        complete_splits([*both, case(9)], seed=0)
    with pytest.raises(InputError, match="No case belongs to the split train"):
        complete_splits([case(1, split="test")], seed=0)


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.5, "val": 0.4}, r"must be above 0 and sum to 1"),
        ({"train": 1.2, "val": -0.2}, r"must be above 0 and sum to 1"),
        ({"train": 0.5, "dev": 0.5}, r"must name some of train, val, test, got train, dev"),
    ],
)
def test_bad_fractions(fractions, message):
    with pytest.raises(InputError, match=message):
        split_cases([case(i) for i in range(9)], seed=0, fractions=fractions)


def test_two_cases_with_one_id():
    with pytest.raises(InputError, match="Two cases have the same id"):
        split_cases([case(1), case(1), case(2)], seed=0)


@pytest.fixture
def data(make_folder):
    root = make_folder(6, labels="image_id,label\n" + "".join(f"a0{i},{'xy'[i % 2]}\n" for i in range(6)))
    (root / "masks" / "a05.png").unlink()
    return split_cases(index(root), seed=1)


def test_manifest_round_trip(data, tmp_path):
    manifest = make_manifest(data, protocol="test protocol", seed=1)
    write_manifest(manifest, tmp_path / "split.json")
    again = read_manifest(tmp_path / "split.json")
    assert again == manifest
    assert (again.protocol, again.seed, again.entries[5].mask_sha256) == ("test protocol", 1, None)
    bare = [replace(item, split=None) for item in data]
    assert apply_manifest(bare, again) == data
    assert json.loads((tmp_path / "split.json").read_text())["fingerprint"] == fingerprint(manifest)


def test_fingerprint_depends_on_data_alone(data):
    first = fingerprint(make_manifest(data, protocol="a", seed=1))
    assert len(first) == 64
    resplit = split_cases(data[::-1], seed=2)
    assert fingerprint(make_manifest(resplit, protocol="b", seed=2)) == first
    relabelled = [replace(data[0], label="z"), *data[1:]]
    assert fingerprint(make_manifest(relabelled, protocol="a", seed=1)) != first
    save(picture(99), data[0].image)
    assert fingerprint(make_manifest(data, protocol="a", seed=1)) != first


def test_manifest_that_does_not_fit(data):
    manifest = make_manifest(data, protocol="p", seed=1)
    with pytest.raises(
        InputError, match=r"1 cases of the split manifest are not in the data, 'a00' for example"
    ):
        apply_manifest(data[1:], manifest)
    more = [*data, replace(data[0], id="new")]
    with pytest.raises(
        InputError, match=r"1 cases of the data are not in the split manifest, 'new' for example"
    ):
        apply_manifest(more, manifest)
    with pytest.raises(InputError, match=r"Case 'a00' has the label 'q', but the split manifest says 'x'"):
        apply_manifest([replace(data[0], label="q"), *data[1:]], manifest)
    save(picture(99), data[2].image)
    with pytest.raises(InputError, match=r"a02.png is not the file that the split manifest was written for"):
        apply_manifest(data, manifest)
    assert apply_manifest(data, manifest, verify=False) == data


def test_manifest_files_that_are_none(data, tmp_path):
    path = tmp_path / "split.json"
    with pytest.raises(InputError, match="The split manifest .* does not exist"):
        read_manifest(path)
    for text in (
        "",
        "[]",
        "{}",
        '{"schema": 1, "protocol": "p", "seed": 0, "cases": [1], "fingerprint": ""}',
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="split.json is not a split manifest"):
            read_manifest(path)
    path.write_text('{"schema": 7}', encoding="utf-8")
    with pytest.raises(InputError, match="has manifest schema 7, but this version reads 1"):
        read_manifest(path)
    write_manifest(make_manifest(data, protocol="p", seed=1), path)
    path.write_text(path.read_text().replace('"label": "x"', '"label": "y"'), encoding="utf-8")
    with pytest.raises(InputError, match="was changed after it was written"):
        read_manifest(path)


def test_manifest_needs_splits(data):
    with pytest.raises(
        InputError, match="Case 'a00' has no split; split the cases before writing a manifest"
    ):
        make_manifest([replace(data[0], split=None)], protocol="p", seed=0)
