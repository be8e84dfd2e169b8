"""The command that scores: a trained model, or files that any program wrote."""

from pathlib import Path
from typing import Annotated, Any

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli import runs
from delineate.cli.common import AsJson, Device


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a finished run; or give --predictions and --references.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Another place of the run's data, or other data.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the run: train, val, test or all.")] = "test",
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Name of the reader of other data.")
    ] = None,
    device: Device = "auto",
    predictions: Annotated[
        Path | None, typer.Option(help="Folder of masks or probability maps, named as the references.")
    ] = None,
    references: Annotated[Path | None, typer.Option(help="Folder of reference masks.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the scores of files.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="lesion; rim,cup; 128=rim,0=cup,255=background; '>=128=lesion'; or a classes.csv."),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="What the files hold, when auto cannot tell: mask or probability.")
    ] = "auto",
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Scores and groups, with commas: pranet,msnet,boundary,nsd@2; the usual by default."
        ),
    ] = None,
    threshold: Annotated[float, typer.Option(help="Above which a pixel counts as found, of files.")] = 0.5,
    empty: Annotated[
        str, typer.Option(help="Overlap when reference and prediction are empty, of files: one, zero, skip.")
    ] = "one",
    groups: Annotated[
        Path | None, typer.Option(help="CSV image_id,group: intervals are over groups.")
    ] = None,
    spacing: Annotated[
        Path | None, typer.Option(help="CSV image_id,row_mm,column_mm: distances are in mm.")
    ] = None,
    missing: Annotated[
        str, typer.Option(help="References without a prediction: error, worst (as empty), skip.")
    ] = "error",
    resize: Annotated[
        bool, typer.Option("--resize", help="Bring predictions to their reference's size.")
    ] = False,
    prediction_suffix: Annotated[str, typer.Option(help="End of the predictions' names to cut off.")] = "",
    reference_suffix: Annotated[
        str, typer.Option(help="End of the references' names to cut off, such as _segmentation.")
    ] = "",
    images: Annotated[
        Path | None, typer.Option(help="Pictures named as the references, to draw outlines on.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier scores in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score a trained model, or anybody's predictions as files; writes scores.csv, summary.json, report.html.

    Example: delineate evaluate runs/demo --split test
    Example: delineate evaluate --predictions results --references masks --metrics pranet,hd95 --out scores
    """
    names = [name.strip() for name in metrics.split(",")] if metrics else []
    options: dict[str, Any] = {
        "kind": kind,
        "threshold": threshold,
        "empty": empty,
        "groups": groups,
        "spacing": spacing,
        "missing": missing,
        "resize": resize,
        "prediction_suffix": prediction_suffix,
        "reference_suffix": reference_suffix,
        "overwrite": overwrite,
    }
    places = {"--predictions": predictions, "--references": references, "--out": out}
    if run is not None:
        _refuse(run, options | {"classes": classes, "images": images} | places)
        runs.evaluate(
            run, data=data, split=split, dataset=dataset, metrics=names, device=device, as_json=as_json
        )
        if console.let_the_first_talk():
            _write_card(run)
        return
    if predictions is None or references is None or out is None:
        lacking = next(name for name, value in places.items() if value is None)
        raise InputError(
            f"Give the folder of a run, or --predictions, --references and --out; {lacking} is missing."
        )
    _score_files(predictions, references, out, classes, images, options | {"metrics": names}, as_json)


def _refuse(run: Path, given: dict[str, Any]) -> None:
    """Refuse options for files beside a run, rather than not looking at them."""
    usual = {"kind": "auto", "threshold": 0.5, "empty": "one", "missing": "error"}
    for name, value in given.items():
        if value and value != usual.get(name):
            option = name if name.startswith("--") else f"--{name.replace('_', '-')}"
            raise InputError(f"{option} is for files, and {run} is a run; leave one of them out.")


def _write_card(run: Path) -> None:
    from delineate.study.model_card import write_model_card

    console.say(f"model card: {write_model_card(run)}")


def _score_files(
    predictions: Path,
    references: Path,
    out: Path,
    classes: str | None,
    images: Path | None,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    from delineate.inference.file_pairs import read_classes
    from delineate.inference.score_files import score_files
    from delineate.study.files_report import write_files_report

    encoding = None if classes is None else read_classes(classes)
    if images is not None and not images.is_dir():
        raise InputError(f"The folder {images} does not exist; check --images.")
    with console.progress_bar("scoring") as update:
        scores = score_files(predictions, references, out, encoding=encoding, progress=update, **options)
    record = scores.record
    console.say(f"read as {record.reading}")
    if record.missing:
        how = "scored as empty" if record.missing_policy == "worst" else "left out"
        console.say(f"{len(record.missing)} references without a prediction were {how}")
    if record.unmatched:
        console.say(
            f"{len(record.unmatched)} predictions without a reference were not scored, for example "
            f"{record.unmatched[0]!r}"
        )
    console.say("writing the report")
    report = write_files_report(out, scores, images=images)
    if as_json:
        console.print_json(scores.summary)
        return
    rows = [
        (score, _figure(value["mean"]), _interval(value["low"], value["high"]), value["n"])
        for score, value in scores.summary.items()
    ]
    title = f"{predictions}, {record.cases} cases, distances in {record.unit}"
    console.print_table(title, ("score", "mean", "95 % interval", "n"), rows)
    console.out.print(f"Report: {report}", markup=False)


def _interval(low: float | int | None, high: float | int | None) -> str:
    return "-" if low is None or high is None else f"{_figure(low)} to {_figure(high)}"


def _figure(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) >= 1000 else f"{value:.4f}"
