import pytest
import torch
import torch.nn.functional as F

from delineate.models.multitask import ClassBranch, FeaturePassing, InteractionBranch


def test_class_branch_by_hand():
    branch = ClassBranch(channels=2, labels=1, hidden=2)
    branch.squeeze.weight.data = torch.tensor([[1.0, 1.0], [-1.0, 0.0]])
    branch.squeeze.bias.data = torch.tensor([0.5, 0.0])
    branch.classify.weight.data = torch.tensor([[2.0, 100.0]])
    branch.classify.bias.data = torch.tensor([-1.0])
    features = torch.stack([torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 8.0]])])[None]  # means 2 and 4
    logits, hidden = branch(features)
    assert hidden.tolist() == [[6.5, 0.0]]  # the second is negative before ReLU
    assert logits.tolist() == [[12.0]]


@pytest.mark.parametrize(("channels", "parameters"), [(1024, 32_833), (256, 8_257)])
def test_class_branch_has_the_parameters_of_table_6(channels, parameters):
    # U-Net 31.03 -> 31.06 M, DeepLabv3+ 41.25 -> 41.26 M
    assert sum(p.numel() for p in ClassBranch(channels, 1).parameters()) == parameters


@pytest.mark.parametrize(("classes", "size"), [(1, (24, 16)), (3, (13, 9))])
def test_interaction_branch_is_a_convolution_of_the_concatenation(classes, size):
    torch.manual_seed(0)
    branch = InteractionBranch(channels=6, hidden=5, classes=classes).eval()
    branch.norm.running_mean.normal_()
    branch.norm.running_var.uniform_(0.5, 2)
    features, hidden = torch.randn(2, 6, 4, 3), torch.rand(2, 5)
    mask = torch.randn(2, classes, *size)

    parts = [
        F.interpolate(features, size=size, mode="bilinear"),
        hidden[:, :, None, None].expand(-1, -1, *size),
        mask,
    ]
    alone = [branch.from_features.weight, branch.from_class.weight[:, :, None, None]]
    centre = torch.zeros(5, 11, 3, 3)
    centre[:, :, 1, 1] = torch.cat(alone, dim=1).flatten(1)  # 1x1 kernels as 3x3
    kernel = torch.cat([centre, branch.from_mask.weight], dim=1)
    y = F.conv2d(torch.cat(parts, dim=1), kernel, padding=1)
    expected = branch.head(F.relu(branch.norm(y)))
    torch.testing.assert_close(branch(features, hidden, mask), expected, rtol=1e-5, atol=1e-5)


def test_joint_map_depends_on_both_tasks():
    torch.manual_seed(0)
    branch = InteractionBranch(channels=6, hidden=5, classes=1)
    inputs = [torch.randn(2, 6, 4, 4), torch.rand(2, 5), torch.randn(2, 1, 16, 16)]
    inputs = [x.requires_grad_() for x in inputs]
    branch(*inputs).square().sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in inputs)


@pytest.mark.parametrize(
    ("channels", "base", "published"), [(1024, 31_031_745, 31.15), (256, 41_253_073, 41.34)]
)
def test_feature_passing_has_the_parameters_of_table_6(channels, base, published):
    # Published bases: U-Net without normalisation; DeepLabv3+ as Keras counts it, with running statistics.
    parameters = base + sum(p.numel() for p in FeaturePassing(channels, 1, 1).parameters())
    assert round(parameters / 1e6, 2) == published


def test_gates_decide_what_is_passed():
    torch.manual_seed(0)
    passing = FeaturePassing(channels=6, classes=2, labels=3, width=8, hidden=4)
    features, mask = torch.randn(2, 6, 4, 4), torch.randn(2, 2, 16, 16)
    with torch.no_grad():
        _, open_label = passing(features, mask)
        for gate in (passing.gate_to_mask, passing.gate_to_class):
            gate.bias.fill_(-1000.0)
        closed_mask, closed_label = passing(features, mask)
        other_mask, _ = passing(torch.randn_like(features), mask)
        _, other_label = passing(features, torch.randn_like(mask))
    # With both gates shut, no task sees the other.
    torch.testing.assert_close(other_mask, closed_mask)
    torch.testing.assert_close(other_label, closed_label)
    assert not torch.allclose(open_label, closed_label)


def test_messages_go_both_ways():
    torch.manual_seed(0)
    passing = FeaturePassing(channels=6, classes=1, labels=1, width=8, hidden=4)
    features, mask = torch.randn(2, 6, 4, 4).requires_grad_(), torch.randn(2, 1, 13, 9).requires_grad_()
    corrected, label = passing(features, mask)
    assert corrected.shape == mask.shape
    (to_mask,) = torch.autograd.grad(corrected.sum(), features, retain_graph=True)
    (to_class,) = torch.autograd.grad(label.sum(), mask)
    assert to_mask.abs().sum() > 0
    assert to_class.abs().sum() > 0
