import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from delineate.checks import InputError
from delineate.layers.unet_encoder import UNetEncoder
from delineate.models.ulffn import (
    ULFFN,
    ChannelAttention,
    CodingUnit,
    Output,
    ULFFNEncoder,
    build_ulffn,
    shrink_like,
    upper_maps,
)

WIDTHS = (4, 6, 8, 10, 12)
SWITCHES = [(True, True), (True, False), (False, True), (False, False)]


def shaken(module):
    """Random weights and statistics: fresh ones would hide a wrong slice, gate or order."""
    torch.manual_seed(3)
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.4)
    for name, buffer in module.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 2)
    return module


def tiny(**options):
    return build_ulffn(classes=2, widths=WIDTHS, **options)


def literal(model, image):
    """The network as the paper's text puts it, from the same weights, with nothing shared or folded."""
    encoder = model.encoder
    y, maps = encoder.stem(image), []
    for unit in encoder.units:
        convolved = unit.block[1](unit.block[0](y))
        y = unit.down(y + convolved)
        maps.append(y)
    if model.aspp is not None:
        y = model.aspp(y)
    for level in (3, 2, 1, 0):
        above = [F.adaptive_avg_pool2d(m, y.shape[-2:]) for m in maps[: min(level + 1, 3)]]
        y = model.units[level].fuse(torch.cat([y, *above], dim=1))
        up = model.output.up if level == 0 else model.units[level].up
        y = up(y)
    if model.output.cam is not None:
        y = model.output.cam(y)
    return model.output.head(y)


@pytest.mark.parametrize(("aspp", "cam"), SWITCHES)
@pytest.mark.parametrize("training", [False, True])
def test_network_is_its_literal_form(aspp, cam, training):
    model = shaken(tiny(aspp=aspp, cam=cam)).train(training)
    image = torch.randn(2, 3, 72, 40)
    ours = model(image).mask
    expected = literal(copy.deepcopy(model), image)
    assert ours.shape == (2, 2, 72, 40)
    assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("cam", [True, False])
@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_folded_output_and_its_gradients_are_the_literal_ones(cam, ratio, layout):
    output = shaken(Output(32, 3, cam, ratio))
    x = torch.randn(2, 32, 9, 7).to(memory_format=layout).requires_grad_()
    expected, ours = output.literal(x), output(x)
    assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max()
    weighting = torch.randn_like(expected)
    inputs = [x, *output.parameters()]
    for mine, theirs in zip(
        torch.autograd.grad((ours * weighting).sum(), inputs),
        torch.autograd.grad((expected * weighting).sum(), inputs),
        strict=True,
    ):
        assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_output_without_attention_makes_one_small_convolution_of_a_large_one():
    output = Output(32, 1, cam=False, ratio=2)
    macs = {}
    for form in (output.literal, output.forward):
        with FlopCounterMode(display=False) as counter:
            form(torch.randn(1, 32, 8, 8))
        macs[form.__name__] = counter.get_total_flops() // 2
    assert macs["literal"] == 9 * 32 * 4 * 32 * 64 + 32 * 256
    folding = 9 * 32 * 4 * 32 + 4 * 32  # once, not for every pixel
    assert macs["forward"] == 9 * 32 * 4 * 64 + folding


def test_gate_by_hand():
    cam = ChannelAttention(2, reduction=2)
    with torch.no_grad():
        cam.squeeze.weight.copy_(
            torch.tensor([[1.0, 0.0, 0.0, 2.0]])
        )  # mean of channel 0, variance of channel 1
        cam.squeeze.bias.fill_(-1)
        cam.excite.weight.copy_(torch.tensor([[1.0], [0.0]]))
        cam.excite.bias.zero_()
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]])  # means 2 and 2, variances 1 and 4
    first = 1 / (1 + torch.tensor(-9.0).exp())  # relu(2 + 2 * 4 - 1) = 9
    expected = torch.stack([x[0, 0] * (1 + first), x[0, 1] * 1.5])[None]
    torch.testing.assert_close(cam(x), expected)


def test_coding_unit_adds_its_input_and_normalises_after_the_activation():
    unit = shaken(CodingUnit(3, 5, stride=2)).eval()
    x = torch.randn(1, 3, 8, 8)

    def block(layer, v):
        return layer[2](F.relu(F.conv2d(v, layer[0].weight, layer[0].bias, layer[0].stride, padding=1)))

    expected = block(unit.down, x + block(unit.block[1], block(unit.block[0], x)))
    torch.testing.assert_close(unit(x), expected)
    assert expected.shape == (1, 5, 4, 4)


@pytest.mark.parametrize(("last_stride", "sides"), [(1, [32, 16, 8, 8]), (2, [32, 16, 8, 4])])
def test_last_unit_keeps_its_size_unless_told(last_stride, sides):
    encoder = ULFFNEncoder(WIDTHS, last_stride)
    maps = encoder(torch.rand(2, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == sides
    assert [m.shape[1] for m in maps] == [6, 8, 10, 12] == [*encoder.channels]
    assert [64 // stride for stride in encoder.strides] == sides


@pytest.mark.parametrize("last_stride", [1, 2])
def test_decoder_enlarges_what_the_encoder_shrank(last_stride):
    model = tiny(last_stride=last_stride).eval()
    seen = []
    for unit in model.units:
        unit.register_forward_hook(lambda _m, _i, output: seen.append(output.shape[-1]))
    assert model(torch.rand(1, 3, 64, 64)).mask.shape == (1, 2, 64, 64)
    assert seen == [8, 16, 32, 32]
    assert isinstance(model.units[3].up, torch.nn.Identity) == (last_stride == 1)


def test_each_level_gets_all_upper_maps_at_its_size_and_equal_sizes_share_them():
    sizes = [(16, 24), (8, 12), (4, 6), (4, 6)]
    features = [torch.randn(1, i + 1, *size) for i, size in enumerate(sizes)]
    rows = upper_maps(features)
    assert [[m.shape[1] for m in row] for row in rows] == [[1], [1, 2], [1, 2, 3], [1, 2, 3]]
    for row, size in zip(rows, sizes, strict=True):
        for m, source in zip(row, features, strict=False):
            torch.testing.assert_close(m, F.adaptive_avg_pool2d(source, size))
    assert all(a is b for a, b in zip(rows[2], rows[3], strict=True))


def test_maps_that_no_block_divides_are_resized():
    x = torch.arange(5.0).expand(1, 1, 5, 5)
    assert shrink_like(x, torch.empty(1, 1, 3, 3))[0, 0, 0, 1] == 2  # the middle stays the middle


def test_ablation_of_table_4_leaves_the_module_out():
    parameters = {
        switches: sum(p.numel() for p in tiny(aspp=switches[0], cam=switches[1]).parameters())
        for switches in SWITCHES
    }
    cam = sum(p.numel() for p in ChannelAttention(WIDTHS[0]).parameters())
    assert parameters[True, True] - parameters[True, False] == cam
    assert parameters[False, True] - parameters[False, False] == cam
    assert tiny(aspp=False).feature_channels == (6, 8, 10, 12)
    assert tiny().feature_channels == (6, 8, 10, 3)


def test_widths_are_the_papers():
    with torch.device("meta"):
        model = build_ulffn(classes=1)
    assert model.encoder.stem[0].weight.shape == (64, 3, 3, 3)
    assert [unit.down[0].out_channels for unit in model.encoder.units] == [128, 256, 512, 1024]
    assert [branch[0].dilation[0] for branch in model.aspp.branches[1:4]] == [6, 12, 18]
    assert sum(p.numel() for p in model.parameters()) == 33_019_461


@pytest.mark.parametrize(("last_stride", "strides"), [(1, (2, 4, 8, 8)), (2, (2, 4, 8, 16))])
def test_a_timm_encoder_gives_four_levels(last_stride, strides):
    model = build_ulffn(classes=1, encoder="resnet10t", widths=WIDTHS, last_stride=last_stride).eval()
    assert model.encoder.strides == strides
    assert {*model.encoder_parameters()} == {*model.encoder.parameters()}
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 75, 53)).mask.shape == (1, 1, 75, 53)


def test_wrong_options():
    with pytest.raises(
        InputError, match=r"Encoder 'ulffn' has no published weights; set pretrained to false"
    ):
        build_ulffn(classes=1, pretrained=True)
    with pytest.raises(InputError, match=r"at least two coding units, got \[4, 8\]"):
        build_ulffn(classes=1, widths=(4, 8))
    with pytest.raises(InputError, match=r"got \[4, 4\] for 3 levels"):
        ULFFN(UNetEncoder((4, 4, 4)), widths=(4, 4))
