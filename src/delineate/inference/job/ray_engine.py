"""A prediction job spread over a Ray cluster with Ray Data.

The data set that Ray sees is the list of groups, a few bytes each. Every worker loads the model once, reads
the files itself and writes their pictures into the folder of the job; only the rows of the tables come back
to the driver, in order. So all machines must see the sources, the run and the folder of the job at the same
paths. Ray hands the groups of a worker that dies to another one; their files are written again, the same.
"""

import json
import logging
import os
import socket
import tempfile
from array import array
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from delineate.checks import InputError, require
from delineate.inference.job.archives import Member
from delineate.inference.job.options import JobOptions, Loading
from delineate.inference.job.pipeline import Finished, predict_groups
from delineate.inference.job.plan import Plan
from delineate.inference.job.sources import Unit
from delineate.inference.predictor import Predictor

if TYPE_CHECKING:
    from delineate.inference.job.folder import JobFolder

GROUPS_AT_ONCE = 4
"""Groups that a worker gets at a time: reading and writing overlap within them."""
_KNOCK_SECONDS = 10.0


class Worker:
    """What runs in each process of the cluster.

    Args:
        loading: how to load the model.
        out: folder of the job.
        plan: its list of files.
        options: what to write.
    """

    def __init__(self, loading: Loading, out: str, plan: str, options: JobOptions) -> None:
        self._loading = loading
        self._predictor: Predictor | None = None  # loaded once, where errors are told
        self._out, self._options = Path(out), options
        self._plan = Plan(Path(plan), 0, array("Q"))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Predict some groups; returns a row per group, or the sentence of an error that ends the job.

        An exception would come out of Ray as a traceback in another exception.
        """
        rows: list[str] = []
        try:
            rows += map(_packed, self._predict(batch))
        except InputError as error:
            rows.append(json.dumps(str(error)))
        return {"finished": np.array(rows, dtype=object)}

    def _predict(self, batch: dict[str, Any]) -> Iterator[list[Finished]]:
        if self._predictor is None:
            self._predictor = self._loading.load()
        groups = (
            [self._plan.group_at(int(start))[i] for i in json.loads(str(positions))]
            for start, positions in zip(batch["start"], batch["positions"], strict=True)
        )
        state = Path(tempfile.mkdtemp(dir=_made(self._out / ".job" / "members")))
        yield from predict_groups(self._predictor, groups, self._out, self._options, scratch=state)


def predict_on_ray(
    loading: Loading, job: "JobFolder", plan: Plan, workers: int | None, address: str | None
) -> Generator[list[Finished], None, None]:
    """Predict the unfinished groups of a job on a cluster and yield them in order.

    Raises:
        InputError: Ray is not installed, there is no cluster at the address, a source can only be read from
            its beginning, or a worker cannot load the model or write.
    """
    ray: Any = require("ray", "ray")
    require("ray.data", "ray")
    _refuse_streams(plan)
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, workers, address)
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.execution_options.preserve_order, context.enable_progress_bars, logger.level
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    logger.setLevel(logging.WARNING)
    try:
        todo = [{"start": start, "positions": json.dumps(positions)} for start, positions in job.todo(plan)]
        if not todo:
            return
        gpus = 1 if ray.cluster_resources().get("GPU") and loading.device != "cpu" else 0
        places = int(ray.cluster_resources().get("GPU" if gpus else "CPU", 1))
        found = ray.data.from_items(todo, override_num_blocks=-(-len(todo) // GROUPS_AT_ONCE)).map_batches(
            Worker,
            fn_constructor_args=(loading, str(job.out.absolute()), str(plan.path.absolute()), job.options),
            batch_size=GROUPS_AT_ONCE,
            batch_format="numpy",
            concurrency=max(1, min(workers or places, len(todo))),
            num_cpus=1,
            num_gpus=gpus,
        )
        for row in found.iter_rows():
            yield _unpacked(row["finished"])
    finally:
        context.execution_options.preserve_order, context.enable_progress_bars = before[:2]
        logger.setLevel(before[2])
        if ours:
            ray.shutdown()


def _refuse_streams(plan: Plan) -> None:
    for unit in (unit for group in plan.groups() for unit in group):
        if unit.member is not None and unit.member.how == "stream":
            raise InputError(
                f"{unit.member.archive} can only be read from its beginning, so workers cannot share it; "
                "make it a .tar or .zip, or unpack it."
            )


def _packed(group: Sequence[Finished]) -> str:
    return json.dumps(
        [
            [f.unit.id, f.unit.file, f.unit.member and f.unit.member.fields(), f.images, f.rows, f.fault]
            for f in group
        ]
    )


def _unpacked(text: str) -> list[Finished]:
    content = json.loads(text)
    if isinstance(content, str):
        raise InputError(content)
    return [
        Finished(Unit(name, file, member and Member(*member)), images, rows, fault)
        for name, file, member, images, rows, fault in content
    ]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _connect(ray: Any, workers: int | None, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is not None:
            host, _, port = address.removeprefix("ray://").rpartition(":")
            if host and port.isdigit():  # Ray itself says after many minutes that nobody is there
                socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
            ray.init(address=address, **quiet)
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use unless told not to
            cores = None if workers is None else max(workers, os.cpu_count() or 1)
            ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"There is no Ray cluster at {address or 'this machine'}: {reason}; start one with `ray start`."
        ) from error
