"""Frames of DICOM images: grey values, windows, colour spaces, spacing, compression, damage."""

import io

import numpy as np
import pytest
from PIL import Image
from tiny_data import picture

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import case_image_size, read_case_image, read_image, read_mask
from delineate.data.readers.folder import index
from delineate.data.volumes import volume_slices, volume_spacing

pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom")
from pydicom import encaps, pixels, uid  # noqa: E402
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402

GREY = np.random.default_rng(0).integers(0, 4096, (6, 5)).astype(np.uint16)
STORED = uid.ExplicitVRLittleEndian


def dataset(values, photometric, bits=None, frames=None, **fields):
    """A data set with uncompressed pixels; `values` is ([frames,] H, W[, 3])."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = STORED
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = uid.generate_uid()
    shape = values.shape if frames is None else values.shape[1:]
    made.Rows, made.Columns = shape[:2]
    made.SamplesPerPixel = 3 if len(shape) == 3 else 1
    if made.SamplesPerPixel == 3:
        made.PlanarConfiguration = 0
    if frames is not None:
        made.NumberOfFrames = frames
    made.PhotometricInterpretation = photometric
    made.BitsAllocated = 8 * values.itemsize
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(values.dtype.kind == "i")
    raw = values.tobytes()
    made.PixelData = raw + b"\0" * (len(raw) % 2)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def save(made, path):
    pydicom.dcmwrite(path, made, enforce_file_format=True)
    return path


def stretched(values, low, high):
    return np.rint(np.clip((values.astype(float) - low) * 255 / (high - low), 0, 255))


def test_grey_with_the_window_of_the_case_and_without_one(tmp_path):
    path = save(dataset(GREY, "MONOCHROME2", 12), tmp_path / "x.dcm")
    case = Case("x", path, window=(100, 3000))
    image = read_case_image(case)
    assert image.shape == (*case_image_size(case), 3) == (6, 5, 3)
    np.testing.assert_array_equal(image[..., 1], stretched(GREY, 100, 3000))
    np.testing.assert_array_equal(read_image(path)[..., 0], stretched(GREY, GREY.min(), GREY.max()))
    np.testing.assert_array_equal(read_image(path, data=path.read_bytes()), read_image(path))


def test_rescaling_comes_before_the_window(tmp_path):
    made = dataset(GREY, "MONOCHROME2", 12, RescaleSlope="2", RescaleIntercept="-1024")
    path = save(made, tmp_path / "ct.dcm")
    hounsfield = GREY * 2.0 - 1024
    np.testing.assert_array_equal(
        read_image(path, window=(-1250, 250))[..., 0], stretched(hounsfield, -1250, 250)
    )
    ends = hounsfield.min(), hounsfield.max()
    np.testing.assert_array_equal(read_image(path)[..., 0], stretched(hounsfield, *ends))


def test_signed_values(tmp_path):
    signed = (GREY.astype(np.int16) - 2000).astype(np.int16)
    path = save(dataset(signed, "MONOCHROME2"), tmp_path / "x.dcm")
    np.testing.assert_array_equal(read_image(path, window=(-2000, 0))[..., 0], stretched(signed, -2000, 0))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_first_window_of_the_file(tmp_path, function):
    made = dataset(GREY, "MONOCHROME2", 12, WindowCenter=["2000", "1"], WindowWidth=["1500", "1"])
    made.VOILUTFunction = function
    image = read_image(save(made, tmp_path / "x.dcm"))[..., 0]
    oracle = pixels.apply_windowing(GREY, made, index=0)  # to 0..4095 instead of 0..255
    np.testing.assert_allclose(image, oracle * (255 / 4095), atol=0.501)
    assert len(np.unique(image)) > 10


def test_a_voi_table_goes_before_a_window(tmp_path):
    made = dataset(GREY, "MONOCHROME2", 12, WindowCenter="1", WindowWidth="2")
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (np.arange(4096, dtype=np.uint16)[::-1] * 16).tobytes()
    table["LUTData"].VR = "OW"
    made.VOILUTSequence = [table]
    image = read_image(save(made, tmp_path / "x.dcm"))[..., 0]
    np.testing.assert_array_equal(image, np.rint((4095 - GREY.astype(float)) * 16 * 255 / 65535))


def test_monochrome1_is_shown_inverted(tmp_path):
    path = save(dataset(GREY, "MONOCHROME1", 12), tmp_path / "x.dcm")
    image = read_image(path, window=(0, 4095))[..., 0]
    np.testing.assert_array_equal(image, 255 - stretched(GREY, 0, 4095))


def test_eight_bits_stay_as_they_are_and_fewer_are_spread(tmp_path):
    grey = picture(1)[..., 0] // 2
    np.testing.assert_array_equal(
        read_image(save(dataset(grey, "MONOCHROME2"), tmp_path / "8.dcm"))[..., 0], grey
    )
    six = grey // 4
    path = save(dataset(six, "MONOCHROME2", 6), tmp_path / "6.dcm")
    np.testing.assert_array_equal(read_image(path)[..., 0], stretched(six, 0, 63))


def test_padding_does_not_count_towards_the_window(tmp_path):
    values = GREY.astype(np.int16)
    values[0] = -2000
    made = dataset(values, "MONOCHROME2", PixelPaddingValue=-2000)
    made["PixelPaddingValue"].VR = "SS"
    image = read_image(save(made, tmp_path / "x.dcm"))[..., 0]
    np.testing.assert_array_equal(image[1:], stretched(GREY[1:], GREY[1:].min(), GREY[1:].max()))


def test_frames_share_one_window(tmp_path):
    frames = np.stack([GREY, GREY // 2, GREY // 4])
    path = save(dataset(frames, "MONOCHROME2", 12, frames=3), tmp_path / "x.dcm")
    assert volume_slices(path) == 3
    for k in range(3):
        expected = stretched(frames[k], frames.min(), frames.max())
        np.testing.assert_array_equal(read_image(path, slice=k)[..., 0], expected)
    with pytest.raises(InputError, match=r"x.dcm has 3 frames, numbered from 0, so there is no frame 3"):
        read_image(path, slice=3)
    with pytest.raises(InputError, match=r"x.dcm holds 3 frames; make a case of each"):
        read_image(path)


def test_values_of_each_frame_of_enhanced_images(tmp_path):
    made = dataset(np.stack([GREY, GREY]), "MONOCHROME2", 12, frames=2)
    made.SharedFunctionalGroupsSequence = [Dataset()]
    measures = Dataset()
    measures.PixelSpacing = [0.4, 0.3]
    made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [measures]
    made.PerFrameFunctionalGroupsSequence = [Dataset(), Dataset()]
    for group, slope in zip(made.PerFrameFunctionalGroupsSequence, (1, 3), strict=True):
        scaling = Dataset()
        scaling.RescaleSlope, scaling.RescaleIntercept = slope, 0
        group.PixelValueTransformationSequence = [scaling]
    path = save(made, tmp_path / "x.dcm")
    assert volume_spacing(path) == (0.4, 0.3)
    for k, slope in enumerate((1, 3)):
        image = read_image(path, slice=k, window=(0, 4000))[..., 0]
        np.testing.assert_array_equal(image, stretched(GREY * float(slope), 0, 4000))


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb(tmp_path, planar):
    colour = picture(1)
    stored = colour.transpose(2, 0, 1) if planar else colour
    made = dataset(colour, "RGB", PlanarConfiguration=planar, PixelData=stored.tobytes())
    np.testing.assert_array_equal(read_image(save(made, tmp_path / "x.dcm")), colour)


def test_ybr(tmp_path):
    colour = np.asarray(Image.fromarray(picture(1, (3, 4))).resize((32, 24), Image.Resampling.BICUBIC))
    ybr = np.asarray(Image.fromarray(colour).convert("YCbCr"))
    image = read_image(save(dataset(ybr, "YBR_FULL"), tmp_path / "x.dcm"))
    assert (
        np.abs(image.astype(int) - colour).max() <= 3
    )  # Pillow rounds on the way there, pydicom on the way back
    made = dataset(ybr, "YBR_FULL_422")
    pairs = ybr.reshape(24, 16, 2, 3)
    made.PixelData = np.stack(
        [pairs[:, :, 0, 0], pairs[:, :, 1, 0], pairs[:, :, 0, 1], pairs[:, :, 0, 2]], axis=2
    ).tobytes()
    image = read_image(save(made, tmp_path / "422.dcm"))
    assert image.shape == colour.shape
    assert np.abs(image.astype(int) - colour).mean() < 6  # half of the colour columns are gone


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(tmp_path, bits):
    indices = np.random.default_rng(2).integers(0, 4, (6, 4)).astype(np.uint8)
    levels = np.array([[0, 128, 255, 7], [9, 0, 77, 255], [3, 200, 0, 90]])
    made = dataset(indices, "PALETTE COLOR")
    for name, channel in zip(("Red", "Green", "Blue"), levels, strict=True):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [4, 0, bits])
        kind = np.uint8 if bits == 8 else np.uint16
        data = (channel * (1 if bits == 8 else 257)).astype(kind).tobytes()
        setattr(made, f"{name}PaletteColorLookupTableData", data)
    image = read_image(save(made, tmp_path / "x.dcm"))
    np.testing.assert_array_equal(image, levels.T[indices])


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "RGB", "MONOCHROME2"])
def test_jpeg(tmp_path, photometric):
    colour = np.asarray(Image.fromarray(picture(1, (3, 4))).resize((32, 24), Image.Resampling.BICUBIC))
    source = Image.fromarray(colour).convert("L" if photometric == "MONOCHROME2" else "RGB")
    options = {"subsampling": 1, "quality": 95}
    if photometric == "RGB":
        options = {"keep_rgb": True, "quality": 95}
    stream = io.BytesIO()
    source.save(stream, "JPEG", **options)
    made = dataset(np.asarray(source), photometric)
    made.PixelData = encaps.encapsulate([stream.getvalue()])
    made.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    image = read_image(save(made, tmp_path / "x.dcm"))
    expected = np.asarray(Image.open(stream).convert("RGB")).astype(int)
    assert np.abs(image - expected).max() <= 2  # pydicom and libjpeg round the colour conversion differently
    assert np.abs(expected - np.asarray(source.convert("RGB"))).mean() < 4


def test_lossless_compression(tmp_path):
    made = dataset(GREY, "MONOCHROME2", 16)
    plain = read_image(save(made, tmp_path / "plain.dcm"))
    made.compress(uid.RLELossless)
    np.testing.assert_array_equal(read_image(save(made, tmp_path / "rle.dcm")), plain)
    stream = io.BytesIO()
    Image.fromarray(picture(1)).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    made = dataset(picture(1), "RGB", PixelData=encaps.encapsulate([stream.getvalue()]))
    made.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    np.testing.assert_array_equal(read_image(save(made, tmp_path / "j2k.dcm")), picture(1))


def test_compression_without_a_decoder(tmp_path):
    made = dataset(GREY, "MONOCHROME2", PixelData=encaps.encapsulate([b"\0\1\2\3"]))
    made.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    path = save(made, tmp_path / "x.dcm")
    with pytest.raises(
        InputError, match=r"x.dcm is compressed as MPEG2 .*, for which no decoder is installed"
    ):
        read_image(path)
    assert volume_slices(path) == 1  # the header is readable all the same


def region(row_cm, column_cm, units=3):
    made = Dataset()
    made.PhysicalUnitsXDirection = made.PhysicalUnitsYDirection = units
    made.PhysicalDeltaX, made.PhysicalDeltaY = column_cm, row_cm
    return made


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"PixelSpacing": [0.25, 0.5]}, (0.25, 0.5)),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
        ({"PixelSpacing": [0.25, 0.5], "ImagerPixelSpacing": [0.2, 0.1]}, (0.25, 0.5)),
        ({"PixelSpacing": [0, 0.5]}, None),
        ({"SequenceOfUltrasoundRegions": [region(0.007, 0.008)]}, (0.07, 0.08)),
        ({"SequenceOfUltrasoundRegions": [region(0.007, 0.008), region(1, 1, units=4)]}, (0.07, 0.08)),
        ({"SequenceOfUltrasoundRegions": [region(0.007, 0.008), region(0.005, 0.005)]}, None),
    ],
)
def test_spacing(tmp_path, fields, expected):
    path = save(dataset(GREY, "MONOCHROME2", **fields), tmp_path / "x.dcm")
    assert volume_spacing(path) == (None if expected is None else pytest.approx(expected))


def test_masks_are_the_stored_values(tmp_path):
    mask = (GREY > 2000).astype(np.uint8)
    path = save(dataset(mask, "MONOCHROME2", WindowCenter="50", WindowWidth="10"), tmp_path / "m.dcm")
    np.testing.assert_array_equal(read_mask(path, MaskEncoding()), mask)
    path = save(dataset(GREY, "MONOCHROME2", 12), tmp_path / "grey.dcm")
    with pytest.raises(
        InputError, match=r"grey.dcm, frame 0, holds values from .* a mask holds whole numbers"
    ):
        read_mask(path, MaskEncoding())
    path = save(dataset(picture(1), "RGB"), tmp_path / "colour.dcm")
    with pytest.raises(InputError, match=r"colour.dcm is a colour image, but a mask holds one value"):
        read_mask(path, MaskEncoding())


def test_in_a_plain_folder(tmp_path):
    (tmp_path / "images").mkdir()
    frames = np.stack([picture(k) for k in range(2)])
    save(dataset(frames, "RGB", frames=2, PixelSpacing=[0.5, 0.5]), tmp_path / "images" / "scan.dcm")
    save(dataset(picture(5), "RGB"), tmp_path / "images" / "one.DCM")
    cases = index(tmp_path)
    assert [(case.id, case.group, case.slice, case.spacing) for case in cases] == [
        ("one", None, None, None),
        ("scan_s000", "scan", 0, (0.5, 0.5)),
        ("scan_s001", "scan", 1, (0.5, 0.5)),
    ]
    for case, number in zip(cases, (5, 0, 1), strict=True):
        np.testing.assert_array_equal(read_case_image(case), picture(number))


def test_what_holds_no_picture_is_refused(tmp_path):
    made = dataset(GREY, "MONOCHROME2")
    del made.Rows
    with pytest.raises(InputError, match=r"report.dcm holds no picture"):
        volume_slices(save(made, tmp_path / "report.dcm"))
    (tmp_path / "text.dcm").write_text("no image", encoding="utf-8")
    with pytest.raises(InputError, match=r"text.dcm is damaged or not a DICOM file"):
        read_image(tmp_path / "text.dcm")
    (tmp_path / "empty.dcm").touch()
    with pytest.raises(InputError, match=r"empty.dcm is an empty file"):
        read_image(tmp_path / "empty.dcm")
    with pytest.raises(InputError, match=r"none.dcm does not exist"):
        read_image(tmp_path / "none.dcm")
    path = save(dataset(GREY, "MONOCHROME2", Rows=60000, Columns=60000), tmp_path / "bomb.dcm")
    with pytest.raises(InputError, match=r"bomb.dcm has more than 178956970 pixels"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_damaged_files_are_named(tmp_path):
    fields = {"WindowCenter": "2000", "WindowWidth": "1500", "PixelSpacing": [0.5, 0.5], "RescaleSlope": "2"}
    path = save(dataset(GREY, "MONOCHROME2", 12, RescaleIntercept="0", **fields), tmp_path / "x.dcm")
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    damaged = [content[: int(len(content) * share)] for share in np.linspace(0, 0.99, 20)]
    for _ in range(120):
        flipped = bytearray(content)
        for place in generator.integers(128, len(content) - 60, 3):
            flipped[place] = generator.integers(0, 256)
        damaged.append(bytes(flipped))
    refused = 0
    for variant in damaged:
        path.write_bytes(variant)
        for read in (volume_slices, volume_spacing, lambda p: read_image(p, slice=0)):
            try:
                read(path)
            except InputError as error:
                assert str(path) in str(error)  # noqa: PT017 - either outcome is right
                refused += 1
    assert refused > 40
