"""The scalar that training minimises, from what a model said and what a batch holds."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from delineate.config import Recipe, label_channels, mask_channels
from delineate.data import Batch
from delineate.losses import create_loss, interaction_loss, one_hot_label, one_hot_mask
from delineate.models.prediction import Prediction
from delineate.processes import Processes

POOLING = ("weighted_cross_entropy", "exponential_logarithmic")
"""Losses whose value for a batch is not the mean of its cases' values; so are those with over="batch"."""


class Term(NamedTuple):
    """One summand."""

    weight: float
    loss: Callable[[Tensor, Tensor], Tensor]
    pools: bool
    """Whether it needs the cases of a batch together."""


class LossParts(NamedTuple):
    """A batch's loss, whole and by task, float32 scalars."""

    total: Tensor
    mask: Tensor
    label: Tensor
    interaction: Tensor


class CaseCounts(NamedTuple):
    """How many cases of a batch count towards each loss, float32 scalars."""

    mask: Tensor
    label: Tensor
    interaction: Tensor

    @classmethod
    def of(cls, batch: Batch) -> "CaseCounts":
        """Count a batch."""
        every = torch.ones_like(batch.label, dtype=torch.float32)
        return cls(batch.has_mask.float().sum(), (batch.label >= 0).float().sum(), every.sum())


class Objective:
    """Weighted sum of the recipe's loss terms; a case counts only towards the losses it has a reference for.

    Args:
        recipe: names the terms.
        processes: those that share a training batch.

    Raises:
        InputError: a loss or one of its options is unknown.
    """

    def __init__(self, recipe: Recipe, processes: Processes | None = None) -> None:
        self.processes = processes or Processes()
        self.channels = mask_channels(recipe.task.classes)
        self.labels = label_channels(recipe.task.labels)
        self.aux_weight = recipe.loss.aux_weight
        self.interaction_weight = recipe.loss.interaction
        self.mask_terms = [
            Term(t.weight, create_loss(t.name, t.options, kind="mask"), pools_over_batch(t.name, t.options))
            for t in recipe.loss.mask
        ]
        self.label_terms = [
            Term(t.weight, create_loss(t.name, t.options, kind="label"), pools_over_batch(t.name, t.options))
            for t in recipe.loss.label
        ]

    def __call__(self, prediction: Prediction, batch: Batch, factors: CaseCounts | None = None) -> LossParts:
        """Return the loss of a batch whose masks have the size of `prediction.mask`.

        A batch without any reference for a task gives that task a loss of 0 that still reaches its weights,
        so that all processes of a distributed run see the same graph.

        Args:
            prediction: of the batch.
            batch: the cases; with `factors`, this process's part of a batch.
            factors: what each loss of a part is multiplied by, so that the mean over the processes is the
                loss of the whole batch, see `part_factors`. Losses that pool over a batch are computed of the
                whole batch instead, for which the processes exchange their predictions.
        """
        mask = label = interaction = torch.zeros((), device=batch.image.device)
        if prediction.mask is not None and self.mask_terms:
            factor = None if factors is None else factors.mask
            mask = self._mask_loss(prediction.mask, batch, factor)
            if self.aux_weight:
                for aux in prediction.aux:
                    full = torch.nn.functional.interpolate(
                        aux.float(), batch.mask.shape[-2:], mode="bilinear", align_corners=False
                    )
                    mask = mask + self.aux_weight * self._mask_loss(full, batch, factor)
        if prediction.label is not None and self.label_terms:
            label = self._label_loss(prediction.label, batch, None if factors is None else factors.label)
        if prediction.joint is not None and prediction.mask is not None and self.interaction_weight:
            # It compares two predictions, so it needs no reference.
            interaction = self.interaction_weight * interaction_loss(prediction.joint, prediction.mask)
            interaction = interaction if factors is None else factors.interaction * interaction
        return LossParts(mask + label + interaction, mask, label, interaction)

    def _mask_loss(self, logits: Tensor, batch: Batch, factor: Tensor | None) -> Tensor:
        known = batch.has_mask
        target = one_hot_mask(batch.mask[known], self.channels)
        return self._weighted(self.mask_terms, logits, known, target, factor)

    def _label_loss(self, logits: Tensor, batch: Batch, factor: Tensor | None) -> Tensor:
        known = batch.label >= 0
        target = one_hot_label(batch.label[known], self.labels)
        return self._weighted(self.label_terms, logits, known, target, factor)

    def _weighted(
        self, terms: Sequence[Term], logits: Tensor, known: Tensor, target: Tensor, factor: Tensor | None
    ) -> Tensor:
        some = bool(known.any())
        total = torch.zeros((), device=logits.device) if some else logits.float().sum() * 0
        own = logits[known]
        for weight, loss, pools in terms:
            if factor is not None and pools:
                everyone = self.processes.join_batches(own.float())
                targets = self.processes.join_batches(target)
                if len(everyone):
                    total = total + weight * loss(everyone, targets)
            elif some:
                value = weight * loss(own, target)
                total = total + (value if factor is None else factor * value)
        return total


def part_factors(part: CaseCounts, whole: CaseCounts, processes: Processes) -> CaseCounts:
    """Return what the mean loss of a part counts in the mean over equal processes, per loss.

    Args:
        part: cases of this process.
        whole: cases of all.
        processes: how many there are.
    """
    return CaseCounts(
        *(processes.size * mine / every.clamp(min=1) for mine, every in zip(part, whole, strict=True))
    )


def pools_over_batch(name: str, options: Mapping[str, object]) -> bool:
    """Whether a loss of a batch differs from the mean of its cases' losses."""
    return name in POOLING or options.get("over") == "batch"
