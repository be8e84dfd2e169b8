"""The same runs on a local Ray cluster of two workers, one of which is killed."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from delineate.checks import InputError
from delineate.study.engines import EngineOptions, jobs
from delineate.study.engines.ray import run_ray

pytest.importorskip("ray", reason="ray is not installed; pip install 'delineate[ray]'")
pytestmark = pytest.mark.slow

SCRIPTED = Path(__file__).with_name("scripted_run.py")


@pytest.fixture
def play(tmp_path, monkeypatch):
    """A function that makes jobs from {key: what its process does}."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    script = tmp_path / "script.json"
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, str(SCRIPTED), str(script)))
    (tmp_path / "finished" / "run").mkdir(parents=True)
    (tmp_path / "logs").mkdir()

    def make(**what):
        script.write_text(json.dumps(what))
        return [
            jobs.Job(
                key, {}, "", "folder", None, None, None, 0, (), "test", (),
                str(tmp_path / "runs" / key), str(tmp_path / "logs" / f"{key}.log"),
            )
            for key in what
        ]  # fmt: skip

    return make


def test_a_killed_worker_costs_nothing_and_a_failure_one_run(play):
    todo = play(run__a="wait", run__b="done", run__c="fail", run__d="crash", run__e="done")
    killed = threading.Event()

    def kill_worker():
        log = Path(todo[0].log)
        while not (log.exists() and " of " in log.read_text()):
            if killed.wait(0.05):
                return
        # The scripted process says whose child it is: the Ray worker.
        os.kill(int(log.read_text().split(",")[0].split()[-1]), signal.SIGKILL)

    thread = threading.Thread(target=kill_worker)
    thread.start()
    try:
        found = {outcome.key: outcome for outcome in run_ray(todo, EngineOptions(workers=2, retries=1))}
    finally:
        killed.set()
        thread.join()
    assert {key: outcome.reason is None for key, outcome in found.items()} == {
        "run__a": True,
        "run__b": True,
        "run__c": False,
        "run__d": False,
        "run__e": True,
    }
    assert found["run__a"].attempts == 2
    assert found["run__b"].attempts == 1
    assert found["run__c"].reason == "The data is wrong; mend it."
    assert found["run__d"].reason.startswith("Its process was ended by SIGKILL")
    assert found["run__d"].attempts == 2


def test_a_worker_that_always_dies_is_reported(play):
    (job,) = play(run__a="wait")
    Path(job.log).write_text("")

    def kill_worker(_, attempt):
        def kill():
            while Path(job.log).read_text().count(" of ") < attempt:
                threading.Event().wait(0.05)
            os.kill(int(Path(job.log).read_text().splitlines()[-1].split(",")[0].split()[-1]), signal.SIGKILL)

        threading.Thread(target=kill).start()

    (outcome,) = run_ray([job], EngineOptions(workers=1, retries=0, on_start=kill_worker))
    assert outcome.reason == "The Ray worker of the run died (WorkerCrashedError)."
    assert outcome.attempts == 1


def test_refuses_what_no_machine_of_the_cluster_has(play):
    todo = play(run__a="done")
    with pytest.raises(
        InputError, match="A run is promised 3 GPU, and no machine of the Ray cluster has more than 0"
    ):
        list(run_ray(todo, EngineOptions(workers=1, gpus=3.0)))


def test_says_that_there_is_no_cluster(play):
    todo = play(run__a="done")
    with pytest.raises(InputError, match="There is no Ray cluster at 127.0.0.1:1: .*refused"):
        list(run_ray(todo, EngineOptions(address="127.0.0.1:1")))
