"""The scores of the two toolboxes against literal re-implementations, one loop per rule of the originals."""

import math

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from scipy.ndimage import convolve, distance_transform_edt, gaussian_filter

from delineate.metrics import score_image, summarise
from delineate.metrics.histograms import Histograms, image_histograms
from delineate.metrics.names import GROUPS, expand_names

EPS = 2.0**-52


def blob(seed: int, shape: tuple[int, int] = (33, 45)) -> tuple[np.ndarray, np.ndarray]:
    """A lumpy reference and a soft map that resembles it and fills only a part of 0 to 1."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal(shape), 4)
    reference = field > np.quantile(field, 0.75)
    soft = gaussian_filter(reference + 0.8 * rng.standard_normal(shape), 2)
    return reference, (0.1 + 0.7 * soft.clip(0, 1)).astype(np.float64)


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Maps of every kind that the toolboxes treat in their own way."""
    rng = np.random.default_rng(7)
    reference, soft = blob(3)
    square = np.zeros((12, 14), bool)
    square[3:7, 4:9] = True  # the centroid lies between two rows
    corner = np.zeros((9, 9), bool)
    corner[8, 8] = True
    empty, full = np.zeros((10, 11), bool), np.ones((10, 11), bool)
    noise = rng.random((10, 11))
    return {
        "soft": (reference, soft),
        "another": blob(4),
        "eight bits": (reference, np.round(soft * 255) / 255),
        "eight bits, full range": (reference, np.round((soft - soft.min()) / np.ptp(soft) * 255) / 255),
        "binary": (reference, np.roll(reference, 3, axis=1).astype(float)),
        "perfect": (square, square.astype(float)),
        "between two rows": (square, gaussian_filter(square.astype(float), 1.5)),
        "constant": (square, np.full(square.shape, 0.3)),
        "nothing found": (square, np.zeros(square.shape)),
        "wrong place": (corner, np.flip(corner).astype(float)),
        "empty reference": (empty, noise),
        "full reference": (full, noise),
    }


CASES = cases()


def stretch(probability: np.ndarray) -> np.ndarray:
    low, high = probability.min(), probability.max()
    return probability if low == high else (probability - low) / (high - low)


def pranet_counts(reference: np.ndarray, saliency: np.ndarray, threshold: float) -> dict[str, float]:
    """What the toolbox computes at one threshold."""
    marked = np.zeros(reference.shape)
    marked[saliency >= threshold] = 1
    in_prediction, outside = int((marked == 1).sum()), int((marked == 0).sum())
    both = int(((marked == 1) & reference).sum())
    objects = int(reference.sum())
    fn, fp = objects - both, in_prediction - both
    tn = outside - fn
    scores = dict.fromkeys(("Dic", "IoU", "Sen", "Spe"), 0.0)
    if both:
        scores["Dic"] = 2 * both / (objects + in_prediction)
        scores["IoU"] = both / (fn + in_prediction)
        scores["Sen"] = both / objects
        scores["Spe"] = tn / (tn + fp) if tn + fp else 0.0  # the toolbox has 0 / 0
    scores["Em"] = binary_e(reference, marked.astype(bool), EPS)
    return scores


def binary_e(reference: np.ndarray, marked: np.ndarray, eps: float) -> float:
    """E-measure of a binary map, pixel by pixel."""
    height, width = reference.shape
    f, g = marked.astype(float), reference.astype(float)
    if g.sum() == 0:
        matrix = 1 - f
    elif (1 - g).sum() == 0:
        matrix = f
    else:
        f_bias, g_bias = f - f.mean(), g - g.mean()
        matrix = (2 * g_bias * f_bias / (g_bias**2 + f_bias**2 + eps) + 1) ** 2 / 4
    return float(matrix.sum() / (width * height - 1 + eps))


def pranet_table(reference: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Curves of one image by threshold from 1 down to 0, as the toolbox walks."""
    saliency = stretch(probability)
    return pd.DataFrame([pranet_counts(reference, saliency, k / 255) for k in range(255, -1, -1)])


def literal_s(reference: np.ndarray, saliency: np.ndarray, toolbox: str) -> float:
    """Structure measure by the rules of one of the toolboxes, quarter by quarter."""
    matlab = toolbox == "pranet"
    share = reference.mean()
    if share in (0, 1):
        return float(saliency.mean() if share else 1 - saliency.mean())

    def likeness(values: np.ndarray) -> float:
        mean = sum(values) / len(values)
        squares = sum((v - mean) ** 2 for v in values)
        lost = 1 if matlab else 0
        deviation = math.sqrt(squares / (len(values) - lost)) if len(values) > 1 else 0.0
        return 2 * mean / (mean**2 + 1 + deviation + (EPS if matlab else 1e-8))

    def quarter(p: np.ndarray, g: np.ndarray) -> float:
        n = p.size
        if n == 0:
            return 0.0
        x, y = p.mean(), g.mean()
        if matlab:
            vx, vy = ((p - x) ** 2).sum() / (n - 1 + EPS), ((g - y) ** 2).sum() / (n - 1 + EPS)
            c = ((p - x) * (g - y)).sum() / (n - 1 + EPS)
        else:
            vx, vy = ((p - x) ** 2).mean(), ((g - y) ** 2).mean()
            c = ((p - x) * (g - y)).sum() / (n - 1) if n > 1 else 0.0
        over, under = 4 * x * y * c, (x * x + y * y) * (vx + vy)
        if over != 0:
            return over / (under + (EPS if matlab else 1e-8))
        return 1.0 if under == 0 else 0.0

    objects = share * likeness(saliency[reference]) + (1 - share) * likeness(1 - saliency[~reference])
    rows, columns = np.nonzero(reference)
    if matlab:  # 1-based, halves away from zero
        row, column = (math.floor(axis.mean() + 1 + 0.5) for axis in (rows, columns))
    else:
        row, column = (int(round(axis.mean())) + 1 for axis in (rows, columns))
    region = 0.0
    for part in (
        np.s_[:row, :column],
        np.s_[:row, column:],
        np.s_[row:, :column],
        np.s_[row:, column:],
    ):
        weight = reference[part].size / reference.size
        region += weight * quarter(saliency[part], reference[part].astype(float))
    score = 0.5 * objects + 0.5 * region
    return max(score, 0.0) if matlab else score


def literal_weighted_f(reference: np.ndarray, saliency: np.ndarray, eps: float) -> float:
    """Weighted F-measure with beta 1 over the whole image."""
    if not reference.any():
        return 0.0
    distance, (i, j) = distance_transform_edt(~reference, return_indices=True)
    error = np.abs(saliency - reference)
    spread = error[i, j]
    axis = np.arange(-3, 4)
    kernel = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / 50)
    smooth = convolve(spread, kernel / kernel.sum(), mode="constant")
    least = np.where(reference & (smooth < error), smooth, error)
    weighted = least * np.where(reference, 1.0, 2 - np.exp(math.log(0.5) / 5 * distance))
    found = reference.sum() - weighted[reference].sum()
    recall = 1 - weighted[reference].mean()
    precision = found / (eps + found + weighted[~reference].sum())
    return float(2 * recall * precision / (eps + recall + precision))


def ours(reference: np.ndarray, probability: np.ndarray, group: str) -> dict[str, float]:
    return score_image(
        reference.astype(np.uint8),
        probability,
        classes=("lesion",),
        surface=False,
        saliency=False,
        extra=GROUPS[group],
    )


@pytest.mark.parametrize("name", CASES)
def test_pranet_per_image(name):
    reference, probability = CASES[name]
    table, row = pranet_table(reference, probability), ours(reference, probability, "pranet")
    for curve in ("Dic", "IoU", "Sen", "Spe", "Em"):
        assert row[f"pranet_mean{curve}"] == pytest.approx(table[curve].mean(), abs=1e-6), curve
    saliency = stretch(probability)
    assert row["pranet_Sm"] == pytest.approx(literal_s(reference, saliency, "pranet"), abs=1e-6)
    assert row["pranet_wFm"] == pytest.approx(literal_weighted_f(reference, saliency, EPS), abs=1e-6)
    assert row["pranet_MAE"] == pytest.approx(np.abs(saliency - reference).mean(), abs=1e-6)


def test_pranet_best_threshold_is_of_the_averaged_curve():
    chosen = [CASES[name] for name in ("soft", "another", "between two rows", "binary", "empty reference")]
    faint = CASES["soft"][0]
    chosen.append((faint, np.where(faint, 0.3, 0.1) + np.where(np.arange(45) == 0, 0.6, 0)))
    tables = [pranet_table(*case) for case in chosen]
    averaged = sum(tables) / len(tables)
    histograms, rows = Histograms(("lesion",)), []
    for index, (reference, probability) in enumerate(chosen):
        rows.append({"image_id": str(index)} | ours(reference, probability, "pranet"))
        image = image_histograms(reference.astype(np.uint8), probability, classes=("lesion",))
        histograms.add(str(index), image)
    summary = summarise(pd.DataFrame(rows), histograms=histograms, resamples=0)
    for curve in ("Dic", "IoU", "Sen", "Spe", "Em"):
        assert summary[f"pranet_max{curve}"].mean == pytest.approx(averaged[curve].max(), abs=1e-6), curve
        assert summary[f"pranet_mean{curve}"].mean == pytest.approx(averaged[curve].mean(), abs=1e-6), curve
    best_of_each = np.mean([table["Dic"].max() for table in tables])
    assert summary["pranet_maxDic"].mean < best_of_each - 0.01  # which another reading would give


@pytest.mark.parametrize("name", CASES)
def test_msnet_per_image(name):
    reference, probability = CASES[name]
    row, saliency = ours(reference, probability, "msnet"), stretch(probability)
    g = reference.astype(np.float32)
    both = sum(float(p) * float(r) for p, r in zip(saliency.flat, g.flat, strict=True))
    soft = (2 * both + 1e-5) / (g.sum() + saliency.sum() + 1e-5)
    assert row["msnet_mdice"] == pytest.approx(soft, abs=1e-6)
    p = saliency > 0.5
    iou = ((p & reference).sum() + 1e-5) / ((p | reference).sum() + 1e-5)
    assert row["msnet_miou"] == pytest.approx(iou, abs=1e-6)
    assert row["msnet_s"] == pytest.approx(literal_s(reference, saliency, "msnet"), abs=1e-6)
    threshold = min(2 * saliency.mean(), 1)
    assert row["msnet_e"] == pytest.approx(binary_e(reference, saliency >= threshold, 1e-8), abs=1e-6)
    assert row["msnet_wfm"] == pytest.approx(literal_weighted_f(reference, saliency, 1e-6), abs=1e-6)
    assert row["msnet_mae"] == pytest.approx(np.abs(saliency - g).mean(), abs=1e-6)


def test_eight_bit_maps_that_went_through_float32_keep_their_thresholds():
    reference, probability = CASES["eight bits, full range"]
    single = probability.astype(np.float32)
    a, b = ours(reference, probability, "pranet"), ours(reference, single, "pranet")
    assert all(a[name] == pytest.approx(b[name], abs=1e-6) for name in a)


@pytest.mark.parametrize("name", ["soft", "another", "eight bits", "binary"])
def test_pixel_scores_are_scikit_learn(name):
    reference, probability = CASES[name]
    row = ours(reference, probability, "pixels")
    y, p = reference.ravel(), probability.ravel()
    assert row["auc_pixel"] == pytest.approx(sk.roc_auc_score(y, p), abs=1e-12)
    assert row["brier_pixel"] == pytest.approx(sk.brier_score_loss(y, p), abs=1e-12)


def test_pooled_pixel_scores_are_scikit_learn_on_eight_bits():
    chosen = [CASES[name] for name in ("eight bits", "eight bits, full range", "binary", "empty reference")]
    chosen = [(reference, np.round(probability * 255) / 255) for reference, probability in chosen]
    histograms = Histograms(("lesion",))
    rows = [{"image_id": str(i)} | ours(*case, "pixels") for i, case in enumerate(chosen)]
    for i, (reference, probability) in enumerate(chosen):
        histograms.add(str(i), image_histograms(reference.astype(np.uint8), probability, classes=("lesion",)))
    summary = summarise(pd.DataFrame(rows), histograms=histograms, resamples=0)
    y = np.concatenate([reference.ravel() for reference, _ in chosen])
    p = np.concatenate([probability.ravel() for _, probability in chosen])
    assert summary["auc_pixel_pooled"].mean == pytest.approx(sk.roc_auc_score(y, p), abs=1e-12)
    assert summary["brier_pixel_pooled"].mean == pytest.approx(sk.brier_score_loss(y, p), abs=1e-12)
    bins = np.minimum((p * 15).astype(int), 14)
    gap = sum(abs(y[bins == b].sum() - p[bins == b].sum()) for b in range(15))
    assert summary["ece_pixel_pooled"].mean == pytest.approx(gap / y.size, abs=1e-12)
    assert histograms.stack(["0", "1", "2", "3"], "lesion").auc_bound() > 0  # ties of 8-bit values


def test_bins_bound_the_pooled_auc_of_finer_maps():
    parts = [blob(seed) for seed in range(3)]
    histograms = Histograms(("lesion",))
    for i, (reference, probability) in enumerate(parts):
        histograms.add(str(i), image_histograms(reference.astype(np.uint8), probability, classes=("lesion",)))
    summary = summarise(pd.DataFrame({"image_id": list("012")}), histograms=histograms, resamples=0)
    exact = sk.roc_auc_score(
        np.concatenate([r.ravel() for r, _ in parts]), np.concatenate([p.ravel() for _, p in parts])
    )
    bound = histograms.stack("012", "lesion").auc_bound()
    assert abs(summary["auc_pixel_pooled"].mean - exact) <= bound < 1e-3


def test_groups_name_every_score_of_a_toolbox():
    assert expand_names(["pranet"]) == GROUPS["pranet"]
    assert len(GROUPS["pranet"]) == 13
    assert len(GROUPS["msnet"]) == 6
