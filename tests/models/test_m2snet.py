import pytest
import torch
import torch.nn.functional as F
from literal_msnet import check_values_and_gradients, literal_mask, tiny
from torch.utils.flop_counter import FlopCounterMode

from delineate.checks import InputError
from delineate.layers.encoders import create_encoder
from delineate.models.m2snet import M2SNet, build_m2snet
from delineate.models.msnet import build_msnet


def literal_m2snet(model, image):
    """Eq. (2) with dense convolutions of ones and the model's two shared normalisations."""

    def box(x, kernel, norm):
        ones = torch.ones(x.shape[1], x.shape[1], kernel, kernel, dtype=x.dtype)
        return F.relu(norm(F.conv2d(x, ones, padding=kernel // 2)))

    def compare(a, b):
        f3, f5 = (f.norm for f in model.difference.filters)
        return (a - b).abs() + (box(a, 3, f3) - box(b, 3, f3)).abs() + (box(a, 5, f5) - box(b, 5, f5)).abs()

    return literal_mask(model, image, compare)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("boxes", ["exact", "literal"])
def test_exact_boxes_are_the_literal_network(training, dtype, boxes):
    double = (tiny(build_m2snet), literal_m2snet)
    check_values_and_gradients(tiny(build_m2snet, boxes=boxes), double, training, dtype)


def test_exact_boxes_at_the_papers_width():
    models = [tiny(build_m2snet, boxes=boxes, width=64).eval() for boxes in ("literal", "exact")]
    image = torch.rand(1, 3, 65, 83)
    with torch.inference_mode():
        literal, exact = (model(image).mask for model in models)
    assert (exact - literal).abs().max() <= 1e-5 * literal.abs().max()


def test_units_share_two_filters():
    model = tiny(build_m2snet)
    with_filters = dict(model.named_parameters())
    plain = dict(tiny(build_msnet).named_parameters())
    extra = set(with_filters) - set(plain)
    assert extra == {f"difference.filters.{i}.norm.{p}" for i in (0, 1) for p in ("weight", "bias")}


@pytest.mark.parametrize("unit", ["subtract", "add"])
def test_plain_units_are_those_of_msnet(unit):
    ours, theirs = tiny(build_m2snet, unit=unit).eval(), tiny(build_msnet, unit=unit).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(image).mask, theirs(image).mask)


@pytest.mark.parametrize("unit", ["aspp", "dense_aspp"])
def test_pyramid_units_train_every_parameter(unit):
    model = tiny(build_m2snet, unit=unit)
    mask = model(torch.rand(1, 3, 66, 75)).mask
    assert mask.shape == (1, 2, 66, 75)
    mask.square().mean().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


def test_order_zero_has_no_filters():
    model = tiny(build_m2snet, order=0)
    model(torch.rand(1, 3, 64, 64)).mask.square().mean().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("options", "parameters", "macs"),
    [
        ({}, 27.7e6, 9.0e9),
        ({"boxes": "literal"}, 27.7e6, 17.6e9),
        ({"unit": "subtract"}, 27.7e6, 9.0e9),
        ({"unit": "aspp"}, 29.2e6, 13.8e9),
        ({"unit": "dense_aspp"}, 29.6e6, None),  # the paper's 17.5 G do not fit its 29.6 M, see m2snet.py
    ],
)
def test_check_numbers(options, parameters, macs):
    with torch.device("meta"):
        model = build_m2snet(classes=1, labels=0, encoder="res2net50d", pretrained=False, **options).eval()
        image = torch.empty(1, 3, 256, 256)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(image)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=0.01)
    if macs is not None:
        assert counter.get_total_flops() / 2 == pytest.approx(macs, rel=0.03)


def test_unknown_unit():
    with pytest.raises(InputError, match="Option unit of M2SNet must be one of multiscale, .*, got 'divide'"):
        M2SNet(create_encoder("test_resnet", levels=(0, 1, 2, 3, 4)), unit="divide")
