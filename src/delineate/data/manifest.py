"""Split manifests: which case, with which bytes, belongs to which split. Written once, used by every run."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.splits import SPLITS
from delineate.files import sha256_of, write_json

SCHEMA = 1


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
    """SHA-256 of the image file, 64 hexadecimal digits."""
    mask_sha256: str | None
    """SHA-256 of the mask file, or None without a mask."""


@dataclass(frozen=True)
class SplitManifest:
    """A split that can be repeated and checked."""

    protocol: str
    """Name of the protocol, for example "stratified 70/15/15" or "PraNet"."""
    seed: int | None
    """Seed of the split, or None when the data set came with it."""
    entries: tuple[ManifestEntry, ...]
    """One per case, sorted by id."""


def make_manifest(
    cases: Sequence[Case],
    *,
    protocol: str,
    seed: int | None,
    digest: Callable[[Path], str] = sha256_of,
) -> SplitManifest:
    """Describe split cases and the bytes of their files.

    Args:
        cases: cases that all have a split.
        protocol: name of the protocol.
        seed: seed of the split, if it was drawn.
        digest: SHA-256 of a file; `Cache.digest` saves reading files that are known.

    Raises:
        InputError: a case has no split, or a file cannot be read.
    """
    entries = []
    for case in sorted(cases, key=lambda case: case.id):
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
            )
        )
    return SplitManifest(protocol, seed, tuple(entries))


def write_manifest(manifest: SplitManifest, path: Path) -> None:
    """Write a manifest as JSON, atomically."""
    entries = [asdict(entry) for entry in manifest.entries]
    head = {"schema": SCHEMA, "protocol": manifest.protocol, "seed": manifest.seed}
    write_json(path, {**head, "fingerprint": fingerprint(manifest), "cases": entries})


def read_manifest(path: Path) -> SplitManifest:
    """Read a manifest.

    Raises:
        InputError: the file is missing, no manifest, of another schema, or was changed since it was written.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
        if schema == SCHEMA:
            manifest = SplitManifest(
                str(content["protocol"]),
                None if content["seed"] is None else int(content["seed"]),
                tuple(_entry(raw) for raw in content["cases"]),
            )
            written = content["fingerprint"]
    except FileNotFoundError as error:
        raise InputError(f"The split manifest {path} does not exist; check the path.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a split manifest; write it again with `write_manifest`.") from error
    if schema != SCHEMA:
        raise InputError(
            f"{path} has manifest schema {schema!r}, but this version reads {SCHEMA}; write it anew."
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
        The cases in the order given, with `split`, and with `group` and `label` checked against the manifest.

    Raises:
        InputError: an id is missing or unknown, a label or group differs, or a file's bytes differ.
    """
    entries = {entry.id: entry for entry in manifest.entries}
    ids = {case.id for case in cases}
    absent, unknown = sorted(entries.keys() - ids), sorted(ids - entries.keys())
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
    result = []
    for case in cases:
        entry = entries[case.id]
        for kind, here, there in (("label", case.label, entry.label), ("group", case.group, entry.group)):
            if here != there:
                raise InputError(
                    f"Case {case.id!r} has the {kind} {here!r}, but the split manifest says {there!r}; "
                    "use the data set it was written for."
                )
        if (case.mask is None) != (entry.mask_sha256 is None):
            raise InputError(f"Case {case.id!r} has a mask in only one of the data and the split manifest.")
        if verify:
            _verify(case.image, entry.image_sha256, digest)
            if case.mask is not None and entry.mask_sha256 is not None:
                _verify(case.mask, entry.mask_sha256, digest)
        result.append(replace(case, split=entry.split))
    return result


def fingerprint(manifest: SplitManifest) -> str:
    """SHA-256 over ids, labels and file hashes: the data, whatever its split, groups and folder."""
    hasher = hashlib.sha256()
    for entry in sorted(manifest.entries, key=lambda entry: entry.id):
        line = [entry.id, entry.label, entry.image_sha256, entry.mask_sha256]
        hasher.update(json.dumps(line).encode() + b"\n")
    return hasher.hexdigest()


def _entry(raw: dict[str, Any]) -> ManifestEntry:
    names = [field.name for field in fields(ManifestEntry)]
    optional = ("group", "label", "mask_sha256")
    if set(raw) != set(names) or raw["split"] not in SPLITS:
        raise ValueError("wrong keys")
    if not all(isinstance(raw[name], str) or (raw[name] is None and name in optional) for name in names):
        raise ValueError("wrong types")
    return ManifestEntry(**raw)


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
