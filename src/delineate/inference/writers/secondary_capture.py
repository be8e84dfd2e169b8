"""A picture as a DICOM image, so that a segmentation has something to refer to."""

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError, require
from delineate.inference.writers.dicom_seg import make_uid

if TYPE_CHECKING:
    from pydicom import Dataset

_TIMES = [
    f"{what}{part}" for what in ("InstanceCreation", "Content", "Series") for part in ("Date", "Time")
] + ["DateOfSecondaryCapture", "TimeOfSecondaryCapture"]


def secondary_capture(
    image: NDArray[np.uint8],
    *,
    name: str,
    spacing: tuple[float, float] | None = None,
    study: str | None = None,
    created: datetime | None = None,
) -> "Dataset":
    """Wrap a picture as a Secondary Capture image of an unknown patient.

    Identifiers come from the pixels and the name, so that the same picture is the same instance.

    Args:
        image: uint8 RGB (H, W, 3).
        name: of the picture, for the description of its series; it is kept as given, so leave out what names
            a patient.
        spacing: millimetres per pixel (row, column), when known.
        study: identifier of the study to put it into; a new one by default.
        created: when it was made; None leaves the time of making out.

    Returns:
        A data set with pixels and file meta information.

    Raises:
        InputError: the array is of another kind.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"An image array must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}.")
    highdicom = require("highdicom", "dicom")
    pixels = np.ascontiguousarray(image)
    digest = hashlib.sha256(f"{pixels.shape} {name} {spacing} {created}".encode())
    digest.update(pixels.data)
    key = digest.hexdigest()
    made = highdicom.sc.SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=study or make_uid("study", key),
        series_instance_uid=make_uid("series", key),
        series_number=1,
        sop_instance_uid=make_uid("picture", key),
        instance_number=1,
        manufacturer="delineate",
        patient_orientation=("L", "P"),
        pixel_spacing=spacing,
        specific_character_set="ISO_IR 192",
    )
    made.SeriesDescription = "".join(letter for letter in name if letter.isprintable() and letter != "\\")[
        :64
    ]
    # Required to be there, but of a photograph they are not known.
    made.PatientOrientation = made.Laterality = None
    for keyword in _TIMES:
        made.pop(keyword, None)
    for equipment in made.get("ContributingEquipmentSequence", []):
        equipment.pop("ContributionDateTime", None)
    if created is not None:
        made.StudyDate = made.ContentDate = made.InstanceCreationDate = created.strftime("%Y%m%d")
        made.StudyTime = made.ContentTime = made.InstanceCreationTime = created.strftime("%H%M%S")
    return made
