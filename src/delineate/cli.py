"""The command line: parse, call, print. Exit codes: 0 well, 1 problems found, 2 wrong call."""

import sys
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.version import __version__

if TYPE_CHECKING:  # the commands import what they need, so that --help stays quick
    import numpy as np
    from numpy.typing import NDArray

    from delineate.inference.predictor import ImagePrediction, Predictor
    from delineate.models import ModelSpec

app = typer.Typer(
    name="delineate",
    help="Segment, classify, explain and honestly measure 2-D medical images. Not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(help="Make and check data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DataRoot = Annotated[Path, typer.Option("--data", help="Folder of the data set.")]
Reader = Annotated[str, typer.Option("--dataset", help="Name of the reader; a plain folder by default.")]
Device = Annotated[str, typer.Option(help="auto takes a GPU when there is one; or cpu, cuda, cuda:1.")]


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models.

    Example: delineate models
    """
    from delineate.models import MODELS

    if as_json:
        console.print_json({name: _model_row(spec) for name, spec in MODELS.items()})
        return
    rows = [
        (name, spec.summary, spec.encoder or "", "yes" if spec.classifies else "")
        for name, spec in MODELS.items()
    ]
    console.print_table("", ("model", "what it is", "encoder", "labels"), rows)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe, to copy and change.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the recipes, or print one.

    Example: delineate recipes chnet.polyp.paper > mine.yaml
    """
    from delineate.recipe_io import load_recipe, recipe_names

    if name is not None:
        recipe = load_recipe(name)
        if as_json:
            console.print_json(recipe.model_dump(mode="json"))
        else:
            file = resources.files("delineate.recipes") / f"{name}.yaml"
            sys.stdout.write(file.read_text(encoding="utf-8"))
        return
    found = [load_recipe(known) for known in recipe_names()]
    if as_json:
        console.print_json({recipe.name: recipe.summary for recipe in found})
        return
    console.print_table("", ("recipe", "what it is"), [(recipe.name, recipe.summary) for recipe in found])


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


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a .yaml file.")],
    data: DataRoot,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value; may be given again.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the run; runs/RECIPE by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    ignore_gate: Annotated[
        bool, typer.Option("--ignore-gate", help="Train although the data has errors; the record says so.")
    ] = False,
    dataset: Reader = "folder",
) -> None:
    """Train a model as a recipe says.

    Example: delineate train demo --data phantom --set training.epochs=20 --run runs/mine
    """
    from delineate.console import TrainingProgress
    from delineate.recipe_io import load_recipe
    from delineate.training.fit import Listener
    from delineate.training.fit import train as fit

    chosen = load_recipe(recipe, overrides or ())
    folder = run or Path("runs") / chosen.name
    shown = TrainingProgress(chosen.training.epochs)
    listener = Listener(
        on_gate=lambda report: console.say(f"data gate: {report.to_text().splitlines()[0]}"),
        on_groups=lambda groups: console.say(
            "optimiser: "
            + ", ".join(f"{g['name']} {g['weights']:,} weights at rate {g['lr']:g}" for g in groups)
        ),
        on_epoch=shown.print_row,
        progress=console.progress_bar,
        callbacks=(shown,),
    )
    console.say(f"training {chosen.name} on {data}, into {folder}")
    record = fit(
        chosen, data, folder, dataset=dataset, resume=resume, ignore_gate=ignore_gate, listener=listener
    )
    console.say(f"done in {record.wall_seconds:.0f} s, epoch {record.selected_epoch} selected: {folder}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Another place of the data, or other data.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Name of the reader of other data.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Score a trained model: scores.csv, summary.json and report.html in the run's folder.

    Example: delineate evaluate runs/demo --split test
    """
    from delineate.inference.evaluate import evaluate as measure
    from delineate.study.report import write_report

    with console.progress_bar("scoring") as update:
        result = measure(run, root=data, dataset=dataset, split=split, device=device, progress=update)
    console.say("writing the report")
    report = write_report(run, split=result.split, predictor=result.predictor, cases=result.cases)
    if as_json:
        console.print_json({result.split: result.summary})
        return
    rows = [
        (score, _figure(value["mean"]), f"{_figure(value['low'])} to {_figure(value['high'])}", value["n"])
        for score, value in result.summary.items()
    ]
    title = f"{run}, split {result.split}, {len(result.cases)} cases"
    console.print_table(title, ("score", "mean", "95 % interval", "n"), rows)
    console.out.print(f"Report: {report}", markup=False)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files and folders of images.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for masks, overlays and predictions.csv.")],
    explain: Annotated[bool, typer.Option("--explain", help="Also write activation maps.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace earlier predictions there.")
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict masks and labels of new images: exit code 1 when some could not be read.

    Example: delineate predict runs/demo photos/ --out found --explain
    """
    from delineate.inference.predict import predict_files
    from delineate.inference.predictor import Predictor

    predictor = Predictor.load(run, device)
    extra = partial(_write_map, predictor) if explain else None
    with console.progress_bar("predicting") as update:
        report = predict_files(predictor, images, out, overwrite=overwrite, extra=extra, progress=update)
    if as_json:
        console.print_json({"out": str(out), "written": report.written, "failed": report.failed})
    else:
        console.say(f"{len(report.written)} image(s) predicted into {out}")
    for reason in report.failed.values():
        console.print_error(f"left out: {reason}")
    if report.failed:
        raise typer.Exit(1)


@app.command()
def profile(
    model: Annotated[str, typer.Argument(help="Name of a model.")],
    size: Annotated[int, typer.Option(help="Side length in pixels.")] = 256,
    encoder: Annotated[str | None, typer.Option(help="Another encoder than the model's own.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure what a model costs: weights, multiply-adds, time, memory.

    Example: delineate profile chnet --size 256
    """
    from delineate.inference.predictor import choose_device, device_name
    from delineate.inference.profile import profile as measure
    from delineate.models import MODELS, create_model

    if size < 1:
        raise InputError(f"--size must be at least 1 pixel, got {size}.")
    labels = 1 if model in MODELS and MODELS[model].classifies else 0
    place = choose_device(device)
    network = create_model(model, labels=labels, encoder=encoder).to(place)
    cost = measure(network, (size, size))
    if as_json:
        content = {"model": model, "size": size, "device": device_name(place), **cost._asdict()}
        console.print_json(content)
        return
    rows = [
        ("parameters", f"{cost.params / 1e6:.2f} M"),
        ("multiply-adds", f"{cost.macs / 1e9:.2f} G"),
        ("time, median", f"{cost.latency_ms:.1f} ms"),
        ("peak memory", f"{cost.peak_memory_mb:.0f} MiB"),
    ]
    console.print_table(f"{model}, {size}x{size}, batch 1, {device_name(place)}", ("cost", "figure"), rows)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Handle options that need no command."""
    if version:
        console.out.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a wrong input ends in one sentence and exit code 2, never in a traceback."""
    console.quieten_libraries()
    try:
        app(standalone_mode=True)
    except InputError as error:
        console.print_error(str(error))
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        console.print_error(f"{where}{error.strerror or error}.")
        sys.exit(2)
    except KeyboardInterrupt:
        console.print_error("stopped; a training run continues with --resume.")
        sys.exit(130)


def _write_map(
    predictor: "Predictor", name: str, image: "NDArray[np.uint8]", prediction: "ImagePrediction", out: Path
) -> None:
    from delineate.explain.activation import activation_map
    from delineate.explain.overlay import map_method, overlay_map
    from delineate.inference.predict import write_png

    activation = activation_map(
        predictor.model,
        predictor.prepare(image),
        method=map_method(predictor.info.model),
        target="mask" if prediction.label is None else "label",
        size=(image.shape[0], image.shape[1]),
    )
    write_png(out / "maps" / f"{name}.png", overlay_map(image, activation))


def _model_row(spec: "ModelSpec") -> dict[str, object]:
    options = {name: default for name, (_, default) in spec.options.items()}
    return {
        "summary": spec.summary,
        "paper": spec.paper,
        "encoder": spec.encoder,
        "classifies": spec.classifies,
        "options": options,
    }


def _figure(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) >= 1000 else f"{value:.4f}"
