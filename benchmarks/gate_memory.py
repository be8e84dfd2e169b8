"""How much memory and time the gate takes over the number of images.

    python benchmarks/gate_memory.py [--counts 1000 10000 100000] [--side 32] [--json FILE]

Writes some hundred different tiny images with masks and lets every case point to one of them, because what is
measured depends on the number of cases, not on their files; copies of a file share a group, so that the
near-duplicate search passes over them. Every count runs in a process of its own; the memory is its peak less
what it had when the list of cases was made. Exit status 1 when each further case takes more than 5 kB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from delineate.data import Case
from delineate.data.gate.checks import CHECKS
from delineate.data.gate.facts import gather

FILES = 500
REQUIRED_KB = 5.0


def write_files(root: Path, side: int) -> None:
    for number in range(FILES):
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(root / f"{number}.png")
        mask = np.zeros((side, side), dtype=np.uint8)
        mask[side // 4 : side // 2, side // 4 : side // 2 + number % (side // 3)] = 255
        Image.fromarray(mask).save(root / f"{number}-mask.png")


def make_cases(root: Path, count: int) -> list[Case]:
    """Cases of the plain folder's size in memory: paths, id and group of their own."""
    return [
        Case(
            f"image_{number:07d}",
            root / f"{number % FILES}.png",
            root / f"{number % FILES}-mask.png",
            label="ab"[number % 2],
            group=f"file {number % FILES}",
            split="train",
        )
        for number in range(count)
    ]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(root: Path, count: int) -> dict[str, float]:
    cases = make_cases(root, count)
    before = peak_mb()
    start = time.perf_counter()
    facts = gather(cases)
    read = time.perf_counter() - start
    after_reading = peak_mb()
    findings = 0
    start = time.perf_counter()
    for name, check in CHECKS.items():
        # The few files behind the many cases would only measure how fast copies are listed.
        findings += 0 if name in ("pairs", "duplicates") else sum(1 for _ in check(cases, facts))
    checked = time.perf_counter() - start
    return {
        "cases": count,
        "before_mb": round(before, 1),
        "facts_mb": round(after_reading - before, 1),
        "checks_mb": round(peak_mb() - after_reading, 1),
        "kb_per_case": round((peak_mb() - before) * 1024 / count, 2),
        "reading_seconds": round(read, 1),
        "checks_seconds": round(checked, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the gate's memory over the number of images.")
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.counts[0])))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), arguments.side)
        for count in arguments.counts:
            command = [sys.executable, __file__, "--one", folder, "--counts", str(count)]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    first, last = rows[0], rows[-1]
    growth = last["facts_mb"] + last["checks_mb"]
    if len(rows) > 1:  # what each further case costs, without what every run costs
        growth -= first["facts_mb"] + first["checks_mb"]
    per_case = 1024 * growth / (last["cases"] - (first["cases"] if len(rows) > 1 else 0))
    print(f"each further case: {per_case:.2f} kB")
    return int(per_case > REQUIRED_KB)


if __name__ == "__main__":
    sys.exit(main())
