"""What an exported file computes: from 8-bit pictures of any size to masks and probabilities at their size.

Three parts. `Resizing` brings pictures to the size the network was trained at, `Network` normalises them and
runs the model, `Deciding` brings its scores back to the pictures' size. The network always sees one size, so
that runtimes can plan for it; what is dynamic is around it.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from delineate.checks import InputError
from delineate.layers.normalise import Normalise
from delineate.layers.padding import pad_image
from delineate.models.checkpoint import ModelInfo
from delineate.models.prediction import label_probability, mask_probability

INPUT, SIZED = "image", "sized"
LOGITS = ("mask_logits", "label_logits")
"""Outputs at the network's size, that a backend reads."""
OUTPUTS = ("mask", "probability", "label_probability", *LOGITS)
"""Outputs of the whole graph; those of a branch that the model lacks are left out."""


class Resizing(nn.Module):
    """Resize as Pillow's bilinear filter does, which averages when the picture gets smaller.

    Either direction is a product with a matrix of the filter's weights. As in Pillow, weights are whole
    multiples of 2**-22 and values are rounded to 8 bits after each direction, so that the result is Pillow's
    own; no runtime's resizing operator gives that.

    Args:
        size: (height, width) in pixels of the result.

    Shape:
        (B, H, W, 3) uint8 -> (B, 3, *size) uint8.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, image: Tensor) -> Tensor:
        planes = image.permute(0, 3, 1, 2).float()  # (B, 3, H, W)
        high, low = filter_weights(image.shape[2], self.size[1])  # (w, W)
        wide = _rounded(planes @ high.transpose(0, 1), planes @ low.transpose(0, 1))  # (B, 3, H, w)
        high, low = filter_weights(image.shape[1], self.size[0])  # (h, H)
        return _rounded(high @ wide, low @ wide).to(torch.uint8)


_DIGIT = 2048
"""Weights of 22 bits are split into two digits of 11, so that sums of products are exact in float32."""


def filter_weights(length: int, size: int) -> tuple[Tensor, Tensor]:
    """Return the weights that resize a line of `length` pixels to `size`: Pillow's triangle filter.

    Distances are whole numbers, in units of half a pixel of the grid common to both lines.

    Returns:
        Two digits (size, length), float32 whole numbers up to 2048: weight = high / 2**11 + low / 2**22.
    """
    position = (2 * torch.arange(length) + 1) * size
    centre = (2 * torch.arange(size) + 1) * length
    distance = (position[None, :] - centre[:, None]).abs()
    # The triangle is as wide as a pixel of the coarser line.
    reach = torch.maximum(torch.scalar_tensor(2 * length), torch.scalar_tensor(2 * size)).long()
    height = (reach - distance).clamp(min=0)
    total = height.sum(dim=1, keepdim=True)
    high = height * _DIGIT // total
    rest = height * _DIGIT - high * total
    low = (rest.float() * _DIGIT / total.float() + 0.5).floor()
    return high.float(), low


def _rounded(high: Tensor, low: Tensor) -> Tensor:
    """Return (high / 2**11 + low / 2**22) rounded to whole numbers, halves up."""
    whole = (high / _DIGIT).floor()
    rest = (high - whole * _DIGIT) * _DIGIT + low + _DIGIT**2 / 2
    return (whole + (rest / _DIGIT**2).floor()).clamp(0, 255)


class Network(nn.Module):
    """Normalisation and the model, as a module that returns plain tensors.

    Args:
        model: the network; it is copied.
        info: what `model.json` says.

    Shape:
        (B, 3, *info.size) uint8 -> mask logits (B, C, *info.size) and label logits (B, K), those it has.
    """

    def __init__(self, model: nn.Module, info: ModelInfo) -> None:
        super().__init__()
        # Of a channels-last network global pooling is traced with strides, which become gathers in the graph.
        self.model = (
            copy.deepcopy(model).eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
        )
        fix_positions(self.model, info.size)
        self.normalise = Normalise.named(info.normalisation)

    def forward(self, sized: Tensor) -> tuple[Tensor, ...]:
        prediction = self.model(self.normalise(sized))
        return tuple(logits for logits in (prediction.mask, prediction.label) if logits is not None)


def fix_positions(model: nn.Module, size: tuple[int, int]) -> None:
    """Resample the position embeddings of timm's vision transformers for one image size, once and for all.

    They would be resampled with every image otherwise, by an operator that OpenVINO computes differently.
    """
    multiple, minimum = getattr(model, "size_multiple", 1), getattr(model, "minimum_size", 1)
    padded = pad_image(torch.zeros(1, 1, *size), multiple=multiple, minimum=minimum).shape[-2:]
    module: Any
    for module in model.modules():
        if hasattr(module, "set_input_size") and getattr(module, "dynamic_img_size", False):
            module.set_input_size(img_size=tuple(padded))


class Deciding(nn.Module):
    """From logits to what a user wants, at the pictures' own size.

    Args:
        threshold: probability above which a pixel counts as found, for one class.
        segments: whether mask logits come first.
        classifies: whether label logits come last.

    Shape:
        logits as from `Network`, and the pictures (B, H, W, 3) -> mask (B, H, W) uint8, probability (B, H, W)
        or (B, C, H, W), label_probability (B, labels), those it has.
    """

    def __init__(self, threshold: float, segments: bool, classifies: bool) -> None:
        super().__init__()
        self.threshold, self.segments, self.classifies = threshold, segments, classifies

    def forward(self, image: Tensor, *logits: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        if self.segments:
            size = (image.shape[1], image.shape[2])
            full = F.interpolate(logits[0].float(), size, mode="bilinear", align_corners=False)
            probability = mask_probability(full)
            decided = probability > self.threshold if full.shape[1] == 1 else probability.argmax(1)
            found += [decided.to(torch.uint8), probability]
        if self.classifies:
            found.append(label_probability(logits[-1]))
        return tuple(found)


class Whole(nn.Module):
    """All three parts.

    Args:
        model: the network.
        info: what `model.json` says.

    Shape:
        (B, H, W, 3) uint8 RGB, any B, H and W from 1 -> the tensors that `names` lists.
    """

    def __init__(self, model: nn.Module, info: ModelInfo) -> None:
        super().__init__()
        self.resizing = Resizing(info.size)
        self.network = Network(model, info)
        self.deciding = Deciding(info.threshold, segments=bool(info.classes), classifies=bool(info.labels))
        self.names = output_names(info)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits = self.network(self.resizing(image))
        return (*self.deciding(image, *logits), *logits)


def output_names(info: ModelInfo) -> tuple[str, ...]:
    """Return which of `OUTPUTS` the graph of a model has, in their order."""
    mask, label = bool(info.classes), bool(info.labels)
    return tuple(name for name in OUTPUTS if (label if name.startswith("label") else mask))


def logit_names(info: ModelInfo) -> tuple[str, ...]:
    """Return which of `LOGITS` the network of a model gives, in their order."""
    return tuple(name for name in output_names(info) if name in LOGITS)


def export_program(
    module: nn.Module, inputs: tuple[Tensor, ...], dynamic: tuple[str, ...]
) -> torch.export.ExportedProgram:
    """Trace a module with `torch.export`.

    Args:
        module: takes `inputs`.
        inputs: examples; their dynamic sizes must be 2 or more.
        dynamic: for each input which dimensions may change, for example "bhw" for the first three of a
            picture or "b" for the batch alone.

    Raises:
        InputError: the module cannot be traced for any batch.
    """
    dims = {
        "b": torch.export.Dim("batch", min=1, max=65535),
        "h": torch.export.Dim("height", min=1, max=65535),
        "w": torch.export.Dim("width", min=1, max=65535),
    }
    shapes: tuple[Any, ...] = tuple({i: dims[name] for i, name in enumerate(names)} for names in dynamic)
    if isinstance(module, Deciding):
        shapes = (shapes[0], shapes[1:])  # its second argument is a tuple
    try:
        with torch.no_grad():
            return torch.export.export(module.eval(), inputs, dynamic_shapes=shapes)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"This model cannot be exported: torch.export says: {reason}") from error
