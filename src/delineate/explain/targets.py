"""What is explained: one label, or one class of the mask over a region.

    target   score for gradients                         score for perturbations
    label    logit of the label                          probability of the label
    mask     sum of the class's logits over the region   mean probability of the class over the region

The region is fixed on the whole image, so that a perturbed image is asked about the same pixels.

A run's threshold is not known here: what is found is the largest logit, as with a threshold of 0.5. Whoever
knows the decision gives the index and the region, as `Predictor.explain` does.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from delineate.checks import InputError, choose
from delineate.models.prediction import Prediction

Target = Literal["label", "mask"]
TARGETS = {"label": "the logit of one label", "mask": "the sum of one class's logits over a region"}


@dataclass(frozen=True)
class Score:
    """One number per image of a batch, see the module's docstring."""

    target: Target
    index: int
    """Position of the label, or of the class in a decoded mask (0 background)."""
    region: Tensor | None
    """bool (H, W) at the size of the image, for a mask."""

    def logit(self, prediction: Prediction) -> Tensor:
        """Score for gradients, (B,)."""
        if self.target == "label":
            return _label_logits(prediction)[:, self.index]
        chosen = _mask_logits(prediction)[:, self.index]  # (B, H, W)
        return chosen[:, self.region].sum(1)

    def probability(self, prediction: Prediction) -> Tensor:
        """Score for perturbations, (B,) in [0, 1]."""
        if self.target == "label":
            logits = _label_logits(prediction)
            return _probability(logits, _channels(prediction.label))[:, self.index]
        chosen = _probability(_mask_logits(prediction), _channels(prediction.mask))[:, self.index]
        return chosen[:, self.region].mean(1)


def fix_score(
    prediction: Prediction, target: Target, index: int | None = None, region: Tensor | None = None
) -> Score:
    """Decide what is explained, from the prediction of the whole image.

    Args:
        prediction: of one image.
        target: "label" or "mask".
        index: for "label" the position of the label; of two labels, 0 explains the negated logit. For "mask"
            the class as in a decoded mask: 0 background, i + 1 the i-th class; of a binary mask, 0 explains
            the negated logits. None takes the most probable label, or the class with the largest predicted
            region, background excepted.
        region: bool (H, W), pixels of the mask to explain; None for all that are predicted as the class, and
            for the whole image when there is none, so that the map still says where the class is most nearly
            found.

    Raises:
        InputError: unknown `target`, `index` out of range, a region that is empty or of another size or given
            for a label, or a prediction without the output that `target` needs.
    """
    choose("target of an activation map", target, TARGETS)
    if target == "label":
        if region is not None:
            raise InputError("A region belongs to target='mask'; a label speaks of the whole image.")
        labels = _label_logits(prediction)[0]
        return Score(target, _index(labels, index, "label", int(labels.argmax())), None)
    logits = _mask_logits(prediction)[0]  # (C, H, W)
    decoded = logits.argmax(0)  # of two equal logits the background, as probability > 0.5 has it
    areas = torch.bincount(decoded.flatten(), minlength=len(logits))[1:]
    chosen = _index(logits, index, "mask", 1 + int(areas.argmax()))
    if region is None:
        region = decoded == chosen
        if not bool(region.any()):
            region = torch.ones_like(region)
    elif region.shape != decoded.shape or region.dtype != torch.bool or not bool(region.any()):
        raise InputError(
            f"The region must be a boolean map of the image's size {tuple(decoded.shape)} with at least one "
            f"pixel set, got {region.dtype} {tuple(region.shape)} with {int(region.sum())}."
        )
    return Score(target, chosen, region.to(decoded.device))


def region_at(region: NDArray[np.bool_], size: tuple[int, int]) -> Tensor:
    """Bring the pixels of a decided mask to the network's size, for `fix_score`.

    Args:
        region: (H, W), at the size of the mask.
        size: height and width of the result.

    Returns:
        bool, what is set at the centre of each pixel. A region so small that no centre meets it keeps the
        pixels it touches; an empty one becomes the whole image, as in `fix_score`.
    """
    height, width = region.shape
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(np.int64)
    found = region[np.ix_(rows, columns)]
    if not found.any():
        y, x = np.nonzero(region)
        found[y * size[0] // height, x * size[1] // width] = True
    return torch.from_numpy(found if found.any() else np.ones(size, np.bool_))


def _label_logits(prediction: Prediction) -> Tensor:
    """(B, labels); one logit stands for two labels, the second is the positive one."""
    if prediction.label is None:
        raise InputError("This model has no label output to explain; use target='mask'.")
    logits = prediction.label
    return torch.cat([-logits, logits], 1) if logits.shape[1] == 1 else logits


def _mask_logits(prediction: Prediction) -> Tensor:
    """(B, C, H, W); of a binary mask one map stands for background and foreground."""
    if prediction.mask is None:
        raise InputError("This model has no mask output to explain; use target='label'.")
    logits = prediction.mask
    return torch.cat([-logits, logits], 1) if logits.shape[1] == 1 else logits


def _probability(pairs: Tensor, channels: int) -> Tensor:
    """Of one channel, made a pair (-x, x), the probability is sigmoid(x); of several it is their softmax."""
    return pairs.float().sigmoid() if channels == 1 else pairs.float().softmax(1)


def _channels(output: Tensor | None) -> int:
    return 0 if output is None else output.shape[1]


def _index(logits: Tensor, index: int | None, kind: str, default: int) -> int:
    if index is None:
        return default
    if not 0 <= index < len(logits):
        raise InputError(f"The {kind} index must be between 0 and {len(logits) - 1}, got {index}.")
    return index
