"""How fast an epoch loads: from the cache, against decoding and resizing every image again.

    python benchmarks/input_pipeline.py [--quick] [--entries N] [--json FILE]

Makes JPEG photographs with PNG masks in a temporary folder, at 767x1022 (ISIC's usual size), 2016x3024 (a
camera) and 4499x6748 (the largest of ISIC 2017), and loads them through `CaseDataset` to 256x256. In every
round all ways load all images one after the other in one process: in full, at JPEG's reduced scale (what
`CaseDataset` does without a cache), and from the cache (second pass). The first pass fills a new cache in
each round. Medians over rounds are reported; ratios are medians of the ratios of a round.

Two more measurements: two processes that fill one cache at once, and a cache of many small entries (one file
each), which says what the number of files costs.

Exit status 1 when the second pass is less than 10 times faster than decoding in full at 2016x3024.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from delineate.data import Cache, Case, CaseDataset, index, read_image, read_mask
from delineate.data.cache import resize_image, resize_mask
from delineate.data.entries import Entries

TARGET = (256, 256)
REQUIRED = 10.0
REQUIRED_AT = (2016, 3024)
SIZES = ((767, 1022), REQUIRED_AT, (4499, 6748))
COLUMNS = (
    "pixels",
    "decode_full_ms",
    "decode_reduced_ms",
    "first_pass_ms",
    "second_pass_ms",
    "ratio_to_full",
    "ratio_to_reduced",
)
FILL = """
import sys
from pathlib import Path
from delineate.data import Cache, index
cases = index(Path(sys.argv[1]))
cache = Cache(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
print(cache.prepare(cases, (256, 256), workers=1))
"""


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


def seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def load_all(dataset: CaseDataset) -> None:
    for position in range(len(dataset)):
        dataset[position]


def decode_in_full(cases: list[Case]) -> None:
    for case in cases:
        resize_image(read_image(case.image), TARGET)
        if case.mask is not None:
            resize_mask(read_mask(case.mask, case.encoding), TARGET)


def measure(size: tuple[int, int], count: int, rounds: int) -> dict[str, float | int | str]:
    """Milliseconds per case of the four ways."""
    with tempfile.TemporaryDirectory() as folder:
        cases = make_images(Path(folder) / "data", size, count)
        reduced = CaseDataset(cases, size=TARGET)
        times: list[tuple[float, float, float, float]] = []
        for number in range(rounds):
            cache = Cache(Path(folder) / f"cache{number}")
            cached = CaseDataset(cases, size=TARGET, cache=cache)
            times.append(
                (
                    seconds(lambda: decode_in_full(cases)),
                    seconds(lambda: load_all(reduced)),
                    seconds(lambda cache=cache: cache.prepare(cases, TARGET, workers=1)),
                    seconds(lambda cached=cached: load_all(cached)),
                )
            )
    full, plain, first, second = (statistics.median(column) / count for column in zip(*times, strict=True))
    return {
        "pixels": f"{size[0]}x{size[1]}",
        "images": count,
        "rounds": rounds,
        "decode_full_ms": round(full * 1e3, 3),
        "decode_reduced_ms": round(plain * 1e3, 3),
        "first_pass_ms": round(first * 1e3, 3),
        "second_pass_ms": round(second * 1e3, 3),
        "ratio_to_full": round(statistics.median(row[0] / row[3] for row in times), 1),
        "ratio_to_reduced": round(statistics.median(row[1] / row[3] for row in times), 1),
    }


def measure_two_processes(count: int) -> dict[str, float | int | list[int]]:
    """Fill one cache from one process and from two at once; both with one thread each."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        make_images(root, REQUIRED_AT, count)
        found = {}
        for number in (1, 2):
            command = [sys.executable, "-c", FILL, str(root), str(Path(folder) / f"cache{number}")]
            pair = [
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                for _ in range(number)
            ]
            for process in pair:
                process.stdout.readline()  # it has started
            start = time.perf_counter()
            for process in pair:
                process.stdin.write("\n")
                process.stdin.flush()
            made = [int(process.communicate()[0]) for process in pair]
            found[number] = (time.perf_counter() - start, made)
    return {
        "cases": count,
        "one_process_s": round(found[1][0], 2),
        "two_processes_s": round(found[2][0], 2),
        "decoded_by_each": found[2][1],
    }


def measure_many_entries(count: int) -> dict[str, float | int]:
    """Write and read entries of 64x64x3: one file each, in random order, through the page cache."""
    shape = (64, 64, 3)
    with tempfile.TemporaryDirectory() as folder:
        entries = Entries(Path(folder))
        pixels = np.zeros(shape, np.uint8)
        names = [str(number) for number in range(count)]
        written = seconds(lambda: [entries.store(name, pixels) for name in names])
        checked = seconds(lambda: [entries.has(name, shape) for name in names])
        random.Random(0).shuffle(names)
        read = seconds(lambda: [np.array(entries.load(name, shape)) for name in names])
        few = names[:100]
        repeated = seconds(lambda: [np.array(entries.load(name, shape)) for _ in range(20) for name in few])
    return {
        "entries": count,
        "write_us": round(written / count * 1e6, 1),
        "check_us": round(checked / count * 1e6, 1),
        "read_us": round(read / count * 1e6, 1),
        "read_among_100_us": round(repeated / 2000 * 1e6, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    parser.add_argument("--entries", type=int, help="number of small entries (100,000; 2,000 with --quick)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args()
    count, rounds = (2, 3) if options.quick else (4, 5)

    results = [measure(size, count, rounds) for size in SIZES]
    print("milliseconds per case, ratios to the second pass")
    titles = ("pixels", "full", "reduced", "first", "second", "full/2nd", "red./2nd")
    print(" ".join(f"{title:>10}" for title in titles))
    for row in results:
        print(" ".join(f"{row[column]:>10}" for column in COLUMNS))
    report = {
        "benchmark": "input_pipeline",
        "target": f"{TARGET[0]}x{TARGET[1]}",
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "pillow": PIL.__version__,
        "required_ratio": REQUIRED,
        "results": results,
        "two_processes": measure_two_processes(4 if options.quick else 16),
        "many_entries": measure_many_entries(options.entries or (2_000 if options.quick else 100_000)),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    required = results[SIZES.index(REQUIRED_AT)]
    return 0 if float(required["ratio_to_full"]) >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
