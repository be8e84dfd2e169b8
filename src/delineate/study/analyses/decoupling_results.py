"""Table, curves and page of the decoupling study."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from delineate.config import Recipe
from delineate.files import atomic_path, write_text
from delineate.models.checkpoint import load_model
from delineate.recipe_io import load_recipe
from delineate.record import read_record
from delineate.study.analyses.canvas import SERIES, sheet
from delineate.study.analyses.decoupling_plan import DEPTH, UNTRAINED, PlannedRun, shared_encoder
from delineate.study.charts import PALETTE
from delineate.training.run import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL = (3.1, 2.5)  # inches
_STYLES: Mapping[str, Any] = {"random": "-", "own": (0, (4, 2))}
_COLUMNS = (
    "run", "backbone", "decoder", "initialisation", "split", "dice", "low", "high", "cases", "epochs",
    "selected_epoch", "seconds", "trainable_parameters", "failure",
)  # fmt: skip


def write_results(
    out: Path,
    base: Recipe,
    runs: Sequence[PlannedRun],
    folder: Path,
    *,
    split: str,
    failed: Mapping[str, str],
) -> pd.DataFrame:
    """Write decoupling.csv, decoupling.png and decoupling.md from finished runs; returns the table.

    Args:
        out: folder of the study.
        base: the recipe that all runs share.
        runs: the plan.
        folder: where the run folders are.
        split: the evaluated split.
        failed: run -> reason, for those without a result.
    """
    table = pd.DataFrame([_row(run, folder / run.name, split, failed.get(run.name)) for run in runs])
    # In this order also when the first run failed and brings no figures.
    table = table.reindex(columns=_COLUMNS)
    counts = ["cases", "epochs", "selected_epoch", "trainable_parameters"]
    table = table.astype(dict.fromkeys(counts, "Int64"))
    with atomic_path(out / "decoupling.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    curves = {run.name: _history(folder / run.name) for run in runs if run.name not in failed}
    draw_curves(out / "decoupling.png", runs, {name: c for name, c in curves.items() if c is not None})
    write_text(out / "decoupling.md", _page(base, table, failed, split))
    return table


def _row(run: PlannedRun, folder: Path, split: str, failure: str | None) -> dict[str, object]:
    head: dict[str, object] = {
        "run": run.name,
        "backbone": run.backbone,
        "decoder": run.decoder,
        "initialisation": run.initialisation,
        "split": split,
    }
    if failure is not None:
        return head | {"failure": failure}
    place = RunFolder(folder)
    record = read_record(place.record)
    dice = json.loads((folder / "summary.json").read_text(encoding="utf-8"))[split]["dice"]
    model, _ = load_model(folder)
    weights = sum(weight.numel() for weight in model.parameters())
    if load_recipe(place.recipe).model.freeze_encoder:
        weights -= sum(weight.numel() for weight in model.encoder_parameters())
    return head | {
        "dice": dice["mean"],
        "low": dice["low"],
        "high": dice["high"],
        "cases": dice["n"],
        "epochs": record.epochs,
        "selected_epoch": record.selected_epoch,
        "seconds": record.wall_seconds,
        "trainable_parameters": weights,
        "failure": "",
    }


def _history(folder: Path) -> pd.DataFrame | None:
    """Return epoch and val_dice of a run, or None when it had no validation."""
    history = pd.read_csv(RunFolder(folder).history)
    return history[["epoch", "val_dice"]] if "val_dice" in history else None


def draw_curves(path: Path, runs: Sequence[PlannedRun], curves: Mapping[str, pd.DataFrame]) -> None:
    """Draw the validation Dice of the retrained decoders over the epochs, as Fig. 3 and 4 of the paper.

    The upper row has a panel per backbone and a line per decoder, the lower row a panel per decoder and a
    line per backbone. Colour: the other half; dashes: the decoder started from its own end-to-end run;
    dots: best epoch of the panel's own end-to-end run.

    Args:
        path: the picture.
        runs: the plan.
        curves: run -> table with `epoch` and `val_dice`; runs without one are not drawn.
    """
    from matplotlib.lines import Line2D  # slow to import

    frozen = [run for run in runs if run.frozen]
    backbones = list(dict.fromkeys(run.backbone for run in frozen))
    decoders = list(dict.fromkeys(run.decoder for run in frozen))
    names = list(dict.fromkeys([*decoders, *backbones]))
    colours = {name: SERIES[i % len(SERIES)] for i, name in enumerate(names)}
    rows: list[tuple[str, str, list[str], Callable[[PlannedRun], str], Callable[[PlannedRun], str]]] = [
        (
            "One frozen backbone, several decoders: what can the decoders infer?",
            "backbone",
            backbones,
            lambda run: run.backbone,
            lambda run: run.decoder,
        ),
        (
            "One decoder, several frozen backbones: what have the backbones learned?",
            "decoder",
            decoders,
            lambda run: run.decoder,
            lambda run: run.backbone,
        ),
    ]
    columns = max(len(backbones), len(decoders), 3)  # the titles need this width
    limits = _limits(curves)
    width, height = columns * _PANEL[0], 2 * (_PANEL[1] + 0.35) + 0.6
    with sheet(path, width=width, height=height) as figure:
        parts: Any = figure.subfigures(3, 1, height_ratios=[_PANEL[1] + 0.35, _PANEL[1] + 0.35, 0.6])
        for part, (title, kind, panels, held, varied) in zip(parts[:2], rows, strict=True):
            part.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
            axes = part.subplots(1, columns, squeeze=False)[0]
            for panel, name in zip(axes[: len(panels)], panels, strict=True):
                shown = [run for run in frozen if held(run) == name and run.name in curves]
                _draw_panel(panel, shown, curves, {run.name: colours[varied(run)] for run in shown})
                _mark_whole(panel, curves.get(name))
                panel.set(title=f"{kind}: {name}", xlabel="epoch", ylim=limits)
            axes[0].set_ylabel("validation Dice")
            for unused in axes[len(panels) :]:
                unused.set_axis_off()
        halves = [
            Line2D([], [], color=colours[name], linewidth=1.6, label=name + " backbone" * (name == UNTRAINED))
            for name in names
        ]
        lines = []
        ink = PALETTE["ink"]
        for kind, text in (("random", "decoder from random numbers"), ("own", "decoder from its own run")):
            if any(run.initialisation == kind for run in frozen):
                lines.append(Line2D([], [], color=ink, linewidth=1.6, linestyle=_STYLES[kind], label=text))
        lines.append(
            Line2D(
                [], [], color=PALETTE["muted"], linewidth=1.2, linestyle=":", label="end to end, best epoch"
            )
        )
        parts[2].legend(handles=halves, loc="upper center", ncols=len(halves), frameon=False)
        parts[2].legend(handles=lines, loc="lower center", ncols=len(lines), frameon=False)


def _draw_panel(
    axes: "Axes",
    runs: Sequence[PlannedRun],
    curves: Mapping[str, pd.DataFrame],
    colours: Mapping[str, str],
) -> None:
    from matplotlib.ticker import MaxNLocator  # slow to import

    for run in runs:
        curve = curves[run.name]
        axes.plot(
            curve["epoch"],
            curve["val_dice"],
            color=colours[run.name],
            linestyle=_STYLES[run.initialisation],
            linewidth=1.6,
            marker="o" if len(curve) < 3 else "",
            markersize=4,
        )
    axes.grid(visible=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _mark_whole(axes: "Axes", curve: pd.DataFrame | None) -> None:
    if curve is not None:
        axes.axhline(curve["val_dice"].max(), color=PALETTE["muted"], linewidth=1.2, linestyle=":", zorder=1)


def _limits(curves: Mapping[str, pd.DataFrame]) -> tuple[float, float]:
    """Return one vertical range for all panels, so that they can be compared at a glance."""
    values = np.concatenate([np.zeros(0), *(curve["val_dice"].to_numpy() for curve in curves.values())])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    margin = max(0.02, 0.06 * float(np.ptp(values)))
    return max(0.0, float(values.min()) - margin), min(1.0, float(values.max()) + margin)


def _page(base: Recipe, table: pd.DataFrame, failed: Mapping[str, str], split: str) -> str:
    if isinstance(base.model.pretrained, str):
        start = f"the weights of {Path(base.model.pretrained).name}"
    else:
        start = "ImageNet weights" if base.model.pretrained else "random numbers (no pre-trained weights)"
    done = table[table["failure"] == ""]
    lines = [
        "# Encoder-decoder decoupling",
        "",
        f"Base recipe `{base.name}`; backbone `{shared_encoder(base)}`, its first {DEPTH} levels, in every "
        f"run, starting from {start}.",
        "Each backbone is that of an end-to-end run, frozen (weights and batch-norm statistics); "
        f"`{UNTRAINED}` is the backbone as it was before any training here: {start}.",
        "Decoders start from random numbers (`random`) or as their own end-to-end run left them (`own`).",
        f"Dice: mean over the images of the split `{split}`, with its 95 % bootstrap interval; epoch: "
        "the selected one; weights: the number that was trained.",
        "",
        "![Validation Dice over the epochs](decoupling.png)",
        "",
        "| backbone | decoder | decoder starts | Dice | 95 % interval | epoch | seconds | weights |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in done.to_dict("records"):
        interval = "-" if pd.isna(row["low"]) else f"{row['low']:.3f} to {row['high']:.3f}"
        dice = "-" if pd.isna(row["dice"]) else f"{row['dice']:.3f}"
        lines.append(
            f"| {row['backbone']} | {row['decoder']} | {row['initialisation']} | {dice} | {interval} "
            f"| {row['selected_epoch']} of {row['epochs']} | {row['seconds']:.0f} | "
            f"{row['trainable_parameters']:,} |"
        )
    if failed:
        lines += ["", "## Without a result", ""]
        lines += [f"- `{name}`: {reason}" for name, reason in failed.items()]
    return "\n".join(lines) + "\n"
