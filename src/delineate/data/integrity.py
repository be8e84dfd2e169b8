"""The first gate: what is wrong with a data set, before anything is trained on it.

Every file is read once (`CaseFacts`); every check is one function over cases and facts, entered in `CHECKS`.
A new check is a new function there.

Levels. An error makes results wrong or training impossible: an unreadable file, a mask that does not fit, the
same image or patient in two splits, one image with two labels (one of them must be wrong). A warning is for a
person to judge: the same image twice in one split only weighs double, and two masks of one image may be two
annotators who disagree. Information counts what is there.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.images import read_image, read_mask
from delineate.files import sha256_of

Level = Literal["error", "warning", "info"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """One thing that a check found."""

    level: Level
    """How bad it is."""
    code: str
    """Name of the kind, stable, for programs."""
    message: str
    """One sentence."""
    ids: tuple[str, ...] = ()
    """The cases it is about."""


@dataclass(frozen=True)
class CaseFacts:
    """What one reading of a case's files tells; None where a file is absent or unreadable."""

    image_error: str | None = None
    """Why the image cannot be read."""
    mask_error: str | None = None
    """Why the mask cannot be read."""
    image_pixels: str | None = None
    """SHA-256 of size and decoded pixels: the same image in another format or compression level is found."""
    mask_pixels: str | None = None
    """SHA-256 of size and index map."""
    image_size: tuple[int, int] | None = None
    """(height, width)."""
    mask_size: tuple[int, int] | None = None
    """(height, width)."""
    mask_counts: tuple[int, ...] | None = None
    """Pixels of the background and of each class."""
    mask_is_image: bool = False
    """Whether the mask file is the image itself."""


Facts = Mapping[str, CaseFacts]


@dataclass(frozen=True)
class CheckReport:
    """All findings about a data set, errors first."""

    cases: int
    """Number of cases that were checked."""
    findings: tuple[Finding, ...]
    """Errors, then warnings, then information; within a level in the order of `CHECKS`."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of level error."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for `json.dumps`."""
        return {
            "cases": self.cases,
            "ok": self.ok,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def to_text(self, limit: int = 20) -> str:
        """A summary for people: counts, then one line per finding, at most `limit` per code."""
        counts = Counter(finding.level for finding in self.findings)
        lines = [
            f"{self.cases} cases: {_count(counts['error'], 'error')}, {_count(counts['warning'], 'warning')}"
        ]
        shown: Counter[str] = Counter()
        totals = Counter(finding.code for finding in self.findings)
        for finding in self.findings:
            shown[finding.code] += 1
            if shown[finding.code] <= limit:
                lines.append(f"{finding.level:<7}  {finding.code}: {finding.message}")
            elif shown[finding.code] == limit + 1:
                lines.append(
                    f"{finding.level:<7}  {finding.code}: {totals[finding.code] - limit} more of this kind"
                )
        return "\n".join(lines)


def check_cases(
    cases: Sequence[Case], *, workers: int | None = None, progress: Progress | None = None
) -> CheckReport:
    """Read every file of a data set and run all checks.

    Args:
        cases: an indexed data set with unique ids.
        workers: number of threads (Pillow decodes outside the interpreter lock); None for one per core.
        progress: called with (done, total) from the calling thread after each case.

    Returns:
        The report. Bad files are findings, not exceptions.
    """
    facts: dict[str, CaseFacts] = {}
    with ThreadPoolExecutor(max(1, workers if workers is not None else os.cpu_count() or 1)) as pool:
        try:
            for done, (case, fact) in enumerate(
                zip(cases, pool.map(read_facts, cases), strict=True), start=1
            ):
                facts[case.id] = fact
                if progress is not None:
                    progress(done, len(cases))
        finally:
            pool.shutdown(cancel_futures=True)
    found = [finding for check in CHECKS.values() for finding in check(cases, facts)]
    rank = {"error": 0, "warning": 1, "info": 2}
    return CheckReport(len(cases), tuple(sorted(found, key=lambda finding: rank[finding.level])))


def read_facts(case: Case) -> CaseFacts:
    """Read the files of one case and keep what the checks need, which is small."""
    image: NDArray[np.uint8] | None = None
    mask: NDArray[np.uint8] | None = None
    image_error = mask_error = None
    try:
        image = read_image(case.image)
    except InputError as error:
        image_error = str(error)
    if case.mask is not None:
        try:
            mask = read_mask(case.mask, case.encoding)
        except InputError as error:
            mask_error = str(error)
    return CaseFacts(
        image_error=image_error,
        mask_error=mask_error,
        image_pixels=None if image is None else _pixel_hash(image),
        mask_pixels=None if mask is None else _pixel_hash(mask),
        image_size=None if image is None else (image.shape[0], image.shape[1]),
        mask_size=None if mask is None else (mask.shape[0], mask.shape[1]),
        mask_counts=None if mask is None else _class_counts(mask, len(case.encoding.classes)),
        mask_is_image=_mask_is_image(case, image, mask),
    )


def check_readable(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Unreadable, truncated, alpha and 16-bit files, and masks whose values mean nothing."""
    for case in cases:
        fact = facts[case.id]
        if fact.image_error is not None:
            yield Finding("error", "image-unreadable", fact.image_error, (case.id,))
        if fact.mask_error is not None and not fact.mask_is_image:
            yield Finding("error", "mask-unreadable", fact.mask_error, (case.id,))


def check_mask_is_image(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """An image that serves as its own mask: scores would measure nothing."""
    for case in cases:
        if facts[case.id].mask_is_image:
            message = f"{case.mask} is the image itself, not a mask; put the mask in its place."
            yield Finding("error", "mask-is-image", message, (case.id,))


def check_sizes(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Masks of another size than their image, and the range of image sizes."""
    for case in cases:
        fact = facts[case.id]
        if fact.image_size and fact.mask_size and fact.image_size != fact.mask_size:
            message = (
                f"{case.mask} is {_size(fact.mask_size)}, but its image is {_size(fact.image_size)} "
                "(width x height); export the mask at the size of the image."
            )
            yield Finding("error", "size-mismatch", message, (case.id,))
    sizes = sorted((f.image_size for f in facts.values() if f.image_size), key=lambda size: size[0] * size[1])
    if sizes:
        kinds = "all images are" if sizes[0] == sizes[-1] else f"{len(set(sizes))} image sizes, median"
        spread = "" if sizes[0] == sizes[-1] else f", smallest {_size(sizes[0])}, largest {_size(sizes[-1])}"
        yield Finding("info", "image-sizes", f"{kinds} {_size(sizes[len(sizes) // 2])}{spread}.")


def check_masks(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Masks without foreground or nearly without background, and classes that no mask has."""
    counted = {case.id: counts for case in cases if (counts := facts[case.id].mask_counts) is not None}
    empty = tuple(case_id for case_id, counts in counted.items() if sum(counts[1:]) == 0)
    if empty:
        yield Finding(
            "info", "mask-empty", f"{len(empty)} of {len(counted)} masks have no foreground.", empty
        )
    full = tuple(case_id for case_id, counts in counted.items() if counts[0] < 0.05 * sum(counts))
    if full:
        message = (
            f"Over 95 % of the image is foreground in {_count(len(full), 'mask')} ({_some(full)}); inverted?"
        )
        yield Finding("warning", "mask-nearly-full", message, full)
    pixels: Counter[str] = Counter()
    for case in cases:
        for name, count in zip(case.encoding.classes, counted.get(case.id, (0,))[1:], strict=False):
            pixels[name] += count
    for name, count in pixels.items():
        if count == 0:
            yield Finding("warning", "class-absent", f"No mask holds the class {name!r}; check classes.csv.")


def check_coverage(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """How many cases lack a mask, a label, a group or a split."""
    parts: list[tuple[str, tuple[str, ...], Level]] = [
        ("mask", tuple(case.id for case in cases if case.mask is None), "info"),
        ("label", tuple(case.id for case in cases if case.label is None), "info"),
        ("group", tuple(case.id for case in cases if case.group is None), "info"),
        ("split", tuple(case.id for case in cases if case.split is None), "error"),
    ]
    for kind, ids, level in parts:
        if len(ids) == len(cases):
            yield Finding("info", f"{kind}-missing", f"No case has a {kind}.")
        elif ids:
            message = f"{len(ids)} of {len(cases)} cases have no {kind} ({_some(ids)})."
            yield Finding(level, f"{kind}-missing", message, ids)


def check_labels(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Class balance, and labels that a split lacks."""
    total = Counter(case.label for case in cases if case.label is not None)
    if not total:
        return
    balance = ", ".join(f"{label} {count}" for label, count in total.most_common())
    yield Finding("info", "class-balance", f"Cases per label: {balance}.")
    for split in sorted({case.split for case in cases if case.split is not None}):
        present = {case.label for case in cases if case.split == split}
        for label in sorted(total.keys() - present):
            yield Finding("warning", "label-absent", f"The split {split} has no case labelled {label!r}.")


def check_groups(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """The same patient, lesion or video in two splits."""
    for group, members in _by(cases, lambda case: case.group).items():
        splits = sorted({case.split for case in members if case.split is not None})
        if len(splits) > 1:
            message = f"The group {group!r} is in the splits {' and '.join(splits)}; keep it in one."
            yield Finding("error", "group-in-two-splits", message, _ids(members))


def check_duplicates(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """The same pixels under two ids: across splits, with two labels, with two masks, or only twice."""
    for members in _by(cases, lambda case: facts[case.id].image_pixels).values():
        if len(members) < 2:
            continue
        ids = _ids(members)
        same = f"{' and '.join(repr(case_id) for case_id in ids)} are the same image"
        splits = sorted({case.split for case in members if case.split is not None})
        labels = sorted({case.label for case in members if case.label is not None})
        if len(splits) > 1:
            message = f"{same} in the splits {' and '.join(splits)}; keep one."
            yield Finding("error", "duplicate-in-two-splits", message, ids)
        if len(labels) > 1:
            message = (
                f"{same} with the labels {' and '.join(labels)}, so one is wrong; correct it or remove both."
            )
            yield Finding("error", "duplicate-with-two-labels", message, ids)
        for first, second in combinations(members, 2):
            if _masks_differ(facts[first.id], facts[second.id]):
                message = (
                    f"{first.id!r} and {second.id!r} are the same image with two masks "
                    f"({_agreement(first, second)}); decide which one holds."
                )
                yield Finding("warning", "duplicate-with-two-masks", message, (first.id, second.id))
        if len(splits) < 2 and len(labels) < 2:
            yield Finding("warning", "duplicate", f"{same}; keep one.", ids)


Check = Callable[[Sequence[Case], Facts], Iterable[Finding]]
CHECKS: dict[str, Check] = {
    "readable": check_readable,
    "mask-is-image": check_mask_is_image,
    "sizes": check_sizes,
    "masks": check_masks,
    "coverage": check_coverage,
    "labels": check_labels,
    "groups": check_groups,
    "duplicates": check_duplicates,
}
"""All checks, in the order of the report."""


def _pixel_hash(pixels: NDArray[np.uint8]) -> str:
    return sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def _class_counts(mask: NDArray[np.uint8], classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(mask.ravel(), minlength=classes + 1).tolist())


def _mask_is_image(case: Case, image: NDArray[np.uint8] | None, mask: NDArray[np.uint8] | None) -> bool:
    if case.mask is None:
        return False
    try:
        if case.mask.stat().st_size == case.image.stat().st_size and sha256_of(case.mask) == sha256_of(
            case.image
        ):
            return True
        # Saved again in another format, the copy is no valid mask, so only then are pixels compared.
        return image is not None and mask is None and np.array_equal(read_image(case.mask), image)
    except (InputError, OSError):
        return False


def _masks_differ(first: CaseFacts, second: CaseFacts) -> bool:
    pair = first.mask_pixels, second.mask_pixels
    return None not in pair and pair[0] != pair[1]


def _agreement(first: Case, second: Case) -> str:
    """Dice of the foregrounds of two readable masks, in words."""
    if first.mask is None or second.mask is None:
        return "one is absent"
    one, two = read_mask(first.mask, first.encoding) > 0, read_mask(second.mask, second.encoding) > 0
    if one.shape != two.shape:
        return "of two sizes"
    both = int(one.sum()) + int(two.sum())
    return f"Dice {2 * int((one & two).sum()) / both:.3f}" if both else "both empty"


def _by(cases: Sequence[Case], key: Callable[[Case], str | None]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        name = key(case)
        if name is not None:
            found[name].append(case)
    return found


def _ids(cases: Iterable[Case]) -> tuple[str, ...]:
    return tuple(case.id for case in cases)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
