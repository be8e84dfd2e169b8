"""What test_ddp.py runs in two processes: `torchrun --nproc-per-node 2 two_processes.py FOLDER`."""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from delineate.checks import InputError
from delineate.data import Batch
from delineate.inference.evaluate import evaluate
from delineate.models.base import SegmentationModel
from delineate.models.prediction import Prediction
from delineate.processes import FailedElsewhere, joined
from delineate.recipe_io import load_recipe
from delineate.training import fit
from delineate.training.batch_norm import ProcessorSyncBatchNorm, synchronise_batch_norm
from delineate.training.fit import Listener, train
from delineate.training.objective import CaseCounts, Objective, part_factors


class Plain(SegmentationModel):
    """A network without batch normalisation and dropout, with a head that no loss looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.GELU())
        self.head = nn.ConvTranspose2d(6, 1, 2, stride=2)
        self.label = nn.Linear(6, 1)
        self.unused = nn.Conv2d(6, 1, 1)

    def encode(self, image):
        return [self.body(image)]

    def decode(self, features, size):
        return self.head(features[-1])

    def predict(self, image):
        features = self.encode(image)
        aux = (self.unused(features[-1]),)
        return Prediction(self.decode(features, image.shape[-2:]), self.label(features[-1].mean((2, 3))), aux)

    def encoder_modules(self):
        return (self.body,)

    def activation_layers(self):
        return (self.body,)


def use_plain_model():
    """Let `train` build the plain network, whatever the recipe names."""
    return patch.object(fit, "build_model", lambda recipe: Plain())


class StopError(RuntimeError):
    """What the tests stop a training with."""


def stop_after_the_first_epoch():
    def on_epoch(row):
        if row["epoch"] > 1:
            raise StopError("stopped here")

    return Listener(on_epoch=on_epoch)


def check_what_processes_tell_each_other():
    with joined() as processes:
        rank = processes.rank
        assert (processes.size, processes.machines, processes.device) == (2, 1, torch.device("cpu"))
        assert processes.gather(10 + rank) == [10, 11]
        assert processes.share(lambda: f"from {rank}") == "from 0"
        seen = []
        assert processes.one_after_another(lambda leads: seen.append(leads) or rank) == rank
        assert seen == [rank == 0]
        torch.testing.assert_close(processes.add_up(torch.tensor([1.0, rank])), torch.tensor([2.0, 1.0]))
        part = torch.full((1 + rank, 2), float(rank), requires_grad=True)  # 1 row and 2 rows
        whole = processes.join_batches(part)
        assert whole[:, 0].tolist() == [0, 1, 1]
        (whole * torch.tensor([[1.0], [2.0], [3.0]])).sum().backward()
        # Both processes computed the sum, so each row's gradient came twice.
        assert part.grad[:, 0].tolist() == ([2.0] if rank == 0 else [4.0, 6.0])


def check_failures_end_everywhere():
    def fail(*_):
        raise InputError("A thing is wrong; mend it.")

    with joined() as processes:
        error = InputError if processes.first else FailedElsewhere
        with pytest.raises(error, match="A thing is wrong; mend it.") as caught:
            processes.share(fail)
        assert type(caught.value) is error
        error = FailedElsewhere if processes.first else InputError
        with pytest.raises(error, match="A thing is wrong; mend it.") as caught:
            processes.together(lambda: processes.rank and fail())
        assert type(caught.value) is error
        assert processes.gather(1) == [1, 1]  # and the processes can go on


def check_batch_norm():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(5, 4, 6, 6, generator=generator, dtype=torch.float64)
    wanted = torch.randn(5, 4, 6, 6, generator=generator, dtype=torch.float64)

    def layers():
        torch.manual_seed(1)
        frozen = nn.BatchNorm2d(4).eval()
        made = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), BatchNormAct2d(4, momentum=None), frozen)
        return made.double()

    with joined() as processes:
        mine = slice(0, 2) if processes.first else slice(2, 5)
        alone, shared = layers(), layers()
        weights = dict(shared.named_parameters())
        synchronise_batch_norm(shared, processes)
        kinds = [type(layer) for layer in shared]
        assert kinds == [ProcessorSyncBatchNorm, nn.Conv2d, ProcessorSyncBatchNorm, nn.BatchNorm2d]
        assert all(weights[name] is value for name, value in shared.named_parameters())
        for _ in range(2):
            whole_image = image.clone().requires_grad_()
            part_image = image[mine].clone().requires_grad_()
            whole, part = alone(whole_image), shared(part_image)
            torch.testing.assert_close(part, whole[mine], rtol=1e-9, atol=1e-9)
            (whole * wanted).sum().backward()
            (part * wanted[mine]).sum().backward()
            torch.testing.assert_close(part_image.grad, whole_image.grad[mine], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(shared.state_dict(), alone.state_dict(), rtol=1e-9, atol=1e-9)
        for name, value in shared.named_parameters():
            if value.grad is not None:
                total = processes.add_up(value.grad)
                expected = alone.get_parameter(name).grad
                torch.testing.assert_close(total, expected, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(shared.eval()(image), alone.eval()(image))
        shared.bfloat16().train()
        assert shared(image[mine].bfloat16()).dtype == torch.bfloat16


def check_loss_of_a_shared_batch():
    pooled = [
        "loss.mask=[{name: structure, weight: 1, options: {}}, "
        "{name: dice, weight: 2, options: {over: batch}}, "
        "{name: weighted_cross_entropy, weight: 0.5, options: {}}]",
        "loss.interaction=0.5",
    ]
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        image=torch.zeros(5, 3, 8, 8),
        mask=(torch.rand(5, 8, 8, generator=generator) > 0.6).to(torch.uint8),
        has_mask=torch.tensor([True, False, True, True, False]),
        label=torch.tensor([-1, -1, 0, 1, 1]),
        index=torch.arange(5),
    )
    mask = torch.randn(5, 1, 8, 8, generator=generator)
    label = torch.randn(5, 1, generator=generator)

    def loss(objective, part, **options):
        leaves = [mask[part].clone().requires_grad_(), label[part].clone().requires_grad_()]
        prediction = Prediction(leaves[0], leaves[1], joint=(leaves[0] * 2).roll(1, -1))
        value = objective(prediction, Batch(*(x[part] for x in batch)), **options)
        value.total.backward()
        return value, leaves

    with joined() as processes:
        # With references in both parts, and with all labels or all masks in one.
        for mine in ((slice(0, 2), slice(2, 5)), (slice(0, 4), slice(4, 5))):
            part = mine[processes.rank]
            objective = Objective(load_recipe("demo", pooled), processes)
            cases = CaseCounts.of(Batch(*(x[part] for x in batch)))
            everyone = CaseCounts(*processes.add_up(torch.stack(cases)))
            assert [float(n) for n in everyone] == [3, 3, 5]
            shared, leaves = loss(objective, part, factors=part_factors(cases, everyone, processes))
            alone, expected = loss(Objective(load_recipe("demo", pooled)), slice(0, 5))
            mean = [processes.add_up(x.detach()) / 2 for x in shared]
            torch.testing.assert_close(mean, [x.detach() for x in alone])
            for own, whole in zip(leaves, expected, strict=True):
                # DDP divides the sum of gradients by the number of processes.
                torch.testing.assert_close(own.grad / 2, whole.grad[part], rtol=1e-5, atol=1e-7)


def train_runs(work):
    rank = int(__import__("os").environ["RANK"])
    settings = json.loads((work / "settings.json").read_text())
    recipe = load_recipe("demo", settings)
    heard = []
    record = train(
        recipe, work / "data", work / "two", listener=Listener(on_epoch=lambda row: heard.append(row))
    )
    assert record.environment.device == "2 x cpu"
    assert len(heard) == (record.epochs if rank == 0 else 0)

    with pytest.raises(InputError, match="already holds a run; continue it with --resume") as caught:
        train(recipe, work / "data", work / "two")
    assert type(caught.value) is (FailedElsewhere if rank else InputError)

    with pytest.raises(InputError, match="batch_size 3 is that of all processes together") as caught:
        train(load_recipe("demo", [*settings, "training.batch_size=3"]), work / "data", work / "odd")
    assert not (work / "odd").exists()

    with pytest.raises((StopError, FailedElsewhere), match="stopped here") as caught:
        train(recipe, work / "data", work / "broken", listener=stop_after_the_first_epoch())
    assert type(caught.value) is (FailedElsewhere if rank else StopError)

    assert train(recipe, work / "data", work / "begun", resume=True).resumed == 1


def score(work):
    result = evaluate(work / "scored", split="train")
    assert len(result.table) == len(result.cases) == 10
    assert result.table["dice"].notna().all()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    check_what_processes_tell_each_other()
    check_failures_end_everywhere()
    check_batch_norm()
    check_loss_of_a_shared_batch()
    with use_plain_model():
        train_runs(folder)
    score(folder)
