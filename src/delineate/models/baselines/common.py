"""What the baselines share: an encoder of their own or timm's, cut to the levels that are used."""

from typing import Literal

from delineate.checks import InputError
from delineate.layers.encoders import Encoder, create_encoder
from delineate.layers.unet_encoder import UNetEncoder

Depth = Literal[2, 3, 4, 5]

UNET_WIDTHS = (64, 128, 256, 512, 1024)
"""Channels of U-Net's levels, Ronneberger et al. 2015, Fig. 1."""


def level_widths(widths: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """Return the first `depth` of `widths`.

    Raises:
        InputError: there are fewer.
    """
    if len(widths) < depth:
        raise InputError(
            f"Option widths needs one number of channels per level: got {[*widths]} for depth {depth}; "
            f"name {depth} of them or lower the depth."
        )
    return widths[:depth]


def baseline_encoder(
    name: str, *, depth: int, pretrained: bool | str, widths: tuple[int, ...] = UNET_WIDTHS
) -> Encoder:
    """Build the first `depth` levels of an encoder.

    Args:
        name: "unet" for U-Net's contracting path, else any timm network with that many levels.
        depth: number of levels, from the shallowest.
        pretrained: False, True (hub) or the path of a local file; only False for "unet".
        widths: channels of the levels of "unet"; timm networks have their own.

    Raises:
        InputError: pre-trained weights are asked for "unet", `widths` are too few, or see `create_encoder`.
    """
    if name != "unet":
        return create_encoder(name, levels=tuple(range(depth)), pretrained=pretrained)
    if pretrained:
        raise InputError(
            "Encoder 'unet' has no published weights; set pretrained to false or choose a timm encoder."
        )
    return UNetEncoder(level_widths(widths, depth))
