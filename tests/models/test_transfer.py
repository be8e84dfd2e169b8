"""Starting from halves of other runs: what is copied, what stays, and what a frozen encoder means."""

import pytest
import torch

from delineate.checks import InputError
from delineate.layers.encoders import create_encoder
from delineate.models.checkpoint import build_model, save_model
from delineate.models.chnet import CHNet
from delineate.models.clnet import CLNet
from delineate.models.transfer import freeze, start_from
from delineate.recipe_io import load_recipe
from delineate.training.module import TrainingModule


def recipe_with(small_settings, *changes):
    masks_only = ["task.labels={}", "loss.label=[]", "training.monitor=dice", "model.options={}"]
    return load_recipe("demo", [*small_settings, *masks_only, *changes])


@pytest.fixture
def saved(tmp_path, small_settings):
    """Save a fresh model as a run would: (folder, model)."""

    def make(name, *changes, seed=1):
        recipe = recipe_with(small_settings, *changes)
        torch.manual_seed(seed)
        model = build_model(recipe)
        for key, value in model.state_dict().items():
            if "running_mean" in key:
                value.normal_()
        save_model(tmp_path / name, model, recipe)
        return tmp_path / name, model

    return make


def chnet(levels=(0, 1, 2, 3), seed=7, **options):
    torch.manual_seed(seed)
    return CHNet(create_encoder("test_resnet", levels=levels), **options)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def outside(model):
    return {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("encoder.")}


def test_each_half_comes_from_its_run(saved):
    first, first_model = saved("first", "model.name=chnet", seed=1)
    second, second_model = saved("second", "model.name=chnet", seed=2)
    model = chnet()
    start_from(model, encoder_from=first, decoder_from=second)
    assert same(model.encoder.state_dict(), first_model.encoder.state_dict())  # statistics too
    assert same(outside(model), outside(second_model))
    assert not same(outside(first_model), outside(second_model))
    assert all(weight.requires_grad for weight in model.parameters())


def test_nothing_asked_changes_nothing():
    model, untouched = chnet(), chnet()
    start_from(model)
    assert same(model.state_dict(), untouched.state_dict())


def test_levels_that_this_model_does_not_use_are_left_out(saved):
    # CLNet's own label encoder has five levels, CHNet uses four of them.
    options = "model.options={widths: [8, 8, 8, 8, 8], mask_encoder: unet}"
    deep, deep_model = saved("deep", "model.name=clnet", options)
    model = chnet()
    before = outside(model)
    start_from(model, encoder_from=deep)
    wanted = deep_model.label_encoder.state_dict()
    assert len(wanted) > len(model.encoder.state_dict())
    assert same(model.encoder.state_dict(), wanted)
    assert same(before, outside(model))


def test_a_missing_level_is_named(saved):
    shallow, _ = saved("shallow", "model.name=chnet")
    deep = chnet(levels=(0, 1, 2, 3, 4))
    with pytest.raises(
        InputError,
        match=r"shallow \(chnet, encoder test_resnet\) lacks layer4, which this model uses; take the encoder",
    ):
        start_from(deep, encoder_from=shallow)


def test_misfits_are_one_clear_sentence(saved, tmp_path):
    run, _ = saved("run", "model.name=chnet")
    wide, _ = saved("wide", "model.name=chnet", "model.options={width: 16}")
    other, _ = saved("other", "model.name=chnet", "model.encoder=test_efficientnet")
    with pytest.raises(InputError, match="other .* is another network: it lacks network.conv1"):
        start_from(chnet(), encoder_from=other)
    with pytest.raises(
        InputError, match=r"decoder of the run .*wide.* has head.reduce.0.weight of shape \[16"
    ):
        start_from(chnet(), decoder_from=wide)
    two = CLNet(*(create_encoder("test_resnet", levels=(0, 1)) for _ in range(2)), widths=(8, 8))
    with pytest.raises(InputError, match=r"has 1 encoder\(s\) and CLNet has 2"):
        start_from(two, encoder_from=run)
    with pytest.raises(
        InputError, match="does not fit CLNet: it lacks fuse.0.reduce.* and [0-9]+ more; take"
    ):
        start_from(two, decoder_from=run)
    with pytest.raises(InputError, match="is missing; .* is not a finished run"):
        start_from(chnet(), encoder_from=tmp_path / "nowhere")


def test_a_model_without_a_trainable_encoder_cannot_be_frozen():
    class Bare(CHNet):
        def encoder_modules(self):
            return ()

    with pytest.raises(InputError, match="Bare names no pre-trainable encoder with these options"):
        start_from(Bare(create_encoder("test_resnet", levels=(0, 1))), freeze_encoder=True)


def test_a_frozen_encoder_keeps_weights_and_statistics_whatever_mode_is_set():
    model = chnet()
    start_from(model, freeze_encoder=True)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    head = outside(model)
    optimiser = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=0.1)
    torch.manual_seed(0)
    image = torch.rand(2, 3, 64, 64)
    for _ in range(2):
        model.train()  # as a trainer does after every validation
        model(image).mask.square().mean().backward()
        optimiser.step()
    assert same(before, model.encoder.state_dict())
    assert all(weight.grad is None for weight in model.encoder.parameters())
    after = outside(model)
    assert not torch.equal(head["head.classify.weight"], after["head.classify.weight"])
    assert not torch.equal(head["head.norm.running_mean"], after["head.norm.running_mean"])


def test_parts_of_a_frozen_encoder_may_be_called_one_by_one():
    norm = torch.nn.BatchNorm2d(3)
    drop = torch.nn.Dropout(0.9)
    freeze([torch.nn.Sequential(norm, drop)])
    norm.train(), drop.train()
    image = torch.rand(4, 3, 5, 5) + 3
    assert torch.equal(drop(norm(image)), norm(image))
    assert torch.equal(norm.running_mean, torch.zeros(3))


def test_a_rate_for_a_frozen_encoder_is_refused_with_the_remedy(small_settings):
    changes = ("model.name=chnet", "optimiser.encoder_rate_factor=0.1")
    model = chnet()
    freeze(model.encoder_modules())
    with pytest.raises(InputError, match="the group 'encoder' of this model holds no trainable weights; set"):
        TrainingModule(recipe_with(small_settings, *changes), model)
    module = TrainingModule(recipe_with(small_settings, "model.name=chnet"), model)
    assert module.groups[0]["weights"] == sum(w.numel() for w in model.head.parameters())
