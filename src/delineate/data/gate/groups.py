"""Groups that keep look-alikes in one split, for data sets whose patients nobody wrote down."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from delineate.data.case import Case
from delineate.data.gate.duplicates import by, thumbnails_of, unit_numbers
from delineate.data.gate.facts import gather
from delineate.data.gate.near import near_pairs
from delineate.data.gate.store import FactStore


def look_alike_groups(cases: Sequence[Case], *, workers: int | None = None) -> dict[str, str]:
    """Join cases that show the same or nearly the same picture into groups, with those they have already.

    Pictures are chained: when a looks like b and b like c, the three are one group. Look-alikes are those of
    the gate (`near.py`), so what only a person can recognise as one patient stays apart.

    Args:
        cases: an indexed data set with unique ids; unreadable images stay alone.
        workers: number of threads that read; None for one per core.

    Returns:
        Case id -> group, in the order of `cases`, for cases that look like another or have a group: the name
        of that group, of several the first in order; without one "alike-" and the first id.
    """
    facts = gather(cases, store=FactStore(), workers=workers)
    position = {case.id: i for i, case in enumerate(cases)}
    links: list[tuple[int, int]] = []
    for key in (lambda case: facts[case.id].image_pixels, lambda case: case.group):
        for members in by(cases, key).values():
            links += [(position[members[0].id], position[other.id]) for other in members[1:]]
    seen = [case for case in cases if facts[case.id].thumbnail is not None]
    pairs = near_pairs(thumbnails_of(seen, facts), skip=unit_numbers(seen))
    links += [(position[seen[pair.first].id], position[seen[pair.second].id]) for pair in pairs]

    first, second = np.array(links, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(links), np.int8), (first, second)), shape=(len(cases), len(cases)))
    _, component = connected_components(graph, directed=False)
    together: dict[int, list[Case]] = defaultdict(list)
    for case, number in zip(cases, component, strict=True):
        together[int(number)].append(case)
    names = {}
    for number, members in together.items():
        known = sorted({case.group for case in members if case.group is not None})
        if known or len(members) > 1:
            names[number] = known[0] if known else f"alike-{min(case.id for case in members)}"
    return {
        case.id: names[int(number)]
        for case, number in zip(cases, component, strict=True)
        if int(number) in names
    }
