"""Load on `delineate serve`: requests per second, latencies, batches, and memory over time.

Starts the service in a process of its own on the loopback, sends requests from several clients, and reads its
memory and its batches from /metrics. What is measured is the whole way: upload, decoding, network, contours,
measurements, answer.

    python benchmarks/serve_load.py runs/demo --images photos/ --clients 8 --requests 400 --json load.json
"""

import argparse
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from delineate.data.images import ENDINGS
from delineate.files import write_json
from delineate.record import describe_environment

START = "import typer; from delineate.cli.serve import serve; typer.run(serve)"
MOST_GROWTH = 0.10
"""Growth of the resident memory after the warm-up that counts as a leak, as a share."""


def load_images(folder: Path | None, count: int = 32) -> list[bytes]:
    """Read some pictures, or make noisy discs of different sizes."""
    if folder is not None:
        files = sorted(f for f in folder.iterdir() if f.name.lower().endswith(ENDINGS))[:count]
        return [file.read_bytes() for file in files]
    import io

    made = []
    rng = np.random.default_rng(0)
    for i in range(count):
        height, width = 300 + 20 * (i % 8), 400 + 30 * (i % 5)
        rows, columns = np.mgrid[:height, :width]
        disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (height / 4) ** 2
        pixels = rng.normal(np.where(disc, 90, 180)[..., None], 12, (height, width, 3))
        stream = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
        made.append(stream.getvalue())
    return made


class Load:
    """Clients that send the next request as soon as they have the last answer."""

    def __init__(self, address: str, images: Sequence[bytes], query: str) -> None:
        self.address, self.images, self.query = address, images, query
        self.taken: list[tuple[float, float, int]] = []  # start, seconds, status
        self._lock = threading.Lock()
        self._next = 0

    def run(self, clients: int, requests: int) -> float:
        """Send `requests` more requests; returns the seconds it took."""
        last = self._next + requests
        threads = [threading.Thread(target=self._client, args=(last,)) for _ in range(clients)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start

    def _client(self, last: int) -> None:
        with httpx.Client(base_url=self.address, timeout=120, trust_env=False) as client:
            while True:
                with self._lock:
                    number = self._next
                    if number >= last:
                        return
                    self._next += 1
                start = time.perf_counter()
                content = self.images[number % len(self.images)]
                try:
                    answer = client.post(f"/api/v1/predict?{self.query}", files={"file": ("x", content)})
                    status = answer.status_code
                except httpx.TransportError:
                    status = 0  # no answer at all
                seconds = time.perf_counter() - start
                with self._lock:
                    self.taken.append((start, seconds, status))
                if status in (0, 503):
                    time.sleep(0.2)


class Memory:
    """Reads the resident memory of the service every second."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.megabytes: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            with suppress(httpx.TransportError):
                text = metrics(self.address)
                self.megabytes.append(figure(text, "process_resident_memory_bytes") / 2**20)
            self._stop.wait(1)


def metrics(address: str) -> str:
    return httpx.get(f"{address}/metrics", timeout=60, trust_env=False).text


def figure(text: str, name: str) -> float:
    found = re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def batch_sizes(text: str) -> dict[str, int]:
    """Passes of the network by the number of images in them, in the histogram's steps."""
    steps = re.findall(r'delineate_batch_images_bucket\{le="([^"]+)",[^}]*\} (\S+)', text)
    steps = steps or re.findall(r'delineate_batch_images_bucket\{[^}]*le="([^"]+)"[^}]*\} (\S+)', text)
    found, before = {}, 0.0
    for step, count in steps:
        found[f"<= {step}"] = int(float(count) - before)
        before = float(count)
    return {step: count for step, count in found.items() if count}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def refuse_taken(port: int) -> None:
    """End when something listens there already: its answers would be taken for those of our service."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        sys.exit(f"Something else listens on port {port}; choose another --port, or leave it out.")


def wait_until_ready(address: str, process: subprocess.Popen, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit("The service ended before it was ready.")
        try:
            if httpx.get(f"{address}/ready", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    sys.exit("The service did not become ready.")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the load and sum it up."""
    options.port = options.port or free_port()
    refuse_taken(options.port)
    address = f"http://127.0.0.1:{options.port}"
    command = [sys.executable, "-c", START, *options.run, "--port", str(options.port), "--store", "none"]
    command += ["--max-batch", str(options.max_batch), "--backend", options.backend]
    command += ["--precision", options.precision]
    process = subprocess.Popen(command)
    try:
        wait_until_ready(address, process)
        load = Load(address, load_images(options.images), options.query)
        load.run(options.clients, options.warm_up)
        load.taken.clear()
        before = batch_sizes(metrics(address))
        with Memory(address) as memory:
            wall = load.run(options.clients, options.requests)
            if process.poll() is not None:
                sys.exit(f"The service ended under load, with exit status {process.returncode}.")
        text = metrics(address)
    finally:
        process.terminate()
        process.wait()
    seconds = np.array([taken for _, taken, status in load.taken if status == 200])
    quarter = max(1, len(memory.megabytes) // 4)
    first, last = np.median(memory.megabytes[:quarter]), np.median(memory.megabytes[-quarter:])
    after = batch_sizes(text)
    statuses = [status for _, _, status in load.taken]
    return {
        "options": {name: str(value) for name, value in vars(options).items()},
        "requests": len(statuses),
        "statuses": {str(s): statuses.count(s) for s in sorted(set(statuses))},
        "seconds": round(wall, 2),
        "requests_per_second": round(len(seconds) / wall, 2),
        "latency_ms": {
            name: round(1000 * float(np.percentile(seconds, p)), 1)
            for name, p in (("p50", 50), ("p95", 95), ("p99", 99), ("largest", 100))
        },
        "batches": {step: after[step] - before.get(step, 0) for step in after},
        "resident_mb": [round(one, 1) for one in memory.megabytes],
        "growth_mb": round(float(last - first), 1),
        "growth": round(float(last / first - 1), 4),
        "exit": process.returncode,
        "environment": describe_environment("cpu").model_dump(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="+")
    parser.add_argument("--images", type=Path, help="folder of pictures; made ones without")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--warm-up", type=int, default=40)
    parser.add_argument("--query", default="measure=true", help="of each request")
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--json", type=Path, help="write the record there")
    options = parser.parse_args()
    found = measure(options)
    if options.json is not None:
        write_json(options.json, found)
    shown = {name: value for name, value in found.items() if name not in ("options", "environment")}
    print(json.dumps(shown, indent=2))
    sound = set(found["statuses"]) <= {"200", "503"} and found["growth"] <= MOST_GROWTH
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
