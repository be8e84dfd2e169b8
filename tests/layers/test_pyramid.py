import pytest
import torch
import torch.nn.functional as F

from delineate.layers import pyramid
from delineate.layers.pyramid import Moments, pyramid_head


def plain(maps, size, gamma, beta, weight, bias, eps, moments):
    s = sum(F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps)
    mean, variance = moments or (s.mean((0, 2, 3)), s.var((0, 2, 3), unbiased=False))
    normalised = (s - mean[:, None, None]) / torch.sqrt(variance + eps)[:, None, None]
    y = torch.relu(normalised * gamma[:, None, None] + beta[:, None, None])
    return torch.einsum("kc,bchw->bkhw", weight, y) + bias[:, None, None]


def inputs(batch=3, channels=4, classes=2, size=(21, 17), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    maps = [random(batch, channels, -(-size[0] // s), -(-size[1] // s)) for s in (1, 2, 4, 16)]
    return maps, random(channels), random(channels), random(classes, channels), random(classes)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("tile", [1, 150, 500, 10**6])
def test_values_and_gradients_are_the_plain_forms(own, tile, monkeypatch):
    monkeypatch.setattr(pyramid, "CPU_TILE", tile)
    maps, gamma, beta, weight, bias = inputs()
    moments = None if own else Moments(torch.randn(4).double(), torch.rand(4).double() + 0.5)
    leaves = [*maps, gamma, beta, weight, bias]
    expected = plain(maps, (21, 17), gamma, beta, weight, bias, 1e-5, moments)
    logits, used = pyramid_head(
        maps, (21, 17), gamma=gamma, beta=beta, weight=weight, bias=bias, eps=1e-5, moments=moments
    )
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    assert not used.mean.requires_grad
    upstream = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(logits, leaves, upstream),
        torch.autograd.grad(expected, leaves, upstream),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def test_moments_do_not_cancel_far_from_zero():
    maps, gamma, beta, weight, bias = inputs(dtype=torch.float32)
    maps = [m.detach() * 0.1 + 1000 for m in maps]
    s = sum(F.interpolate(m.double(), size=(21, 17), mode="bilinear", align_corners=False) for m in maps)
    _, used = pyramid_head(
        maps, (21, 17), gamma=gamma, beta=beta, weight=weight, bias=bias, eps=1e-5, moments=None
    )
    torch.testing.assert_close(used.variance.double(), s.var((0, 2, 3), unbiased=False), rtol=1e-2, atol=0)


def test_half_precision_maps_are_computed_in_float32():
    maps, gamma, beta, weight, bias = inputs(dtype=torch.float32)
    half = [m.detach().bfloat16().requires_grad_() for m in maps]
    logits, _ = pyramid_head(
        half, (21, 17), gamma=gamma, beta=beta, weight=weight, bias=bias, eps=1e-5, moments=None
    )
    assert logits.dtype == torch.float32
    logits.sum().backward()
    assert all(m.grad.dtype == torch.bfloat16 for m in half)


def test_one_value_per_channel_has_no_variance():
    m = torch.ones(1, 2, 1, 1)
    one = torch.ones(2)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        pyramid_head([m], (1, 1), gamma=one, beta=one, weight=one[None], bias=one[:1], eps=1e-5, moments=None)
