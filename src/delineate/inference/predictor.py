"""From an image file to a mask, its probability and a label."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.data.cache import resize_image
from delineate.data.case import Case
from delineate.data.images import case_image_size, is_deep, read_case_image
from delineate.inference.backends import Backend, TorchBackend
from delineate.models.checkpoint import ModelInfo, load_model
from delineate.models.prediction import Prediction, label_probability


@dataclass(frozen=True)
class ImagePrediction:
    """What a model says about one image, at the image's own size."""

    mask: np.ndarray | None
    """uint8 (H, W), index of the class of each pixel, 0 background; None for a model that only classifies."""
    probability: np.ndarray | None
    """float32, (H, W) for one class, (classes + 1, H, W) that sum to 1 for several."""
    label: dict[str, float] | None
    """Probability of each label, summing to 1; None for a model that only segments."""


Source = str | Path | Case | np.ndarray
"""What a predictor takes: a file, a case (a slice of a volume, a window), or uint8 RGB (H, W, 3)."""


class Picture(NamedTuple):
    """An image on its way to the network."""

    pixels: np.ndarray
    """uint8 RGB (h, w, 3); of a large JPEG decoded at a reduced scale, as in training."""
    size: tuple[int, int]
    """Height and width of the image itself, which the prediction gets."""


class Predictor:
    """A trained model with the preprocessing it was trained with.

    Args:
        network: what runs the network; a bare module is put into evaluation mode and run by PyTorch.
        info: what `model.json` says; not needed with a backend, which knows it.
        device: for a bare module: "auto" takes a GPU when there is one.

    Example:
        >>> predictor = Predictor.load("runs/demo")
        >>> predictor("lesion.jpg").label
        {'benign': 0.93, 'malignant': 0.07}
    """

    def __init__(
        self, network: nn.Module | Backend, info: ModelInfo | None = None, device: str = "auto"
    ) -> None:
        if isinstance(network, nn.Module):
            if info is None:
                raise InputError("A bare network needs the info of its model.json; give it too.")
            network = TorchBackend(network, info, device)
        self.backend: Backend = network
        self.info = network.info

    @classmethod
    def load(cls, run: str | Path, device: str = "auto") -> Self:
        """Load the model of a run.

        Raises:
            InputError: the folder holds no whole model, or there is no such device.
        """
        return cls(*load_model(run), device=device)

    @property
    def torch(self) -> TorchBackend:
        """The backend, when it is PyTorch, for what needs gradients or layers.

        Raises:
            InputError: an exported file runs the network.
        """
        if not isinstance(self.backend, TorchBackend):
            raise InputError(
                f"This needs the network in PyTorch, but {self.backend.name} runs it; load the run itself."
            )
        return self.backend

    @property
    def model(self) -> nn.Module:
        """The network; errors as in `torch`."""
        return self.torch.model

    def __call__(self, image: Source) -> ImagePrediction:
        """Predict one image.

        Args:
            image: a file, a case, or uint8 RGB (H, W, 3). A file of more than 8 bits is read with the window
                of the training data, when that had one.

        Raises:
            InputError: the file cannot be read, or the array is of another kind.
        """
        return next(self.predict([image]))

    def predict(self, images: Iterable[Source | Picture], batch_size: int = 8) -> Iterator[ImagePrediction]:
        """Predict images in batches, lazily and in order; arguments and errors as in `__call__`."""
        batch: list[Picture] = []
        for image in images:
            batch.append(image if isinstance(image, Picture) else self.open(image))
            if len(batch) == batch_size:
                yield from self._predict_batch(batch)
                batch = []
        if batch:
            yield from self._predict_batch(batch)

    def open(self, image: Source) -> Picture:
        """Read an image as training read it; arguments and errors as in `__call__`."""
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise InputError(
                    f"An image array must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}."
                )
            return Picture(image, (image.shape[0], image.shape[1]))
        if not isinstance(image, Case):
            image = Case(id=Path(image).stem, image=Path(image))
        image = self.with_window(image)
        return Picture(read_case_image(image, reduce_to=self.info.size), case_image_size(image))

    def with_window(self, case: Case) -> Case:
        """Give a case the window of the training images, when it has none of its own and they had one.

        An 8-bit picture gets it only if it lies between 0 and 255: it has no Hounsfield units to cut.

        Raises:
            InputError: the file is missing or damaged.
        """
        window = self.info.window
        if case.window is not None or window is None:
            return case
        suits = 0 <= window[0] < window[1] <= 255 or is_deep(case.image)
        return replace(case, window=window) if suits else case

    def choose_label(self, probability: dict[str, float]) -> str:
        """Return the label found: of two the second if above the threshold, of more the likeliest."""
        if len(probability) == 2:
            return self.info.labels[int(probability[self.info.labels[1]] > self.info.threshold)]
        return max(probability, key=lambda name: probability[name])

    def prepare(self, image: np.ndarray) -> Tensor:
        """Resize and normalise uint8 RGB (H, W, 3) to what the model takes: float32 (1, 3, h, w).

        Raises:
            InputError: an exported file runs the network.
        """
        return self.torch.prepare(self._sized([image]))

    def _sized(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([resize_image(image, self.info.size) for image in images])

    def forward(self, images: Sequence[np.ndarray]) -> Prediction:
        """Run the network on uint8 RGB images of any sizes; logits at the network's size, on the CPU."""
        return self.backend.forward(self._sized(images))

    def _predict_batch(self, images: Sequence[Picture]) -> Iterator[ImagePrediction]:
        prediction = self.forward([image.pixels for image in images])
        labels = None if prediction.label is None else label_probability(prediction.label)
        for i, image in enumerate(images):
            mask = probability = None
            if prediction.mask is not None:
                probability = native_probability(prediction.mask[i : i + 1], image.size)
                mask = decide(probability, self.info.threshold)
            label = None
            if labels is not None:
                label = dict(zip(self.info.labels, map(float, labels[i]), strict=True))
            yield ImagePrediction(mask, probability, label)


def native_probability(logits: Tensor, size: tuple[int, ...]) -> np.ndarray:
    """Bring the mask logits of one image to its own size and turn them into probabilities.

    Logits are resized rather than probabilities, so that an outline stays where the network drew it.

    Args:
        logits: (1, C, h, w), as in `Prediction.mask`.
        size: height and width of the image file.

    Returns:
        float32, (H, W) when C = 1, else (C, H, W).
    """
    full = nn.functional.interpolate(logits.float(), tuple(size), mode="bilinear", align_corners=False)
    probability = full[0, 0].sigmoid() if full.shape[1] == 1 else full[0].softmax(0)
    return probability.cpu().numpy()


def decide(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Turn probabilities into class indices, uint8 (H, W): above the threshold, or the largest of several."""
    if probability.ndim == 2:
        return (probability > threshold).astype(np.uint8)
    return probability.argmax(0).astype(np.uint8)
