"""What every engine is told."""

from collections.abc import Callable
from dataclasses import dataclass

from delineate.study.engines.jobs import Job


def _ignore(job: Job, attempt: int) -> None:
    pass


@dataclass(frozen=True)
class EngineOptions:
    """How runs are spread."""

    workers: int | None = None
    """Runs at a time, at least 1; None leaves it to the engine."""
    retries: int = 1
    """How often a run is started again whose process died without giving a reason."""
    cpus: int = 1
    """Cores that each run is promised; ray only."""
    gpus: float | None = None
    """GPUs, or a share of one, that each run is promised; None for one when the cluster has any; ray only."""
    address: str | None = None
    """Of a Ray cluster; None starts one on this machine."""
    on_start: Callable[[Job, int], None] = _ignore
    """Called as (job, attempt from 1) when a job is started, or handed to the cluster."""
