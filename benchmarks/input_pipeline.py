"""How much faster an epoch loads from the cache than by decoding and resizing every image again.

    python benchmarks/input_pipeline.py [--quick] [--json FILE]

Makes JPEG photographs with PNG masks in a temporary folder, at 3024x2016 (a camera) and 4499x6748 (among
the largest of ISIC 2017), and loads them through `CaseDataset` to 256x256. In every round both ways load
all images one after the other in one process; the medians over rounds are compared. Exit status 1 when the
ratio at 3024x2016 is below 10.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from delineate.data import Cache, Case, CaseDataset, index

TARGET = (256, 256)
REQUIRED = 10.0
SIZES = ((2016, 3024), (6748, 4499))


def make_images(root: Path, size: tuple[int, int], count: int) -> list[Case]:
    """Write smooth noise with fine grain, which compresses about as a photograph does."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    height, width = size
    for number in range(count):
        rng = np.random.default_rng([number, height])
        coarse = Image.fromarray(rng.integers(0, 256, (24, 36, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.integers(-6, 7, (height, width, 1), dtype=np.int16)
        image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{number}.jpg", quality=90)
        mask = (smooth[..., 0] > 128).astype(np.uint8) * 255
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return index(root)


def seconds_per_image(dataset: CaseDataset) -> float:
    start = time.perf_counter()
    for position in range(len(dataset)):
        dataset[position]
    return (time.perf_counter() - start) / len(dataset)


def measure(size: tuple[int, int], count: int, rounds: int) -> dict[str, float | int | str]:
    with tempfile.TemporaryDirectory() as folder:
        cases = make_images(Path(folder) / "data", size, count)
        plain = CaseDataset(cases, size=TARGET)
        start = time.perf_counter()
        cache = Cache(Path(folder) / "cache")
        cache.prepare(cases, TARGET, workers=1)
        first = (time.perf_counter() - start) / count
        cached = CaseDataset(cases, size=TARGET, cache=cache)
        pairs = [(seconds_per_image(plain), seconds_per_image(cached)) for _ in range(rounds)]
    decode = statistics.median(pair[0] for pair in pairs)
    load = statistics.median(pair[1] for pair in pairs)
    return {
        "pixels": f"{size[1]}x{size[0]}",
        "images": count,
        "rounds": rounds,
        "decode_ms": round(decode * 1e3, 3),
        "first_epoch_ms": round(first * 1e3, 3),
        "cached_ms": round(load * 1e3, 3),
        "ratio": round(statistics.median(a / b for a, b in pairs), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args()
    count, rounds = (2, 3) if options.quick else (4, 5)

    results = [measure(size, count, rounds) for size in SIZES]
    print(
        f"{'pixels':>12} {'decode + resize':>16} {'filling the cache':>18} {'second epoch':>13} {'ratio':>8}"
    )
    for row in results:
        print(
            f"{row['pixels']:>12} {row['decode_ms']:>13} ms {row['first_epoch_ms']:>15} ms "
            f"{row['cached_ms']:>10} ms {row['ratio']:>8}"
        )
    report = {
        "benchmark": "input_pipeline",
        "target": f"{TARGET[1]}x{TARGET[0]}",
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "pillow": PIL.__version__,
        "required_ratio": REQUIRED,
        "results": results,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if float(results[0]["ratio"]) >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
