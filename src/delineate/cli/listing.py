"""Commands that list what there is and what it costs."""

import sys
from importlib import resources
from typing import TYPE_CHECKING, Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.common import AsJson, Device

if TYPE_CHECKING:  # the commands import what they need, so that --help stays quick
    from delineate.models import ModelSpec
    from delineate.models.options import OptionTable


def models(as_json: AsJson = False) -> None:
    """List the models.

    Example: delineate models
    """
    from delineate.models import MODELS, PLUGINS

    if as_json:
        rows = {name: _model_row(spec) for name, spec in MODELS.items()}
        plugins = {
            f"+{name}": {"summary": row.summary, "paper": row.paper, "options": _defaults(row.options)}
            for name, row in PLUGINS.items()
        }
        console.print_json(rows | plugins)
        return
    console.print_table(
        "",
        ("model", "what it is", "encoder", "labels"),
        [
            (name, spec.summary, spec.encoder, "yes" if spec.classifies else "")
            for name, spec in MODELS.items()
        ],
    )
    console.print_table(
        "",
        ("plug-in", "what it adds to any model, as in unet+dsmca+hlf", "labels"),
        [(f"+{name}", row.summary, "yes" if row.classifies else "") for name, row in PLUGINS.items()],
    )


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe, to copy and change.")] = None,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="List the rows of the papers' ablation tables too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the recipes, or print one.

    Example: delineate recipes chnet.polyp.paper > mine.yaml
    """
    from delineate.recipe_io import ablation_names, dump_recipe, load_recipe, recipe_names

    if name is not None:
        recipe = load_recipe(name)
        if as_json:
            console.print_json(recipe.model_dump(mode="json"))
        elif name in recipe_names():
            file = resources.files("delineate.recipes") / f"{name}.yaml"
            sys.stdout.write(file.read_text(encoding="utf-8"))  # with its comments
        else:
            sys.stdout.write(dump_recipe(recipe))
        return
    found = [load_recipe(known) for known in [*recipe_names(), *(ablation_names() if ablations else ())]]
    if as_json:
        console.print_json({recipe.name: recipe.summary for recipe in found})
        return
    console.print_table("", ("recipe", "what it is"), [(recipe.name, recipe.summary) for recipe in found])
    if not ablations:
        console.say(f"{len(ablation_names())} more are rows of the papers' ablation tables: --ablations")


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
    from delineate.inference.backends import choose_device, device_name
    from delineate.inference.profile import profile as measure
    from delineate.models import MODELS, create_model

    if size < 1:
        raise InputError(f"--size must be at least 1 pixel, got {size}.")
    labels = 1 if model in MODELS and MODELS[model].classifies else 0
    place = choose_device(device)
    network = create_model(model, labels=labels, encoder=encoder).to(place)
    network.remove_training_branches()
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


def _model_row(spec: "ModelSpec") -> dict[str, object]:
    return {
        "summary": spec.summary,
        "paper": spec.paper,
        "encoder": spec.encoder,
        "classifies": spec.classifies,
        "options": _defaults(spec.options),
    }


def _defaults(options: "OptionTable") -> dict[str, object]:
    return {name: default for name, (_, default) in options.items()}
