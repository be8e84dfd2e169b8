import io

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from delineate.checks import InputError
from delineate.layers import phases, pyramid
from delineate.layers.encoders import create_encoder
from delineate.models import create_model
from delineate.models.chnet import CHNet, PixelHead

CHANNELS = (64, 40, 512)


def shaken(head):
    """Random weights and statistics: fresh ones would hide a wrong mean or variance."""
    torch.manual_seed(1)
    for p in head.parameters():
        torch.nn.init.normal_(p, std=0.2)
    head.norm.running_mean.normal_()
    head.norm.running_var.uniform_(0.5, 2)
    return head


def both_heads(classes=2, **options):
    heads = [PixelHead(CHANNELS, classes, form=form, **options) for form in ("literal", "tiled")]
    heads[1].load_state_dict(shaken(heads[0]).state_dict())
    return heads


def features(size, batch=2):
    generator = torch.Generator().manual_seed(0)
    sides = [(-(-size[0] // s), -(-size[1] // s)) for s in (2, 4, 16)]
    return [
        torch.randn(batch, c, *side, generator=generator).requires_grad_()
        for c, side in zip(CHANNELS, sides, strict=True)
    ]


def relative(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        ((64, 64), torch.float32),
        ((75, 53), torch.float32),
        ((33, 2), torch.float32),
        ((2, 1), torch.float64),  # four values per channel: float32 gradients are rounding in either form
    ],
)
@pytest.mark.parametrize("tile", [1000, 2**19])
def test_tiled_head_is_the_literal_head(training, size, dtype, tile, monkeypatch):
    monkeypatch.setattr(pyramid, "CPU_TILE", tile)
    outputs, gradients = [], []
    heads = [head.to(dtype) for head in both_heads()]
    upstream = torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(5)).to(dtype)
    for head in heads:
        inputs = [f.detach().to(dtype).requires_grad_() for f in features(size)]
        logits = head.train(training)(inputs, size)
        outputs.append(logits)
        gradients.append(torch.autograd.grad(logits, [*inputs, *head.parameters()], upstream))
    assert relative(outputs[1], outputs[0]) < 1e-5
    names = ["f0", "f1", "f2", *(key for key, _ in heads[0].named_parameters())]
    # In training the biases before the normalisation have no effect: only rounding is left of their gradient.
    scale = max(g.abs().max().item() for g in gradients[0])
    for name, theirs, ours in zip(names, *gradients, strict=True):
        without_effect = training and name.startswith("reduce") and name.endswith("bias")
        largest = scale if without_effect else theirs.abs().max().item()
        assert (ours - theirs).abs().max().item() <= 1e-5 * largest, name
    for (key, theirs), ours in zip(heads[0].named_buffers(), heads[1].buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, msg=key)


def test_plain_form_is_used_for_tracing_and_equals_the_literal_head():
    literal, tiled = (head.eval() for head in both_heads())
    inputs = [f.detach() for f in features((30, 22))]
    expected = literal(inputs, (30, 22))
    assert relative(tiled.plain(inputs, (30, 22)), expected) < 1e-5

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = tiled

        def forward(self, a, b, c):
            return self.head([a, b, c], (30, 22))

    traced = torch.jit.trace(Wrapped(), tuple(inputs))
    assert "upsample_bilinear2d" in str(traced.inlined_graph)
    assert "PythonOp" not in str(traced.inlined_graph)
    assert relative(traced(*inputs), expected) < 1e-5


@pytest.mark.parametrize(
    ("size", "channels", "strip"),
    [
        ((64, 96), (64, 40, 512), None),
        ((64, 96), (64, 40, 512), 6),  # the last strip has 2 rows
        ((32, 16), (8, 24), 2),  # one coarse level
        ((48, 32), (16, 8, 8, 8), 4),
    ],
)
def test_phased_form_is_the_literal_head(size, channels, strip, monkeypatch):
    if strip:
        monkeypatch.setattr(phases, "STRIP", strip * size[1] // 2 * 128)
    head = shaken(PixelHead(channels, 2)).eval()
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(2, c, size[0] >> i, size[1] >> i, generator=generator)
        for i, c in enumerate(channels, start=1)
    ]
    with torch.no_grad():
        assert relative(head.phased(inputs, size), head.literal(inputs, size)) < 2e-6


def test_exports_hold_the_phased_form_where_it_fits():
    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = shaken(PixelHead((8, 8, 8), 1)).eval()

        def forward(self, a, b, c):
            return self.head([a, b, c], (32, 24))

    model = Wrapped()
    for sides, form, least in (
        ([(16, 12), (8, 6), (4, 3)], "conv2d", 12),
        ([(16, 12), (8, 6), (3, 3)], "upsample", 3),
    ):
        inputs = tuple(torch.randn(1, 8, *side) for side in sides)
        program = torch.export.export(model, inputs)
        names = [str(node.target) for node in program.graph.nodes]
        assert ("aten.pixel_shuffle.default" in names) == (form == "conv2d")
        assert sum(form in name for name in names) >= least
        with torch.no_grad():
            assert relative(program.module()(*inputs), model(*inputs)) < 1e-5


def test_strips_need_sizes_that_are_numbers():
    assert phases.doubles([(8, 4), (4, 2)], (16, 8))
    assert not phases.doubles([(8, 4)], (16, 8))
    assert not phases.doubles([(8, 4), (4, 2)], (17, 8))
    assert not phases.doubles([(4, 2), (2, 1)], (16, 8))
    open_height = torch.export.Dim("h", min=2, max=8)

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = shaken(PixelHead((8, 8), 1)).eval()

        def forward(self, image):
            maps = [image.repeat(1, 8, 1, 1)[..., ::2, ::2], image.repeat(1, 8, 1, 1)[..., ::4, ::4]]
            return self.head(maps, (image.shape[2], image.shape[3]))

    model = Wrapped()
    program = torch.export.export(model, (torch.randn(1, 1, 16, 8),), dynamic_shapes=({2: 4 * open_height},))
    other = torch.randn(1, 1, 24, 8)
    with torch.no_grad():
        assert relative(program.module()(other), model(other)) < 1e-5


def test_running_statistics_without_momentum_average_all_batches():
    heads = both_heads()
    for head in heads:
        head.norm.momentum = None
        for size in ((20, 20), (12, 30)):
            head.train()([f.detach() for f in features(size)], size)
    torch.testing.assert_close(heads[1].norm.running_var, heads[0].norm.running_var)
    assert heads[1].norm.num_batches_tracked == 2


def test_frozen_normalisation_in_a_training_head():
    literal, tiled = both_heads()
    for head in (literal, tiled):
        head.train()
        head.norm.eval()
    before = tiled.norm.running_mean.clone()
    inputs = [f.detach() for f in features((20, 20))]
    assert relative(tiled(inputs, (20, 20)), literal(inputs, (20, 20))) < 1e-5
    assert torch.equal(tiled.norm.running_mean, before)


def test_whole_network_in_both_forms():
    torch.manual_seed(0)
    models = [
        CHNet(create_encoder("resnet10t", levels=(0, 1, 2)), head=form) for form in ("literal", "tiled")
    ]
    models[1].load_state_dict(models[0].state_dict())
    image = torch.rand(2, 3, 75, 53)
    for training in (True, False):
        masks = [model.train(training)(image).mask for model in models]
        assert relative(masks[1], masks[0]) < 1e-5


def test_three_by_three_ablation():
    model = create_model("chnet", encoder="resnet10t", options={"head_kernel": 3})
    assert model.head.mix.kernel_size == model.head.classify.kernel_size == (3, 3)
    assert model(torch.rand(2, 3, 40, 40)).mask.shape == (2, 1, 40, 40)


def test_check_numbers():
    with torch.device("meta"):
        models = {form: create_model("chnet", options={"head": form}).eval() for form in ("literal", "tiled")}
        image = torch.empty(1, 3, 256, 256)
    macs = {}
    for form, model in models.items():
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            model(image)
        macs[form] = counter.get_total_flops() / 2
    parameters = sum(p.numel() for p in models["tiled"].parameters())
    assert parameters == 8_823_241
    assert sum(p.numel() for p in models["tiled"].head.parameters()) == 152_193  # the paper's 0.15 M decoder
    assert parameters == pytest.approx(8.82e6, rel=0.01)
    assert macs["literal"] == pytest.approx(7.2e9, rel=0.02)
    assert macs["tiled"] <= 5.4e9


def test_saved_activations_stay_small():
    # What autograd keeps for the head, per pixel of the image and image: literal 256 + 128 + 128 channels.
    size = (64, 64)
    kept = {}
    for head in both_heads(classes=1):
        total = io.BytesIO()
        seen = set()

        def pack(t, seen=seen, total=total):
            if t.data_ptr() not in seen:
                seen.add(t.data_ptr())
                total.write(bytes(t.untyped_storage().nbytes() // 1024))
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            head.train()(features(size), size)
        kept[head.form] = total.tell()
    assert kept["tiled"] < 0.4 * kept["literal"]


@pytest.mark.parametrize(("option", "value"), [("head_kernel", 5), ("head", "fast")])
def test_constructor_refuses_unknown_choices(option, value):
    with pytest.raises(InputError, match=f"Option {option} of chnet must be "):
        CHNet(create_encoder("resnet10t", levels=(0,)), **{option: value})
