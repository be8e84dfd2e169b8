"""Deterministic, stratified, grouped splits.

scikit-learn's StratifiedGroupKFold cuts into equal folds only and, with groups of different sizes, gives
nearly the same split for every seed, because it places the largest groups first. Here whole groups are placed
one after the other where the squared error of the counts per label shrinks most, in several orders that come
from the seed; the order with the smallest error wins. Nothing depends on the order of the cases or on
Python's hash seed.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from delineate.checks import InputError
from delineate.data.case import Case

SPLITS = ("train", "val", "test")
FRACTIONS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
_ATTEMPTS = 32
_PLACEMENTS = 4000  # so that data sets of thousands of cases take one or two attempts, below a second


def split_cases(
    cases: Sequence[Case],
    *,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int,
    stratify: bool = True,
    grouped: bool = True,
) -> list[Case]:
    """Assign every case to a split, replacing any split it had.

    Args:
        cases: cases with unique ids.
        fractions: split name -> share of the cases, above 0, summing to 1.
        seed: another seed gives another split.
        stratify: keep the label proportions in every split; a missing label counts as a label of its own.
        grouped: keep all cases of a group in one split; a case without a group is a group of its own.

    Returns:
        The cases in the order given, with `split` set. No split is empty.

    Raises:
        InputError: fractions that do not sum to 1, unknown split names, two cases with one id, or fewer
            groups than splits.
    """
    if not fractions or not set(fractions) <= set(SPLITS):
        raise InputError(
            f"Split fractions must name some of {', '.join(SPLITS)}, got {', '.join(fractions)}."
        )
    if min(fractions.values()) <= 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        raise InputError(f"Split fractions must be above 0 and sum to 1, got {dict(fractions)}.")
    names = [name for name in SPLITS if name in fractions]
    shares = [fractions[name] for name in names]
    part_of = _partition(cases, shares, seed, stratify, grouped)
    return [replace(case, split=names[part_of[case.id]]) for case in cases]


def k_folds(
    cases: Sequence[Case],
    folds: int,
    seed: int,
    *,
    val_fraction: float = 0.15,
    stratify: bool = True,
    grouped: bool = True,
) -> list[list[Case]]:
    """Cut the cases into folds; each serves once as test.

    Args:
        cases: cases with unique ids; their splits are replaced.
        folds: number of folds, at least 2.
        seed: another seed gives other folds.
        val_fraction: share of the cases outside the test fold that becomes validation; 0 for none.
        stratify: as in `split_cases`.
        grouped: as in `split_cases`.

    Returns:
        One list per fold, each with all cases in the order given and `split` set.

    Raises:
        InputError: fewer than 2 folds, or fewer groups than folds.
    """
    if folds < 2:
        raise InputError(f"Cross-validation needs at least 2 folds, got {folds}.")
    part_of = _partition(cases, [1 / folds] * folds, seed, stratify, grouped)
    result = []
    for fold in range(folds):
        split = [replace(case, split="test" if part_of[case.id] == fold else "train") for case in cases]
        result.append(_carve_val(split, val_fraction, seed, stratify, grouped) if val_fraction else split)
    return result


def complete_splits(
    cases: Sequence[Case],
    *,
    seed: int,
    val_fraction: float = 0.15,
    fractions: Mapping[str, float] = FRACTIONS,
    need_test: bool = False,
    stratify: bool = True,
    grouped: bool = True,
) -> list[Case]:
    """Add what a data set's own split lacks: everything, or a validation part taken from train.

    Args:
        cases: cases with unique ids; all with a split, or none.
        seed: decides what is drawn.
        val_fraction: share of train that becomes validation when there is none; 0 takes nothing away. Test is
            never touched.
        fractions: used when no case has a split.
        need_test: whether the caller will evaluate on a test split.
        stratify: as in `split_cases`.
        grouped: as in `split_cases`.

    Returns:
        The cases in the order given, all with a split; train is not empty, nor is val unless `val_fraction`
        is 0.

    Raises:
        InputError: some cases have a split and others do not, there is no train, or no test
            although one is needed.
    """
    missing = [case.id for case in cases if case.split is None]
    if len(missing) == len(cases):
        return split_cases(cases, fractions=fractions, seed=seed, stratify=stratify, grouped=grouped)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(cases)} cases have no split, {min(missing)!r} for example; "
            "name all images in split.csv, or remove it to split by chance."
        )
    present = {case.split for case in cases}
    if "train" not in present:
        raise InputError("No case belongs to the split train; name some in split.csv, or remove it.")
    if need_test and "test" not in present:
        raise InputError(
            "The data set has no test split, so there is nothing to evaluate on; "
            "ask for the split val, or name test images in split.csv."
        )
    if "val" in present or val_fraction == 0:
        return list(cases)
    return _carve_val(cases, val_fraction, seed, stratify, grouped)


def _carve_val(
    cases: Sequence[Case], val_fraction: float, seed: int, stratify: bool, grouped: bool
) -> list[Case]:
    train = [case for case in cases if case.split == "train"]
    fractions = {"train": 1 - val_fraction, "val": val_fraction}
    parts = split_cases(train, fractions=fractions, seed=seed, stratify=stratify, grouped=grouped)
    split_of = {case.id: case.split for case in parts}
    return [replace(case, split=split_of.get(case.id, case.split)) for case in cases]


def _partition(
    cases: Sequence[Case], shares: Sequence[float], seed: int, stratify: bool, grouped: bool
) -> dict[str, int]:
    """Place whole groups into parts of the given shares: case id -> number of its part."""
    members: dict[str, list[str]] = {}
    counts: dict[str, Counter[str]] = {}
    for case in sorted(cases, key=lambda case: case.id):
        # The first letter keeps a group's name apart from a case's id.
        unit = f"g{case.group}" if grouped and case.group is not None else f"i{case.id}"
        stratum = "" if not stratify else "no label" if case.label is None else f"label {case.label}"
        members.setdefault(unit, []).append(case.id)
        counts.setdefault(unit, Counter())[stratum] += 1
    if len({case.id for case in cases}) != len(cases):
        raise InputError("Two cases have the same id; ids must be unique within a data set.")
    if len(members) < len(shares):
        raise InputError(
            f"{len(members)} independent cases or groups cannot fill {len(shares)} splits; "
            "add cases or ask for fewer."
        )

    strata = sorted({stratum for counter in counts.values() for stratum in counter})
    units = sorted(members)
    table = np.array([[counts[unit][stratum] for stratum in strata] for unit in units], dtype=np.float64)
    # The last column, all cases, keeps the roundings of the strata from adding up.
    table = np.column_stack([table, table.sum(axis=1)])
    total = table.sum(axis=0)
    targets = np.outer(np.array(shares), total)

    attempts = max(1, min(_ATTEMPTS, _PLACEMENTS // len(units))) if table[:, -1].max() > 1 else 1
    best, smallest = [0] * len(units), np.inf
    for attempt in range(attempts):
        # Large groups come early, when they still fit, but the noise lets the seed change which one goes
        # where.
        noise = np.array([_uniform(f"{seed}/{attempt}/{unit}") for unit in units])
        order = np.argsort(-table[:, -1] * (0.5 + noise), kind="stable")
        placed, error = _place(table, targets, total, order)
        if error < smallest - 1e-9:
            best, smallest = placed, error
    return {case_id: part for unit, part in zip(units, best, strict=True) for case_id in members[unit]}


def _place(
    table: np.ndarray, targets: np.ndarray, total: np.ndarray, order: np.ndarray
) -> tuple[list[int], float]:
    """Place the rows of `table` in `order`; returns the part of each row and the remaining error."""
    parts = len(targets)
    filled = np.zeros_like(targets)
    placed = [0] * len(table)
    sizes = [0] * parts
    for position, row in enumerate(order):
        # (f + r - t)^2 - (f - t)^2 = r (2 (f - t) + r), summed over labels, each weighted by its frequency
        growth = (table[row] * (2 * (filled - targets) + table[row]) / total).sum(axis=1)
        empty = [part for part in range(parts) if sizes[part] == 0]
        if len(order) - position <= len(empty):  # the last groups go where there is nothing yet
            growth = np.where([part in empty for part in range(parts)], growth, np.inf)
        part = int(np.argmin(np.round(growth, 9)))
        placed[row] = part
        sizes[part] += 1
        filled[part] += table[row]
    return placed, float((((filled - targets) ** 2) / total).sum())


def _uniform(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, on every machine and version."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
