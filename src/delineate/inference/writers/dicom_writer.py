"""DICOM segmentations of a job, one for each DICOM file."""

from pathlib import Path

from numpy.typing import NDArray

from delineate.checks import require
from delineate.inference.writers.base import Output, PictureWriter, Waiting
from delineate.inference.writers.dicom_codes import SegmentCode, read_codes
from delineate.inference.writers.dicom_seg import save, segmentation_of
from delineate.inference.writers.dicom_source import check_dicom
from delineate.models.checkpoint import ModelInfo

CODES_FILES = ("dicom-codes.yaml", "dicom-codes.json")
"""Names of a user's table of codes, looked for in the folder of the job, see `dicom_codes.read_codes`."""


class DicomSegWriter(PictureWriter):
    """`dicom-seg/<file id>.dcm`: one segment for each class, all frames of a file in one object.

    Raises:
        InputError: highdicom is missing, or the user's table of codes is damaged.
    """

    folder, fractional = "dicom-seg", False

    def __init__(self, out: Path, info: ModelInfo) -> None:
        require("highdicom", "dicom")
        super().__init__(out, info)
        given = next((out / name for name in CODES_FILES if (out / name).is_file()), None)
        self._codes: dict[str, SegmentCode] = {} if given is None else read_codes(given)
        self._waiting = Waiting()

    def add(self, output: Output) -> None:
        """Keep the mask of one frame."""
        check_dicom(output.case.image)
        self._waiting.add(output, self._stored(output))

    def end_of_file(self) -> None:
        """Write the segmentation of a file."""
        waiting = self._waiting.take()
        if waiting is None:
            return
        first, positions, stack = waiting
        made = segmentation_of(
            first.case.image,
            stack,
            first.info,
            first.identity,
            frames=positions,
            codes=self._codes,
        )
        save(made, self.place(self.folder, f"{first.file_id}.dcm"))

    def forget(self) -> None:
        """Drop the frames of a file that broke off."""
        self._waiting = Waiting()

    def _stored(self, output: Output) -> NDArray:
        """The mask (H, W), or the probabilities (classes, H, W) without the background."""
        if not self.fractional:
            return output.need_mask()
        probability = output.need_probability()
        return probability[None] if probability.ndim == 2 else probability[1:]


class FractionalDicomSegWriter(DicomSegWriter):
    """`dicom-seg-fractional/<file id>.dcm`: the probability of each class in 255 steps."""

    folder, fractional = "dicom-seg-fractional", True
