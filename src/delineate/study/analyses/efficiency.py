"""What models cost, side by side: weights, multiply-adds, time, memory; CHNet's Table 5, M2SNet's Table 6.

Times are measured in rounds: each round runs every model once, so that a machine that slows down, slows all
of them. A model's time is the median of its rounds; its ratio to the first model is the median of the ratios
within the rounds.
"""

import ctypes
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from delineate.checks import InputError, choose
from delineate.files import atomic_path, write_text
from delineate.inference.backends import choose_device, device_name
from delineate.inference.profile import count_macs, profile
from delineate.models import MODELS, create_model
from delineate.models.base import SegmentationModel
from delineate.models.checkpoint import load_model
from delineate.study.analyses.canvas import SERIES, name_points, sheet
from delineate.study.charts import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODELS_COMPARED = (
    "chnet", "msnet", "m2snet", "ulffn", "clnet", "fcp-net",
    "unet", "attention-unet", "smp:unetplusplus", "deeplabv3plus", "smp:unet",
)  # fmt: skip
"""The systems of this package and the baselines that their papers compare with."""
_WARM_UP = 2


class RunPoint(NamedTuple):
    """What a trained run reached, and at which cost."""

    run: str
    macs: int
    dice: float
    low: float
    high: float


def write_efficiency(
    models: Sequence[str],
    out: Path,
    *,
    size: int = 256,
    rounds: int = 10,
    device: str = "auto",
    runs: Sequence[Path] = (),
    split: str = "test",
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Measure models and write efficiency.csv, efficiency.md and efficiency.png.

    Each model has its default encoder and options, random weights, one mask channel, and one label column if
    it can classify; it runs as in `delineate profile`: evaluation mode, float32, channels-last, batch 1.

    Args:
        models: names in the table of models; ratios are to the first. () for `MODELS_COMPARED`.
        out: folder to write to.
        size: side length of the image, pixels.
        rounds: timed passes of each model.
        device: "auto" takes a GPU when there is one.
        runs: evaluated runs whose Dice is drawn against their multiply-adds at `size`.
        split: the split of the runs' scores.
        progress: called with (done, all).

    Returns:
        The table: model, parameters, macs, milliseconds, ratio, peak_memory_mib.

    Raises:
        InputError: unknown or repeated model, `size` or `rounds` below 1, or a run without scores of `split`.
    """
    names = tuple(models) or MODELS_COMPARED
    for name in names:
        choose("model", name, MODELS)
    if len(set(names)) < len(names):
        raise InputError(f"Name each model once, got {', '.join(names)}.")
    if size < 1 or rounds < 1:
        raise InputError(f"The size and the number of rounds must be at least 1, got {size} and {rounds}.")
    points = [_run_point(run, size, split) for run in runs]
    place = choose_device(device)
    rows, networks = [], []
    for done, name in enumerate(names, 1):
        network = create_model(name, labels=int(MODELS[name].classifies))
        network.remove_training_branches()
        networks.append(network.to(place))
        _return_memory()
        cost = profile(networks[-1], (size, size), repeats=1)
        rows.append((name, cost.params, cost.macs, cost.peak_memory_mb))
        if progress is not None:
            progress(done, len(names) + rounds)
    seconds = _interleaved(
        networks, size, rounds, lambda done: progress and progress(len(names) + done, len(names) + rounds)
    )
    table = pd.DataFrame(rows, columns=["model", "parameters", "macs", "peak_memory_mib"])
    table.insert(3, "milliseconds", [1000 * statistics.median(times) for times in seconds])
    ratios = [
        statistics.median(t / first for t, first in zip(times, seconds[0], strict=True)) for times in seconds
    ]
    table.insert(4, "ratio", ratios)
    where = device_name(place)
    with atomic_path(out / "efficiency.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    draw_efficiency(out / "efficiency.png", table, points, size=size, split=split)
    write_text(
        out / "efficiency.md", _page(table, points, size=size, rounds=rounds, device=where, split=split)
    )
    return table


def _interleaved(
    networks: Sequence[SegmentationModel], size: int, rounds: int, after: Callable[[int], object]
) -> list[list[float]]:
    """Return the seconds of each model's passes, one per round."""
    image = torch.rand(1, 3, size, size, device=next(networks[0].parameters()).device)
    image = image.contiguous(memory_format=torch.channels_last)
    seconds: list[list[float]] = [[] for _ in networks]
    with torch.inference_mode():
        for number in range(-_WARM_UP, rounds):
            for network, times in zip(networks, seconds, strict=True):
                passed = _pass_seconds(network, image)
                if number >= 0:
                    times.append(passed)
            if number >= 0:
                after(number + 1)
    return seconds


def _pass_seconds(network: SegmentationModel, image: Tensor) -> float:
    if image.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    network(image)
    if image.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _return_memory() -> None:
    """Give freed memory back to the system, else one model's peak would hide in what another has left."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, other libraries may not
        if trim is not None:
            trim(0)


def _run_point(run: Path, size: int, split: str) -> RunPoint:
    model, _ = load_model(run)
    try:
        dice = json.loads((run / "summary.json").read_text(encoding="utf-8"))[split]["dice"]
        mean = float(dice["mean"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{run} has no Dice of the split {split!r}; run `delineate evaluate {run} --split {split}` first."
        ) from error
    low, high = (mean if dice[end] is None else float(dice[end]) for end in ("low", "high"))
    return RunPoint(run.resolve().name, count_macs(model, (size, size)), mean, low, high)


def draw_efficiency(
    path: Path, table: pd.DataFrame, points: Sequence[RunPoint] = (), *, size: int, split: str = "test"
) -> None:
    """Draw multiply-adds and time against parameters, and the Dice of runs against their multiply-adds.

    Args:
        path: the picture.
        table: as `write_efficiency` gives it.
        points: trained runs; () leaves that panel out.
        size: side length of the image, for the title.
        split: of the runs' scores, for the axis.
    """
    panels = 3 if points else 2
    with sheet(path, width=4.7 * panels, height=4.2) as figure:
        axes = figure.subplots(1, panels)
        millions = [value / 1e6 for value in table["parameters"]]
        costs = (("macs", 1e9, "multiply-adds, billions"), ("milliseconds", 1, "time of one image, ms"))
        names = [str(name) for name in table["model"]]
        for panel, (column, unit, label) in zip(axes, costs, strict=False):
            values = [value / unit for value in table[column]]
            panel.scatter(millions, values, s=34, color=SERIES[0], zorder=3)
            _logarithmic(panel, millions, "x")
            _logarithmic(panel, values, "y")
            panel.set(
                xlabel="parameters, millions", ylabel=label, title=f"one image of {size} x {size} pixels"
            )
            name_points(panel, millions, values, names)
        if points:
            panel = axes[2]
            macs = [point.macs / 1e9 for point in points]
            dice = [point.dice for point in points]
            ends = [[p.dice - p.low for p in points], [p.high - p.dice for p in points]]
            panel.errorbar(
                macs, dice, yerr=ends, fmt="none", ecolor=PALETTE["muted"], elinewidth=1, capsize=2
            )
            panel.scatter(macs, dice, s=34, color=SERIES[1], zorder=3)
            _logarithmic(panel, macs, "x")
            panel.margins(y=0.12)
            panel.grid(visible=True)
            panel.set(
                xlabel="multiply-adds, billions",
                ylabel=f"Dice, split {split}, 95 % interval",
                title="trained runs",
            )
            name_points(panel, macs, dice, [point.run for point in points])


def _logarithmic(axes: "Axes", values: Sequence[float], side: str) -> None:
    """Give a side a logarithmic scale with room for names and few, plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # slow to import

    axis = axes.xaxis if side == "x" else axes.yaxis
    low, high = min(values), max(values)
    room = max(1.6, (high / low) ** 0.18)
    if side == "x":
        axes.set_xscale("log")
        axes.set_xlim(low / room, high * room)
    else:
        axes.set_yscale("log")
        axes.set_ylim(low / room, high * room)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True)


def _page(
    table: pd.DataFrame, points: Sequence[RunPoint], *, size: int, rounds: int, device: str, split: str
) -> str:
    first = table["model"][0]
    lines = [
        "# Efficiency",
        "",
        f"One image of {size} x {size} pixels, batch 1, float32, channels-last, on {device} "
        f"({torch.get_num_threads()} threads, torch {torch.__version__}); default encoders and options, one "
        "mask channel, and one label where a model can classify.",
        f"Time: median of {rounds} interleaved rounds. Ratio: median of the rounds' ratios to `{first}`. "
        "Peak memory: weights and the most that one forward pass adds. Multiply-adds count convolutions and "
        "matrix products; most papers call them FLOPs.",
        "",
        "![Cost against parameters](efficiency.png)",
        "",
        f"| model | parameters, M | multiply-adds, G | time, ms | time / {first} | peak memory, MiB |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['model']} | {row['parameters'] / 1e6:.2f} | {row['macs'] / 1e9:.2f} | "
        f"{row['milliseconds']:.1f} | {row['ratio']:.2f} | {row['peak_memory_mib']:.0f} |"
        for row in table.to_dict("records")
    ]
    if points:
        lines += [
            "",
            f"| run | Dice, split {split} | 95 % interval | multiply-adds, G |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {p.run} | {p.dice:.3f} | {p.low:.3f} to {p.high:.3f} | {p.macs / 1e9:.2f} |" for p in points
        ]
    return "\n".join(lines) + "\n"
