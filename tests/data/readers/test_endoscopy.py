"""Readers of polyp data sets: ids, sequences, other copies of the layouts, and damage."""

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from layouts import cvc_300_tv as clips_layout
from layouts import cvc_612_t as clips_612_layout
from layouts import cvc_clinicdb as clinicdb_layout
from layouts import cvc_colondb_original as colondb_layout
from layouts import etis_larib as etis_layout
from layouts import kvasir_seg as kvasir_layout
from layouts import pranet as pranet_layout
from tiny_data import disc, picture, save

from delineate.checks import InputError
from delineate.data.images import read_case_mask
from delineate.data.readers import (
    cvc_300,
    cvc_300_tv,
    cvc_612_t,
    cvc_612_v,
    cvc_clinicdb,
    cvc_colondb,
    etis_larib,
    kvasir_seg,
    pranet,
)
from delineate.data.readers.about import count_faults

# Frames per sequence, counted from the table in the publisher's README.txt.
SEQUENCES = [
    *(25, 25, 17, 11, 25, 23, 25, 26, 22, 6, 22, 25, 25, 20, 20),
    *(25, 21, 20, 25, 20, 19, 19, 12, 25, 25, 18, 25, 20, 21),
]


def empty_files(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def ids(cases):
    return [case.id for case in cases]


def relative(cases, root):
    return [case.mask.relative_to(root).as_posix() for case in cases]


def test_clinicdb_has_29_sequences_of_the_published_lengths(tmp_path):
    for name in ("Original", "Ground Truth"):
        empty_files(tmp_path / name, [f"{frame}.tif" for frame in range(1, 613)])
    cases = cvc_clinicdb.index(tmp_path)
    assert count_faults(cvc_clinicdb.ABOUT, cases) == []
    counts = Counter(case.group for case in cases)
    assert [counts[f"sequence-{number:02}"] for number in range(1, 30)] == SEQUENCES
    assert {case.id: case.group for case in cases}["318"] == "sequence-16"


def test_clips_of_cvc_612_are_sequences_of_clinicdb_and_fill_it(tmp_path):
    """Clip k is sequence k + 1; the three parts of PNS-Net have the counts that the table gives them."""
    val, test = (2, 3, 4, 11, 15, 17), (0, 6, 7, 16, 24)
    train = [clip for clip in range(29) if clip not in val + test]
    sizes = [sum(SEQUENCES[clip] for clip in part) for part in (train, val, test)]
    assert sizes == list(cvc_612_t.ABOUT.counts.values()) == [367, 123, 122]
    assert cvc_612_v.ABOUT.counts == {"train": 367, "test": 123}
    frames = np.cumsum(SEQUENCES)
    top = tmp_path / "VPS-TestSet" / "CVC-ClinicDB-612-Valid"
    for clip in val:
        names = [str(frame) for frame in range(frames[clip] - SEQUENCES[clip] + 1, frames[clip] + 1)]
        empty_files(top / "Frame" / str(clip), [f"{name}.jpg" for name in names])
        empty_files(top / "GT" / str(clip), [f"{name}.png" for name in names])
    cases = cvc_612_v.index(tmp_path)
    assert count_faults(cvc_612_v.ABOUT, cases) == []
    for case in cases:
        clip, _, frame = case.id.partition("_")
        assert case.group == f"clip-{clip}"
        assert cvc_clinicdb.sequence_of(int(frame)) == int(clip) + 1


def test_the_validation_clips_are_val_for_612_t_and_test_for_612_v(tmp_path):
    clips_612_layout.build(tmp_path)
    for reader, split in ((cvc_612_t, "val"), (cvc_612_v, "test")):
        assert [case.split for case in reader.index(tmp_path) if case.id == "2_51"] == [split]
    assert {case.split for case in cvc_612_v.index(tmp_path)} == {"train", "test"}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("Original", "Ground Truth"), "Ground Truth/26.png"),
        (("PNG/Original", "PNG/Ground Truth"), "PNG/Ground Truth/26.png"),
        (("CVC-ClinicDB/Original", "CVC-ClinicDB/GroundTruth"), "CVC-ClinicDB/GroundTruth/26.png"),
    ],
)
def test_copies_of_clinicdb(tmp_path, folders, expected):
    for folder in folders:
        empty_files(tmp_path / folder, ["26.png"])
    (case,) = cvc_clinicdb.index(tmp_path)
    assert relative([case], tmp_path) == [expected]
    assert case.group == "sequence-02"


def test_clinicdb_prefers_the_publishers_tiff_files(tmp_path):
    for kind in ("PNG", "TIF"):
        for folder in ("Original", "Ground Truth"):
            empty_files(tmp_path / kind / folder, [f"7.{kind.lower()}"])
    assert relative(cvc_clinicdb.index(tmp_path), tmp_path) == ["TIF/Ground Truth/7.tif"]


@pytest.mark.parametrize("name", ["0", "613", "frame7", "7a"])
def test_a_file_that_is_no_frame_of_clinicdb_is_refused(tmp_path, name):
    clinicdb_layout.build(tmp_path)
    for folder in ("Original", "Ground Truth"):
        (tmp_path / "CVC-ClinicDB" / folder / f"{name}.tif").touch()
    with pytest.raises(InputError, match=f"{name!r} is not a frame of CVC-ClinicDB, .* numbered 1 to 612"):
        cvc_clinicdb.index(tmp_path)


def test_clinicdb_without_its_masks(tmp_path):
    clinicdb_layout.build(tmp_path)
    shutil.rmtree(tmp_path / "CVC-ClinicDB" / "Ground Truth")
    with pytest.raises(InputError, match="expected the folder Ground Truth beside Original, found Original"):
        cvc_clinicdb.index(tmp_path)


def test_the_folder_of_kvasir_seg_itself_may_be_the_root(tmp_path):
    kvasir_layout.build(tmp_path)
    assert kvasir_seg.index(tmp_path) == kvasir_seg.index(tmp_path / "Kvasir-SEG")


def test_lossy_masks_of_kvasir_seg_are_cut_at_half(tmp_path):
    kvasir_layout.build(tmp_path)
    for case in kvasir_seg.index(tmp_path):
        drawn = disc(kvasir_layout.IDS.index(case.id)) > 0
        assert (read_case_mask(case) == drawn).mean() > 0.99


def test_pranet_bundle_with_other_folder_names(tmp_path):
    pranet_layout.build(tmp_path)
    before = pranet.index(tmp_path)
    (tmp_path / "TrainDataset" / "image").rename(tmp_path / "TrainDataset" / "images")  # beside mask/
    (tmp_path / "TestDataset").rename(tmp_path / "inner")
    (tmp_path / "TestDataset").mkdir()
    (tmp_path / "inner").rename(tmp_path / "TestDataset" / "TestDataset")
    after = pranet.index(tmp_path)
    assert [replace(case, image=None, mask=None) for case in after] == [
        replace(case, image=None, mask=None) for case in before
    ]


def test_pranet_bundle_has_1450_and_798(tmp_path):
    kvasir = [f"cju{number:04}.png" for number in range(1000)]
    clinicdb = [f"{number}.png" for number in range(1, 613)]
    parts = {
        "TrainDataset/{}": kvasir[:900] + clinicdb[:550],
        "TestDataset/Kvasir/{}s": kvasir[900:],
        "TestDataset/CVC-ClinicDB/{}s": clinicdb[550:],
        "TestDataset/CVC-300/{}s": [f"{number}.png" for number in range(149, 209)],
        "TestDataset/CVC-ColonDB/{}s": [f"{number}.png" for number in range(1, 381)],
        "TestDataset/ETIS-LaribPolypDB/{}s": [f"{number}.png" for number in range(1, 197)],
    }
    for folder, names in parts.items():
        for kind in ("image", "mask"):
            empty_files(tmp_path / folder.format(kind), names)
    cases = pranet.index(tmp_path)
    assert count_faults(pranet.ABOUT, cases) == []
    tests = Counter(case.id.partition("_")[0] for case in cases if case.split == "test")
    assert tests == pranet.TEST_SETS
    train = Counter(case.id.partition("_")[0] for case in cases if case.split == "train")
    assert train == {"Kvasir": 900, "CVC-ClinicDB": 550}
    assert all((case.group is not None) == case.id.startswith("CVC-ClinicDB_") for case in cases)


def test_a_test_set_missing_from_the_bundle_is_named(tmp_path):
    pranet_layout.build(tmp_path)
    shutil.rmtree(tmp_path / "TestDataset" / "CVC-300")
    with pytest.raises(InputError, match="expected the folder TestDataset/CVC-300/images"):
        pranet.index(tmp_path)
    assert len(pranet.index_test(tmp_path, "CVC-ColonDB")) == 2  # the others can be had alone


def test_one_test_set_of_the_bundle(tmp_path):
    pranet_layout.build(tmp_path)
    chosen = [case for name in pranet.TEST_SETS for case in pranet.index_test(tmp_path, name)]
    assert sorted(ids(chosen)) == [case.id for case in pranet.index(tmp_path) if case.split == "test"]
    with pytest.raises(InputError, match="Unknown test set 'CVC-30'. Did you mean 'CVC-300'"):
        pranet.index_test(tmp_path, "CVC-30")


@pytest.mark.parametrize(
    ("reader", "name"),
    [(cvc_300, "CVC-300"), (cvc_colondb, "CVC-ColonDB"), (etis_larib, "ETIS-LaribPolypDB")],
)
def test_external_sets_are_read_from_the_bundle(tmp_path, reader, name):
    """The same files as the bundle's test set, at each of the roots."""
    pranet_layout.build(tmp_path)
    bundled = pranet.index_test(tmp_path, name)
    for root in (tmp_path, tmp_path / "TestDataset", tmp_path / "TestDataset" / name):
        cases = reader.index(root)
        assert [case.image for case in cases] == [case.image for case in bundled]
        assert [f"{name}_{case.id}" for case in cases] == ids(bundled)
        assert {case.split for case in cases} == {"test"}


def test_etis_without_its_masks_or_with_one_too_many(tmp_path):
    etis_layout.build(tmp_path)
    top = tmp_path / "ETIS-LaribPolypDB"
    assert etis_larib.index(top) == etis_larib.index(tmp_path)
    save(disc(3), top / "Ground Truth" / "p77.tif")
    with pytest.raises(InputError, match="1 of 4 masks of ETIS-LaribPolypDB have no image, '77'"):
        etis_larib.index(tmp_path)
    shutil.rmtree(top / "Ground Truth")
    with pytest.raises(InputError, match="expected the folder Ground Truth beside ETIS-LaribPolypDB"):
        etis_larib.index(tmp_path)


def test_original_colondb(tmp_path):
    colondb_layout.build(tmp_path)
    cases = cvc_colondb.index_original(tmp_path)
    assert cases == cvc_colondb.index_original(tmp_path / "CVC-ColonDB" / "CVC-ColonDB")
    assert relative(cases, tmp_path)[0] == "CVC-ColonDB/CVC-ColonDB/p1.bmp"  # not s1, c1 or cp1
    save(picture(1), tmp_path / "CVC-ColonDB" / "CVC-ColonDB" / "301.bmp")
    save(disc(1), tmp_path / "CVC-ColonDB" / "CVC-ColonDB" / "p301.bmp")
    with pytest.raises(InputError, match="'301' is not a frame of CVC-ColonDB .* numbered 1 to 300"):
        cvc_colondb.index_original(tmp_path)


def test_the_two_editions_of_colondb_are_not_mistaken_for_each_other(tmp_path):
    colondb_layout.build(tmp_path / "original")
    with pytest.raises(InputError, match="original is not CVC-ColonDB: expected the folder TestDataset/"):
        cvc_colondb.index(tmp_path / "original")
    pranet_layout.build(tmp_path / "bundle")
    with pytest.raises(InputError, match=r"bundle is not CVC-ColonDB \(original\): expected"):
        cvc_colondb.index_original(tmp_path / "bundle")


def test_clips_that_lack_frames_or_masks(tmp_path):
    clips_layout.build(tmp_path)
    top = tmp_path / "MICCAI-VPS-dataset"
    assert cvc_300_tv.index(top) == cvc_300_tv.index(tmp_path)
    (top / "VPS-TestSet" / "CVC-ColonDB-300" / "Frame" / "3" / "78.jpg").unlink()
    with pytest.raises(InputError, match="1 of 2 masks of CVC-300-TV have no image, '78'"):
        cvc_300_tv.index(tmp_path)
    shutil.rmtree(top / "VPS-TestSet" / "CVC-ColonDB-300" / "Frame" / "3")
    with pytest.raises(InputError, match="clip '3' of CVC-300-TV lacks the folder Frame/3"):
        cvc_300_tv.index(tmp_path)
    shutil.rmtree(top / "VPS-TestSet")
    shutil.rmtree(top / "VPS-TrainSet" / "CVC-ColonDB-300" / "Train" / "10" / "GT")
    with pytest.raises(InputError, match="clip '10' of CVC-300-TV lacks the folder 10/GT"):
        cvc_300_tv.index(tmp_path)


def test_a_clip_in_two_parts_is_refused(tmp_path):
    clips_612_layout.build(tmp_path)
    top = tmp_path / "MICCAI-VPS-dataset" / "VPS-TestSet"
    for kind in ("Frame", "GT"):
        shutil.copytree(
            top / "CVC-ClinicDB-612-Test" / kind / "0", top / "CVC-ClinicDB-612-Valid" / kind / "0"
        )
    with pytest.raises(InputError, match="are both frame '0_1' of CVC-612-T"):
        cvc_612_t.index(tmp_path)


def test_a_part_without_clips_is_refused(tmp_path):
    (tmp_path / "VPS-TestSet" / "CVC-ColonDB-300" / "Frame").mkdir(parents=True)
    with pytest.raises(InputError, match="CVC-ColonDB-300 holds no clips of CVC-300-TV; unpack"):
        cvc_300_tv.index(tmp_path)
