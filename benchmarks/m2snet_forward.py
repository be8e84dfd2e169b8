"""M2SNet: time of the exact rewrite of its all-ones convolutions against their literal form, in one run.

    python benchmarks/m2snet_forward.py [--size 352] [--repeats 15] [--threads 2] [--layout contiguous]

Batch 1, evaluation mode. The forms, and MSNet, which has no all-ones convolutions, take turns, so that a busy
machine slows all of them. Prints medians and ratios as JSON; the ratio has to be at most 0.70.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import timm
import torch

from delineate.models.m2snet import build_m2snet
from delineate.models.msnet import build_msnet

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
LIMIT = 0.70


def seconds(model: torch.nn.Module, image: torch.Tensor) -> float:
    if image.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.inference_mode():
        model(image)
    if image.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layout", choices=LAYOUTS, default="contiguous")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoder", default="res2net50d")
    parser.add_argument("--out", type=Path, help="also write the result to this JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    layout = LAYOUTS[arguments.layout]
    settings = {"classes": 1, "labels": 0, "encoder": arguments.encoder, "pretrained": False}
    models = {
        "literal": build_m2snet(**settings, boxes="literal"),
        "exact": build_m2snet(**settings, boxes="exact"),
        "msnet": build_msnet(**settings),
    }
    models["exact"].load_state_dict(models["literal"].state_dict())
    models = {name: m.eval().to(arguments.device, memory_format=layout) for name, m in models.items()}
    image = torch.randn(1, 3, arguments.size, arguments.size, device=arguments.device)
    image = image.contiguous(memory_format=layout)
    with torch.inference_mode():
        masks = [models[name](image).mask for name in ("literal", "exact")]
    difference = (masks[1] - masks[0]).abs().max() / masks[0].abs().max()

    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(arguments.repeats + 1):
        for name, model in models.items():
            elapsed = seconds(model, image)
            if turn:  # the first turn warms up
                times[name].append(elapsed)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["exact"] / medians["literal"]
    result = {
        "benchmark": "m2snet_forward",
        **{key: value for key, value in vars(arguments).items() if key != "out"},
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "forward, ms": {name: round(1e3 * value, 1) for name, value in medians.items()},
        "forward, fastest, ms": {name: round(1e3 * min(values), 1) for name, values in times.items()},
        "ratio": round(ratio, 3),
        "limit": LIMIT,
        "met": ratio <= LIMIT,
        "max relative difference": float(f"{difference.item():.2e}"),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
