import pytest
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP as SmpASPP
from torch import nn

from delineate.checks import InputError
from delineate.layers.aspp import ASPP, ImagePooling
from delineate.layers.separable import SeparableConv


def shaken(module):
    """Random statistics: fresh ones would hide a wrong normalisation."""
    generator = torch.Generator().manual_seed(1)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.copy_(torch.randn(m.num_features, generator=generator))
            m.running_var.copy_(0.5 + torch.rand(m.num_features, generator=generator))
    return module


def test_dense_form_is_that_of_segmentation_models_pytorch():
    torch.manual_seed(0)
    ours = shaken(ASPP(6, 4, rates=(1, 2, 3))).eval()
    theirs = SmpASPP(6, 4, atrous_rates=(1, 2, 3), separable=False, dropout=0.0).eval()
    values = list(ours.state_dict().values())  # the same modules in the same order
    assert len(values) == len(theirs.state_dict())
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
    x = torch.randn(2, 6, 7, 5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)


def test_separable_branch_by_hand():
    torch.manual_seed(0)
    block = shaken(SeparableConv(3, 4, dilation=2)).eval()
    x = torch.randn(1, 3, 6, 7)
    conv = block.conv
    y = F.conv2d(x, conv.conv_dw.weight, padding=2, dilation=2, groups=3)
    y = F.relu(conv.bn_dw(y))
    y = F.relu(conv.bn_pw(torch.einsum("oi,bihw->bohw", conv.conv_pw.weight[:, :, 0, 0], y)))
    torch.testing.assert_close(block(x), y)


def test_separable_form_uses_it_at_every_rate():
    module = ASPP(8, 4, rates=(2, 5), separable=True)
    found = [m.conv.conv_dw.dilation for m in module.branches if isinstance(m, SeparableConv)]
    assert found == [(2, 2), (5, 5)]
    assert module.project[0].in_channels == 4 * 4
    assert module(torch.rand(2, 8, 3, 3)).shape == (2, 4, 3, 3)


def test_image_pooling_is_the_same_at_every_place_and_sees_the_mean():
    pooling = ImagePooling(2, 3).eval()
    x = torch.randn(2, 2, 4, 6)
    y = pooling(x)
    assert y.shape == (2, 3, 4, 6)
    assert torch.equal(y, y[..., :1, :1].expand_as(y))
    torch.testing.assert_close(y, pooling(x.mean((2, 3), keepdim=True).expand_as(x)))


def test_dropout_acts_in_training_only():
    module = ASPP(4, 8, rates=(1,), dropout=0.9)
    x = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        module.project[1].bias.fill_(10)  # nothing but the dropout can then give a zero
        assert 0.8 < (module(x) == 0).float().mean() < 0.98
        assert not (module.eval()(x) == 0).any()


@pytest.mark.parametrize("rates", [(), (6, 0)])
def test_refuses_no_rates(rates):
    with pytest.raises(InputError, match="ASPP needs at least one rate, each at least 1, got"):
        ASPP(4, 4, rates=rates)


def test_refuses_no_dilation():
    with pytest.raises(InputError, match="needs a dilation of at least 1, got 0"):
        SeparableConv(4, 4, dilation=0)
