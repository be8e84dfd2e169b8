"""Damaged data gives a result or a sentence that names the file, never a crash and never half a file.

Every variant of `damaged_data` goes the way of a data set: it is indexed, read, cached and checked. What
cannot be read by any rule must also be refused, so a reader that accepts everything fails here.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from damaged_data import variants
from healthy_data import VOLUMES

from delineate.checks import InputError
from delineate.data import Cache, Case, check_cases, index
from delineate.data.images import read_case_image, read_case_mask
from delineate.data.splits import SPLITS

SIZE = (8, 12)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # what Pillow finds odd in damaged files
ALL = variants()


def test_there_are_enough_and_their_names_differ():
    assert len({variant.name for variant in ALL}) == len(ALL) >= 200
    assert sum(variant.refused for variant in ALL) >= 100


@pytest.mark.parametrize("variant", ALL, ids=lambda variant: variant.name)
def test_damaged(variant, tmp_path):
    root = tmp_path / "set"
    file = variant.make(root)
    before = snapshot(root)
    cache = Cache(tmp_path / "cache")
    refusals: list[str] = []
    try:
        cases = index(root)
    except InputError as error:
        refusals.append(str(error))
        cases = []
    if file.name.endswith(VOLUMES):
        cases += slices(root, file)
    for case in cases:
        refusals += judge(case, cache)
    assert variant.refused <= bool(refusals)
    for message in refusals:
        assert names(message, file), message
        assert "\n" not in message.replace(file.name, "")
    assert snapshot(root) == before
    assert_whole(tmp_path / "cache")


def judge(case: Case, cache: Cache) -> list[str]:
    """Read, cache and check one case; the refusals, after making sure that all three agree."""
    assert case.label is None or case.label.strip()
    assert case.split is None or case.split in SPLITS
    assert case.spacing is None or (np.isfinite(case.spacing).all() and min(case.spacing) > 0)
    refusals = []
    shapes = []
    for read in (read_case_image, lambda case: read_case_image(case, reduce_to=SIZE), read_case_mask):
        if read is read_case_mask and case.mask is None:
            continue
        try:
            pixels = read(case)
        except InputError as error:
            refusals.append(str(error))
            continue
        assert pixels.dtype == np.uint8
        assert min(pixels.shape) > 0
        shapes.append(pixels.shape[:2])
        if read is read_case_mask:
            assert pixels.ndim == 2
            assert pixels.max() <= len(case.encoding.classes)
        else:
            assert pixels.shape[2:] == (3,)
    if refusals:
        with pytest.raises(InputError) as caught:
            cache.prepare([case], SIZE, workers=1)
        refusals.append(str(caught.value))
    else:
        cache.prepare([case], SIZE, workers=1)
        assert cache.image(case, SIZE).shape == (*SIZE, 3)
    report = check_cases([replace(case, split="train")], workers=1)
    assert bool(refusals) <= bool(report.errors)
    if not report.ok and len(set(shapes)) == 1:
        assert refusals, report.errors
    return refusals + [finding.message for finding in report.errors]


def slices(root: Path, file: Path) -> list[Case]:
    """Cases of a volume whose header was sound when it was indexed, the last beyond its end."""
    image = root / "images" / file.name
    mask = root / "masks" / file.name
    return [
        Case(f"bad_s{position}", image, mask if mask.exists() else None, slice=position, window=window)
        for position, window in ((0, None), (2, (-100.0, 300.0)))
    ]


def names(message: str, file: Path) -> bool:
    """Whether a sentence says which file or which case is meant."""
    return file.name in message or "/bad" in message or "'bad" in message


def snapshot(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


def assert_whole(cache: Path) -> None:
    """Nothing but whole entries, the index and empty lock files."""
    for path in cache.rglob("*"):
        if path.is_file() and path.suffix == ".npy":
            assert re.fullmatch("[0-9a-f]{64}", path.stem), path
            np.load(path, allow_pickle=False)
        elif path.is_file() and path.name != "index.json":
            assert path.stat().st_size == 0
