"""What holds for every model of the table, with tiny encoders."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from delineate.checks import InputError
from delineate.losses import bce_loss, create_loss, interaction_loss, structure_loss
from delineate.models import MODELS, PLUGINS, SegmentationModel, create_model
from delineate.models.options import check_options
from delineate.models.plugins import split_name
from delineate.models.prediction import Prediction

ENCODERS = {  # tiny ones; resnet10t for all others
    "smp:dpt": "vit_tiny_patch16_224",
    "smp:segformer": "mit_b0",
    "unet": "unet",
    "attention-unet": "unet",
    "ulffn": "ulffn",
}
OPTIONS = {
    "chnet": {"width": 8, "hidden": 12},
    "msnet": {"width": 8},
    "m2snet": {"width": 8},
    "ulffn": {"widths": [4, 8, 8, 16]},
    "clnet": {"widths": [8, 8, 12, 16, 16]},
    "fcp-net": {"width": 16},
    "unet": {"widths": [4, 8, 8, 12, 16]},
    "attention-unet": {"widths": [4, 8, 8, 12, 16]},
    "deeplabv3plus": {"width": 16},
}
BATCH_NORMALISED_POOLING = {
    *("smp:deeplabv3", "smp:deeplabv3plus", "smp:pan", "smp:upernet"),
    *("ulffn", "fcp-net", "deeplabv3plus"),
}
PLUGGED = ["unet+dsmca+hlf", "smp:unet+fpm", "m2snet+hlf"]


def classifies(name):
    base, plugins = split_name(name)
    return PLUGINS[plugins[-1]].classifies if plugins else MODELS[base].classifies


def tiny(name, classes=2, labels=None, seed=0):
    torch.manual_seed(seed)
    base, _ = split_name(name)
    return create_model(
        name,
        classes=classes,
        labels=(3 if classifies(name) else 0) if labels is None else labels,
        encoder=ENCODERS.get(base, "resnet10t"),
        options=OPTIONS.get(base),
    )


@pytest.fixture(scope="module", params=[*MODELS, *PLUGGED])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return tiny(name)


@pytest.mark.parametrize("size", [(64, 64), (75, 53), (1, 1)])
def test_output_has_the_size_of_the_image_and_repeats_itself(name, model, size):
    image = torch.rand(2, 3, *size)
    with torch.inference_mode():
        first, second = model.eval()(image), model(image)
    assert isinstance(first, Prediction)
    assert first.mask.shape == (2, 2, *size)
    assert first.mask.isfinite().all()
    assert torch.equal(first.mask, second.mask)
    if classifies(name):
        assert first.label.shape == (2, 3)
        assert torch.equal(first.label, second.label)
    else:
        assert first.label is None


def test_images_of_a_batch_do_not_mix_in_evaluation(model):
    image = torch.rand(3, 3, 75, 53)
    with torch.inference_mode():
        together = model.eval()(image)
        alone = model(image[1:2])
    torch.testing.assert_close(together.mask[1:2], alone.mask, rtol=1e-3, atol=1e-4)
    if together.label is not None:
        torch.testing.assert_close(together.label[1:2], alone.label, rtol=1e-3, atol=1e-4)


def test_every_parameter_gets_a_gradient_at_an_odd_size(model):
    model.train().zero_grad(set_to_none=True)
    prediction = model(torch.rand(2, 3, 75, 53))
    loss = prediction.mask.square().mean()
    if prediction.label is not None:
        loss = loss + prediction.label.square().mean()
    if prediction.joint is not None:
        loss = loss + interaction_loss(prediction.joint, prediction.mask)
    loss.backward()
    without = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    model.zero_grad(set_to_none=True)


def test_training_on_one_small_image_works_or_says_what_to_do(name, model):
    model.train()
    if name in BATCH_NORMALISED_POOLING:
        with pytest.raises(InputError, match="use a batch size of at least 2"):
            model(torch.rand(1, 3, 1, 1))
    else:
        assert model(torch.rand(1, 3, 1, 1)).mask.isfinite().all()


def test_weights_round_trip_through_safetensors(name, model, tmp_path):
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = tiny(name, seed=1)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(other.eval()(image).mask, model.eval()(image).mask)


def test_encoder_parameters_are_some_but_not_all(model):
    assert isinstance(model, SegmentationModel)
    encoder = {id(p) for p in model.encoder_parameters()}
    everything = {id(p) for p in model.parameters()}
    assert encoder
    assert encoder < everything


def test_activation_layers_give_maps_that_the_output_depends_on(name, model):
    maps = []
    layers = model.activation_layers()
    handles = [
        layer.register_forward_hook(lambda _module, _inputs, output: maps.append(output)) for layer in layers
    ]
    prediction = model.eval()(torch.rand(1, 3, 75, 53))
    for handle in handles:
        handle.remove()
    assert len(maps) == len(layers) > 0
    assert all(m.ndim == 4 for m in maps)
    score = prediction.mask[0, 1].sum() if prediction.label is None else prediction.label[0, 1]
    for gradient in torch.autograd.grad(score, maps):
        assert gradient.abs().sum() > 0


def test_training_branches_can_be_removed_and_change_nothing(model):
    image = torch.rand(2, 3, 64, 64)
    slim = copy.deepcopy(model).eval()
    slim.remove_training_branches()
    assert set(slim.state_dict()) <= set(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(slim(image).mask, model.eval()(image).mask)
    assert slim.train()(image).joint is None


def test_the_two_halves_make_the_whole(name, model):
    if name == "smp:dpt":
        with pytest.raises(InputError, match="hands more than feature maps to its decoder"):
            model.encode(torch.rand(1, 3, 64, 64))
        return
    side = -(-model.minimum_size // model.size_multiple) * model.size_multiple
    image = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        maps = model.eval().encode(image)
        mask = model.decode(maps, (side, side))
        assert tuple(m.shape[1] for m in maps) == model.feature_channels
        if not name.endswith("+fpm"):  # whose class branch changes the mask afterwards
            assert torch.equal(mask, model(image).mask)


def test_without_a_class_branch_there_is_no_label(name):
    if name.endswith(("+hlf", "+fpm")):
        with pytest.raises(InputError, match="classifies, so it needs class labels, got labels=0"):
            tiny(name, labels=0)
        return
    model = tiny(name, classes=1, labels=0).eval()
    with torch.inference_mode():
        prediction = model(torch.rand(1, 3, 64, 64))
    assert prediction.mask.shape == (1, 1, 64, 64)
    assert prediction.label is None


def test_images_without_a_batch_are_refused(model):
    with pytest.raises(
        InputError, match=r"Image must have shape \(B, 3, H, W\) with no side of 0, got \[3, 8, 8\]"
    ):
        model(torch.rand(3, 8, 8))


@pytest.mark.parametrize("spec", [*MODELS.values(), *PLUGINS.values()], ids=[*MODELS, *PLUGINS])
def test_every_row_is_complete_and_its_defaults_have_the_declared_types(spec):
    assert spec.summary
    assert spec.paper
    defaults = {option: default for option, (_, default) in spec.options.items()}
    assert check_options("model", defaults, spec.options) == defaults


@pytest.mark.parametrize(
    ("which", "steps", "rate"),
    [
        ("chnet", 30, 3e-3),
        ("msnet", 30, 3e-3),
        ("m2snet", 30, 3e-3),
        ("ulffn", 40, 3e-3),
        ("clnet", 25, 3e-3),
        ("fcp-net", 40, 1e-2),
    ],
)
def test_overfits_four_images(which, steps, rate):
    generator = torch.Generator().manual_seed(0)
    model = tiny(which, classes=1, labels=1 if classifies(which) else 0).train()
    row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    centre = torch.randint(16, 48, (4, 2, 1, 1), generator=generator)
    mask = ((row - centre[:, 0]).square() + (column - centre[:, 1]).square() < 150).float()[:, None]
    label = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    image = mask * 0.5 + label[:, :, None, None] * 0.3 + torch.rand(4, 3, 64, 64, generator=generator) * 0.2
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for _ in range(steps):
        prediction = model(image)
        loss = structure_loss(prediction.mask, mask)
        if prediction.label is not None:
            loss = loss + bce_loss(prediction.label, label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = prediction.mask > 0
    dice = 2 * (found * mask).sum() / (found.sum() + mask.sum())
    assert dice > 0.9
    if prediction.label is not None:
        assert ((prediction.label > 0) == label.bool()).all()


@pytest.mark.parametrize("which", ["chnet", "m2snet", "ulffn", "clnet", "fcp-net", "smp:unet"])
def test_mixed_precision_trains(which):
    model = tiny(which, classes=1).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = model(torch.rand(2, 3, 64, 64))
        loss = create_loss("structure")(prediction.mask, torch.ones(2, 1, 64, 64))
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
