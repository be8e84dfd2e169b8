"""Groups that keep look-alikes in one split."""

from dataclasses import replace

import numpy as np
from PIL import Image
from tiny_data import save

from delineate.data import k_folds, look_alike_groups
from delineate.data.case import Case


def scene(number, size=(96, 128)):
    """A smooth picture that differs from number to number."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))
    return np.stack([grey] * 3, axis=2)


def cases_of(folder, pictures):
    return [Case(id=name, image=save(p, folder / f"{name}.png")) for name, p in sorted(pictures.items())]


def test_copies_mirror_images_and_chains_are_joined(tmp_path):
    noisy = (scene(1) + np.random.default_rng(9).integers(0, 6, scene(1).shape)).clip(0, 255).astype(np.uint8)
    cases = cases_of(
        tmp_path,
        {"a": scene(1), "b": noisy, "c": np.ascontiguousarray(noisy[:, ::-1]), "d": scene(2), "e": scene(3)},
    )
    assert look_alike_groups(cases) == {"a": "alike-a", "b": "alike-a", "c": "alike-a"}


def test_groups_that_are_known_stay_and_take_in_look_alikes(tmp_path):
    cases = cases_of(tmp_path, {"a": scene(1), "b": scene(1), "c": scene(2), "d": scene(3), "e": scene(4)})
    known = {"b": "patient-2", "c": "patient-2", "d": "patient-7"}
    cases = [replace(case, group=known.get(case.id)) for case in cases]
    assert look_alike_groups(cases) == {
        "a": "patient-2",
        "b": "patient-2",
        "c": "patient-2",
        "d": "patient-7",
    }


def test_no_fold_parts_them(tmp_path):
    cases = cases_of(tmp_path, {f"{i:02}": scene(i // 2) for i in range(12)})
    groups = look_alike_groups(cases)
    grouped = [replace(case, group=groups[case.id]) for case in cases]
    for fold in k_folds(grouped, 3, 0, val_fraction=0):
        test = {int(case.id) // 2 for case in fold if case.split == "test"}
        assert not test & {int(case.id) // 2 for case in fold if case.split == "train"}


def test_unreadable_images_stay_alone(tmp_path):
    cases = cases_of(tmp_path, {"a": scene(1), "b": scene(1)})
    cases[1].image.write_bytes(b"no picture")
    assert look_alike_groups(cases) == {}
