"""Commands that make, fetch, check, split and convert data sets."""

import csv
from pathlib import Path
from typing import Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import AsJson, Fold, Folds, ProtocolName, Reader, SplitSeed
from delineate.cli.datasets import fetch
from delineate.cli.splits import convert, split
from delineate.files import atomic_path

data_app = typer.Typer(help="Make, fetch, check, split and convert data sets.", no_args_is_help=True)


@data_app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write; new or empty, or an earlier phantom.")],
    count: Annotated[int, typer.Option(help="Number of images.")] = 400,
    size: Annotated[int, typer.Option(help="Side length in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
) -> None:
    """Write a synthetic dermoscopy data set with masks and labels.

    Example: delineate data phantom phantom --count 400 --size 256
    """
    from delineate.data.phantom import write_phantom

    with console.progress_bar("rendering") as update:
        write_phantom(out, count=count, size=size, seed=seed, progress=lambda done: update(done, count))
    console.say(f"{count} images with masks and labels are in {out}.")


@data_app.command()
def check(
    root: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    dataset: Reader = "folder",
    protocol: ProtocolName = None,
    fold: Fold = None,
    folds: Folds = None,
    split_seed: SplitSeed = 0,
    against: Annotated[
        Path | None, typer.Option(help="Folder of another data set: pictures that both hold are found.")
    ] = None,
    against_dataset: Annotated[str, typer.Option(help="Name of the other one's reader.")] = "folder",
    picture: Annotated[
        Path | None, typer.Option(help="Write a sheet of suspicious cases here, a PNG.")
    ] = None,
    write_groups: Annotated[
        Path | None, typer.Option(help="Write a groups.csv here that keeps look-alikes in one split.")
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="One line per finding.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look for faults that would ruin a result: exit code 1 when there are errors.

    Example: delineate data check my-folder --picture suspicious.png
    """
    from delineate.data import READERS, check_cases, index, look_alike_groups
    from delineate.data.gate import picture as draw
    from delineate.data.protocols import apply_protocol

    for target in (picture, write_groups):
        if target is not None and target.exists():
            raise InputError(f"{target} exists already and is not overwritten; name another or remove it.")
    found = index(root, dataset, partial=True)  # incomplete parts are findings here
    cases = found
    if protocol is not None:
        cases = apply_protocol(found, protocol, seed=split_seed, fold=fold, folds=folds)
    others = () if against is None else index(against, against_dataset, partial=True)
    with console.progress_bar("checking") as update:
        report = check_cases(
            cases, about=READERS[dataset].about, whole=found, against=others, progress=update
        )
    if picture is not None:
        drawn = draw(report, cases, picture, against=others)
        console.say(f"{drawn} findings are drawn in {picture}" if drawn else "there is nothing to draw")
    if write_groups is not None:
        groups = look_alike_groups(cases)
        with (
            atomic_path(write_groups) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows([("image_id", "group"), *groups.items()])
        console.say(f"{len(groups)} cases have a group in {write_groups}")
    if as_json:
        console.print_json(report.to_json())
    elif details:
        console.out.print(report.to_text(), markup=False)
    else:
        console.out.print(report.to_table())
    if report.errors:
        raise typer.Exit(1)


data_app.command()(fetch)
data_app.command()(split)
data_app.command()(convert)
