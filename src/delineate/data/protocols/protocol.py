"""What a protocol is, and the few ways in which papers divide their data.

Every function below returns an `Assign`: it takes the indexed cases and a `Call`, checks that they are the
data the paper speaks of, and gives each case that takes part its split. Cases that do not take part are left
out.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.splits import SPLITS, k_folds, split_cases


class Call(NamedTuple):
    """How a protocol was asked for."""

    name: str
    """Name of the protocol, for messages."""
    seed: int
    """Of what is drawn."""
    fold: int
    """Number of the fold that is the test split, from 0; 0 without folds."""
    folds: int
    """Number of folds; 1 without."""


Assign = Callable[[Sequence[Case], Call], list[Case]]


@dataclass(frozen=True)
class Protocol:
    """One way to divide a data set, under a name."""

    dataset: str
    """Name of the data set as in `delineate datasets`, or "any"."""
    summary: str
    """What is divided into what, and what is drawn because the paper does not tell it."""
    source: str
    """Where it is described."""
    apply: Assign
    """Gives the cases that take part their split."""
    folds: int | None = None
    """Number of folds, or None for a single split."""
    drawn: bool = False
    """Whether the seed decides anything."""


def own_split(
    counts: Mapping[str, int] | None = None, *, prefixes: Mapping[str, Mapping[str, int]] | None = None
) -> Assign:
    """Keep the split that the data set comes with.

    Args:
        counts: published number of cases of each part that takes part; beside train, the others may be absent
            as a whole. None accepts any, but every case must have a split.
        prefixes: part -> start of the ids -> published number of cases with it, for bundles of several sets.
    """

    def assign(cases: Sequence[Case], call: Call) -> list[Case]:
        if counts is None:
            without = [case.id for case in cases if case.split is None]
            if without:
                raise InputError(
                    f"Protocol {call.name} takes the data set's own split, but {len(without)} of "
                    f"{len(cases)} cases have none, {min(without)!r} for example; name them in split.csv or "
                    "choose another."
                )
            return list(cases)
        _check_counts(cases, counts, call)
        chosen = [case for case in cases if case.split in counts]
        for split, numbers in (prefixes or {}).items():
            ids = [case.id for case in chosen if case.split == split]
            for prefix, number in numbers.items():
                found = sum(case_id.startswith(prefix) for case_id in ids)
                if ids and found != number:
                    raise InputError(
                        f"Protocol {call.name} has {number} cases of {prefix} in the part {split}, but "
                        f"{found} were found; unpack the publisher's archives again."
                    )
        return chosen

    return assign


def drawn(
    counts: Mapping[str, int],
    *,
    within: str | None = None,
    keep: Mapping[str, int] | None = None,
    without: Collection[str] = (),
    without_label: str | None = None,
) -> Assign:
    """Draw parts of exactly the published sizes, each with the label proportions of the whole.

    Args:
        counts: split -> number of cases; together all cases that remain.
        within: the published part that is divided, or None for the whole data set. Cases none of which has a
            split count as that part.
        keep: further parts that stay as published, with their numbers; they may be absent.
        without: ids that the paper leaves out.
        without_label: the label whose cases the paper leaves out.
    """

    def assign(cases: Sequence[Case], call: Call) -> list[Case]:
        rest = [case for case in cases if case.id not in without]
        if without_label is not None:
            rest = [case for case in rest if case.label != without_label]
        if within is None or all(case.split is None for case in rest):
            pool, others = rest, []
        else:
            pool = [case for case in rest if case.split == within]
            others = [case for case in rest if case.split in (keep or {})]
            _check_counts(others, keep or {}, call, all_optional=True)
        total = sum(counts.values())
        if len(pool) != total:
            part = "" if within is None else f" of the part {within}"
            left_out = [*sorted(without), *([f"the label {without_label}"] if without_label else [])]
            after = f" without {', '.join(left_out)}" if left_out else ""
            raise InputError(
                f"Protocol {call.name} divides {total} cases{part}{after}, but {len(pool)} were found; "
                "use the complete data set."
            )
        split_of = _draw(pool, counts, call.seed) | {case.id: case.split for case in others}
        return [replace(case, split=split_of[case.id]) for case in cases if case.id in split_of]

    return assign


def listed(
    lists: Mapping[str, str], *, total: int | None = None, prefix: str | tuple[str, ...] = ""
) -> Assign:
    """Divide by lists of ids that were published.

    Args:
        lists: split -> name of the list beside this file.
        total: number of cases of the whole data set, all others of which become train; None leaves out what
            no list names.
        prefix: only ids that start so; for data sets that hold a part of what the lists name.
    """

    def assign(cases: Sequence[Case], call: Call) -> list[Case]:
        split_of = {
            case_id: split
            for split, name in lists.items()
            for case_id in read_ids(name)
            if case_id.startswith(prefix)
        }
        absent = sorted(split_of.keys() - {case.id for case in cases})
        if absent:
            raise InputError(
                f"Protocol {call.name} names {len(split_of)} cases, but {len(absent)} of them were not "
                f"found, {absent[0]!r} for example; use the complete data set with the publisher's ids."
            )
        if total is None:
            return [replace(case, split=split_of[case.id]) for case in cases if case.id in split_of]
        check_total(cases, total, call)
        return [replace(case, split=split_of.get(case.id, "train")) for case in cases]

    return assign


def all_test(*totals: int) -> Assign:
    """Make every case a test case, for data that is only tested on; `totals` are the published numbers."""

    def assign(cases: Sequence[Case], call: Call) -> list[Case]:
        if len(cases) not in totals:
            check_total(cases, totals[0] if totals else None, call)
        return [replace(case, split="test") for case in cases]

    return assign


def in_folds(*, total: int | None = None, val_fraction: float, groups: str | None = None) -> Assign:
    """Cross-validation, stratified by label, groups kept whole.

    Args:
        total: number of cases, or None for any.
        val_fraction: share of the cases outside the test fold that becomes validation.
        groups: what every case needs a group of, for the message; None takes groups where there are any.
    """

    def assign(cases: Sequence[Case], call: Call) -> list[Case]:
        check_total(cases, total, call)
        if groups is not None:
            _check_groups(cases, groups, call)
        return k_folds(cases, call.folds, call.seed, val_fraction=val_fraction)[call.fold]

    return assign


def in_shares(fractions: Mapping[str, float]) -> Assign:
    """Draw shares of the cases (split -> share), stratified by label, groups kept whole."""

    def assign(cases: Sequence[Case], call: Call) -> list[Case]:
        return split_cases(cases, fractions=fractions, seed=call.seed)

    return assign


def check_total(cases: Sequence[Case], total: int | None, call: Call) -> None:
    """Refuse another number of cases than the protocol divides; None allows any."""
    if total is not None and len(cases) != total:
        raise InputError(
            f"Protocol {call.name} divides {total} cases, but {len(cases)} were found; "
            "use the complete data set."
        )


@cache
def read_ids(name: str) -> tuple[str, ...]:
    """The ids of a list beside this file; lines that start with # are remarks."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def _check_counts(
    cases: Sequence[Case], counts: Mapping[str, int], call: Call, *, all_optional: bool = False
) -> None:
    """Refuse parts that are incomplete; an absent part too where it is train, or where there is no train."""
    found = Counter(case.split for case in cases)
    for split, number in counts.items():
        optional = all_optional or (split != "train" and "train" in counts)
        if found[split] != number and not (optional and found[split] == 0):
            seen = ", ".join(f"{found[name]} {name}" for name in SPLITS if found[name]) or "no split at all"
            raise InputError(
                f"Protocol {call.name} has {number} cases in the part {split}, but {found[split]} were found "
                f"({len(cases)} cases: {seen}); use the complete data set with the publisher's parts."
            )


def _check_groups(cases: Sequence[Case], what: str, call: Call) -> None:
    without = [case.id for case in cases if case.group is None]
    if without:
        raise InputError(
            f"Protocol {call.name} keeps each {what} whole, but {len(without)} of {len(cases)} cases have no "
            f"group, {min(without)!r} for example; name each case's {what} in groups.csv."
        )


def _draw(cases: Sequence[Case], counts: Mapping[str, int], seed: int) -> dict[str, str]:
    """Draw parts of exact sizes: case id -> split.

    The cases are ordered by label and, within a label, by chance. Each in turn goes to the part that is
    furthest behind its share and not yet full, so that every run of cases, and with it every label, is
    divided in the proportions of the whole, and the sizes come out exactly.
    """
    if len({case.id for case in cases}) != len(cases):
        raise InputError("Two cases have the same id; ids must be unique within a data set.")
    order = sorted(cases, key=lambda case: (case.label or "", _chance(f"{seed}/{case.id}")))
    placed: Counter[str] = Counter()
    split_of = {}
    for position, case in enumerate(order, start=1):
        behind = {
            split: number * position / len(order) - placed[split]
            for split, number in counts.items()
            if placed[split] < number
        }
        split = max(behind, key=lambda name: (round(behind[name], 9), counts[name]))
        placed[split] += 1
        split_of[case.id] = split
    return split_of


def _chance(text: str) -> bytes:
    """Bytes that depend on the text alone, on every machine and version."""
    return hashlib.sha256(text.encode()).digest()
