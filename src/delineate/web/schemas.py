"""What the service answers; `/openapi.json` is made from these."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from delineate.web.settings import RESEARCH_ONLY

PNG = "PNG, base64 without a prefix"
_SPACING = "Millimetres per pixel, (row, column)."


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelAnswer(_Answer):
    """A model that is served."""

    name: str = Field(description="For the query parameter `model`.")
    classes: list[str] = Field(
        description="Mask classes without the background; class i + 1 is `classes[i]`."
    )
    labels: list[str] = Field(description="Image labels; of two, the second is the positive one.")
    threshold: float = Field(description="Probability above which a pixel counts as found.")
    size: tuple[int, int] = Field(description="Height and width that the network sees.")
    identity: str = Field(description="Which weights and which way of running them.")
    backend: str = Field(description="What runs the network.")
    explanations: list[str] = Field(description="Values of `explain` that this model takes, besides none.")
    corrections: bool = Field(description="Whether corrections of its masks and labels are stored.")
    card: dict[str, Any] = Field(description="How the model was made, on what, and how well it did.")


class MaskAnswer(_Answer):
    """The mask of an image."""

    png: str = Field(description=f"Class indices, 0 background, at the image's size: 8-bit grey {PNG}.")
    contours: dict[str, Any] = Field(description="GeoJSON FeatureCollection in pixel coordinates.")


class ProbabilityAnswer(_Answer):
    """The probability of each pixel, in 256 steps."""

    png8: str | list[str] = Field(
        description=f"Of one class: round(255 p), 8-bit grey {PNG}; of several: a list, one per class."
    )


class UncertaintyAnswer(_Answer):
    """Where the model is unsure."""

    entropy: str | None = Field(description=f"round(255 e), e the entropy in [0, 1] of each pixel: {PNG}.")
    variance: str | None = Field(
        description=f"round(255 v / 0.25), v the variance over members and views: {PNG}."
    )
    label_entropy: float | None = Field(description="Entropy in [0, 1] of the label's probabilities.")


class ExplanationAnswer(_Answer):
    """What in the image spoke for the result."""

    method: str
    target: str = Field(description='"label" or "mask".')
    png: str = Field(description=f"round(255 a), a the activation in [0, 1], 8-bit grey {PNG}.")


class PredictionAnswer(_Answer):
    """What a model says about one image."""

    id: str = Field(description="Of this answer; also in its header X-Request-Id.")
    model: str
    identity: str
    height: int = Field(description="Of the image, in pixels.")
    width: int
    spacing: tuple[float, float] | None = Field(description=_SPACING)
    slices: int = Field(description="Pictures in the file: slices of a volume, frames, pages; 1 for most.")
    slice: int | None = Field(description="Which of them this is, from 0; null when there is only one.")
    label: dict[str, float] | None = Field(description="Probability of each label.")
    chosen_label: str | None
    look: float | None = Field(description="In [0, 1]; 1 = look at this one.")
    measurements: list[dict[str, Any]] = Field(description="One per lesion, when `measure` was asked for.")
    mask: MaskAnswer | None
    probability: ProbabilityAnswer | None
    uncertainty: UncertaintyAnswer | None
    explanation: ExplanationAnswer | None
    milliseconds: float = Field(description="From the arrival of the whole request to its answer.")
    research_only: str = RESEARCH_ONLY


class MeasureAnswer(_Answer):
    """What a mask measures that a client sent."""

    measurements: list[dict[str, Any]] = Field(description="One per lesion, as in a prediction.")
    spacing: tuple[float, float] | None = Field(description=_SPACING)
    research_only: str = RESEARCH_ONLY


class ErrorAnswer(_Answer):
    """An error."""

    error: str = Field(description="One sentence.")
    code: str = Field(description="Short name for programs.")
    slices: int | None = Field(None, description="With slice_needed only: pictures in the file.")


class BatchEntry(_Answer):
    """What became of one file of a batch."""

    index: int = Field(description="Position of the file in the request, from 0.")
    filename: str = Field(description="Its name as the client gave it, without folders and odd characters.")
    result: PredictionAnswer | None
    error: ErrorAnswer | None


class BatchAnswer(_Answer):
    """One entry per file, in the order of the request."""

    results: list[BatchEntry]
