"""Scores of a whole set: batches, histograms, stated thresholds; merging, saving, resampling."""

import pickle

import numpy as np
import pandas as pd
import pytest

from delineate.checks import InputError
from delineate.metrics import METRICS, score_image, summarise
from delineate.metrics.histograms import Histograms, image_histograms
from delineate.metrics.names import GROUPS


def picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reference = np.zeros((12, 14), np.uint8)
    top, left = rng.integers(0, 6, 2)
    reference[top : top + 5, left : left + 6] = 1
    probability = (0.4 * reference + 0.6 * rng.random(reference.shape)) * rng.uniform(0.4, 1)
    return reference, probability.astype(np.float32)


def collect(seeds, classes=("lesion",)) -> Histograms:
    histograms = Histograms(classes)
    for seed in seeds:
        histograms.add(f"case {seed}", image_histograms(*picture(seed), classes=classes))
    return histograms


def table(seeds, extra=()) -> pd.DataFrame:
    options = {"classes": ("lesion",), "surface": False, "saliency": False, "extra": extra}
    return pd.DataFrame(
        [{"image_id": f"case {seed}"} | score_image(*picture(seed), **options) for seed in seeds]
    )


def counts(**columns) -> pd.DataFrame:
    base = {"tp": [8, 0, 1], "fp": [2, 0, 1], "fn": [0, 0, 3], "tn": [90, 100, 95]}
    return pd.DataFrame(base | columns)


def test_batches_are_pooled_in_the_table_s_order():
    summary = summarise(counts(), extra=["dice_batch@2", "iou_batch@3"])
    first, second = 16 / 18, 2 / 6
    assert summary["dice_batch@2"].mean == pytest.approx((2 * first + second) / 3)  # by images
    assert summary["iou_batch@3"].mean == summary["iou_pooled"].mean == 9 / 15
    assert summary["dice_batch@2"].low < summary["dice_batch@2"].mean < summary["dice_batch@2"].high
    turned = summarise(counts()[::-1], extra=["dice_batch@2"])
    assert turned["dice_batch@2"].mean == pytest.approx((2 * 2 / 6 + 16 / 18) / 3)
    assert "dice_batch@8" not in summarise(counts())


def test_a_batch_without_an_object_is_one_and_rows_without_a_mask_are_in_no_batch():
    frame = counts().iloc[[1, 0, 2]].reset_index(drop=True)
    assert summarise(frame, extra=["dice_batch@1"])["dice_batch@1"].mean == pytest.approx(
        (1 + 16 / 18 + 2 / 6) / 3
    )
    missing = pd.concat([pd.DataFrame([{"tp": np.nan}]), counts()], ignore_index=True)
    with_gap = summarise(missing, extra=["dice_batch@2"])["dice_batch@2"]
    assert (with_gap.mean, with_gap.n) == (
        summarise(counts(), extra=["dice_batch@2"])["dice_batch@2"].mean,
        3,
    )


def test_batches_of_several_classes_are_averaged_over_classes():
    disc = {"tp[disc]": [5, 5], "fp[disc]": [0, 0], "fn[disc]": [5, 5], "tn[disc]": [9, 9]}
    cup = {"tp[cup]": [1, 1], "fp[cup]": [0, 0], "fn[cup]": [0, 0], "tn[cup]": [9, 9]}
    summary = summarise(pd.DataFrame(disc | cup), extra=["iou_batch@1"], resamples=10)
    assert (summary["iou_batch@1[disc]"].mean, summary["iou_batch@1[cup]"].mean) == (0.5, 1)
    assert summary["iou_batch@1"].mean == 0.75


def test_parts_of_two_processes_give_the_scores_of_one():
    seeds = range(8)
    sent = pickle.loads(pickle.dumps(collect(seeds[:5])))  # as a process pool hands it over
    whole, merged = collect(seeds), collect(seeds[5:]).merge(sent)
    assert len(merged) == 8
    frame = table(seeds)
    assert summarise(frame, histograms=whole, resamples=60) == summarise(
        frame, histograms=merged, resamples=60
    )


def test_saved_histograms_come_back(tmp_path):
    seeds = range(4)
    collect(seeds).save(tmp_path / "histograms.npz")
    back = Histograms.load(tmp_path / "histograms.npz")
    frame = table(seeds)
    assert back.classes == ("lesion",)
    assert summarise(frame, histograms=back, resamples=0) == summarise(
        frame, histograms=collect(seeds), resamples=0
    )
    Histograms(("a", "b")).save(tmp_path / "empty.npz")
    assert len(Histograms.load(tmp_path / "empty.npz")) == 0


def test_rows_are_found_by_their_id_whatever_the_order():
    frame = table(range(6))
    a = summarise(frame, histograms=collect(range(6)), resamples=0)
    b = summarise(frame, histograms=collect([3, 1, 0, 5, 4, 2]), resamples=0)
    assert a == b
    part = summarise(frame[:2], histograms=collect(range(6)), resamples=0)
    assert (
        part["auc_pixel_pooled"]
        == summarise(frame[:2], histograms=collect([0, 1]), resamples=0)["auc_pixel_pooled"]
    )


def test_a_resample_is_the_set_it_stands_for():
    drawn = [0, 0, 2, 3, 3, 3]
    weights = np.bincount(drawn, minlength=4).astype(float)[None]
    stack = collect(range(4)).stack([f"case {i}" for i in range(4)], "lesion")
    repeated = collect(range(4)).stack([f"case {i}" for i in drawn], "lesion")
    functions = {name: row.histograms for name, row in METRICS.items() if row.histograms is not None}
    assert len(functions) == 8
    for name, function in functions.items():
        assert function(stack, weights)[0] == pytest.approx(function(repeated, np.ones((1, 6)))[0]), name


def test_intervals_of_set_scores_hold_the_value():
    frame = table(range(12), extra=["auc_pixel"])
    summary = summarise(frame, histograms=collect(range(12)), resamples=200)
    names = [name for name in (*GROUPS["pranet"], *GROUPS["pixels"]) if name in summary]
    assert {"pranet_maxDic", "auc_pixel_pooled", "brier_pixel_pooled"} <= set(names)
    for name in ("pranet_maxDic", "auc_pixel_pooled", "brier_pixel_pooled"):
        assert summary[name].low < summary[name].mean < summary[name].high
        assert summary[name].n == 12


def test_only_the_scores_asked_for():
    summary = summarise(
        table(range(3)), histograms=collect(range(3)), resamples=0, extra=["pranet_maxDic", "hd95"]
    )
    assert "pranet_maxDic" in summary
    assert "auc_pixel_pooled" not in summary


def test_several_classes_and_their_mean():
    reference = np.array([[0, 1, 2], [0, 1, 2]], np.uint8)
    probability = np.stack([np.where(reference == i, 0.7, 0.15) for i in range(3)])
    probability[:, 0, 2] = (0.15, 0.7, 0.15)
    histograms = Histograms(("disc", "cup"))
    histograms.add("a", image_histograms(reference, probability, classes=("disc", "cup")))
    summary = summarise(pd.DataFrame({"image_id": ["a"]}), histograms=histograms)
    assert summary["auc_pixel_pooled[cup]"].mean == pytest.approx(6 / 8)
    assert summary["auc_pixel_pooled"].mean == pytest.approx(
        (6 / 8 + summary["auc_pixel_pooled[disc]"].mean) / 2
    )


def test_one_kind_of_pixel_has_no_auc():
    histograms = Histograms(("a",))
    histograms.add("x", image_histograms(np.zeros((3, 3), np.uint8), np.zeros((3, 3)), classes=("a",)))
    summary = summarise(pd.DataFrame({"image_id": ["x"]}), histograms=histograms)
    assert summary["auc_pixel_pooled"].mean is None
    assert summary["auc_pixel_pooled"].reason == "The images hold one kind of pixel only."
    assert summary["brier_pixel_pooled"].mean == 0


def test_reliability_of_pixels_is_data_for_a_plot():
    histograms = Histograms(("a",))
    reference = np.array([[1, 0, 0, 1]], np.uint8)
    histograms.add("x", image_histograms(reference, np.array([[0.95, 0.97, 0.01, 0.51]]), classes=("a",)))
    frame = histograms.stack(["x"], "a").reliability().to_frame()
    assert [*frame.columns] == ["low", "high", "confidence", "frequency", "count"]
    some = frame[frame["count"] > 0]
    assert some["count"].tolist() == [1, 1, 2]
    assert some["confidence"].tolist() == pytest.approx([0.01, 0.51, 0.96])
    assert some["frequency"].tolist() == [0, 1, 0.5]
    assert ((some["low"] <= some["confidence"]) & (some["confidence"] < some["high"])).all()
    assert frame.loc[frame["count"] == 0, "confidence"].isna().all()


def labelled(classes: int) -> pd.DataFrame:
    rng = np.random.default_rng(classes)
    probabilities = rng.dirichlet(np.ones(classes), 40)
    columns = {f"label_probability[{'ABC'[i]}]": probabilities[:, i] for i in range(classes)}
    return pd.DataFrame(columns | {"label": np.arange(40) % classes})


def test_labels_at_a_stated_threshold():
    frame = labelled(2)
    names = ["label_sensitivity@0.3", "label_specificity@0.3", "balanced_accuracy@0.3", "label_accuracy@0.3"]
    summary = summarise(frame, extra=names, resamples=50)
    low = summarise(frame, threshold=0.3, resamples=50)
    for name in names:
        plain = name.partition("@")[0]
        assert summary[name] == low[plain]
    assert summary["label_sensitivity"].mean < summary["label_sensitivity@0.3"].mean
    assert summary["label_specificity"].mean > summary["label_specificity@0.3"].mean


def test_labels_alone_pass_over_scores_of_masks():
    summary = summarise(labelled(2), extra=GROUPS["all"], resamples=0)
    assert "auc" in summary
    assert not any(name.startswith(("dice", "pranet")) for name in summary)


def test_wrong_input(tmp_path):
    frame, histograms = table(range(3)), collect(range(3))
    with pytest.raises(InputError, match="hold the image 'case 1' already; add every image once"):
        histograms.add("case 1", image_histograms(*picture(1), classes=("lesion",)))
    with pytest.raises(
        InputError, match="'case 2' is in both parts of the histograms; score every image once"
    ):
        histograms.merge(collect([2, 7]))
    assert len(histograms) == 3
    with pytest.raises(InputError, match="Histograms of lesion and of a, b cannot be merged"):
        histograms.merge(Histograms(("a", "b")))
    with pytest.raises(InputError, match="histograms of 'x' are of 1 classes, not of a, b"):
        Histograms(("a", "b")).add("x", image_histograms(*picture(1), classes=("lesion",)))
    with pytest.raises(
        InputError, match=r"lack 1 image\(s\) of the table, for example 'case 2'; collect them"
    ):
        summarise(frame, histograms=collect([0, 1]))
    with pytest.raises(InputError, match="pranet_maxDic is computed from the histograms of the images; give"):
        summarise(frame, extra=["pranet_maxDic"])
    with pytest.raises(InputError, match="has no column 'image_id', which histograms are found by"):
        summarise(frame.drop(columns="image_id"), histograms=histograms)
    with pytest.raises(InputError, match="dice_batch@8 needs the columns tp, fp, fn and tn"):
        summarise(pd.DataFrame({"dice": [1.0]}), extra=["dice_batch@8"])
    with pytest.raises(InputError, match="label_sensitivity@0.3 needs the columns 'label' and"):
        summarise(frame, extra=["label_sensitivity@0.3"])
    with pytest.raises(InputError, match="only two labels have, but there are 3; write label_sensitivity"):
        summarise(labelled(3), extra=["label_sensitivity@0.3"])
    with pytest.raises(InputError, match=r"must be \[12, 14\], got \[2, 2\]; resize it"):
        image_histograms(picture(0)[0], np.zeros((2, 2)), classes=("a",))
    with pytest.raises(InputError, match=r"nothing\.npz is missing; run `delineate evaluate` again"):
        Histograms.load(tmp_path / "nothing.npz")
    damaged = tmp_path / "damaged.npz"
    histograms.save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-400])
    with pytest.raises(InputError, match=r"damaged\.npz is damaged; run `delineate evaluate` again"):
        Histograms.load(damaged)
