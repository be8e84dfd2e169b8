"""How much FCP-Net's channel attention changes when the same image comes at another resolution (Fig. 8).

Source: Liu et al., FCP-Net, IEEE TMI 2022, section IV.B.1, Fig. 8.

For each image the gates s of an SME block, Eq. (2), are taken at every scale. Their standard deviation over
the scales (divided by their number), averaged over channels and images, is the mean standard deviation
(MSD). 0: the attention does not depend on the resolution.

Readings: 1.0 is the size the model was trained at; the other scales come from the image file itself, not from
the smaller image. The paper shows five branches; four of them have an EFE here (models/fcpnet.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from delineate.checks import InputError
from delineate.data import Case, read_case_image
from delineate.data.cache import resize_image
from delineate.files import atomic_path
from delineate.inference.predictor import Predictor
from delineate.models.fcpnet import EmbeddedFeatureEnsemble
from delineate.study.analyses.canvas import SERIES, sheet

SCALES = (1.0, 1.5, 2.0)
"""The paper's."""

TABLE, PICTURE = "attention_stability.csv", "attention_stability.png"


class Stability(NamedTuple):
    """One row of the table."""

    run: str
    """Name of the run folder."""
    rate: int
    """Dilation of the branch."""
    dropout: float
    """Dropout probability in the branch's SME block."""
    images: int
    """Number of images."""
    msd: float
    """Mean standard deviation of the gates over the scales, 0 to 0.5."""


def write_attention_stability(
    runs: Sequence[Path],
    images: Sequence[Case],
    out: Path,
    *,
    scales: Sequence[float] = SCALES,
    device: str = "auto",
) -> Path:
    """Measure trained FCP-Nets side by side; write attention_stability.csv and attention_stability.png.

    Args:
        runs: run folders, for example one with and one without `efe_dropout`.
        images: cases, as `find_images` lists them; every run sees all of them.
        out: folder for both files.
        scales: factors of the height and width that the model was trained at, at least two.
        device: "auto" takes a GPU when there is one.

    Returns:
        The table's path.

    Raises:
        InputError: no run or image, fewer than two scales, a scale of 0 or less, a run that is no FCP-Net
            with EFE, or an image that cannot be read.
    """
    if not runs or not images:
        raise InputError("Attention stability needs at least one run folder and one image.")
    if len(scales) < 2 or min(scales) <= 0:
        raise InputError(f"Attention stability needs at least two scales above 0, got {list(scales)}.")
    names = _names(runs)
    rows = [
        row
        for run, name in zip(runs, names, strict=True)
        for row in measure_stability(Predictor.load(run, device=device), images, scales, name)
    ]
    table = pd.DataFrame(rows, columns=Stability._fields)
    with atomic_path(out / TABLE) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    draw_stability(out / PICTURE, rows, scales)
    return out / TABLE


def measure_stability(
    predictor: Predictor, images: Sequence[Case], scales: Sequence[float], name: str
) -> list[Stability]:
    """Return one row for each EFE branch of a model, smallest dilation first.

    Args:
        predictor: a trained model with its preprocessing.
        images: cases.
        scales: factors of the size that the model was trained at.
        name: of the run, for the rows and messages.

    Raises:
        InputError: the model has no EFE, or an image cannot be read.
    """
    branches = [m for m in predictor.model.modules() if isinstance(m, EmbeddedFeatureEnsemble)]
    if not branches:
        raise InputError(
            f"Run {name} has no EFE branch to measure; give runs of the model fcp-net with the option efe."
        )
    branches.sort(key=lambda branch: branch.rate)
    totals = [0.0] * len(branches)
    for case in images:
        image = read_case_image(predictor.with_window(case))
        per_scale: list[list[Tensor]] = []
        for scale in scales:
            height, width = (max(1, round(side * scale)) for side in predictor.info.size)
            batch = predictor.torch.prepare(resize_image(image, (height, width))[None])
            per_scale.append(gates(predictor.model, branches, batch))
        for i, at_scales in enumerate(zip(*per_scale, strict=True)):
            totals[i] += mean_deviation(torch.stack(at_scales))
    return [
        Stability(name, branch.rate, _dropout(branch), len(images), total / len(images))
        for branch, total in zip(branches, totals, strict=True)
    ]


@torch.inference_mode()
def gates(model: nn.Module, branches: Sequence[EmbeddedFeatureEnsemble], image: Tensor) -> list[Tensor]:
    """Run the model on one image (1, 3, H, W); return the SME gates (C,) of each branch, on the CPU."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(gate: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        seen[gate] = output.flatten().float().cpu()  # (1, C, 1, 1) -> (C,)

    hooks = [branch.attend.gate.register_forward_hook(keep) for branch in branches]
    try:
        model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [seen[branch.attend.gate] for branch in branches]


def mean_deviation(weights: Tensor) -> float:
    """Return the deviation over the first dimension, averaged over the second: (scales, C) -> MSD."""
    return float(weights.std(dim=0, correction=0).mean())


def draw_stability(path: Path, rows: Sequence[Stability], scales: Sequence[float]) -> None:
    """Draw the MSD as bars: a group for each branch, a bar for each run, as Fig. 8 of the paper.

    Args:
        path: the picture (PNG).
        rows: the table.
        scales: for the axis's label.
    """
    runs = list(dict.fromkeys(row.run for row in rows))
    rates = sorted({row.rate for row in rows})
    bar = 0.8 / len(runs)
    with sheet(
        path, width=max(4.2, 1.2 + 0.35 * len(rates) * len(runs)), height=2.9 + 0.2 * len(runs)
    ) as figure:
        axes = figure.add_subplot()
        for i, run in enumerate(runs):
            mine = {row.rate: row.msd for row in rows if row.run == run}
            places = [g + (i - (len(runs) - 1) / 2) * bar for g, rate in enumerate(rates) if rate in mine]
            heights = [mine[rate] for rate in rates if rate in mine]
            axes.bar(places, heights, width=0.92 * bar, color=SERIES[i % len(SERIES)], label=run)
        axes.set_xticks(range(len(rates)), [f"rate {rate}" for rate in rates])
        axes.set_ylabel("mean deviation of the gates")
        axes.set_xlabel(f"EFE branch; scales {', '.join(f'{scale:g}x' for scale in scales)}")
        axes.grid(visible=True, axis="y")
        figure.legend(frameon=False, loc="outside upper left")


def _dropout(branch: EmbeddedFeatureEnsemble) -> float:
    layers = (m for m in branch.attend.modules() if isinstance(m, nn.Dropout))
    return next(layers).p


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the folders' names, or their paths where two have one name."""
    names = [run.resolve().name for run in runs]
    return [n if names.count(n) == 1 else str(run) for n, run in zip(names, runs, strict=True)]
