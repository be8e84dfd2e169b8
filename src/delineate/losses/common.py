"""What all losses share: float32, checked shapes, one-hot targets, class weights, label smoothing."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from delineate.checks import InputError


def prepare(logits: Tensor, target: Tensor, *, spatial: bool = False) -> tuple[Tensor, Tensor]:
    """Check shapes and return both as float32 (float64 stays float64).

    Args:
        logits: (B, C, H, W) or (B, K) float.
        target: the same shape, any number type, values 0 to 1.
        spatial: refuse (B, K).

    Raises:
        InputError: the shapes differ, or there are not two or four dimensions, or nothing in them.
    """
    if logits.shape != target.shape:
        raise InputError(
            f"Logits and target must have one shape, got {[*logits.shape]} and {[*target.shape]}; "
            f"turn class indices into channels with one_hot_mask or one_hot_label."
        )
    if logits.ndim not in ((4,) if spatial else (2, 4)) or logits.numel() == 0:
        allowed = "(B, C, H, W)" if spatial else "(B, C, H, W) or (B, K)"
        raise InputError(f"Logits must have shape {allowed} and not be empty, got {[*logits.shape]}.")
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return logits.to(dtype), target.to(dtype)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise InputError unless low <= value <= high (and not NaN)."""
    if not low <= value <= high:
        raise InputError(f"Loss option {name} must be between {low:g} and {high:g}, got {value!r}.")


def check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise InputError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise InputError(f"Loss option {name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")


def probabilities(logits: Tensor) -> Tensor:
    """Sigmoid for one channel, softmax over several."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


def log_probabilities(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and targets, one channel per class: a single one becomes negative, positive."""
    if logits.shape[1] > 1:
        return logits.log_softmax(1), target
    log_p = torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=1)
    return log_p, torch.cat([1 - target, target], dim=1)


def power(base: Tensor, exponent: float) -> Tensor:
    """Raise to a power >= 0; a fractional power's slope at 0 is infinite, so the base stays just above 0."""
    if exponent == 0:
        return torch.ones_like(base)
    if exponent < 1:
        base = base.clamp(min=torch.finfo(base.dtype).tiny ** 0.5)
    return base**exponent


def check_class_weights(weights: Sequence[float] | None, channels: int) -> None:
    """Raise InputError unless there is one weight >= 0 per class (two for one channel), or None."""
    count = max(channels, 2)
    if weights is not None and (len(weights) != count or not min(weights) >= 0):
        raise InputError(
            f"Loss option class_weights needs {count} weights of at least 0 for "
            f"{channels} channel(s), got {list(weights)}."
        )


def class_frequencies(target: Tensor) -> Tensor:
    """Share of each class in a batch: (B, C, ...) targets, a channel per class -> (C,), without gradient."""
    return target.detach().transpose(0, 1).flatten(1).mean(1)


def per_channel(weights: Tensor, like: Tensor) -> Tensor:
    """View (C,) weights so that they multiply (B, C, ...)."""
    return weights.view(-1, *[1] * (like.ndim - 2))


def smooth_target(target: Tensor, smoothing: float) -> Tensor:
    """Label smoothing: mix the target with the uniform distribution over its classes.

    Args:
        target: (B, C, ...) in [0, 1]. One channel stands for two classes, so 0 and 1 become s/2 and 1 - s/2.
        smoothing: s in [0, 1]; 0 returns the target itself.

    Source:
        Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, arXiv:1512.00567, section 7.
    """
    check_range("smoothing", smoothing, 0, 1)
    if smoothing == 0:
        return target
    return target * (1 - smoothing) + smoothing / max(target.shape[1], 2)


def one_hot_mask(index: Tensor, channels: int) -> Tensor:
    """Turn an index map into a loss target.

    Args:
        index: (B, H, W) integers, 0 background, i + 1 the i-th class.
        channels: the model's mask channels. 1 gives (B, 1, H, W) with 1 where index is 1.

    Returns:
        (B, channels, H, W) float32, zeros and ones; several channels sum to 1 at each pixel.

    Raises:
        InputError: the shape is another, or an index has no channel.
    """
    if index.ndim != 3 or index.is_floating_point():
        raise InputError(
            f"Index map must be integers of shape (B, H, W), got {index.dtype} {[*index.shape]}."
        )
    return _one_hot(index, channels, "Index map").movedim(-1, 1)


def one_hot_label(index: Tensor, channels: int) -> Tensor:
    """Turn class numbers (B,) into a loss target (B, channels) float32; 1 channel gives 1 where index is 1.

    Raises:
        InputError: the shape is another, or an index has no channel (a missing label, -1, must be left out).
    """
    if index.ndim != 1 or index.is_floating_point():
        raise InputError(f"Labels must be integers of shape (B,), got {index.dtype} {[*index.shape]}.")
    return _one_hot(index, channels, "Labels")


def _one_hot(index: Tensor, channels: int, what: str) -> Tensor:
    if channels < 1:
        raise InputError(f"Channels must be at least 1, got {channels}.")
    highest = max(channels, 2) - 1
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) <= highest:
        raise InputError(
            f"{what} must hold values from 0 to {highest} for {channels} channel(s), "
            f"got {int(index.min())} to {int(index.max())}."
        )
    if channels == 1:
        return index[..., None].float()
    return F.one_hot(index.long(), channels).float()
