"""All scores of one image: ours against PySODMetrics and MONAI called one after the other, in one run.

    python benchmarks/metrics.py [--pairs 1000] [--large 20] [--quick] [--json FILE]

Synthetic lesions and soft maps that resemble them, at 352 x 352 and at 1080 x 1350. Both sides score each
pair in turn, so that a busy machine slows both; medians over the pairs are compared. The libraries get their
inputs ready made (float64 maps, tensors), ours what a prediction is (float32 map, uint8 reference).

Two totals of the libraries: "five calls" is MAE, S, E, weighted F and HD95; "all calls" adds HD, ASSD and the
overlap scores, which MONAI computes in calls of their own. Against both stands one call of `score_image`,
which gives all scores. Without `--quick` the pairs are scored once more with processes, as `delineate
evaluate` does it.

Exit status 1 when a value differs by more than 1e-6, or when one process at 352 x 352 is not 3 times as fast
as "all calls".
"""

import argparse
import json
import os
import platform
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import py_sod_metrics
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    get_confusion_matrix,
)
from scipy.ndimage import gaussian_filter, zoom

from delineate.metrics import saliency, score_image, surface

REQUIRED = 3.0
TOLERANCE = 1e-6
FIVE = ("mae", "s_measure", "e_measure", "weighted_f", "hd95")
Scores = dict[str, float]


def field(shape: tuple[int, int], grain: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of standard deviation 1 with lumps of `grain` pixels."""
    coarse = max(1, int(grain / 4))
    small = rng.standard_normal([side // coarse + 2 for side in shape])
    smooth = zoom(gaussian_filter(small, grain / coarse), coarse, order=1)[: shape[0], : shape[1]]
    return np.asarray((smooth - smooth.mean()) / smooth.std())


def pair(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One lesion, in one case of four with a second part, and a soft map of it: uint8 0/1, float32 0 to 1."""
    rng = np.random.default_rng(seed)
    side = min(shape)
    y, x = np.ogrid[: shape[0], : shape[1]]
    distance = np.full(shape, -np.inf)
    for _ in range(2 if seed % 4 == 0 else 1):
        row, column = rng.uniform(0.25, 0.75, 2) * shape
        height, width = rng.uniform(0.08, 0.3, 2) * side
        distance = np.maximum(distance, 1 - np.hypot((y - row) / height, (x - column) / width))
    lumpy = distance + 0.1 * field(shape, side / 25, rng)
    wrong = 0.15 * field(shape, side / 18, rng) + 0.1 * field(shape, side / 60, rng)
    # A network's map is steep at the outline and nowhere quite 0 or 1.
    probability = 1 / (1 + np.exp(-12 * (lumpy + wrong).clip(-0.8, 0.8)))
    return (lumpy > 0).astype(np.uint8), probability.astype(np.float32)


def libraries(reference: np.ndarray, probability: np.ndarray) -> tuple[Scores, dict[str, float]]:
    """Return the scores and the milliseconds of each call."""
    mask, soft = reference.astype(bool), probability.astype(np.float64)
    y = torch.from_numpy(reference)[None, None].float()
    p = torch.from_numpy(probability > 0.5)[None, None].float()
    scores: Scores = {}
    times: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Scores]) -> None:
        start = time.perf_counter()
        scores.update(call())
        times[name] = 1e3 * (time.perf_counter() - start)

    def sod(name: str, key: str) -> dict:
        measure = getattr(py_sod_metrics, name)()
        measure.step(soft, mask, normalize=False)
        return measure.get_results()[key]

    def e_measure() -> Scores:
        found = sod("Emeasure", "em")
        curve = found["curve"]
        return {"e_measure_max": curve.max(), "e_measure_mean": curve.mean(), "e_measure_adp": found["adp"]}

    def overlap() -> Scores:
        tp, fp, tn, fn = get_confusion_matrix(p, y, include_background=True)[0, 0].tolist()
        return {
            "dice": compute_dice(p, y).item(),
            "iou": compute_iou(p, y).item(),
            "precision": tp / (tp + fp) if tp + fp else 0.0,
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "accuracy": (tp + tn) / (tp + fp + tn + fn),
        }

    background = {"include_background": True}
    timed("mae", lambda: {"mae": sod("MAE", "mae")})
    timed("s_measure", lambda: {"s_measure": sod("Smeasure", "sm")})
    timed("e_measure", e_measure)
    timed("weighted_f", lambda: {"weighted_f": sod("WeightedFmeasure", "wfm")})
    timed("hd95", lambda: {"hd95": compute_hausdorff_distance(p, y, percentile=95, **background).item()})
    timed("hd", lambda: {"hd": compute_hausdorff_distance(p, y, **background).item()})
    timed(
        "assd",
        lambda: {"assd": compute_average_surface_distance(p, y, symmetric=True, **background).item()},
    )
    timed("overlap", overlap)
    return {name: float(value) for name, value in scores.items()}, times


def ours(reference: np.ndarray, probability: np.ndarray) -> tuple[Scores, dict[str, float]]:
    """Return the scores of `score_image`, and the milliseconds of it and of the single functions."""
    mask, predicted = reference == 1, probability > 0.5
    calls: dict[str, Callable[[], object]] = {
        "mae": lambda: saliency.mae(mask, probability),
        "s_measure": lambda: saliency.s_measure(mask, probability),
        "e_measure": lambda: saliency.e_measure(mask, probability),
        "weighted_f": lambda: saliency.weighted_f(mask, probability),
        "hd95": lambda: surface.hd95(surface.surface_distances(mask, predicted)),
        "hd": lambda: surface.hd(surface.surface_distances(mask, predicted)),
        "assd": lambda: surface.assd(surface.surface_distances(mask, predicted)),
        "overlap": lambda: score_image(
            reference, probability, classes=("lesion",), surface=False, saliency=False
        ),
    }
    times: dict[str, float] = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        times[name] = 1e3 * (time.perf_counter() - start)
    start = time.perf_counter()
    scores = score_image(reference, probability, classes=("lesion",))
    times["total"] = 1e3 * (time.perf_counter() - start)
    return scores, times


def compare(shape: tuple[int, int], count: int) -> dict:
    """Score `count` pairs by both sides in turn."""
    theirs: list[dict[str, float]] = []
    mine: list[dict[str, float]] = []
    differences: dict[str, float] = {}
    wrong = set()
    for seed in range(-1, count):
        inputs = pair(shape, abs(seed))
        expected, their_times = libraries(*inputs)
        found, my_times = ours(*inputs)
        for name, value in expected.items():
            difference = abs(found[name] - value)
            differences[name] = max(differences.get(name, 0.0), difference)
            if not difference <= TOLERANCE:  # NaN fails too
                wrong.add(name)
        if seed >= 0:  # the first pair warms up
            their_times["five calls"] = sum(their_times[name] for name in FIVE)
            their_times["all calls"] = sum(v for name, v in their_times.items() if name != "five calls")
            theirs.append(their_times)
            mine.append(my_times)
    rows = {}
    for name in theirs[0]:
        reference_ms = statistics.median(times[name] for times in theirs)
        our_ms = statistics.median(times[name if name in times else "total"] for times in mine)
        rows[name] = {
            "libraries_ms": round(reference_ms, 2),
            "ours_ms": round(our_ms, 2),
            "ratio": round(reference_ms / our_ms, 2),
        }
    return {
        "size": [*shape],
        "pairs": count,
        "rows": rows,
        "largest_difference": differences,
        "wrong": sorted(wrong),
    }


def with_processes(shape: tuple[int, int], count: int, processes: int) -> dict[str, float]:
    """Score `count` pairs with processes; the pairs are made first and sent, as predictions are."""
    made = [pair(shape, seed) for seed in range(min(count, 50))]
    jobs = [made[i % len(made)] for i in range(count)]
    context = get_context("spawn")
    begin = time.perf_counter()
    with ProcessPoolExecutor(
        processes, context, initializer=start_worker, initargs=(context.Barrier(processes),)
    ) as pool:
        list(pool.map(score_pair, made[:processes]))
        running = time.perf_counter()
        list(pool.map(score_pair, jobs, chunksize=4))
        end = time.perf_counter()
    return {
        "processes": processes,
        "pairs": count,
        "seconds_with_start": round(end - begin, 2),
        "ms_per_pair_once_running": round(1e3 * (end - running) / count, 2),
    }


def start_worker(barrier: threading.Barrier) -> None:
    """Load everything, then wait for the other processes, so that they start to work together."""
    torch.set_num_threads(1)
    score_pair(pair((32, 32), 0))
    barrier.wait()


def score_pair(inputs: tuple[np.ndarray, np.ndarray]) -> Scores:
    return score_image(*inputs, classes=("lesion",))


def show(result: dict) -> None:
    height, width = result["size"]
    print(f"\n{height} x {width}, {result['pairs']} pairs, medians in ms per pair")
    print(f"{'':<12}{'libraries':>10}{'ours':>8}{'ratio':>7}")
    for name, row in result["rows"].items():
        print(f"{name:<12}{row['libraries_ms']:>10.2f}{row['ours_ms']:>8.2f}{row['ratio']:>7.1f}")
    print("largest differences:")
    for name, value in result["largest_difference"].items():
        print(f"  {name:<16}{value:.1e}" + ("  TOO LARGE" if name in result["wrong"] else ""))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure our scores against PySODMetrics and MONAI.")
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of 352 x 352")
    parser.add_argument("--large", type=int, default=20, help="pairs of 1080 x 1350")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="20 pairs, 2 large ones, no processes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
    pairs, large = (20, 2) if arguments.quick else (arguments.pairs, arguments.large)

    small = compare((352, 352), pairs)
    results = [small] + ([compare((1080, 1350), large)] if large else [])
    for result in results:
        show(result)
    report: dict = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("pysodmetrics", "monai", "numpy", "scipy", "torch")},
        "results": results,
    }
    if not arguments.quick:
        many = with_processes((352, 352), pairs, arguments.processes)
        for name in ("five calls", "all calls"):
            reference_ms = small["rows"][name]["libraries_ms"]
            many[f"ratio to {name}"] = round(reference_ms / many["ms_per_pair_once_running"], 2)
            whole = reference_ms * pairs / 1e3 / many["seconds_with_start"]
            many[f"ratio to {name} with start"] = round(whole, 2)
        report["with_processes"] = many
        print("\nwith processes:", json.dumps(many, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    slow = small["rows"]["all calls"]["ratio"] < REQUIRED
    wrong = sorted({name for result in results for name in result["wrong"]})
    if slow:
        print(f"FAIL: {small['rows']['all calls']['ratio']} times as fast as all calls, not {REQUIRED:g}.")
    if wrong:
        print(f"FAIL: {', '.join(wrong)} differ by more than {TOLERANCE:g}.")
    return int(slow or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
