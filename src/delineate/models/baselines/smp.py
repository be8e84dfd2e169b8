"""Every architecture of segmentation-models-pytorch behind this package's interface, as `smp:<name>`.

Known differences from using the library directly:
  - The class head is global average pooling and one linear layer on the encoder's deepest map, without
    dropout.
  - Images of any size are padded to what the architecture needs and masks cropped back.
  - Masks are logits; the library's own output activation is never used.
"""

from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
from segmentation_models_pytorch.encoders import encoders as SMP_ENCODERS
from torch import Tensor, nn

from delineate.checks import InputError, did_you_mean
from delineate.layers.conv import resize_to
from delineate.layers.encoders import local_weights, timm_name
from delineate.layers.hub import download
from delineate.layers.weights import check_weights, read_weights
from delineate.models.base import SegmentationModel, Tap
from delineate.models.prediction import Prediction

ARCHITECTURES: tuple[str, ...] = tuple(sorted(smp.MODEL_ARCHITECTURES_MAPPING))
"""The library's own list: "unet", "unetplusplus", "deeplabv3plus", "fpn", ..."""

_MINIMUM_SIZES = {"pan": 128}  # pools its stride-16 map three more times


class SmpModel(SegmentationModel):
    """Wrap a network of segmentation-models-pytorch.

    Args:
        network: built by the library, without activations.
        labels: columns of class scores; 0 for no class branch.
        minimum_size: smallest image side that the network takes.

    Shape:
        image (B, 3, H, W) -> Prediction(mask=(B, classes, H, W), label=(B, labels) or None), logits.
    """

    def __init__(self, network: Any, labels: int = 0, minimum_size: int = 64) -> None:
        super().__init__()
        self.network = network
        self.feature_channels = tuple(network.encoder.out_channels)
        self.deepest = Tap()
        self.label_head = nn.Linear(network.encoder.out_channels[-1], labels) if labels else None
        self.minimum_size = minimum_size
        # The decoders join maps of neighbouring levels, so the side must be divisible by every stride.
        self.size_multiple = max(32, int(network.encoder.output_stride))

    def encode(self, image: Tensor) -> list[Tensor]:
        features = self.network.encoder(image)
        if isinstance(features, tuple):  # vision transformers: maps and prefix tokens
            raise InputError(
                f"{type(self.network).__name__} hands more than feature maps to its decoder, so nothing can "
                f"be put between the two; choose another smp: model."
            )
        return [*features[:-1], self.deepest(features[-1])]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        return resize_to(self.network.segmentation_head(self.network.decoder(features)), size)

    def predict(self, image: Tensor) -> Prediction:
        tokens: list[Any] = []
        features = self.network.encoder(image)
        if isinstance(features, tuple):
            features, *tokens = features
        features = [*features[:-1], self.deepest(features[-1])]
        logits = self.network.segmentation_head(self.network.decoder(features, *tokens))
        label = None if self.label_head is None else self.label_head(features[-1].mean((2, 3)))
        return Prediction(mask=resize_to(logits, (image.shape[-2], image.shape[-1])), label=label)

    def encoder_modules(self) -> tuple[nn.Module, ...]:
        return (self.network.encoder,)

    def activation_layers(self) -> tuple[nn.Module, ...]:
        return (self.deepest,)


def smp_encoder_name(name: str) -> str:
    """Return the library's name of an encoder: its own (`resnet34`), else timm's as `tu-...`.

    `timm:resnet34` asks for timm's version where both have one.

    Raises:
        InputError: neither has it.
    """
    if name in SMP_ENCODERS:
        return name
    plain = name.removeprefix("timm:").removeprefix("tu-")
    if timm.is_model(plain):
        return f"tu-{timm_name(plain)}"
    hint = did_you_mean(plain, [*SMP_ENCODERS, *timm.list_models()])
    hint = hint if hint.startswith(" Did you mean") else " Choose one of smp's or timm's encoders."
    raise InputError(f"Unknown encoder {name!r}: neither smp nor timm has it.{hint}")


def build_smp(
    architecture: str, *, classes: int, labels: int, encoder: str, pretrained: bool | str, **options: Any
) -> SmpModel:
    """Build an architecture of the library.

    Args:
        architecture: one of `ARCHITECTURES`.
        classes: mask channels.
        labels: label columns, 0 for none.
        encoder: a name of the library or of timm.
        pretrained: False, True (hub) or the path of a local weights file of the encoder.
        **options: arguments of the architecture's class, checked by `create_model`.

    Raises:
        InputError: unknown encoder, weights that cannot be had, or an encoder the architecture cannot use.
    """
    if architecture == "pspnet" and timm.is_model(encoder):
        # It stops at stride 8; timm leaves the later stages out, the library keeps them as dead weight.
        encoder = f"timm:{encoder}"
    name = smp_encoder_name(encoder)
    arguments: dict[str, Any] = {"encoder_name": name, "classes": classes, "activation": None, **options}
    path = Path(pretrained) if isinstance(pretrained, str) else None
    if architecture == "dpt":
        arguments["dynamic_img_size"] = True  # else a vision transformer takes its training size only
    from_timm = name.startswith("tu-")
    weights: Any = None
    if path is not None and from_timm:
        overlay = {"state_dict": local_weights(name.removeprefix("tu-"), path), "source": ""}
        weights, arguments["pretrained_cfg_overlay"] = True, overlay
    elif pretrained is True:
        weights = True if from_timm else "imagenet"
        settings = SMP_ENCODERS.get(name, {}).get("pretrained_settings", {})
        if not from_timm and weights not in settings:
            raise InputError(
                f"Encoder {name!r} has no published ImageNet weights; give "
                f"'pretrained: path/to/file.safetensors' for a local file, "
                f"or 'pretrained: false' for random weights."
            )

    def build() -> Any:
        return smp.create_model(architecture, encoder_weights=weights, **arguments)

    try:
        network = download(name.removeprefix("tu-"), build) if pretrained is True else build()
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, AssertionError) as error:
        reason = (
            str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        )
        raise InputError(
            f"smp:{architecture} cannot be built with encoder {encoder!r} and these options: {reason}."
        ) from error
    if architecture == "dpt":  # the decoder takes inner layers: the classifier and its norm are dead weight
        network.encoder.model.norm = network.encoder.model.head = nn.Identity()
    if path is not None and not from_timm:
        _load_own_encoder(network.encoder, path, name)
    return SmpModel(network, labels, minimum_size=_MINIMUM_SIZES.get(architecture, 64))


def _load_own_encoder(encoder: nn.Module, path: Path, name: str) -> None:
    classifiers = ("fc.", "last_linear.", "classifier.", "head.", "_fc.")
    weights = read_weights(path)
    expected = encoder.state_dict()
    check_weights(weights, expected, path=path, network=f"smp's {name}", optional=classifiers)
    nn.Module.load_state_dict(encoder, {k: v for k, v in weights.items() if k in expected}, strict=False)
