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
Each level then gives a map; the maps are resized and added, each times its number of places. A weight behind
a pooling over n places is its share of the score divided by n, so this makes levels comparable. For a single
layer it changes nothing, as every map is scaled to a maximum of 1.

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
from delineate.layers.padding import crop_to, pad_image
from delineate.models.base import SegmentationModel
from delineate.models.prediction import Prediction

Method = Literal["clnet", "gradcam", "gradcam++"]
Target = Literal["label", "mask"]


def activation_map(
    model: nn.Module,
    image: Tensor,
    *,
    method: Method = "clnet",
    target: Target = "label",
    index: int | None = None,
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
        target: "label" explains the logit of one image label. "mask" explains the sum of one class's logits
            over the region predicted as that class; over all pixels when that region is empty, so that the
            map still says where the class is most nearly found.
        index: for "label" the position of the label; of two labels, 0 explains the negated logit. For "mask"
            the class as in a decoded mask: 0 background, i + 1 the i-th class; of a binary mask, 0 explains
            the negated logits. None explains the most probable label, or the class with the largest
            predicted region, background excepted.
        size: (height, width) of the result in pixels; None for that of `image`.

    Returns:
        (height, width) float32 in [0, 1], the largest value 1, interpolated bilinearly from the feature map.
        All 0 when nothing in the image raises the score.

    Raises:
        InputError: unknown `method` or `target`, `index` out of range, an image of another shape, or a model
            without the output that `target` needs.
    """
    combine = choose("activation map", method, _METHODS)
    score_of = choose("target of an activation map", target, _SCORES)
    if image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
        raise InputError(
            f"An activation map needs one normalised float image of shape (1, 3, H, W), got {image.dtype} "
            f"of shape {tuple(image.shape)}."
        )
    levels, score = _forward(model, image, lambda prediction: score_of(prediction, index))
    if score.requires_grad:
        gradients = torch.autograd.grad(score, levels, allow_unused=True, materialize_grads=True)
    else:  # the score does not depend on these layers at all
        gradients = tuple(torch.zeros_like(features) for features in levels)
    resized = torch.zeros(size or (image.shape[2], image.shape[3]), device=image.device)
    for features, gradient in zip(levels, gradients, strict=True):
        raw = combine(features.detach()[0].float(), gradient[0].float())  # (h, w), >= 0
        resized += _at_size(model, image, raw * raw.numel(), size)
    largest = resized.max()
    scaled = resized / largest if largest > 0 else torch.zeros_like(resized)
    return np.ascontiguousarray(scaled.clamp(0, 1).cpu().numpy(), dtype=np.float32)


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


def _label_score(prediction: Prediction, index: int | None) -> Tensor:
    if prediction.label is None:
        raise InputError("This model has no label output to explain; use target='mask'.")
    logits = prediction.label[0]  # (labels,)
    if len(logits) == 1:  # one logit stands for two labels, the second is the positive one
        logits = torch.stack([-logits[0], logits[0]])
    chosen = int(logits.argmax()) if index is None else _checked(index, len(logits), "label")
    return logits[chosen]


def _mask_score(prediction: Prediction, index: int | None) -> Tensor:
    if prediction.mask is None:
        raise InputError("This model has no mask output to explain; use target='label'.")
    logits = prediction.mask[0]  # (C, H, W)
    if len(logits) == 1:  # binary: one map stands for background and foreground
        logits = torch.cat([-logits, logits])
    decoded = logits.argmax(0)  # of two equal logits the background, as probability > 0.5 has it
    if index is None:
        areas = torch.bincount(decoded.flatten(), minlength=len(logits))[1:]
        chosen = 1 + int(areas.argmax())
    else:
        chosen = _checked(index, len(logits), "mask")
    region = decoded == chosen
    return logits[chosen][region].sum() if bool(region.any()) else logits[chosen].sum()


_SCORES: Mapping[str, Callable[[Prediction, int | None], Tensor]] = {
    "label": _label_score,
    "mask": _mask_score,
}


def _checked(index: int, count: int, kind: str) -> int:
    if not 0 <= index < count:
        raise InputError(f"The {kind} index must be between 0 and {count - 1}, got {index}.")
    return index


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

    with _evaluation_mode(model), torch.inference_mode(False), torch.enable_grad():
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
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag
