"""Models: image -> `Prediction`, and the table of them."""

from collections.abc import Mapping

from delineate.checks import InputError, choose
from delineate.models.base import SegmentationModel
from delineate.models.catalogue import MODELS, ModelSpec
from delineate.models.chnet import CHNet
from delineate.models.clnet import CLNet
from delineate.models.options import check_options
from delineate.models.plugins import PLUGINS, plugin_options, split_name, wrap
from delineate.models.prediction import Prediction


def list_models() -> list[str]:
    """Return the names of all models."""
    return list(MODELS)


def create_model(
    name: str,
    *,
    classes: int = 1,
    labels: int = 0,
    encoder: str | None = None,
    pretrained: bool | str = False,
    options: Mapping[str, object] | None = None,
) -> SegmentationModel:
    """Build a model of the table.

    Args:
        name: key of `MODELS`, for example "chnet" or "smp:unet", and plug-ins behind plus signs, for example
            "unet+dsmca+hlf", see `PLUGINS`.
        classes: mask logit channels: 1 for a binary mask, else background + foreground classes.
        labels: label logit columns; 0 for no class branch.
        encoder: another encoder than the model's default: any timm network with feature maps.
        pretrained: False for random weights, True to download the encoder's, or the path of a local file.
        options: the model's own options and its plug-ins', see their rows.

    Raises:
        InputError: unknown name, plug-in, encoder or option, an option of the wrong type, fewer than one
            class, a label branch that the model does not have, or weights that cannot be had.
    """
    base, plugins = split_name(name)
    spec = choose("model", base, MODELS)
    if classes < 1:
        raise InputError(f"Model {name!r} needs at least one mask channel, got classes={classes}.")
    if labels < 0:
        raise InputError(f"Model {name!r} needs labels of at least 0, got labels={labels}.")
    if labels and not plugins and not spec.classifies:
        able = ", ".join(other for other, row in MODELS.items() if row.classifies and ":" not in other)
        raise InputError(
            f"Model {name!r} has no class branch, so labels must be 0, got {labels}; "
            f"use {name}+hlf, {able} or any smp: model to classify too."
        )
    table = plugin_options(plugins)
    checked = check_options(name, options or {}, {**spec.options, **table})
    own = {option: value for option, value in checked.items() if option not in table}
    model = spec.builder(
        classes=classes,
        labels=0 if plugins else labels,
        encoder=encoder or spec.encoder,
        pretrained=pretrained,
        **own,
    )
    if not plugins:
        return model
    others = {option: value for option, value in checked.items() if option in table}
    return wrap(model, plugins, classes=classes, labels=labels, options=others)


__all__ = [
    "MODELS",
    "PLUGINS",
    "CHNet",
    "CLNet",
    "ModelSpec",
    "Prediction",
    "SegmentationModel",
    "create_model",
    "list_models",
]
