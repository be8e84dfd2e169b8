"""Coded concepts of mask classes for DICOM: what a segment shows, in SNOMED CT.

A class without a row of its own, and without one in the user's file, is coded as tissue, because a name alone
does not tell a lesion from an organ. Its name stands in the segment's label all the same.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from delineate.checks import InputError


class Concept(NamedTuple):
    """A code as DICOM writes it."""

    value: str
    scheme: str
    meaning: str


class SegmentCode(NamedTuple):
    """What a segment shows: its category (context group 7150) and its type."""

    category: Concept
    type: Concept


def _sct(value: str, meaning: str) -> Concept:
    return Concept(value, "SCT", meaning)


_ABNORMAL = _sct("49755003", "Morphologically Abnormal Structure")
_ANATOMY = _sct("91723000", "Anatomical Structure")
_TISSUE = _sct("85756007", "Tissue")
_LESION = SegmentCode(_ABNORMAL, _sct("52988006", "Lesion"))
_TUMOUR = SegmentCode(_ABNORMAL, _sct("108369006", "Neoplasm"))
_NEVUS = SegmentCode(_ABNORMAL, _sct("21119008", "Pigmented nevus"))
_DISC = SegmentCode(_ANATOMY, _sct("81016008", "Optic disc"))

CODES: dict[str, SegmentCode] = {
    "lesion": _LESION,
    "skin lesion": _LESION,
    "nevus": _NEVUS,
    "naevus": _NEVUS,
    "melanoma": SegmentCode(_ABNORMAL, _sct("2092003", "Malignant melanoma")),
    "seborrheic keratosis": SegmentCode(_ABNORMAL, _sct("25499005", "Seborrheic keratosis")),
    "polyp": SegmentCode(_ABNORMAL, _sct("41329004", "Polyp")),
    "tumour": _TUMOUR,
    "tumor": _TUMOUR,
    "neoplasm": _TUMOUR,
    "mass": SegmentCode(_ABNORMAL, _sct("4147007", "Mass")),
    "nodule": SegmentCode(_ABNORMAL, _sct("27925004", "Nodule")),
    "cyst": SegmentCode(_ABNORMAL, _sct("367643001", "Cyst")),
    "ulcer": SegmentCode(_ABNORMAL, _sct("56208002", "Ulcer")),
    "optic disc": _DISC,
    "disc": _DISC,
    "choroid": SegmentCode(_ANATOMY, _sct("68703001", "Choroid of eye")),
}
"""Class name, in small letters with blanks, -> its codes."""

FALLBACK = SegmentCode(_TISSUE, _TISSUE)
"""Codes of a class whose name says nothing."""


def code_of(name: str, own: Mapping[str, SegmentCode] | None = None) -> SegmentCode:
    """Return the codes of a class: the user's own, else those of `CODES`, else `FALLBACK`."""
    key = _key(name)
    return (own or {}).get(key) or CODES.get(key, FALLBACK)


def read_codes(path: Path) -> dict[str, SegmentCode]:
    """Read a user's table of codes, YAML or JSON.

    It names classes; each has a `category` and a `type`, a list of code value, coding scheme and meaning::

        optic cup:
          category: ["91723000", SCT, Anatomical Structure]
          type: ["12345678", 99HOSPITAL, Optic cup]

    Raises:
        InputError: the file is missing or is no such table.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a table of codes; write it as YAML or JSON.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a table of codes; name each class with its category and type.")
    return {_key(str(name)): _row(path, str(name), row) for name, row in content.items()}


def _row(path: Path, name: str, row: Any) -> SegmentCode:
    if not isinstance(row, dict) or set(row) != {"category", "type"}:
        raise InputError(f"{path}: {name!r} must have exactly the keys category and type.")
    return SegmentCode(*(_concept(path, name, row[key]) for key in ("category", "type")))


def _concept(path: Path, name: str, parts: Any) -> Concept:
    """Check one code; DICOM allows 16 characters for value and scheme, 64 for the meaning."""
    if not isinstance(parts, list) or len(parts) != 3:
        raise InputError(f"{path}: a code of {name!r} is not a list of value, scheme and meaning.")
    value, scheme, meaning = (str(part).strip() for part in parts)
    if not (1 <= len(value) <= 16 and 1 <= len(scheme) <= 16 and 1 <= len(meaning) <= 64):
        raise InputError(
            f"{path}: the code {parts} of {name!r} is too long or empty; a value and a scheme have at most "
            "16 characters, a meaning 64."
        )
    return Concept(value, scheme, meaning)


def _key(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())
