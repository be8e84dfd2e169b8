"""Images that are unlike the rest of their data set: in resolution, brightness, contrast or depth.

Robust z-scores: distance from the median in units of 1.4826 times the median absolute deviation, which equals
the standard deviation for normal values (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993).
A floor keeps a data set whose images are nearly all alike from making an outlier of every other one.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from delineate.data.case import Case
from delineate.data.gate.facts import Facts
from delineate.data.gate.report import Finding, Level, count, some

MOST = 5.0
"""Robust z-score beyond which an image is an outlier; Iglewicz and Hoaglin advise 3.5 for normal values, but
sizes and brightness have longer tails."""
FEWEST = 20
"""Images from which outliers are looked for."""
_CONSTANT = 2.0  # grey levels of standard deviation
_FEW_LEVELS = 256  # a 16-bit file that spans fewer values holds no more than an 8-bit one


def check_outliers(cases: Sequence[Case], facts: Facts) -> Iterator[Finding]:
    """Images of unusual resolution, brightness or contrast, constant and transparent ones, empty depth."""
    read = [(case.id, facts[case.id]) for case in cases if facts[case.id].image_size is not None]
    ids = [case_id for case_id, _ in read]
    pixels = [
        np.log(max(1, height * width)) for _, fact in read for height, width in [fact.image_size or (1, 1)]
    ]
    means, contrasts = [fact.mean or 0.0 for _, fact in read], [fact.contrast or 0.0 for _, fact in read]
    for what, code, values, floor in (
        ("number of pixels", "resolution-outlier", pixels, 0.15),
        ("mean brightness", "brightness-outlier", means, 6.0),
        ("contrast", "contrast-outlier", contrasts, 4.0),
    ):
        far = tuple(ids[i] for i in outliers(values, floor))
        if far:
            verb = "is" if len(far) == 1 else "are"
            message = f"{count(len(far), 'image')} {verb} far from the rest in {what} ({some(far)})."
            yield Finding("info", code, message, far)
    faults: tuple[tuple[Level, str, str, list[str]], ...] = (
        (
            "warning",
            "image-constant",
            "of nearly one grey level; look whether anything is on it",
            [case_id for case_id, fact in read if fact.contrast is not None and fact.contrast < _CONSTANT],
        ),
        (
            "warning",
            "image-transparent",
            "with transparent pixels, which are shown on black; save without transparency if that is wrong",
            [case_id for case_id, fact in read if fact.transparent],
        ),
        (
            "warning",
            "image-shallow",
            f"of 16 bits that span fewer than {_FEW_LEVELS} values; look whether the scaling was lost",
            [
                case_id
                for case_id, fact in read
                if fact.raw_range is not None and fact.raw_range[1] - fact.raw_range[0] < _FEW_LEVELS
            ],
        ),
    )
    for level, code, what, found in faults:
        if found:
            yield Finding(level, code, f"{count(len(found), 'image')} {what} ({some(found)}).", tuple(found))


def outliers(values: Sequence[float], floor: float) -> list[int]:
    """Positions of the values whose robust z-score is beyond `MOST`, the farthest first.

    Args:
        values: one number per image.
        floor: smallest scale that counts as a standard deviation, in the unit of `values`.
    """
    if len(values) < FEWEST:
        return []
    array = np.asarray(values, dtype=np.float64)
    distance = np.abs(array - np.median(array))
    scale = max(1.4826 * float(np.median(distance)), floor)
    far = np.flatnonzero(distance > MOST * scale)
    return far[np.argsort(-distance[far], kind="stable")].tolist()
