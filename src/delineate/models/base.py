"""What every network of this package has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain

from torch import Tensor, nn
from torch.nn import Parameter

from delineate.checks import InputError
from delineate.layers.conv import resize_like
from delineate.layers.padding import crop_to, pad_image
from delineate.models.prediction import Prediction


class SegmentationModel(nn.Module, ABC):
    """Base class: any image size in, `Prediction` at that size out, in training and in evaluation alike.

    A network is two halves, `encode` and `decode`, so that wrappers and studies can put something between
    them. The call pads the image to a size that the network can take and crops the masks back. Padding
    repeats the border at the bottom and the right; the class scores see the padded image.

    Attributes:
        size_multiple: height and width given to `predict` are divisible by it.
        minimum_size: height and width given to `predict` are at least this; by default large enough that the
            deepest map is 2 x 2, so that batch normalisation can train on a single small image.
        feature_channels: channels of the maps that `encode` gives, shallow to deep.

    Shape:
        image (B, 3, H, W) float, normalised, any H and W from 1 -> Prediction with mask (B, classes, H, W)
        and, for a model with a class branch, label (B, labels).

    Raises:
        InputError: the image does not have four dimensions or has none of a side; or the network normalises
            over the batch after global pooling and was given a training batch of one image.
    """

    size_multiple: int = 1
    minimum_size: int = 64
    feature_channels: tuple[int, ...]

    def forward(self, image: Tensor) -> Prediction:
        if image.ndim != 4 or 0 in image.shape:
            raise InputError(
                f"Image must have shape (B, 3, H, W) with no side of 0, got {[*image.shape]}; "
                f"add the batch dimension with image[None]."
            )
        size = (image.shape[-2], image.shape[-1])
        padded = pad_image(image, multiple=self.size_multiple, minimum=self.minimum_size)
        try:
            prediction = self.predict(padded)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                f"{type(self).__name__} cannot train on a batch of {image.shape[0]} image: it "
                f"batch-normalises a map of one pixel; use a batch size of at least 2."
            ) from error
        if padded is image:
            return prediction
        return prediction._replace(
            mask=_crop(prediction.mask, size),
            joint=_crop(prediction.joint, size),
            aux=tuple(crop_to(resize_like(aux, padded), size) for aux in prediction.aux),
        )

    @abstractmethod
    def encode(self, image: Tensor) -> list[Tensor]:
        """Return feature maps (B, feature_channels[i], h_i, w_i) of an image whose size fits.

        Shallow to deep; the last is the end of the encoder, which a class branch looks at.
        """

    @abstractmethod
    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return mask logits (B, classes, *size) from the maps of `encode`."""

    def predict(self, image: Tensor) -> Prediction:
        """Segment an image (B, 3, H, W) whose size fits; the mask has exactly that size."""
        return Prediction(mask=self.decode(self.encode(image), (image.shape[-2], image.shape[-1])))

    @abstractmethod
    def encoder_modules(self) -> tuple[nn.Module, ...]:
        """Return the pre-trainable networks: what trains at the encoder's rate and what a study moves."""

    def encoder_parameters(self) -> Iterator[Parameter]:
        """Yield what the encoder's learning-rate factor acts on."""
        return chain.from_iterable(module.parameters() for module in self.encoder_modules())

    @abstractmethod
    def activation_layers(self) -> tuple[nn.Module, ...]:
        """Return the modules whose outputs (B, C, h, w) an activation map is drawn from; none feeds another.

        They feed the class head's global average pooling; without a class head it is the deepest encoder map.
        """

    def remove_training_branches(self) -> None:
        """Drop what exists only in training; saved, exported and profiled models never contain it."""
        return


class Tap(nn.Identity):
    """Passes a feature map on unchanged, so that a hook has a module to stand on."""


def _crop(logits: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    return None if logits is None else crop_to(logits, size)
