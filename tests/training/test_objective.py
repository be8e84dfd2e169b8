"""The training loss: which case counts towards which part."""

import pytest
import torch

from delineate.data import Batch
from delineate.losses import LOSSES, bce_loss, create_loss, one_hot_mask, structure_loss
from delineate.models.prediction import Prediction
from delineate.recipe_io import load_recipe
from delineate.training.objective import Objective, pools_over_batch


def batch(has_mask, label, classes=1):
    generator = torch.Generator().manual_seed(0)
    count = len(label)
    return Batch(
        image=torch.zeros(count, 3, 8, 8),
        mask=torch.randint(0, classes + 1, (count, 8, 8), generator=generator, dtype=torch.uint8),
        has_mask=torch.tensor(has_mask),
        label=torch.tensor(label),
        index=torch.arange(count),
    )


@pytest.fixture
def prediction():
    generator = torch.Generator().manual_seed(1)
    return Prediction(
        mask=torch.randn(3, 1, 8, 8, generator=generator).requires_grad_(),
        label=torch.randn(3, 1, generator=generator).requires_grad_(),
    )


def test_total_is_the_weighted_sum(prediction):
    recipe = load_recipe("demo", ["loss.mask.0.weight=2", "loss.label.0.weight=0.5"])
    given = batch([True] * 3, [0, 1, 1])
    loss = Objective(recipe)(prediction, given)
    mask = structure_loss(prediction.mask, one_hot_mask(given.mask, 1))
    label = bce_loss(prediction.label, given.label[:, None].float())
    torch.testing.assert_close(loss.total, 2 * mask + 0.5 * label)


def test_a_case_counts_only_towards_the_loss_it_has_a_reference_for(prediction):
    loss = Objective(load_recipe("demo"))(prediction, batch([True, False, True], [-1, 1, -1]))
    loss.total.backward()
    assert (prediction.mask.grad.flatten(1).abs().sum(1) > 0).tolist() == [True, False, True]
    assert (prediction.label.grad[:, 0] != 0).tolist() == [False, True, False]


def test_a_batch_without_references_gives_zero_and_reaches_the_weights(prediction):
    loss = Objective(load_recipe("demo"))(prediction, batch([False] * 3, [-1] * 3))
    loss.total.backward()
    assert loss.total == 0
    assert prediction.mask.grad is not None
    assert prediction.mask.grad.abs().sum() == 0


def test_several_classes_and_deep_supervision():
    recipe = load_recipe(
        "demo",
        [
            "task.classes=[rnfl, gcipl]",
            "task.labels={a: [a], b: [b], c: [c]}",
            "loss.mask=[{name: cross_entropy, weight: 1, options: {}}]",
            "loss.label=[{name: cross_entropy, weight: 1, options: {}}]",
            "loss.aux_weight=0.5",
        ],
    )
    given = batch([True, True], [2, 0], classes=2)
    logits, aux = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)
    label = torch.randn(2, 3)
    loss = Objective(recipe)(Prediction(logits, label, (aux,)), given)
    plain = torch.nn.functional.cross_entropy
    full = torch.nn.functional.interpolate(aux, (8, 8), mode="bilinear", align_corners=False)
    expected = (
        plain(logits, given.mask.long()) + 0.5 * plain(full, given.mask.long()) + plain(label, given.label)
    )
    torch.testing.assert_close(loss.total, expected)


def test_interaction_compares_the_joint_map_with_the_mask_and_needs_no_reference(prediction):
    joint = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    recipe = load_recipe("demo", ["loss.interaction=0.1"])
    given = batch([False] * 3, [-1] * 3)
    loss = Objective(recipe)(prediction._replace(joint=joint), given)
    by_hand = 0.1 * (joint.sigmoid() - prediction.mask.sigmoid()).abs().mean()  # FCP-Net, Eqs. (16)-(18)
    torch.testing.assert_close(loss.total, by_hand)
    torch.testing.assert_close(loss.interaction, by_hand)
    loss.total.backward()
    assert joint.grad.abs().sum() > 0
    assert Objective(recipe)(prediction, given).interaction == 0  # in evaluation there is no joint map


@pytest.mark.parametrize("options", [{}, {"over": "batch"}])
@pytest.mark.parametrize("name", LOSSES)
def test_it_is_known_which_losses_are_no_mean_over_cases(name, options):
    """Processes that share a batch exchange their predictions for those."""
    if not options.keys() <= LOSSES[name].options.keys():
        return
    more = {"pretrained": False, "size": 16} if name == "lossnet" else {}
    loss = create_loss(name, options | more)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 1, 16, 16, generator=generator)
    target = (
        torch.rand(4, 1, 16, 16, generator=generator)
        > torch.tensor([0.1, 0.9, 0.3, 0.5])[:, None, None, None]
    ).float()
    halves = (loss(logits[:2], target[:2]) + loss(logits[2:], target[2:])) / 2
    same = torch.allclose(halves, loss(logits, target), rtol=1e-5)
    assert same is not pools_over_batch(name, options)
