"""Studies with processes that do what a script says; one real run at the end."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from delineate.checks import InputError
from delineate.cli.study import study as command
from delineate.data.locks import claim
from delineate.metrics import as_json, summarise
from delineate.record import read_record
from delineate.study import study_report
from delineate.study.engines import EngineOptions, jobs
from delineate.study.engines.local import run_local
from delineate.study.engines.one_run import describe, run
from delineate.study.execution import StudyListener, check_data, execute, progress_of
from delineate.study.plan import dump_study, parse_study
from delineate.study.study_state import StudyPaths, read_study_record

SCRIPTED = Path(__file__).with_name("scripted_run.py")
SEEDS = (0, 1, 2)


@pytest.fixture
def finished(make_run, tmp_path):
    """A function that writes what a run of a system leaves behind; `dice` of its cases is given."""
    template = make_run(count=6, labels=()).path
    ids = [f"case{i:03d}" for i in range(6)]

    def write(folder, dice, cases=ids):
        folder.mkdir(parents=True)
        table = pd.DataFrame({"split": "test", "image_id": cases, "group": "", "dice": dice})
        table.to_csv(folder / "scores.csv", index=False)
        summary = {"test": as_json(summarise(table, resamples=20))}
        (folder / "summary.json").write_text(json.dumps(summary))
        for name in ("recipe.yaml", "record.json"):
            (folder / name).write_bytes((template / name).read_bytes())

    return write


@pytest.fixture
def small(finished, make_folder, tmp_path, monkeypatch):
    """(study of two systems and three seeds, folder for it, function that sets the script)."""
    make_folder(tmp_path / "discs", count=12)
    for system, offset in (("low", 0.0), ("high", 0.1)):
        finished(tmp_path / "finished" / system, np.linspace(0.2, 0.8, 6) + offset + np.arange(6) / 100)
    script = tmp_path / "script.json"

    def play(**what):
        script.write_text(json.dumps(what))

    play()
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, str(SCRIPTED), str(script)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    content = {
        "name": "small",
        "systems": [{"name": "low", "recipe": "demo"}, {"name": "high", "recipe": "demo"}],
        "data": [{"name": "discs", "root": "discs"}],
        "seeds": list(SEEDS),
    }
    return parse_study(content, where="STUDY.yaml", folder=tmp_path), tmp_path / "out", play


def states(record):
    return {key: state.state for key, state in record.runs.items()}


def test_a_failure_costs_one_run_and_is_told(small):
    study, out, play = small
    play(low__discs__seed1="fail", high__discs__seed0="crash", high__discs__seed2="exit")
    told, progress = {}, []
    listener = StudyListener(
        on_end=lambda run, reason, seconds: told.update({run.key: reason}),
        on_progress=lambda done, count: progress.append((done, count)),
    )
    record = execute(study, out, options=EngineOptions(workers=2, retries=1), listener=listener)

    assert states(record) == {
        "low__discs__seed0": "done",
        "high__discs__seed0": "failed",
        "low__discs__seed1": "failed",
        "high__discs__seed1": "done",
        "low__discs__seed2": "done",
        "high__discs__seed2": "failed",
    }
    assert progress == [(i, 6) for i in range(1, 7)]
    assert told["low__discs__seed0"] is None
    # A reason is final; a death is not, so it was tried once more.
    assert told["low__discs__seed1"] == "The data is wrong; mend it."
    assert told["high__discs__seed0"] == (
        "Its process was ended by SIGKILL, as the system does when memory runs out; its log is "
        "logs/high__discs__seed0.log. (2 attempts)"
    )
    assert "ended with exit code 7 and without a reason" in told["high__discs__seed2"]
    assert json.loads((out / "failures.json").read_text()) == {k: v for k, v in told.items() if v}
    assert read_study_record(out / "record.json") == record
    scores = pd.read_csv(out / "scores.csv")
    assert scores.groupby(["system", "seed"]).size().to_dict() == {
        ("high", 1): 6,
        ("low", 0): 6,
        ("low", 2): 6,
    }
    assert "low on discs: 1 of 3 repetition(s) lack a run and enter no mean." in record.warnings


def test_goes_on_without_repeating_what_is_done(small):
    study, out, play = small
    play(low__discs__seed1="fail")
    execute(study, out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")}
    assert progress_of(study, out).count("done") == 5
    assert progress_of(study, out).failures == {"low__discs__seed1": "The data is wrong; mend it."}

    play()
    started = []
    listener = StudyListener(on_start=lambda run, attempt: started.append((run.key, attempt)))
    record = execute(study, out, resume=True, listener=listener)
    assert started == [("low__discs__seed1", 1)]
    assert set(states(record).values()) == {"done"}
    assert json.loads((out / "failures.json").read_text()) == {}
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert record.sessions == 2

    assert execute(study, out, resume=True).sessions == 2  # nothing was left to run
    assert progress_of(study, out).remaining_seconds() == 0


def test_a_process_that_dies_once_is_started_again(small):
    study, out, play = small
    play(low__discs__seed0="crash once")
    attempts = []
    listener = StudyListener(on_start=lambda run, attempt: attempts.append((run.key, attempt)))
    record = execute(study, out, listener=listener)
    assert set(states(record).values()) == {"done"}
    assert attempts[:2] == [("low__discs__seed0", 1), ("low__discs__seed0", 2)]


def test_runs_go_side_by_side_and_share_the_machine(small, monkeypatch):
    study, out, play = small
    play(low__discs__seed0="meet", high__discs__seed0="meet")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    execute(study, out, options=EngineOptions(workers=2))
    logs = [(out / "logs" / f"{name}__discs__seed0.log").read_text() for name in ("low", "high")]
    assert "GPU 4" in logs[0]
    assert "GPU 7" in logs[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert all(f"{max(1, cores // 2)} threads" in log for log in logs)


def test_an_interrupt_ends_the_running_processes_and_keeps_the_rest(small):
    study, out, play = small
    play(high__discs__seed0="wait")

    def interrupt(run, attempt):
        if run.key == "low__discs__seed1":
            wait_for(lambda: "process" in (out / "logs/high__discs__seed0.log").read_text())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(study, out, options=EngineOptions(workers=2), listener=StudyListener(on_start=interrupt))
    process = int((out / "logs/high__discs__seed0.log").read_text().split()[1])
    assert not is_alive(process)
    record = read_study_record(out / "record.json")
    assert states(record)["low__discs__seed0"] == "done"
    assert states(record)["high__discs__seed0"] == "missing"
    assert set(states(execute(study, out, resume=True)).values()) == {"done"}


def test_no_process_outlives_its_parent(tmp_path):
    """The real process, whose parent is killed as by the system: nobody can clean up but itself."""
    job = jobs.Job(
        "a",
        {},
        "",
        "folder",
        None,
        None,
        None,
        0,
        (),
        "test",
        (),
        str(tmp_path / "r"),
        str(tmp_path / "a.log"),
    )
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import sys, time\n"
        "from delineate.study.engines.jobs import COMMAND, Child, Job\n"
        "child = Child(Job.from_json(sys.stdin.buffer.readline()), COMMAND)\n"
        "print(child.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(job.to_json())
    process.stdin.close()
    child = int(process.stdout.readline())
    wait_for(lambda: "process" in (tmp_path / "a.log").read_text())  # it watches from now on
    assert is_alive(child)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not is_alive(child))
    assert not job.reason.exists()  # killed, and not at the end of its work, which is to refuse this job
    process.stdout.close()


def test_refuses_what_would_mix_studies(small, tmp_path):
    study, out, play = small
    execute(study, out)
    with pytest.raises(InputError, match="already holds a study; continue it with --resume"):
        execute(study, out)
    other = study.model_copy(update={"seeds": (0, 1)})
    with pytest.raises(InputError, match=r"is not this one: seeds was \[0, 1, 2\], now \[0, 1\]; go on with"):
        execute(other, out, resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(InputError, match="is not empty and holds no study"):
        execute(study, tmp_path / "full")
    with claim(out / ".lock"), pytest.raises(InputError, match="Another process works on the study"):
        execute(study, out, resume=True)
    with pytest.raises(InputError, match="Unknown engine 'rya'. Did you mean 'ray'?"):
        execute(study, out, engine="rya")


def test_a_recipe_file_that_has_changed_is_another_study(small, tmp_path):
    study, out, play = small
    recipe = tmp_path / "mine.yaml"
    text = (Path(jobs.__file__).parents[2] / "recipes" / "demo.yaml").read_text()
    recipe.write_text(text)
    systems = (study.systems[0].model_copy(update={"recipe": str(recipe)}), study.systems[1])
    study = study.model_copy(update={"systems": systems})
    execute(study, out)
    recipe.write_text(text.replace("epochs: 8\n", "epochs: 9\n"))
    with pytest.raises(InputError, match="the recipe of low__discs__seed0 had"):
        execute(study, out, resume=True)


def test_data_is_looked_at_before_the_first_training(small, tmp_path):
    study, out, _ = small
    assert check_data(study) == {"discs": 12}

    def with_entry(**changes):
        entry = study.data[0].model_copy(update=changes)
        return study.model_copy(update={"data": (entry,)})

    with pytest.raises(
        InputError, match="The folder of 'discs' is not known; name it with --data discs=FOLDER"
    ):
        execute(with_entry(root=None), out)
    with pytest.raises(InputError, match="of 'discs' is missing"):
        check_data(with_entry(root=str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match="Data entry 'discs': "):
        check_data(with_entry(protocol="busi.4-fold"))
    table = tmp_path / "discs" / "split.csv"
    table.write_text(table.read_text().replace("test", "val"))
    with pytest.raises(InputError, match="scores the split 'test', and data entry 'discs' has none"):
        check_data(study)
    table.unlink()
    with pytest.raises(InputError, match="has no split, and each seed would draw another; name a protocol"):
        check_data(study)
    assert check_data(with_entry(protocol="70-15-15")) == {"discs": 12}
    assert not out.exists()


def test_a_study_without_any_result_writes_empty_tables(small):
    study, out, play = small
    play(**{f"{system}__discs__seed{seed}": "fail" for system in ("low", "high") for seed in SEEDS})
    record = execute(study, out)
    assert set(states(record).values()) == {"failed"}
    assert pd.read_csv(out / "scores.csv").empty
    assert pd.read_csv(out / "results.csv").empty
    assert pd.read_csv(out / "comparisons.csv").empty


def test_leaving_the_engine_stops_its_processes(small):
    study, out, play = small
    play(low__discs__seed0="wait")
    paths = StudyPaths(out)
    job = jobs.Job(
        "low__discs__seed0", {}, "", "folder", None, None, None, 0, (), "test", (),
        str(paths.run("x").root), str(paths.log("low__discs__seed0")),
    )  # fmt: skip
    other = replace(job, key="low__discs__seed1", run=str(paths.run("y").root), log=str(paths.log("y")))
    outcomes = run_local([job, other], EngineOptions(workers=2))
    assert next(outcomes).key == "low__discs__seed1"
    wait_for(lambda: "process" in Path(job.log).read_text())
    process = int(Path(job.log).read_text().split()[1])
    assert is_alive(process)
    outcomes.close()
    assert not is_alive(process)


def test_a_real_run_trains_evaluates_and_is_not_repeated(small_recipe, disc_folder, tmp_path):
    content = small_recipe.model_dump(mode="json")
    content["training"]["epochs"] = 1
    content["evaluation"] |= {"surface": False, "saliency": False}
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)  # as of a process that was killed at once
    job = jobs.Job(
        "a", content, str(disc_folder), "folder", "70-15-15", None, None, 3, (), "test", (),
        str(folder), str(tmp_path / "a.log"),
    )  # fmt: skip
    run(job)
    record = read_record(folder / "record.json")
    assert record.protocol == "70-15-15"
    assert set(record.evaluations) == {"test"}
    weights = (folder / "model.safetensors").stat().st_mtime_ns
    run(job)
    assert (folder / "model.safetensors").stat().st_mtime_ns == weights
    assert read_record(folder / "record.json") == record
    run(replace(job, split="val", metrics=("pranet",)))
    assert set(read_record(folder / "record.json").evaluations) == {"test", "val"}
    assert "pranet_maxDic" in json.loads((folder / "summary.json").read_text())["val"]
    with pytest.raises(InputError, match="is missing|does not exist|no folder"):
        run(replace(job, run=str(tmp_path / "other"), root=str(tmp_path / "nowhere")))


def test_the_command_prints_plan_results_and_failures(small, tmp_path, monkeypatch):
    study, out, play = small
    play(low__discs__seed1="fail")
    app = typer.Typer()
    app.command()(command)
    monkeypatch.setattr(study_report, "write_study_report", lambda folder, **_: folder / "report.html")
    (tmp_path / "STUDY.yaml").write_text(dump_study(study, tmp_path))
    call = [str(tmp_path / "STUDY.yaml"), "--out", str(out)]

    planned = CliRunner().invoke(app, [*call, "--dry-run", "--json"])
    assert planned.exit_code == 0
    content = json.loads(planned.stdout)
    assert [run["state"] for run in content["runs"]] == ["missing"] * 6
    assert content["seconds"] is None
    assert not out.exists()

    failed = CliRunner().invoke(app, call)
    assert failed.exit_code == 1
    assert "0 done, 6 to do" in failed.stderr
    assert "low on discs, seed 1: The data is wrong; mend it." in failed.stderr
    assert "5 of 6 runs are done" in failed.stderr
    assert "low - high" in failed.stdout

    play()
    mended = CliRunner().invoke(app, [*call, "--resume", "--json"])
    assert mended.exit_code == 0
    assert "  low on discs: 2 done, 1 failed" in mended.stderr
    assert json.loads(mended.stdout)["failed"] == {}
    wrong = CliRunner().invoke(app, [*call, "--data", "discs"])
    assert "--data takes NAME=FOLDER, got 'discs'" in str(wrong.exception)


def test_reasons_are_one_line():
    assert describe(InputError("Say\n it.")) == "Say it."
    assert describe(RuntimeError("CUDA out of memory")) == "RuntimeError: CUDA out of memory"
    assert describe(MemoryError()) == "MemoryError"


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
