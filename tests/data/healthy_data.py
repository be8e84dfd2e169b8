"""A tiny healthy data set, and a description of how it is damaged."""

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_data import disc, picture

PICTURES = ("png", "jpg", "bmp", "tif")
VOLUMES = ("nii", "nii.gz", "dcm")


@dataclass(frozen=True)
class Variant:
    """One damaged data set: a healthy one with one file changed."""

    name: str
    file: str
    """The file that is damaged, below the root."""
    content: bytes | None = None
    """What it holds; None when `change` does more than write bytes."""
    change: Callable[[Path], None] | None = None
    """Called with the path of the file."""
    refused: bool = False
    """Whether it cannot be read by any rule, so that it must be refused and found by the gate."""

    def make(self, root: Path) -> Path:
        """Write the data set; returns the damaged file."""
        path = root / self.file
        _write(root / "images" / "fine.png", image_bytes("png"))
        _write(root / "masks" / "fine.png", mask_bytes("png"))
        ending = path.name.partition(".")[2] if path.parent != root else "png"
        image, mask = _partners(ending)
        _write(root / "images" / f"bad.{image}", image_bytes(image))
        _write(root / "masks" / f"bad.{mask}", mask_bytes(mask))
        if self.change is not None:
            self.change(path)
        elif self.content is not None:
            path.write_bytes(self.content)
        return path


def _partners(ending: str) -> tuple[str, str]:
    """Endings of the image and the mask in a data set where one has this ending."""
    if ending == "dcm":
        return "dcm", "png"
    return (ending, ending) if ending in VOLUMES else (ending, "png" if ending == "jpg" else ending)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def saved(array: np.ndarray, ending: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()), **options)
    return file.getvalue()


@cache
def image_bytes(ending: str) -> bytes:
    """A healthy image, 24 x 32, or a volume of three slices."""
    if ending in PICTURES:
        return saved(picture(1), ending)
    values = picture(2)[..., :3].astype(np.int16)
    return dicom_bytes() if ending == "dcm" else nifti_bytes(values, ending)


@cache
def mask_bytes(ending: str) -> bytes:
    """A healthy mask for `image_bytes`."""
    if ending in PICTURES:
        return saved(disc(1), ending)
    return nifti_bytes(np.stack([disc(n) for n in range(3)], axis=2), ending)


def nifti_bytes(values: np.ndarray, ending: str) -> bytes:
    nibabel = pytest.importorskip("nibabel")
    content = nibabel.Nifti1Image(values, np.diag([0.5, 0.5, 2.0, 1.0])).to_bytes()
    return gzip.compress(content, mtime=0) if ending == "nii.gz" else content


def dicom_bytes(**fields: object) -> bytes:
    """A grey CT picture; `fields` replace or, when None, remove attributes."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.SOPClassUID = pydicom.uid.CTImageStorage
    values = {
        "Rows": 24, "Columns": 32, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
        "PixelSpacing": ["0.5", "0.5"], "WindowCenter": "2000", "WindowWidth": "4000",
        "PixelData": (picture(3)[..., 0].astype("<u2") * 16).tobytes(),
    }  # fmt: skip
    for name, value in (values | fields).items():
        if value is not None:
            setattr(data, name, value)
    file = io.BytesIO()
    settings = pydicom.config.settings
    before, settings.writing_validation_mode = settings.writing_validation_mode, pydicom.config.IGNORE
    try:
        pydicom.dcmwrite(file, data, enforce_file_format=True)
    finally:
        settings.writing_validation_mode = before
    return file.getvalue()
