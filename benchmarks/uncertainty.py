"""Whether the score "look at this one" finds the images on which a model is wrong.

    python benchmarks/uncertainty.py RUN... [--data ROOT] [--split test] [--limit N] [--json FILE]

Predicts the test cases of the runs (which must share their split) in four ways: each run alone, each with
flips averaged, all runs as an ensemble, and that with flips (the last two with several runs only). For each
way it tells how well an order by the score agrees with the order by the true error, 1 - Dice:

    spearman   rank correlation of score and error, with a 95 % interval over resampled cases
    aurc       mean error of the k least suspicious images, averaged over all k; smaller is better
    random     the same for a random order: the mean error
    ideal      the same for an order by the error itself
    gain       (random - aurc) / (random - ideal): 0 is a random order, 1 the ideal one

"entropy" is the same for the mean entropy of the pixels, the score that comes to mind first. Numbers of
single runs, ends of intervals too, are means over the runs.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from delineate.checks import InputError
from delineate.data import apply_manifest, fingerprint, index, read_manifest
from delineate.data.case import Case
from delineate.data.images import read_case_mask
from delineate.files import write_json
from delineate.inference.predictor import Predictor
from delineate.record import describe_environment, read_record

RESAMPLES = 1000


def dice_error(mask: np.ndarray, reference: np.ndarray) -> float:
    """1 - Dice of the foreground; 0 when both are empty."""
    found, true = mask > 0, reference > 0
    both = int(found.sum()) + int(true.sum())
    return 1 - 2 * int((found & true).sum()) / both if both else 0.0


def test_cases(run: Path, root: Path | None, split: str, limit: int | None) -> tuple[list[Case], str]:
    """The cases of a run's split that have a mask, and the fingerprint of its data."""
    record, manifest = read_record(run / "record.json"), read_manifest(run / "splits.json")
    cases = apply_manifest(index(root or Path(record.data_root), record.dataset), manifest)
    chosen = [case for case in cases if case.split == split and case.mask is not None]
    return chosen[:limit], fingerprint(manifest)


def area_under_risk(error: np.ndarray, score: np.ndarray) -> float:
    """Mean error of the k images with the smallest scores, averaged over k = 1 to all."""
    ordered = error[np.argsort(score, kind="stable")]
    return float(np.mean(np.cumsum(ordered) / np.arange(1, len(ordered) + 1)))


def judge(error: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Compare a score with the error it should foretell."""
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(error), len(error)) for _ in range(RESAMPLES)]
    spread = [spearmanr(score[i], error[i]).statistic for i in drawn]
    low, high = np.nanquantile(spread, (0.025, 0.975))
    aurc, random, ideal = area_under_risk(error, score), float(error.mean()), area_under_risk(error, error)
    return {
        "spearman": float(spearmanr(score, error).statistic),
        "low": float(low),
        "high": float(high),
        "aurc": aurc,
        "random": random,
        "ideal": ideal,
        "gain": (random - aurc) / (random - ideal),
    }


def measure(predictor: Predictor, cases: Sequence[Case], references: Sequence[np.ndarray]) -> dict:
    errors, looks, entropies = [], [], []
    for found, reference in zip(predictor.predict(cases), references, strict=True):
        errors.append(dice_error(found.mask, reference))
        looks.append(found.uncertainty.look)
        entropies.append(float(found.uncertainty.entropy.mean()))
    error = np.array(errors)
    return {"dice": 1 - float(error.mean()), "look": judge(error, np.array(looks))} | {
        "entropy": judge(error, np.array(entropies))
    }


def mean_of(rows: Sequence[dict]) -> dict:
    """Average equally built nested numbers."""
    first = rows[0]
    return {
        key: mean_of([row[key] for row in rows])
        if isinstance(first[key], dict)
        else float(np.mean([row[key] for row in rows]))
        for key in first
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure whether the score of uncertainty foretells errors.")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, help="folder of the data set; by default the runs' own")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="only the first so many cases")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runs = arguments.runs

    found = [test_cases(run, arguments.data, arguments.split, arguments.limit) for run in runs]
    if len({tuple(case.id for case in cases) for cases, _ in found}) > 1:
        raise InputError("The runs do not share their test cases; name runs of one split.")
    cases, data = found[0]
    if len(cases) < 10:
        raise InputError(
            f"The split {arguments.split!r} has {len(cases)} case(s) with masks; a rank correlation needs 10."
        )
    references = [read_case_mask(case) for case in cases]
    ways: list[tuple[str, list, str]] = [("single", [[run] for run in runs], "none")]
    ways.append(("flips", [[run] for run in runs], "flips"))
    if len(runs) > 1:
        ways += [("ensemble", [runs], "none"), ("ensemble, flips", [runs], "flips")]
    rows = {}
    print(f"{len(cases)} cases of {arguments.split}")
    print(f"{'way':<16} {'Dice':>6} {'spearman':>9} {'interval':>14} {'gain':>6} {'entropy':>8} {'gain':>6}")
    identities = []
    for name, groups, tta in ways:
        results = []
        for group in groups:
            predictor = Predictor.load(group, tta=tta, uncertainty=True)
            identities.append(predictor.identity)
            results.append(measure(predictor, cases, references))
        row = rows[name] = mean_of(results)
        look, entropy = row["look"], row["entropy"]
        print(
            f"{name:<16} {row['dice']:6.3f} {look['spearman']:9.2f} {look['low']:6.2f} to {look['high']:.2f}"
            f" {look['gain']:6.2f} {entropy['spearman']:8.2f} {entropy['gain']:6.2f}",
            flush=True,
        )
    if arguments.json:
        record = {
            "cases": len(cases),
            "data_fingerprint": data,
            "predictors": identities,
            "ways": rows,
            "environment": describe_environment("cpu").model_dump(),
        }
        write_json(arguments.json, record)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(str(error))
