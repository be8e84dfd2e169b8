"""Recipe: every choice of a run, in one complete YAML file, checked key by key."""

import hashlib
import json
from collections.abc import Sized
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def mask_channels(classes: Sized) -> int:
    """Return the number of mask logits: 1 for one class, classes + background for several, 0 for none."""
    return len(classes) + (len(classes) > 1)


def label_channels(labels: Sized) -> int:
    """Return the number of label logits: 1 for two labels, one each for more, 0 for none."""
    return 1 if len(labels) == 2 else len(labels)


class Section(BaseModel):
    """A part of a recipe: immutable, complete (no key has a default), and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class PseudoLabels(Section):
    """Image classes made from the images, for data sets without any."""

    method: Literal["kmeans", "gaussian_mixture", "autoencoder"]
    """How images are grouped; autoencoder groups the code of a small network by K-means."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Of the grouping."""


class Task(Section):
    """What is to be found in an image."""

    classes: tuple[str, ...]
    """Names of the mask classes without the background: one is binary, several exclude each other."""
    labels: dict[str, tuple[str, ...]]
    """Name of each image class -> the labels of the data set that mean it; of two, the second is the
    positive one; {} trains masks only."""
    ignore_labels: tuple[str, ...]
    """Labels of the data set that count as unknown."""
    pseudo_labels: PseudoLabels | None
    """How to make labels for training when the data set has none, or null; as many groups as labels."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.classes and not self.labels:
            raise ValueError("needs at least one of classes and labels")
        if len(self.labels) == 1:
            raise ValueError("labels needs at least two names, or {} for none")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must differ from each other")
        if self.pseudo_labels is not None and not self.labels:
            raise ValueError("pseudo_labels needs labels, one name per group")
        return self


class Model(Section):
    """Which network."""

    name: str
    """A name that `delineate models` lists, for example chnet or smp:unet."""
    encoder: str | None
    """A timm network for the encoder, or null for the model's own choice."""
    pretrained: bool | str
    """true downloads ImageNet weights, a path loads a file, false starts from random numbers."""
    options: dict[str, Any]
    """The model's own options, checked against its table row."""
    encoder_from: str | None
    """A run folder whose encoder weights replace this model's before training, or null."""
    decoder_from: str | None
    """A run folder whose other weights replace this model's before training, or null."""
    freeze_encoder: bool
    """Leave the encoder's weights and statistics as they are."""


class Data(Section):
    """How images reach the network."""

    size: tuple[Count, Count]
    """Height and width in pixels that images and masks are resized to."""
    normalisation: Literal["imagenet", "unit", "half"]
    """imagenet: mean and deviation of ImageNet; unit: [0, 1]; half: [-1, 1]."""
    val_fraction: Annotated[float, Field(ge=0, lt=1)]
    """Share of the training cases that becomes the validation split when there is none; 0 for none."""
    test_fraction: Annotated[float, Field(ge=0, lt=1)]
    """Share of all cases that becomes the test split when the data set has no split at all."""
    workers: Annotated[int, Field(ge=0)]
    """Processes that load and augment; 0 does it in the main process. Results do not depend on it."""
    cache: bool
    """Keep decoded and resized images on disk."""


class Augmentation(Section):
    """Random changes of training images; geometry acts on image and mask together."""

    horizontal_flip: Fraction
    """Probability of a left-right flip."""
    vertical_flip: Fraction
    """Probability of an up-down flip."""
    rotation: Annotated[float, Field(ge=0, le=180)]
    """Largest angle in degrees, either way."""
    crop: Annotated[float, Field(ge=0, lt=0.5)]
    """Largest share of each side that is cut away before resizing back."""
    scale: tuple[Positive, Positive]
    """Range of zoom factors; [1, 1] for none."""
    brightness: Fraction
    """Largest relative change."""
    contrast: Fraction
    """Largest relative change."""
    saturation: Fraction
    """Largest relative change."""
    hue: Annotated[float, Field(ge=0, le=0.5)]
    """Largest shift, as a share of the colour circle."""
    blur: Fraction
    """Probability of a Gaussian blur."""


class LossTerm(Section):
    """One summand of a loss."""

    name: str
    """A name of the table of losses."""
    weight: NotNegative
    """Factor before the sum."""
    options: dict[str, Any]
    """The loss's own options, checked against its signature."""


class Loss(Section):
    """What is minimised: the sum of all of this."""

    mask: tuple[LossTerm, ...]
    """Terms on the mask logits."""
    label: tuple[LossTerm, ...]
    """Terms on the label logits."""
    aux_weight: NotNegative
    """Weight of the same mask terms on each auxiliary map (deep supervision); 0 leaves them out."""
    interaction: NotNegative
    """Weight of the interaction loss between the mask and a model's training-only joint map (beta)."""


class Optimiser(Section):
    """How weights are changed."""

    name: Literal["sgd", "adam", "adamw"]
    """The algorithm."""
    rate: Positive
    """Largest learning rate."""
    encoder_rate_factor: Positive
    """The encoder trains at rate * this."""
    weight_decay: NotNegative
    """L2 penalty (sgd, adam) or decoupled decay (adamw)."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """Of sgd; beta1 of adam and adamw."""
    nesterov: bool
    """Of sgd only."""


class Schedule(Section):
    """How the learning rate changes, step by step, from 0 to 1 of the run."""

    name: Literal["constant", "linear", "triangular", "polynomial", "step"]
    """linear: down to 0; triangular: up to the middle, then down to 0; polynomial: (1 - t)^power;
    step: times step_factor every step_epochs."""
    warmup_epochs: NotNegative
    """Linear rise from 0 before the schedule begins, epochs."""
    power: Positive
    """Of polynomial."""
    step_epochs: Count
    """Of step."""
    step_factor: Annotated[float, Field(gt=0, le=1)]
    """Of step."""


class Training(Section):
    """The loop."""

    epochs: Count
    """Passes over the training split."""
    batch_size: Count
    """Images per step."""
    sizes: tuple[Count, ...]
    """Side lengths in pixels, one drawn per batch (square); () keeps data.size."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    """Number format of the network; losses are always float32."""
    gradient_clip: NotNegative
    """Largest norm of all gradients together; 0 for none."""
    monitor: Literal["loss", "dice", "auc", "dice+auc"]
    """Score on the validation split that chooses the best epoch."""
    select: Literal["best", "last"]
    """Which epoch's weights become the result."""
    patience: Annotated[int, Field(ge=0)]
    """Epochs without a better score before stopping; 0 never stops early."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Of everything random."""
    deterministic: bool
    """Use only operations that repeat bit by bit."""
    channels_last: bool
    """Memory layout; faster on most processors, the same result up to rounding."""


class Evaluation(Section):
    """How the result is measured."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
    """Probability above which a pixel, or the positive label, counts as found."""
    empty: Literal["zero", "one", "skip"]
    """Overlap score of a case whose reference and prediction are both empty."""
    surface: bool
    """Also measure surface distances."""
    saliency: bool
    """Also measure S-, E- and weighted F-measure and MAE."""


class Recipe(Section):
    """Every choice of a run; recipe_io reads and writes them."""

    name: str
    """<paper>.<task>.<paper|released>, or a name of one's own."""
    summary: str
    """One line for lists."""
    source: str
    """Where the choices come from, and which of them the source does not give."""
    task: Task
    model: Model
    data: Data
    augmentation: Augmentation
    loss: Loss
    optimiser: Optimiser
    schedule: Schedule
    training: Training
    evaluation: Evaluation

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.task.classes) != bool(self.loss.mask):
            raise ValueError("task.classes and loss.mask must both be given or both be empty")
        if bool(self.task.labels) != bool(self.loss.label):
            raise ValueError("task.labels and loss.label must both be given or both be empty")
        if "dice" in self.training.monitor and not self.task.classes:
            raise ValueError("training.monitor cannot be dice without task.classes")
        if "auc" in self.training.monitor and not self.task.labels:
            raise ValueError("training.monitor cannot be auc without task.labels")
        return self

    def sha256(self) -> str:
        """Return the hash of the recipe's content: the same for any order of keys and any comments."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
