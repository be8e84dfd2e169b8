"""Cases as tensors and batches: the same bits whatever the workers, and after a resume."""

from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch
from tiny_data import save

from delineate.checks import InputError
from delineate.data import (
    Augmentation,
    Batch,
    Cache,
    CaseDataModule,
    CaseDataset,
    EpochSampler,
    MaskEncoding,
    collate,
    index,
    label_indices,
    read_image,
)

SIZE = (16, 16)
VARIED = Augmentation(horizontal_flip=0.5, rotation=20, brightness=0.2)
LABELS = {"rest": ["nevus", "keratosis"], "melanoma": ["melanoma"]}


@pytest.fixture
def cases(make_folder):
    """13 train, 3 val, 2 test; a01 has no mask, a02 no label."""
    names = ["nevus", "melanoma", "keratosis"]
    rows = "".join(f"a{i:02},{names[i % 3]}\n" for i in range(18) if i != 2)
    parts = "".join(f"a{i:02},{'train' if i < 13 else 'val' if i < 16 else 'test'}\n" for i in range(18))
    root = make_folder(18, labels=f"image_id,label\n{rows}", split=f"image_id,split\n{parts}")
    (root / "masks" / "a01.png").unlink()
    return index(root)


def module(cases, tmp_path, **options):
    options = {"size": SIZE, "batch_size": 4, "labels": LABELS, "cache_folder": tmp_path / "cache"} | options
    made = CaseDataModule(cases, augmentation=VARIED, **options)
    made.prepare_data()
    return made


def equal(first: list[Batch], second: list[Batch]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for one, two in pairs for a, b in zip(one, two, strict=True))


def test_sample(cases):
    dataset = CaseDataset(cases, size=(24, 32), labels=LABELS)
    image, mask, has_mask, label, position = dataset[4]
    assert (image.dtype, mask.dtype) == (torch.uint8, torch.uint8)
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), read_image(cases[4].image))
    assert (mask.shape, has_mask, label, position) == ((24, 32), True, 1, 4)
    assert set(mask.unique().tolist()) == {0, 1}
    assert dataset[1].has_mask is False
    assert dataset[1].mask.sum() == 0
    assert dataset[2].label == -1
    assert dataset[3].label == 0


def test_batch(cases):
    dataset = CaseDataset(cases, size=SIZE, labels=LABELS)
    batch = collate([dataset[i] for i in range(3)])
    assert batch.image.shape == (3, 3, 16, 16)
    assert batch.mask.shape == (3, 16, 16)
    assert (batch.image.dtype, batch.mask.dtype) == (torch.uint8, torch.uint8)
    assert (batch.has_mask.tolist(), batch.label.tolist(), batch.index.tolist()) == (
        [True, False, True],
        [0, 1, -1],
        [0, 1, 2],
    )
    assert (batch.has_mask.dtype, batch.label.dtype) == (torch.bool, torch.int64)


def test_cache_changes_nothing(cases, tmp_path):
    cached = CaseDataset(cases, size=SIZE, cache=Cache(tmp_path / "c"), augmentation=VARIED)
    plain = CaseDataset(cases, size=SIZE, augmentation=VARIED)
    for key in [(0, 0), (3, 5), 7]:
        for _ in range(2):  # filling the cache, then reading from it
            assert equal([collate([cached[key]])], [collate([plain[key]])])


def test_threads_are_left_as_they_were(cases):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        CaseDataset(cases, size=SIZE, augmentation=VARIED)[0]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_task_without_masks_does_not_read_them(cases):
    broken = [replace(case, mask=case.image) for case in cases]
    sample = CaseDataset(broken, size=SIZE, classes=(), labels=LABELS)[0]
    assert (sample.has_mask, sample.label) == (False, 0)


def test_a_task_without_labels(cases):
    assert CaseDataset(cases, size=SIZE)[0].label == -1


def test_labels(cases):
    with pytest.raises(
        InputError, match=r"has the label 'keratosis', which the task's labels \(melanoma, nevus\)"
    ):
        label_indices(cases, {"rest": ["nevus"], "melanoma": ["melanoma"]})
    ignored = label_indices(cases, {"rest": ["nevus"], "melanoma": ["melanoma"]}, ["keratosis"])
    assert ignored[:6] == [0, 1, -1, 0, 1, -1]
    with pytest.raises(InputError, match="The data label 'nevus' is named twice, again under 'b'"):
        label_indices(cases, {"a": ["nevus"], "b": ["nevus"]})


def test_mask_classes(cases, tmp_path):
    CaseDataset(cases, size=SIZE, classes=("polyp",))
    with pytest.raises(
        InputError, match=r"classes of case 'a00' are foreground, but the task segments disc, cup"
    ):
        CaseDataset(cases, size=SIZE, classes=("disc", "cup"))
    path = save(np.resize(np.array([0, 5, 9], np.uint8), (24, 32)), tmp_path / "m.png")
    encoding = MaskEncoding(("disc", "cup"), (5, 9))
    several = [replace(cases[0], mask=path, encoding=encoding)]
    assert CaseDataset(several, size=(24, 32), classes=("disc", "cup"))[0].mask.unique().tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"are disc, cup, but the task segments cup, disc"):
        CaseDataset(several, size=SIZE, classes=("cup", "disc"))


def positions(*arguments, epoch=0, **options):
    """The batches of a sampler, without the epoch."""
    sampler = EpochSampler(*arguments, **options)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(sampler) == len(batches)
    assert {e for batch in batches for e, _ in batch} <= {epoch}
    return [[position for _, position in batch] for batch in batches]


@pytest.mark.parametrize(
    ("length", "batch", "sizes"),
    [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (1, 4, [1]), (3, 1, [1, 1, 1]), (8, 4, [4, 4])],
)
def test_a_last_batch_of_one_joins_the_batch_before(length, batch, sizes):
    batches = positions(length, batch_size=batch)
    assert [len(one) for one in batches] == sizes
    assert sorted(sum(batches, [])) == list(range(length))
    in_order = positions(length, batch_size=batch, shuffle=False)
    assert sum(in_order, []) == list(range(length))
    assert max(map(len, in_order)) <= batch


def test_order_depends_on_seed_and_epoch_alone():
    first = positions(50, seed=1)
    assert first == positions(50, seed=1)
    assert positions(50, seed=1, epoch=1) != first
    assert positions(50, seed=2) != first


@pytest.mark.parametrize("length", range(3, 20))
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_every_training_batch_evenly_and_every_case_once(length, world):
    parts = [positions(length, batch_size=6, seed=1, rank=rank, world=world) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1  # as many steps for all
    whole = [sum(step, []) for step in zip(*parts, strict=True)]
    assert sorted(sum(whole, [])) == list(range(length))
    assert all(step for part in parts for step in part)
    assert max(len(step) for part in parts for step in part) <= 6 // world + 1
    if length % 6 == 0 or length % 6 >= world:  # then the batches are those of one process
        alone = positions(length, batch_size=6, seed=1)
        assert [sorted(step) for step in whole] == [sorted(step) for step in alone]


@pytest.mark.parametrize("length", [1, 4, 5, 11])
def test_processes_score_whole_batches_in_turn(length):
    parts = [positions(length, batch_size=2, shuffle=False, rank=rank, world=2) for rank in range(2)]
    alone = positions(length, batch_size=2, shuffle=False)
    assert parts == [alone[::2], alone[1::2]]


def test_fewer_cases_than_processes(cases):
    with pytest.raises(InputError, match=r"3 processes cannot share 2 training case\(s\)"):
        EpochSampler(2, world=3)


def test_loaders(cases, tmp_path):
    data = module(cases, tmp_path)
    train, val, test = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    assert [len(batch.index) for batch in train] == [4, 4, 5]  # 13 = 3 x 4 + 1
    assert torch.cat([batch.index for batch in val]).tolist() == [0, 1, 2]
    assert torch.cat([batch.index for batch in test]).tolist() == [0, 1]
    assert data.datasets["val"].cases[0].id == "a13"
    assert equal(list(val), list(val))


def test_same_bits_for_any_number_of_workers(cases, tmp_path):
    seen = []
    for workers in (0, 2):
        data = module(cases, tmp_path, workers=workers)
        loader = data.train_dataloader()
        torch.manual_seed(5)
        epochs = []
        for epoch in range(3):  # persistent workers must learn of the epoch
            data.set_epoch(epoch)
            epochs.append(list(loader))
        seen.append((epochs, torch.rand(1).item()))
    for one, two in zip(seen[0][0], seen[1][0], strict=True):
        assert equal(one, two)
    assert seen[0][1] == seen[1][1]  # and the global generator is left alone
    assert not equal(seen[0][0][0], seen[0][0][1])


def test_order_of_the_cases_does_not_matter(cases, tmp_path):
    first = list(module(cases, tmp_path).train_dataloader())
    assert equal(first, list(module(cases[::-1], tmp_path).train_dataloader()))


class Recorder(lightning.LightningModule):
    """A model that keeps the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, Batch]] = []

    def training_step(self, batch, _):
        self.seen.append((self.current_epoch, batch))
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data, root, epochs, checkpoint=None, workers=0):
    model = Recorder()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=root,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return model, trainer


@pytest.mark.parametrize("workers", [0, 1])
def test_lightning_sets_the_epoch_and_a_resumed_run_sees_the_same_batches(cases, tmp_path, workers):
    whole, _ = fit(module(cases, tmp_path, workers=workers), tmp_path, 4)
    _, trainer = fit(module(cases, tmp_path), tmp_path, 2)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    rest, _ = fit(module(cases, tmp_path, workers=workers), tmp_path, 4, checkpoint=tmp_path / "half.ckpt")
    assert [epoch for epoch, _ in whole.seen] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert [epoch for epoch, _ in rest.seen] == [2] * 3 + [3] * 3
    assert equal([batch for _, batch in whole.seen[6:]], [batch for _, batch in rest.seen])
    assert not equal([batch for _, batch in whole.seen[:3]], [batch for _, batch in whole.seen[3:6]])


def test_bad_arguments(cases, tmp_path):
    with pytest.raises(InputError, match=r"Case 'a00' has no split; split the cases first"):
        module([replace(cases[0], split=None)], tmp_path)
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        module(cases, tmp_path, batch_size=0)
    with pytest.raises(InputError, match="workers must be 0 or more, got -1"):
        module(cases, tmp_path, workers=-1)
    with pytest.raises(InputError, match="There are no cases in the split test"):
        module(cases[:13], tmp_path).test_dataloader()


def test_without_a_cache_nothing_is_written(cases, tmp_path):
    list(module(cases, tmp_path, cache=False).train_dataloader())
    assert not (tmp_path / "cache").exists()
