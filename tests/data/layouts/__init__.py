"""Small copies of the publishers' layouts, one file per reader: `READER`, `build(root) -> list[Expected]`."""

from typing import NamedTuple


class Expected(NamedTuple):
    """What a reader must say about one case of a small copy."""

    id: str
    split: str | None = None
    label: str | None = None
    group: str | None = None
    indices: frozenset[int] | None = frozenset({0, 1})
    """Class indices in the mask, or None for a case without one."""
