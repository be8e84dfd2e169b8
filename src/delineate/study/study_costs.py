"""What the systems of a study cost: weights, multiply-adds and, when asked for, time."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from delineate.files import atomic_path
from delineate.study.study_results import Planned, StudyResults

COSTS = "efficiency.csv"
"""File in the folder of a study; a later report reads it instead of measuring again."""
_COLUMNS = (
    "system",
    "data",
    "weights_sha256",
    "parameters",
    "macs",
    "height",
    "width",
    "milliseconds",
    "device",
)


@dataclass(frozen=True)
class SystemCost:
    """One system with the classes of one data set."""

    system: str
    data: str
    weights_sha256: str
    """Of the model that was measured."""
    parameters: int
    macs: int
    """Multiply-adds of one forward pass of one image."""
    height: int
    """Of that image, pixels."""
    width: int
    milliseconds: float | None
    """Median time of the pass; None when it was not measured."""
    device: str
    """Where the time was measured, or ""."""


def system_costs(study: StudyResults, *, latency: bool = False) -> tuple[SystemCost, ...]:
    """Measure one trained model of each system on each data set, and keep the figures in `efficiency.csv`.

    Args:
        study: its run folders hold the models; a system without one is left out.
        latency: measure the time too, on the processor or GPU of this machine, one model after another.
    """
    known = _read(study.root / COSTS)
    found = []
    for data in study.data:
        for system in study.systems:
            run = _trained(study.plan, system, data)
            if run is not None:
                found.append(_cost(run, known, latency))
    table = pd.DataFrame([asdict(cost) for cost in found], columns=list(_COLUMNS))
    with atomic_path(study.root / COSTS) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    return tuple(found)


def _trained(plan: Sequence[Planned], system: str, data: str) -> Planned | None:
    runs = (run for run in plan if (run.system, run.data) == (system, data))
    return next((run for run in runs if (run.run / "model.json").is_file()), None)


def _cost(run: Planned, known: Mapping[tuple[str, str], SystemCost], latency: bool) -> SystemCost:
    from delineate.inference.backends import choose_device, device_name
    from delineate.inference.profile import count_macs, profile
    from delineate.models.checkpoint import ModelInfo, load_model

    info = ModelInfo.model_validate_json((run.run / "model.json").read_text(encoding="utf-8"))
    before = known.get((run.system, run.data))
    same = before is not None and before.weights_sha256 == info.weights_sha256
    if before is not None and same and (before.milliseconds is not None or not latency):
        return before
    model, info = load_model(run.run)
    milliseconds, device = None, ""
    if latency:
        place = choose_device("auto")
        milliseconds, device = profile(model.to(place), info.size).latency_ms, device_name(place)
    return SystemCost(
        system=run.system,
        data=run.data,
        weights_sha256=info.weights_sha256,
        parameters=sum(weight.numel() for weight in model.parameters()),
        macs=count_macs(model, info.size),
        height=info.size[0],
        width=info.size[1],
        milliseconds=milliseconds,
        device=device,
    )


def _read(path: Path) -> dict[tuple[str, str], SystemCost]:
    """Figures of an earlier report; a file of another kind counts as none, as all can be measured again."""
    try:
        table = pd.read_csv(path, dtype={"system": str, "data": str, "weights_sha256": str, "device": str})
    except (OSError, ValueError):
        return {}
    if tuple(table.columns) != _COLUMNS:
        return {}
    found = {}
    for row in table.to_dict("records"):
        time = row["milliseconds"]
        found[row["system"], row["data"]] = SystemCost(
            system=row["system"],
            data=row["data"],
            weights_sha256=row["weights_sha256"],
            parameters=int(row["parameters"]),
            macs=int(row["macs"]),
            height=int(row["height"]),
            width=int(row["width"]),
            milliseconds=None if pd.isna(time) else float(time),
            device="" if pd.isna(row["device"]) else row["device"],
        )
    return found
