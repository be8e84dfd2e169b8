"""NIfTI masks lie in the grid of their volume: whatever its orientation, the way there and back is exact."""

import nibabel
import numpy as np
import pytest

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import image_size, read_mask
from delineate.data.volumes import volume_slices, volume_spacing
from delineate.inference.writers import WRITERS


def turned(degrees, zooms, flips=(1, 1, 1), order=(0, 1, 2)):
    """An affine: zooms, axes permuted and flipped, then turned about all three axes."""
    a = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = (x @ z @ np.diag(flips))[:, list(order)] @ np.diag(zooms)
    affine[:3, 3] = [-20.5, 7, 100]
    return affine


AFFINES = {
    "plain": np.eye(4),
    "LPS": turned(0, (0.7, 0.8, 5), (-1, -1, 1)),
    "oblique": turned(17, (0.7, 1.9, 5), (-1, 1, -1)),
    "permuted": turned(11, (0.7, 1.9, 5), (1, -1, -1), (2, 0, 1)),
}


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_volume_keeps_its_grid_and_reads_back(info, output, tmp_path, name, kind):
    rng = np.random.default_rng(1)
    source = kind(rng.integers(-1000, 1000, (7, 5, 4)).astype(np.int16), AFFINES[name])
    source.header.set_xyzt_units("mm", "sec")
    source.set_qform(AFFINES[name], 1)
    source.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe^Jane"))
    path = tmp_path / "scan.nii.gz"
    nibabel.save(source, path)

    writer = WRITERS["nifti"].make(tmp_path, info("lesion", "node"))
    masks = []
    for position in range(volume_slices(path)):
        case = Case(f"scan_s{position:03d}", path, slice=position)
        masks.append(rng.integers(0, 3, image_size(path)).astype(np.uint8))
        writer.add(output(masks[-1], case=case, classes=("lesion", "node")))
    writer.end_of_file()

    written = nibabel.load(tmp_path / "nifti" / "scan.nii.gz")
    source = nibabel.load(path)
    assert written.shape == source.shape
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-6)
    assert nibabel.aff2axcodes(written.affine) == nibabel.aff2axcodes(source.affine)
    for field in ("qform_code", "sform_code", "xyzt_units"):
        assert written.header[field] == source.header[field], field
    assert type(written) is type(source)
    assert written.get_data_dtype() == np.uint8
    assert b"Doe" not in (tmp_path / "nifti" / "scan.nii.gz").read_bytes()
    assert not written.header.extensions
    encoding = MaskEncoding(("lesion", "node"), (1, 2))
    for position, mask in enumerate(masks):
        np.testing.assert_array_equal(
            read_mask(tmp_path / "nifti" / "scan.nii.gz", encoding, slice=position), mask
        )


def test_by_hand_a_corner_voxel_lands_at_its_place_in_the_body(info, output, tmp_path):
    """LPS order: the picture's upper left pixel is the patient's right front, voxel (0, 0)."""
    path = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 2, 2), np.int16), np.diag([-1.0, -1, 1, 1])), path)
    writer = WRITERS["nifti"].make(tmp_path, info("lesion"))
    for position in (0, 1):
        mask = np.zeros((2, 3), np.uint8)
        mask[0, 0] = position
        writer.add(output(mask, case=Case(f"scan_s{position:03d}", path, slice=position)))
    writer.end_of_file()
    voxels = np.asarray(nibabel.load(tmp_path / "nifti" / "scan.nii.gz").dataobj)
    assert np.argwhere(voxels).tolist() == [[0, 0, 1]]


def test_a_picture_with_and_without_spacing(info, output, tmp_path):
    mask = np.zeros((4, 6), np.uint8)
    mask[1, 4] = 1
    for spacing, unit in (((0.5, 0.25), "mm"), (None, "unknown")):
        writer = WRITERS["nifti"].make(tmp_path, info("lesion"))
        writer.add(output(mask, case=Case("x", tmp_path / "x.png", spacing=spacing)))
        writer.end_of_file()
        path = tmp_path / "nifti" / "x.nii.gz"
        written = nibabel.load(path)
        assert written.shape == (6, 4, 1)
        assert np.argwhere(np.asarray(written.dataobj)).tolist() == [[4, 1, 0]]
        assert written.header.get_xyzt_units()[0] == unit
        np.testing.assert_array_equal(read_mask(path, MaskEncoding()), mask)
        if spacing is not None:
            assert volume_spacing(path) == spacing


def test_the_same_masks_are_the_same_bytes(info, output, tmp_path):
    contents = []
    for folder in ("a", "b"):
        writer = WRITERS["nifti"].make(tmp_path / folder, info("lesion"))
        writer.add(output(np.eye(5, dtype=np.uint8)))
        writer.end_of_file()
        contents.append((tmp_path / folder / "nifti" / "x.nii.gz").read_bytes())
    assert contents[0] == contents[1]


def test_a_file_that_broke_off_leaves_nothing(info, output, tmp_path):
    writer = WRITERS["nifti"].make(tmp_path, info("lesion"))
    writer.add(output(np.eye(5, dtype=np.uint8)))
    writer.forget()
    writer.end_of_file()
    writer.finish()
    assert not (tmp_path / "nifti").exists()


def test_pages_of_two_sizes_are_no_volume(info, output, tmp_path):
    writer = WRITERS["nifti"].make(tmp_path, info("lesion"))
    pages = [
        output(np.zeros((size, size), np.uint8), Case(f"x_s{k:03d}", tmp_path / "x.tif", slice=k))
        for k, size in enumerate((4, 5))
    ]
    writer.add(pages[0])
    with pytest.raises(InputError, match="differ in size, so they cannot be one volume"):
        writer.add(pages[1])
    other = output(np.zeros((4, 4), np.uint8), Case("y", tmp_path / "y.png"))
    with pytest.raises(InputError, match="'x' was not closed before 'y'"):
        writer.add(other)
