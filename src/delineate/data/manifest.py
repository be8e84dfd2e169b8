"""Split manifests: which case, with which bytes, belongs to which split. Written once, used by every run."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.splits import SPLITS
from delineate.files import sha256_of, write_json

SCHEMA = 2
_READABLE = (1, SCHEMA)  # 1 knew no cases of several masks and none that a protocol leaves out


@dataclass(frozen=True)
class ManifestEntry:
    """One case of a manifest."""

    id: str
    """The case's id."""
    split: str
    """"train", "val" or "test"."""
    group: str | None
    """Patient, lesion or video."""
    label: str | None
    """The class of the whole image."""
    image_sha256: str
    """SHA-256 of the image file, 64 hexadecimal digits; the slices of a volume share that of its file."""
    mask_sha256: str | None
    """SHA-256 of the mask file, or None without a mask."""
    more_masks_sha256: tuple[str, ...] = ()
    """SHA-256 of each further mask file, in order."""


@dataclass(frozen=True)
class SplitManifest:
    """A split that can be repeated and checked."""

    protocol: str
    """Name of the protocol, for example "stratified 70/15/15" or "PraNet"."""
    seed: int | None
    """Seed of the split, or None when the data set came with it."""
    entries: tuple[ManifestEntry, ...]
    """One per case, sorted by id."""
    dropped: tuple[str, ...] = ()
    """Ids of the data set that the protocol leaves out, sorted."""


def dropped(found: Iterable[Case], kept: Iterable[Case]) -> tuple[str, ...]:
    """The ids of the indexed cases that a protocol leaves out, sorted."""
    return tuple(sorted({case.id for case in found} - {case.id for case in kept}))


def make_manifest(
    cases: Sequence[Case],
    *,
    protocol: str,
    seed: int | None,
    dropped: Sequence[str] = (),
    digest: Callable[[Path], str] = sha256_of,
    progress: Callable[[int, int], None] | None = None,
) -> SplitManifest:
    """Describe split cases and the bytes of their files, each of which is read once.

    Args:
        cases: cases that all have a split.
        protocol: name of the protocol.
        seed: seed of the split, if it was drawn.
        dropped: ids that belong to the data set but not to the split, see `dropped`.
        digest: SHA-256 of a file; `Cache.digest` saves reading files that are known.
        progress: called with (done, all) after each case.

    Raises:
        InputError: a case has no split or is dropped at once, or a file cannot be read.
    """
    both = sorted({case.id for case in cases} & set(dropped))
    if both:
        raise InputError(f"Case {both[0]!r} cannot have a split and be left out at once; choose one.")
    digest = _once(digest)
    entries = []
    for done, case in enumerate(sorted(cases, key=lambda case: case.id), start=1):
        if case.split is None:
            raise InputError(f"Case {case.id!r} has no split; split the cases before writing a manifest.")
        entries.append(
            ManifestEntry(
                case.id,
                case.split,
                case.group,
                case.label,
                _read(digest, case.image),
                None if case.mask is None else _read(digest, case.mask),
                tuple(_read(digest, path) for path in case.more_masks),
            )
        )
        if progress is not None:
            progress(done, len(cases))
    return SplitManifest(protocol, seed, tuple(entries), tuple(sorted(dropped)))


def write_manifest(manifest: SplitManifest, path: Path) -> None:
    """Write a manifest as JSON, atomically."""
    entries = [asdict(entry) for entry in manifest.entries]
    head = {"schema": SCHEMA, "protocol": manifest.protocol, "seed": manifest.seed}
    tail = {"cases": entries, "dropped": list(manifest.dropped)}
    write_json(path, {**head, "fingerprint": fingerprint(manifest), **tail})


def read_manifest(path: Path) -> SplitManifest:
    """Read a manifest.

    Raises:
        InputError: the file is missing, no manifest, of another schema, or was changed since it was written.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
        if schema in _READABLE:
            manifest = SplitManifest(
                str(content["protocol"]),
                None if content["seed"] is None else int(content["seed"]),
                tuple(_entry(raw) for raw in content["cases"]),
                _texts(content["dropped"] if schema > 1 else []),
            )
            written = content["fingerprint"]
    except FileNotFoundError as error:
        raise InputError(f"The split manifest {path} does not exist; check the path.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a split manifest; write it again with `write_manifest`.") from error
    if schema not in _READABLE:
        raise InputError(
            f"{path} has manifest schema {schema!r}, but this version reads "
            f"{' and '.join(map(str, _READABLE))}; write it anew."
        )
    if written != fingerprint(manifest):
        raise InputError(
            f"{path} was changed after it was written (its fingerprint differs); write it again."
        )
    return manifest


def apply_manifest(
    cases: Sequence[Case],
    manifest: SplitManifest,
    *,
    verify: bool = True,
    digest: Callable[[Path], str] = sha256_of,
) -> list[Case]:
    """Give the cases the splits of a manifest.

    Args:
        cases: the indexed data set.
        manifest: what was written for it.
        verify: compare the SHA-256 of every file.
        digest: as in `make_manifest`.

    Returns:
        The cases that the manifest names, in the order given, with `split`, and with `group` and `label`
        checked against the manifest. Cases that it names as dropped are left out, and need not be there.

    Raises:
        InputError: an id is missing or unknown, a label, a group or the number of mask files differs, or a
            file's bytes differ.
    """
    entries = {entry.id: entry for entry in manifest.entries}
    ids = {case.id for case in cases}
    absent, unknown = sorted(entries.keys() - ids), sorted(ids - entries.keys() - set(manifest.dropped))
    if absent:
        raise InputError(
            f"{len(absent)} cases of the split manifest are not in the data, {absent[0]!r} for example; "
            "use the data set it was written for."
        )
    if unknown:
        raise InputError(
            f"{len(unknown)} cases of the data are not in the split manifest, {unknown[0]!r} for example; "
            "write the manifest again."
        )
    digest = _once(digest)
    result = []
    for case in cases:
        if case.id not in entries:
            continue
        entry = entries[case.id]
        for kind, here, there in (("label", case.label, entry.label), ("group", case.group, entry.group)):
            if here != there:
                raise InputError(
                    f"Case {case.id!r} has the {kind} {here!r}, but the split manifest says {there!r}; "
                    "use the data set it was written for."
                )
        if (case.mask is None) != (entry.mask_sha256 is None):
            raise InputError(f"Case {case.id!r} has a mask in only one of the data and the split manifest.")
        if len(case.more_masks) != len(entry.more_masks_sha256):
            raise InputError(
                f"Case {case.id!r} has {1 + len(case.more_masks)} mask files, but the split manifest has "
                f"{1 + len(entry.more_masks_sha256)}; index the data set as it was then."
            )
        if verify:
            _verify(case.image, entry.image_sha256, digest)
            if case.mask is not None and entry.mask_sha256 is not None:
                _verify(case.mask, entry.mask_sha256, digest)
            for path, expected in zip(case.more_masks, entry.more_masks_sha256, strict=True):
                _verify(path, expected, digest)
        result.append(replace(case, split=entry.split))
    return result


def is_written_for(manifest: SplitManifest, cases: Iterable[Case]) -> bool:
    """Whether the cases are, by their ids, the data set that a manifest divides: all it names, no others."""
    ids, named = {case.id for case in cases}, {entry.id for entry in manifest.entries}
    return named <= ids <= named | set(manifest.dropped)


def fingerprint(manifest: SplitManifest) -> str:
    """SHA-256 over ids, labels and file hashes: the data, whatever its split, groups and folder.

    The ids that a protocol drops do not count: two protocols that take the same cases have the same data.
    """
    hasher = hashlib.sha256()
    for entry in sorted(manifest.entries, key=lambda entry: entry.id):
        line = [entry.id, entry.label, entry.image_sha256, entry.mask_sha256, *entry.more_masks_sha256]
        hasher.update(json.dumps(line).encode() + b"\n")
    return hasher.hexdigest()


def _entry(raw: Any) -> ManifestEntry:
    if not isinstance(raw, dict):
        raise TypeError("not a case")
    names = {field.name for field in fields(ManifestEntry)}
    optional = ("group", "label", "mask_sha256")
    more = _texts(raw.get("more_masks_sha256", []))  # schema 1 has none
    rest = {name: cell for name, cell in raw.items() if name != "more_masks_sha256"}
    if set(rest) != names - {"more_masks_sha256"} or raw["split"] not in SPLITS:
        raise ValueError("wrong keys")
    if not all(isinstance(cell, str) or (cell is None and name in optional) for name, cell in rest.items()):
        raise ValueError("wrong types")
    return ManifestEntry(**rest, more_masks_sha256=more)


def _texts(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(text, str) for text in raw):
        raise TypeError("not a list of texts")
    return tuple(raw)


def _once(digest: Callable[[Path], str]) -> Callable[[Path], str]:
    """Ask for a file's hash once, because all slices of a volume are cases of one file."""
    return cache(digest)


def _read(digest: Callable[[Path], str], path: Path) -> str:
    try:
        return digest(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check the path and its permissions."
        ) from error


def _verify(path: Path, expected: str, digest: Callable[[Path], str]) -> None:
    if _read(digest, path) != expected:
        raise InputError(
            f"{path} is not the file that the split manifest was written for (its SHA-256 differs); "
            "restore it or write the manifest again."
        )
