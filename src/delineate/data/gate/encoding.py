"""Masks whose values mean something else than the data set says, with a proposal for classes.csv."""

from collections.abc import Iterator, Sequence
from statistics import median

from delineate.data.case import Case, MaskEncoding
from delineate.data.gate.facts import Facts, MaskValues, bits, file_values
from delineate.data.gate.report import Finding, count, some

_MOST_LEVELS = 16  # more separate values than this are grey levels, not classes
_LOSSY_MIDDLE = 0.1  # of the pixels of a binary mask saved as JPEG lie between black and white, at most
_INVERTED_BORDER = 0.9
_SAMPLE = 50  # masks that fit and are read again to see their values
_FEWEST = 3  # masks from which a habit is told from a case


def check_encoding(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Mask values that do not fit the encoding: proposes the rows of classes.csv, or says why it cannot."""
    for encoding in dict.fromkeys(case.encoding for case in cases):
        members = [case for case in cases if case.encoding == encoding]
        valued = [(case, values) for case in members if (values := facts[case.id].mask_values) is not None]
        if encoding.threshold is None:
            failing = [(c, v) for c, v in valued if facts[c.id].mask_error and not facts[c.id].mask_is_image]
            if failing:
                yield _proposal(failing, members, encoding, facts)
        else:
            yield from _check_threshold(valued, encoding)
        yield from _check_inverted(members, encoding, facts)


def _proposal(
    failing: Sequence[tuple[Case, MaskValues]], members: Sequence[Case], encoding: MaskEncoding, facts: Facts
) -> Finding:
    ids = tuple(case.id for case, _ in failing)
    middle = sum(values.middle for _, values in failing) / len(failing)
    about = f"{count(len(ids), 'mask')} of {len(members)} cases do not fit their encoding ({some(ids)})"
    # What fits already must go on fitting, so its values belong into the table too.
    fitting = [bits(values.present) for values in _values_of_fitting(members, facts)]
    found = set[int]().union(*(bits(values.present) for _, values in failing), *fitting)
    rows, reason = _rows(found, middle, encoding)
    if rows is not None and rows[0].startswith(">=") and any(0 < max(values) < 128 for values in fitting):
        rows, reason = None, "some masks hold 0 and 1 and others grey levels; export all in one way"
    if rows is None:
        return Finding("warning", "mask-encoding-unclear", f"{about}: {reason}.", ids)
    table = "; ".join(("value,name", *rows))
    return Finding(
        "warning", "mask-encoding", f"{about}: {reason}; classes.csv with the lines {table} reads them.", ids
    )


def _values_of_fitting(members: Sequence[Case], facts: Facts) -> Iterator[MaskValues]:
    """Values of some of the masks that can be read, which are not kept for all."""
    fitting = [case for case in members if case.mask is not None and facts[case.id].mask_error is None]
    for case in fitting[:: max(1, len(fitting) // _SAMPLE)][:_SAMPLE]:
        values = file_values(case)
        if values is not None:
            yield values


def _rows(found: set[int], middle: float, encoding: MaskEncoding) -> tuple[list[str] | None, str]:
    """Rows for classes.csv, or None, and what the values look like."""
    name = encoding.classes[0]
    listed = ", ".join(map(str, sorted(found)[:_MOST_LEVELS]))
    if len(found) > _MOST_LEVELS:
        dark, bright = any(value < 32 for value in found), any(value >= 224 for value in found)
        if dark and bright and middle <= _LOSSY_MIDDLE and len(encoding.classes) == 1:
            reason = f"{len(found)} values, nearly all close to 0 or 255: a binary mask saved with losses"
            return [f">=128,{name}"], reason
        what = "classes saved with losses" if middle > 0 and len(encoding.classes) > 1 else "grey levels"
        return None, (
            f"{len(found)} values that look like {what}, not like marked classes; which value means what "
            "cannot be told, so export the masks again without losses or interpolation"
        )
    if 255 in found and len(found) > 2 and found - {255} == set(range(len(found) - 1)):
        return None, (
            f"the values {listed}, of which 255 may be a class or a border to be ignored; "
            "name every value in classes.csv yourself"
        )
    classes = sorted(found - {encoding.background if encoding.background in found else min(found)})
    background = next(iter(found - set(classes)))
    if not classes:
        return None, f"only the value {listed}; look whether it is foreground or background"
    names = _names(classes, encoding)
    rows = [f"{value},{names[value]}" for value in classes]
    if background != 0:
        rows.insert(0, f"{background},background")
    advice = "" if len(classes) <= len(encoding.classes) else ", names to be chosen"
    return rows, f"the values {listed}{advice}"


def _names(values: Sequence[int], encoding: MaskEncoding) -> dict[int, str]:
    """Names that are known, and class1, class2, ... for the rest."""
    if len(values) == len(encoding.classes) == 1:
        return {values[0]: encoding.classes[0]}
    known: dict[int, str] = {}
    for name, value in zip(encoding.classes, encoding.values or (), strict=False):
        known |= dict.fromkeys((value,) if isinstance(value, int) else value, name)
    return {value: known.get(value, f"class{i}") for i, value in enumerate(values, start=1)}


def _check_threshold(valued: Sequence[tuple[Case, MaskValues]], encoding: MaskEncoding) -> Iterator[Finding]:
    """Masks cut at a threshold that are not black and white."""
    grey = tuple(case.id for case, values in valued if values.middle > _LOSSY_MIDDLE)
    if grey:
        message = (
            f"{count(len(grey), 'mask')} ({some(grey)}) with over {_LOSSY_MIDDLE:.0%} of grey between black "
            f"and white, cut at {encoding.threshold}; look whether they are soft maps or pictures."
        )
        yield Finding("warning", "mask-grey", message, grey)
    present = [bits(values.present) for _, values in valued]
    highest = max((max(values) for values in present), default=0)
    if encoding.threshold is not None and 0 < highest < encoding.threshold:
        message = (
            f"No mask reaches the threshold {encoding.threshold}, the largest value is {highest}, so all are "
            "empty; export them again as PNG and name the value in classes.csv."
        )
        yield Finding("error", "mask-encoding", message, tuple(case.id for case, _ in valued))


def _check_inverted(members: Sequence[Case], encoding: MaskEncoding, facts: Facts) -> Iterator[Finding]:
    """Foreground all around the border of most masks."""
    if len(encoding.classes) != 1:
        return
    filled = [
        (case.id, facts[case.id])
        for case in members
        if (counts := facts[case.id].mask_counts) is not None and sum(counts[1:]) > 0 and counts[0] > 0
    ]
    borders = [fact.mask_border for _, fact in filled if fact.mask_border is not None]
    if len(borders) < _FEWEST or median(borders) < _INVERTED_BORDER:
        return
    shares = [counts[0] / sum(counts) for _, fact in filled if (counts := fact.mask_counts) is not None]
    if median(shares) > 0.5:  # more background than foreground: large objects, not an inverted mask
        return
    ids = tuple(case_id for case_id, fact in filled if (fact.mask_border or 0) >= _INVERTED_BORDER)
    message = (
        f"The foreground surrounds the picture in {count(len(ids), 'mask')} of {len(filled)} ({some(ids)}): "
        f"probably inverted; if so, classes.csv with the lines value,name; 255,background; "
        f"0,{encoding.classes[0]} puts it right (for masks of 0 and 255)."
    )
    yield Finding("warning", "mask-inverted", message, ids)
