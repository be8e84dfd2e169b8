"""What a model costs: weights, multiply-adds, time and memory."""

import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Profile(NamedTuple):
    """The cost of one forward pass of one image."""

    params: int
    """Number of weights."""
    macs: int
    """Multiply-adds of convolutions and matrix products; element-wise work and resizing not counted."""
    latency_ms: float
    """Median time of a forward pass, milliseconds."""
    peak_memory_mb: float
    """Weights plus the most that one forward pass adds to them, MiB."""


def count_macs(model: nn.Module, size: tuple[int, int]) -> int:
    """Count the multiply-adds of one forward pass of one 3-channel image of (height, width) pixels.

    Papers that print "FLOPs" mostly mean this number. Convolutions, transposed convolutions, linear layers,
    matrix products and attention count; element-wise work does not.
    """
    weight = next(model.parameters())
    image = torch.zeros(1, 3, *size, device=weight.device)
    was_training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    model.train(was_training)
    return counter.get_total_flops() // 2


def profile(model: nn.Module, size: tuple[int, int], *, repeats: int = 10) -> Profile:
    """Measure a model on the device it is on, in evaluation mode, channels-last, float32, batch 1.

    Args:
        model: image -> Prediction.
        size: height and width in pixels.
        repeats: timed passes; three more come before them untimed.
    """
    model = model.eval().to(memory_format=torch.channels_last)
    device = next(model.parameters()).device
    image = torch.rand(1, 3, *size, device=device).contiguous(memory_format=torch.channels_last)
    weights = sum(p.numel() * p.element_size() for p in model.state_dict().values())
    with torch.inference_mode():
        added = _peak_of_forward(model, image)
        for _ in range(3):
            model(image)
        times = [_time(model, image) for _ in range(repeats)]
    return Profile(
        params=sum(p.numel() for p in model.parameters()),
        macs=count_macs(model, size),
        latency_ms=1000 * statistics.median(times),
        peak_memory_mb=(weights + added) / 2**20,
    )


def _time(model: nn.Module, image: torch.Tensor) -> float:
    if image.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    model(image)
    if image.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _peak_of_forward(model: nn.Module, image: torch.Tensor) -> int:
    """Return the bytes that one forward pass adds at its peak."""
    if image.is_cuda:
        model(image)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        model(image)
        return torch.cuda.max_memory_allocated() - before
    model(image[:, :, :64, :64])  # loads kernels and thread pools, which are not the model's
    clear = Path("/proc/self/clear_refs")
    if sys.platform == "linux" and clear.exists():
        clear.write_text("5")  # sets the process's peak back to its present size
        before = _status("VmRSS")
        model(image)
        return max(0, _status("VmHWM") - before)
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    model(image)
    return max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0
