"""Where the runs of a study are executed: on this machine, or spread over a Ray cluster."""

from collections.abc import Callable, Generator, Sequence

from delineate.study.engines.jobs import Job, Outcome
from delineate.study.engines.local import run_local
from delineate.study.engines.options import EngineOptions
from delineate.study.engines.ray import run_ray

__all__ = ["ENGINES", "EngineOptions", "Job", "Outcome"]

ENGINES: dict[str, Callable[[Sequence[Job], EngineOptions], Generator[Outcome, None, None]]] = {
    "local": run_local,
    "ray": run_ray,
}
"""Name -> function that runs jobs."""
