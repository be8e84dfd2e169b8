"""Measurements of lesions: time, and how well each one alone tells one label from the others.

    python benchmarks/measurements.py [--data ROOT] [--dataset folder] [--split val] [--label melanoma]

Time is processor time, the median of three: a 4000 x 6000 mask with one large lesion, without and with its
image, and a 2000 x 2000 mask with 5000 specks, all of them and none (`minimum_area`).

With a labelled data set, the largest lesion of each reference mask is measured on its image, and the table
gives the area under the ROC curve of each measurement for `--label` against all others: 0.5 says nothing,
below 0.5 that the label has the lower values.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from delineate.data import index
from delineate.data.images import read_case_image, read_case_mask
from delineate.files import write_json
from delineate.inference.measurements import MEASUREMENTS, measure
from delineate.record import describe_environment


def seconds(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(3):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return round(statistics.median(taken), 2)


def times() -> dict[str, float]:
    rows, columns = np.ogrid[:4000, :6000]
    large = np.uint8(((rows - 2000) / 1800) ** 2 + ((columns - 3000) / 2700) ** 2 <= 1)
    image = np.random.default_rng(0).integers(0, 256, (4000, 6000, 3), dtype=np.uint8)
    specks = np.zeros((2000, 2000), np.uint8)
    specks[::28, ::28] = specks[1::28, ::28] = 1
    return {
        "large": seconds(lambda: measure(large, classes=("a",))),
        "large, oblong pixels": seconds(lambda: measure(large, classes=("a",), spacing=(0.02, 0.01))),
        "large, with image": seconds(lambda: measure(large, image, classes=("a",))),
        f"{len(specks[::28]) ** 2} specks": seconds(lambda: measure(specks, classes=("a",))),
        "no speck large enough": seconds(lambda: measure(specks, classes=("a",), minimum_area=3)),
    }


def separation(root: Path, dataset: str, split: str | None, label: str) -> dict[str, dict[str, float]]:
    cases = [
        case
        for case in index(root, dataset)
        if case.mask is not None and case.label is not None and split in (None, case.split)
    ]
    values, positive = [], []
    for case in cases:
        mask = np.uint8(read_case_mask(case) > 0)
        lesions = measure(mask, read_case_image(case), classes=("lesion",), spacing=case.spacing)
        if lesions:
            values.append(lesions[0].values)
            positive.append(case.label == label)
    result = {}
    for name in MEASUREMENTS:
        known = [
            (row[name], is_one) for row, is_one in zip(values, positive, strict=True) if row[name] is not None
        ]
        if len({is_one for _, is_one in known}) == 2:
            scores, truth = zip(*known, strict=True)
            result[name] = {"auc": round(float(roc_auc_score(truth, scores)), 3), "n": len(known)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--dataset", default="folder")
    parser.add_argument("--split")
    parser.add_argument("--label", default="melanoma")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    taken = times()
    record = {"seconds": taken, "environment": describe_environment("cpu").model_dump(mode="json")}
    for name, value in taken.items():
        print(f"{name:32} {value:6.2f} s")
    if arguments.data is not None:
        table = separation(arguments.data, arguments.dataset, arguments.split, arguments.label)
        record |= {
            "data": str(arguments.data),
            "split": arguments.split,
            "label": arguments.label,
            "auc": table,
        }
        for name, row in table.items():
            print(f"{name:32} {row['auc']:6.3f}  n = {row['n']}")
    if arguments.json is not None:
        write_json(arguments.json, record)


if __name__ == "__main__":
    main()
