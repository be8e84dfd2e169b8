"""CHNet: time and memory of the tiled head against the literal head, both in one run.

    python benchmarks/chnet_head.py [--size 352] [--batch 2] [--repeat 5] [--device cpu] [--threads 2]

Forms take turns, so that a busy machine slows both. Prints medians and ratios as JSON. Memory is what
autograd and the step hold at most: on a GPU the allocator's peak, on a CPU the peak that the profiler's
allocation trace adds up to.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from delineate.layers.encoders import create_encoder
from delineate.losses.structure import structure_loss
from delineate.models.chnet import CHNet


def peak_bytes(step: Callable[[], None], device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    held = peak = 0
    for event in trace.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def seconds(call: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--encoder", default="res2net50d")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    image = torch.randn(arguments.batch, 3, arguments.size, arguments.size, device=device)
    mask = (torch.rand(arguments.batch, 1, arguments.size, arguments.size, device=device) > 0.5).float()
    models = {
        head: CHNet(create_encoder(arguments.encoder, levels=(0, 1, 2, 3)), head=head).to(device)
        for head in ("literal", "tiled")
    }

    def forward(model: CHNet) -> None:
        with torch.inference_mode():
            model.eval()(image[:1])

    def head_only(model: CHNet) -> None:
        with torch.inference_mode():
            model.head(features, (arguments.size, arguments.size))

    def train(model: CHNet) -> None:
        structure_loss(model.train()(image).mask, mask).backward()

    with torch.inference_mode():
        features = models["literal"].eval().encoder(image[:1])
    calls = {"forward": forward, "head": head_only, "training step": train}
    result = {"torch": torch.__version__, **vars(arguments)}
    for name, call in calls.items():
        times = {head: [] for head in models}
        for turn in range(arguments.repeat + 1):
            for head, model in models.items():
                model.train(name == "training step")
                elapsed = seconds(lambda call=call, model=model: call(model), device)
                if turn:  # the first turn warms up
                    times[head].append(elapsed)
        medians = {head: statistics.median(values) for head, values in times.items()}
        result[f"{name}, ms"] = {head: round(1e3 * value, 1) for head, value in medians.items()}
        result[f"{name}, ratio"] = round(medians["tiled"] / medians["literal"], 3)
    peaks = {}
    for head, model in models.items():
        train(model)  # gradients exist from here on and do not count
        peaks[head] = peak_bytes(lambda model=model: train(model), device)
    result["training step, peak MB"] = {head: round(value / 1e6, 1) for head, value in peaks.items()}
    result["training step, peak ratio"] = round(peaks["tiled"] / peaks["literal"], 3)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
