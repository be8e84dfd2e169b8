"""Which weights train at which rate."""

import pytest
import torch
from torch import nn

from delineate.checks import InputError
from delineate.config import Optimiser
from delineate.training.optimisers import create_optimiser, parameter_groups


def recipe(**changes):
    values = {
        "name": "sgd",
        "rate": 0.05,
        "encoder_rate_factor": 0.1,
        "weight_decay": 5e-4,
        "momentum": 0.9,
        "nesterov": False,
    }
    return Optimiser(**(values | changes))


@pytest.fixture
def model():
    return nn.ModuleDict({"encoder": nn.Linear(3, 4), "head": nn.Linear(4, 1)})


def test_groups_hold_every_weight_once_at_its_rate(model):
    groups = parameter_groups(model, model["encoder"].parameters(), recipe())
    assert [(g["name"], g["lr"], g["weights"]) for g in groups] == [
        ("encoder", pytest.approx(0.005), 16),
        ("rest", 0.05, 5),
    ]
    optimiser = create_optimiser(groups, recipe())
    held = [id(weight) for group in optimiser.param_groups for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in model.parameters())


def test_frozen_weights_are_left_out(model):
    model["head"].bias.requires_grad_(False)
    groups = parameter_groups(model, model["encoder"].parameters(), recipe())
    assert groups[1]["weights"] == 4


def test_an_empty_group_is_an_error(model):
    with pytest.raises(
        InputError, match="factor is 0.1, but the group 'encoder' .* holds no trainable weights"
    ):
        parameter_groups(model, [], recipe())
    with pytest.raises(InputError, match="the group 'rest'"):
        parameter_groups(model, model.parameters(), recipe())


def test_a_factor_of_one_needs_no_encoder(model):
    groups = parameter_groups(model, [], recipe(encoder_rate_factor=1.0))
    assert [(g["name"], g["weights"]) for g in groups] == [("all", 21)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)],
)
def test_optimisers_take_the_recipes_figures(model, name, kind):
    chosen = recipe(name=name, nesterov=name == "sgd")
    optimiser = create_optimiser(
        parameter_groups(model, [], chosen.model_copy(update={"encoder_rate_factor": 1})), chosen
    )
    assert type(optimiser) is kind
    group = optimiser.param_groups[0]
    assert group["weight_decay"] == 5e-4
    assert group["momentum" if name == "sgd" else "betas"] == (0.9 if name == "sgd" else (0.9, 0.999))
