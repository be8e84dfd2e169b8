"""Losses: functions `(logits, target, *, options) -> scalar`, a class that owns weights, and their table."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from delineate.checks import InputError, choose, did_you_mean
from delineate.losses.common import one_hot_label, one_hot_mask, smooth_target
from delineate.losses.compound import combo_loss, exponential_logarithmic_loss
from delineate.losses.entropy import (
    bce_loss,
    cross_entropy_loss,
    focal_loss,
    weighted_cross_entropy_loss,
)
from delineate.losses.interaction import interaction_loss
from delineate.losses.lossnet import LossNet
from delineate.losses.overlap import dice_loss, tversky_loss
from delineate.losses.structure import border_weight, structure_loss

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits, target of the same shape) -> scalar, computed in float32 also under autocast:
sums over 512 x 512 pixels overflow half precision (65504)."""


@dataclass(frozen=True)
class LossSpec:
    """One row of the table."""

    function: Callable[..., Any]
    """A function (logits, target, *, options) -> scalar; or, for a loss that owns weights, a class whose
    instances are called with (logits, target). Either way the keyword arguments are the options."""
    summary: str
    """One line."""
    source: str
    """Where it is published."""
    kinds: tuple[Literal["mask", "label"], ...]
    """What it can be applied to: masks (B, C, H, W), labels (B, K)."""

    @property
    def options(self) -> dict[str, object]:
        """Names and default values of the options."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


LOSSES: dict[str, LossSpec] = {
    "structure": LossSpec(
        structure_loss,
        "border-weighted binary cross-entropy + border-weighted IoU",
        "Wei et al., F3Net, AAAI 2020",
        ("mask",),
    ),
    "bce": LossSpec(bce_loss, "binary cross-entropy, each channel on its own", "textbook", ("mask", "label")),
    "cross_entropy": LossSpec(
        cross_entropy_loss, "cross-entropy between exclusive classes", "textbook", ("mask", "label")
    ),
    "weighted_cross_entropy": LossSpec(
        weighted_cross_entropy_loss,
        "cross-entropy in which every class counts as much as its weight, or all the same",
        "Ronneberger et al., U-Net, MICCAI 2015",
        ("mask", "label"),
    ),
    "dice": LossSpec(dice_loss, "soft Dice", "Milletari et al., V-Net, 3DV 2016", ("mask",)),
    "focal": LossSpec(
        focal_loss, "cross-entropy that fades for easy pixels", "Lin et al., ICCV 2017", ("mask", "label")
    ),
    "tversky": LossSpec(
        tversky_loss,
        "soft Dice with weights of its own for false positives and false negatives",
        "Salehi et al., MLMI 2017",
        ("mask",),
    ),
    "exponential_logarithmic": LossSpec(
        exponential_logarithmic_loss,
        "powers of log-Dice and of weighted cross-entropy",
        "Wong et al., MICCAI 2018",
        ("mask",),
    ),
    "combo": LossSpec(
        combo_loss, "weighted binary cross-entropy + soft Dice", "Taghanaki et al., CMIG 2019", ("mask",)
    ),
    "lossnet": LossSpec(
        LossNet,
        "distance between prediction and mask in the features of a frozen VGG-16",
        "Zhao et al., MSNet, MICCAI 2021",
        ("mask",),
    ),
}


def create_loss(
    name: str,
    options: Mapping[str, object] | None = None,
    *,
    kind: Literal["mask", "label"] | None = None,
) -> Loss:
    """Build a loss from the table.

    Args:
        name: key of `LOSSES`.
        options: keyword arguments of the loss function; they are checked now, values when the loss is called.
            A loss that owns weights is built, and loads them, here and only once.
        kind: what it is going to be applied to, if known.

    Raises:
        InputError: unknown name or option, a loss that does not work on `kind`, or weights are missing.
    """
    spec = choose("loss", name, LOSSES)
    if kind is not None and kind not in spec.kinds:
        usable = [other for other, row in LOSSES.items() if kind in row.kinds]
        raise InputError(f"Loss {name!r} does not work on a {kind}; choose from: {', '.join(usable)}.")
    for option in options or {}:
        if option not in spec.options:
            raise InputError(
                f"Unknown option {option!r} of loss {name!r}.{did_you_mean(option, spec.options)}"
            )
    if isinstance(spec.function, type):
        return spec.function(**(options or {}))
    return partial(spec.function, **(options or {}))


def combine(terms: Sequence[tuple[Loss, float]]) -> Loss:
    """Return the weighted sum of losses as one loss.

    Args:
        terms: (loss, weight) pairs; weights at least 0.

    Raises:
        InputError: there is no term, or a weight is negative or NaN.
    """
    if not terms:
        raise InputError("A combined loss needs at least one (loss, weight) pair.")
    for _, weight in terms:
        if not weight >= 0:
            raise InputError(f"The weight of a loss must be at least 0, got {weight!r}.")

    def combined(logits: Tensor, target: Tensor) -> Tensor:
        total = terms[0][1] * terms[0][0](logits, target)
        for loss, weight in terms[1:]:
            total = total + weight * loss(logits, target)
        return total

    return combined


__all__ = [
    "LOSSES",
    "Loss",
    "LossNet",
    "LossSpec",
    "bce_loss",
    "border_weight",
    "combine",
    "combo_loss",
    "create_loss",
    "cross_entropy_loss",
    "dice_loss",
    "exponential_logarithmic_loss",
    "focal_loss",
    "interaction_loss",
    "one_hot_label",
    "one_hot_mask",
    "smooth_target",
    "structure_loss",
    "tversky_loss",
    "weighted_cross_entropy_loss",
]
