"""DICOM segmentations of uploads, made in memory."""

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from delineate.data.volumes import is_dicom
from delineate.web.answers import Opened
from delineate.web.hosted import Hosted

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class About:
    """What is known about a mask, besides its pixels."""

    corrected: bool
    """Whether a person may have changed it."""
    author: str | None


@dataclass(frozen=True)
class Made:
    """A file to send."""

    name: str
    content: bytes
    media_type: str


def make_segmentation(opened: Opened, mask_png: bytes, model: Hosted, about: About) -> Made:
    """Make a DICOM segmentation of an upload.

    Args:
        opened: the upload; DICOM, or any other picture, which is then wrapped as Secondary Capture.
        mask_png: class indices of the image's size.
        model: whose classes they are.
        about: who made the mask.

    Returns:
        The segmentation, or a zip of the wrapped picture and its segmentation.

    Raises:
        InputError: the mask does not fit, or the source cannot be referred to.
    """
    from delineate.inference.writers.dicom_seg import segmentation_of
    from delineate.inference.writers.secondary_capture import secondary_capture
    from delineate.web.store.correction import read_index_mask

    info, path = model.predictor.info, opened.case.image
    mask = read_index_mask(mask_png, len(info.classes), opened.picture.size)
    wrapped = None
    if not is_dicom(path):
        wrapped = secondary_capture(opened.image, name="Picture", spacing=opened.case.spacing)
    made = segmentation_of(
        path if wrapped is None else wrapped,
        mask[None],
        info,
        model.identity,
        frames=[0 if wrapped is not None else opened.case.slice or 0],
        algorithm="SEMIAUTOMATIC" if about.corrected else "AUTOMATIC",
        author=about.author if about.corrected else None,
    )
    if wrapped is None:
        return Made("segmentation.dcm", _bytes(made), "application/dicom")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in (("image.dcm", wrapped), ("segmentation.dcm", made)):
            # A fixed time, so that the same mask gives the same file.
            archive.writestr(zipfile.ZipInfo(name), _bytes(part), zipfile.ZIP_DEFLATED)
    return Made("segmentation.zip", stream.getvalue(), "application/zip")


def _bytes(dataset: "Dataset") -> bytes:
    import pydicom

    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
