"""Optimisers: which weights train at which rate."""

from collections.abc import Iterable

import torch
from torch import nn

from delineate.checks import InputError
from delineate.config import Optimiser


def parameter_groups(
    model: nn.Module, encoder: Iterable[nn.Parameter], recipe: Optimiser
) -> list[dict[str, object]]:
    """Split a model's trainable weights into those of the encoder and the rest.

    Args:
        model: the network.
        encoder: the weights that train at `rate * encoder_rate_factor`.
        recipe: the recipe's section.

    Returns:
        One dict per group with `params`, `lr`, `name` and `weights` (their number), for torch's optimisers.
        With a factor of 1 there is one group; a group is never empty.

    Raises:
        InputError: a factor is given and the model has no encoder weights, or nothing else. (The released
            MSNet code has such an empty group, so its encoder trained at the head's rate.)
    """
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    if recipe.encoder_rate_factor == 1:
        return [_group("all", trainable, recipe.rate)]
    inside = {id(weight) for weight in encoder}
    groups = [
        _group(
            "encoder", [w for w in trainable if id(w) in inside], recipe.rate * recipe.encoder_rate_factor
        ),
        _group("rest", [w for w in trainable if id(w) not in inside], recipe.rate),
    ]
    for group in groups:
        if not group["params"]:
            raise InputError(
                f"optimiser.encoder_rate_factor is {recipe.encoder_rate_factor}, but the group "
                f"{group['name']!r} of this model holds no trainable weights; set the factor to 1."
            )
    return groups


def create_optimiser(groups: list[dict[str, object]], recipe: Optimiser) -> torch.optim.Optimizer:
    """Build the optimiser over `parameter_groups`; beta2 of Adam is 0.999, its epsilon 1e-8."""
    if recipe.name == "sgd":
        return torch.optim.SGD(
            groups,
            lr=recipe.rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
        )
    kind = torch.optim.Adam if recipe.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.rate, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay)


def _group(name: str, weights: list[nn.Parameter], rate: float) -> dict[str, object]:
    return {"params": weights, "lr": rate, "name": name, "weights": sum(w.numel() for w in weights)}
