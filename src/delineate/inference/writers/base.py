"""What a writer gets, and what it has to do."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.data.case import Case
from delineate.data.volumes import is_volume, volume_spacing
from delineate.models.checkpoint import ModelInfo

if TYPE_CHECKING:
    from delineate.inference.predictor import ImagePrediction


@dataclass(frozen=True)
class Output:
    """One predicted picture, on its way to the disk."""

    id: str
    """Name of what is written, without an ending; unique in a job."""
    case: Case
    """Where the picture came from: its file, slice and spacing."""
    image: NDArray[np.uint8]
    """RGB (H, W, 3), at the size of the file."""
    prediction: "ImagePrediction"
    """What the model says."""
    info: ModelInfo
    """Classes and labels of the model."""
    identity: str
    """Which model said it, see `Predictor.identity`."""

    @property
    def file_id(self) -> str:
        """`id` without the number of a slice or frame: one name for all that comes from one file."""
        return self.id if self.case.slice is None else re.sub(r"_s\d+$", "", self.id)

    @property
    def spacing(self) -> tuple[float, float] | None:
        """Millimetres per pixel (row, column): the case's, else that of a volume's or DICOM header."""
        if self.case.spacing is None and is_volume(self.case.image):
            return volume_spacing(self.case.image)
        return self.case.spacing

    def need_mask(self) -> NDArray[np.uint8]:
        """The mask, uint8 (H, W).

        Raises:
            InputError: the model gives none.
        """
        if self.prediction.mask is None:
            raise InputError(
                f"The model {self.info.recipe!r} names labels only, so {self.id!r} has no mask to write; "
                "choose a model with mask classes."
            )
        return self.prediction.mask

    def need_probability(self) -> NDArray[np.float32]:
        """The probabilities, float32 (H, W) or (classes + 1, H, W).

        Raises:
            InputError: the prediction has none.
        """
        if self.prediction.probability is None:
            self.need_mask()
            raise InputError(f"{self.id!r} has a mask without probabilities; write its mask only.")
        return self.prediction.probability


class Writer(Protocol):
    """Write predictions in one format; every file is written whole or not at all."""

    made: list[Path]
    """What was written, in order; the caller empties it, and knows so what belongs to a file."""

    def add(self, output: Output) -> None:
        """Take one picture; slices of a file come one after the other, in order.

        Raises:
            InputError: it cannot be written in this format, or the disk is full.
        """
        ...

    def end_of_file(self) -> None:
        """Write what waits for the last slice of a file; the source file must still be there.

        After an error in `add` or in prediction it is not called for that file: see `forget`.
        """
        ...

    def forget(self) -> None:
        """Drop what waits for the rest of a file that could not be read to its end."""
        ...

    def finish(self) -> None:
        """Write what sums up all pictures, only from what lies on the disk.

        Called once at the end of a job, also of one that was resumed or that ran in several processes.
        """
        ...


class PictureWriter:
    """A writer whose pictures do not wait for each other, unless a subclass says so."""

    def __init__(self, out: Path, info: ModelInfo) -> None:
        self.out, self.info = out, info
        self.made: list[Path] = []

    def place(self, folder: str, name: str) -> Path:
        """The path of a file that is about to be written, from now on in `made`."""
        path = self.out / folder / name
        self.made.append(path)
        return path

    def end_of_file(self) -> None:
        """Nothing waits."""

    def forget(self) -> None:
        """Nothing waits."""

    def finish(self) -> None:
        """Nothing is summed up."""


@dataclass(frozen=True)
class WriterSpec:
    """A row of the table of formats."""

    summary: str
    """One line for `--help` and the docs."""
    make: Callable[[Path, ModelInfo], Writer]
    """Make a writer into a folder, for a model."""
    places: Mapping[str, tuple[str, ...]]
    """Folders, relative to the job's folder, that this writer makes and nobody else -> what its files in it
    have after the id; a single file -> ()."""
    needs_uncertainty: bool = False
    """Whether the predictions must hold their uncertainty."""


class Waiting:
    """Arrays of the slices of one file, until the last has come; of the pictures only the first is kept."""

    def __init__(self) -> None:
        self._first: Output | None = None
        self._positions: list[int] = []
        self._arrays: list[NDArray] = []

    def add(self, output: Output, array: NDArray) -> None:
        """Keep what is to be written of a slice.

        Raises:
            InputError: the slice is of another file, or of another size than the first.
        """
        if self._first is None:
            self._first = output
        elif output.file_id != self._first.file_id:
            raise InputError(
                f"{self._first.file_id!r} was not closed before {output.file_id!r}; call end_of_file first."
            )
        elif array.shape != self._arrays[0].shape:
            raise InputError(
                f"The pages of {output.case.image} differ in size, so they cannot be one volume; write them "
                "as PNG masks."
            )
        self._positions.append(output.case.slice or 0)
        self._arrays.append(array)

    def take(self) -> tuple[Output, list[int], NDArray] | None:
        """Hand over the first slice, all positions and the stack of arrays, and begin anew; None if empty."""
        first, positions, arrays = self._first, self._positions, self._arrays
        self._first, self._positions, self._arrays = None, [], []
        return None if first is None else (first, positions, np.stack(arrays))
