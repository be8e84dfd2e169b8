"""Commands that make and check data sets."""

from pathlib import Path
from typing import Annotated

import typer

from delineate import console
from delineate.cli.common import AsJson, Reader

data_app = typer.Typer(help="Make and check data sets.", no_args_is_help=True)


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
    as_json: AsJson = False,
) -> None:
    """Look for faults that would ruin a result: exit code 1 when there are errors.

    Example: delineate data check my-folder
    """
    from delineate.data import check_cases, index

    cases = index(root, dataset)
    with console.progress_bar("checking") as update:
        report = check_cases(cases, progress=update)
    if as_json:
        console.print_json(report.to_json())
    else:
        console.out.print(report.to_text(), markup=False)
    if report.errors:
        raise typer.Exit(1)
