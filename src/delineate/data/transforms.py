"""Augmentation: random changes of image and mask together, drawn from a given generator only."""

from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from delineate.checks import InputError


@dataclass(frozen=True)
class Augmentation:
    """What is varied in training, and how much; the defaults vary nothing."""

    horizontal_flip: float = 0.0
    """Probability of mirroring left and right, 0 to 1."""
    vertical_flip: float = 0.0
    """Probability of mirroring up and down, 0 to 1."""
    rotation: float = 0.0
    """Largest angle in degrees, 0 to 180; the angle is uniform between minus and plus this."""
    crop: float = 0.0
    """Largest share of height, and of width, that is cut away before resizing back, 0 to below 1; 0.125 is
    "random crop up to 1/8"."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest factor of zooming about the centre, above 0; (1, 1) for none."""
    brightness: float = 0.0
    """Factor is uniform in 1 minus and plus this, 0 to 1."""
    contrast: float = 0.0
    """Factor is uniform in 1 minus and plus this, 0 to 1."""
    saturation: float = 0.0
    """Factor is uniform in 1 minus and plus this, 0 to 1."""
    hue: float = 0.0
    """Largest shift as a share of the colour circle, 0 to 0.5."""
    blur: float = 0.0
    """Probability of a Gaussian blur with sigma uniform in 0.3 to 1.5 pixels, 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse values outside the ranges above."""
        limits = {"rotation": 180.0, "hue": 0.5}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "scale":
                if len(value) != 2 or not 0 < value[0] <= value[1]:
                    raise InputError(f"augmentation scale must be two numbers 0 < low <= high, got {value}.")
            elif not 0 <= value <= limits.get(field.name, 1.0) or (field.name == "crop" and value >= 1):
                top = "below 1" if field.name == "crop" else f"{limits.get(field.name, 1.0):g}"
                raise InputError(f"augmentation {field.name} must be between 0 and {top}, got {value}.")


def augment(
    image: Tensor, mask: Tensor | None, augmentation: Augmentation, generator: Generator
) -> tuple[Tensor, Tensor | None]:
    """Vary an image and its mask in the same way.

    The number of random draws does not depend on what is switched on, so switching one thing off leaves the
    others as they were. Pixels that come from outside the image are black and background.

    Args:
        image: (3, H, W) uint8.
        mask: (H, W) uint8 class indices, or None.
        augmentation: what is varied.
        generator: the only source of chance.

    Returns:
        Image and mask with the shapes and types given; the mask holds no index that was not there, besides 0.
    """
    # Imported late: torchvision takes a second to load, and `import delineate.data` does not need it.
    from torchvision import tv_tensors
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as F  # noqa: N812

    draw = torch.rand(13, generator=generator, dtype=torch.float64).tolist()
    picture: Tensor = tv_tensors.Image(image)
    labels: Tensor | None = None if mask is None else tv_tensors.Mask(mask[None])
    height, width = image.shape[-2:]

    if augmentation.crop > 0:
        rows = max(1, round(height * (1 - augmentation.crop * draw[0])))
        columns = max(1, round(width * (1 - augmentation.crop * draw[1])))
        box = int(draw[2] * (height - rows + 1)), int(draw[3] * (width - columns + 1)), rows, columns
        picture = F.resize(F.crop(picture, *box), [height, width], antialias=True)
        if labels is not None:
            # torchvision resizes masks with NEAREST, which lies up to half a pixel beside the image.
            cut = F.crop(labels, *box).as_subclass(Tensor)
            labels = tv_tensors.Mask(F.resize(cut, [height, width], InterpolationMode.NEAREST_EXACT))
    if draw[4] < augmentation.horizontal_flip:
        picture, labels = F.horizontal_flip(picture), None if labels is None else F.horizontal_flip(labels)
    if draw[5] < augmentation.vertical_flip:
        picture, labels = F.vertical_flip(picture), None if labels is None else F.vertical_flip(labels)
    low, high = augmentation.scale
    if augmentation.rotation > 0 or (low, high) != (1.0, 1.0):
        angle, factor = _between(draw[6], augmentation.rotation), low + (high - low) * draw[7]
        picture = _turn(picture, angle, factor)
        labels = None if labels is None else _turn(labels, angle, factor)

    if augmentation.brightness > 0:
        picture = F.adjust_brightness(picture, 1 + _between(draw[8], augmentation.brightness))
    if augmentation.contrast > 0:
        picture = F.adjust_contrast(picture, 1 + _between(draw[9], augmentation.contrast))
    if augmentation.saturation > 0:
        picture = F.adjust_saturation(picture, 1 + _between(draw[10], augmentation.saturation))
    if augmentation.hue > 0:
        picture = F.adjust_hue(picture, _between(draw[11], augmentation.hue))
    # One draw decides both whether and how much: given draw < p, draw / p is uniform again.
    if draw[12] < augmentation.blur:
        picture = F.gaussian_blur(picture, [5, 5], [0.3 + 1.2 * draw[12] / augmentation.blur] * 2)

    result = picture.as_subclass(Tensor).contiguous()
    return result, None if labels is None else labels.as_subclass(Tensor)[0].contiguous()


def _turn(tensor: Tensor, angle: float, factor: float) -> Tensor:
    """Rotate and zoom about the centre; bilinear for images, nearest for masks, by the tensor's type."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as F  # noqa: N812

    return F.affine(
        tensor,
        angle=angle,
        translate=[0, 0],
        scale=factor,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )


def _between(draw: float, limit: float) -> float:
    return (2 * draw - 1) * limit
