"""The scalar that training minimises, from what a model said and what a batch holds."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from delineate.config import Recipe, label_channels, mask_channels
from delineate.data import Batch
from delineate.losses import create_loss, interaction_loss, one_hot_label, one_hot_mask
from delineate.models.prediction import Prediction

Term = tuple[float, Callable[[Tensor, Tensor], Tensor]]


class LossParts(NamedTuple):
    """A batch's loss, whole and by task, float32 scalars."""

    total: Tensor
    mask: Tensor
    label: Tensor
    interaction: Tensor


class Objective:
    """Weighted sum of the recipe's loss terms; a case counts only towards the losses it has a reference for.

    Args:
        recipe: names the terms.

    Raises:
        InputError: a loss or one of its options is unknown.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.channels = mask_channels(recipe.task.classes)
        self.labels = label_channels(recipe.task.labels)
        self.aux_weight = recipe.loss.aux_weight
        self.interaction_weight = recipe.loss.interaction
        self.mask_terms: list[Term] = [
            (t.weight, create_loss(t.name, t.options, kind="mask")) for t in recipe.loss.mask
        ]
        self.label_terms: list[Term] = [
            (t.weight, create_loss(t.name, t.options, kind="label")) for t in recipe.loss.label
        ]

    def __call__(self, prediction: Prediction, batch: Batch) -> LossParts:
        """Return the loss of a batch whose masks have the size of `prediction.mask`.

        A batch without any reference for a task gives that task a loss of 0 that still reaches its weights,
        so that all processes of a distributed run see the same graph.
        """
        mask = label = interaction = torch.zeros((), device=batch.image.device)
        if prediction.mask is not None and self.mask_terms:
            mask = self._mask_loss(prediction.mask, batch)
            if self.aux_weight:
                for aux in prediction.aux:
                    full = torch.nn.functional.interpolate(
                        aux.float(), batch.mask.shape[-2:], mode="bilinear", align_corners=False
                    )
                    mask = mask + self.aux_weight * self._mask_loss(full, batch)
        if prediction.label is not None and self.label_terms:
            label = self._label_loss(prediction.label, batch)
        if prediction.joint is not None and prediction.mask is not None and self.interaction_weight:
            # It compares two predictions, so it needs no reference.
            interaction = self.interaction_weight * interaction_loss(prediction.joint, prediction.mask)
        return LossParts(mask + label + interaction, mask, label, interaction)

    def _mask_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        known = batch.has_mask
        if not known.any():
            return logits.float().sum() * 0
        target = one_hot_mask(batch.mask[known], self.channels)
        return _weighted(self.mask_terms, logits[known], target)

    def _label_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        known = batch.label >= 0
        if not known.any():
            return logits.float().sum() * 0
        target = one_hot_label(batch.label[known], self.labels)
        return _weighted(self.label_terms, logits[known], target)


def _weighted(terms: list[Term], logits: Tensor, target: Tensor) -> Tensor:
    total = torch.zeros((), device=logits.device)
    for weight, loss in terms:
        total = total + weight * loss(logits, target)
    return total
