"""What every network of this package has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import Parameter

from delineate.checks import InputError
from delineate.layers.padding import crop_to, pad_image
from delineate.models.prediction import Prediction


class SegmentationModel(nn.Module, ABC):
    """Base class: any image size in, `Prediction` at that size out, in training and in evaluation alike.

    A network implements `predict`, `encoder_parameters` and `activation_layers`. The call pads the image to a
    size that the network can take and crops the masks back. Padding repeats the border at the bottom and the
    right; the class scores see the padded image.

    Attributes:
        size_multiple: height and width given to `predict` are divisible by it.
        minimum_size: height and width given to `predict` are at least this; by default large enough that the
            deepest map is 2 x 2, so that batch normalisation can train on a single small image.

    Shape:
        image (B, 3, H, W) float, normalised, any H and W from 1 -> Prediction with mask (B, classes, H, W)
        and, for a model with a class branch, label (B, labels).

    Raises:
        InputError: the image does not have four dimensions or has none of a side; or the network normalises
            over the batch after global pooling and was given a training batch of one image.
    """

    size_multiple: int = 1
    minimum_size: int = 64

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
                f"batch-normalises a map of one pixel; use a batch size of at least 2 "
                f"and drop a last batch of one."
            ) from error
        if prediction.mask is None or padded is image:
            return prediction
        return prediction._replace(mask=crop_to(prediction.mask, size))

    @abstractmethod
    def predict(self, image: Tensor) -> Prediction:
        """Segment an image (B, 3, H, W) whose size fits; the mask has exactly that size."""

    @abstractmethod
    def encoder_parameters(self) -> Iterator[Parameter]:
        """Yield what the encoder's learning-rate factor acts on: the parameters of pre-trainable networks."""

    @abstractmethod
    def activation_layers(self) -> tuple[nn.Module, ...]:
        """Return the modules whose outputs (B, C, h, w) an activation map is drawn from; none feeds another.

        They feed the class head's global average pooling; without a class head it is the deepest encoder map.
        """


class Tap(nn.Identity):
    """Passes a feature map on unchanged, so that a hook has a module to stand on."""
