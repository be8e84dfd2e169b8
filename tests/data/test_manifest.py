"""Manifests of cases with several masks, of volumes, and of protocols that leave cases out."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from delineate.checks import InputError
from delineate.data import Case, apply_manifest, fingerprint, make_manifest, read_manifest, write_manifest
from delineate.data.manifest import dropped, is_written_for


@pytest.fixture
def busi_files(tmp_path) -> list[Case]:
    """Six cases with files: the first has two masks, the normal ones shall be left out."""
    found = []
    for number, label in enumerate(("benign", "benign", "malignant", "malignant", "normal", "normal")):
        image, mask = tmp_path / f"{number}.png", tmp_path / f"{number}_mask.png"
        image.write_bytes(b"image %d" % number)
        mask.write_bytes(b"mask %d" % number)
        found.append(Case(str(number), image, mask, label))
    (tmp_path / "more.png").write_bytes(b"second mask")
    found[0] = replace(found[0], more_masks=(tmp_path / "more.png",))
    return found


def kept_of(found: list[Case]) -> list[Case]:
    return [replace(case, split="train") for case in found if case.label != "normal"]


def test_a_manifest_covers_what_the_protocol_keeps(busi_files, tmp_path):
    kept = kept_of(busi_files)
    left_out = dropped(busi_files, kept)
    assert left_out == ("4", "5")
    written = make_manifest(kept, protocol="p", seed=0, dropped=left_out)
    write_manifest(written, tmp_path / "split.json")
    manifest = read_manifest(tmp_path / "split.json")
    assert manifest == written
    assert apply_manifest(busi_files, manifest) == kept
    assert apply_manifest(busi_files[:5], manifest) == kept  # what is left out need not be there
    assert is_written_for(manifest, busi_files)
    assert not is_written_for(manifest, busi_files[1:])
    stranger = replace(busi_files[0], id="new")
    assert not is_written_for(manifest, [*busi_files, stranger])
    with pytest.raises(InputError, match="1 cases of the data are not in the split manifest, 'new' for"):
        apply_manifest([*busi_files, stranger], manifest)
    with pytest.raises(InputError, match="Case '0' cannot have a split and be left out at once"):
        make_manifest(kept, protocol="p", seed=0, dropped=["0"])


def test_a_manifest_holds_every_mask_file(busi_files, tmp_path):
    manifest = make_manifest(kept_of(busi_files), protocol="p", seed=0)
    (second,) = manifest.entries[0].more_masks_sha256
    assert second == hashlib.sha256(b"second mask").hexdigest()
    first_only = [replace(busi_files[0], more_masks=()), *busi_files[1:4]]
    with pytest.raises(InputError, match="Case '0' has 1 mask files, but the split manifest has 2"):
        apply_manifest(first_only, manifest)
    assert fingerprint(make_manifest(kept_of(first_only), protocol="p", seed=0)) != fingerprint(manifest)
    (tmp_path / "more.png").write_bytes(b"another")
    with pytest.raises(InputError, match="more.png is not the file that the split manifest was written for"):
        apply_manifest(busi_files[:4], manifest)


def test_the_file_of_a_volume_is_hashed_once(tmp_path):
    volume = tmp_path / "a.nii.gz"
    volume.write_bytes(b"voxels")
    slices = [Case(f"a_s{k:03}", volume, volume, split="test", slice=k) for k in range(5)]
    asked, steps = [], []

    def digest(path: Path) -> str:
        asked.append(path)
        return "00" * 32

    manifest = make_manifest(
        slices,
        protocol="p",
        seed=None,
        digest=digest,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert asked == [volume]
    assert steps == [(k, 5) for k in range(1, 6)]
    assert [entry.id for entry in manifest.entries] == [case.id for case in slices]
    asked.clear()
    assert apply_manifest(slices, manifest, digest=digest) == slices
    assert asked == [volume]


def test_manifests_of_earlier_versions_are_read(busi_files, tmp_path):
    cases_of_one_mask = kept_of(busi_files[1:4])
    manifest = make_manifest(cases_of_one_mask, protocol="p", seed=0)
    write_manifest(manifest, tmp_path / "split.json")
    content = json.loads((tmp_path / "split.json").read_text())
    content["schema"] = 1
    del content["dropped"]
    for case in content["cases"]:
        del case["more_masks_sha256"]
    (tmp_path / "split.json").write_text(json.dumps(content))
    assert read_manifest(tmp_path / "split.json") == manifest
    content["schema"] = 3
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="has manifest schema 3, but this version reads 1 and 2"):
        read_manifest(tmp_path / "split.json")
