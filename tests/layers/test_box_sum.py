import pytest
import torch
import torch.nn.functional as F

from delineate.checks import InputError
from delineate.layers.box_sum import FullOneFilter, box_sum

SIZES = [(1, 1), (2, 7), (9, 13), (31, 18)]


def relative(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def both_forms(kernel):
    torch.manual_seed(kernel)
    literal, exact = (FullOneFilter(6, kernel, form) for form in ("literal", "exact"))
    torch.nn.init.normal_(literal.norm.weight)
    torch.nn.init.normal_(literal.norm.bias)
    literal.norm.running_mean.uniform_(2, 20)
    literal.norm.running_var.uniform_(0.5, 20)
    exact.load_state_dict(literal.state_dict())
    return literal, exact


def test_box_sum_by_hand():
    x = torch.tensor([[1.0, 2, 3], [4, 5, 6]]).expand(1, 2, 2, 3)  # two equal channels
    expected = torch.tensor([[24.0, 42, 32], [24, 42, 32]])  # twice 1+2+4+5, 1+...+6, 2+3+5+6
    torch.testing.assert_close(box_sum(x, 3)[0, 0], expected)
    assert box_sum(x, 3).shape == (1, 1, 2, 3)
    torch.testing.assert_close(box_sum(x, 5)[0, 0], torch.full((2, 3), 42.0))


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("size", SIZES)
def test_box_sum_is_every_channel_of_the_all_ones_convolution(kernel, size):
    x = torch.randn(2, 5, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    literal = F.conv2d(x, torch.ones(4, 5, kernel, kernel, dtype=torch.float64), padding=kernel // 2)
    torch.testing.assert_close(box_sum(x, kernel).expand_as(literal), literal)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_exact_filter_is_the_literal_filter(kernel, training, size):
    generator = torch.Generator().manual_seed(1)
    value = torch.rand(2, 6, *size, generator=generator)  # the network's maps are non-negative
    upstream = torch.randn(2, 6, *size, generator=generator)
    outputs, gradients = [], []
    forms = both_forms(kernel)
    for form in forms:
        x = value.clone().requires_grad_()
        outputs.append(form.train(training)(x))
        gradients.append(torch.autograd.grad(outputs[-1], [x, form.norm.weight, form.norm.bias], upstream))
    assert outputs[0].min() >= 0
    assert relative(outputs[1], outputs[0]) < 1e-5
    if not (training and size == (1, 1)):  # two values per channel: nothing is left of the input's gradient
        for theirs, ours in zip(*gradients, strict=True):
            assert relative(ours, theirs) < 1e-5
    for (key, theirs), ours in zip(
        forms[0].state_dict().items(), forms[1].state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, msg=key)


def test_kernel_of_ones_is_neither_saved_nor_trained():
    literal, exact = both_forms(3)
    assert list(literal.state_dict()) == list(exact.state_dict())
    assert [key for key, _ in literal.named_parameters()] == ["norm.weight", "norm.bias"]


def test_errors():
    with pytest.raises(InputError, match="side of a box filter must be odd and positive, got 4"):
        FullOneFilter(8, 4)
    with pytest.raises(InputError, match="form of a box filter must be 'exact' or 'literal', got 'fast'"):
        FullOneFilter(8, 3, "fast")
