"""Image classifiers from timm as encoders: one feature map per level."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import FeatureInfo
from torch import Tensor, nn

from delineate.checks import InputError, did_you_mean
from delineate.layers.hub import download
from delineate.layers.weights import check_weights, read_weights


class Encoder(nn.Module, ABC):
    """Base class: an image -> a list of feature maps, shallow to deep.

    Args:
        channels: channels of each map.
        strides: nominal stride of each map: its side is about the image's side divided by it. Networks with
            unpadded convolutions give slightly smaller maps, so resize to another map, never by a factor.
        minimum_size: from this image side on, every map is at least 2 x 2, so that batch normalisation
            trains even on one image.

    Shape:
        (B, in_channels, H, W) float -> list of (B, channels[i], about H / strides[i], about W / strides[i]).
    """

    def __init__(self, *, channels: tuple[int, ...], strides: tuple[int, ...], minimum_size: int) -> None:
        super().__init__()
        self.channels = channels
        self.strides = strides
        self.minimum_size = minimum_size

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the feature maps."""


class TimmEncoder(Encoder):
    """A timm network built with `features_only=True`; channels-last maps are brought to (B, C, H, W)."""

    def __init__(self, network: Any) -> None:
        information: FeatureInfo = network.feature_info
        strides = tuple(information.reduction())
        # Inception networks do not pad: at twice the stride their deepest map would be empty.
        unpadded = "inception" in str(network.pretrained_cfg.get("architecture", ""))
        super().__init__(
            channels=tuple(information.channels()),
            strides=strides,
            minimum_size=(4 if unpadded else 2) * max(strides),
        )
        self.network = network
        self._channels_last = getattr(network, "output_fmt", None) == "NHWC"

    def forward(self, image: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.network(image)
        return [m.permute(0, 3, 1, 2).contiguous() for m in maps] if self._channels_last else list(maps)


def timm_name(name: str) -> str:
    """Return the plain name of a timm network: `timm:resnet50` and `resnet50` both give "resnet50".

    Raises:
        InputError: timm has no such network, or the network has no such set of weights (after a dot).
    """
    plain = name.removeprefix("timm:")
    architecture, _, tag = plain.partition(".")
    if not timm.is_model(architecture):
        raise InputError(f"Unknown encoder {name!r}: timm has no such network.{_suggest(architecture)}")
    if tag and plain not in timm.list_models(f"{architecture}.*", include_tags=True):
        tags = [known.partition(".")[2] for known in timm.list_models(f"{architecture}.*", include_tags=True)]
        raise InputError(f"Unknown weights {tag!r} of encoder {architecture!r}.{did_you_mean(tag, tags)}")
    return plain


def create_encoder(
    name: str,
    *,
    levels: tuple[int, ...],
    pretrained: bool | str = False,
    in_channels: int = 3,
    output_stride: int = 32,
) -> TimmEncoder:
    """Build an encoder from any timm network that gives feature maps.

    Args:
        name: timm's name, with or without the prefix "timm:", optionally with a set of weights after a dot
            ("resnet50.a1_in1k").
        levels: which of the network's feature levels to return, 0 the shallowest. Stages after the last one
            are left out of the network where timm can.
        pretrained: False for random weights, True to download timm's weights from the hub, or the path of a
            local file with timm's weights of this network (.safetensors, or .pth/.pt with plain tensors).
            The file must fill the network exactly; only its classifier may be absent or extra.
        in_channels: channels of the image.
        output_stride: 8 or 16 keeps the deepest maps that large with dilated convolutions, where the network
            can; 32 leaves it as it is.

    Raises:
        InputError: unknown name, a network without feature maps or levels or that cannot have the stride,
            weights that cannot be had, that do not fit or that cannot be read.
    """
    plain = timm_name(name)
    options: dict[str, Any] = {"features_only": True, "out_indices": levels, "in_chans": in_channels}
    if output_stride != 32:
        options["output_stride"] = output_stride
    if isinstance(pretrained, str):
        overlay = {"state_dict": local_weights(plain, Path(pretrained)), "source": ""}
        return TimmEncoder(_build(plain, **options, pretrained=True, pretrained_cfg_overlay=overlay))
    if pretrained:
        return TimmEncoder(download(plain, lambda: _build(plain, **options, pretrained=True)))
    return TimmEncoder(_build(plain, **options, pretrained=False))


def _build(name: str, **options: Any) -> Any:
    """Call timm, and say in one sentence when a network has no feature maps or not enough levels."""
    levels = options["out_indices"]
    try:
        with torch.device("meta"):
            meta: Any = timm.create_model(name, features_only=True)
        known = len(meta.feature_info)
    except (RuntimeError, NotImplementedError, AttributeError):
        known = None  # some networks cannot be built on the meta device; building them for real will tell
    if known is not None and not all(-known <= level < known for level in levels):
        raise InputError(
            f"Encoder {name!r} has {known} feature levels, but levels {[*levels]} were asked for."
        )
    try:
        return timm.create_model(name, **options)
    except (AssertionError, AttributeError, TypeError) as error:
        if "output_stride" in options:
            raise InputError(
                f"Encoder {name!r} cannot keep an output stride of {options['output_stride']}; "
                f"choose one that can be dilated, for example resnet50 or xception65."
            ) from error
        raise InputError(
            f"Encoder {name!r} cannot give feature maps at levels {[*levels]}; "
            f"choose a convolutional timm network."
        ) from error


def local_weights(name: str, path: Path) -> Mapping[str, Tensor]:
    """Read timm weights of network `name` and check that they fill it; nothing is unpickled.

    timm itself loads feature networks without insisting on all names, so the check has to come before it.

    Raises:
        InputError: see `read_weights` and `check_weights`.
    """
    weights = read_weights(path)
    with torch.device("meta"):
        network: Any = timm.create_model(name)
    classifiers = network.pretrained_cfg.get("classifier") or ()
    prefixes = [f"{c}." for c in ((classifiers,) if isinstance(classifiers, str) else classifiers)]
    # An auxiliary classifier (Inception) is a training aid of the original task.
    check_weights(weights, network.state_dict(), path=path, network=name, optional=[*prefixes, "AuxLogits."])
    return weights


def _suggest(name: str) -> str:
    hint = did_you_mean(name, timm.list_models())
    return hint if hint.startswith(" Did you mean") else " See timm.list_models() for all names."
