"""From an image file to a mask, its probability and a label, by one network or by several together."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.data.cache import resize_image
from delineate.data.case import Case
from delineate.data.images import ENDINGS, case_image_size, is_deep, read_case_image
from delineate.inference.backends import Backend, TorchBackend
from delineate.inference.members import check_alike, open_member
from delineate.inference.results import (
    ImagePrediction,
    Origin,
    Uncertainty,
    choose_label,
    decide,
    found_to_explain,
    native_probability,
)
from delineate.inference.tta import forward_view, views_for
from delineate.inference.uncertainty import Running
from delineate.models.checkpoint import ModelInfo
from delineate.models.prediction import Prediction, label_probability

if TYPE_CHECKING:
    from delineate.explain.targets import Target

__all__ = ["ImagePrediction", "Picture", "Predictor", "Source", "Uncertainty", "decide", "native_probability"]

Source = str | Path | Case | NDArray[np.uint8]
"""What a predictor takes: a file, a case (a slice of a volume, a window), or uint8 RGB (H, W, 3)."""

_VALUES_AT_ONCE = 2**24
"""Probabilities that are averaged at the same time, over all images of a batch: bounds the memory."""


class Picture(NamedTuple):
    """An image on its way to the network."""

    pixels: NDArray[np.uint8]
    """uint8 RGB (h, w, 3); of a large JPEG decoded at a reduced scale, as in training."""
    size: tuple[int, int]
    """Height and width of the image itself, which the prediction gets."""
    source: Case | NDArray[np.uint8] | None = None
    """What it was made of, for results that are asked for their image later."""


class Predictor:
    """A trained model, or several that are averaged, with the preprocessing they were trained with.

    Several threads may use it: they read and write side by side, and the networks run one call at a time.

    Args:
        network: what runs the network, or several for an ensemble; a bare module is put into evaluation mode
            and run by PyTorch.
        info: what `model.json` says; not needed with a backend, which knows it.
        device: for a bare module: "auto" takes a GPU when there is one.
        tta: name of the views that are averaged, of `delineate.inference.tta.VIEWS`.
        uncertainty: whether predictions come with an `Uncertainty`.

    Raises:
        InputError: a bare module without info; members that differ in classes, labels, threshold or window;
            views that a member cannot take.

    Example:
        >>> predictor = Predictor.load("runs/demo")
        >>> predictor("lesion.jpg").label
        {'benign': 0.93, 'malignant': 0.07}
    """

    def __init__(
        self,
        network: nn.Module | Backend | Sequence[Backend],
        info: ModelInfo | None = None,
        device: str = "auto",
        *,
        tta: str = "none",
        uncertainty: bool = False,
    ) -> None:
        if isinstance(network, nn.Module):
            if info is None:
                raise InputError("A bare network needs the info of its model.json; give it too.")
            network = TorchBackend(network, info, device)
        self.members: tuple[Backend, ...] = tuple(network) if isinstance(network, Sequence) else (network,)
        if not self.members:
            raise InputError("An ensemble needs at least one member; name a run.")
        check_alike([member.info for member in self.members])
        self.backend: Backend = self.members[0]
        self.info = self.backend.info
        self.tta = tta
        self.uncertainty = uncertainty
        self._passes = [(m, view) for m in self.members for view in views_for(tta, self.members)]
        self._lock = threading.RLock()

    @classmethod
    def load(
        cls,
        run: str | Path | Sequence[str | Path],
        device: str = "auto",
        *,
        backend: str = "torch",
        precision: str = "fp32",
        tta: str = "none",
        uncertainty: bool = False,
    ) -> Self:
        """Load the model of a run, or the models of several as an ensemble.

        Args:
            run: folder of a run, or of a file that `delineate export` made of one; or several of them.
            device: "auto" takes a GPU when there is one; exported files run on the CPU.
            backend: "torch", or the format of a file exported before: "onnx", "openvino".
            precision: "fp32", or that of the exported file.
            tta: as for the class.
            uncertainty: as for the class.

        Raises:
            InputError: a folder holds no whole model, there is no such device or exported file, or as for the
                class.
        """
        runs = [run] if isinstance(run, str | Path) else list(run)
        members = [open_member(Path(folder), device, backend, precision) for folder in runs]
        return cls(members, tta=tta, uncertainty=uncertainty)

    @property
    def identity(self) -> str:
        """What predicts, as a short text that stays the same for the same weights, backend and views.

        For example "clnet.paper@0a1b2c3d4e5f torch", or "a@...+b@... openvino-int8 tta=flips".
        """
        models = "+".join(f"{m.info.recipe}@{m.info.weights_sha256[:12]}" for m in self.members)
        backends = "+".join(dict.fromkeys(member.name for member in self.members))
        return f"{models} {backends}" + ("" if self.tta == "none" else f" tta={self.tta}")

    @property
    def notes(self) -> tuple[str, ...]:
        """What differs here from what the backends' names promise, one sentence each."""
        return tuple(dict.fromkeys(note for member in self.members for note in member.notes))

    @property
    def torch(self) -> TorchBackend:
        """The first member that PyTorch runs, for what needs gradients or layers.

        Raises:
            InputError: exported files run the network.
        """
        for member in self.members:
            if isinstance(member, TorchBackend):
                return member
        raise InputError(
            f"This needs the network in PyTorch, but {self.backend.name} runs it; load the run itself."
        )

    @property
    def model(self) -> nn.Module:
        """The network; errors as in `torch`."""
        return self.torch.model

    def __call__(self, image: Source | Picture, *, uncertainty: bool | None = None) -> ImagePrediction:
        """Predict one image.

        Args:
            image: a file, a case, or uint8 RGB (H, W, 3). A file of more than 8 bits is read with the window
                of the training data, when that had one.
            uncertainty: None does as the predictor was made.

        Raises:
            InputError: the file cannot be read, or the array is of another kind.
        """
        return next(self.predict([image], uncertainty=uncertainty))

    def predict(
        self, images: Iterable[Source | Picture], batch_size: int = 8, *, uncertainty: bool | None = None
    ) -> Iterator[ImagePrediction]:
        """Predict images in batches, lazily and in order; arguments and errors as in `__call__`."""
        wanted = self.uncertainty if uncertainty is None else uncertainty
        batch: list[Picture] = []
        for image in images:
            batch.append(image if isinstance(image, Picture) else self.open(image))
            if len(batch) == batch_size:
                yield from self._predict_batch(batch, wanted)
                batch = []
        if batch:
            yield from self._predict_batch(batch, wanted)

    def open(self, image: Source) -> Picture:
        """Read an image as training read it; arguments and errors as in `__call__`."""
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise InputError(
                    f"An image array must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}."
                )
            return Picture(image, (image.shape[0], image.shape[1]), image)
        if not isinstance(image, Case):
            image = Case(id=_stem(Path(image)), image=Path(image))
        image = self.with_window(image)
        heights, widths = zip(*(member.info.size for member in self.members), strict=True)
        pixels = read_case_image(image, reduce_to=(max(heights), max(widths)))
        return Picture(pixels, case_image_size(image), image)

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
        return choose_label(probability, self.info)

    def explain(
        self,
        image: NDArray[np.uint8],
        *,
        method: str | None = None,
        target: "Target | None" = None,
        index: int | None = None,
        prediction: ImagePrediction | None = None,
    ) -> NDArray[np.float32]:
        """Show which places of an image raise a score; of an ensemble, that of its first PyTorch member.

        The label, the class and its region are those that the predictor finds, by its threshold and with all
        its members.

        Args:
            image: uint8 RGB (H, W, 3).
            method: a name of `delineate.explain.explanation.EXPLANATIONS`; None takes what suits the model.
            target: "label" or "mask"; None takes the label when there is one.
            index: which label or class; None takes the one found.
            prediction: what this predictor found in the image; None predicts it, where it is needed.

        Returns:
            (H, W) in [0, 1].

        Raises:
            InputError: exported files run the network, or as `explanation_map`.
        """
        from delineate.explain.explanation import explanation_map
        from delineate.explain.overlay import map_method
        from delineate.explain.targets import region_at

        member = self.torch
        target = target or ("label" if self.info.labels else "mask")
        region = None
        if target == "mask" or index is None:
            found = self(image, uncertainty=False) if prediction is None else prediction
            index, inside = found_to_explain(found, self.info, target, index)
            region = None if inside is None else region_at(inside, member.info.size)
        with self._lock:
            return explanation_map(
                member.model,
                member.prepare(resize_image(image, member.info.size)[None]),
                method=method or map_method(member.info.model),
                target=target,
                index=index,
                region=region,
                size=(image.shape[0], image.shape[1]),
            )

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        """Resize and normalise uint8 RGB (H, W, 3) to what the model takes: float32 (1, 3, h, w).

        Raises:
            InputError: exported files run the network.
        """
        member = self.torch
        return member.prepare(resize_image(image, member.info.size)[None])

    def forward(self, images: Sequence[NDArray[np.uint8]]) -> Prediction:
        """Run the network on uint8 RGB images of any sizes; logits at the network's size, on the CPU.

        Raises:
            InputError: there are several members or views, whose logits are never averaged.
        """
        if len(self._passes) > 1:
            raise InputError(
                "An ensemble or several views have no common logits, only probabilities; "
                "use predict, or load one run without test-time augmentation."
            )
        with self._lock:
            return forward_view(*self._passes[0], images)

    def _predict_batch(self, images: Sequence[Picture], uncertainty: bool) -> Iterator[ImagePrediction]:
        if len(self._passes) == 1:
            yield from self._predict_chunk(images, uncertainty)
            return
        for chunk in _chunks(images, max(len(self.info.classes), 1)):
            yield from self._predict_chunk(chunk, uncertainty)

    def _predict_chunk(self, images: Sequence[Picture], uncertainty: bool) -> Iterator[ImagePrediction]:
        """Predict images together: each pass over all of them, so that a network runs on whole batches."""
        running = {i: Running(self.info, len(self._passes), uncertainty) for i in range(len(images))}
        pixels = [image.pixels for image in images]
        for number, (member, view) in enumerate(self._passes, 1):
            with self._lock:
                prediction = forward_view(member, view, pixels)
            labels = None if prediction.label is None else label_probability(prediction.label).numpy()
            for i, image in enumerate(images):
                logits = None if prediction.mask is None else prediction.mask[i : i + 1]
                running[i].add(
                    None if logits is None else native_probability(logits, image.size),
                    None if labels is None else labels[i].copy(),
                )
                if number == len(self._passes):
                    yield self._result(image, running.pop(i), uncertainty)  # no longer kept here

    def _result(self, image: Picture, mean: Running, uncertainty: bool) -> ImagePrediction:
        origin = None if image.source is None else Origin(image.source, self.info, self.identity, self)
        mask = mean.mask()
        return ImagePrediction(
            mask=mask,
            probability=mean.probability,
            label=mean.label_probability(),
            uncertainty=mean.uncertainty(mask) if uncertainty else None,
            origin=origin,
        )


def _stem(file: Path) -> str:
    """The name without its ending, of which volumes may have two."""
    fitting = [ending for ending in ENDINGS if file.name.lower().endswith(ending)]
    return file.name[: -len(max(fitting, key=len))] if fitting else file.stem


def _chunks(images: Sequence[Picture], classes: int) -> Iterator[list[Picture]]:
    """Cut a batch so that the means of a chunk stay within `_VALUES_AT_ONCE`; one image always goes."""
    chunk: list[Picture] = []
    values = 0
    for image in images:
        needed = image.size[0] * image.size[1] * (1 if classes == 1 else classes + 1)
        if chunk and values + needed > _VALUES_AT_ONCE:
            yield chunk
            chunk, values = [], 0
        chunk.append(image)
        values += needed
    if chunk:
        yield chunk
