"""Every reader, on a small copy of the publisher's layout."""

import importlib
import pkgutil
import shutil

import layouts
import numpy as np
import pytest

from delineate.checks import InputError
from delineate.data.images import read_case_image, read_case_mask
from delineate.data.readers.about import count_faults

NAMES = sorted(module.name for module in pkgutil.iter_modules(layouts.__path__))


@pytest.fixture(params=NAMES)
def layout(request):
    return importlib.import_module(f"layouts.{request.param}")


def test_ids_splits_labels_groups_and_mask_values(layout, tmp_path):
    expected = sorted(layout.build(tmp_path))
    cases = layout.READER.index(tmp_path)
    found = []
    for case in cases:
        image = read_case_image(case)
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        indices = None
        if case.mask is not None:
            mask = read_case_mask(case)
            assert mask.shape == image.shape[:2]
            indices = frozenset(np.unique(mask).tolist())
        found.append(layouts.Expected(case.id, case.split, case.label, case.group, indices))
    assert found == expected  # which also says that the cases are sorted by id
    about = layout.READER.ABOUT
    assert {case.encoding.classes for case in cases if case.mask} == {about.classes}
    assert {case.label for case in cases} - {None} <= set(about.labels)


def test_ids_can_be_file_names(layout, tmp_path):
    layout.build(tmp_path)
    for case in layout.READER.index(tmp_path):
        assert not set(case.id) & set('/\\:*?"<>|')
        assert case.id == case.id.strip()


def test_small_copies_are_not_mistaken_for_the_whole(layout, tmp_path):
    layout.build(tmp_path)
    faults = count_faults(layout.READER.ABOUT, layout.READER.index(tmp_path))
    assert faults
    assert all(layout.READER.ABOUT.title in fault for fault in faults)


def test_a_lost_mask_is_refused_by_name(layout, tmp_path):
    layout.build(tmp_path)
    case = next(case for case in layout.READER.index(tmp_path) if case.mask is not None)
    for mask in case.masks:
        mask.unlink()
    with pytest.raises(InputError, match=layout.READER.ABOUT.title.partition(" (")[0]):
        layout.READER.index(tmp_path)


@pytest.mark.parametrize("content", ["nothing", "another set", "no folder"])
def test_another_folder_is_refused_with_what_was_expected(layout, tmp_path, content):
    root = tmp_path / "set"
    if content != "no folder":
        root.mkdir()
    if content == "another set":
        (root / "holiday").mkdir()
        (root / "holiday" / "beach.jpg").write_bytes(b"x")
    expected = "does not exist" if content == "no folder" else "expected .*, found (nothing|holiday); unpack"
    with pytest.raises(InputError, match=expected):
        layout.READER.index(root)


def test_what_is_known_about_the_set_is_complete(layout):
    about = layout.READER.ABOUT
    for text in (about.title, about.summary, about.licence, about.citation, about.layout, about.mask_values):
        assert text.strip()
    assert about.home.startswith("https://")
    assert about.modality in {"dermoscopy", "endoscopy", "ultrasound", "fundus", "CT", "OCT"}
    assert set(about.counts) <= {"train", "val", "test"} or set(about.counts) == {"all"}
    assert all(count > 0 for count in about.counts.values())
    assert about.downloads or about.steps
    for download in about.downloads:
        assert download.url.startswith("https://")
        assert download.checksum is None or download.checksum.partition(":")[0] in ("sha256", "md5")


def test_folder_of_a_part_may_be_absent(layout, tmp_path):
    """Where the publisher offers parts, each can be had alone; a layout names how to take one away."""
    if not hasattr(layout, "remove_part"):
        pytest.skip("this data set has no parts")
    layout.build(tmp_path)
    before = layout.READER.index(tmp_path)
    part = layout.remove_part(tmp_path)
    after = layout.READER.index(tmp_path)
    assert [case for case in before if case.split != part] == after
    shutil.rmtree(tmp_path)
