"""What is known about a published data set besides its files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from delineate.data.case import Case


@dataclass(frozen=True)
class Download:
    """A file that the publisher offers at a direct address."""

    url: str
    """Address, https."""
    name: str
    """Name of the file, or, of an archive, a name that says what it is."""
    size: int | None = None
    """Bytes, or None where the publisher does not say."""
    checksum: str | None = None
    """"sha256:..." or "md5:...", hexadecimal, where the publisher or a catalogue states it."""
    unpack: str | None = ""
    """Folder below the data set's root that the archive is unpacked into, "" for the root itself; None for a
    file that is kept as it is."""


@dataclass(frozen=True)
class About:
    """One published data set; every reader's file has one, named `ABOUT`."""

    title: str
    """The publisher's name of it."""
    modality: str
    """dermoscopy, endoscopy, ultrasound, fundus, CT or OCT."""
    summary: str
    """One line for `delineate datasets`."""
    counts: Mapping[str, int]
    """Published number of cases of each part: "train", "val", "test", or "all" for a set without parts. A
    part may be absent as a whole from a folder, but not in part."""
    classes: tuple[str, ...]
    """Mask classes without the background."""
    mask_values: str
    """Values in the mask files and what they mean, one line."""
    labels: Mapping[str, int]
    """Image class -> published number of cases with it, 0 where it is not known; {} where the publisher gives
    no image classes."""
    groups: str | None
    """What a group is ("sequence", "patient", "lesion"), or None where the publisher tells nothing."""
    licence: str
    """As the publisher states it, or that none is stated."""
    citation: str
    """Authors, title, venue, year, identifier."""
    home: str
    """Page of the data set."""
    layout: str
    """The folders and files below the root, as the archives unpack, several lines."""
    downloads: tuple[Download, ...] = ()
    """Files at direct addresses; empty where the publisher asks for a form or an account."""
    steps: tuple[str, ...] = ()
    """What a person has to do to get the rest, one sentence each."""
    pitfalls: tuple[str, ...] = ()
    """Known faults and traps, one sentence each."""


@dataclass(frozen=True)
class Reader:
    """How to index one kind of data set."""

    index: Callable[[Path], list[Case]]
    """Lists the cases of a data set below its root folder, sorted by id; opens no image."""
    description: str
    """One line for `delineate datasets`."""
    about: About | None = None
    """What is known about a published data set; None for the plain folder."""


def count_faults(about: About, cases: list[Case]) -> list[str]:
    """Sentences about parts that hold another number of cases than published; parts that are absent are not.

    Args:
        about: the data set.
        cases: what was found in a folder.
    """
    faults = []
    for part, published in about.counts.items():
        found = len(cases) if part == "all" else sum(case.split == part for case in cases)
        if found and found != published:
            where = "" if part == "all" else f" of the part {part}"
            faults.append(
                f"{about.title} has {published} cases{where}, but {found} were found; "
                "unpack the publisher's archives again."
            )
    return faults
