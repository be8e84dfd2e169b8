"""LossNet: time and memory of the folded form against the literal one, both in one run.

    python benchmarks/lossnet.py [--size 352] [--batch 2] [--repeat 5] [--device cpu] [--threads 2]

Forms take turns, so that a busy machine slows both. Prints medians and ratios as JSON: forward and backward
of the loss alone, from a prediction of `size` pixels a side, with random weights, on which the time does not
depend. Memory is the allocator's peak on a GPU, and left out on a CPU.
"""

import argparse
import json
import statistics
import time

import torch

from delineate.losses import LossNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    shape = (arguments.batch, 1, arguments.size, arguments.size)
    logits = torch.randn(shape, device=device, requires_grad=True)
    mask = (torch.rand(shape, device=device) > 0.5).float()
    losses = {form: LossNet(pretrained=False, form=form) for form in ("literal", "folded")}

    def step(form: str) -> tuple[float, float, int]:
        logits.grad = None
        before = 0
        if device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        start = time.perf_counter()
        loss = losses[form](logits, mask)
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() - before if device.type == "cuda" else 0
        return elapsed, loss.item(), peak

    times: dict[str, list[float]] = {form: [] for form in losses}
    values, peaks = {}, {}
    for turn in range(arguments.repeat + 1):
        for form in losses:
            elapsed, values[form], peaks[form] = step(form)
            if turn:  # the first turn warms up
                times[form].append(elapsed)
    medians = {form: statistics.median(each) for form, each in times.items()}
    result = {"torch": torch.__version__, **vars(arguments)}
    result["forward + backward, ms"] = {form: round(1e3 * value, 1) for form, value in medians.items()}
    result["forward + backward, ratio"] = round(medians["folded"] / medians["literal"], 3)
    if device.type == "cuda":
        result["peak MB"] = {form: round(value / 1e6, 1) for form, value in peaks.items()}
    result["relative difference"] = abs(values["folded"] / values["literal"] - 1)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
