"""Runs of a study as tasks of a Ray cluster.

Every task starts the same process as the local engine, on whichever machine it lands, so that even a crash
of the interpreter leaves Ray's worker alive. All machines need this package and must see the study's folder
and the data at the same path. A worker that dies takes its run's process along; the run is handed out again.
"""

import os
import socket
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from delineate.checks import InputError, require
from delineate.study.engines import jobs
from delineate.study.engines.jobs import Job, Outcome, run_job
from delineate.study.engines.options import EngineOptions

_WAIT_SECONDS = 0.5
_KNOCK_SECONDS = 10.0


def run_ray(todo: Sequence[Job], options: EngineOptions) -> Generator[Outcome, None, None]:
    """Run jobs as Ray tasks and yield how they ended in the order in which they end.

    When the iteration is left before its end, running tasks are cancelled; their runs can be resumed.

    Raises:
        InputError: Ray is not installed, there is no cluster at the address, or no machine of it is large
            enough for a run.
    """
    ray: Any = require("ray", "ray")
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, options)
    running: dict[Any, tuple[Job, int]] = {}
    try:
        promised = _promised(ray, options)
        # Retries are counted here, so that a worker's death and a process's death are one number.
        task = ray.remote(**promised, max_retries=0)(run_job)
        waiting = deque((job, 1) for job in todo)
        at_a_time = options.workers or len(waiting)
        while waiting or running:
            while waiting and len(running) < at_a_time:
                job, attempt = waiting.popleft()
                options.on_start(job, attempt)
                running[task.remote(job, jobs.COMMAND)] = (job, attempt)
            ready, _ = ray.wait(list(running), num_returns=1, timeout=_WAIT_SECONDS)
            for reference in ready:
                job, attempt = running.pop(reference)
                outcome = _outcome(ray, reference, job)
                if outcome.died and attempt <= options.retries:
                    waiting.appendleft((job, attempt + 1))
                else:
                    yield replace(outcome, attempts=attempt)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        if ours:
            ray.shutdown()


def _connect(ray: Any, options: EngineOptions) -> None:
    try:
        if options.address is not None:
            _knock(options.address)
            ray.init(address=options.address, log_to_driver=False, logging_level="ERROR")
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use unless told not to
            # A cluster of one's own: as many places as runs may go at a time.
            cores = None if options.workers is None else options.workers * options.cpus
            ray.init(
                address="local",
                num_cpus=cores,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
    except (OSError, ValueError, RuntimeError) as error:
        where = options.address or "on this machine"
        reason = " ".join(str(error).split())
        raise InputError(
            f"There is no Ray cluster at {where}: {reason}; start one with `ray start`."
        ) from error


def _knock(address: str) -> None:
    """Raise an OSError when nobody listens there, which Ray itself says after many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def _promised(ray: Any, options: EngineOptions) -> dict[str, float]:
    """The share of a machine that each run gets, after checking that some machine has so much."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = {kind: max((node.get(kind, 0) for node in machines), default=0) for kind in ("CPU", "GPU")}
    share = options.gpus if options.gpus is not None else min(1.0, most["GPU"])
    for kind, wanted in (("CPU", options.cpus), ("GPU", share)):
        if wanted > most[kind]:
            raise InputError(
                f"A run is promised {wanted:g} {kind}, and no machine of the Ray cluster has more than "
                f"{most[kind]:g}; promise less."
            )
    return {"num_cpus": options.cpus, "num_gpus": share}


def _outcome(ray: Any, reference: Any, job: Job) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        kind = type(error).__name__
        return Outcome(job.key, f"The Ray worker of the run died ({kind}).", died=True, seconds=0.0)
    return outcome
