import pytest
import torch
import torch.nn.functional as F
from literal_msnet import check_values_and_gradients, literal_mask, tiny
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from delineate.checks import InputError
from delineate.layers.encoders import create_encoder
from delineate.models.msnet import MSNet, build_msnet

ALL = (0, 1, 2, 3, 4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_network_is_the_papers_formulas(training, dtype):
    check_values_and_gradients(tiny(build_msnet), (tiny(build_msnet), literal_mask), training, dtype)


def test_addition_units():
    model = tiny(build_msnet, unit="add").eval()
    image = torch.rand(1, 3, 70, 65)
    expected = literal_mask(model, image, compare=lambda a, b: a + b)
    torch.testing.assert_close(model(image).mask, expected)


def test_triangle_by_hand():
    model = tiny(build_msnet, encoder="resnet10t").eval()
    with torch.no_grad():
        rows = model.triangle(model.encode(torch.rand(1, 3, 64, 96)))
    assert [len(row) for row in rows] == [5, 4, 3, 2, 1]
    sizes = [(16, 24), (16, 24), (8, 12), (4, 6), (2, 3)]  # strides 4, 4, 8, 16, 32
    assert all(tuple(m.shape[-2:]) == size for row in rows for m, size in zip(row, sizes, strict=False))


def test_shallowest_level_is_used_as_it_is_when_it_is_wide_enough():
    encoder = create_encoder("resnet10t", levels=ALL)
    assert encoder.channels[0] == 64
    assert isinstance(MSNet(encoder, width=64).reduce[0], nn.Identity)
    assert not isinstance(MSNet(encoder, width=32).reduce[0], nn.Identity)
    image = torch.rand(1, 3, 64, 64)
    stem = encoder.eval()(image)[0]
    torch.testing.assert_close(MSNet(encoder).eval().encode(image)[0], F.max_pool2d(stem, 3, 2, 1))


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_lower_orders_leave_out_rows_and_nothing_without_use(order):
    model = tiny(build_msnet, order=order)
    assert [len(row.convs) for row in model.rows] == [4, 3, 2, 1][:order]
    model(torch.rand(1, 3, 64, 64)).mask.square().mean().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


def test_order_zero_is_a_feature_pyramid():
    model = tiny(build_msnet, order=0).eval()
    image = torch.rand(1, 3, 64, 64)
    features = model.encode(image)
    y = model.bottom(features[-1])
    for conv, reduce, f in zip(
        [*model.refine, model.head], reversed(model.reduce), features[-2::-1], strict=True
    ):
        level = reduce(f)
        y = conv(F.interpolate(y, size=level.shape[-2:], mode="bilinear") + level)
    expected = F.interpolate(y, size=(64, 64), mode="bilinear")
    torch.testing.assert_close(model(image).mask, expected)


def test_check_numbers():
    with torch.device("meta"):
        model = build_msnet(classes=1, labels=0, encoder="res2net50d", pretrained=False).eval()
        image = torch.empty(1, 3, 256, 256)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(image)
    assert sum(p.numel() for p in model.parameters()) == 27_690_921  # the paper's 27.7 M
    assert counter.get_total_flops() / 2 == pytest.approx(8.96e9, rel=0.01)


def test_errors():
    with pytest.raises(
        InputError, match=r"MSNet needs an encoder with five levels, got 2 \(strides \[2, 4\]\)"
    ):
        MSNet(create_encoder("test_resnet", levels=(0, 1)))
    with pytest.raises(InputError, match="Option order of MSNet must be 0 to 4, got 5"):
        MSNet(create_encoder("test_resnet", levels=ALL), order=5)
