"""Masks as NIfTI files: of a NIfTI volume in its own grid, so that viewers lay one over the other."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError, require
from delineate.data.volumes import is_nifti
from delineate.files import atomic_path
from delineate.inference.writers.base import Output, PictureWriter, Waiting
from delineate.models.checkpoint import ModelInfo


class NiftiWriter(PictureWriter):
    """`nifti/<file id>.nii.gz`: class indices, uint8, 0 background; one file for all slices of a file."""

    def __init__(self, out: Path, info: ModelInfo) -> None:
        require("nibabel", "nifti")
        super().__init__(out, info)
        self._waiting = Waiting()

    def add(self, output: Output) -> None:
        """Keep the mask of one slice."""
        self._waiting.add(output, output.need_mask())

    def end_of_file(self) -> None:
        """Write the slices of a file."""
        waiting = self._waiting.take()
        if waiting is None:
            return
        first, positions, slices = waiting
        if is_nifti(first.case.image):
            image = in_grid_of(first.case.image, slices, positions)
        else:
            image = of_pictures(slices, first.spacing)
        image.header["descrip"] = f"delineate {first.identity}"[:79].encode("ascii", "replace")
        path = self.place("nifti", f"{first.file_id}.nii.gz")
        with atomic_path(path) as temporary:
            # Without a time or a name in the header, so that the same mask is the same file.
            temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))

    def forget(self) -> None:
        """Drop the slices of a file that broke off."""
        self._waiting = Waiting()


def in_grid_of(source: Path, slices: NDArray[np.uint8], positions: list[int]) -> Any:
    """Make a NIfTI image of class indices with the shape, affine, orientation and units of a volume.

    Args:
        source: the volume, from which the slices were read.
        slices: (n, H, W) as shown, see `delineate.data.nifti`.
        positions: which slice each is, from 0; those that are not given stay background.

    Raises:
        InputError: the volume is damaged, or the slices are not of its size.
    """
    nibabel = require("nibabel", "nifti")
    try:
        header = nibabel.load(source).header
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise InputError(f"{source} cannot be read again to write its mask; copy it again.") from error
    affine = header.get_best_affine()
    shape = tuple(int(length) for length in header.get_data_shape())
    lengths = (*shape, 1, 1)[:3]
    to_canonical = nibabel.io_orientation(affine)
    width, height, depth = (lengths[axis] for axis in np.argsort(to_canonical[:, 0]))
    if slices.shape[1:] != (height, width) or max(positions) >= depth:
        raise InputError(f"The mask {slices.shape[1:]} does not fit the slices {height, width} of {source}.")

    shown = np.zeros((depth, height, width), np.uint8)
    shown[positions] = slices
    canonical = shown.transpose(2, 1, 0)[::-1, ::-1]
    as_is = np.array([[0, 1], [1, 1], [2, 1]])
    from_canonical = nibabel.orientations.ornt_transform(as_is, to_canonical)
    voxels = nibabel.apply_orientation(canonical, from_canonical).reshape(shape)

    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    image = kind(voxels, affine, header)
    image.header.set_data_dtype(np.uint8)
    image.header.set_slope_inter(1, 0)
    image.header["cal_min"], image.header["cal_max"] = 0, 0
    image.header["aux_file"] = b""
    image.header.extensions.clear()  # they may name the patient
    return image


def of_pictures(slices: NDArray[np.uint8], spacing: tuple[float, float] | None) -> Any:
    """Make a NIfTI image of one picture, or of a stack of equal size.

    Args:
        slices: (n, H, W) class indices.
        spacing: millimetres per pixel (row, column); unknown pixels get the side 1 and no unit.

    Returns:
        An image (W, H, n): the first axis runs along a row to the right, the second down a column, as other
        tools convert pictures, and as `delineate.data.nifti` shows them the same way round again.
    """
    nibabel = require("nibabel", "nifti")
    row, column = (1.0, 1.0) if spacing is None else spacing
    # A picture's right is taken for the patient's left and its lower side for the back: -x and -y.
    affine = np.diag([-column, -row, 1.0, 1.0])
    image = nibabel.Nifti1Image(slices.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("unknown" if spacing is None else "mm")
    return image
