"""What a segmentation needs to know of the DICOM image it belongs to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delineate.checks import InputError, require
from delineate.data.volumes import is_dicom

_REMEDY = "export it again from its source"
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)


@dataclass(frozen=True)
class Place:
    """Where the frames of an image lie in the patient."""

    frame_of_reference: str
    positions: tuple[tuple[float, ...], ...]
    """Of the centre of the upper left pixel of each frame, in mm, different from each other."""
    orientation: tuple[float, ...]
    """Six direction cosines, the same for all frames."""
    spacing: tuple[float, float]
    """Millimetres per pixel, (row, column)."""
    thickness: float
    """Of a slice, in mm. A segmentation must state one; where the source has none, the spacing of the slices
    stands for it, and without that the side of a pixel."""


def read_header(source: Any) -> Any:
    """Return the header of a DICOM image without its pixels.

    Args:
        source: a file, or a data set, which is not changed.

    Raises:
        InputError: it is no DICOM image, lacks an identifier that every instance must have, or is a
            whole-slide image, which is cut into tiles.
    """
    pydicom = require("pydicom", "dicom")
    name = getattr(source, "filename", None) or "The data set"
    if isinstance(source, Path | str):
        name, source = str(source), Path(source)
        check_dicom(source)
        try:
            header = pydicom.dcmread(source, stop_before_pixels=True)
        except (OSError, pydicom.errors.InvalidDicomError) as error:
            raise InputError(f"{source} is damaged or not a DICOM file; {_REMEDY}.") from error
    else:
        header = pydicom.Dataset()
        header.update(source)
        header.pop("PixelData", None)
    missing = [keyword for keyword in _NEEDED if header.get(keyword) in (None, "")]
    if missing:
        raise InputError(
            f"{name} lacks {', '.join(missing)}, without which nothing can refer to it; {_REMEDY}."
        )
    if "ImageOrientationSlide" in header or "TotalPixelMatrixRows" in header:
        raise InputError(f"{name} is a whole-slide image in tiles; masks of these are written as png only.")
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    return header


def check_dicom(path: Path) -> None:
    """Refuse files that are not DICOM images by their name.

    Raises:
        InputError: the name ends otherwise.
    """
    if not is_dicom(path):
        raise InputError(
            f"{path.name} is not a DICOM image (.dcm), but a DICOM segmentation must refer to one; write its "
            "mask as png or nifti, or convert it to DICOM first."
        )


def frames_of(header: Any) -> int:
    """Number of frames of an image."""
    return int(header.get("NumberOfFrames") or 1)


def place_of(header: Any) -> Place | None:
    """Find where the frames lie; None unless the header says so of each, and no two lie at one place."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or [None] * frames_of(header)

    def stated(frame: Any, group: str, keyword: str) -> Any:
        for holder in (frame, shared):
            items = holder.get(group) if holder is not None else None
            if items and items[0].get(keyword) not in (None, ""):
                return items[0].get(keyword)
        return header.get(keyword)

    found = {
        keyword: [stated(frame, group, keyword) for frame in per_frame]
        for group, keyword in (
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
            ("PixelMeasuresSequence", "PixelSpacing"),
        )
    }
    if header.get("FrameOfReferenceUID") in (None, "") or any(None in values for values in found.values()):
        return None
    positions, orientations, spacings = (
        [tuple(float(number) for number in value) for value in values] for values in found.values()
    )
    one_plane = len(set(orientations)) == len(set(spacings)) == 1
    if not one_plane or len(positions) != frames_of(header) or len(set(positions)) != len(positions):
        return None
    stated_lengths = [
        stated(per_frame[0], "PixelMeasuresSequence", keyword)
        for keyword in ("SliceThickness", "SpacingBetweenSlices")
    ]
    lengths = [abs(float(length)) for length in stated_lengths if length not in (None, "", 0)]
    return Place(
        frame_of_reference=str(header.FrameOfReferenceUID),
        positions=tuple(positions),
        orientation=orientations[0],
        spacing=(spacings[0][0], spacings[0][1]),
        thickness=next(iter(lengths), spacings[0][0]),
    )


def lend_place(header: Any) -> Place:
    """Make up places for frames that have none, to be taken away again.

    They lie one behind the other against the direction of the normal, in which highdicom orders frames.
    """
    return Place(
        frame_of_reference="2.25.1",
        positions=tuple((0.0, 0.0, -float(frame)) for frame in range(frames_of(header))),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        spacing=(1.0, 1.0),
        thickness=1.0,
    )


def with_place(header: Any, place: Place) -> Any:
    """Copy a header and state its places as images of one frame do, and also as those of several do."""
    pydicom = require("pydicom", "dicom")
    made = pydicom.Dataset()
    made.update(header)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        made.pop(keyword, None)
    made.FrameOfReferenceUID = place.frame_of_reference
    made.NumberOfFrames = len(place.positions)
    measures = pydicom.Dataset()
    measures.PixelSpacing = list(place.spacing)
    measures.SliceThickness = place.thickness
    orientation = pydicom.Dataset()
    orientation.ImageOrientationPatient = list(place.orientation)
    shared = pydicom.Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    frames = []
    for values in place.positions:
        position, frame = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = list(values)
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence = [shared], frames
    made.update(measures)
    made.update(orientation)
    made.update(frames[0].PlanePositionSequence[0])
    return made
