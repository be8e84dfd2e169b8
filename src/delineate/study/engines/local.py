"""Runs of a study on this machine, some at a time."""

import os
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace

from delineate.study.engines import jobs
from delineate.study.engines.jobs import Child, Job, Outcome
from delineate.study.engines.options import EngineOptions

_POLL_SECONDS = 0.05


def run_local(todo: Sequence[Job], options: EngineOptions) -> Generator[Outcome, None, None]:
    """Run jobs, each in a process of its own, and yield how they ended in the order in which they end.

    With GPUs, each place for a run sees one of them, in turn; without `workers` there is one place per GPU,
    or a single one. Several runs at a time share the cores evenly, unless OMP_NUM_THREADS says otherwise.
    When the iteration is left before its end, running jobs are stopped; they can be resumed.
    """
    waiting = deque((job, 1) for job in todo)
    devices = gpus()
    workers = options.workers or max(1, len(devices))
    running: dict[int, tuple[Child, int]] = {}
    try:
        while waiting or running:
            for place in range(workers):
                if waiting and place not in running:
                    job, attempt = waiting.popleft()
                    options.on_start(job, attempt)
                    running[place] = (
                        Child(job, jobs.COMMAND, _environment(place, workers, devices)),
                        attempt,
                    )
            for place, (child, attempt) in list(running.items()):
                outcome = child.poll()
                if outcome is None:
                    continue
                del running[place]
                if outcome.died and attempt <= options.retries:
                    waiting.appendleft((child.job, attempt + 1))
                else:
                    yield replace(outcome, attempts=attempt)
            time.sleep(_POLL_SECONDS)
    finally:
        for child, _ in running.values():
            child.ask_to_stop()  # all at once, so that they end side by side
        for child, _ in running.values():
            child.stop()


def gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(torch.cuda.device_count())]


def _environment(place: int, workers: int, devices: Sequence[str]) -> dict[str, str]:
    variables = {}
    if devices:
        variables["CUDA_VISIBLE_DEVICES"] = devices[place % len(devices)]
    if workers > 1 and "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        variables["OMP_NUM_THREADS"] = str(max(1, cores // workers))
    return variables
