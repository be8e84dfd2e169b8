"""Models: image -> `Prediction`, and the table of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from delineate.checks import InputError, choose, did_you_mean
from delineate.layers.encoders import Encoder, create_encoder
from delineate.layers.unet_encoder import UNetEncoder
from delineate.models.base import SegmentationModel
from delineate.models.baselines.smp import ARCHITECTURES, build_smp
from delineate.models.chnet import CHNet
from delineate.models.clnet import CLNet
from delineate.models.prediction import Prediction

Builder = Callable[..., SegmentationModel]
"""Called with classes, labels, encoder, pretrained and the model's options, all by keyword."""


@dataclass(frozen=True)
class ModelSpec:
    """One row of the table."""

    builder: Builder
    """Builds the network."""
    summary: str
    """One line."""
    paper: str
    """Authors, title or venue."""
    encoder: str
    """Default encoder, a timm name (for `smp:` models also one of that library)."""
    classifies: bool
    """Whether it can have a class branch (labels > 0). Every model segments."""
    options: Mapping[str, tuple[Any, Any]] = field(default_factory=lambda: MappingProxyType({}))
    """Name -> (type, default) of each option; a type is int, bool, str, tuple, a union or a Literal."""

    @property
    def segments(self) -> bool:
        """Whether it gives masks."""
        return True


def _chnet(
    *, classes: int, labels: int, encoder: str, pretrained: bool | str, **options: Any
) -> SegmentationModel:
    return CHNet(create_encoder(encoder, levels=(0, 1, 2, 3), pretrained=pretrained), classes, **options)


def _clnet(
    *,
    classes: int,
    labels: int,
    encoder: str,
    pretrained: bool | str,
    mask_encoder: str = "unet",
    mask_pretrained: bool | str = False,
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
) -> SegmentationModel:
    levels = tuple(range(len(widths)))
    label_network = create_encoder(encoder, levels=levels, pretrained=pretrained)
    mask_network: Encoder
    if mask_encoder == "unet":
        if mask_pretrained:
            raise InputError(
                "Option 'mask_pretrained' of model 'clnet' needs a timm mask_encoder: "
                "U-Net's own has no published weights; set it to false."
            )
        mask_network = UNetEncoder(widths)
    else:
        mask_network = create_encoder(mask_encoder, levels=levels, pretrained=mask_pretrained)
    return CLNet(label_network, mask_network, classes, labels, widths)


_SMP_ENCODERS = {"dpt": "tu-vit_base_patch16_224.augreg_in21k", "segformer": "mit_b0"}
_SMP_PAPERS = {
    "unet": "Ronneberger et al., MICCAI 2015",
    "unetplusplus": "Zhou et al., DLMIA 2018",
    "manet": "Fan et al., MA-Net, IEEE Access 2020",
    "linknet": "Chaurasia and Culurciello, VCIP 2017",
    "fpn": "Kirillov et al., Panoptic feature pyramid networks, CVPR 2019",
    "pspnet": "Zhao et al., CVPR 2017",
    "deeplabv3": "Chen et al., arXiv:1706.05587",
    "deeplabv3plus": "Chen et al., ECCV 2018",
    "pan": "Li et al., Pyramid attention network, BMVC 2018",
    "upernet": "Xiao et al., ECCV 2018",
    "segformer": "Xie et al., NeurIPS 2021",
    "dpt": "Ranftl et al., ICCV 2021",
}

MODELS: dict[str, ModelSpec] = {
    "chnet": ModelSpec(
        _chnet,
        "encoder and a classification head on every pixel, no decoder",
        "Wei et al., Only Classification Head is Sufficient for Medical Image Segmentation, PRCV 2023",
        "res2net50d",
        classifies=False,
        options=MappingProxyType(
            {
                "width": (int, 64),
                "hidden": (int, 128),
                "head_kernel": (Literal[1, 3], 1),
                "head": (Literal["tiled", "literal"], "tiled"),
            }
        ),
    ),
    "clnet": ModelSpec(
        _clnet,
        "a label encoder and a mask encoder, fused at every level",
        "Zhang et al., Feature Fusion for Segmentation and Classification of Skin Lesions, ISBI 2021",
        "resnet50",
        classifies=True,
        options=MappingProxyType(
            {
                "mask_encoder": (str, "unet"),
                "mask_pretrained": (bool | str, False),
                "widths": (tuple[int, ...], (64, 128, 256, 512, 1024)),
            }
        ),
    ),
    **{
        f"smp:{name}": ModelSpec(
            partial(build_smp, name),
            f"{name} of segmentation-models-pytorch",
            _SMP_PAPERS.get(name, "see segmentation-models-pytorch"),
            _SMP_ENCODERS.get(name, "resnet34"),
            classifies=True,
        )
        for name in ARCHITECTURES
    },
}


def list_models() -> list[str]:
    """Return the names of all models."""
    return list(MODELS)


def create_model(
    name: str,
    *,
    classes: int = 1,
    labels: int = 0,
    encoder: str | None = None,
    pretrained: bool | str = False,
    options: Mapping[str, object] | None = None,
) -> SegmentationModel:
    """Build a model of the table.

    Args:
        name: key of `MODELS`, for example "chnet" or "smp:unet".
        classes: mask logit channels: 1 for a binary mask, else background + foreground classes.
        labels: label logit columns; 0 for no class branch.
        encoder: another encoder than the model's default: any timm network with feature maps.
        pretrained: False for random weights, True to download the encoder's, or the path of a local file.
        options: the model's own options, see its row.

    Raises:
        InputError: unknown name, encoder or option, an option of the wrong type, fewer than one class, a
            label branch that the model does not have, or weights that cannot be had.
    """
    spec = choose("model", name, MODELS)
    if classes < 1:
        raise InputError(f"Model {name!r} needs at least one mask channel, got classes={classes}.")
    if labels < 0:
        raise InputError(f"Model {name!r} needs labels of at least 0, got labels={labels}.")
    if labels and not spec.classifies:
        able = ", ".join(other for other, row in MODELS.items() if row.classifies and ":" not in other)
        raise InputError(
            f"Model {name!r} has no class branch, so labels must be 0, got {labels}; "
            f"use {able} or any smp: model to classify too."
        )
    checked: dict[str, Any] = {}
    for option, value in (options or {}).items():
        if option not in spec.options:
            hint = did_you_mean(option, spec.options) or " It has none."
            raise InputError(f"Unknown option {option!r} of model {name!r}.{hint}")
        checked[option] = _checked(name, option, value, spec.options[option][0])
    return spec.builder(
        classes=classes, labels=labels, encoder=encoder or spec.encoder, pretrained=pretrained, **checked
    )


def _checked(name: str, option: str, value: object, kind: Any) -> object:
    """Check an option's type; a list from YAML becomes a tuple."""
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        # 1 == True in Python, so the type has to agree too.
        if not any(value == a and type(value) is type(a) for a in allowed):
            raise InputError(
                f"Option {option!r} of model {name!r} must be one of "
                f"{', '.join(map(repr, allowed))}, got {value!r}."
            )
        return value
    if get_origin(kind) is tuple:
        if isinstance(value, (list, tuple)) and value and all(type(v) is int and v > 0 for v in value):
            return tuple(value)
        raise InputError(
            f"Option {option!r} of model {name!r} must be a list of positive whole numbers, got {value!r}."
        )
    kinds = get_args(kind) or (kind,)
    if type(value) not in kinds or (type(value) is int and value <= 0):
        names = {int: "a positive whole number", bool: "true or false", str: "a text"}
        wanted = " or ".join(names[k] for k in kinds)
        raise InputError(f"Option {option!r} of model {name!r} must be {wanted}, got {value!r}.")
    return value


__all__ = [
    "MODELS",
    "CHNet",
    "CLNet",
    "ModelSpec",
    "Prediction",
    "SegmentationModel",
    "create_model",
    "list_models",
]
