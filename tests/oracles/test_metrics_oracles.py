"""Our scores against the libraries that define them."""

import numpy as np
import pandas as pd
import py_sod_metrics
import pytest
import scipy.stats
import sklearn.metrics as sk
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from delineate.metrics import (
    calibration,
    count,
    labels,
    overlap,
    resampling,
    saliency,
    score_image,
    summarise,
    surface,
)


def blob(seed: int, shape: tuple[int, int] = (61, 84)) -> tuple[np.ndarray, np.ndarray]:
    """A lumpy reference that may touch the frame, and a soft map that resembles it."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal(shape), 6)
    reference = field > np.quantile(field, 0.7)
    soft = gaussian_filter(reference + 0.8 * rng.standard_normal(shape), 2)
    return reference, soft.clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_scikit_learn(seed):
    reference, probability = blob(seed)
    prediction = probability > 0.5
    counts, y, p = count(reference, prediction), reference.ravel(), prediction.ravel()
    assert overlap.dice(counts) == pytest.approx(sk.f1_score(y, p))
    assert overlap.iou(counts) == pytest.approx(sk.jaccard_score(y, p))
    assert overlap.precision(counts) == pytest.approx(sk.precision_score(y, p))
    assert overlap.sensitivity(counts) == pytest.approx(sk.recall_score(y, p))
    assert overlap.specificity(counts) == pytest.approx(sk.recall_score(~y, ~p))
    assert overlap.accuracy(counts) == pytest.approx(sk.accuracy_score(y, p))
    assert overlap.dice_fgbg(counts) == pytest.approx(sk.f1_score(y, p, average="macro"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [None, (0.7, 1.9)])
def test_surface_is_monai(seed, spacing):
    reference, probability = blob(seed)
    prediction = probability > 0.5
    distances = surface.surface_distances(reference, prediction, spacing=spacing)
    y, p = (torch.from_numpy(mask)[None, None].float() for mask in (reference, prediction))
    options = {"include_background": True, "spacing": spacing}
    expected = {
        "hd": compute_hausdorff_distance(p, y, **options),
        "hd95": compute_hausdorff_distance(p, y, percentile=95, **options),
        "assd": compute_average_surface_distance(p, y, symmetric=True, **options),
        "nsd": compute_surface_dice(p, y, class_thresholds=[2.0], **options),
    }
    ours = {name: getattr(surface, name)(distances) for name in ("hd", "hd95", "assd")}
    ours["nsd"] = surface.nsd(distances, 2.0)
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value.item(), rel=2e-6), name


@pytest.mark.parametrize("seed", range(4))
def test_saliency_is_pysodmetrics(seed):
    reference, probability = blob(seed)
    names = {"sm": "Smeasure", "wfm": "WeightedFmeasure", "mae": "MAE", "em": "Emeasure"}
    expected = {}
    for key, name in names.items():
        measure = getattr(py_sod_metrics, name)()
        measure.step(probability.astype(np.float64), reference, normalize=False)
        expected[key] = measure.get_results()[key]
    ours = saliency.saliency_scores(reference, probability)
    assert ours["s_measure"] == pytest.approx(expected["sm"], abs=1e-12)
    assert ours["weighted_f"] == pytest.approx(expected["wfm"], abs=1e-12)
    assert ours["mae"] == pytest.approx(expected["mae"], abs=1e-12)
    assert ours["e_measure_adp"] == pytest.approx(expected["em"]["adp"], abs=1e-12)
    assert ours["e_measure_max"] == pytest.approx(expected["em"]["curve"].max(), abs=1e-12)
    assert ours["e_measure_mean"] == pytest.approx(expected["em"]["curve"].mean(), abs=1e-12)


def test_stretched_saliency_is_pysodmetrics_on_8_bits():
    """On a map of 8-bit values, stretching is what the library does to the published PNG files."""
    reference, probability = blob(0)
    grey = (probability * 180 + 20).astype(np.uint8)
    for name, key in (("Smeasure", "sm"), ("WeightedFmeasure", "wfm"), ("MAE", "mae")):
        measure = getattr(py_sod_metrics, name)()
        measure.step(grey, reference.astype(np.uint8) * 255)
        ours = saliency.saliency_scores(reference, grey / 255, stretch=True)
        mine = {"sm": "s_measure", "wfm": "weighted_f", "mae": "mae"}[key]
        assert ours[mine] == pytest.approx(measure.get_results()[key], abs=1e-12)


@pytest.mark.parametrize("edge", ["corner pixel", "full", "line", "two far pixels"])
def test_weighted_f_of_odd_references_is_pysodmetrics(edge):
    reference = np.zeros((15, 23), bool)
    where = {"corner pixel": np.s_[0, 0], "full": np.s_[:], "line": np.s_[14, :]}
    where["two far pixels"] = np.s_[::14, ::22]
    reference[where[edge]] = True
    probability = np.random.default_rng(0).random(reference.shape)
    measure = py_sod_metrics.WeightedFmeasure()
    measure.step(probability, reference, normalize=False)
    assert saliency.weighted_f(reference, probability) == pytest.approx(
        measure.get_results()["wfm"], abs=1e-12
    )


def test_score_image_is_all_of_them():
    reference, probability = blob(5)
    row = score_image(reference.astype(np.uint8), probability, classes=("lesion",))
    assert row["dice"] == pytest.approx(sk.f1_score(reference.ravel(), probability.ravel() > 0.5))
    y, p = (torch.from_numpy(mask)[None, None].float() for mask in (reference, probability > 0.5))
    hd = compute_hausdorff_distance(p, y, include_background=True).item()
    assert row["hd"] == pytest.approx(hd, rel=1e-6)
    assert row["s_measure"] == saliency.s_measure(reference, probability)


def label_case(classes: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    probabilities = rng.dirichlet(np.ones(classes), 150)
    if ties:
        probabilities = np.round(probabilities, 1)
        probabilities[:, 0] += 1 - probabilities.sum(axis=1)
        probabilities = probabilities.clip(0, 1)
    hits = rng.random(150) < 0.4
    return probabilities, np.where(hits, probabilities.argmax(axis=1), rng.integers(0, classes, 150))


def test_binary_label_scores_are_scikit_learn():
    probabilities, targets = label_case(2)
    p, predicted = probabilities[:, 1], probabilities[:, 1] > 0.3
    assert labels.auc(p, targets) == pytest.approx(sk.roc_auc_score(targets, p))
    assert labels.average_precision(p, targets) == pytest.approx(sk.average_precision_score(targets, p))
    assert labels.accuracy(p, targets, threshold=0.3) == pytest.approx(sk.accuracy_score(targets, predicted))
    assert labels.sensitivity(p, targets, threshold=0.3) == pytest.approx(sk.recall_score(targets, predicted))
    specificity = sk.recall_score(targets, predicted, pos_label=0)
    assert labels.specificity(p, targets, threshold=0.3) == pytest.approx(specificity)
    balanced = sk.balanced_accuracy_score(targets, predicted)
    assert labels.balanced_accuracy(p, targets, threshold=0.3) == pytest.approx(balanced)
    assert calibration.brier(p, targets) == pytest.approx(sk.brier_score_loss(targets, p))


def test_multiclass_label_scores_are_scikit_learn():
    p, targets = label_case(4)
    onehot = np.eye(4)[targets]
    assert labels.auc(p, targets) == pytest.approx(sk.roc_auc_score(targets, p, multi_class="ovr"))
    assert labels.average_precision(p, targets) == pytest.approx(sk.average_precision_score(onehot, p))
    predicted = p.argmax(axis=1)
    assert labels.balanced_accuracy(p, targets) == pytest.approx(
        sk.balanced_accuracy_score(targets, predicted)
    )
    assert labels.sensitivity(p, targets) == pytest.approx(
        sk.recall_score(targets, predicted, average="macro")
    )
    brier = sk.brier_score_loss(targets, p, labels=range(4), scale_by_half=False)
    assert calibration.brier(p, targets) == pytest.approx(brier)


def test_calibration_error_is_torchmetrics():
    p, t = (torch.from_numpy(array) for array in label_case(2))
    expected = binary_calibration_error(p[:, 1], t).item()
    assert calibration.ece(p.numpy(), t.numpy()) == pytest.approx(expected, abs=1e-6)
    p, t = (torch.from_numpy(array) for array in label_case(4))
    expected = multiclass_calibration_error(p, t, num_classes=4).item()
    assert calibration.ece(p.numpy(), t.numpy()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_resampled_ranking_scores_are_scikit_learn(ties):
    probabilities, targets = label_case(3, ties)
    positive, weights = targets == 1, np.random.default_rng(0).integers(0, 3, (5, 150)).astype(float)
    auc = resampling.auc(probabilities[:, 1], positive, weights)
    precision = resampling.average_precision(probabilities[:, 1], positive, weights)
    for row, a, b in zip(weights, auc, precision, strict=True):
        assert a == pytest.approx(sk.roc_auc_score(positive, probabilities[:, 1], sample_weight=row))
        assert b == pytest.approx(
            sk.average_precision_score(positive, probabilities[:, 1], sample_weight=row)
        )


def test_intervals_are_scipy_bootstrap():
    values = np.random.default_rng(0).beta(5, 2, 80)
    p, targets = label_case(2)
    table = pd.DataFrame({"dice": values})
    ours = summarise(table, resamples=6000)["dice"]
    options = {"method": "percentile", "n_resamples": 6000, "rng": np.random.default_rng(1)}
    theirs = scipy.stats.bootstrap((values,), np.mean, **options).confidence_interval
    width = theirs.high - theirs.low
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.05 * width)

    table = pd.DataFrame({"label": targets, "label_probability[a]": p[:, 0], "label_probability[b]": p[:, 1]})
    auc = summarise(table, resamples=4000)["auc"]
    options = {"method": "percentile", "n_resamples": 600, "rng": np.random.default_rng(1)}
    theirs = scipy.stats.bootstrap(
        (targets, p[:, 1]), sk.roc_auc_score, paired=True, vectorized=False, **options
    ).confidence_interval
    width = theirs.high - theirs.low
    assert [auc.low, auc.high] == pytest.approx([theirs.low, theirs.high], abs=0.15 * width)
