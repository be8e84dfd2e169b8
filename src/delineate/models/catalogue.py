"""The table of models: one row, one network."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, get_type_hints

from delineate.models.base import SegmentationModel
from delineate.models.baselines.attention_unet import build_attention_unet
from delineate.models.baselines.deeplabv3plus import build_deeplabv3plus
from delineate.models.baselines.fcn32s import build_fcn32s
from delineate.models.baselines.smp import ARCHITECTURES, build_smp
from delineate.models.baselines.unet import build_unet
from delineate.models.chnet import build_chnet
from delineate.models.clnet import build_clnet
from delineate.models.fcpnet import build_fcpnet
from delineate.models.m2snet import build_m2snet
from delineate.models.msnet import build_msnet
from delineate.models.options import OptionTable
from delineate.models.ulffn import build_ulffn

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
    """Default encoder: a timm name, the name of an encoder of its own, or for `smp:` models one of theirs."""
    classifies: bool
    """Whether it can have a class branch (labels > 0). Every model segments."""
    options: OptionTable
    """Name -> (type, default) of each option, as the builder declares them."""

    @property
    def segments(self) -> bool:
        """Whether it gives masks."""
        return True


COMMON = ("classes", "labels", "encoder", "pretrained")
"""What every builder takes; its other keyword arguments are the model's options."""


def options_of(builder: Callable[..., Any], common: tuple[str, ...]) -> OptionTable:
    """Read the options from a builder's signature: keyword-only arguments that are not in `common`."""
    function = builder.func if isinstance(builder, partial) else builder
    hints = get_type_hints(function)
    arguments = inspect.signature(function).parameters.values()
    return MappingProxyType(
        {a.name: (hints[a.name], a.default) for a in arguments if _is_keyword(a) and a.name not in common}
    )


def _is_keyword(argument: inspect.Parameter) -> bool:
    return argument.kind is inspect.Parameter.KEYWORD_ONLY


def _row(builder: Builder, summary: str, paper: str, encoder: str, *, classifies: bool = False) -> ModelSpec:
    return ModelSpec(builder, summary, paper, encoder, classifies, options_of(builder, COMMON))


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
    "chnet": _row(
        build_chnet,
        "encoder and a classification head on every pixel, no decoder",
        "Wei et al., Only Classification Head is Sufficient for Medical Image Segmentation, PRCV 2023",
        "res2net50d",
    ),
    "msnet": _row(
        build_msnet,
        "differences of encoder levels at every distance",
        "Zhao et al., Automatic Polyp Segmentation via Multi-scale Subtraction Network, MICCAI 2021",
        "res2net50d",
    ),
    "m2snet": _row(
        build_m2snet,
        "MSNet whose differences are taken at three scales",
        "Zhao et al., M2SNet: Multi-scale in Multi-scale Subtraction Network, 2023",
        "res2net50d",
    ),
    "ulffn": _row(
        build_ulffn,
        "every decoder level sees all shallower encoder maps; sub-pixel upsampling, channel attention",
        "ULFFN, see docs/papers/ulffn.md",
        "ulffn",
    ),
    "clnet": _row(
        build_clnet,
        "a label encoder and a mask encoder, fused at every level",
        "Zhang et al., Feature Fusion for Segmentation and Classification of Skin Lesions, ISBI 2021",
        "resnet50",
        classifies=True,
    ),
    "fcp-net": _row(
        build_fcpnet,
        "DeepLabv3+ with attention in every branch, a class branch and an interaction branch",
        "Liu et al., FCP-Net: A Feature-Compression-Pyramid Network Guided by Game-Theoretic Interactions, "
        "IEEE TMI 2022",
        "xception65",
        classifies=True,
    ),
    "unet": _row(
        build_unet, "contracting and expanding path", "Ronneberger et al., U-Net, MICCAI 2015", "unet"
    ),
    "attention-unet": _row(
        build_attention_unet, "U-Net with attention gates", "Oktay et al., Attention U-Net, MIDL 2018", "unet"
    ),
    "fcn32s": _row(
        build_fcn32s,
        "class scores on the deepest map, enlarged",
        "Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015",
        "vgg16",
    ),
    "deeplabv3plus": _row(
        build_deeplabv3plus,
        "atrous pyramid and a small decoder, on the aligned Xception",
        "Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018",
        "xception65",
    ),
    **{
        f"smp:{name}": _row(
            partial(build_smp, name),
            f"{name} of segmentation-models-pytorch",
            _SMP_PAPERS.get(name, "see segmentation-models-pytorch"),
            _SMP_ENCODERS.get(name, "resnet34"),
            classifies=True,
        )
        for name in ARCHITECTURES
    },
}
