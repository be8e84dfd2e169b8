import pytest
import torch
import torch.nn.functional as F

from delineate.checks import InputError
from delineate.layers.dense_aspp import AtrousSum, DenseASPP


def test_atrous_sum_reaches_as_far_as_its_rates():
    block = AtrousSum(1, (2, 3)).eval()
    for branch in block.branches:
        torch.nn.init.ones_(branch[0].weight)
    impulse = torch.zeros(1, 1, 9, 9)
    impulse[0, 0, 4, 4] = 1
    seen = block(impulse)[0, 0].detach() * (1 + 1e-5) ** 0.5  # fresh statistics: variance 1 + eps
    expected = torch.zeros(9, 9)
    for rate in (2, 3):
        expected[4 - rate :: rate, 4 - rate :: rate][:3, :3] += 1
    torch.testing.assert_close(seen, expected)


def test_dense_aspp_layers_see_everything_before_them():
    torch.manual_seed(0)
    block = DenseASPP(4, 5, rates=(1, 2), growth=3, hidden=2).eval()
    shapes = [tuple(layer[0][0].weight.shape[:2]) for layer in block.layers]
    assert shapes == [(2, 4), (2, 7)]
    assert block.project[0].weight.shape[:2] == (5, 10)
    x = torch.randn(2, 4, 11, 6)

    def conv(x, weight, rate=1):  # with fresh statistics the normalisation only divides by sqrt(1 + eps)
        padding = rate * (weight.shape[-1] // 2)
        return F.relu(F.conv2d(x, weight, padding=padding, dilation=rate) / (1 + 1e-5) ** 0.5)

    (first, second) = [(layer[0][0].weight, layer[1][0].weight) for layer in block.layers]
    a = conv(conv(x, first[0]), first[1], 1)
    b = conv(conv(torch.cat([x, a], 1), second[0]), second[1], 2)
    expected = conv(torch.cat([x, a, b], 1), block.project[0].weight)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("rates", [(), (6, 0)])
def test_rates_must_be_positive(rates):
    message = "atrous pyramid needs at least one rate, each at least 1, got"
    with pytest.raises(InputError, match=message):
        AtrousSum(4, rates)
    with pytest.raises(InputError, match=message):
        DenseASPP(4, 4, rates)
