import pytest
import torch
import torch.nn.functional as F

from delineate.checks import InputError
from delineate.layers.encoders import create_encoder
from delineate.layers.unet_encoder import UNetEncoder
from delineate.models import create_model
from delineate.models.clnet import CLNet, FeatureFusion

WIDTHS = (4, 6, 8, 10, 12)


def network(mask_encoder="unet", **options):
    torch.manual_seed(0)
    return create_model(
        "clnet",
        labels=2,
        encoder="resnet10t",
        options={"widths": WIDTHS, "mask_encoder": mask_encoder, **options},
    ).eval()


@pytest.mark.parametrize(
    ("label_size", "mask_size"), [((5, 6), (10, 12)), ((10, 12), (5, 6)), ((7, 7), (7, 7))]
)
def test_fusion_works_at_the_larger_size_and_in_the_papers_order(label_size, mask_size):
    fusion = FeatureFusion(3, 5, 8).eval()
    label_map, mask_map = torch.randn(2, 3, *label_size), torch.randn(2, 5, *mask_size)
    larger = max(label_size, mask_size)
    both = torch.cat([F.interpolate(m, size=larger, mode="bilinear") for m in (label_map, mask_map)], dim=1)
    expected = fusion.refine(fusion.attend(fusion.reduce(both)))
    torch.testing.assert_close(fusion(label_map, mask_map), expected)
    assert fusion.reduce[0].kernel_size == (1, 1)
    assert [block[0].kernel_size for block in fusion.refine] == [(3, 3), (3, 3)]


def test_label_is_equation_1():
    model = network()
    fused = []
    for module in model.fuse:
        module.register_forward_hook(lambda _m, _i, output: fused.append(output))
    label = model(torch.rand(2, 3, 64, 64)).label
    pooled = torch.cat([f.mean((2, 3)) for f in fused], dim=1)
    torch.testing.assert_close(label, pooled @ model.label_head.weight.T + model.label_head.bias)
    assert pooled.shape[1] == sum(WIDTHS)


def test_decoder_is_equation_4():
    model = network()
    fused = []
    for module in model.fuse:
        module.register_forward_hook(lambda _m, _i, output: fused.append(output))
    mask = model(torch.rand(1, 3, 64, 64)).mask
    y = fused[4]
    for i in (3, 2, 1, 0):
        y = model.decoders[i](torch.cat([F.interpolate(y, scale_factor=2, mode="bilinear"), fused[i]], dim=1))
    torch.testing.assert_close(mask, model.mask_head(y), rtol=1e-4, atol=1e-5)


def test_both_tasks_use_both_encoders():
    model = network().train()
    prediction = model(torch.rand(2, 3, 64, 64))
    for output in (prediction.mask, prediction.label):
        model.zero_grad()
        output.square().sum().backward(retain_graph=True)
        for encoder in (model.label_encoder, model.mask_encoder):
            assert next(encoder.parameters()).grad.abs().sum() > 0


def test_encoder_group_holds_what_can_be_pretrained():
    unet = network()
    assert {*unet.encoder_parameters()} == {*unet.label_encoder.parameters()}
    resunet = network("resnet10t")
    expected = {*resunet.label_encoder.parameters(), *resunet.mask_encoder.parameters()}
    assert {*resunet.encoder_parameters()} == expected


@pytest.mark.parametrize("mask_encoder", ["unet", "resnet10t"])
def test_any_pair_of_encoders_and_sizes(mask_encoder):
    model = network(mask_encoder)
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 75, 53)).mask.shape == (1, 1, 75, 53)


def test_inception_is_padded_to_what_it_needs():
    with torch.device("meta"):
        encoder = create_encoder("inception_v3", levels=(0, 1, 2, 3, 4))
        model = CLNet(encoder, UNetEncoder(WIDTHS), widths=WIDTHS)
        assert model.minimum_size == 128
        assert model(torch.empty(2, 3, 30, 40)).mask.shape == (2, 1, 30, 40)


def test_wrong_options():
    with pytest.raises(InputError, match="mask_pretrained' of model 'clnet' needs a timm mask_encoder"):
        network(mask_pretrained=True)
    with pytest.raises(InputError, match="CLNet needs as many widths"):
        CLNet(UNetEncoder((4, 8)), UNetEncoder((4, 8, 16)), widths=(4, 8))
