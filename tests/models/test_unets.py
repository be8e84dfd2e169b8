import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from delineate.checks import InputError
from delineate.layers.encoders import create_encoder
from delineate.layers.unet_encoder import UNetEncoder
from delineate.models.baselines.attention_unet import AttentionGate, AttentionUNet, build_attention_unet
from delineate.models.baselines.fcn32s import FCN32s, build_fcn32s
from delineate.models.baselines.unet import UNet, UpStep, build_unet

BUILDERS = [build_unet, build_attention_unet, build_fcn32s]
WIDTHS = (4, 6, 8, 10, 12)


def shaken(module):
    torch.manual_seed(2)
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return module.eval()


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def macs(model, side):
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() // 2


def test_unet_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = build_unet(classes=1)
    assert parameters(model) == 31_037_633
    assert parameters(model) == pytest.approx(31.03e6, rel=0.001)


def test_unets_on_res2net_have_the_numbers_of_chnets_table_5():
    options = {"encoder": "res2net50d", "depth": 4, "widths": (64, 256, 512, 1024), "convolutions": 1}
    with torch.device("meta"):
        unet = build_unet(classes=1, **options)
        attention = build_attention_unet(classes=1, **options)
    assert parameters(unet) == pytest.approx(17.4e6, rel=0.01)
    assert parameters(attention) == pytest.approx(19.2e6, rel=0.01)
    assert macs(unet, 256) == pytest.approx(17.5e9, rel=0.04)  # theirs also counts what is no convolution


def test_decoder_is_the_papers_figure():
    model = shaken(UNet(UNetEncoder((4, 6, 8)), classes=2, widths=(4, 6)))
    features = model.encode(torch.rand(1, 3, 32, 48))
    assert [f.shape[1] for f in features] == [4, 6, 8] == [*model.feature_channels]
    y = features[-1]
    for level in (1, 0):
        step = model.steps[level]
        up = F.conv_transpose2d(y, step.up.weight, step.up.bias, stride=2)
        y = step.mix(torch.cat([features[level], up], dim=1))
    expected = model.head(y)
    torch.testing.assert_close(model.decode(features, (32, 48)), expected)
    assert [len(step.mix) for step in model.steps] == [2, 2]
    assert all(step.up.kernel_size == step.up.stride == (2, 2) for step in model.steps)


def test_mask_is_resized_after_the_head_which_is_the_same_as_before_it():
    model = shaken(build_unet(classes=2, encoder="test_resnet", depth=3, widths=(6, 8, 10)))
    features = model.encode(torch.rand(1, 3, 64, 64))
    before = {}
    model.head.register_forward_pre_hook(lambda _m, inputs: before.update(y=inputs[0]))
    mask = model.decode(features, (64, 64))
    assert before["y"].shape[-2:] == (32, 32)
    large = F.interpolate(before["y"], size=(64, 64), mode="bilinear")
    expected = F.conv2d(large, model.head.weight, model.head.bias)
    torch.testing.assert_close(mask, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))


def test_step_enlarges_by_the_ratio_and_fits_maps_of_unpadded_encoders():
    deep = torch.randn(2, 3, 4, 5)
    for ratio, size in ((1, (4, 5)), (2, (8, 10)), (4, (16, 20)), (2, (9, 11))):
        step = UpStep(3, 2, 7, ratio)
        assert step(deep, torch.randn(2, 2, *size)).shape == (2, 7, *size)


@pytest.mark.parametrize("builder", BUILDERS)
def test_depth_cuts_the_encoder(builder):
    with torch.device("meta"):
        model = builder(classes=1, encoder="test_resnet", depth=4)
        own = builder(classes=1, encoder="unet", depth=4)
    assert model.feature_channels[-1] == 192
    assert model.size_multiple == 16
    assert own.feature_channels == (64, 128, 256, 512)
    expected = parameters(create_encoder("test_resnet", levels=(0, 1, 2, 3)))
    assert sum(p.numel() for p in model.encoder_parameters()) == expected


@pytest.mark.parametrize("builder", BUILDERS)
def test_encoders_of_one_depth_can_be_exchanged(builder):
    source = create_encoder("test_resnet", levels=(0, 1, 2, 3))  # as CHNet's
    model = builder(classes=1, encoder="test_resnet", depth=4)
    model.encoder.load_state_dict(source.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval().encode(image)[-1], source.eval()(image)[-1])


def test_gate_is_equations_1_and_2():
    gate = shaken(AttentionGate(3, 5, ratio=2))
    x, g = torch.randn(2, 3, 8, 12), torch.randn(2, 5, 4, 6)
    w_x, w_g, psi = gate.from_map.weight, gate.from_gating.weight, gate.score.weight
    coarse = torch.einsum("oiyx,nihywx->nohw", w_x, x.view(2, 3, 4, 2, 6, 2))
    gating = torch.einsum("oi,nihw->nohw", w_g[..., 0, 0], g) + gate.from_gating.bias[:, None, None]
    q = torch.einsum("i,nihw->nhw", psi[0, :, 0, 0], (coarse + gating).clamp(min=0)) + gate.score.bias
    alpha = F.interpolate(q.sigmoid()[:, None], size=(8, 12), mode="bilinear")
    torch.testing.assert_close(gate(x, g), alpha * x)


def test_gates_see_the_map_from_below_and_leave_out_the_shallowest():
    model = shaken(build_attention_unet(classes=1, widths=WIDTHS))
    assert [step.gate is None for step in model.steps] == [True, False, False, False]
    seen = []
    for step in model.steps[1:]:
        step.gate.register_forward_hook(lambda _m, inputs, _o: seen.append([v.shape[1:] for v in inputs]))
    model(torch.rand(1, 3, 32, 32))
    assert seen == [[(10, 4, 4), (12, 2, 2)], [(8, 8, 8), (10, 4, 4)], [(6, 16, 16), (8, 8, 8)]]


def test_open_gates_make_it_a_unet():
    attention = shaken(build_attention_unet(classes=2, widths=WIDTHS))
    unet = build_unet(classes=2, widths=WIDTHS).eval()
    unet.load_state_dict({k: v for k, v in attention.state_dict().items() if ".gate." not in k})
    image = torch.rand(1, 3, 48, 32)
    assert not torch.allclose(attention(image).mask, unet(image).mask)
    for step in attention.steps[1:]:
        torch.nn.init.zeros_(step.gate.score.weight)
        torch.nn.init.constant_(step.gate.score.bias, 40.0)
    torch.testing.assert_close(attention(image).mask, unet(image).mask)


def test_fcn_is_a_linear_classifier_on_the_deepest_map():
    model = shaken(FCN32s(create_encoder("test_resnet", levels=(-1,)), classes=3))
    image = torch.rand(2, 3, 64, 96)
    deepest = model.encode(image)[-1]
    assert deepest.shape == (2, 96, 2, 3)
    scores = torch.einsum("kc,nchw->nkhw", model.head.weight[..., 0, 0], deepest)
    scores = scores + model.head.bias[:, None, None]
    expected = F.interpolate(scores, scale_factor=32, mode="bilinear")
    torch.testing.assert_close(model(image).mask, expected)


def test_fcn_on_vgg_ends_at_stride_32():
    with torch.device("meta"):
        model = build_fcn32s(classes=21)
    assert (model.feature_channels, model.size_multiple) == ((512,), 32)
    assert parameters(model.head) == 513 * 21


def test_wrong_options():
    for builder in BUILDERS:
        with pytest.raises(InputError, match=r"Encoder 'unet' has no published weights; set pretrained"):
            builder(classes=1, encoder="unet", pretrained=True)
    with pytest.raises(InputError, match=r"got \[4, 8\] for depth 3; name 3 of them or lower the depth\."):
        build_unet(classes=1, encoder="test_resnet", depth=3, widths=(4, 8))
    with pytest.raises(InputError, match=r"needs at least 3, got 2; use unet instead\."):
        AttentionUNet(UNetEncoder((4, 8)), widths=(4,))
