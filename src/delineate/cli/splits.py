"""Commands that fix a split and that write data sets as plain folders."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import Reader

if TYPE_CHECKING:  # the commands import what they need, so that --help stays quick
    from delineate.data import Case

Also = Annotated[
    list[str] | None,
    typer.Option(help="A further data set whose cases join the others, NAME=FOLDER; may be repeated."),
]
Seed = Annotated[int, typer.Option(help="Of what the protocol draws.")]


def split(
    root: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    out: Annotated[
        Path, typer.Option(help="Manifest to write (.json); with folds, a folder of one per fold.")
    ],
    protocol: Annotated[str, typer.Option(help="How to split, see `delineate datasets`.")],
    dataset: Reader = "folder",
    folds: Annotated[int | None, typer.Option(help="Number of folds of the protocol k-fold.")] = None,
    seed: Seed = 0,
    also: Also = None,
) -> None:
    """Write a split with the ids and the SHA-256 of every file, once, to be reused by every run.

    Example: delineate data split BUSI --dataset busi --protocol busi.4-fold --out splits/busi
    """
    from delineate.data.manifest import dropped, make_manifest, write_manifest
    from delineate.data.protocols import PROTOCOLS, apply_protocol, number_of_folds
    from delineate.files import sha256_of

    number = number_of_folds(protocol, folds)
    if number is None and out.suffix != ".json":
        raise InputError(f"The manifest {out} must end in .json; protocol {protocol} has no folds.")
    targets = [out] if number is None else [out / f"fold{fold}.json" for fold in range(number)]
    existing = [target for target in targets if target.exists()]
    if existing:
        raise InputError(f"{existing[0]} exists already and is never overwritten; name another or remove it.")

    found = _gather(root, dataset, also or ())
    chosen = PROTOCOLS[protocol]
    digest = cache(sha256_of)  # the folds have the same files
    manifests = []
    for fold in [None] if number is None else range(number):
        cases = apply_protocol(found, protocol, seed=seed, fold=fold, folds=folds)
        name = protocol if fold is None else f"{protocol}, fold {fold} of {number}"
        with console.progress_bar("hashing") as update:
            manifests.append(
                make_manifest(
                    cases,
                    protocol=name,
                    seed=seed if chosen.drawn else None,
                    dropped=dropped(found, cases),
                    digest=digest,
                    progress=update,
                )
            )
    for target, manifest in zip(targets, manifests, strict=True):
        write_manifest(manifest, target)
        counts = Counter(entry.split for entry in manifest.entries)
        left_out = f", {len(manifest.dropped)} left out" if manifest.dropped else ""
        console.say(f"{target}: {_counted(counts)}{left_out}")
    console.say(chosen.summary)


def convert(
    root: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    out: Annotated[Path, typer.Argument(help="Plain folder to write; new or empty.")],
    dataset: Reader = "folder",
    protocol: Annotated[
        str | None, typer.Option(help="How to split and which cases take part; the data set's own otherwise.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(help="Which fold of the protocol is the test split, from 0.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds of the protocol k-fold.")] = None,
    seed: Seed = 0,
    region: Annotated[
        str | None, typer.Option(help="Part of each picture to keep: optic-disc; all without.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Longer side of the pictures in pixels.")] = None,
    also: Also = None,
) -> None:
    """Write any data set as a plain folder: images, masks and small tables.

    Example: delineate data convert REFUGE refuge-disc --dataset refuge:disc --region optic-disc --size 512
    """
    from delineate.data.convert import convert as write
    from delineate.data.protocols import PROTOCOLS, apply_protocol

    if protocol is None and (fold is not None or folds is not None):
        raise InputError("Folds belong to a protocol; name it with --protocol.")
    cases = _gather(root, dataset, also or ())
    about: dict[str, object] = {"dataset": [dataset, *(text.partition("=")[0] for text in also or ())]}
    if protocol is not None:
        cases = apply_protocol(cases, protocol, seed=seed, fold=fold, folds=folds)
        drawn = PROTOCOLS[protocol].drawn
        about |= {"protocol": protocol, "fold": fold, "folds": folds, "seed": seed if drawn else None}
    with console.progress_bar("converting") as update:
        done = write(cases, out, region=region, size=size, about=about, progress=update)
    counts = Counter(case.split for case in cases if case.split)
    console.say(f"{out}: {done.cases} images, {done.masks} masks, {_counted(counts) or 'no split'}.")
    if done.cut:
        console.say(
            f"The region cuts foreground off {len(done.cut)} masks, {done.cut[0]} for example: scores on "
            "this folder are blind to it."
        )


def _gather(root: Path, dataset: str, also: Sequence[str]) -> "list[Case]":
    """Index one data set, or several that shall be one."""
    from delineate.data import index

    cases = index(root, dataset)
    taken = {case.id: dataset for case in cases}
    for text in also:
        name, equals, folder = text.partition("=")
        if not equals or not folder:
            raise InputError(f"--also takes NAME=FOLDER, got {text!r}; name the data set and its folder.")
        more = index(Path(folder), name)
        for case in more:
            if case.id in taken:
                raise InputError(
                    f"The id {case.id!r} is in {taken[case.id]} and in {name}; these sets cannot be joined."
                )
            taken[case.id] = name
        cases = [*cases, *more]
    return sorted(cases, key=lambda case: case.id)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in ("train", "val", "test") if counts[name])
