"""Masks as DICOM segmentations that refer to the image they were found in.

highdicom lays out the object. It wants to know where in the patient the frames lie, but photographs,
endoscopy and most ultrasound have no such place. The standard (PS3.3 A.51) then lets a segmentation refer to
the frames of its source alone, without a frame of reference: a place is lent while the object is built, and
taken away.

Nothing in the object depends on when it was made, unless a time is given: its identifiers come from those of
the source, the model and the mask, and its content date is the source's. So a job that is repeated writes the
same bytes, and an archive takes the object for the one it already has.
"""

import hashlib
import io
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError, require
from delineate.files import atomic_path
from delineate.inference.writers.dicom_codes import SegmentCode, code_of
from delineate.inference.writers.dicom_source import (
    frames_of,
    lend_place,
    place_of,
    read_header,
    with_place,
)
from delineate.models.checkpoint import ModelInfo
from delineate.version import __version__

if TYPE_CHECKING:
    from pydicom import Dataset

Algorithm = Literal["AUTOMATIC", "SEMIAUTOMATIC"]
"""How a mask came about: by the model alone, or corrected by a person."""

_IN_STACK_POSITION, _FRAME_CONTENT = 0x00209057, 0x00209111


def segmentation_of(
    source: "Path | Dataset",
    mask: NDArray[np.uint8] | NDArray[np.floating],
    info: ModelInfo,
    identity: str,
    *,
    frames: Sequence[int] | None = None,
    codes: Mapping[str, SegmentCode] | None = None,
    algorithm: Algorithm = "AUTOMATIC",
    author: str | None = None,
    created: datetime | None = None,
) -> "Dataset":
    """Make a DICOM segmentation of an image: one segment for each mask class, binary or fractional.

    Patient and study are the source's; series and instance are new. Frames without any pixel are left out, as
    usual, unless nothing at all was found.

    Args:
        source: a DICOM image, its file or its data set; pixels are not needed.
        mask: class indices, uint8 (H, W), or (n, H, W) for n frames. Or probabilities of the classes without
            the background, float (classes, H, W) or (n, classes, H, W): the segmentation is then fractional,
            in 255 steps.
        info: classes and name of the model.
        identity: which model it was, see `Predictor.identity`.
        frames: which frame of the source each mask belongs to, from 0; all of them in order by default.
        codes: coded concepts by class, before those of `dicom_codes.CODES`.
        algorithm: "SEMIAUTOMATIC" for a mask that somebody corrected.
        author: who corrected it.
        created: when it was made; None leaves the time of making out, see above.

    Returns:
        A data set with file meta information; `save` writes it.

    Raises:
        InputError: the source is no DICOM image that can be referred to, or the mask does not fit it.
    """
    highdicom = require("highdicom", "dicom")
    header = read_header(source)
    fractional = mask.dtype.kind == "f"
    pixels = _pixels(header, mask, frames, len(info.classes) if fractional else None)
    # All that the object says besides the source: another content must not have the same identifier.
    coded = [(name, code_of(name, codes)) for name in info.classes]
    said = (pixels.shape, pixels.dtype, coded, info.threshold, algorithm, author, created, __version__)
    digest = hashlib.sha256(str(said).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    series = make_uid("series", header.SeriesInstanceUID, identity, fractional, created)
    kind = highdicom.seg.SegmentationTypeValues
    try:
        place = place_of(header)
        made = highdicom.seg.Segmentation(
            source_images=[with_place(header, place or lend_place(header))],
            pixel_array=pixels,
            segmentation_type=kind.FRACTIONAL if fractional else kind.BINARY,
            segment_descriptions=_segments(info, identity, codes, algorithm),
            series_instance_uid=series,
            series_number=1000 + int(header.get("SeriesNumber") or 0),
            sop_instance_uid=make_uid("instance", header.SOPInstanceUID, identity, digest.hexdigest()),
            instance_number=max(1, int(header.get("InstanceNumber") or 1)),
            manufacturer="delineate",
            manufacturer_model_name=info.recipe[:64],
            software_versions=__version__,
            device_serial_number=info.weights_sha256[:16],
            omit_empty_frames=bool(pixels.any()),
            content_label="SEGMENTATION",
            content_description="For research only, not for diagnosis",
            content_creator_name=None if author is None else _person(author),
            series_description=f"Segmentation {info.recipe}"[:64],
            specific_character_set="ISO_IR 192",
        )
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(
            f"No DICOM segmentation of {header.SOPInstanceUID} can be made ({error}); write png instead."
        ) from error
    if place is None:
        _take_place_away(made)
    _set_identifiers(made, header, created)
    return made


def save(dataset: "Dataset", path: Path) -> None:
    """Write a data set as a DICOM file, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(to_bytes(dataset))


def to_bytes(dataset: "Dataset") -> bytes:
    """Return a data set as the bytes of a DICOM file."""
    pydicom = require("pydicom", "dicom")
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _pixels(header: Any, mask: NDArray, frames: Sequence[int] | None, classes: int | None) -> NDArray:
    """Arrange masks as highdicom takes them, for all frames: (n, H, W), or (n, H, W, classes)."""
    one = 2 if classes is None else 3
    stack = mask[None] if mask.ndim == one else mask
    count, shape = frames_of(header), (int(header.Rows), int(header.Columns))
    positions = list(range(len(stack))) if frames is None else list(frames)
    fits = len(positions) == len(stack) == len(set(positions)) and set(positions) <= set(range(count))
    planes = shape if classes is None else (classes, *shape)
    if stack.shape[1:] != planes or not fits or (frames is None and len(stack) != count):
        raise InputError(
            f"The mask {mask.shape} does not fit {count} frames of {shape[0]} x {shape[1]} pixels; "
            "give one mask of the image's size for each frame, or name the frames."
        )
    if classes is None:
        full = np.zeros((count, *shape), np.uint8)
        full[positions] = stack
        return full
    whole = np.zeros((count, *shape, classes), np.float32)
    whole[positions] = np.clip(stack, 0, 1).transpose(0, 2, 3, 1)
    return whole


def _segments(
    info: ModelInfo, identity: str, codes: Mapping[str, SegmentCode] | None, algorithm: Algorithm
) -> list[Any]:
    highdicom = require("highdicom", "dicom")
    coding = require("pydicom.sr.coding", "dicom")
    by = highdicom.AlgorithmIdentificationSequence(
        name="delineate",
        family=coding.Code("123110", "DCM", "Artificial Intelligence"),
        version=__version__,
        source="delineate",
        parameters={"model": identity, "threshold": str(info.threshold)},
    )
    described = []
    for number, name in enumerate(info.classes, 1):
        code = code_of(name, codes)
        described.append(
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=name[:64],
                segmented_property_category=coding.Code(*code.category),
                segmented_property_type=coding.Code(*code.type),
                algorithm_type=algorithm,
                algorithm_identification=by,
            )
        )
    return described


def _take_place_away(made: Any) -> None:
    """Leave of a lent place only the order of the frames, as positions in a stack."""
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator", "DimensionOrganizationType"):
        made.pop(keyword, None)
    shared = made.SharedFunctionalGroupsSequence[0]
    shared.pop("PlaneOrientationSequence", None)
    shared.pop("PixelMeasuresSequence", None)
    index = made.DimensionIndexSequence[-1]
    index.DimensionIndexPointer, index.FunctionalGroupPointer = _IN_STACK_POSITION, _FRAME_CONTENT
    index.DimensionDescriptionLabel = "In-Stack Position Number"
    per_frame = made.PerFrameFunctionalGroupsSequence
    numbers = [
        int(frame.DerivationImageSequence[0].SourceImageSequence[0].get("ReferencedFrameNumber") or 1)
        for frame in per_frame
    ]
    # Counted without gaps, as index values must be; which frame of the source it is, the derivation says.
    position_of = {number: position for position, number in enumerate(sorted(set(numbers)), 1)}
    for frame, number in zip(per_frame, numbers, strict=True):
        frame.pop("PlanePositionSequence", None)
        content = frame.FrameContentSequence[0]
        content.StackID, content.InStackPositionNumber = "1", position_of[number]
        content.DimensionIndexValues = [*list(content.DimensionIndexValues)[:-1], position_of[number]]


def _set_identifiers(made: Any, header: Any, created: datetime | None) -> None:
    """Make what highdicom draws at random or reads from the clock depend on the content alone."""
    organization = make_uid("dimensions", made.SOPInstanceUID)
    for sequence in (made.DimensionOrganizationSequence, made.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = organization
    made.PatientOrientation = header.get("PatientOrientation")  # required to be there, if only empty
    for equipment in made.get("ContributingEquipmentSequence", []):
        equipment.pop("ContributionDateTime", None)
    if created is not None:
        date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
        made.InstanceCreationDate = made.ContentDate = made.SeriesDate = date
        made.InstanceCreationTime = made.ContentTime = made.SeriesTime = time
        return
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        made.pop(keyword, None)
    for what in ("Content", "Acquisition", "Series", "Study"):
        if header.get(f"{what}Date"):
            made.ContentDate = header.get(f"{what}Date")
            made.ContentTime = header.get(f"{what}Time") or "000000"
            return
    made.ContentDate, made.ContentTime = "19700101", "000000"


def _person(name: str) -> str:
    """A name as DICOM holds it: no control characters, backslash, caret or equals sign, at most 64 long."""
    kept = "".join(" " if letter in "\\^=" or not letter.isprintable() else letter for letter in name)
    return f"{kept.strip()[:62] or 'unknown'}^"


def make_uid(*parts: object) -> str:
    """A unique identifier made from texts, below 2.25 (ISO/IEC 9834-8): the same texts give the same one."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(['delineate', *map(str, parts)])).int}"
