import pytest
import torch
import torch.nn.functional as F
from torch import nn

from delineate.checks import InputError
from delineate.layers.conv import resize_to
from delineate.layers.dsmca import DSMCA
from delineate.layers.squeeze_multi import SqueezeMultiExcite, Swish


def shaken(module):
    generator = torch.Generator().manual_seed(1)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=generator) * 0.3
    return module


def test_squeeze_multi_excite_by_hand():
    block = SqueezeMultiExcite(2, reduction=2, dropout=0.5).eval()
    with torch.no_grad():
        block.excite[0].weight.copy_(torch.tensor([[1.0, -1.0]])[..., None, None])
        block.excite[0].bias.fill_(0.5)
        block.excite[3].weight.copy_(torch.tensor([[2.0], [-4.0]])[..., None, None])
        block.excite[3].bias.copy_(torch.tensor([0.0, 1.0]))
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]]])  # means 2 and 0.5: W1 z = 2
    swish = 2 / (1 + torch.tensor(-2.0).exp())  # 1.7616
    s = torch.stack([2 * swish, 1 - 4 * swish]).sigmoid()
    torch.testing.assert_close(block.weights(x).flatten(), s)
    torch.testing.assert_close(block(x), x * s[None, :, None, None])


def test_swish_with_a_trainable_slope():
    x = torch.tensor([-2.0, 0.0, 3.0])
    torch.testing.assert_close(Swish()(x), F.silu(x))
    torch.testing.assert_close(Swish(beta=1000.0)(x), x.relu())
    learned = Swish(beta=2.0, trainable=True)
    learned(x).sum().backward()
    gate = torch.sigmoid(2 * x)
    torch.testing.assert_close(learned.beta.grad, (x * x * gate * (1 - gate)).sum())
    assert list(Swish().parameters()) == []


def test_dropout_stands_behind_both_layers_and_leaves_half_a_gate():
    block = SqueezeMultiExcite(64, dropout=0.9)
    assert [type(m) for m in block.excite] == [nn.Conv2d, nn.Dropout, Swish, nn.Conv2d, nn.Dropout]
    s = block.weights(torch.randn(8, 64, 4, 4))
    assert 0.8 < (s == 0.5).float().mean() < 0.98


def test_gates_can_be_read_by_a_hook():
    block = SqueezeMultiExcite(4).eval()
    seen = []
    block.gate.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = torch.randn(2, 4, 3, 3)
    y = block(x)
    assert seen[0].shape == (2, 4, 1, 1)
    torch.testing.assert_close(seen[0] * x, y)


def gate_by_hand(x, w_reduce, b_reduce, w_dilated, b_dilated, w_single, b_single, rate):
    """sigmoid(W8 * dilated(W7 * X)), the dilated convolution as nine shifted products."""
    y = torch.einsum("oi,bihw->bohw", w_reduce[:, :, 0, 0], x) + b_reduce[:, None, None]
    height, width = x.shape[-2:]
    padded = F.pad(y, [rate] * 4)
    z = b_dilated[:, None, None].expand(len(b_dilated), height, width)[None]
    for i in range(3):
        for j in range(3):
            part = padded[..., i * rate : i * rate + height, j * rate : j * rate + width]
            z = z + torch.einsum("oi,bihw->bohw", w_dilated[:, :, i, j], part)
    return (torch.einsum("oi,bihw->bohw", w_single[:, :, 0, 0], z) + b_single[:, None, None]).sigmoid()


def test_equations_by_hand():
    block = shaken(DSMCA(6, 4, reduction=3)).eval()
    x = torch.randn(2, 6, 9, 8)
    near, far = (
        gate_by_hand(x, *part.parameters(), rate) for part, rate in ((block.near, 2), (block.far, 4))
    )
    expected = F.conv2d(block.attend(x), block.join_channel.weight) + F.conv2d(
        x * near + x * far, block.join_space.weight
    )
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("size", [(20, 36), (5, 6), (15, 6)])
def test_resizing_late_is_resizing_first(size, monkeypatch):
    block = shaken(DSMCA(32, 8)).double().eval()
    outputs, gradients = [], []
    x = torch.randn(2, 32, 5, 6, dtype=torch.double, requires_grad=True)
    expected = block.literal(resize_to(x, size))
    upstream = torch.randn(expected.shape, dtype=torch.double)
    if size != (5, 6):
        monkeypatch.setattr(block, "literal", None)  # what is enlarged must not need it
    for y in (expected, block(x, size)):
        outputs.append(y)
        gradients.append(torch.autograd.grad(y, [x, *block.parameters()], upstream))
    torch.testing.assert_close(outputs[1], outputs[0])
    for theirs, ours in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("size", [(7, 9), (2, 3)])
def test_other_sizes_are_resized_first(size):
    block = shaken(DSMCA(8)).eval()
    x = torch.randn(1, 8, 5, 6)
    torch.testing.assert_close(block(x, size), block.literal(resize_to(x, size)))


@pytest.mark.parametrize("options", [{"reduction": 0}, {"rates": (0, 4)}])
def test_refuses_what_makes_no_sense(options):
    with pytest.raises(InputError, match="DSMCA needs a reduction and two rates of at least 1, got"):
        DSMCA(8, **options)


@pytest.mark.parametrize("options", [{"reduction": 0}, {"dropout": 1.0}])
def test_channel_attention_refuses_what_makes_no_sense(options):
    with pytest.raises(InputError, match="needs a reduction of at least 1 and a dropout from 0 to below 1"):
        SqueezeMultiExcite(8, **options)
