import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from delineate.checks import InputError
from delineate.layers.conv import resize_to
from delineate.layers.dsmca import DSMCA
from delineate.models.baselines.deeplabv3plus import build_deeplabv3plus
from delineate.models.fcpnet import BranchFusion, EmbeddedFeatureEnsemble, build_fcpnet

PAPER = {"classes": 1, "labels": 0, "encoder": "xception65", "pretrained": False}
TINY = {"classes": 1, "labels": 0, "encoder": "test_resnet", "pretrained": False, "width": 8}


def size_of(module):
    return sum(p.numel() for p in module.parameters())


def resized_first(block, x, size=None):
    return block.literal(resize_to(x, size or (x.shape[-2], x.shape[-1])))


def test_check_numbers(monkeypatch):
    with torch.device("meta"):
        model = build_fcpnet(**PAPER | {"labels": 1}).eval()
        model.remove_training_branches()
        image = torch.empty(1, 3, 256, 256)
    with torch.inference_mode():
        maps = model.encode(image)
        macs = {}
        for form in ("rewritten", "literal"):
            with FlopCounterMode(display=False) as counter:
                model(image)
            macs[form] = counter.get_total_flops() / 2
            monkeypatch.setattr(DSMCA, "forward", resized_first)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (128, 128, 128),
        (256, 64, 64),
        (728, 32, 32),
        (2048, 16, 16),
        (256, 16, 16),
    ]
    assert model.feature_channels == tuple(m.shape[1] for m in maps)
    assert size_of(model) == 45_387_519
    assert size_of(model) == pytest.approx(46e6, rel=0.02)
    assert macs["rewritten"] == pytest.approx(16.07e9, rel=0.001)
    assert macs["literal"] == pytest.approx(23.45e9, rel=0.001)


def test_with_every_module_off_it_is_deeplabv3plus():
    torch.manual_seed(0)
    plain = build_deeplabv3plus(**TINY).eval()
    off = {"efe": False, "dsmca_encoder": False, "blf": "concatenate", "msff": False, "dsmca_decoder": False}
    ours = build_fcpnet(**TINY, **off).eval()
    assert size_of(ours) == size_of(plain)
    for mine, theirs in (
        (ours.encoder.network, plain.encoder.network),
        (ours.branches, plain.pyramid.branches[:4]),
        (ours.image, plain.pyramid.branches[4]),
        (ours.fuse.project, plain.pyramid.project),
        (ours.skips[0], plain.reduce),
        (ours.refine, plain.refine),
        (ours.classify, plain.classify),
    ):
        mine.load_state_dict(theirs.state_dict())
    image = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(ours(image).mask, plain(image).mask)


@pytest.mark.parametrize("residual", [True, False])
def test_equation_five_by_hand(residual):
    torch.manual_seed(0)
    block = EmbeddedFeatureEnsemble(5, 6, rate=2, residual=residual).eval()
    block.embed[1].running_mean.normal_()
    block.mix[1].running_var.uniform_(0.5, 2)
    x = torch.randn(1, 5, 7, 8)
    sep = block.sep(x)
    embedded = block.embed[1](F.conv2d(block.attend.weights(sep) * sep, block.embed[0].weight))
    inner = sep + embedded if residual else embedded
    torch.testing.assert_close(block(x), block.mix[1](F.conv2d(inner, block.mix[0].weight)).relu())


def test_branches_are_added_from_the_largest_dilation():
    branches = [torch.full((1, 1, 1, 1), v) for v in (1.0, 10.0, 100.0, 1000.0)]  # rates 1, 6, 12, 18
    image = torch.full((1, 1, 1, 1), 0.5)
    joined = {
        "cascade": [1111.0, 1110.0, 1100.0, 1000.0, 0.5],
        "add": [1111.0, 0.5],
        "concatenate": [1.0, 10.0, 100.0, 1000.0, 0.5],
    }
    for how, expected in joined.items():
        fusion = BranchFusion(1, 4, how).eval()
        assert fusion.project[0].in_channels == len(expected)
        fusion.project = nn.Identity()
        assert fusion(branches, image).flatten().tolist() == expected


def test_switches_change_what_they_name():
    full = build_fcpnet(**TINY)
    assert [b[0].rate for b in full.branches] == [1, 6, 12, 18]
    assert all(isinstance(b[1], DSMCA) for b in full.branches)
    assert len(full.skips) == 4
    assert all(isinstance(s, DSMCA) for s in full.skips)
    kinds = {
        "efe": lambda m: any(isinstance(x, EmbeddedFeatureEnsemble) for x in m.modules()),
        "dsmca_encoder": lambda m: any(isinstance(x, DSMCA) for x in m.branches.modules()),
        "dsmca_decoder": lambda m: any(isinstance(x, DSMCA) for x in m.skips.modules()),
        "msff": lambda m: len(m.skips) > 1,
        "efe_residual": lambda m: m.branches[0][0].residual,
    }
    for option, present in kinds.items():
        without = build_fcpnet(**TINY, **{option: False})
        assert present(full), option
        assert not present(without), option
        assert without(torch.rand(2, 3, 64, 64)).mask.shape == (2, 1, 64, 64)


def test_dropout_of_table_three_is_that_of_the_sme_blocks_in_efe():
    model = build_fcpnet(**TINY, efe_dropout=0.0)
    efe, dsmca = model.branches[0]
    assert [m.p for m in efe.attend.modules() if isinstance(m, nn.Dropout)] == [0, 0]
    assert efe.dropout.p == 0.1
    assert [m.p for m in dsmca.attend.modules() if isinstance(m, nn.Dropout)] == [0.1, 0.1]


def test_trainable_beta_is_a_weight_of_each_efe():
    model = build_fcpnet(**TINY, trainable_beta=True)
    betas = [key for key, _ in model.named_parameters() if key.endswith("beta")]
    assert len(betas) == 4
    assert size_of(model) == size_of(build_fcpnet(**TINY)) + 4


def test_interaction_branch_exists_in_training_only():
    model = build_fcpnet(**TINY | {"labels": 1})
    image = torch.rand(2, 3, 40, 56)
    prediction = model.train()(image)
    assert prediction.joint.shape == prediction.mask.shape == (2, 1, 40, 56)
    assert prediction.label.shape == (2, 1)
    assert model.eval()(image).joint is None
    before = model(image)
    model.remove_training_branches()
    torch.testing.assert_close(model(image).mask, before.mask)
    assert not any("interaction" in key for key in model.state_dict())
    assert model.train()(image).joint is None


def test_without_labels_there_is_neither_branch():
    model = build_fcpnet(**TINY)
    assert model.class_branch is None
    assert model.interaction_branch is None
    prediction = model(torch.rand(2, 3, 64, 64))
    assert prediction.label is None
    assert prediction.joint is None


def test_class_branch_without_interaction():
    model = build_fcpnet(**TINY | {"labels": 3}, interaction=False)
    prediction = model(torch.rand(2, 3, 64, 64))
    assert prediction.label.shape == (2, 3)
    assert prediction.joint is None


def test_class_scores_look_at_the_output_of_blf():
    model = build_fcpnet(**TINY | {"labels": 2}).eval()
    image = torch.rand(2, 3, 64, 64)
    expected, _ = model.class_branch(model.encode(image)[-1])
    torch.testing.assert_close(model(image).label, expected)
    assert model.activation_layers() == (model.fuse,)


def test_training_on_one_image_says_what_to_do():
    with pytest.raises(InputError, match="use a batch size of at least 2"):
        build_fcpnet(**TINY)(torch.rand(1, 3, 64, 64))


def test_refuses_an_unknown_fusion():
    with pytest.raises(InputError, match="Option blf of fcp-net must be 'cascade', 'add' or 'concatenate'"):
        build_fcpnet(**TINY, blf="sum")
