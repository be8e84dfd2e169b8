"""Files that hold many pictures: how many, how large and how fine, told from their headers."""

from pathlib import Path

from delineate.data import dicom, nifti

ENDINGS = (*nifti.ENDINGS, *dicom.ENDINGS)
"""Endings of the volumes and DICOM files that are read, in lower case."""


def is_nifti(path: Path) -> bool:
    """Whether the name says that the file is a NIfTI volume."""
    return path.name.lower().endswith(nifti.ENDINGS)


def is_dicom(path: Path) -> bool:
    """Whether the name says that the file is a DICOM image."""
    return path.name.lower().endswith(dicom.ENDINGS)


def is_volume(path: Path) -> bool:
    """Whether the file is a NIfTI volume or a DICOM image, told from its name."""
    return is_nifti(path) or is_dicom(path)


def volume_slices(path: Path) -> int:
    """Number of pictures in a file: axial slices of a NIfTI volume, frames of a DICOM file.

    Only the header is read. Positions run from 0; for NIfTI from the feet to the head.

    Raises:
        InputError: the file is missing, damaged or holds no pictures that can be read.
    """
    return nifti.geometry(path).slices if is_nifti(path) else dicom.geometry(path).frames


def slice_ids(file_id: str, slices: int) -> list[tuple[str, int | None]]:
    """Id and position of each picture of a file: the file's own id and None when there is only one."""
    if slices == 1:
        return [(file_id, None)]
    digits = max(3, len(str(slices - 1)))
    return [(f"{file_id}_s{position:0{digits}d}", position) for position in range(slices)]


def volume_spacing(path: Path) -> tuple[float, float] | None:
    """Millimetres per pixel (row, column) of the pictures in a file, or None when its header has none.

    For ultrasound DICOM files it is the spacing of the scan regions when they all agree.

    Raises:
        InputError: as `volume_slices`.
    """
    return nifti.geometry(path).spacing if is_nifti(path) else dicom.geometry(path).spacing
