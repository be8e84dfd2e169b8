"""Which process this is, by the launchers' environments; and no process waits for one that has died."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from delineate.checks import InputError
from delineate.processes import Place, Processes, joined, place_from_environment
from delineate.training.launch import needs_launch

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place()),
        (TORCHRUN, Place(5, 8, 1, "env://")),
        (SRUN, Place(5, 8, 1, "tcp://gpu07:19567?rank=5&world_size=8")),
        (
            SRUN | {"MASTER_ADDR": "ib1", "MASTER_PORT": "7"},
            Place(5, 8, 1, "tcp://ib1:7?rank=5&world_size=8"),
        ),
        (SRUN | TORCHRUN | {"RANK": "2"}, Place(2, 8, 1, "env://")),  # torchrun inside a SLURM job
        ({"WORLD_SIZE": "1"}, Place()),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Place()),
        # A batch script that reserves eight tasks and runs without srun is one process.
        ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, Place()),
    ],
)
def test_place(environment, place):
    assert place_from_environment(environment) == place


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_an_incomplete_environment(name):
    environment = {key: value for key, value in TORCHRUN.items() if key != name}
    with pytest.raises(InputError, match=f"variables of a launcher but no {name}; start the processes with"):
        place_from_environment(environment)


def test_a_damaged_environment():
    with pytest.raises(InputError, match="variable WORLD_SIZE must be a whole number, got 'two'"):
        place_from_environment(TORCHRUN | {"WORLD_SIZE": "two"})


def test_alone_everything_is_at_hand():
    with joined() as processes:
        assert processes == Processes()
    assert processes.first
    assert processes.gather("x") == ["x"]
    assert processes.share(lambda: 1) == processes.together(lambda: 1) == 1
    assert processes.one_after_another(lambda leads: leads) is True
    part = torch.ones(2)
    assert processes.add_up(part) is part
    assert processes.join_batches(part) is part
    assert processes.describe("cpu") == "cpu"
    with pytest.raises(ZeroDivisionError), processes.failing_together():
        raise ZeroDivisionError


def test_what_a_record_says():
    assert Processes(0, 2).describe("cpu") == "2 x cpu"
    assert Processes(0, 8, machines=2).describe("NVIDIA A100") == "8 x NVIDIA A100 on 2 machines"


DIES = """
import os, signal, sys
from delineate.processes import ProcessLostError, joined
with joined() as processes:
    assert processes.gather(processes.rank) == [0, 1]
    try:
        if sys.argv[1] == "0":
            processes.share(lambda: os.kill(os.getpid(), signal.SIGKILL))
        else:
            processes.together(lambda: processes.rank and os.kill(os.getpid(), signal.SIGKILL))
    except ProcessLostError as error:
        print(error)
        sys.exit(2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("dying", [0, 1])
def test_nobody_waits_for_a_process_that_was_killed(dying):
    """Started as srun starts them, without anybody who would end the other one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    for rank in range(2):
        slurm = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_STEP_NUM_TASKS": "2"}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", DIES, str(dying)],
                env=os.environ | slurm | place | {"OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    output, errors = started[1 - dying].communicate(timeout=120)
    assert started[1 - dying].returncode == 2, errors
    assert "One of the 2 processes has ended" in output
    started[dying].communicate(timeout=120)


@pytest.fixture
def no_launcher(monkeypatch):
    for name in TORCHRUN | SRUN:
        monkeypatch.delenv(name, raising=False)


def test_when_a_command_is_started_again(no_launcher, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [needs_launch(devices) for devices in (None, 1, 2)] == [False, False, True]
    with pytest.raises(InputError, match="--devices must be at least 1, got 0"):
        needs_launch(0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert needs_launch(2)
    with pytest.raises(InputError, match=r"--devices 4 is more than the 2 GPU\(s\) of this machine"):
        needs_launch(4)


def test_what_a_launcher_has_started_is_not_started_again(no_launcher, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert not needs_launch(None)
    assert not needs_launch(4)
    with pytest.raises(InputError, match="--devices 2 does not agree with the launcher, which started 4"):
        needs_launch(2)
