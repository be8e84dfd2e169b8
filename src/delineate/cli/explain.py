"""The command that explains predictions."""

from pathlib import Path
from typing import Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import AsJson, Device


def explain(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files and folders of images.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the maps and explanations.csv.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="clnet, gradcam, gradcam++ or occlusion; may be given again."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="label or mask; by default the label of a model that has one.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Label or class to explain; by default the one found.")
    ] = None,
    region: Annotated[
        str, typer.Option(help="Of a mask: all, largest, or ROW,COLUMN of a pixel inside the region.")
    ] = "all",
    measure: Annotated[
        bool,
        typer.Option("--faithfulness", help="Also measure whether the score depends on what a map shows."),
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show where in an image a label or a mask comes from: exit code 1 when an image could not be read.

    Example: delineate explain runs/demo photos/ --out why --method gradcam --method occlusion --faithfulness
    """
    from delineate.inference.explain_files import Question, explain_files, mean_figures
    from delineate.inference.predict import find_images
    from delineate.inference.predictor import Predictor

    if target not in (None, "label", "mask"):
        raise InputError(f"--target must be label or mask, got {target!r}.")
    predictor = Predictor.load(run, device)
    with console.progress_bar("explaining") as update:
        report = explain_files(
            predictor,
            find_images(images),
            out,
            methods=method or (),
            question=Question(target, name, region),  # type: ignore[arg-type]  # checked above
            measure=measure,
            progress=update,
        )
    table = report.table
    means = mean_figures(table) if len(table) else []
    if as_json:
        rows = table.to_dict("records")
        console.print_json({"out": str(out), "means": means, "explanations": rows, "failed": report.failed})
    elif means:
        columns = [name for name in means[0] if name != "images"]
        shown = [tuple(_figure(row[name]) for name in columns) for row in means]
        console.print_table(f"mean of {means[0]['images']} image(s)", columns, shown)
        console.say(f"maps and explanations.csv are in {out}")
    for reason in report.failed.values():
        console.print_error(f"left out: {reason}")
    if report.failed:
        raise typer.Exit(1)


def _figure(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)
