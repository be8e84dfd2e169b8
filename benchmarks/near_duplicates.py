"""How long the exact search of all near-duplicate pairs among perceptual hashes takes.

    python benchmarks/near_duplicates.py [--count 100000] [--planted 1000] [--json FILE]

Simulated 64-bit hashes with as many ones as real ones have, of which some are planted as copies with up to
`HAMMING` bits changed. Two searches as in the gate: every hash with every other, and every hash with the
mirrored ones. Exit status 1 when a planted pair is missing or both searches together take more than 60 s.
"""

import argparse
import json
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np

from delineate.data.gate.near import HAMMING, close_hashes

REQUIRED_SECONDS = 60.0


def simulated(count: int, rng: np.random.Generator) -> np.ndarray:
    """Hashes of 31 ones at random places, as above the median of 63 frequencies."""
    hashes = np.zeros(count, dtype=np.uint64)
    for start in range(0, count, 10_000):
        order = rng.random((min(10_000, count - start), 63)).argsort(axis=1) < 31
        bits = np.pad(order, ((0, 0), (1, 0)))
        hashes[start : start + len(order)] = np.packbits(bits, axis=1).view(">u8").ravel()
    return hashes


def changed(hashes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same hashes with 0 to `HAMMING` different bits changed in each."""
    result = hashes.copy()
    for i in range(len(result)):
        for bit in rng.choice(64, rng.integers(0, HAMMING + 1), replace=False):
            result[i] ^= np.uint64(1) << np.uint64(bit)
    return result


def search(first: np.ndarray, second: np.ndarray | None) -> tuple[float, set[tuple[int, int]]]:
    start = time.perf_counter()
    pairs = {
        (int(a), int(b))
        for i, j in close_hashes(first, second, ordered=True)
        for a, b in zip(i, j, strict=True)
    }
    return time.perf_counter() - start, pairs


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the search for near-duplicates among hashes.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--planted", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    hashes, turned = simulated(arguments.count, rng), simulated(arguments.count, rng)
    chosen = np.sort(rng.permutation(arguments.count)[: 3 * arguments.planted].reshape(3, -1), axis=0)
    hashes[chosen[1]] = changed(hashes[chosen[0]], rng)
    turned[chosen[2]] = changed(hashes[chosen[0]], rng)
    wanted = {(int(a), int(b)) for a, b in chosen[:2].T}
    wanted_turned = {(int(a), int(b)) for a, b in chosen[[0, 2]].T}

    seconds, pairs = search(hashes, None)
    seconds_turned, pairs_turned = search(hashes, turned)
    missing = len(wanted - pairs) + len(wanted_turned - pairs_turned)
    row = {
        "hashes": arguments.count,
        "bits": HAMMING,
        "planted": len(wanted) + len(wanted_turned),
        "missing": missing,
        "by_chance": len(pairs - wanted) + len(pairs_turned - wanted_turned),
        "direct_seconds": round(seconds, 2),
        "mirrored_seconds": round(seconds_turned, 2),
        "total_seconds": round(seconds + seconds_turned, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "processor": platform.processor() or platform.machine(),
        "numpy": np.__version__,
    }
    for name, value in row.items():
        print(f"{name:<18}{value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
    return int(missing > 0 or row["total_seconds"] > REQUIRED_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
