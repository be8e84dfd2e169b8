"""Plug-ins: modules of FCP-Net that any segmentation model takes, by a name such as `unet+dsmca+hlf`.

Source: Liu et al., FCP-Net, IEEE TMI 2022, tables IV (DSMCA) and VI (HLF, FPM).

A plug-in wraps a model: it works on what `encode` gives before `decode` gets it, and passes on everything
else. DSMCA refines the maps. HLF and FPM classify, so they come last and wrap a model without a class branch.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from delineate.checks import InputError, choose
from delineate.layers.dsmca import DSMCA
from delineate.layers.padding import pad_image
from delineate.models.base import SegmentationModel, Tap
from delineate.models.multitask import ClassBranch, FeaturePassing, InteractionBranch
from delineate.models.options import OptionTable, check_options
from delineate.models.prediction import Prediction

DsmcaPlace = Literal["end", "skips", "all"]


class WrappedModel(SegmentationModel):
    """Base class of the plug-ins: a model around another one, with the same sizes, maps and encoder.

    Args:
        base: the model to wrap; only its two halves are used, so it must have no class branch of its own.

    Raises:
        InputError: `base` has a class branch, which the plug-in would leave out.
    """

    def __init__(self, base: SegmentationModel) -> None:
        super().__init__()
        if has_class_branch(base):
            raise InputError(
                f"{type(self).__name__} takes only the mask of {type(base).__name__}, which already has a "
                f"class branch; build that model with labels=0 and let a last plug-in +hlf or +fpm classify."
            )
        self.base = base
        self.size_multiple = base.size_multiple
        self.minimum_size = base.minimum_size
        self.feature_channels = base.feature_channels

    def encode(self, image: Tensor) -> list[Tensor]:
        return self.base.encode(image)

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        return self.base.decode(features, size)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return self.base.encoder_modules()

    @abstractmethod
    def activation_layers(self) -> tuple[nn.Module, ...]:
        """Return what this plug-in's class scores see, or the map that it refines last."""

    def remove_training_branches(self) -> None:
        self.base.remove_training_branches()


class WithDSMCA(WrappedModel):
    """Refine encoder maps by dilated spatial mapping and channel attention, table IV.

    Args:
        base: any model without a class branch.
        place: "end": the end of the encoder; "skips": the other maps that the decoder reads; "all": both, as
            in FCP-Net itself. Table IV does not say.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W) logits).

    Raises:
        InputError: `place` is none of the three, or "skips" of a decoder that reads only the end.
    """

    def __init__(self, base: SegmentationModel, place: DsmcaPlace = "all") -> None:
        super().__init__(base)
        if place not in get_args(DsmcaPlace):
            raise InputError(f"Option dsmca_at must be 'end', 'skips' or 'all', got {place!r}.")
        *skips, end = levels_read(base)
        if place == "skips" and not any(skips):
            raise InputError(
                f"Option dsmca_at cannot be 'skips' for {type(base).__name__}, whose decoder reads only the "
                f"end of the encoder; set it to 'end'."
            )
        refined = [*((read and place != "end") for read in skips), end and place != "skips"]
        self.refine = nn.ModuleList(
            DSMCA(channels) if chosen else nn.Identity()
            for channels, chosen in zip(base.feature_channels, refined, strict=True)
        )
        self.deepest = Tap()

    def encode(self, image: Tensor) -> list[Tensor]:
        maps = zip(self.refine, self.base.encode(image), strict=True)
        *skips, end = (refine(m) for refine, m in maps)  # (B, feature_channels[i], h_i, w_i)
        return [*skips, self.deepest(end)]

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.deepest,)


class WithHLF(WrappedModel):
    """Add the branches of the hybrid loss function: classify, and in training join both tasks, table VI.

    Args:
        base: any model without a class branch.
        classes: mask channels of `base`.
        labels: columns of class scores, at least 1.
        hidden: width of the class branch and of the interaction branch.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W), label=(B, labels)), logits; in training also
        joint=(B, classes, H, W), for `losses.interaction.interaction_loss`.
    """

    def __init__(self, base: SegmentationModel, classes: int, labels: int, hidden: int = 32) -> None:
        super().__init__(base)
        channels = base.feature_channels[-1]
        self.deepest = Tap()
        self.class_branch = ClassBranch(channels, labels, hidden)
        self.interaction_branch: InteractionBranch | None = InteractionBranch(channels, hidden, classes)

    def predict(self, image: Tensor) -> Prediction:
        *skips, end = self.encode(image)
        end = self.deepest(end)  # (B, feature_channels[-1], h, w)
        mask = self.decode([*skips, end], (image.shape[-2], image.shape[-1]))
        label, hidden = self.class_branch(end)  # (B, labels), (B, hidden)
        joint = None
        if self.training and self.interaction_branch is not None:
            joint = self.interaction_branch(end, hidden, mask)  # (B, classes, H, W)
        return Prediction(mask=mask, label=label, joint=joint)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.deepest,)

    def remove_training_branches(self) -> None:
        super().remove_training_branches()
        self.interaction_branch = None


class WithFPM(WrappedModel):
    """Add a class branch and a feature passing module between it and the mask, table VI.

    Args:
        base: any model without a class branch.
        classes: mask channels of `base`.
        labels: columns of class scores, at least 1.
        width: channels in which the tasks exchange messages, at the size of the image.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W), label=(B, labels)), logits.
    """

    def __init__(self, base: SegmentationModel, classes: int, labels: int, width: int = 64) -> None:
        super().__init__(base)
        self.passing = FeaturePassing(base.feature_channels[-1], classes, labels, width)

    def predict(self, image: Tensor) -> Prediction:
        features = self.encode(image)
        alone = self.decode(features, (image.shape[-2], image.shape[-1]))  # (B, classes, H, W)
        mask, label = self.passing(features[-1], alone)
        return Prediction(mask=mask, label=label)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.passing.passed,)


@dataclass(frozen=True)
class PluginSpec:
    """One row of the table of plug-ins."""

    wrap: Callable[..., SegmentationModel]
    """Called with the model to wrap, then by keyword classes, labels and the plug-in's options."""
    summary: str
    """One line."""
    paper: str
    """Authors, title or venue."""
    classifies: bool
    """Whether it adds class scores; then it comes last and needs labels."""
    options: OptionTable = field(default_factory=lambda: MappingProxyType({}))
    """Name -> (type, default) of each option."""


def _dsmca(
    base: SegmentationModel, *, classes: int, labels: int, dsmca_at: DsmcaPlace = "all"
) -> SegmentationModel:
    return WithDSMCA(base, dsmca_at)


def _hlf(base: SegmentationModel, *, classes: int, labels: int, hlf_hidden: int = 32) -> SegmentationModel:
    return WithHLF(base, classes, labels, hlf_hidden)


def _fpm(base: SegmentationModel, *, classes: int, labels: int, fpm_width: int = 64) -> SegmentationModel:
    return WithFPM(base, classes, labels, fpm_width)


_FCP_NET = "Liu et al., FCP-Net, IEEE Transactions on Medical Imaging 2022"

PLUGINS: dict[str, PluginSpec] = {
    "dsmca": PluginSpec(
        _dsmca,
        "dilated spatial mapping and channel attention on the encoder's maps",
        _FCP_NET,
        classifies=False,
        options=MappingProxyType({"dsmca_at": (DsmcaPlace, "all")}),
    ),
    "hlf": PluginSpec(
        _hlf,
        "class branch, and an interaction branch in training",
        _FCP_NET,
        classifies=True,
        options=MappingProxyType({"hlf_hidden": (int, 32)}),
    ),
    "fpm": PluginSpec(
        _fpm,
        "class branch that passes gated messages to the mask and back",
        "Chen et al., A Multi-Task Framework with Feature Passing Module, ISBI 2018",
        classifies=True,
        options=MappingProxyType({"fpm_width": (int, 64)}),
    ),
}


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """Split "unet+dsmca+hlf" into the model's name and its plug-ins, ("unet", ("dsmca", "hlf")).

    Raises:
        InputError: an unknown plug-in, one that is named twice, or one behind a plug-in that classifies.
    """
    base, *plugins = name.split("+")
    for plugin in plugins:
        choose("plug-in", plugin, PLUGINS)
    if len(set(plugins)) < len(plugins):
        raise InputError(f"Model {name!r} names a plug-in twice; name each once.")
    for plugin in plugins[:-1]:
        if PLUGINS[plugin].classifies:
            raise InputError(
                f"Plug-in {plugin!r} of model {name!r} classifies, so it must be the last and the only one "
                f"that does, for example unet+dsmca+hlf."
            )
    return base, tuple(plugins)


def plugin_options(plugins: Sequence[str]) -> OptionTable:
    """Return the options of all plug-ins together."""
    return {option: row for plugin in plugins for option, row in PLUGINS[plugin].options.items()}


def wrap(
    base: SegmentationModel,
    plugins: Sequence[str],
    *,
    classes: int,
    labels: int,
    options: Mapping[str, object] | None = None,
) -> SegmentationModel:
    """Wrap a model in plug-ins, the first innermost.

    Args:
        base: a model without a class branch, that is, built with labels=0 when the last plug-in classifies.
        plugins: names, as `split_name` gives them.
        classes: mask channels of `base`.
        labels: columns of class scores; at least 1 with a plug-in that classifies, else 0.
        options: of the plug-ins.

    Raises:
        InputError: labels without a plug-in that classifies or the other way round, a model with a class
            branch of its own, an unknown option or one of the wrong type.
    """
    title = "+".join(["model", *plugins])
    classifying = [plugin for plugin in plugins if PLUGINS[plugin].classifies]
    if classifying and labels < 1:
        raise InputError(
            f"Plug-in {classifying[0]!r} classifies, so it needs class labels, got labels={labels}; "
            f"name them in task.labels, or leave the plug-in out."
        )
    if plugins and labels and not classifying:
        raise InputError(
            f"Plug-in {plugins[-1]!r} does not classify, so labels must be 0, got {labels}; "
            f"add +hlf or +fpm to the model's name."
        )
    checked: dict[str, Any] = check_options(title, options or {}, plugin_options(plugins))
    model = base
    for plugin in plugins:
        row = PLUGINS[plugin]
        own = {option: checked[option] for option in row.options if option in checked}
        model = row.wrap(model, classes=classes, labels=labels, **own)
    return model


def has_class_branch(model: SegmentationModel) -> bool:
    """Return whether a model classifies already, by its own branch or a plug-in."""
    names = ("label_head", "class_branch", "passing")
    return any(getattr(model, name, None) is not None for name in names)


def levels_read(model: SegmentationModel) -> list[bool]:
    """Return for each map of `encode` whether `decode` reads it; some decoders leave shallow maps out.

    Found by asking which maps the mask of one small image has a gradient for. The model stays as it is.
    """
    place = next(model.parameters())
    image = torch.zeros(1, 3, 1, 1, device=place.device, dtype=place.dtype)
    image = pad_image(image, multiple=model.size_multiple, minimum=model.minimum_size)
    modes = {module: module.training for module in model.modules()}
    model.eval()  # batch statistics stay out of it
    try:
        with torch.inference_mode(False), torch.enable_grad():
            maps = [m.detach().requires_grad_() for m in model.encode(image)]
            mask = model.decode(maps, (image.shape[-2], image.shape[-1]))
            gradients = torch.autograd.grad(mask.sum(), maps, allow_unused=True)
    finally:
        for module, training in modes.items():
            module.training = training
    return [gradient is not None for gradient in gradients]
