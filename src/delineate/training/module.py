"""The one LightningModule: any model, any recipe."""

import time
from collections.abc import Callable
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from delineate.config import Recipe
from delineate.data import Batch
from delineate.layers.normalise import Normalise
from delineate.metrics.labels import auc
from delineate.models.base import SegmentationModel
from delineate.models.prediction import Prediction, label_probability
from delineate.training.objective import LossParts, Objective
from delineate.training.optimisers import create_optimiser, parameter_groups
from delineate.training.schedules import rate_share

Row = dict[str, float]


class TrainingModule(lightning.LightningModule):
    """Train a model as a recipe says and keep one row of figures per epoch in `history`.

    Randomness of an epoch depends only on the recipe's seed and the epoch's number, so that a run resumed
    from the end of an epoch equals one that was never interrupted.

    Args:
        recipe: all choices.
        model: an image -> Prediction network of this package.
        on_epoch: called with each finished row.
    """

    def __init__(
        self, recipe: Recipe, model: SegmentationModel, on_epoch: Callable[[Row], None] | None = None
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = model
        self.normalise = Normalise.named(recipe.data.normalisation)
        self.objective = Objective(recipe)
        self.history: list[Row] = []
        self.on_epoch = on_epoch
        self.groups = parameter_groups(model, model.encoder_parameters(), recipe.optimiser)
        self._losses: dict[str, list[Tensor]] = {}
        self._dice: list[Tensor] = []
        self._labels: list[tuple[Tensor, Tensor]] = []
        self._started = time.monotonic()
        self._rate = 0.0

    # --- training -------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(self._epoch_seed())
        self._losses = {}
        self._started = time.monotonic()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        self._rate = float(self.trainer.optimizers[0].param_groups[-1]["lr"])
        batch = self._prepare(batch)
        if self.recipe.training.sizes:
            batch = self._resize(batch, batch_index)
        loss = self.objective(self.model(batch.image), batch)
        self._collect("train", loss)
        return loss.total

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override] # Lightning's union of 8 types
        recipe = self.recipe
        optimiser = create_optimiser(self.groups, recipe.optimiser)
        epochs = recipe.training.epochs
        steps = max(1, int(self.trainer.estimated_stepping_batches) // epochs)

        def share(step: int) -> float:
            return rate_share(recipe.schedule, step, steps_per_epoch=steps, epochs=epochs)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- validation -----------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._dice, self._labels = [], []

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        batch = self._prepare(batch)
        prediction: Prediction = self.model(batch.image)
        self._collect("val", self.objective(prediction, batch))
        if prediction.mask is not None:
            self._dice.append(_image_dice(prediction.mask, batch, self.recipe.evaluation.threshold))
        if prediction.label is not None:
            probability = label_probability(prediction.label)
            self._labels.append((probability.cpu(), batch.label.cpu()))

    # --- one row per epoch ----------------------------------------------------------------------------

    def on_train_epoch_end(self) -> None:
        """Close the epoch's row; callbacks run after this and find it as `history[-1]`."""
        row: Row = {"epoch": float(self.current_epoch + 1), "seconds": time.monotonic() - self._started}
        row["rate"] = self._rate
        for name, values in self._losses.items():
            row[name] = float(torch.stack(values).mean())
        if self._dice:
            row["val_dice"] = float(torch.cat(self._dice).nanmean())
        if self._labels:
            row["val_auc"] = self._validation_auc()
        self.history.append(row)
        if self.on_epoch is not None:
            self.on_epoch(row)
        score = self._score(row)
        if score is not None:
            self.log("score", score, prog_bar=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["delineate"] = {
            "history": self.history,
            "recipe": self.recipe.model_dump(mode="json"),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["delineate"]["history"])

    # --- parts ----------------------------------------------------------------------------------------

    def _epoch_seed(self) -> int:
        return int(
            np.random.SeedSequence([self.recipe.training.seed, self.current_epoch]).generate_state(1)[0]
        )

    def _prepare(self, batch: Batch) -> Batch:
        image = self.normalise(batch.image)
        if self.recipe.training.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return batch._replace(image=image)

    def _resize(self, batch: Batch, batch_index: int) -> Batch:
        """Bring a batch to one of the recipe's sizes, drawn from (seed, epoch, batch)."""
        seed = [self.recipe.training.seed, self.current_epoch, batch_index]
        size = int(np.random.default_rng(seed).choice(self.recipe.training.sizes))
        image = nn.functional.interpolate(
            batch.image, (size, size), mode="bilinear", align_corners=False, antialias=True
        )
        mask = nn.functional.interpolate(batch.mask[:, None].float(), (size, size), mode="nearest-exact")
        return batch._replace(image=image, mask=mask[:, 0].to(batch.mask.dtype))

    def _collect(self, split: str, loss: LossParts) -> None:
        parts = {"loss": loss.total}
        if self.objective.mask_terms and self.objective.label_terms:
            parts |= {"mask_loss": loss.mask, "label_loss": loss.label}
        if self.objective.interaction_weight and split == "train":  # its branch exists only in training
            parts["interaction_loss"] = loss.interaction
        for name, value in parts.items():
            self._losses.setdefault(f"{split}_{name}", []).append(value.detach())

    def _validation_auc(self) -> float:
        probability = torch.cat([p for p, _ in self._labels]).numpy()
        target = torch.cat([t for _, t in self._labels]).numpy()
        return float(auc(probability, target))

    def _score(self, row: Row) -> float | None:
        """Return what chooses the best epoch, higher is better, or None without validation."""
        if "val_loss" not in row:
            return None
        parts = {"loss": -row["val_loss"], "dice": row.get("val_dice"), "auc": row.get("val_auc")}
        values = [parts[name] for name in self.recipe.training.monitor.split("+")]
        return sum(value for value in values if value is not None) / len(values)


def _image_dice(logits: Tensor, batch: Batch, threshold: float) -> Tensor:
    """Return the Dice of each image with a mask, at the network's size; both empty counts as 1.

    Several classes: the mean over the classes that occur in the reference or in the prediction.
    This guides training only; the evaluation measures at the reference's own size.
    """
    logits, reference = logits[batch.has_mask].float(), batch.mask[batch.has_mask]
    if logits.shape[1] == 1:
        found = logits.sigmoid() > threshold
        wanted = reference[:, None] > 0
    else:
        channels = range(1, logits.shape[1])
        decided = logits.argmax(1)
        found = torch.stack([decided == c for c in channels], 1)
        wanted = torch.stack([reference == c for c in channels], 1)
    both = (found & wanted).sum((2, 3)).float()
    total = (found.sum((2, 3)) + wanted.sum((2, 3))).float()
    dice = torch.where(total > 0, 2 * both / total.clamp(min=1), torch.nan)  # (B, classes)
    return torch.where(dice.isnan().all(1), 1.0, dice.nanmean(1)).cpu()
