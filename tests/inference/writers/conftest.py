"""Predictions to be written, without a network."""

import numpy as np
import pytest

from delineate.data.case import Case
from delineate.inference.results import ImagePrediction
from delineate.inference.writers import Output
from delineate.models.checkpoint import ModelInfo


def make_info(*classes, labels=()):
    return ModelInfo(
        model="unet",
        encoder=None,
        options={},
        classes=classes or ("lesion",),
        labels=labels,
        size=(32, 32),
        normalisation="unit",
        threshold=0.5,
        recipe="tiny.test",
        recipe_sha256="0" * 64,
        weights_sha256="1" * 64,
        delineate="0",
    )


def make_output(mask, case=None, classes=("lesion",), probability=None, label=None, uncertainty=None):
    """An output whose probabilities agree with its mask: 0.75 for the class found."""
    if probability is None and mask is not None and len(classes) == 1:
        probability = np.where(mask, 0.75, 0.25).astype(np.float32)
    elif probability is None and mask is not None:
        one_hot = np.arange(len(classes) + 1)[:, None, None] == mask
        probability = np.where(one_hot, 0.75, 0.25 / len(classes)).astype(np.float32)
    from pathlib import Path

    case = case or Case("x", Path("x.png"))
    shape = (2, 2) if mask is None else mask.shape
    return Output(
        id=case.id,
        case=case,
        image=np.full((*shape, 3), 90, np.uint8),
        prediction=ImagePrediction(mask, probability, label, uncertainty),
        info=make_info(*classes, labels=tuple(label or ())),
        identity="tiny.test 111111111111 torch",
    )


@pytest.fixture
def info():
    return make_info


@pytest.fixture
def output():
    return make_output


class Sources:
    """DICOM images as devices make them, small; each call returns the path of a file."""

    def __init__(self, folder):
        self.folder = folder

    def _save(self, name, sop_class, pixels, frames=1, **fields):
        from pydicom import dcmwrite, uid
        from pydicom.dataset import Dataset, FileMetaDataset

        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        made.SOPClassUID, made.SOPInstanceUID = sop_class, uid.generate_uid(entropy_srcs=[name])
        made.StudyInstanceUID = uid.generate_uid(entropy_srcs=["study"])
        made.SeriesInstanceUID = uid.generate_uid(entropy_srcs=["series", name[:2]])
        made.SpecificCharacterSet = "ISO_IR 100"
        made.PatientName, made.PatientID, made.PatientSex = "Müller^Anna", "P-17", "F"
        made.PatientBirthDate, made.AccessionNumber, made.StudyID = "19600102", "A1", "S1"
        made.StudyDate, made.StudyTime, made.ReferringPhysicianName = "20240305", "101112", ""
        made.ContentDate, made.ContentTime = "20240305", "101500"
        made.SeriesNumber, made.InstanceNumber, made.Manufacturer = 3, 7, "ACME"
        colour = pixels.shape[-1] == 3
        made.Rows, made.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
        made.SamplesPerPixel = 3 if colour else 1
        made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        if colour:
            made.PlanarConfiguration = 0
        made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
        made.HighBit = made.BitsStored - 1
        made.PixelRepresentation = int(pixels.dtype.kind == "i")
        if frames > 1:
            made.NumberOfFrames = frames
        for keyword, value in fields.items():
            setattr(made, keyword, value)
        made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
        path = self.folder / f"{name}.dcm"
        dcmwrite(path, made, enforce_file_format=True)
        return path

    def ct(self, name="ct1", height=100.0, **fields):
        """One slice of a series, tilted, with anisotropic pixels."""
        from pydicom import uid

        pixels = np.random.default_rng(0).integers(-1000, 900, (11, 13)).astype(np.int16)
        fields = {
            "Modality": "CT",
            "FrameOfReferenceUID": uid.generate_uid(entropy_srcs=["frame of reference"]),
            "PositionReferenceIndicator": "",
            "ImagePositionPatient": [-120.5, -88.25, height],
            "ImageOrientationPatient": [1, 0, 0, 0, 0.8, -0.6],
            "PixelSpacing": [0.7, 0.9],
            "SliceThickness": 2.5,
            "RescaleSlope": 1,
            "RescaleIntercept": 0,
            "PatientPosition": "HFS",
        } | fields
        return self._save(name, uid.CTImageStorage, pixels, **fields)

    def ultrasound(self, frames=4, colour=True):
        """A loop without a place in the patient, calibrated by a region."""
        from pydicom import uid
        from pydicom.dataset import Dataset

        region = Dataset()
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
        region.PhysicalDeltaX = region.PhysicalDeltaY = 0.02
        shape = (frames, 12, 10, 3) if colour else (frames, 12, 10)
        pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        return self._save(
            "us1",
            uid.UltrasoundMultiFrameImageStorage,
            pixels,
            frames,
            Modality="US",
            NumberOfFrames=frames,
            FrameTime=33,
            FrameIncrementPointer=0x00181063,
            SequenceOfUltrasoundRegions=[region],
        )

    def photograph(self, name="vl1", sop_class="1.2.840.10008.5.1.4.1.1.77.1.4", **fields):
        """A dermoscopic picture: VL Photographic Image Storage unless another class is given."""
        pixels = np.random.default_rng(2).integers(0, 256, (9, 14, 3), dtype=np.uint8)
        fields = {"Modality": "XC", "LossyImageCompression": "01", "LossyImageCompressionRatio": 9} | fields
        return self._save(name, sop_class, pixels, **fields)

    def enhanced_ct(self, frames=3, **fields):
        """A multi-frame image whose frames lie in the patient."""
        from pydicom import uid
        from pydicom.dataset import Dataset

        def item(group, **values):
            inner, outer = Dataset(), Dataset()
            for keyword, value in values.items():
                setattr(inner, keyword, value)
            setattr(outer, group, [inner])
            return outer

        shared = item("PixelMeasuresSequence", PixelSpacing=[0.5, 0.5], SliceThickness=3)
        shared.update(item("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0]))
        per_frame = [
            item("PlanePositionSequence", ImagePositionPatient=[0, 0, 3.0 * (frames - k)])
            for k in range(frames)
        ]
        pixels = np.random.default_rng(3).integers(0, 900, (frames, 8, 6)).astype(np.uint16)
        return self._save(
            "en1",
            uid.EnhancedCTImageStorage,
            pixels,
            frames,
            **{
                "Modality": "CT",
                "FrameOfReferenceUID": uid.generate_uid(entropy_srcs=["enhanced"]),
                "PositionReferenceIndicator": "",
                "SharedFunctionalGroupsSequence": [shared],
                "PerFrameFunctionalGroupsSequence": per_frame,
            }
            | fields,
        )


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "sources"
    folder.mkdir()
    return Sources(folder)
