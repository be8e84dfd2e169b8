import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from delineate.checks import InputError
from delineate.layers.conv import ConvBNReLU, resize_like, resize_to
from delineate.layers.normalise import Normalise
from delineate.layers.padding import crop_to, pad_image
from delineate.layers.squeeze import SqueezeExcite
from delineate.layers.unet_encoder import UNetEncoder


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 8, 32]), st.integers(1, 80))
def test_padding_reaches_the_size_and_cropping_undoes_it(height, width, multiple, minimum):
    image = torch.rand(1, 2, height, width)
    padded = pad_image(image, multiple=multiple, minimum=minimum)
    for before, after in zip((height, width), padded.shape[-2:], strict=True):
        assert after % multiple == 0
        assert after >= max(before, minimum)
        assert after < max(before, minimum) + multiple
    assert torch.equal(crop_to(padded, (height, width)), image)


def test_padding_repeats_the_border_and_skips_a_fitting_image():
    image = torch.tensor([[[[1.0, 2.0]]]])
    assert pad_image(image, minimum=3)[0, 0].tolist() == [[1, 2, 2], [1, 2, 2], [1, 2, 2]]
    assert pad_image(image, multiple=1) is image


def test_resize_treats_pixels_as_areas():
    x = torch.tensor([[[[0.0, 1.0]]]])
    assert resize_to(x, (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]
    assert resize_like(x, torch.zeros(1, 5, 1, 2)) is x


def test_conv_bn_relu_keeps_the_size():
    y = ConvBNReLU(3, 5)(torch.randn(2, 3, 7, 9))
    assert y.shape == (2, 5, 7, 9)
    assert y.min() >= 0


def test_squeeze_excite_is_its_equations():
    block = SqueezeExcite(8, reduction=4)
    u = torch.randn(2, 8, 5, 6)
    w1, w2 = block.excite[0], block.excite[2]
    z = u.mean((2, 3))
    gate = torch.sigmoid(
        F.linear(F.relu(F.linear(z, w1.weight.flatten(1), w1.bias)), w2.weight.flatten(1), w2.bias)
    )
    torch.testing.assert_close(block(u), u * gate[:, :, None, None])
    with pytest.raises(ValueError, match="reduction must be between 1 and channels=8, got 9"):
        SqueezeExcite(8, 9)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("unit", 0, 1), ("half", -1, 1), ("imagenet", -2.1179, 2.2489)]
)
def test_normalise_maps_black_and_white(name, low, high):
    image = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    y = Normalise.named(name)(image)
    assert y.dtype == torch.float32
    assert y[0, 0, 0].tolist() == pytest.approx([low, high], abs=1e-3)


def test_normalise_refuses_what_is_normalised_already_and_unknown_names():
    with pytest.raises(ValueError, match="image must be uint8 with values 0 to 255, got torch.float32"):
        Normalise.named("unit")(torch.rand(1, 3, 2, 2))
    with pytest.raises(InputError, match="Unknown normalisation 'imagnet'. Did you mean 'imagenet'?"):
        Normalise.named("imagnet")
    with pytest.raises(ValueError, match="std must be positive"):
        Normalise((0, 0, 0), (1, 0, 1))


def test_unet_encoder_levels_and_size():
    encoder = UNetEncoder((4, 8, 16))
    assert (encoder.channels, encoder.strides, encoder.minimum_size) == ((4, 8, 16), (1, 2, 4), 8)
    shapes = [tuple(m.shape) for m in encoder(torch.rand(2, 3, 20, 17))]
    assert shapes == [(2, 4, 20, 17), (2, 8, 10, 8), (2, 16, 5, 4)]
    # U-Net's contracting path: convolutions without bias, and two numbers per normalised channel.
    full = sum(p.numel() for p in UNetEncoder().parameters())
    pairs = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    pairs += [(512, 1024), (1024, 1024)]
    assert full == sum(9 * a * b + 2 * b for a, b in pairs)
