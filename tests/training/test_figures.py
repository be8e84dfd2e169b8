"""The figures of an epoch."""

import pytest
import torch

from delineate.data import Batch
from delineate.models.prediction import Prediction
from delineate.processes import Processes
from delineate.training.figures import EpochFigures


def batch(wanted, has_mask, label):
    count = len(label)
    return Batch(
        image=torch.zeros(count, 3, 2, 2),
        mask=torch.tensor(wanted, dtype=torch.uint8).view(count, 2, 2),
        has_mask=torch.tensor(has_mask),
        label=torch.tensor(label),
        index=torch.arange(count),
    )


@pytest.fixture
def figures():
    return EpochFigures(0.5, Processes())


def test_a_loss_is_the_mean_over_cases_not_over_batches(figures):
    figures.add_loss("val_mask_loss", torch.tensor(1.0), torch.tensor(3.0))
    figures.add_loss("val_mask_loss", torch.tensor(5.0), torch.tensor(1.0))
    figures.add_loss("val_label_loss", torch.tensor(0.0), torch.tensor(0.0))
    assert figures.row() == {"val_mask_loss": 2.0, "val_label_loss": 0.0}


def test_dice_and_auc_are_of_all_cases_with_a_reference(figures):
    found = torch.tensor([[1.0, 1, -1, -1], [1, 1, 1, 1], [-1, -1, -1, -1]]).view(3, 1, 2, 2)
    wanted = [[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]]
    label = torch.tensor([[2.0], [-1.0], [0.5]])
    figures.add_scores(Prediction(found, label), batch(wanted, [True, True, False], [1, 0, -1]))
    figures.add_scores(Prediction(-found[:1], -label[:1]), batch(wanted[:1], [True], [0]))
    row = figures.row()
    assert row["val_dice"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert row["val_auc"] == 1.0


def test_without_any_mask_there_is_no_dice(figures):
    figures.add_scores(Prediction(torch.zeros(1, 1, 2, 2)), batch([[0, 0, 0, 0]], [False], [0]))
    assert torch.isnan(torch.tensor(figures.row()["val_dice"]))
