"""What a predictor finds in one image, and what can be asked of it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from delineate.checks import InputError, choose
from delineate.data.case import Case
from delineate.data.images import read_case_image
from delineate.data.volumes import is_volume, volume_spacing
from delineate.models.checkpoint import ModelInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from delineate.explain.targets import Target
    from delineate.inference.measurements import Lesion
    from delineate.inference.predictor import Predictor


@dataclass(frozen=True)
class Uncertainty:
    """How sure a prediction is of itself; `delineate.inference.uncertainty` has the definitions."""

    entropy: NDArray[np.float32] | None
    """(H, W) in [0, 1]: entropy of the mean probability over the logarithm of the number of classes, the
    background among them; None for a model that only classifies."""
    variance: NDArray[np.float32] | None
    """(H, W) in [0, 0.25]: variance of the probability over members and views, for several classes the
    largest; None when there is a single member with a single view."""
    label_entropy: float | None
    """In [0, 1], of the mean label probability; None for a model that only segments."""
    label_variance: dict[str, float] | None
    """Variance of each label's probability over members and views; None as `variance` and `label_entropy`."""
    look: float
    """In [0, 1]: the larger, the more this image deserves a second look."""


@dataclass(frozen=True)
class Origin:
    """Where a prediction comes from: enough to read its image again and to ask its model."""

    source: Case | NDArray[np.uint8]
    """The case, or the array itself."""
    info: ModelInfo
    """What the model's `model.json` says."""
    identity: str
    """`Predictor.identity`."""
    predictor: "Predictor | None" = field(default=None, repr=False)
    """Who predicted; not sent along to other processes."""

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"predictor": None}


@dataclass(frozen=True)
class ImagePrediction:
    """What a model says about one image, at the image's own size.

    It holds no open file. The image is read again when it is asked for; of an array it keeps the array.
    """

    mask: NDArray[np.uint8] | None
    """(H, W), index of the class of each pixel, 0 background; None for a model that only classifies."""
    probability: NDArray[np.float32] | None
    """(H, W) for one class, (classes + 1, H, W) that sum to 1 for several."""
    label: dict[str, float] | None
    """Probability of each label, summing to 1; None for a model that only segments."""
    uncertainty: Uncertainty | None = None
    """Only when the predictor was asked for it."""
    origin: Origin | None = field(default=None, repr=False, compare=False)
    """Set by a predictor; without it there is no `image`, and nothing that needs one."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """The image as it was predicted, read again: uint8 RGB (H, W, 3).

        Raises:
            InputError: the prediction was made without a predictor, or the file cannot be read any more.
        """
        source = self._origin().source
        return read_case_image(source) if isinstance(source, Case) else source

    @property
    def spacing(self) -> tuple[float, float] | None:
        """Millimetres per pixel (row, column) of the case or of the volume's header, None when unknown."""
        source = self._origin().source
        if not isinstance(source, Case):
            return None
        if source.spacing is None and is_volume(source.image):
            return volume_spacing(source.image)
        return source.spacing

    @property
    def chosen_label(self) -> str | None:
        """The label found: of two the second if above the threshold, of more the likeliest; None without."""
        return None if self.label is None else choose_label(self.label, self._origin().info)

    def measure(self, spacing: tuple[float, float] | None = None) -> "list[Lesion]":
        """Measure every lesion of the mask in pixels, and in mm where the spacing is known.

        Args:
            spacing: millimetres per pixel (row, column); None takes that of the file.

        Raises:
            InputError: the model only classifies, or as `image`.
        """
        from delineate.inference.measurements import measure

        classes = self._origin().info.classes
        return measure(self._mask(), self.image, classes=classes, spacing=spacing or self.spacing)

    def explain(
        self, method: str | None = None, target: "Target | None" = None, index: int | None = None
    ) -> NDArray[np.float32]:
        """Show which places of the image raise the score of what was found; see `Predictor.explain`.

        Returns:
            (H, W) in [0, 1].

        Raises:
            InputError: the prediction came from another process, or as `Predictor.explain`.
        """
        predictor = self._origin().predictor
        if predictor is None:
            raise InputError(
                "This prediction came from another process without its network; "
                "load the run with Predictor.load and explain the image with it."
            )
        return predictor.explain(self.image, method=method, target=target, index=index, prediction=self)

    def plot(self, *, explain: bool | None = None) -> "Figure":
        """Draw image and outline, probability, activation map, uncertainty and label probabilities.

        Args:
            explain: whether to add the activation map, which runs the network again; None adds it when
                PyTorch runs the network.

        Returns:
            A matplotlib figure that knows nothing of pyplot; a notebook shows it, `savefig` writes it.

        Raises:
            InputError: as `image`, or as `explain` when it is asked for.
        """
        from delineate.inference.plot import plot

        return plot(self, explain=explain)

    def save(
        self,
        folder: str | Path,
        *,
        id: str | None = None,
        writers: Sequence[str] = ("masks", "overlays"),
    ) -> None:
        """Write the prediction as `delineate predict` does; what is there of the same id is replaced.

        Args:
            folder: where to write; made if needed.
            id: name of the files; None takes the image's, for an array "image".
            writers: names of `delineate.inference.writers.WRITERS`.

        Raises:
            InputError: an unknown writer, one that does not suit the image, or as `image`.
        """
        from delineate.inference.writers import WRITERS, Output

        origin = self._origin()
        case = origin.source
        if not isinstance(case, Case):
            case = Case(id="image", image=Path("image.png"))  # no such file; an array has no other name
        case = replace(case, id=id or case.id)
        if Path(case.id).name != case.id:
            raise InputError(f"The id {case.id!r} must be a plain file name; choose one without a folder.")
        made = [choose("writer", name, WRITERS).make(Path(folder), origin.info) for name in writers]
        output = Output(case.id, case, self.image, self, origin.info, origin.identity)
        for writer in made:
            writer.add(output)
            writer.end_of_file()
            writer.finish()

    def _repr_html_(self) -> str:
        from delineate.inference.plot import html_summary

        return html_summary(self)

    def _origin(self) -> Origin:
        if self.origin is None:
            raise InputError(
                "This prediction does not know its image; take one that a Predictor made of a file or array."
            )
        return self.origin

    def _mask(self) -> NDArray[np.uint8]:
        if self.mask is None:
            raise InputError("This model only classifies, so there is no mask; take one that segments.")
        return self.mask


def native_probability(logits: Tensor, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Bring the mask logits of one image to its own size and turn them into probabilities.

    Logits are resized rather than probabilities, so that an outline stays where the network drew it.

    Args:
        logits: (1, C, h, w), as in `Prediction.mask`.
        size: height and width of the image file.

    Returns:
        (H, W) when C = 1, else (C, H, W).
    """
    full = nn.functional.interpolate(logits.float(), tuple(size), mode="bilinear", align_corners=False)
    probability = full[0, 0].sigmoid() if full.shape[1] == 1 else full[0].softmax(0)
    found: NDArray[np.float32] = probability.cpu().numpy()
    return found


def decide(probability: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Turn probabilities into class indices, uint8 (H, W): above the threshold, or the largest of several."""
    if probability.ndim == 2:
        return (probability > threshold).astype(np.uint8)
    return probability.argmax(0).astype(np.uint8)


def choose_label(probability: dict[str, float], info: ModelInfo) -> str:
    """Return the label found: of two the second if above the threshold, of more the likeliest."""
    if len(probability) == 2:
        return info.labels[int(probability[info.labels[1]] > info.threshold)]
    return max(probability, key=lambda name: probability[name])


def found_to_explain(
    found: ImagePrediction, info: ModelInfo, target: "Target", index: int | None = None
) -> tuple[int | None, NDArray[np.bool_] | None]:
    """Say what of a prediction a map explains: what the threshold, and all members together, decided.

    Args:
        found: what was predicted.
        info: labels and threshold of the model.
        target: "label" or "mask".
        index: which label or class; None for the label found, or the class with the largest predicted region
            (the first one when nothing is found).

    Returns:
        The index, None when the prediction lacks the target; and for a mask the pixels (H, W) of that class.
    """
    if target == "label":
        if index is None and found.label is not None:
            index = info.labels.index(choose_label(found.label, info))
        return index, None
    if found.mask is None:
        return index, None
    if index is None:
        index = 1 + int(np.bincount(found.mask.ravel(), minlength=2)[1:].argmax())
    return index, found.mask == index
