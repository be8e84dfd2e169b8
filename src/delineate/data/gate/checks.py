"""The checks: each is one function over cases and facts, entered in `CHECKS`; a new check is a new function.

Levels. An error makes results wrong or training impossible: an unreadable file, a mask that does not fit, the
same image or patient in two splits, one image with two labels (one of them must be wrong). A warning is for a
person to judge: the same image twice in one split only weighs double, and two masks of one image may be two
annotators who disagree. Information counts what is there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from delineate.data.case import Case
from delineate.data.gate.duplicates import by, check_duplicates, check_near_duplicates
from delineate.data.gate.encoding import check_encoding
from delineate.data.gate.facts import Facts
from delineate.data.gate.outliers import check_outliers
from delineate.data.gate.report import Finding, Level, count, size_text, some
from delineate.data.readers.about import About, count_faults

_OUTLINE = 50  # pixels of foreground and of background, from which two equal masks are no coincidence
_RARE = 10  # cases of a label in training, below which little can be learnt or measured


def check_readable(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Unreadable and truncated files, and masks whose values mean nothing."""
    for case in cases:
        fact = facts[case.id]
        if fact.image_error is not None:
            yield Finding("error", "image-unreadable", fact.image_error, (case.id,))
        if fact.mask_error is not None and not fact.mask_is_image:
            yield Finding("error", "mask-unreadable", fact.mask_error, (case.id,))


def check_pairs(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """One file used for two cases, an image that is its own mask, one mask on two different images."""
    for case in cases:
        if facts[case.id].mask_is_image:
            message = f"{case.mask} is the image itself, not a mask; put the mask in its place."
            yield Finding("error", "mask-is-image", message, (case.id,))
    for kind, key in (
        ("image", lambda case: (case.image, case.slice)),
        ("mask", lambda case: None if case.mask is None else (case.mask, case.slice)),
    ):
        for members in by(cases, key).values():
            if len(members) > 1:
                path = members[0].image if kind == "image" else members[0].mask
                ids = tuple(case.id for case in members)
                message = f"{path} is the {kind} of {len(ids)} cases ({some(ids)}); each needs its own."
                yield Finding("error", f"{kind}-shared", message, ids)
    # Two annotators never draw the same outline by chance: one of the masks was saved under a wrong name.
    drawn = [
        case
        for case in cases
        if (counts := facts[case.id].mask_counts) and sum(counts[1:]) >= _OUTLINE and counts[0] >= _OUTLINE
    ]
    for members in by(drawn, lambda case: facts[case.id].mask_pixels).values():
        ids = tuple(case.id for case in members)
        if len(ids) > 1 and len({facts[case.id].image_pixels for case in members}) > 1:
            message = f"{count(len(ids), 'case')} ({some(ids)}) have the same mask but different images."
            yield Finding("warning", "mask-repeated", message, ids)


def check_sizes(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Masks of another size than their image, and the range of image sizes."""
    for case in cases:
        fact = facts[case.id]
        if fact.image_size and fact.mask_size and fact.image_size != fact.mask_size:
            message = (
                f"{case.mask} is {size_text(fact.mask_size)}, but its image is {size_text(fact.image_size)} "
                "(width x height); export the mask at the size of the image."
            )
            yield Finding("error", "size-mismatch", message, (case.id,))
    sizes = sorted((f.image_size for f in facts.values() if f.image_size), key=lambda size: size[0] * size[1])
    if sizes:
        kinds = len(set(sizes))
        what = "all images are" if kinds == 1 else f"{kinds} image sizes, median"
        spread = "" if kinds == 1 else f", smallest {size_text(sizes[0])}, largest {size_text(sizes[-1])}"
        yield Finding("info", "image-sizes", f"{what} {size_text(sizes[len(sizes) // 2])}{spread}.")


def check_masks(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Masks without foreground or nearly without background, absent classes, share of each class."""
    counted = {case.id: counts for case in cases if (counts := facts[case.id].mask_counts) is not None}
    empty = tuple(case_id for case_id, counts in counted.items() if sum(counts[1:]) == 0)
    if empty:
        yield Finding(
            "info", "mask-empty", f"{len(empty)} of {len(counted)} masks have no foreground.", empty
        )
    full = tuple(case_id for case_id, counts in counted.items() if counts[0] < 0.05 * sum(counts))
    if full:
        message = (
            f"Over 95 % of the image is foreground in {count(len(full), 'mask')} ({some(full)}); inverted?"
        )
        yield Finding("warning", "mask-nearly-full", message, full)
    pixels: Counter[str] = Counter()
    shares: dict[str, float] = {}
    for case in cases:
        counts = counted.get(case.id, (0,))
        for name, number in zip(case.encoding.classes, counts[1:], strict=False):
            pixels[name] += number
            shares[name] = shares.get(name, 0.0) + number / sum(counts)
    for name, number in pixels.items():
        if number == 0:
            yield Finding("warning", "class-absent", f"No mask holds the class {name!r}; check classes.csv.")
    if counted and any(pixels.values()):
        listed = ", ".join(f"{name} {100 * shares[name] / len(counted):.2g} %" for name in pixels)
        yield Finding("info", "pixel-balance", f"Mean share of the image: {listed}.")


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
            message = f"{len(ids)} of {len(cases)} cases have no {kind} ({some(ids)})."
            yield Finding(level, f"{kind}-missing", message, ids)


def check_labels(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Class balance, labels that a split lacks and labels too rare to be learnt."""
    total = Counter(case.label for case in cases if case.label is not None)
    if not total:
        return
    balance = ", ".join(f"{label} {number}" for label, number in total.most_common())
    yield Finding("info", "class-balance", f"Cases per label: {balance}.")
    splits = sorted({case.split for case in cases if case.split is not None})
    for split in splits:
        present = {case.label for case in cases if case.split == split}
        for label in sorted(total.keys() - present):
            yield Finding("warning", "label-absent", f"The split {split} has no case labelled {label!r}.")
    learnt = (
        Counter(case.label for case in cases if case.label and case.split == "train") if splits else total
    )
    for label, number in sorted(learnt.items()):
        if number < _RARE and max(learnt.values()) >= 10 * number:
            where = " for training" if splits else ""
            message = f"Only {count(number, 'case')}{where} labelled {label!r} of {sum(learnt.values())}."
            yield Finding("warning", "label-rare", message)


def check_groups(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """The same patient, lesion or video in two splits."""
    for group, members in by(cases, lambda case: case.group).items():
        splits = sorted({case.split for case in members if case.split is not None})
        if len(splits) > 1:
            message = f"The group {group!r} is in the splits {' and '.join(splits)}; keep it in one."
            yield Finding("error", "group-in-two-splits", message, tuple(case.id for case in members))


def check_counts(about: About, cases: Sequence[Case]) -> Iterator[Finding]:
    """Parts of a published data set that hold another number of cases, or of a label, than published."""
    faults = count_faults(about, list(cases))
    for fault in faults:
        yield Finding("error", "case-count", fault)
    if faults or len(cases) != sum(about.counts.values()):
        return  # the published labels are those of the whole
    found = Counter(case.label for case in cases if case.label is not None)
    for label, published in about.labels.items():
        if found and published and found[label] != published:
            message = (
                f"{about.title} has {count(published, 'case')} labelled {label!r}, but {found[label]} were "
                "found; take the publisher's table again."
            )
            yield Finding("warning", "label-count", message)


Check = Callable[[Sequence[Case], Facts], Iterable[Finding]]
CHECKS: dict[str, Check] = {
    "readable": check_readable,
    "encoding": check_encoding,
    "pairs": check_pairs,
    "sizes": check_sizes,
    "masks": check_masks,
    "coverage": check_coverage,
    "labels": check_labels,
    "groups": check_groups,
    "duplicates": check_duplicates,
    "near-duplicates": check_near_duplicates,
    "outliers": check_outliers,
}
"""All checks, in the order of the report."""
