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
from delineate.models.base import SegmentationModel
from delineate.models.prediction import Prediction
from delineate.processes import Processes
from delineate.training.figures import EpochFigures, Row
from delineate.training.objective import CaseCounts, LossParts, Objective, part_factors
from delineate.training.optimisers import create_optimiser, parameter_groups
from delineate.training.schedules import rate_share


class TrainingModule(lightning.LightningModule):
    """Train a model as a recipe says and keep one row of figures per epoch in `history`.

    Randomness of an epoch depends only on the recipe's seed and the epoch's number, so that a run resumed
    from the end of an epoch equals one that was never interrupted. Several processes minimise the loss that
    one would: that of the whole batch, of which each sees a part.

    Args:
        recipe: all choices.
        model: an image -> Prediction network of this package.
        on_epoch: called with each finished row.
        processes: those that train together.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: SegmentationModel,
        on_epoch: Callable[[Row], None] | None = None,
        processes: Processes | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = model
        self.normalise = Normalise.named(recipe.data.normalisation)
        self.processes = processes or Processes()
        self.objective = Objective(recipe, self.processes)
        self.history: list[Row] = []
        self.on_epoch = on_epoch
        self.groups = parameter_groups(model, model.encoder_parameters(), recipe.optimiser)
        self._figures = self._new_figures()
        self._started = time.monotonic()
        self._rate = 0.0

    # --- training -------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(self._epoch_seed())
        self._figures = self._new_figures()
        self._started = time.monotonic()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        self._rate = float(self.trainer.optimizers[0].param_groups[-1]["lr"])
        batch = self._prepare(batch)
        if self.recipe.training.sizes:
            batch = self._resize(batch, batch_index)
        prediction = self.model(batch.image)
        cases = CaseCounts.of(batch)
        if self.processes.size == 1:
            loss = self.objective(prediction, batch)
        else:
            whole = CaseCounts(*self.processes.add_up(torch.stack(cases)))
            loss = self.objective(prediction, batch, part_factors(cases, whole, self.processes))
            cases = CaseCounts(*(count / self.processes.size for count in whole))
        self._collect("train", loss, cases)
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

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        batch = self._prepare(batch)
        prediction = self._predict(batch.image)
        self._collect("val", self.objective(prediction, batch), CaseCounts.of(batch))
        self._figures.add_scores(prediction, batch)

    # --- one row per epoch ----------------------------------------------------------------------------

    def on_train_epoch_end(self) -> None:
        """Close the epoch's row; callbacks run after this and find it as `history[-1]`."""
        row: Row = {"epoch": float(self.current_epoch + 1), "seconds": time.monotonic() - self._started}
        row["rate"] = self._rate
        row |= self._shown(self._figures.row())
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
        # Each process draws its own dropout; the first one what a single process draws.
        own = [self.processes.rank] if self.processes.rank else []
        seed = [self.recipe.training.seed, self.current_epoch, *own]
        return int(np.random.SeedSequence(seed).generate_state(1)[0])

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

    def _predict(self, image: Tensor) -> Prediction:
        """Predict a whole batch in pieces of what a process gets in training, which fit into its memory."""
        piece = max(1, self.recipe.training.batch_size // self.processes.size)
        parts: list[Prediction] = [self.model(part) for part in image.split(piece)]
        if len(parts) == 1:
            return parts[0]
        return Prediction(
            mask=_joined([part.mask for part in parts]),
            label=_joined([part.label for part in parts]),
            aux=tuple(torch.cat(maps) for maps in zip(*(part.aux for part in parts), strict=True)),
            joint=_joined([part.joint for part in parts]),
        )

    def _new_figures(self) -> EpochFigures:
        return EpochFigures(self.recipe.evaluation.threshold, self.processes)

    def _collect(self, split: str, loss: LossParts, cases: CaseCounts) -> None:
        for part, count in zip(CaseCounts._fields, cases, strict=True):
            self._figures.add_loss(f"{split}_{part}_loss", getattr(loss, part), count)

    def _shown(self, figures: Row) -> Row:
        """Add the whole loss of each split, and keep those parts that are not the whole."""
        both = bool(self.objective.mask_terms and self.objective.label_terms)
        row: Row = {}
        for split in ("train", "val"):
            parts = {part: figures.pop(f"{split}_{part}_loss", None) for part in CaseCounts._fields}
            known = [value for value in parts.values() if value is not None]
            if not known:
                continue
            row[f"{split}_loss"] = sum(known)
            if both:
                row |= {f"{split}_{part}_loss": parts[part] or 0.0 for part in ("mask", "label")}
            if self.objective.interaction_weight and split == "train":  # its branch exists only in training
                row[f"{split}_interaction_loss"] = parts["interaction"] or 0.0
        return row | figures

    def _score(self, row: Row) -> float | None:
        """Return what chooses the best epoch, higher is better, or None without validation."""
        if "val_loss" not in row:
            return None
        parts = {"loss": -row["val_loss"], "dice": row.get("val_dice"), "auc": row.get("val_auc")}
        values = [parts[name] for name in self.recipe.training.monitor.split("+")]
        return sum(value for value in values if value is not None) / len(values)


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None
