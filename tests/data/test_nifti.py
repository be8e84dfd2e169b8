"""Slices of NIfTI volumes: orientation, scaling, window, spacing, damage."""

import gzip
import itertools
import os
import threading

import numpy as np
import pytest

from delineate.checks import InputError
from delineate.data import nifti
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import case_image_size, read_case_image, read_case_mask, read_image, read_mask
from delineate.data.volumes import volume_slices, volume_spacing

nibabel = pytest.importorskip("nibabel", reason="NIfTI needs nibabel")

BODY = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 4)).astype(np.int16)
"""Indexed [to the right, to the front, to the head], as RAS+ says."""


def write(path, values=BODY, affine=None, **fields):
    image = nibabel.Nifti1Image(values, np.diag([0.5, 0.7, 5, 1]) if affine is None else affine)
    image.header.set_xyzt_units(fields.pop("units", "mm"))
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def shown(position, low=-1000, high=1000):
    """The slice as a radiologist sees it, computed voxel by voxel."""
    right, front, _ = BODY.shape
    picture = np.zeros((front, right))
    for x, y in itertools.product(range(right), range(front)):
        picture[front - 1 - y, right - 1 - x] = BODY[x, y, position]  # front on top, right side on the left
    return np.rint(np.clip((picture - low) * 255 / (high - low), 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_slices_as_radiologists_see_them(tmp_path, ending):
    path = write(tmp_path / f"v.{ending}")
    assert (volume_slices(path), volume_spacing(path)) == (4, (0.7, 0.5))
    for position in range(4):
        case = Case("x", path, slice=position, window=(-1000, 1000))
        image = read_case_image(case)
        assert image.shape == (*case_image_size(case), 3) == (6, 5, 3)
        for channel in range(3):
            np.testing.assert_array_equal(image[..., channel], shown(position))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (1, -1, 1), (-1, -1, -1)])
def test_the_way_a_volume_is_stored_does_not_matter(tmp_path, order, flips):
    """The same body, stored along other axes with the affine that says so, gives the same pictures."""
    stored = BODY.transpose(order)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    sides = (0.5, 0.7, 5.0)
    for axis, world in enumerate(order):
        affine[world, axis] = flips[axis] * sides[world]
        if flips[axis] < 0:
            stored = np.flip(stored, axis)
            affine[world, 3] = sides[world] * (BODY.shape[world] - 1)
    path = write(tmp_path / "v.nii.gz", np.ascontiguousarray(stored), affine)
    assert (volume_slices(path), volume_spacing(path)) == (4, (0.7, 0.5))
    for position in (0, 3):
        image = read_image(path, slice=position, window=(-1000, 1000))
        np.testing.assert_array_equal(image[..., 0], shown(position))


def test_windows(tmp_path):
    low, high = int(BODY.min()), int(BODY.max())
    plain = write(tmp_path / "plain.nii")
    np.testing.assert_array_equal(read_image(plain, slice=1)[..., 0], shown(1, low, high))
    own = write(tmp_path / "own.nii", cal_min=-300, cal_max=500)
    np.testing.assert_array_equal(read_image(own, slice=1)[..., 0], shown(1, -300, 500))
    given = read_image(own, slice=1, window=(0, 10))
    np.testing.assert_array_equal(given[..., 0], shown(1, 0, 10))
    assert {0, 255} <= set(given.ravel().tolist())


def test_scaling_comes_before_the_window(tmp_path):
    path = write(tmp_path / "v.nii.gz")
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[112:120] = np.array([2.0, 100.0], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(gzip.compress(bytes(content)))
    assert nibabel.load(path).get_fdata().max() == 2 * BODY.max() + 100
    image = read_image(path, slice=2, window=(-1900, 2100))  # 2 x -1000 + 100 to 2 x 1000 + 100
    np.testing.assert_array_equal(image[..., 0], shown(2))
    np.testing.assert_array_equal(
        read_image(path, slice=2)[..., 0], shown(2, int(BODY.min()), int(BODY.max()))
    )


def test_eight_bits_stay_as_they_are(tmp_path):
    values = np.random.default_rng(1).integers(20, 90, (5, 6, 2)).astype(np.uint8)
    path = write(tmp_path / "v.nii", values)
    np.testing.assert_array_equal(read_image(path, slice=1)[..., 2], values[::-1, ::-1, 1].T)


def test_masks_hold_whole_numbers(tmp_path):
    values = np.random.default_rng(1).integers(0, 3, (5, 6, 2))
    encoding = MaskEncoding(("ground glass", "consolidation"), (1, 2))
    for kind in (np.uint8, np.int16, np.float32, np.float64):
        path = write(tmp_path / f"{np.dtype(kind)}.nii.gz", values.astype(kind))
        case = Case("x", path, mask=path, slice=1, encoding=encoding)
        np.testing.assert_array_equal(read_case_mask(case), values[::-1, ::-1, 1].T)
    for wrong in (values + 0.5, values - 1, values + 254):
        path = write(tmp_path / "wrong.nii", wrong.astype(np.float32))
        with pytest.raises(
            InputError, match=r"wrong.nii, slice 0, holds values from .* whole numbers from 0 to"
        ):
            read_mask(path, encoding, slice=0)


def test_units_and_flat_and_trailing_axes(tmp_path):
    metres = write(tmp_path / "m.nii", BODY, np.diag([0.0005, 0.0007, 0.005, 1]), units="meter")
    assert volume_spacing(metres) == pytest.approx((0.7, 0.5))
    assert volume_slices(write(tmp_path / "flat.nii", BODY[..., 0])) == 1
    assert volume_slices(write(tmp_path / "4.nii", BODY[..., None])) == 4
    assert read_image(tmp_path / "flat.nii").shape == (6, 5, 3)


def test_newer_and_big_endian_headers(tmp_path):
    image = nibabel.Nifti2Image(BODY, np.eye(4))
    nibabel.save(image, tmp_path / "2.nii.gz")
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(BODY, np.eye(4), header), tmp_path / "big.nii")
    assert (tmp_path / "big.nii").read_bytes()[:4] == b"\0\0\1\x5c"
    for name in ("2.nii.gz", "big.nii"):
        image = read_image(tmp_path / name, slice=3, window=(-1000, 1000))
        np.testing.assert_array_equal(image[..., 0], shown(3))


def test_what_cannot_be_a_picture_is_refused(tmp_path):
    several = write(tmp_path / "4.nii", np.stack([BODY, BODY], 3))
    with pytest.raises(InputError, match=r"4.nii has the shape 5 x 6 x 4 x 2, but a volume has three axes"):
        read_image(several, slice=0)
    colours = np.zeros((5, 6, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match=r"rgb.nii holds RGB voxels, but a picture is made of grey values"):
        volume_slices(write(tmp_path / "rgb.nii", colours))
    values = BODY.astype(np.float32)
    values[2, 2, 1] = np.nan
    holes = write(tmp_path / "nan.nii", values)
    assert read_image(holes, slice=0).shape == (6, 5, 3)  # NaN does not spoil the window of the others
    with pytest.raises(InputError, match=r"nan.nii, slice 1, holds NaN or infinite values; replace them"):
        read_image(holes, slice=1)
    path = write(tmp_path / "v.nii")
    for position in (-1, 4):
        with pytest.raises(
            InputError, match=rf"has 4 slices, numbered from 0, so there is no slice {position}"
        ):
            read_image(path, slice=position)
    with pytest.raises(InputError, match=r"v.nii holds 4 slices; make a case of each"):
        read_image(path)


def test_damaged_files_are_named(tmp_path):
    whole = {ending: write(tmp_path / f"v.{ending}").read_bytes() for ending in ("nii", "nii.gz")}
    generator = np.random.default_rng(0)
    refused = 0
    for ending, content in whole.items():
        path = tmp_path / f"v.{ending}"
        damaged = [content[: int(len(content) * share)] for share in np.linspace(0, 0.99, 15)]
        for _ in range(40):
            flipped = bytearray(content)
            for place in generator.integers(0, min(len(content), 400), 3):
                flipped[place] = generator.integers(0, 256)
            damaged.append(bytes(flipped))
        for variant in damaged:
            path.write_bytes(variant)
            os.utime(path, ns=(refused, refused))
            for read in (volume_slices, lambda p: read_image(p, slice=0)):
                try:
                    read(path)
                except InputError as error:
                    assert str(path) in str(error)  # noqa: PT017 - either outcome is right
                    refused += 1
    assert refused > 60


def test_a_header_cannot_make_us_reserve_the_memory_it_claims(tmp_path):
    path = write(tmp_path / "v.nii.gz")
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = np.array([8000, 8000, 30000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match=r"holds fewer voxels than its header says \(8000 x 8000 x 30000\)"):
        read_image(path, slice=0)


def test_a_broken_check_sum_is_found(tmp_path):
    path = write(tmp_path / "v.nii.gz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"v.nii.gz cannot be decoded \(CRC check failed"):
        read_image(path, slice=0)


def test_a_volume_is_decompressed_once_and_again_when_it_changed(tmp_path, monkeypatch):
    path = write(tmp_path / "v.nii.gz")
    reads = []
    original = nifti._read_volume
    monkeypatch.setattr(nifti, "_read_volume", lambda p: reads.append(p) or original(p))
    barrier = threading.Barrier(4)

    def work(position):
        barrier.wait()
        read_image(path, slice=position)

    threads = [threading.Thread(target=work, args=(position,)) for position in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(reads) == 1
    write(path, BODY[::-1].copy())
    os.utime(path, ns=(1, 1))
    changed = read_image(path, slice=0, window=(-1000, 1000))[..., 0]
    np.testing.assert_array_equal(changed, shown(0)[:, ::-1])
    assert len(reads) == 2
    nifti.forget(path)
    read_image(path, slice=0)
    assert len(reads) == 3


def test_what_is_kept_in_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(nifti, "KEPT_BYTES", 2 * BODY.nbytes)
    kept = nifti._Kept()
    for name in "abcd":
        kept.get(write(tmp_path / f"{name}.nii.gz"))
    assert [key[0][-8:] for key in kept._volumes] == ["c.nii.gz", "d.nii.gz"]
    monkeypatch.setattr(nifti, "KEPT_BYTES", 1)
    kept.get(write(tmp_path / "e.nii.gz"))
    assert len(kept._volumes) == 1  # one that is larger than all that may be kept is still kept alone
