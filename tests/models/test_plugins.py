import pytest
import torch

from delineate.checks import InputError
from delineate.layers.dsmca import DSMCA
from delineate.models import create_model
from delineate.models.baselines.unet import build_unet
from delineate.models.plugins import (
    PLUGINS,
    WithDSMCA,
    WithFPM,
    WithHLF,
    levels_read,
    plugin_options,
    split_name,
    wrap,
)

WIDTHS = (4, 6, 8)


def unet(classes=1):
    torch.manual_seed(0)
    return build_unet(classes=classes, depth=3, widths=WIDTHS)


def base(name):
    if name == "unet":
        return unet()
    if name == "clnet":
        options = {"widths": WIDTHS}
        return create_model("clnet", labels=0, encoder="test_resnet", options=options)
    return create_model(name, labels=0, encoder="test_resnet")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unet", ("unet", ())),
        ("smp:unet+hlf", ("smp:unet", ("hlf",))),
        ("unet+dsmca+hlf", ("unet", ("dsmca", "hlf"))),
    ],
)
def test_split_name(name, expected):
    assert split_name(name) == expected


def test_split_name_refuses():
    with pytest.raises(InputError, match="Unknown plug-in 'hfl'. Did you mean 'hlf'?"):
        split_name("unet+hfl")
    with pytest.raises(InputError, match="'unet\\+dsmca\\+dsmca' names a plug-in twice"):
        split_name("unet+dsmca+dsmca")
    for name in ("unet+hlf+dsmca", "unet+hlf+fpm"):
        with pytest.raises(InputError, match="'hlf' .* classifies, so it must be the last and the only one"):
            split_name(name)


@pytest.mark.parametrize("name", ["unet", "chnet", "clnet", "smp:unet"])
@pytest.mark.parametrize("plugins", [("dsmca",), ("hlf",), ("fpm",), ("dsmca", "hlf"), ("dsmca", "fpm")])
def test_every_parameter_of_every_plugin_learns(name, plugins):
    labels = 2 if PLUGINS[plugins[-1]].classifies else 0
    model = wrap(base(name), plugins, classes=1, labels=labels).train()
    prediction = model(torch.rand(2, 3, 64, 64))
    outputs = [x for x in (prediction.mask, prediction.label, prediction.joint) if x is not None]
    assert len(outputs) == 1 + bool(labels) + ("hlf" in plugins)
    sum(x.square().mean() for x in outputs).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_dsmca_refines_what_is_asked_for():
    base = unet()
    image = torch.rand(1, 3, 64, 64)
    plain = base.eval().encode(image)
    for place, refined in (("end", [2]), ("skips", [0, 1]), ("all", [0, 1, 2])):
        model = wrap(base, ["dsmca"], classes=1, labels=0, options={"dsmca_at": place}).eval()
        assert [i for i, block in enumerate(model.refine) if isinstance(block, DSMCA)] == refined
        for i, (m, before) in enumerate(zip(model.encode(image), plain, strict=True)):
            expected = model.refine[i](before) if i in refined else before
            torch.testing.assert_close(m, expected)


def test_dsmca_leaves_maps_alone_that_the_decoder_does_not_read():
    network = base("smp:unet")  # its first map is the image
    assert levels_read(network) == [False, True, True, True, True, True]
    assert not isinstance(WithDSMCA(network).refine[0], DSMCA)


def test_asking_what_is_read_changes_nothing():
    network = unet().train()
    network.head.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    levels_read(network)
    assert network.training
    assert network.steps.training
    assert not network.head.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_hlf_keeps_the_mask_and_joins_in_training_only():
    network = unet(classes=3)
    model = WithHLF(network, classes=3, labels=4, hidden=5).eval()
    image = torch.rand(2, 3, 50, 70)
    prediction = model(image)
    torch.testing.assert_close(prediction.mask, network(image).mask)
    assert prediction.label.shape == (2, 4)
    assert prediction.joint is None
    assert model.train()(image).joint.shape == (2, 3, 50, 70)


def test_hlf_without_its_training_branch_predicts_the_same():
    model = WithHLF(unet(), classes=1, labels=1).eval()
    image = torch.rand(2, 3, 64, 64)
    before = model(image)
    assert any(name.startswith("interaction_branch") for name in model.state_dict())
    model.remove_training_branches()
    assert not any(name.startswith("interaction_branch") for name in model.state_dict())
    assert torch.equal(model(image).mask, before.mask)
    assert torch.equal(model(image).label, before.label)
    assert model.train()(image).joint is None


def test_removing_reaches_the_wrapped_model():
    class Inner(WithDSMCA):
        removed = False

        def remove_training_branches(self):
            self.removed = True

    inner = Inner(unet())
    WithHLF(inner, classes=1, labels=1).remove_training_branches()
    assert inner.removed


@pytest.mark.parametrize("plugin", ["hlf", "fpm"])
def test_activation_layer_is_what_the_pooling_sees(plugin):
    model = wrap(unet(), ["dsmca", plugin], classes=1, labels=1).eval()
    seen = []
    (layer,) = model.activation_layers()
    layer.register_forward_hook(lambda _m, _i, output: seen.append(output))
    label = model(torch.rand(1, 3, 64, 64)).label
    (pooled,) = (m.mean((2, 3)) for m in seen)
    if plugin == "hlf":
        branch = model.class_branch
        expected = branch.classify(branch.squeeze(pooled).relu())
    else:
        expected = model.passing.classify(pooled)
    torch.testing.assert_close(label, expected)


def test_wrappers_pass_on_what_the_model_says_of_itself():
    network = base("smp:unet")
    model = wrap(network, ["dsmca", "fpm"], classes=1, labels=1)
    assert model.size_multiple == network.size_multiple == 32
    assert model.minimum_size == network.minimum_size
    assert model.feature_channels == network.feature_channels
    assert {*model.encoder_parameters()} == {*network.encoder_parameters()}


@pytest.mark.parametrize("plugin", ["hlf", "fpm"])
def test_labels_and_plugins_must_agree(plugin):
    with pytest.raises(
        InputError, match=f"'{plugin}' classifies, so it needs class labels, got labels=0; name"
    ):
        wrap(unet(), ["dsmca", plugin], classes=1, labels=0)
    with pytest.raises(InputError, match="'dsmca' does not classify, so labels must be 0, got 2; add"):
        wrap(unet(), ["dsmca"], classes=1, labels=2)


@pytest.mark.parametrize("wrapper", [WithHLF, WithFPM])
def test_a_model_that_classifies_is_not_made_to_twice(wrapper):
    for network in (create_model("smp:unet", labels=2, encoder="test_resnet"), WithFPM(unet(), 1, 1)):
        with pytest.raises(InputError, match="already has a class branch; build that model with labels=0"):
            wrapper(network, 1, 2)


def test_options():
    assert plugin_options(["dsmca", "hlf"]).keys() == {"dsmca_at", "hlf_hidden"}
    options = {"dsmca_at": "end", "hlf_hidden": 7}
    model = wrap(unet(), ["dsmca", "hlf"], classes=1, labels=1, options=options)
    assert model.class_branch.squeeze.out_features == 7
    assert (
        wrap(unet(), ["fpm"], classes=1, labels=1, options={"fpm_width": 5}).passing.classify.in_features == 5
    )
    with pytest.raises(InputError, match="Unknown option 'hlf_hiden'.* Did you mean 'hlf_hidden'?"):
        wrap(unet(), ["hlf"], classes=1, labels=1, options={"hlf_hiden": 7})
    with pytest.raises(
        InputError, match="Option 'dsmca_at' .* must be one of 'end', 'skips', 'all', got 'top'"
    ):
        wrap(unet(), ["dsmca"], classes=1, labels=0, options={"dsmca_at": "top"})
    with pytest.raises(InputError, match="Option dsmca_at must be 'end', 'skips' or 'all', got 'top'"):
        WithDSMCA(unet(), "top")


def test_no_skips_to_refine():
    network = unet()
    network.decode = lambda features, size: network.head(features[-1][:, :4])
    with pytest.raises(
        InputError, match="dsmca_at cannot be 'skips' for UNet, whose decoder reads only the end"
    ):
        WithDSMCA(network, "skips")
