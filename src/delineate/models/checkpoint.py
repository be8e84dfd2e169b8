"""What users load: weights in `model.safetensors`, everything else in `model.json`. Nothing is unpickled."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from delineate.checks import InputError
from delineate.config import Recipe, label_channels, mask_channels
from delineate.files import atomic_path, sha256_of, write_text
from delineate.models import create_model
from delineate.models.base import SegmentationModel
from delineate.version import __version__

WEIGHTS, INFO = "model.safetensors", "model.json"


class ModelInfo(BaseModel):
    """`model.json`: how to build the network again and how to feed it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    model: str
    """Name in the table of models."""
    encoder: str | None
    options: dict[str, Any]
    classes: tuple[str, ...]
    """Mask classes without the background; one is binary."""
    labels: tuple[str, ...]
    """Image classes; of two, the second is the positive one."""
    size: tuple[int, int]
    """Height and width in pixels that images are resized to."""
    normalisation: Literal["imagenet", "unit", "half"]
    threshold: float
    """Probability above which a pixel or the positive label counts as found."""
    window: tuple[float, float] | None = None
    """Grey values that became 0 and 255 in all training images, when a window was stated for them."""
    recipe: str
    recipe_sha256: str
    weights_sha256: str
    """Hash of `model.safetensors`."""
    delineate: str
    """Version that wrote the files."""


def build_model(recipe: Recipe) -> SegmentationModel:
    """Create the network that a recipe describes, with its pre-trained weights if it asks for them."""
    model = create_model(
        recipe.model.name,
        classes=mask_channels(recipe.task.classes),
        labels=label_channels(recipe.task.labels),
        encoder=recipe.model.encoder,
        pretrained=recipe.model.pretrained,
        options=recipe.model.options,
    )
    if not recipe.loss.interaction:  # a branch that no loss looks at would have no gradient
        model.remove_training_branches()
    return model


def save_model(
    folder: Path, model: SegmentationModel, recipe: Recipe, *, window: tuple[float, float] | None = None
) -> ModelInfo:
    """Write `model.safetensors` and `model.json` into `folder`, each atomically, the weights first.

    What exists only in training is removed from `model` first. `window` is the training images' own.
    """
    model.remove_training_branches()
    state = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(state, metadata={"format": "pt"}))
    info = ModelInfo(
        model=recipe.model.name,
        encoder=recipe.model.encoder,
        options=recipe.model.options,
        classes=recipe.task.classes,
        labels=tuple(recipe.task.labels),
        size=recipe.data.size,
        normalisation=recipe.data.normalisation,
        threshold=recipe.evaluation.threshold,
        window=window,
        recipe=recipe.name,
        recipe_sha256=recipe.sha256(),
        weights_sha256=sha256_of(folder / WEIGHTS),
        delineate=__version__,
    )
    write_text(folder / INFO, info.model_dump_json(indent=2) + "\n")
    return info


def load_model(folder: str | Path) -> tuple[SegmentationModel, ModelInfo]:
    """Build the network of a run and fill in its weights.

    Args:
        folder: a run, or any folder with the two files.

    Returns:
        The network in evaluation mode on the CPU, and what `model.json` says.

    Raises:
        InputError: a file is missing or damaged, or the weights are not those that `model.json` names.
    """
    folder = Path(folder)
    for name in (INFO, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name} is missing; {folder} is not a finished run, train it to the end."
            )
    try:
        info = ModelInfo.model_validate_json((folder / INFO).read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{folder / INFO} is damaged or of another version; train the run again.") from error
    if sha256_of(folder / WEIGHTS) != info.weights_sha256:
        raise InputError(
            f"{folder / WEIGHTS} is not the file that {INFO} names (SHA-256 differs); copy both again."
        )
    model = create_model(
        info.model,
        classes=mask_channels(info.classes),
        labels=label_channels(info.labels),
        encoder=info.encoder,
        pretrained=False,
        options=info.options,
    )
    model.remove_training_branches()
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{folder / WEIGHTS} does not fit the model {info.model!r} of {INFO}.") from error
    return model.eval(), info
