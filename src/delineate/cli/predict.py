"""The command that predicts images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import AsJson, Device

PNG = ("masks", "overlays")
_SHOWN = 20


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, or of an exported one.")],
    images: Annotated[
        list[str],
        typer.Argument(help='Files, folders, "patterns/*.png", @list.txt, .zip, .tar and .tar.gz archives.'),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures and tables.")],
    member: Annotated[
        list[Path] | None,
        typer.Option("--member", help="A further run of an ensemble; may be given again."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="What to write: png (masks and overlays, the default), masks, overlays, probabilities, "
            "uncertainty, geojson, coco, nifti, dicom-seg, dicom-seg-fractional; again, or with commas.",
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also write activation maps.")] = False,
    explain_method: Annotated[
        str | None,
        typer.Option("--explain-method", help="clnet, gradcam or gradcam++; by default the model's own."),
    ] = None,
    tta: Annotated[
        str, typer.Option("--tta", help="Average over views: none, mirror, flips, d4 or scales.")
    ] = "none",
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also say how unsure the model is, in the column look.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also measure each lesion: measurements.csv.")
    ] = False,
    spacing: Annotated[
        str | None,
        typer.Option("--spacing", help="mm per pixel of all images, as 0.05 or ROW,COLUMN."),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="torch, or the format that `delineate export` made: onnx, openvino.")
    ] = "torch",
    precision: Annotated[str, typer.Option(help="fp32, or that of the exported file.")] = "fp32",
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Images that pass the network together.")
    ] = 8,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a job that was stopped.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace earlier predictions there.")
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Also look into the folders below the named ones.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="local; or ray, for workers of a Ray cluster that share the folders.")
    ] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Workers on the Ray cluster.")] = None,
    ray_address: Annotated[
        str | None, typer.Option("--ray-address", help="A Ray cluster; by default one on this machine.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict masks and labels of new images: exit code 1 when some could not be read.

    Example: delineate predict runs/demo photos/ --out found --explain
    Example: delineate predict runs/seed0 scans.zip --member runs/seed1 --out found --uncertainty --measure
    """
    from delineate.inference.predict import Loading, predict_files

    if engine != "ray" and (workers is not None or ray_address is not None):
        raise InputError("--workers and --ray-address belong to a cluster; add --engine ray.")
    loading = Loading.of(
        (run, *(member or ())),
        device=device,
        backend=backend,
        precision=precision,
        tta=tta,
        uncertainty=uncertainty,
    )
    with _progress_bar() as update:
        report = predict_files(
            loading,
            images,
            out,
            writers=_formats(formats),
            resume=resume,
            overwrite=overwrite,
            recursive=recursive,
            explain=explain_method or ("auto" if explain else None),
            measure=measure,
            spacing=_spacing(spacing),
            batch_size=batch_size,
            progress=update,
            engine=engine,
            workers=workers,
            address=ray_address,
        )
    if as_json:
        console.print_json(
            {
                "out": str(out),
                "files": report.files,
                "skipped": report.skipped,
                "images": report.images,
                "written": report.written,
                "failed": report.failed,
                "notes": report.notes,
            }
        )
    else:
        before = f", {report.skipped} of {report.files} file(s) before" if report.skipped else ""
        console.say(f"{report.images} image(s) predicted into {out}{before}")
        for note in report.notes:
            console.say(note)
    for number, reason in enumerate(report.failed.values()):
        if number == _SHOWN:
            console.print_error(f"and {len(report.failed) - _SHOWN} more, see {out / 'failed.csv'}")
            break
        console.print_error(f"left out: {reason}")
    if report.failed:
        raise typer.Exit(1)


def _formats(given: list[str] | None) -> tuple[str, ...]:
    names = [name.strip() for text in given or ["png"] for name in text.split(",") if name.strip()]
    return tuple(dict.fromkeys(part for name in names for part in (PNG if name == "png" else (name,))))


def _spacing(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--spacing must be a number or ROW,COLUMN in mm, got {text!r}.") from error


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None]]:
    """As `console.progress_bar`, with files per second: a job may run for days."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("predicting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = not console.err.is_terminal
    with Progress(*columns, console=console.err, transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=None, rate="")

        def update(done: int, total: int) -> None:
            speed = progress.tasks[0].speed
            rate = "" if speed is None else f"{speed:.3g} files/s"
            progress.update(task, completed=done, total=total, rate=rate)

        yield update
