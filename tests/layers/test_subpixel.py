import pytest
import torch
from torch import nn

from delineate.checks import InputError
from delineate.layers.subpixel import SubPixelUpsample


def test_channels_become_the_pixels_of_a_block():
    up = SubPixelUpsample(1, 1, ratio=2)
    with torch.no_grad():
        up.conv.weight.zero_()
        up.conv.weight[:, 0, 1, 1] = torch.tensor([1.0, 10.0, 100.0, 1000.0])
        up.conv.bias.zero_()
    x = torch.tensor([[[[1.0, 2.0]]]])
    expected = torch.tensor([[[[1.0, 10.0, 2.0, 20.0], [100.0, 1000.0, 200.0, 2000.0]]]])
    assert torch.equal(up(x), expected)


def test_the_kernel_is_3x3_on_the_small_map_and_sees_zeros_outside():
    up = SubPixelUpsample(1, 1, ratio=3)
    nn.init.ones_(up.conv.weight)
    nn.init.zeros_(up.conv.bias)
    y = up(torch.ones(1, 1, 3, 3))[0, 0]
    assert y.shape == (9, 9)
    assert torch.equal(y[::3, ::3], torch.tensor([[4.0, 6, 4], [6, 9, 6], [4, 6, 4]]))
    assert torch.equal(y[0, :3], torch.full((3,), 4.0))


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_with_a_1x1_convolution_after_it_is_one_convolution(ratio):
    torch.manual_seed(0)
    up, after = SubPixelUpsample(5, 7, ratio), nn.Conv2d(7, 3, kernel_size=1)
    x = torch.randn(2, 5, 6, 11)
    literal, short = after(up(x)), up.then(x, after.weight.flatten(1), after.bias)
    torch.testing.assert_close(short, literal, rtol=1e-5, atol=1e-6)

    parameters = [*up.parameters(), *after.parameters()]
    weighting = torch.randn_like(literal)
    for ours, expected in zip(
        torch.autograd.grad((short * weighting).sum(), parameters),
        torch.autograd.grad((literal * weighting).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_a_ratio_below_1_is_refused():
    with pytest.raises(InputError, match=r"Sub-pixel upsampling needs a ratio of at least 1, got 0\."):
        SubPixelUpsample(4, 4, ratio=0)
