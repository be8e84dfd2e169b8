"""The command that turns a run into a file for other runtimes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import AsJson

if TYPE_CHECKING:  # the command imports what it needs, so that --help stays quick
    from delineate.inference.export import ExportInfo, ScoreData


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[str, typer.Option("--to", help="onnx, openvino, torchscript or torch-export.")],
    precision: Annotated[
        str, typer.Option(help="fp32; bf16 for openvino; int8 for openvino and onnx.")
    ] = "fp32",
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            help="Training images, or a folder of them, that int8 is calibrated with: at most 300, none of "
            "the measured ones."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data set on which the change of the score is measured.")
    ] = None,
    dataset: Annotated[
        str, typer.Option("--dataset", help="Name of its reader; a plain folder by default.")
    ] = "folder",
    split: Annotated[str, typer.Option(help="Its split that is measured; all for every case.")] = "test",
    max_loss: Annotated[
        float | None,
        typer.Option(
            help="Mean Dice that may be lost on --data; 0.001 fp32, 0.002 bf16, 0.005 int8 by default."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; RUN/exports/FORMAT-PRECISION by default.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export a run: images in, masks and probabilities out, checked against PyTorch before it is kept.

    Example: delineate export runs/demo --to openvino
    """
    from delineate.inference.export import export_folder, export_model

    folder = out or export_folder(run, to, precision)
    info = export_model(
        run,
        to,
        precision=precision,
        calibration=_images(calibrate or ()),
        data=None if data is None else _cases(run, data, dataset, split),
        max_loss=max_loss,
        out=folder,
        overwrite=overwrite,
        progress=None if as_json else console.say,
    )
    if as_json:
        console.print_json({"out": str(folder), **info.model_dump(mode="json")})
    else:
        _show(folder, info)


def _images(sources: Sequence[Path]) -> list[Path]:
    from delineate.data.images import ENDINGS

    found: list[Path] = []
    for source in sources:
        if not source.is_dir():
            found.append(source)
            continue
        inside = sorted(f for f in source.iterdir() if f.name.lower().endswith(ENDINGS))
        if not inside:
            raise InputError(f"The folder {source} holds no image ({', '.join(ENDINGS)}).")
        found += inside
    return found


def _cases(run: Path, root: Path, dataset: str, split: str) -> "ScoreData":
    """Return the cases with masks of a split: the run's own split of the data it was trained on."""
    from delineate.data import apply_manifest, index, is_written_for, read_manifest
    from delineate.inference.export import ScoreData

    cases = index(root, dataset)
    manifest = run / "splits.json"
    if manifest.is_file():
        divided = read_manifest(manifest)
        if is_written_for(divided, cases):
            cases = apply_manifest(cases, divided)
    chosen = [case for case in cases if case.mask is not None and split in ("all", case.split)]
    if not chosen:
        raise InputError(f"{root} has no case with a mask in the split {split!r}; choose another --split.")
    return ScoreData(chosen, f"{dataset}: {root.resolve().name}", split)


def _show(folder: Path, info: "ExportInfo") -> None:
    rows: list[tuple[str, str]] = [
        ("pictures compared", f"{sum(batch for batch, *_ in info.parity.cases)} ({info.parity.pictures})"),
        ("largest difference of a mask probability", f"{info.parity.probability:.2g}"),
    ]
    if info.parity.label_probability is not None:
        rows.append(("largest difference of a label probability", f"{info.parity.label_probability:.2g}"))
    rows.append(("mask pixels that differ", f"{info.parity.pixels_that_differ} of {info.parity.pixels}"))
    if info.calibration is not None:
        rows.append(("pictures calibrated with", str(info.calibration.pictures)))
    change = info.score_change
    if change is not None:
        rows.append((f"Dice in PyTorch, {change.cases} cases", f"{change.dice_before:.4f}"))
        rows.append(("Dice of the export", f"{change.dice_after:.4f} ({change.mean_change:+.4f})"))
        if change.labels_changed is not None:
            rows.append(("cases with another label", f"{change.labels_changed} of {change.cases}"))
    elif info.precision != "fp32":
        rows.append(("change of the score", "not measured, give --data"))
    console.print_table(f"{info.name} beside PyTorch", ("", "value"), rows)
    for note in info.notes:
        console.say(note)
    console.out.print(f"Written: {folder}", markup=False)
