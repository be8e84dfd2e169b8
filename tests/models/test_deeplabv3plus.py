import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from delineate.checks import InputError
from delineate.layers.encoders import create_encoder
from delineate.models.baselines.deeplabv3plus import (
    DeepLabV3Plus,
    atrous_rates,
    build_deeplabv3plus,
    low_level,
)

BUILD = {"classes": 1, "labels": 0, "encoder": "xception65", "pretrained": False}


def test_check_numbers():
    with torch.device("meta"):
        model = build_deeplabv3plus(**BUILD).eval()
        image = torch.empty(1, 3, 256, 256)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        low, deep = model.encode(image)
        model.decode([low, deep], (256, 256))
    assert low.shape == (1, 256, 64, 64)
    assert deep.shape == (1, 256, 16, 16)
    assert sum(p.numel() for p in model.encoder.parameters()) == pytest.approx(37.87e6, rel=0.001)
    parameters = sum(p.numel() for p in model.parameters())
    statistics = sum(b.numel() for key, b in model.named_buffers() if "running" in key)
    assert parameters == 41_050_273
    # 41.25 M as Keras counts: with running means and variances.
    assert parameters + statistics == pytest.approx(41.25e6, rel=0.001)
    assert counter.get_total_flops() / 2 == pytest.approx(12.80e9, rel=0.001)


def test_rates_follow_the_output_stride():
    assert [atrous_rates(stride) for stride in (8, 16, 32)] == [(12, 24, 36), (6, 12, 18), (3, 6, 9)]
    model = build_deeplabv3plus(**BUILD | {"encoder": "test_resnet"}, output_stride=8, width=8)
    assert [b.conv.conv_dw.dilation[0] for b in model.pyramid.branches[1:4]] == [12, 24, 36]
    assert model.eval().encode(torch.rand(1, 3, 64, 64))[1].shape == (1, 8, 8, 8)


@pytest.mark.parametrize(
    ("strides", "index"), [((2, 4, 16), 1), ((4, 8, 16), 0), ((2, 8, 16), 1), ((16, 16), 0)]
)
def test_low_level_feature_is_the_first_from_stride_four(strides, index):
    assert low_level(strides) == index


@pytest.mark.parametrize("strides", [(2, 4), (16,)])
def test_the_deepest_map_is_not_the_low_level_feature(strides):
    with pytest.raises(InputError, match="decoder needs a map at stride 4 or beyond before the deepest, got"):
        low_level(strides)


def test_networks_that_begin_at_stride_four():
    model = build_deeplabv3plus(**BUILD | {"encoder": "convnext_atto"}, width=8).eval()
    low, deep = model.encode(torch.rand(1, 3, 64, 64))
    assert low.shape[-1] == 16
    assert deep.shape[-1] == 4
    assert model.feature_channels == (low.shape[1], 8)


def test_a_network_that_cannot_be_dilated_says_so():
    with pytest.raises(InputError, match="cannot keep an output stride of 16"):
        build_deeplabv3plus(**BUILD | {"encoder": "inception_v3"})


def test_training_on_one_image_says_what_to_do():
    model = DeepLabV3Plus(create_encoder("test_resnet", levels=(1, 4)), width=8)
    with pytest.raises(InputError, match="use a batch size of at least 2"):
        model(torch.rand(1, 3, 64, 64))
