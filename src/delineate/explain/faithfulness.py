"""Faithfulness of a map: do the places that it shows move the score?

    deletion    hide pixels, those with the largest value first: the score of a faithful map falls at once
    insertion   begin with everything hidden and show the same pixels first: the score rises at once

Each gives a curve of the score over the share of pixels, and its area: low is good for deletion, high for
insertion. Areas say nothing alone, since a network may fall to pieces whatever is hidden. So they stand
beside the areas of random orders of blocks of pixels on the same image, and the difference is the result.
Pixels of equal value, such as the zeros of a map, are taken in a random order of such blocks too: strewn
over the image they would be a texture of their own, and an empty map would differ from the random orders.

Source:
    Petsiuk, Das and Saenko, RISE, BMVC 2018, arXiv:1806.07421, section 4.1: deletion with a constant colour,
    insertion into a blurred image. Here both fill in the same picture, "blur" by default, as a hard edge of a
    constant colour is itself something that a network sees.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.explain.activation import check_image, evaluation_mode
from delineate.explain.perturb import Fill, filling, scores_of
from delineate.explain.targets import Score, Target, fix_score


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the curves; a score is a probability, so every area lies in [0, 1]."""

    score: float
    """Score of the whole image: the label's probability, or the class's mean probability in the region."""
    deletion: float
    """Area under the deletion curve; low is faithful."""
    insertion: float
    """Area under the insertion curve; high is faithful."""
    random_deletion: float
    """Mean area of the random orders."""
    random_insertion: float
    """Mean area of the random orders."""
    shares: tuple[float, ...]
    """Share of pixels hidden or shown, 0 to 1: the curves' places."""
    deletion_curve: tuple[float, ...]
    """Score with this share of pixels hidden."""
    insertion_curve: tuple[float, ...]
    """Score with this share of pixels shown."""

    @property
    def gain(self) -> float:
        """How much better than random orders, mean of both areas' differences; 0 is as good as chance."""
        return (self.random_deletion - self.deletion + self.insertion - self.random_insertion) / 2


def faithfulness(
    model: nn.Module,
    image: Tensor,
    activations: Mapping[str, NDArray[np.float32]],
    *,
    target: Target = "label",
    index: int | None = None,
    region: Tensor | None = None,
    fill: Fill = "blur",
    steps: int = 16,
    random_orders: int = 3,
    seed: int = 0,
    batch_size: int = 16,
) -> dict[str, Faithfulness]:
    """Score maps of one image by deletion and insertion.

    Args:
        model: image -> Prediction.
        image: (1, 3, H, W) float, normalised as the model expects it, on the model's device.
        activations: name -> map (H, W) float, any range, at the size of `image`; a larger value is more
            important. All are compared with the same random orders, which are computed once.
        target: what the maps explain, as it was given to `activation_map`.
        index: as it was given to `activation_map`.
        region: as it was given to `activation_map`.
        fill: what hidden pixels show, see `perturb.FILLS`.
        steps: number of equal shares of the pixels that are hidden or shown one after the other.
        random_orders: number of random orders to compare with. They hide blocks of an eighth of the shorter
            side, since single pixels spread over the image disturb a network more than any map does.
        seed: of the random orders, and of the order of blocks among pixels of equal value.
        batch_size: images in one forward pass.

    Raises:
        InputError: a map of another size or that is not finite, an image of another shape, fewer than two
            steps or one random order, unknown `fill`, or what `targets.fix_score` refuses.
    """
    check_image(image)
    size = (image.shape[2], image.shape[3])
    for name, activation in activations.items():
        if activation.shape != size or not np.isfinite(activation).all():
            raise InputError(
                f"The map {name!r} must be finite and of the image's size {size}, got {activation.shape}; "
                "make it without `size`."
            )
    if steps < 2 or random_orders < 1:
        raise InputError(
            f"Faithfulness needs at least 2 steps and 1 random order, got {steps} and {random_orders}."
        )
    hidden = filling(image, fill)
    with evaluation_mode(model), torch.inference_mode():
        prediction = model(image)
    score = fix_score(prediction, target, index, region)

    def curves(values: NDArray[np.float32], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        return _curves(model, image, hidden, _ranks(values, rng), score, steps, batch_size)

    blocks = np.random.default_rng(seed)
    others = [curves(_random_blocks(size, blocks), blocks) for _ in range(random_orders)]
    return {
        name: Faithfulness(
            score=float(score.probability(prediction)[0]),
            deletion=_area(deletion),
            insertion=_area(insertion),
            random_deletion=float(np.mean([_area(one) for one, _ in others])),
            random_insertion=float(np.mean([_area(one) for _, one in others])),
            shares=tuple(np.linspace(0, 1, steps + 1).tolist()),
            deletion_curve=tuple(deletion.tolist()),
            insertion_curve=tuple(insertion.tolist()),
        )
        for name, activation in activations.items()
        for deletion, insertion in [curves(activation, np.random.default_rng(seed))]
    }


def _curves(
    model: nn.Module, image: Tensor, hidden: Tensor, ranks: Tensor, score: Score, steps: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Deletion and insertion, (steps + 1,) each; `ranks` (H, W) in [0, 1), 0 the most important pixel."""
    ranks = ranks.to(image.device)
    shares = [step / steps for step in range(steps + 1)]

    def perturbed() -> Iterator[Tensor]:
        for share in shares:
            yield torch.where(ranks < share, hidden, image)
        for share in shares:
            yield torch.where(ranks < share, image, hidden)

    found = scores_of(model, perturbed(), score, batch_size)
    return found[: steps + 1], found[steps + 1 :]


def _ranks(values: NDArray[np.float32], rng: np.random.Generator) -> Tensor:
    """Share of pixels more important than each, (H, W) in [0, 1); equal values block by block."""
    flat = values.ravel()
    blocks = _random_blocks((values.shape[0], values.shape[1]), rng)
    order = np.lexsort((blocks.ravel(), -flat))  # stable: row by row inside a block
    ranks = np.empty(flat.size)
    ranks[order] = np.arange(flat.size) / flat.size
    return torch.from_numpy(ranks.reshape(values.shape))


def _random_blocks(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """A map of random blocks, smooth inside none."""
    side = max(1, min(size) // 8)
    blocks = rng.random((1, 1, -(-size[0] // side), -(-size[1] // side)), dtype=np.float32)
    grown = F.interpolate(torch.from_numpy(blocks), scale_factor=side, mode="nearest")[0, 0]
    return np.ascontiguousarray(grown[: size[0], : size[1]].numpy())


def _area(curve: Tensor) -> float:
    """Area by the trapezoidal rule over [0, 1]."""
    return float(torch.trapezoid(curve.double(), dx=1 / (len(curve) - 1)))
