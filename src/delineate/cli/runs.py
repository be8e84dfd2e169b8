"""Commands that train, measure and use a model."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import DataRoot, Fold, Folds, ProtocolName, Reader, SplitSeed


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
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Train in spite of this kind of finding, a code; may be given again."),
    ] = None,
    dataset: Reader = "folder",
    protocol: ProtocolName = None,
    fold: Fold = None,
    folds: Folds = None,
    split_seed: SplitSeed = 0,
    split: Annotated[
        Path | None, typer.Option("--split", help="A split manifest that `delineate data split` wrote.")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(help="Processes to start on this machine, one per GPU; or use torchrun or srun."),
    ] = None,
) -> None:
    """Train a model as a recipe says.

    Example: delineate train demo --data phantom --set training.epochs=20 --run runs/mine
    Example: delineate train chnet.busi.paper --data BUSI --dataset busi --protocol busi.4-fold --fold 0
    """
    from delineate.console import TrainingProgress
    from delineate.recipe_io import load_recipe
    from delineate.training.fit import Listener
    from delineate.training.fit import train as fit
    from delineate.training.launch import launch, needs_launch
    from delineate.training.splitting import ProtocolChoice

    if protocol is not None and split is not None:
        raise InputError("--protocol and --split exclude each other; give one of them.")
    choice = split if protocol is None else ProtocolChoice(protocol, fold, folds, split_seed)
    if fold is not None and protocol is None:
        raise InputError("--fold belongs to a protocol; name it with --protocol.")
    chosen = load_recipe(recipe, overrides or ())
    folder = run or Path("runs") / chosen.name
    if devices is not None and needs_launch(devices):
        raise typer.Exit(launch(devices, sys.argv[1:]))
    console.let_the_first_talk()
    shown = TrainingProgress(chosen.training.epochs)
    listener = Listener(
        on_gate=lambda report: console.say(f"data gate: {report.to_text().splitlines()[0]}"),
        on_cache=lambda plan: console.say(f"cache: {plan}") if plan.entries else None,
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
        chosen,
        data,
        folder,
        dataset=dataset,
        split=choice,
        resume=resume,
        ignore_gate=ignore_gate,
        accept=accept or (),
        listener=listener,
    )
    console.say(f"done in {record.wall_seconds:.0f} s, epoch {record.selected_epoch} selected: {folder}")


def evaluate(
    run: Path,
    *,
    data: Path | None,
    split: str,
    dataset: str | None,
    metrics: Sequence[str],
    device: str,
    as_json: bool,
) -> None:
    """Score a trained model and print the result; the command is in `scoring.py`."""
    from delineate.inference.evaluate import evaluate as measure
    from delineate.study.report import write_report

    first = console.let_the_first_talk()
    with console.progress_bar("scoring") as update:
        result = measure(
            run, root=data, dataset=dataset, split=split, metrics=metrics, device=device, progress=update
        )
    if not first:
        return
    console.say("writing the report")
    report = write_report(run, split=result.split, predictor=result.predictor, cases=result.cases)
    if as_json:
        console.print_json({result.split: result.summary})
        return
    rows = [
        (score, _figure(value["mean"]), _interval(value), value["n"])
        for score, value in result.summary.items()
    ]
    title = f"{run}, split {result.split}, {len(result.cases)} cases"
    console.print_table(title, ("score", "mean", "95 % interval", "n"), rows)
    console.out.print(f"Report: {report}", markup=False)


def _interval(value: Mapping[str, float | int | None]) -> str:
    if value["low"] is None:
        return "-"
    return f"{_figure(value['low'])} to {_figure(value['high'])}"


def _figure(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) >= 1000 else f"{value:.4f}"
