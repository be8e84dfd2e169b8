import json
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from delineate.checks import InputError
from delineate.inference.file_pairs import find_pairs, read_classes
from delineate.inference.files_record import read_files_record
from delineate.inference.score_files import score_files
from delineate.metrics import score_image
from delineate.study.files_report import write_files_report

SIDE = 24


@dataclass
class Folders:
    """Predictions and references of one test."""

    root: Path

    def __post_init__(self) -> None:
        self.predictions, self.references, self.out = (self.root / n for n in ("pred", "ref", "out"))
        self.predictions.mkdir()
        self.references.mkdir()

    def reference(self, name: str, values: np.ndarray) -> None:
        Image.fromarray(values.astype(np.uint8)).save(self.references / f"{name}.png")

    def prediction(self, name: str, values: np.ndarray) -> None:
        Image.fromarray(values).save(self.predictions / f"{name}.png")

    def score(self, **options):
        return score_files(self.predictions, self.references, self.out, **options)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def graded(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.clip(square(4, 5, 9) * 0.6 + generator.random((SIDE, SIDE)) * 0.5, 0, 1)


def three(folders: Folders) -> dict[str, np.ndarray]:
    masks = {"a": square(4, 4, 8), "b": square(2, 10, 10), "c": np.zeros((SIDE, SIDE), dtype=np.uint8)}
    for name, mask in masks.items():
        folders.reference(name, mask * 255)
    return masks


def test_scores_of_masks_are_counted_by_hand(folders):
    folders.reference("a", square(0, 0, 4) * 255)  # 16 pixels
    folders.prediction("a", square(0, 2, 4) * 255)  # 16 pixels, 8 of them shared
    folders.reference("b", square(0, 0, 2))
    folders.prediction("b", square(0, 0, 2) * 255)

    scores = folders.score()

    table = pd.read_csv(folders.out / "scores.csv")
    assert table["dice"].tolist() == [0.5, 1]
    assert table["iou"].tolist() == pytest.approx([1 / 3, 1])
    assert scores.summary["dice"]["mean"] == 0.75
    assert scores.summary["dice_pooled"]["mean"] == pytest.approx(2 * 12 / (20 + 20))
    assert json.loads((folders.out / "summary.json").read_text())["files"] == scores.summary


@pytest.mark.parametrize("form", ["png8", "png16", "npy", "npz", "npy16"])
def test_probability_maps_of_every_kind_give_the_scores_of_the_array(folders, form):
    masks = three(folders)
    for i, name in enumerate(masks):
        map_ = graded(i)
        if form == "png8":
            folders.prediction(name, np.rint(map_ * 255).astype(np.uint8))
            map_ = np.rint(map_ * 255) / 255
        elif form == "png16":
            folders.prediction(name, np.rint(map_ * 65535).astype(np.uint16))
            map_ = np.rint(map_ * 65535) / 65535
        elif form == "npy":
            np.save(folders.predictions / f"{name}.npy", map_.astype(np.float32))
            map_ = map_.astype(np.float32)
        elif form == "npy16":
            np.save(folders.predictions / f"{name}.npy", map_.astype(np.float16))
            map_ = map_.astype(np.float16).astype(np.float32)
        else:
            np.savez_compressed(folders.predictions / f"{name}.npz", probability=map_)
        masks[name] = score_image(masks[name], map_, classes=["foreground"], extra=["pranet_meanDic"])

    scores = folders.score(metrics=["saliency", "boundary", "pranet"])

    for row in scores.table.to_dict("records"):
        expected = {k: v for k, v in masks[row["image_id"]].items() if k in row}
        assert {k: row[k] for k in expected} == pytest.approx(expected, nan_ok=True, abs=1e-12)
    assert {"dice", "s_measure", "hd95", "pranet_meanDic"} <= set(scores.table)
    assert "pranet_maxDic" in scores.summary
    assert (folders.out / "histograms" / "files.npz").is_file()


def test_a_faint_map_in_a_graded_set_is_no_mask(folders):
    """Alone, values 0 and 1 would be a mask; beside graded maps they are probabilities of 1/255."""
    masks = three(folders)
    for name, mask in masks.items():
        folders.prediction(name, mask if name == "a" else np.rint(graded(1) * 255).astype(np.uint8))

    table = folders.score().table.set_index("image_id")

    assert table.loc["a", "predicted_pixels"] == 0


def test_masks_of_two_kinds_are_not_guessed(folders):
    folders.reference("a", square(0, 0, 4))
    folders.reference("b", square(0, 0, 4))
    folders.prediction("a", square(0, 0, 4))
    folders.prediction("b", square(0, 0, 4) * 255)
    with pytest.raises(InputError, match=r"a\.png holds 0 and 1, and .*b\.png 0 and 255; write all masks"):
        folders.score()


def test_class_numbers_are_not_taken_for_faint_probabilities(folders):
    three(folders)
    for name in "abc":
        folders.prediction(name, square(0, 0, 5) + square(10, 10, 5) * 2)
    with pytest.raises(InputError, match=r"largest value is 2 of 255 .* --classes .* --kind probability\."):
        folders.score()
    assert folders.score(kind="probability").table["predicted_pixels"].sum() == 0


def test_several_classes_from_file_values_indices_and_channels(folders):
    values = np.full((SIDE, SIDE), 255, dtype=np.uint8)
    values[4:20, 4:20], values[8:14, 8:14] = 128, 0
    index = np.zeros((SIDE, SIDE), dtype=np.uint8)
    index[4:20, 5:20], index[8:14, 8:15] = 1, 2
    folders.reference("eye", values)
    encoding = read_classes("128=rim,0=cup,255=background")
    expected = None
    for form in ("values", "indices", "channels"):
        for old in folders.predictions.iterdir():
            old.unlink()
        if form == "values":
            folders.prediction("eye", np.array([255, 128, 0], dtype=np.uint8)[index])
        elif form == "indices":
            folders.prediction("eye", index)
        else:
            np.save(folders.predictions / "eye.npy", np.eye(3, dtype=np.float32)[index].transpose(2, 0, 1))
        table = folders.score(encoding=encoding, overwrite=True).table.drop(columns=["group"])
        expected = table if expected is None else expected
        pd.testing.assert_frame_equal(table, expected)
    cup = (index == 2).sum(), (values == 0).sum(), ((index == 2) & (values == 0)).sum()
    assert expected["dice[cup]"][0] == pytest.approx(2 * cup[2] / (cup[0] + cup[1]))
    assert expected["dice"][0] == pytest.approx((expected["dice[cup]"][0] + expected["dice[rim]"][0]) / 2)


@pytest.mark.parametrize("policy", ["worst", "skip"])
def test_missing_predictions_follow_the_policy_and_are_recorded(folders, policy):
    masks = three(folders)
    folders.prediction("a", masks["a"] * 255)
    folders.prediction("elsewhere", masks["a"] * 255)
    with pytest.raises(
        InputError, match=r"2 of 3 references have no prediction, for example 'b'; 'elsewhere' is a"
    ):
        folders.score()
    assert not folders.out.exists()

    scores = folders.score(missing=policy)

    dice = dict(zip(scores.table["image_id"], scores.table["dice"], strict=True))
    # The reference of c is empty, so an empty prediction is right there.
    assert dice == ({"a": 1, "b": 0, "c": 1} if policy == "worst" else {"a": 1})
    record = read_files_record(folders.out / "record.json")
    assert record.missing == ("b", "c")
    assert record.missing_policy == policy
    assert record.unmatched == ("elsewhere",)
    assert record.cases == len(dice)


def test_another_size_is_refused_unless_resizing_is_asked_for(folders):
    mask = square(4, 4, 8)
    folders.reference("a", mask * 255)
    folders.prediction("a", np.kron(mask, np.ones((2, 2), dtype=np.uint8)) * 255)
    with pytest.raises(InputError, match=r"1 of 1 predictions differ in size .* 48x48 against 24x24 pixels"):
        folders.score()
    scores = folders.score(resize=True)
    assert scores.table["dice"].tolist() == [1]
    assert scores.record.resized == 1


def test_groups_and_spacing_reach_intervals_and_distances(folders):
    folders.reference("a", square(4, 4, 8) * 255)
    folders.reference("b", square(4, 4, 8) * 255)
    for name in "ab":
        folders.prediction(name, square(4, 6, 8) * 255)
    groups, spacing = folders.root / "groups.csv", folders.root / "spacing.csv"
    groups.write_text("image_id,patient\na,p1\nb,p1\n")
    spacing.write_text("image_id,row_mm,column_mm\na,1,0.5\nb,1,0.5\n")

    scores = folders.score(groups=groups, spacing=spacing)

    assert scores.table["hd"].tolist() == [1, 1]  # two columns of half a millimetre
    assert scores.summary["dice"]["low"] is None  # one group has no interval
    assert (scores.record.unit, scores.record.grouped) == ("mm", True)
    assert folders.score(overwrite=True).table["hd"].tolist() == [2, 2]

    spacing.write_text("image_id,row_mm,column_mm\na,1,0.5\n")
    with pytest.raises(InputError, match=r"no line for 1 of 2 cases, for example 'b'"):
        folders.score(spacing=spacing, overwrite=True)


def test_volumes_give_a_case_per_slice_and_must_lie_alike(folders):
    reference = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    reference[4:12, 4:12, 1] = 1
    probability = reference * 0.8
    probability[4:12, 12:14, 1] = 0.7
    affine = np.diag([-0.5, -0.5, 2, 1])
    nibabel.Nifti1Image(reference, affine).to_filename(folders.references / "lung.nii.gz")
    nibabel.Nifti1Image(probability.astype(np.float32), affine).to_filename(folders.predictions / "lung.nii")

    scores = folders.score()

    assert scores.table["image_id"].tolist() == ["lung_s000", "lung_s001", "lung_s002"]
    assert scores.table["group"].tolist() == ["lung"] * 3
    assert scores.table["dice"].tolist() == pytest.approx([1, 2 * 64 / (64 + 80), 1])
    assert scores.table["hd"][1] == pytest.approx(1.0)  # two pixels of half a millimetre

    nibabel.Nifti1Image(probability.astype(np.float32), np.eye(4)).to_filename(
        folders.predictions / "lung.nii"
    )
    with pytest.raises(InputError, match="their affines differ"):
        folders.score(overwrite=True)


def test_processes_give_what_one_process_gives(folders):
    for i in range(6):
        folders.reference(f"{i}", square(i, i, 8) * 255)
        folders.prediction(f"{i}", np.rint(graded(i) * 255).astype(np.uint8))
    seen: list[tuple[int, int]] = []
    alone = folders.score(workers=1, progress=lambda *at: seen.append(at))
    several = folders.score(workers=2, overwrite=True)
    pd.testing.assert_frame_equal(several.table, alone.table)
    assert several.summary == alone.summary
    assert seen == [(i, 12) for i in range(1, 13)]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a.npy", np.full((SIDE, SIDE), 3.5), r"3\.5 to 3\.5, but probabilities lie between 0 and 1"),
        ("a.npy", np.full((SIDE, SIDE), np.nan), "NaN or infinite"),
        ("a.npy", np.zeros((4, SIDE, SIDE)), r"\(H, W\); write it so, or name all classes"),
        ("a.npy", np.zeros(SIDE), "one grey picture or one array"),
        ("a.npy", np.array(["x"] * 4, dtype=object).reshape(2, 2), "cannot be decoded"),
        ("a.npy", np.full((SIDE, SIDE), 9, dtype=np.int64), "without a natural largest value"),
    ],
)
def test_what_is_no_prediction_is_refused_and_nothing_written(folders, name, array, message):
    folders.reference("a", square(4, 4, 8) * 255)
    np.save(folders.predictions / name, array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        folders.score()
    assert not folders.out.exists()


def test_names_are_matched_by_id_with_suffixes(folders):
    folders.reference("ISIC_1_segmentation", square(4, 4, 8) * 255)
    folders.reference("ISIC_1_superpixels", square(4, 4, 8) * 255)
    folders.prediction("ISIC_1", square(4, 4, 8) * 255)
    scores = folders.score(reference_suffix="_segmentation")
    assert scores.table[["image_id", "dice"]].to_dict("records") == [{"image_id": "ISIC_1", "dice": 1}]
    with pytest.raises(InputError, match="holds no files that end in '_mask'"):
        folders.score(reference_suffix="_mask", overwrite=True)


def test_a_folder_with_other_things_is_left_alone(folders):
    folders.reference("a", square(4, 4, 8) * 255)
    folders.prediction("a", square(4, 4, 8) * 255)
    folders.out.mkdir()
    (folders.out / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other things"):
        folders.score(overwrite=True)
    (folders.out / "thesis.txt").unlink()
    folders.score()
    with pytest.raises(InputError, match="already holds scores; give --overwrite"):
        folders.score()


def test_jpeg_references_are_thresholded(folders):
    mask = square(4, 4, 16) * 255
    Image.fromarray(mask).save(folders.references / "a.jpg", quality=60)
    folders.prediction("a", mask)
    assert folders.score().table["dice"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "classes", "values", "background", "threshold"),
    [
        ("lesion", ("lesion",), None, 0, None),
        ("rim,cup", ("rim", "cup"), (1, 2), 0, None),
        ("0=rnfl,80=gcipl,255=background", ("rnfl", "gcipl"), (0, 80), 255, None),
        (">=128=lesion", ("lesion",), None, 0, 128),
    ],
)
def test_classes_are_read_in_every_form(text, classes, values, background, threshold):
    encoding = read_classes(text)
    found = (encoding.classes, encoding.values, encoding.background, encoding.threshold)
    assert found == (classes, values, background, threshold)


@pytest.mark.parametrize(
    "text", ["", "a,a", "300=lesion", "1=a,1=b", "0=a", "x=a", ">=128=a,1=b", "a[b]", "absent.csv"]
)
def test_faulty_classes_are_one_sentence(text):
    with pytest.raises(InputError, match=r"(classes '.*' (need|must)|does not exist)"):
        read_classes(text)


def test_classes_from_a_table(tmp_path):
    (tmp_path / "classes.csv").write_text("value,name\n128,rim\n0,cup\n255,background\n")
    assert read_classes(str(tmp_path / "classes.csv")) == read_classes("128=rim,0=cup,255=background")


def test_pairs_know_what_has_no_reference(folders):
    folders.reference("a", square(4, 4, 8))
    folders.prediction("z", square(4, 4, 8))
    pairs = find_pairs(folders.predictions, folders.references, read_classes("lesion"))
    assert [pair.prediction for pair in pairs.pairs] == [None]
    assert pairs.unmatched == ("z",)


def test_the_report_shows_scores_outlines_and_record(folders):
    images = folders.root / "images"
    images.mkdir()
    for i in range(4):
        folders.reference(f"case{i}", square(4, 4, 8 + i) * 255)
        folders.prediction(f"case{i}", np.rint(graded(i) * 255).astype(np.uint8))
        Image.fromarray(np.full((SIDE, SIDE, 3), 90, dtype=np.uint8)).save(images / f"case{i}.jpg")
    scores = folders.score()

    page = write_files_report(folders.out, scores, images=images).read_text(encoding="utf-8")

    assert page.count('<path class="prediction"') >= 3
    assert scores.record.predictions_sha256 in page
    assert f"{scores.summary['dice']['mean']:.3f}" in page
    assert "probability maps" in page
    Image.fromarray(np.zeros((5, 5, 3), dtype=np.uint8)).save(images / "case0.jpg")
    with pytest.raises(InputError, match="has 5x5 and its reference 24x24 pixels"):
        write_files_report(folders.out, scores, images=images)
