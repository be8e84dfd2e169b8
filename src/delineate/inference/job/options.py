"""What a prediction job is told, in a form that can be sent to other processes and written down."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from delineate.checks import InputError
from delineate.inference.predictor import Predictor


@dataclass(frozen=True)
class JobOptions:
    """What is written of each image."""

    formats: tuple[str, ...] = ("masks", "overlays")
    """Names of `delineate.inference.writers.WRITERS`."""
    explain: str | None = None
    """Also draw activation maps: a method of `delineate.explain.activation`, "auto" for the model's own."""
    measure: bool = False
    """Also measure the lesions of each mask."""
    spacing: tuple[float, float] | None = None
    """Millimetres per pixel, (row, column), of all images; None takes it from the files that state it."""
    batch_size: int = 8
    """Images that pass the network together, and files that are finished together."""

    def as_json(self) -> dict[str, Any]:
        """What job.json keeps."""
        return asdict(self) | {
            "formats": list(self.formats),
            "spacing": None if self.spacing is None else list(self.spacing),
        }


@dataclass(frozen=True)
class Loading:
    """How to load a predictor; what workers on other machines get in place of a loaded one.

    The fields are the arguments of `Predictor.load`.
    """

    runs: tuple[str, ...]
    device: str = "auto"
    backend: str = "torch"
    precision: str = "fp32"
    tta: str = "none"
    uncertainty: bool = False

    @classmethod
    def of(cls, runs: Sequence[str | Path], **options: Any) -> "Loading":
        """Make one for runs given by paths, which become absolute."""
        return cls(tuple(str(Path(run).absolute()) for run in runs), **options)

    def load(self, device: str | None = None) -> Predictor:
        """Load the predictor, on another device if one is given; errors as `Predictor.load`."""
        return Predictor.load(
            list(self.runs),
            device or self.device,
            backend=self.backend,
            precision=self.precision,
            tta=self.tta,
            uncertainty=self.uncertainty,
        )


def check_spacing(spacing: float | Sequence[float] | None) -> tuple[float, float] | None:
    """Return (row, column) millimetres per pixel; one number counts for both.

    Raises:
        InputError: there are more than two numbers, or one is not above 0.
    """
    if spacing is None:
        return None
    pair = (spacing, spacing) if isinstance(spacing, int | float) else tuple(spacing)
    pair = pair * 2 if len(pair) == 1 else pair
    if len(pair) != 2 or not all(0 < side < float("inf") for side in pair):
        raise InputError(f"The spacing must be one or two numbers above 0 (mm per pixel), got {spacing}.")
    return float(pair[0]), float(pair[1])
