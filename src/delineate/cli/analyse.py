"""Commands for the papers' analyses: each writes a table and a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delineate import console
from delineate.cli.common import AsJson, DataRoot, Device, Reader

if TYPE_CHECKING:
    from delineate.study.analyses.decoupling import StudyListener

analyse_app = typer.Typer(help="Repeat the papers' analyses: tables and pictures.", no_args_is_help=True)

Out = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
Run = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Masks = Annotated[Path | None, typer.Option(help="Folder with reference masks named as the images.")]
Images = Annotated[list[Path], typer.Argument(help="Image files and folders of images.")]


@analyse_app.command()
def efficiency(
    out: Out,
    models: Annotated[
        list[str] | None, typer.Argument(help="Names of models; by default all that the papers compare.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side length in pixels.")] = 256,
    rounds: Annotated[int, typer.Option(help="Timed passes of each model.")] = 10,
    runs: Annotated[
        list[Path] | None, typer.Option("--run", help="Evaluated run to draw too; may be given again.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the runs' scores.")] = "test",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare what models cost: weights, multiply-adds, time, memory.

    Example: delineate analyse efficiency chnet m2snet smp:unet --size 256 --out efficiency
    """
    from delineate.study.analyses.efficiency import write_efficiency

    with console.progress_bar("measuring") as update:
        table = write_efficiency(
            models or (),
            out,
            size=size,
            rounds=rounds,
            device=device,
            runs=runs or (),
            split=split,
            progress=update,
        )
    if as_json:
        console.print_json(table.to_dict("records"))
        return
    rows = [
        (
            row["model"],
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['macs'] / 1e9:.2f} G",
            f"{row['milliseconds']:.1f} ms",
            f"{row['ratio']:.2f}",
            f"{row['peak_memory_mib']:.0f} MiB",
        )
        for row in table.to_dict("records")
    ]
    console.print_table(
        f"{size}x{size}, batch 1", ("model", "parameters", "multiply-adds", "time", "ratio", "memory"), rows
    )
    console.say(f"table and picture are in {out}")


@analyse_app.command("activation-maps")
def activation_maps(
    run: Run,
    images: Images,
    out: Out,
    masks: Masks = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Draw CLNet's activation maps beside Grad-CAM and Grad-CAM++.

    Example: delineate analyse activation-maps runs/demo phantom/images --masks phantom/masks --out maps
    """
    from delineate.study.analyses.activation_maps import METHODS, write_activation_maps

    with console.progress_bar("explaining") as update:
        table = write_activation_maps(run, images, out, masks=masks, device=device, progress=update)
    scores = ("share_in_prediction", "share_in_reference", "hit")
    means = table.groupby("method")[list(scores)].mean().loc[list(METHODS)]
    if as_json:
        console.print_json(
            {
                method: {name: None if value != value else float(value) for name, value in row.items()}
                for method, row in means.astype("float64").to_dict("index").items()
            }
        )
        return
    rows = [
        (METHODS[method], *("-" if value != value else f"{value:.3f}" for value in row))
        for method, row in zip(METHODS, means.astype("float64").to_numpy(), strict=True)
    ]
    console.print_table(
        f"{run}, means over {table['image'].nunique()} images",
        ("map", "share in prediction", "share in reference", "maximum in reference"),
        rows,
    )
    console.say(f"table and pictures are in {out}")


@analyse_app.command()
def decoupling(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a .yaml file; it trains masks only.")],
    data: DataRoot,
    out: Out,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value; may be given again.")
    ] = None,
    decoders: Annotated[
        str, typer.Option(help="Decoders to attach, with commas between.")
    ] = "chnet,unet,attention-unet,fcn32s",
    backbones: Annotated[
        str, typer.Option(help="Models whose backbones are frozen, with commas between.")
    ] = "chnet,unet,attention-unet",
    initialisations: Annotated[
        str, typer.Option(help="How decoders start: random, own (their end-to-end run), or both.")
    ] = "random,own",
    untrained: Annotated[
        bool, typer.Option(help="Also study the backbone without any training on these data.")
    ] = True,
    split: Annotated[str, typer.Option(help="Split whose Dice is reported: val, train or test.")] = "val",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a study; finished runs are not repeated.")
    ] = False,
    dataset: Reader = "folder",
    as_json: AsJson = False,
) -> None:
    """Study encoders and decoders apart, as section 4 of CHNet: exit code 1 when a run failed.

    Example: delineate analyse decoupling chnet.covid.paper --data covid --out decoupling
    """
    from delineate.recipe_io import load_recipe
    from delineate.study.analyses.decoupling import study_decoupling
    from delineate.study.analyses.decoupling_plan import plan

    base = load_recipe(recipe, overrides or ())
    runs = plan(_names(decoders), _names(backbones), _names(initialisations), untrained=untrained)
    console.say(f"{len(runs)} runs of at most {base.training.epochs} epochs, into {out / 'runs'}")
    result = study_decoupling(
        base,
        data,
        out,
        runs=runs,
        split=split,
        dataset=dataset,
        resume=resume,
        listener=_study_listener(base.training.epochs),
    )
    if as_json:
        console.print_json({"out": str(out), "runs": len(runs), "failed": result.failed})
    else:
        rows = [
            (row["backbone"], row["decoder"], row["initialisation"], f"{row['dice']:.4f}")
            for row in result.table[result.table["failure"] == ""].to_dict("records")
        ]
        console.print_table(f"{out}, split {split}", ("backbone", "decoder", "decoder starts", "dice"), rows)
        console.out.print(f"Page: {out / 'decoupling.md'}", markup=False)
    if result.failed:
        raise typer.Exit(1)


@analyse_app.command()
def differences(run: Run, images: Images, out: Out, masks: Masks = None, device: Device = "auto") -> None:
    """Draw the differences between levels that M2SNet finds, as its Fig. 8.

    Example: delineate analyse differences runs/m2snet photos/ --out differences
    """
    from delineate.study.analyses.differences import write_differences

    write_differences(run, images, out, masks=masks, device=device)
    console.say(f"table and pictures are in {out}")


@analyse_app.command("attention-stability")
def attention_stability(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    images: Annotated[
        list[Path], typer.Option("--images", help="Image file or folder of images; may be given again.")
    ],
    out: Out,
    scales: Annotated[
        str, typer.Option(help="Factors of the size the models were trained at, with commas between.")
    ] = "1,1.5,2",
    device: Device = "auto",
) -> None:
    """Measure how much FCP-Net's attention changes with the size of the image, as its Fig. 8.

    Example: delineate analyse attention-stability runs/fcp-net runs/plain --images photos/ --out stability
    """
    from delineate.inference.predict import find_images
    from delineate.study.analyses.attention_stability import write_attention_stability

    files = list(find_images(images).values())
    write_attention_stability(runs, files, out, scales=_factors(scales), device=device)
    console.say(f"table and picture are in {out}")


def _study_listener(epochs: int) -> "StudyListener":
    from delineate.study.analyses.decoupling import StudyListener
    from delineate.study.analyses.decoupling_plan import PlannedRun, describe
    from delineate.training.fit import Listener

    def on_run(run: PlannedRun, number: int, count: int) -> Listener:
        console.say(f"run {number}/{count}: {describe(run)}")
        shown = console.TrainingProgress(epochs)
        return Listener(on_epoch=shown.print_row, progress=console.progress_bar, callbacks=(shown,))

    def on_failure(run: PlannedRun, reason: str) -> None:
        console.print_error(f"run {run.name} failed: {reason}")

    return StudyListener(on_run=on_run, on_failure=on_failure)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _factors(text: str) -> tuple[float, ...]:
    from delineate.checks import InputError

    try:
        return tuple(float(part) for part in _names(text))
    except ValueError as error:
        raise InputError(f"--scales needs numbers with commas between, got {text!r}.") from error
