"""Activation maps: which places of an image raise a score of the network.

    method      weights and map                                                     source
    clnet       w_k = mean_ij dy/dX^k_ij                                            CLNet Eq. (2)
                AM = sum_k ReLU(w_k X^k)                                            CLNet Eq. (3)
    gradcam     a_k = mean_ij dy/dX^k_ij                                            Grad-CAM Eq. (1)
                L = ReLU(sum_k a_k X^k)                                             Grad-CAM Eq. (2)
    gradcam++   a^k_ij = g^2 / (2 g^2 + g^3 sum_ab X^k_ab), g = dy/dX^k_ij          Grad-CAM++ Eq. (19)
                w_k = sum_ij a^k_ij ReLU(g), L = ReLU(sum_k w_k X^k)                Grad-CAM++ Eq. (5)

X^k is channel k of the output of a layer of `model.activation_layers()`, y the score that is explained.
CLNet pools the fused maps of every level before its classifier, so its X are the channels of all of them.
Each level then gives a map; the maps are resized and added. A gradient behind a pooling over n places is the
channel's share of the score divided by n, so levels are comparable when their weights are sums over places:
those of Grad-CAM++ are, the means of CLNet and Grad-CAM are multiplied by n. For a single layer it changes
nothing, as every map is scaled to a maximum of 1.

CLNet applies the ReLU before the sum over channels, Grad-CAM after it; so in CLNet a channel that argues
against the class cannot erase what others show. CLNet's text calls its map Grad-CAM++, but prints Eqs. (2)
and (3).

Sources:
    CLNet, Eqs. (2)-(3).
    Selvaraju et al., Grad-CAM, ICCV 2017, arXiv:1610.02391.
    Chattopadhyay et al., Grad-CAM++, WACV 2018, arXiv:1710.11063 (equation numbers of arXiv's text). Its
    class score is exp(y); the common factor exp(y) is left out, as every map is scaled to a maximum of 1.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from delineate.checks import InputError, choose
from delineate.explain.targets import Target, fix_score
from delineate.layers.padding import crop_to, pad_image
from delineate.models.base import SegmentationModel
from delineate.models.prediction import Prediction

Method = Literal["clnet", "gradcam", "gradcam++"]


def activation_map(
    model: nn.Module,
    image: Tensor,
    *,
    method: Method = "clnet",
    target: Target = "label",
    index: int | None = None,
    region: Tensor | None = None,
    size: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """Show where the image raises one score of `model`.

    The model runs in evaluation mode without autocast, and is left as it was found: training flags,
    requires_grad and .grad do not change.

    Args:
        model: image -> Prediction, with a method `activation_layers()` that returns the modules whose outputs
            (1, K, h, w) are explained; none of them may feed another.
        image: (1, 3, H, W) float, normalised as the model expects it, on the model's device.
        method: the formula, see the module's docstring.
        target: "label" explains the logit of one label, "mask" the sum of one class's logits over a region.
        index: which label or class, see `targets.fix_score`; None for the one that is found.
        region: bool (H, W) at the size of `image`, the pixels of the mask to explain; None for all that are
            predicted as the class, or the whole image when there is none.
        size: (height, width) of the result in pixels; None for that of `image`.

    Returns:
        (height, width) float32 in [0, 1], the largest value 1, interpolated bilinearly from the feature map.
        All 0 when nothing in the image raises the score.

    Raises:
        InputError: unknown `method`, an image of another shape, a model that names no layers, or what
            `targets.fix_score` refuses.
    """
    combine = choose("activation map", method, _METHODS)
    check_image(image)
    levels, score = _forward(
        model, image, lambda found: fix_score(found, target, index, region).logit(found)[0]
    )
    if score.requires_grad:
        gradients = torch.autograd.grad(score, levels, allow_unused=True, materialize_grads=True)
    else:  # the score does not depend on these layers at all
        gradients = tuple(torch.zeros_like(features) for features in levels)
    resized = torch.zeros(size or (image.shape[2], image.shape[3]), device=image.device)
    for features, gradient in zip(levels, gradients, strict=True):
        raw = combine(features.detach()[0].float(), gradient[0].float())  # (h, w), >= 0
        places = 1 if method == "gradcam++" else raw.numel()  # makes sums of the weights that are means
        resized += _at_size(model, image, raw * places, size)
    largest = resized.max()
    scaled = resized / largest if largest > 0 else torch.zeros_like(resized)
    return np.ascontiguousarray(scaled.clamp(0, 1).cpu().numpy(), dtype=np.float32)


def check_image(image: Tensor) -> None:
    """Refuse anything but one normalised image.

    Raises:
        InputError: it is not (1, 3, H, W) float.
    """
    if image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
        raise InputError(
            f"An activation map needs one normalised float image of shape (1, 3, H, W), got {image.dtype} "
            f"of shape {tuple(image.shape)}."
        )


def clnet_map(features: Tensor, gradient: Tensor) -> Tensor:
    """Combine (K, h, w) features and the score's gradient into CLNet's map (h, w) >= 0."""
    w = gradient.mean((1, 2), keepdim=True)  # Eq. (2)  (K, 1, 1)
    return (w * features).relu().sum(0)  # Eq. (3): the ReLU is inside the sum


def gradcam_map(features: Tensor, gradient: Tensor) -> Tensor:
    """Combine (K, h, w) features and the score's gradient into the Grad-CAM map (h, w) >= 0."""
    alpha = gradient.mean((1, 2), keepdim=True)  # Grad-CAM Eq. (1)  (K, 1, 1)
    return (alpha * features).sum(0).relu()  # Grad-CAM Eq. (2)


def gradcam_plus_plus_map(features: Tensor, gradient: Tensor) -> Tensor:
    """Combine (K, h, w) features and the score's gradient into the Grad-CAM++ map (h, w) >= 0.

    A place whose denominator in Eq. (19) is 0, as where the gradient is 0, gets weight 0.
    """
    # Eq. (19) does not change when g^2 is cancelled; without squares, small gradients do not underflow.
    denominator = 2 + gradient * features.sum((1, 2), keepdim=True)
    defined = (gradient != 0) & (denominator != 0)
    alpha = torch.where(defined, 1 / torch.where(defined, denominator, 1), 0)  # Eq. (19)  (K, h, w)
    w = (alpha * gradient.relu()).sum((1, 2), keepdim=True)  # Eq. (5)  (K, 1, 1)
    return (w * features).sum(0).relu()


_METHODS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "clnet": clnet_map,
    "gradcam": gradcam_map,
    "gradcam++": gradcam_plus_plus_map,
}


def _at_size(model: nn.Module, image: Tensor, raw: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Bring a map (h, w) over what the model saw to a map over the image, at `size`."""
    inner = (image.shape[2], image.shape[3])
    padded = _padded_size(model, image)
    resized = raw[None, None]
    if padded != inner:  # the features also cover what the model padded
        resized = crop_to(F.interpolate(resized, padded, mode="bilinear", align_corners=False), inner)
    return F.interpolate(resized, size or inner, mode="bilinear", align_corners=False)[0, 0]


def _padded_size(model: nn.Module, image: Tensor) -> tuple[int, int]:
    if not isinstance(model, SegmentationModel):
        return image.shape[2], image.shape[3]
    padded = pad_image(image, multiple=model.size_multiple, minimum=model.minimum_size)
    return padded.shape[2], padded.shape[3]


def _forward(
    model: nn.Module, image: Tensor, score_of: Callable[[Prediction], Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Run the model; return the features as leaves of the graph, and the score that grows from them."""
    if not hasattr(model, "activation_layers"):
        raise InputError(
            f"{type(model).__name__} names no layer to explain; give it a method activation_layers()."
        )
    layers = cast(Callable[[], tuple[nn.Module, ...]], model.activation_layers)()
    seen: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        # The graph starts here, so the layers before cost no backward pass and frozen weights do not matter.
        # The clone lets the next layer work in place without touching the features.
        leaf = output.detach().clone().requires_grad_()
        seen.append(leaf)
        return leaf.clone()

    with evaluation_mode(model), torch.inference_mode(False), torch.enable_grad():
        handles = [layer.register_forward_hook(cut) for layer in layers]
        try:
            with torch.autocast(image.device.type, enabled=False):
                prediction = model(image.clone())  # a tensor from inference mode cannot enter a graph
        finally:
            for handle in handles:
                handle.remove()
        if len(seen) != len(layers) or any(features.ndim != 4 for features in seen):
            raise InputError(
                f"Each explained layer of {type(model).__name__} must run once and give a (1, K, h, w) map; "
                f"it gave {[tuple(features.shape) for features in seen]}."
            )
        return seen, score_of(prediction)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode and give each module its flag back."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag
