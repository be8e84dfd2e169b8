"""LossNet: both forms are the same function, its weights stay out of everything, several classes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from delineate.checks import InputError
from delineate.losses import LOSSES, LossNet, create_loss
from delineate.losses.lossnet import fold_first_convolution

SIZE = 33  # pixels, odd; VGG's maps then are 33, 16, 8 and 4


@pytest.fixture(scope="module")
def forms():
    return {form: LossNet(pretrained=False, form=form, size=SIZE) for form in ("literal", "folded")}


def pair(channels=1, size=(29, 41), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, channels, *size)
    logits = torch.randn(shape, generator=generator, dtype=dtype) * 2
    index = torch.randint(0, max(channels, 2), (2, *size), generator=generator)
    target = index[:, None] if channels == 1 else F.one_hot(index, channels).movedim(-1, 1)
    return logits, target.to(dtype)


def value_and_gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(29, 41), (33, 33), (70, 15)])
def test_folded_is_literal(forms, channels, dtype, size):
    logits, target = pair(channels, size, dtype)
    value, gradient = value_and_gradient(forms["literal"], logits, target)
    folded, folded_gradient = value_and_gradient(forms["folded"], logits, target)
    assert value > 0
    assert (folded - value).abs() <= 1e-5 * value
    assert (folded_gradient - gradient).abs().max() <= 1e-5 * gradient.abs().max()


def test_the_fold_is_exact_at_the_frame_where_a_folded_bias_is_not():
    mean, std = torch.rand(1, 3, 1, 1).double(), torch.rand(1, 3, 1, 1).double() + 0.2
    first = nn.Conv2d(3, 5, 3, padding=1).double()
    x = torch.rand(2, 1, 7, 9).double()
    literal = first((x.expand(-1, 3, -1, -1) - mean) / std)
    folded = fold_first_convolution(first, mean, std)
    torch.testing.assert_close(folded(torch.cat([x, torch.ones_like(x)], 1)), literal)
    weight = folded.weight.detach()
    with_bias = F.conv2d(x, weight[:, :1], first.bias + weight[:, 1].sum((1, 2)), padding=1)
    torch.testing.assert_close(with_bias[..., 1:-1, 1:-1], literal[..., 1:-1, 1:-1])
    assert (with_bias - literal)[..., 0, :].abs().max() > 0.01


def test_it_is_the_formula_on_the_maps_of_the_paper(forms):
    """Eq. (5) and (6) with plain VGG layers: maps after relu1_2, relu2_2, relu3_3 and relu4_3."""
    logits, target = pair()
    layers = [m for m in forms["literal"]._network.double().modules() if not [*m.children()]]
    mean = torch.tensor([0.485, 0.456, 0.406]).double().view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).double().view(3, 1, 1)

    def maps(x):
        x = F.interpolate((x.repeat(1, 3, 1, 1) - mean) / std, (SIZE, SIZE), mode="bilinear")
        found, relus = [], 0
        for layer in layers:
            x = layer(x.clone())
            relus += isinstance(layer, nn.ReLU)
            if isinstance(layer, nn.ReLU) and relus in (2, 4, 7, 10):
                found.append(x.clone())
        return found

    p, y = maps(logits.sigmoid()), maps(target)
    assert [m.shape[1] for m in p] == [64, 128, 256, 512]
    expected = sum(((a - b) ** 2).mean() for a, b in zip(p, y, strict=True))
    torch.testing.assert_close(forms["folded"](logits, target), expected, rtol=1e-5, atol=0)


def test_gradients(forms):
    loss = copy.copy(forms["folded"])
    loss.size = 16
    logits, target = pair(size=(3, 4))
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_(), eps=1e-7, atol=1e-6)


def test_right_is_zero_and_worse_is_more(forms):
    _, target = pair()
    right = (target * 2 - 1) * 1e4
    certain, unsure, wrong = (forms["folded"](scale * right, target).item() for scale in (1, 1e-4, -1))
    assert certain == 0
    assert 0 < unsure < wrong


def test_several_classes_are_pictures_of_their_own_without_the_background(forms):
    logits, target = pair(3)
    p = logits.softmax(1)
    each = [forms["folded"](torch.logit(p[:, i : i + 1]), target[:, i : i + 1]) for i in (1, 2)]
    torch.testing.assert_close(forms["folded"](logits, target), (each[0] + each[1]) / 2)


def test_a_batch_is_the_mean_of_its_images(forms):
    logits, target = pair()
    alone = [forms["folded"](logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(forms["folded"](logits, target), (alone[0] + alone[1]) / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(forms, dtype):
    logits, target = pair(dtype=torch.float32)
    logits = logits.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = forms["folded"](logits, target)
    assert loss.dtype == torch.float32
    loss.backward()
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(loss, forms["folded"](logits.detach().float(), target))


def test_weights_are_frozen_repeatable_and_nobody_elses(forms):
    before = torch.random.get_rng_state()
    holder = nn.Module()
    holder.loss = create_loss("lossnet", {"pretrained": False, "size": SIZE}, kind="mask")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert holder.state_dict() == {}
    assert list(holder.parameters()) == []
    logits, target = pair(dtype=torch.float32)
    assert holder.loss(logits, target) == forms["folded"](logits, target)
    assert not any(p.requires_grad or p.grad is not None for p in holder.loss._network.parameters())
    holder.train()
    assert not holder.loss._network.training


def test_table_and_errors(forms, tmp_path):
    assert LOSSES["lossnet"].options == {"pretrained": True, "form": "folded", "size": 224}
    with pytest.raises(InputError, match="Loss 'lossnet' does not work on a label"):
        create_loss("lossnet", kind="label")
    with pytest.raises(InputError, match="Unknown option 'from' of loss 'lossnet'. Did you mean 'form'"):
        create_loss("lossnet", {"from": "literal"})
    with pytest.raises(InputError, match="form must be one of 'folded', 'literal', got 'fast'"):
        LossNet(pretrained=False, form="fast")
    with pytest.raises(InputError, match="Loss option size must be at least 16 pixels, got 8"):
        LossNet(pretrained=False, size=8)
    with pytest.raises(InputError, match="nothing.safetensors"):
        LossNet(pretrained=str(tmp_path / "nothing.safetensors"))
    with pytest.raises(InputError, match="Logits and target must have one shape"):
        forms["folded"](torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_weights_follow_the_logits_to_their_device(forms):
    logits, target = pair(dtype=torch.float32)
    value = forms["folded"](logits.cuda(), target.cuda())
    assert value.is_cuda
    torch.testing.assert_close(value.cpu(), forms["folded"](logits, target), rtol=1e-3, atol=0)
