"""The same picture twice: across splits, with two labels, with two masks, in another data set."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import nlargest
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delineate.data.case import Case
from delineate.data.gate.facts import THUMBNAIL, CaseFacts, Facts
from delineate.data.gate.near import SAME, Pair, near_pairs
from delineate.data.gate.report import Finding, Level, count, some
from delineate.data.images import read_case_mask

MOST_PAIRS = 1000
"""Most pairs that are listed of one kind; all are counted."""
_UNLIKE = 0.7  # Dice below which two outlines of one lesion are not the habit of two people
_COMPARED = 256  # pixels of the side at which the masks of pictures of two sizes are compared
_MOST_KEPT = 200_000  # pairs in memory: a data set of video frames without groups has millions


def check_duplicates(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """The same pixels under two ids: across splits, with two labels, with two masks, or only twice."""
    for members in by(cases, lambda case: facts[case.id].image_pixels).values():
        if len(members) < 2:
            continue
        ids = tuple(case.id for case in members)
        same = f"{_both(ids)} are the same image"
        splits = _splits(members)
        labels = sorted({case.label for case in members if case.label is not None})
        if len(splits) > 1:
            message = f"{same} in the splits {' and '.join(splits)}; keep one."
            yield Finding("error", "duplicate-in-two-splits", message, ids)
        if len(labels) > 1:
            message = (
                f"{same} with the labels {' and '.join(labels)}, so one is wrong; correct it or remove both."
            )
            yield Finding("error", "duplicate-with-two-labels", message, ids)
        for first, second in combinations(members[:20], 2):
            if _masks_differ(facts[first.id], facts[second.id]):
                message = (
                    f"{first.id!r} and {second.id!r} are the same image with two masks "
                    f"({_agreement(first, second)}); decide which one holds."
                )
                yield Finding("warning", "duplicate-with-two-masks", message, (first.id, second.id))
        if len(splits) < 2 and len(labels) < 2:
            yield Finding("warning", "duplicate", f"{same}; keep one.", ids)


def check_near_duplicates(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Pictures that look the same though their pixels differ; slices of a volume and a group are passed over.

    A pair is an error when it is practically one picture in two splits or with two labels, a warning when it
    is only similar, and information inside one split; all of those together are a warning.
    """
    seen = [case for case in cases if facts[case.id].thumbnail is not None]
    pairs, total = _kept(near_pairs(thumbnails_of(seen, facts), skip=unit_numbers(seen)))
    found: dict[tuple[Level, str], list[Finding]] = defaultdict(list)
    groups: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    inside: list[tuple[Pair, str, str]] = []

    def add(level: Level, code: str, message: str, ids: tuple[str, str]) -> None:
        found[level, code].append(Finding(level, code, message, ids))

    for pair in pairs:
        first, second = seen[pair.first], seen[pair.second]
        if facts[first.id].image_pixels == facts[second.id].image_pixels:
            continue  # reported above
        alike, ids = f"{first.id!r} and {second.id!r} {_likeness(pair)}", (first.id, second.id)
        level: Level = "error" if pair.score >= SAME else "warning"
        splits, labels = _splits((first, second)), sorted({first.label or "", second.label or ""} - {""})
        if len(splits) > 1:
            message = f"{alike}, and are in the splits {' and '.join(splits)}; keep one or group them."
            add(level, "near-duplicate-in-two-splits", message, ids)
        if len(labels) > 1:
            message = f"{alike}, with the labels {' and '.join(labels)}; look which one is right."
            add(level, "near-duplicate-with-two-labels", message, ids)
        if pair.score >= SAME and (unlike := _disagreement(first, second, facts, pair.mirrored)):
            message = f"{alike}, with unlike masks ({unlike}); decide which one holds."
            add("warning", "near-duplicate-with-two-masks", message, ids)
        if first.group is not None and second.group is not None and first.group != second.group:
            one, two = sorted((first.group, second.group))
            groups[one, two].append(ids)
        elif len(splits) < 2 and len(labels) < 2:
            inside.append((pair, *ids))
            add("info", "near-duplicate", f"{alike}.", ids)
    for findings in found.values():
        yield from _limited(findings)
    for (one, two), members in groups.items():
        message = (
            f"The groups {one!r} and {two!r} share {count(len(members), 'pair')} of look-alikes "
            f"({' and '.join(members[0])} first); if they are one patient, lesion or video, join them."
        )
        yield Finding("warning", "groups-alike", message, _unique(chain.from_iterable(members)))
    if inside:
        concerned = _unique(chain.from_iterable(pair[1:] for pair in inside))
        same = sum(pair.score >= SAME for pair, *_ in inside)
        message = (
            f"{count(len(inside), 'pair')} of look-alikes among {len(concerned)} cases, {same} of them "
            "practically the same picture; put those into one group in groups.csv, so no split parts them."
        )
        yield Finding("warning", "near-duplicates", message, concerned)
    if total > len(pairs):
        yield _examined(total, len(pairs))


def check_against(
    cases: Sequence[Case], facts: Facts, others: Sequence[Case], other_facts: Facts
) -> Iterator[Finding]:
    """Pictures that another data set holds too: an error where one trains on what the other tests on."""
    by_pixels = by(others, lambda case: other_facts[case.id].image_pixels)
    exact: dict[tuple[Level, str, str], list[tuple[str, str]]] = defaultdict(list)
    for case in cases:
        for other in by_pixels.get(facts[case.id].image_pixels, ()):
            parts = _part(case), _part(other)
            exact["error" if _leaks(case, other) else "warning", *parts].append((case.id, other.id))
    for (level, part, other_part), pairs in exact.items():
        message = (
            f"{count(len(pairs), 'image')} of {part} are also in {other_part} of the other data set "
            f"({some([one if one == two else f'{one} = {two}' for one, two in pairs])}); "
            "leave them out of training, or do not report results there."
        )
        yield Finding(level, "duplicate-in-other-set", message, *map(_unique, zip(*pairs, strict=True)))

    seen = [case for case in cases if facts[case.id].thumbnail is not None]
    seen_others = [case for case in others if other_facts[case.id].thumbnail is not None]
    found, total = _kept(near_pairs(thumbnails_of(seen, facts), thumbnails_of(seen_others, other_facts)))
    listed = []
    for pair in found:
        case, other = seen[pair.first], seen_others[pair.second]
        if facts[case.id].image_pixels == other_facts[other.id].image_pixels:
            continue
        severe: Level = "error" if pair.score >= SAME and _leaks(case, other) else "warning"
        message = (
            f"{case.id!r} of {_part(case)} and {other.id!r} of {_part(other)} of the other data set "
            f"{_likeness(pair)}."
        )
        listed.append(Finding(severe, "near-duplicate-in-other-set", message, (case.id,), (other.id,)))
    for wanted in ("error", "warning"):
        yield from _limited([finding for finding in listed if finding.level == wanted])
    if total > len(found):
        yield _examined(total, len(found))


def by(cases: Iterable[Case], key: Callable[[Case], object]) -> dict[object, list[Case]]:
    """The cases that share a key, in their order; those whose key is None are left out."""
    found: dict[object, list[Case]] = defaultdict(list)
    for case in cases:
        name = key(case)
        if name is not None:
            found[name].append(case)
    return found


def _kept(pairs: Iterable[Pair]) -> tuple[list[Pair], int]:
    """The most alike pairs, best first, and how many there are."""
    total = 0

    def counted() -> Iterator[Pair]:
        nonlocal total
        for pair in pairs:
            total += 1
            yield pair

    best = nlargest(_MOST_KEPT, counted(), key=lambda pair: (pair.score, -pair.first, -pair.second))
    return best, total


def _limited(found: Sequence[Finding]) -> Iterator[Finding]:
    yield from found[:MOST_PAIRS]
    if len(found) > MOST_PAIRS:
        first = found[0]
        yield Finding(first.level, first.code, f"{len(found) - MOST_PAIRS} more pairs of this kind.")


def _examined(total: int, kept: int) -> Finding:
    message = f"{total} pairs look the same, of which the {kept} most alike were examined."
    return Finding("warning", "near-duplicates-many", message)


def thumbnails_of(cases: Sequence[Case], facts: Facts) -> NDArray[np.uint8]:
    """Stack the thumbnails of cases that all have one: (N, S, S) uint8."""
    stacked = np.empty((len(cases), THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    for i, case in enumerate(cases):
        stacked[i] = np.frombuffer(facts[case.id].thumbnail or b"", np.uint8).reshape(THUMBNAIL, THUMBNAIL)
    return stacked


def unit_numbers(cases: Sequence[Case]) -> NDArray[np.int64]:
    """Equal numbers for what is known to be alike: one volume, or one group with one label."""
    numbers: dict[tuple[object, ...], int] = {}
    units: list[int] = []
    for case in cases:
        if case.group is not None:
            unit: tuple[object, ...] = ("group", case.group, None if case.slice is not None else case.label)
        elif case.slice is not None:
            unit = ("file", case.image)
        else:
            units.append(-1)
            continue
        units.append(numbers.setdefault(unit, len(numbers)))
    return np.array(units, dtype=np.int64)


def _likeness(pair: Pair) -> str:
    what = "are practically the same picture" if pair.score >= SAME else "look alike"
    # Cut, not rounded, so that no score shows as one of the next class.
    return f"{what}{', mirrored' if pair.mirrored else ''} (correlation {int(pair.score * 1000) / 1000:.3f})"


def _leaks(case: Case, other: Case) -> bool:
    """Whether one data set trains on what the other is scored on."""
    return {case.split, other.split} == {"train", "test"}


def _part(case: Case) -> str:
    return "no split" if case.split is None else f"the split {case.split}"


def _unique(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ids))


def _both(ids: Sequence[str]) -> str:
    shown = " and ".join(repr(case_id) for case_id in ids[:5])
    return shown if len(ids) <= 5 else f"{shown} and {len(ids) - 5} more"


def _splits(cases: Iterable[Case]) -> list[str]:
    return sorted({case.split for case in cases if case.split is not None})


def _masks_differ(first: CaseFacts, second: CaseFacts) -> bool:
    pair = first.mask_pixels, second.mask_pixels
    return None not in pair and pair[0] != pair[1]


def _agreement(first: Case, second: Case) -> str:
    """Dice of the foregrounds of two readable masks, in words."""
    one, two = read_case_mask(first), read_case_mask(second)
    return "of two sizes" if one.shape != two.shape else _dice_text(_dice(one > 0, two > 0))


def _disagreement(first: Case, second: Case, facts: Facts, mirrored: bool) -> str | None:
    """How unlike the masks of practically the same picture are; None when they are alike enough."""
    if not _masks_differ(facts[first.id], facts[second.id]):
        return None
    size = (_COMPARED, _COMPARED)
    one, two = (
        np.array(Image.fromarray(read_case_mask(case)).resize(size, Image.Resampling.NEAREST)) > 0
        for case in (first, second)
    )
    dice = _dice(one, two[:, ::-1] if mirrored else two)
    return _dice_text(dice) if dice is not None and dice < _UNLIKE else None


def _dice(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float | None:
    both = int(one.sum()) + int(two.sum())
    return 2 * int((one & two).sum()) / both if both else None


def _dice_text(dice: float | None) -> str:
    return "both empty" if dice is None else f"Dice {dice:.3f}"
