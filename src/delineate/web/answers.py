"""The parts of an answer: mask, contours, maps, measurements."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delineate.data.case import Case
from delineate.inference.measurements import measure
from delineate.inference.predictor import ImagePrediction, Picture, Uncertainty
from delineate.inference.writers import Output
from delineate.inference.writers.geojson import geojson
from delineate.web import schemas
from delineate.web.hosted import Hosted
from delineate.web.pixels import map_base64, png_base64

MOST_LESIONS = 50
"""Lesions that are measured; of more, the largest."""
_MOST_VARIANCE = 0.25  # of a probability


@dataclass(frozen=True)
class Options:
    """What a client wants to know about an image."""

    spacing: tuple[float, float] | None = None
    uncertainty: bool = False
    explain: str = "none"
    measure: bool = True
    slice: int | None = None


@dataclass(frozen=True)
class Opened:
    """An upload that was decoded."""

    case: Case
    """With the spacing that counts and the window of the model."""
    picture: Picture
    """On its way to the network."""
    image: NDArray[np.uint8]
    """(H, W, 3), whole if something will look at it, else as the network's input is made of."""
    slices: int = 1
    """Pictures in the file."""


@dataclass(frozen=True)
class Explanation:
    """An activation map and what it explains."""

    method: str
    target: str
    activation: NDArray[np.float32]


def explain(model: Hosted, image: NDArray[np.uint8], method: str, prediction: ImagePrediction) -> Explanation:
    """Make an activation map; for the thread of the model.

    Raises:
        InputError: there is no such map, or PyTorch does not run the model.
    """
    from delineate.explain.overlay import map_method

    predictor = model.predictor
    name = map_method(predictor.info.model) if method == "auto" else method
    activation = predictor.explain(image, method=name, prediction=prediction)
    return Explanation(name, "label" if predictor.info.labels else "mask", activation)


def make_answer(
    model: Hosted,
    opened: Opened,
    prediction: ImagePrediction,
    explanation: Explanation | None,
    options: Options,
    request_id: str,
) -> schemas.PredictionAnswer:
    """Put everything that was asked for into one answer.

    Args:
        model: what predicted.
        opened: the upload.
        prediction: what was found in it.
        explanation: its activation map, if one was asked for.
        options: what else was asked for.
        request_id: name of the answer.
    """
    mask, probability, spacing = prediction.mask, prediction.probability, opened.case.spacing
    measurements: list[dict[str, Any]] = []
    if mask is not None and options.measure:
        measurements = measured(mask, opened.image, model.predictor.info.classes, spacing)
    uncertainty = prediction.uncertainty
    return schemas.PredictionAnswer(
        id=request_id,
        model=model.name,
        identity=model.identity,
        height=opened.picture.size[0],
        width=opened.picture.size[1],
        spacing=spacing,
        slices=opened.slices,
        slice=opened.case.slice if opened.slices > 1 else None,
        label=prediction.label,
        chosen_label=None if prediction.label is None else model.predictor.choose_label(prediction.label),
        look=None if uncertainty is None else uncertainty.look,
        measurements=measurements,
        mask=None if mask is None else _mask(model, opened, prediction, request_id),
        probability=None if probability is None else _probability(probability),
        uncertainty=_uncertainty(uncertainty) if options.uncertainty and uncertainty is not None else None,
        explanation=None if explanation is None else _explanation(explanation),
        milliseconds=0,
    )


def measure_mask(model: Hosted, opened: Opened, mask_png: bytes) -> schemas.MeasureAnswer:
    """Measure a mask that a client sent, as the masks of predictions are.

    Raises:
        InputError: the mask does not fit the image or the model.
    """
    from delineate.web.store.correction import read_index_mask

    classes, spacing = model.predictor.info.classes, opened.case.spacing
    mask = read_index_mask(mask_png, len(classes), opened.picture.size)
    return schemas.MeasureAnswer(measurements=measured(mask, opened.image, classes, spacing), spacing=spacing)


def measured(
    mask: NDArray[np.uint8],
    image: NDArray[np.uint8],
    classes: Sequence[str],
    spacing: tuple[float, float] | None,
) -> list[dict[str, Any]]:
    """Measure the largest lesions of a mask, as JSON."""
    return [asdict(one) for one in measure(_largest(mask), image, classes=classes, spacing=spacing)]


def _largest(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask with its `MOST_LESIONS` largest regions only: thousands of specks would take minutes."""
    from scipy.ndimage import label

    found: list[tuple[int, int, int]] = []  # minus area, class, region
    regions = {}
    for value in np.unique(mask[mask > 0]).tolist():
        regions[value], _ = label(mask == value, structure=np.ones((3, 3)))
        areas = np.bincount(regions[value].ravel()).tolist()
        found += [(-area, value, region) for region, area in enumerate(areas) if region]
    if len(found) <= MOST_LESIONS:
        return mask
    kept = np.zeros_like(mask)
    for value, labels in regions.items():
        chosen = [region for _, of, region in sorted(found)[:MOST_LESIONS] if of == value]
        kept[np.isin(labels, chosen)] = value
    return kept


def _mask(model: Hosted, opened: Opened, prediction: ImagePrediction, request_id: str) -> schemas.MaskAnswer:
    info = model.predictor.info
    output = Output(request_id, opened.case, opened.image, prediction, info, model.identity)
    contours = geojson(output)
    del contours["image"]["file"]  # the place where the upload lies for a moment
    return schemas.MaskAnswer(png=png_base64(output.need_mask()), contours=contours)


def _probability(probability: NDArray[np.float32]) -> schemas.ProbabilityAnswer:
    if probability.ndim == 2:
        return schemas.ProbabilityAnswer(png8=map_base64(probability))
    return schemas.ProbabilityAnswer(png8=[map_base64(one) for one in probability[1:]])


def _uncertainty(found: Uncertainty) -> schemas.UncertaintyAnswer:
    return schemas.UncertaintyAnswer(
        entropy=None if found.entropy is None else map_base64(found.entropy),
        variance=None if found.variance is None else map_base64(found.variance / _MOST_VARIANCE),
        label_entropy=found.label_entropy,
    )


def _explanation(found: Explanation) -> schemas.ExplanationAnswer:
    return schemas.ExplanationAnswer(
        method=found.method, target=found.target, png=map_base64(found.activation)
    )
