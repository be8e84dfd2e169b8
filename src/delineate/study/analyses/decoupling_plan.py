"""The runs of the decoupling study: which there are, in which order, and the recipe of each.

A run is named after what it is made of: `unet` is U-Net end to end; `unet+chnet.random` is CHNet's decoder,
from random numbers, on the frozen backbone of `unet`; `unet+chnet.own` the same decoder as it stands in the
run `chnet`. The backbone that has seen no medical image is called `untrained`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from delineate.checks import InputError, choose
from delineate.config import Recipe
from delineate.layers.encoders import timm_name
from delineate.models import MODELS
from delineate.recipe_io import parse_recipe

Initialisation = Literal["end to end", "random", "own"]
"""How a decoder starts: with its own backbone in one training, from random numbers on a frozen backbone, or
on a frozen backbone as it came out of its own end-to-end training."""

DEPTH = 4
"""Levels of the shared backbone: CHNet leaves out the last stage of the network, so all others do too."""
BACKBONES = ("chnet", "unet", "attention-unet")
DECODERS = ("chnet", "unet", "attention-unet", "fcn32s")
UNTRAINED = "untrained"
_STARTS: Mapping[str, Initialisation] = {"random": "random", "own": "own"}


@dataclass(frozen=True)
class PlannedRun:
    """One training of the study."""

    name: str
    """Also its folder below runs/."""
    backbone: str
    """The model whose end-to-end training gave the backbone, or "untrained"."""
    decoder: str
    """The model that is trained."""
    initialisation: Initialisation

    @property
    def frozen(self) -> bool:
        """Whether only the decoder is trained."""
        return self.initialisation != "end to end"

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the runs that must be finished before."""
        backbone = (self.backbone,) if self.frozen and self.backbone != UNTRAINED else ()
        return (*backbone, self.decoder) if self.initialisation == "own" else backbone


def plan(
    decoders: Sequence[str] = DECODERS,
    backbones: Sequence[str] = BACKBONES,
    initialisations: Sequence[str] = ("random", "own"),
    *,
    untrained: bool = True,
) -> list[PlannedRun]:
    """List the runs of a study in an order in which each follows what it needs.

    Args:
        decoders: models whose decoders are attached to every frozen backbone.
        backbones: models whose end-to-end trainings give the backbones.
        initialisations: "random", "own" or both. A decoder on its own backbone in its own state is the
            end-to-end run itself and is not repeated. "own" needs the end-to-end run of every decoder.
        untrained: whether the backbone without medical training is studied too.

    Raises:
        InputError: a list is empty or names something twice, or a name is unknown.
    """
    for kind, names in (("decoder", decoders), ("backbone", backbones), ("initialisation", initialisations)):
        if not names or len(set(names)) < len(names):
            raise InputError(f"The study needs at least one {kind}, each once, got {', '.join(names)!r}.")
    for name in (*backbones, *decoders):
        choose("model", name, MODELS)
    chosen = [choose("initialisation of a decoder", name, _STARTS) for name in initialisations]
    whole = [*backbones, *(name for name in decoders if name not in backbones and "own" in chosen)]
    runs = [PlannedRun(name, name, name, "end to end") for name in whole]
    runs += [
        PlannedRun(f"{backbone}+{decoder}.{kind}", backbone, decoder, kind)
        for backbone in (*backbones, *((UNTRAINED,) if untrained else ()))
        for decoder in decoders
        for kind in chosen
        if kind == "random" or backbone != decoder
    ]
    return runs


def check_base(base: Recipe) -> None:
    """Refuse a base recipe that the study cannot vary.

    Raises:
        InputError: it trains labels, starts from other runs itself, or has no timm network as encoder.
    """
    if base.task.labels:
        raise InputError(
            "The decoupling study compares masks only; add --set 'task.labels={}' --set 'loss.label=[]' "
            "--set training.monitor=dice."
        )
    if base.model.encoder_from or base.model.decoder_from or base.model.freeze_encoder:
        raise InputError(
            "The decoupling study sets model.encoder_from, decoder_from and freeze_encoder itself; "
            "start from a recipe with null, null and false."
        )
    try:
        timm_name(shared_encoder(base))
    except InputError as error:
        raise InputError(
            f"The decoupling study needs one timm network as the backbone of all models, got "
            f"{shared_encoder(base)!r}; add --set model.encoder=res2net50d."
        ) from error


def shared_encoder(base: Recipe) -> str:
    """Return the name of the backbone network that all runs of a study have."""
    return base.model.encoder or choose("model", base.model.name, MODELS).encoder


def recipe_of(run: PlannedRun, base: Recipe, runs: Path, untrained: Path) -> Recipe:
    """Derive a run's recipe from the study's base recipe.

    Data, augmentation, loss, schedule, epochs and seed stay. Changed are the model's name, encoder and depth,
    where its halves start, and whether the encoder is frozen; a frozen encoder has no rate, so the factor of
    its rate becomes 1. Options of the base recipe are kept for its own model, others have their defaults.

    Args:
        run: what is trained.
        base: the recipe that all share.
        runs: folder of the study's runs.
        untrained: folder with the untrained backbone.

    Raises:
        InputError: the model does not take these options.
    """
    content: dict[str, Any] = base.model_dump(mode="json")
    options = dict(base.model.options) if run.decoder == base.model.name else {}
    if "depth" in MODELS[run.decoder].options:
        options["depth"] = DEPTH
    content["name"] = f"{base.name}.decoupling.{run.name}"
    content["summary"] = f"Decoupling study: {describe(run)}"
    content["model"] |= {"name": run.decoder, "encoder": shared_encoder(base), "options": options}
    if run.frozen:
        source = untrained if run.backbone == UNTRAINED else runs / run.backbone
        content["model"] |= {"encoder_from": str(source), "freeze_encoder": True}
        content["optimiser"]["encoder_rate_factor"] = 1
    if run.initialisation == "own":
        content["model"]["decoder_from"] = str(runs / run.decoder)
    return parse_recipe(content, where=f"the run {run.name} of the decoupling study")


def describe(run: PlannedRun) -> str:
    """Say what a run is, in words."""
    if not run.frozen:
        return f"{run.decoder}, end to end"
    backbone = "an untrained backbone" if run.backbone == UNTRAINED else f"the backbone of {run.backbone}"
    start = "from random numbers" if run.initialisation == "random" else "as trained end to end"
    return f"decoder of {run.decoder}, {start}, on {backbone}, frozen"


def same_training(one: Recipe, other: Recipe) -> bool:
    """Tell whether two recipes train alike, wherever the runs that they start from lie."""

    def placeless(recipe: Recipe) -> Recipe:
        folders = {
            key: None if path is None else Path(path).name
            for key, path in (
                ("encoder_from", recipe.model.encoder_from),
                ("decoder_from", recipe.model.decoder_from),
            )
        }
        return recipe.model_copy(update={"model": recipe.model.model_copy(update=folders)})

    return placeless(one) == placeless(other)
