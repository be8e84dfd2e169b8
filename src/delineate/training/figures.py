"""The figures of an epoch: every case counts once, whoever computed it and in whatever batch."""

import torch
from torch import Tensor

from delineate.data import Batch
from delineate.metrics.labels import auc
from delineate.models.prediction import Prediction, label_probability
from delineate.processes import Processes

Row = dict[str, float]
_Noted = dict[str, list[tuple[Tensor, Tensor]]]
_Sums = dict[str, tuple[float, float]]


class EpochFigures:
    """Collects what batches gave and turns it into figures over the cases of all processes.

    A loss is the mean over the cases that have its reference, not over batches: a last batch with few cases
    weighs as little as it should.

    Args:
        threshold: probability above which a pixel counts as found.
        processes: those that compute the epoch together; all of them call `row` at its end.
    """

    def __init__(self, threshold: float, processes: Processes) -> None:
        self.threshold = threshold
        self.processes = processes
        self._noted: _Noted = {}
        self._dice: list[Tensor] = []
        self._labels: list[tuple[Tensor, Tensor, Tensor]] = []

    def add_loss(self, name: str, mean: Tensor, cases: Tensor) -> None:
        """Note the mean of a loss over a number of cases; nothing waits for a GPU here."""
        self._noted.setdefault(name, []).append((mean.detach(), cases.detach()))

    def add_scores(self, prediction: Prediction, batch: Batch) -> None:
        """Note what the scores of the validation split are made of."""
        if prediction.mask is not None:
            self._dice.append(image_dice(prediction.mask, batch, self.threshold))
        if prediction.label is not None:
            probability = label_probability(prediction.label)
            self._labels.append((batch.index.cpu(), probability.cpu(), batch.label.cpu()))

    def row(self) -> Row:
        """Return the mean losses in the order in which they were first noted, `val_dice` and `val_auc`.

        Every process gets the same row. A figure that nobody noted is absent; a loss without any case is 0.
        """
        dice = torch.cat(self._dice).double() if self._dice else None
        own = _sums(self._noted)
        if dice is not None:
            own["val_dice"] = (float(dice.sum()), float(len(dice)))
        labels = [torch.cat(parts) for parts in zip(*self._labels, strict=True)]
        told = self.processes.gather((own, labels))
        row: Row = {}
        for name in dict.fromkeys(name for sums, _ in told for name in sums):
            total, cases = (sum(sums.get(name, (0.0, 0.0))[i] for sums, _ in told) for i in (0, 1))
            row[name] = total / cases if cases else torch.nan if name == "val_dice" else 0.0
        parts = [labels for _, labels in told if labels]
        if parts:
            index, probability, target = (torch.cat(column) for column in zip(*parts, strict=True))
            order = index.argsort()
            row["val_auc"] = float(auc(probability[order].numpy(), target[order].numpy()))
        return row


def image_dice(logits: Tensor, batch: Batch, threshold: float) -> Tensor:
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


def _sums(noted: _Noted) -> _Sums:
    """Sum of mean x cases, and of cases, of each loss, as double precision on the processor."""
    sums = {}
    for name, parts in noted.items():
        means = torch.stack([mean.float() for mean, _ in parts]).cpu().double()
        cases = torch.stack([cases.float() for _, cases in parts]).cpu().double()
        sums[name] = (float((means * cases).sum()), float(cases.sum()))
    return sums
