"""Start a command again in several processes of this machine, as `torchrun` does."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from delineate.checks import InputError
from delineate.processes import place_from_environment


def needs_launch(devices: int | None) -> bool:
    """Whether the command still has to be started in several processes.

    Args:
        devices: processes asked for on this machine, or None for as many as a launcher has started, else one.

    Raises:
        InputError: `devices` is less than 1, more than the machine has GPUs, or a launcher has started the
            processes already, and another number of them.
    """
    if devices is None:
        return False
    if devices < 1:
        raise InputError(f"--devices must be at least 1, got {devices}.")
    started = place_from_environment().size
    if started > 1:
        if os.environ.get("LOCAL_WORLD_SIZE", str(devices)) != str(devices):
            raise InputError(
                f"--devices {devices} does not agree with the launcher, which started "
                f"{os.environ['LOCAL_WORLD_SIZE']} processes here; leave --devices out."
            )
        return False
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if 0 < gpus < devices:
        raise InputError(
            f"--devices {devices} is more than the {gpus} GPU(s) of this machine; ask for fewer."
        )
    return devices > 1


def launch(devices: int, arguments: Sequence[str]) -> int:
    """Run `delineate ARGUMENTS` in one process per device, and wait for all.

    When one fails the others are ended. Ctrl-C and SIGTERM reach all of them.

    Args:
        devices: number of processes.
        arguments: of the command line, `sys.argv[1:]`.

    Returns:
        The exit code of the process that failed first, or 0; 128 + the number of a signal that ended it.

    Raises:
        InputError: a process was killed.
        KeyboardInterrupt: the user stopped it.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for part in ("", ".agent.server.api", ".multiprocessing.api"):  # the command speaks for itself
        logging.getLogger(f"torch.distributed.elastic{part}").setLevel(logging.CRITICAL)
    # PyTorch warns when every weight was needed although some might not have been.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if "OMP_NUM_THREADS" not in os.environ:  # or each process would take all cores
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        os.environ["OMP_NUM_THREADS"] = str(max(1, cores // devices))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "delineate", *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            raise InputError(
                f"Process {rank} of {devices} was ended by {signal.Signals(-failure.exitcode).name}, mostly "
                "for lack of memory; the others were stopped, --resume goes on."
            ) from error
        return failure.exitcode
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from error
        return 128 + int(error.sigval)
    return 0
