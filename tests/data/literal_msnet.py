"""MSNet written once more, formula by formula, and how a network is compared with it."""

import torch
import torch.nn.functional as F
from torch import nn


def tiny(build, seed=0, **options):
    """Small network with random weights and statistics: fresh ones would hide a wrong mean or variance."""
    torch.manual_seed(seed)
    settings = {"classes": 2, "labels": 0, "encoder": "test_resnet", "pretrained": False, "width": 8}
    model = build(**{**settings, **options})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
    return model


def difference(a, b):
    return (a - b).abs()


def literal_mask(model, image, compare=difference):
    """The paper's formulas, one by one, with the weights of `model`; indices from 1 as printed."""

    def up(x, like):
        return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)

    stem, *stages = model.encoder(image)
    encoded = dict(enumerate([F.max_pool2d(stem, 3, 2, 1), *stages], start=1))
    x = {i: model.reduce[i - 1](f) for i, f in encoded.items()}
    ms = {}  # (order, level) -> map; normalisation shared by the units sees them from deep to shallow
    for n in (1, 2, 3, 4):
        for i in range(5 - n, 0, -1):
            deep, shallow = (x[i + 1], x[i]) if n == 1 else (ms[n - 1, i + 1], ms[n - 1, i])
            if n == 4:
                deep = model.last_deep(deep)
            ms[n, i] = model.rows[n - 1].convs[i - 1](compare(up(deep, shallow), shallow))
    ce = {
        1: model.enhance[0](ms[1, 1] + ms[2, 1] + ms[3, 1] + ms[4, 1]),
        2: model.enhance[1](ms[1, 2] + ms[2, 2] + ms[3, 2]),
        3: model.enhance[2](ms[1, 3] + ms[2, 3]),
        4: ms[1, 4],
        5: model.bottom(encoded[5]),
    }
    d4 = model.refine[0](up(ce[5], ce[4]) + ce[4])
    d3 = model.refine[1](up(d4, ce[3]) + ce[3])
    d2 = model.refine[2](up(d3, ce[2]) + ce[2])
    d1 = model.head(up(d2, ce[1]) + ce[1])
    return up(d1, image)


def relative(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def check_values_and_gradients(ours, double, training, dtype, size=(75, 91)):
    """Compare model(image) with `double(model, image)`, each on its own copy of the weights."""
    outputs, gradients, models = [], [], []
    generator = torch.Generator().manual_seed(5)
    value = torch.randn(2, 3, *size, generator=generator).to(dtype)
    upstream = torch.randn(2, 2, *size, generator=generator).to(dtype)
    for model, run in ((double[0], double[1]), (ours, lambda model, image: model(image).mask)):
        model.to(dtype).train(training)
        image = value.clone().requires_grad_()
        outputs.append(run(model, image))
        parameters = [image, *model.parameters()]
        gradients.append(torch.autograd.grad(outputs[-1], parameters, upstream))
        models.append(model)
    assert relative(outputs[1], outputs[0]) < 1e-5
    if dtype == torch.float64:  # float32 moves some values across the kink of |x| and of ReLU
        largest = max(g.abs().max() for g in gradients[0])
        names = ["image", *(key for key, _ in ours.named_parameters())]
        for key, theirs, mine in zip(names, *gradients, strict=True):
            # In training, what a normalisation removes has only rounding as its gradient.
            assert (mine - theirs).abs().max() <= 1e-5 * max(theirs.abs().max(), 1e-6 * largest), key
    for (key, theirs), mine in zip(
        models[0].state_dict().items(), models[1].state_dict().values(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5, msg=key)
