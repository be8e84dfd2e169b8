"""Protocols: each way to divide a data set that a paper or a publisher describes, by name.

Names are `<data set>.<paper, official or what is kept whole>`; names without a dot fit any data set.
Published protocols take the cases as published, so they do not keep groups whole unless they say so. A
protocol looks at ids, labels, splits and groups only: it fits the publisher's layout and a plain folder with
the publisher's ids.
"""

from collections.abc import Sequence

from delineate.checks import InputError, choose
from delineate.data.case import Case
from delineate.data.protocols import covid19, dermoscopy, endoscopy, generic, others
from delineate.data.protocols.protocol import Call, Protocol

__all__ = ["PROTOCOLS", "Protocol", "apply_protocol", "number_of_folds", "protocols_of"]

PROTOCOLS: dict[str, Protocol] = {
    **dermoscopy.PROTOCOLS,
    **endoscopy.PROTOCOLS,
    **others.PROTOCOLS,
    **covid19.PROTOCOLS,
    **generic.PROTOCOLS,
}


def apply_protocol(
    cases: Sequence[Case], name: str, *, seed: int, fold: int | None = None, folds: int | None = None
) -> list[Case]:
    """Divide cases as a protocol says.

    Args:
        cases: the indexed data set, ids unique.
        name: a key of `PROTOCOLS`.
        seed: of what the protocol draws; one that draws nothing does not look at it.
        fold: which fold is the test split, from 0; needed for a protocol with folds.
        folds: number of folds, at least 2, for a protocol that leaves it open.

    Returns:
        The cases that take part, in the order given, each with a split.

    Raises:
        InputError: unknown name, a fold that there is not, or cases that are not what the protocol divides;
            the message says what was expected and what was found.
    """
    protocol = choose("protocol", name, PROTOCOLS)
    number = number_of_folds(name, folds)
    if number is None:
        if fold is not None:
            raise InputError(f"Protocol {name} has no folds; leave the fold out.")
        return protocol.apply(cases, Call(name, seed, 0, 1))
    if fold is None or not 0 <= fold < number:
        asked = "none was named" if fold is None else f"{fold} was asked for"
        raise InputError(f"Protocol {name} has the folds 0 to {number - 1}, but {asked}; choose one of them.")
    return protocol.apply(cases, Call(name, seed, fold, number))


def number_of_folds(name: str, folds: int | None = None) -> int | None:
    """How many folds a protocol has, or None for a single split.

    Args:
        name: a key of `PROTOCOLS`.
        folds: the number asked for, or None for the protocol's own.

    Raises:
        InputError: unknown name, or another number than a published protocol's was asked for.
    """
    protocol = choose("protocol", name, PROTOCOLS)
    if folds is None or folds == protocol.folds:
        return protocol.folds
    if protocol.folds is None:
        raise InputError(f"Protocol {name} has no folds; leave their number out.")
    if protocol.dataset != "any":
        raise InputError(f"Protocol {name} has {protocol.folds} folds, got {folds}; leave their number out.")
    if folds < 2:
        raise InputError(f"Cross-validation needs at least 2 folds, got {folds}.")
    return folds


def protocols_of(dataset: str) -> dict[str, Protocol]:
    """The protocols that are made for a data set, without those that fit any.

    Args:
        dataset: name of a reader; an option after a colon ("busi:first") does not matter.
    """
    plain = dataset.partition(":")[0]
    return {name: p for name, p in PROTOCOLS.items() if plain in p.dataset.split(" and ")}
