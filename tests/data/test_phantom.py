"""The phantom: same seed same bytes, tables that agree, parameters that do what they say, honest errors."""

import csv
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from delineate.checks import InputError
from delineate.data.phantom import (
    LABELS,
    PhantomOptions,
    Skin,
    Spread,
    render_phantom,
    sample_lesion,
    write_phantom,
)
from delineate.data.phantom import write as write_module
from delineate.data.phantom.anatomy import LesionParameters
from delineate.data.phantom.noise import smooth_noise, smoothstep

SIGNS = ("asymmetry", "irregularity", "variegation", "diameter_mm")
PLAIN = LesionParameters(
    label="benign", asymmetry=0.1, irregularity=0.1, variegation=0.1, diameter_mm=8.0, contrast=1.0,
    elongation=0.1, x_mm=8.0, y_mm=8.0, softness_mm=0.15, pattern="network",
    skin=Skin(fitzpatrick=2, tone=1.5, redness=0.3, freckles=0.0),
)  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def render(seed: int = 0, size: int = 96, **changes):
    return render_phantom(replace(PLAIN, **changes), np.random.default_rng(seed), size=size)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "set"
    steps: list[int] = []
    report = write_phantom(out, count=60, size=48, seed=7, progress=steps.append)
    assert steps == list(range(1, 61))
    return out, report


# --- reproducibility


def test_same_seed_same_bytes(phantom, tmp_path):
    write_phantom(tmp_path / "again", count=60, size=48, seed=7)
    assert contents(tmp_path / "again") == contents(phantom[0])


def test_other_processes_write_the_same_bytes(phantom, tmp_path):
    # Spawned processes share nothing with this one, not even the seed of Python's string hashes.
    write_phantom(tmp_path / "again", count=60, size=48, seed=7, workers=2)
    assert contents(tmp_path / "again") == contents(phantom[0])


def test_tables_stay_the_same_from_release_to_release(phantom):
    # Made from integers alone, hence equal on every machine; when this fails, raise GENERATOR.
    parts = [(phantom[0] / name).read_bytes() for name in ("labels.csv", "split.csv", "groups.csv")]
    assert hashlib.sha256(b"".join(parts)).hexdigest()[:16] == "6fb5251da20e6356"


def test_another_seed_gives_other_pictures(phantom, tmp_path):
    write_phantom(tmp_path / "other", count=5, size=48, seed=8)
    ours, other = contents(phantom[0]), contents(tmp_path / "other")
    assert all(ours[name] != other[name] for name in other if name.endswith(".png"))


def test_a_short_run_is_the_beginning_of_a_long_one(phantom, tmp_path):
    write_phantom(tmp_path / "short", count=23, size=48, seed=7)
    long, short = contents(phantom[0]), contents(tmp_path / "short")
    assert all(long[name] == short[name] for name in short if name.endswith(".png"))
    for name in ("labels.csv", "groups.csv", "parameters.csv"):
        assert long[name].startswith(short[name])


def test_resolution_changes_the_picture_little():
    small, small_mask = render(3, 64, irregularity=0.6)
    large, large_mask = render(3, 192, irregularity=0.6)
    assert (large_mask[1::3, 1::3] == small_mask).mean() > 0.99
    reduced = large.reshape(64, 3, 64, 3, 3).mean((1, 3))
    assert np.abs(reduced - small).mean() < 8


# --- the folder


def test_layout_and_tables_agree(phantom):
    out, report = phantom
    assert {path.name for path in out.iterdir()} == {
        "images", "masks", "labels.csv", "split.csv", "groups.csv", "parameters.csv", "SOURCE.md",
    }  # fmt: skip
    labels, splits, groups, parameters = (
        table(out / name) for name in ("labels.csv", "split.csv", "groups.csv", "parameters.csv")
    )
    ids = [row["image_id"] for row in labels]
    assert ids == sorted({path.stem for path in (out / "images").iterdir()})
    assert ids == sorted({path.stem for path in (out / "masks").iterdir()})
    for other in (splits, groups, parameters):
        assert [row["image_id"] for row in other] == ids
    assert [row["label"] for row in labels] == [row["label"] for row in parameters]
    assert report.labels == {"benign": 36, "malignant": 24}  # the default fraction, 0.4
    assert report.splits == {split: [r["split"] for r in splits].count(split) for split in report.splits}
    assert report.patients == len({row["group"] for row in groups})
    for row in parameters:
        image = Image.open(out / "images" / f"{row['image_id']}.png")
        mask = np.asarray(Image.open(out / "masks" / f"{row['image_id']}.png"))
        assert image.mode == "RGB"
        assert image.size == (48, 48)
        assert set(np.unique(mask)) == {0, 255}
        assert float(row["area"]) == pytest.approx((mask > 0).mean(), abs=1e-6)
        assert 0.015 < float(row["area"]) < 0.65


def test_splits_keep_patients_whole_and_labels_balanced(phantom):
    out, _ = phantom
    splits = {row["image_id"]: row["split"] for row in table(out / "split.csv")}
    labels = {row["image_id"]: row["label"] for row in table(out / "labels.csv")}
    home: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for row in table(out / "groups.csv"):
        home.setdefault(row["group"], set()).add(splits[row["image_id"]])
        sizes[row["group"]] = sizes.get(row["group"], 0) + 1
    assert all(len(found) == 1 for found in home.values())
    assert set(sizes.values()) == {1, 2, 3}
    for split, share in (("train", 0.70), ("val", 0.15), ("test", 0.15)):
        for label, total in (("benign", 36), ("malignant", 24)):
            count = sum(splits[i] == split and labels[i] == label for i in splits)
            assert abs(count - share * total) <= 1.5


def test_one_patient_has_one_skin(phantom):
    out, _ = phantom
    skins: dict[str, set[tuple[str, ...]]] = {}
    for group, row in zip(table(out / "groups.csv"), table(out / "parameters.csv"), strict=True):
        skin = tuple(row[key] for key in ("fitzpatrick", "skin_tone", "skin_redness", "skin_freckles"))
        skins.setdefault(group["group"], set()).add(skin)
    assert all(len(found) == 1 for found in skins.values())
    assert len({next(iter(found))[0] for found in skins.values()}) >= 4  # types of skin


def test_source_tells_seed_version_and_options(phantom):
    text = (phantom[0] / "SOURCE.md").read_text()
    for part in ("Seed: 7", "Apache-2.0", "phantom generator 1", '"malignant_fraction": 0.4', "48 x 48"):
        assert part in text


@pytest.mark.parametrize("tone", [0.5, 3.0, 5.5])
def test_the_mask_is_where_the_lesion_is(tone):
    for seed in range(5):
        image, mask = render(seed, skin=Skin(int(tone) + 1, tone, 0.3, 0.0), contrast=0.6)
        inside = mask > 0
        ring = ndimage.binary_dilation(inside, iterations=8) & ~ndimage.binary_dilation(inside, iterations=2)
        assert image[inside].mean() < image[ring].mean() - 5
        assert ndimage.label(inside)[1] == 1
        assert ndimage.binary_fill_holes(inside).sum() == inside.sum()


def test_hairs_and_bubbles_lie_over_the_lesion_and_leave_the_mask_alone():
    bare, mask = render()
    covered, same_mask = render(
        hairs=25, bubbles=12, ruler=True, ink=True, vignette=1.0, glare=1.0, blur_mm=0.1
    )
    assert (mask == same_mask).all()
    assert (bare != covered).any(-1).mean() > 0.5


def test_diameter_is_the_area():
    areas = [(render(seed, diameter_mm=6.0)[1] > 0).mean() for seed in range(6)]
    assert np.mean(areas) == pytest.approx(np.pi * 3.0**2 / 16**2, rel=0.08)


def perimeter_ratio(mask):
    inside = np.pad(mask > 0, 1)
    edge = inside & ~ndimage.binary_erosion(inside)
    return edge.sum() / np.sqrt(inside.sum())


def turned_mismatch(mask):
    """One minus the overlap with itself turned by half a turn about the centroid."""
    rows, columns = np.nonzero(mask)
    row, column = round(2 * rows.mean()) - rows, round(2 * columns.mean()) - columns
    ok = (row >= 0) & (column >= 0) & (row < mask.shape[0]) & (column < mask.shape[1])
    common = (mask[row[ok], column[ok]] > 0).sum()
    return 1 - common / (2 * rows.size - common)


def test_irregularity_roughens_the_border():
    means = [
        np.mean([perimeter_ratio(render(seed, 128, irregularity=level)[1]) for seed in range(8)])
        for level in (0.0, 0.35, 0.7, 1.0)
    ]
    assert (np.diff(means) > 0.1).all()


def test_asymmetry_breaks_the_symmetry_of_the_outline():
    means = [
        np.mean([turned_mismatch(render(seed, 128, asymmetry=level)[1]) for seed in range(8)])
        for level in (0.0, 0.35, 0.7, 1.0)
    ]
    assert (np.diff(means) > 0.02).all()


def test_variegation_spreads_the_colours():
    def spread(seed: int, level: float) -> float:
        image, mask = render(seed, 96, variegation=level)
        return float(image[mask > 0].std(0).mean())

    means = [np.mean([spread(seed, level) for seed in range(8)]) for level in (0.0, 0.35, 0.7, 1.0)]
    assert (np.diff(means) > 1).all()


def test_contrast_darkens_the_lesion():
    means = [
        image[mask > 0].mean() for image, mask in (render(1, contrast=level) for level in (0.3, 0.8, 1.6))
    ]
    assert means == sorted(means, reverse=True)


def test_signs_overlap_but_together_they_tell():
    options = PhantomOptions()
    lesions = [sample_lesion(LABELS[i % 2], options, np.random.default_rng([4, i])) for i in range(800)]
    malignant = np.array([lesion.label == "malignant" for lesion in lesions])
    signs = np.array([[getattr(lesion, name) for name in SIGNS] for lesion in lesions])
    for column in signs.T:
        assert 0.7 < roc_auc_score(malignant, column) < 0.95
    model = LogisticRegression(max_iter=1000)
    scaled = (signs - signs.mean(0)) / signs.std(0)
    scores = cross_val_predict(model, scaled, malignant, cv=5, method="predict_proba")[:, 1]
    assert 0.955 < roc_auc_score(malignant, scores) < 0.995


def test_some_lesions_touch_the_frame():
    def touches(options: PhantomOptions) -> float:
        found = []
        for i in range(40):
            rng = np.random.default_rng([6, i])
            _, mask = render_phantom(sample_lesion("benign", options, rng), rng, size=32)
            found.append(bool(mask[[0, -1]].any() or mask[:, [0, -1]].any()))
        return float(np.mean(found))

    assert touches(PhantomOptions(touches_frame=1.0)) > 0.9
    assert touches(PhantomOptions(touches_frame=0.0)) < 0.1


def test_spread_keeps_its_mean_and_limits():
    spread = Spread(0.5, 0.1, 0.2, 0.8)
    values = [spread.sample(np.random.default_rng(i)) for i in range(500)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)
    assert np.std(values) == pytest.approx(0.1, abs=0.02)
    assert 0.2 <= min(values) < max(values) <= 0.8


def test_noise_helpers():
    fields = [smooth_noise(np.random.default_rng(i), 12, 60) for i in range(40)]
    assert np.mean(fields) == pytest.approx(0, abs=0.03)
    assert np.std(fields) == pytest.approx(1, abs=0.05)
    assert smoothstep(0, 2, np.array([-1, 0, 1, 2, 3], np.float32)).tolist() == [0, 0, 0.5, 1, 1]
    assert smoothstep(2, 0, np.array([0, 1, 2], np.float32)).tolist() == [1, 0.5, 0]


# --- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "A phantom needs a count of at least 1 image, got 0."),
        ({"size": 16}, "A phantom's size must be between 32 and 4096 pixels, got 16."),
        ({"size": 5000}, "A phantom's size must be between 32 and 4096 pixels, got 5000."),
        ({"seed": -1}, "A phantom's seed must be 0 or larger, got -1."),
        ({"workers": 0}, "A phantom needs at least 1 worker, got 0."),
    ],
)
def test_wrong_numbers(tmp_path, arguments, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        write_phantom(tmp_path / "set", **{"count": 2, "size": 32, **arguments})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PhantomOptions(hairs=1.5), "option hairs must be between 0 and 1, got 1.5"),
        (lambda: PhantomOptions(noise=0.5), "option noise must be between 0 and 0.1, got 0.5"),
        (
            lambda: PhantomOptions(skin_types=(0, 0, 0, 0, 0, 0)),
            "option skin_types must be weights >= 0, not all 0",
        ),
        (
            lambda: PhantomOptions(benign=replace(PhantomOptions().benign, contrast=Spread(1, 0, 0.2, 2))),
            "option benign.contrast needs 0.1 <= low < high <= 3 and deviation > 0",
        ),
        (
            lambda: sample_lesion("bening", PhantomOptions(), np.random.default_rng(0)),
            "label must be 'benign' or 'malignant', got 'bening'",
        ),
    ],
)
def test_wrong_options(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_replaces_its_own_phantom_and_an_empty_folder(tmp_path):
    out = tmp_path / "set"
    out.mkdir()
    write_phantom(out, count=3, size=32)
    write_phantom(out, count=2, size=32)
    assert len(list((out / "images").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("place", ["notes.txt", "images/phantom_00000.jpg", "masks/mine.png"])
def test_refuses_a_folder_with_other_files(tmp_path, place):
    out = tmp_path / "set"
    write_phantom(out, count=1, size=32)
    (out / place).write_text("precious")
    with pytest.raises(
        InputError, match=rf"set holds other files \({place}\) .* choose a new or empty folder\.$"
    ):
        write_phantom(out, count=1, size=32)
    assert (out / place).read_text() == "precious"


def test_refuses_a_folder_that_only_looks_like_a_phantom(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "SOURCE.md").write_text("# Kvasir-SEG\n")
    with pytest.raises(InputError, match=r"holds other files \(SOURCE.md\)"):
        write_phantom(tmp_path, count=1, size=32)


def test_refuses_a_file(tmp_path):
    (tmp_path / "set").write_text("precious")
    with pytest.raises(InputError, match="set is a file, but a phantom needs a folder; choose another name"):
        write_phantom(tmp_path / "set", count=1, size=32)
    with pytest.raises(
        InputError, match="Cannot write the phantom to .*below: .*choose a folder you may write to"
    ):
        write_phantom(tmp_path / "set" / "below", count=1, size=32)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(
            InputError, match="Cannot write the phantom to .*: Permission denied. Free space or"
        ):
            write_phantom(tmp_path / "set", count=1, size=32)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(("number", "words"), [(28, "No space left on device"), (13, "Permission denied")])
def test_a_failure_half_way_leaves_the_old_set_and_no_trace(tmp_path, monkeypatch, number, words):
    out = tmp_path / "set"
    write_phantom(out, count=2, size=32)
    before = contents(out)

    def fail(path: Path, content: bytes | str) -> None:
        if path.name == "groups.csv":
            raise OSError(number, os.strerror(number), str(path))
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    monkeypatch.setattr(write_module, "_write", fail)
    with pytest.raises(InputError, match=f"Cannot write the phantom to .*set: {words}. Free space"):
        write_phantom(out, count=4, size=32, seed=1)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_interruption_leaves_no_trace(tmp_path):
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "set", count=4, size=32, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
