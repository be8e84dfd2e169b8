"""A run of a study as work for a process of its own, so that a crash costs that run and no other.

The process gets its job on its standard input, which stays open: when the parent ends, however it ends, the
input ends too, and the process kills itself with everything it has started. Nothing outlives a study.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter

COMMAND = (sys.executable, "-X", "faulthandler", "-m", "delineate.study.engines.one_run")
"""The process of a run."""
STOP_SECONDS = 5.0
"""How long a run that is told to stop may take before it is killed."""
_POLL_SECONDS = 0.05
_OF_LAUNCHERS = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)


@dataclass(frozen=True)
class Job:
    """Everything that a process needs to train and evaluate one run; plain values only."""

    key: str
    """Name of the run."""
    recipe: dict[str, Any]
    """Content of the recipe."""
    root: str
    """Folder of the data set, absolute."""
    dataset: str
    """Name of its reader."""
    protocol: str | None
    fold: int | None
    number_of_folds: int | None
    split_seed: int
    accept: tuple[str, ...]
    """Codes of findings to train in spite of."""
    split: str
    """The split that is scored."""
    metrics: tuple[str, ...]
    """Further scores."""
    run: str
    """Folder of the run, absolute."""
    log: str
    """File that takes what the process says; a file beside it takes the reason of a failure."""

    @property
    def reason(self) -> Path:
        """Where the process says why it failed."""
        return Path(self.log).with_suffix(".reason")

    def to_json(self) -> bytes:
        """Return the job in one line."""
        return _JOB.dump_json(self) + b"\n"

    @staticmethod
    def from_json(line: bytes) -> "Job":
        """Read what `to_json` wrote."""
        return _JOB.validate_json(line)


_JOB = TypeAdapter(Job)


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    key: str
    """Of the job."""
    reason: str | None
    """Why it failed, a sentence; None when it did not."""
    died: bool
    """Whether the process ended without saying why, so that another attempt may help."""
    seconds: float
    """Of the last attempt."""
    attempts: int = 1
    """Processes that were started for it."""


@dataclass
class Child:
    """A running process of a job."""

    job: Job
    command: Sequence[str]
    """The process."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables in addition to those of this process."""

    def __post_init__(self) -> None:
        self._start = time.monotonic()
        self.job.reason.unlink(missing_ok=True)
        Path(self.job.log).parent.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_LAUNCHERS}
        with Path(self.job.log).open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=inherited | dict(self.environment),
                start_new_session=True,  # Ctrl-C is for the study, which stops its runs itself
            )
        with suppress(BrokenPipeError):  # it is dead already, which `poll` will tell
            self._leash.write(self.job.to_json())
            self._leash.flush()

    @property
    def _leash(self) -> IO[bytes]:
        if self.process.stdin is None:
            raise RuntimeError("A run was started without its input.")
        return self.process.stdin

    def poll(self) -> Outcome | None:
        """Say how the process ended, or None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        self._let_go()
        reason = None
        if code:
            reason = _read(self.job.reason)
        died = bool(code) and reason is None
        if died:
            reason = _death(code, self.job.log)
        return Outcome(self.job.key, reason, died, round(time.monotonic() - self._start, 1))

    def ask_to_stop(self) -> None:
        """Tell the process to end, without waiting for it."""
        _signal_group(self.process, signal.SIGTERM)

    def stop(self) -> None:
        """End the process: politely first, for good after `STOP_SECONDS`."""
        self.ask_to_stop()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._let_go()

    def _let_go(self) -> None:
        with suppress(BrokenPipeError):
            self._leash.close()
        if sys.platform != "win32":
            _signal_group(self.process, signal.SIGKILL)  # loaders of images that the process left behind


def run_job(job: Job, command: Sequence[str]) -> Outcome:
    """Run a job in a process of its own and wait for it."""
    child = Child(job, command)
    try:
        while (outcome := child.poll()) is None:
            time.sleep(_POLL_SECONDS)
        return outcome
    except BaseException:
        child.stop()
        raise


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody is left
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, number)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    finally:
        path.unlink(missing_ok=True)


def _death(code: int, log: str) -> str:
    where = f"its log is logs/{Path(log).name}"
    if code > 0:
        return f"Its process ended with exit code {code} and without a reason; {where}."
    name = signal.Signals(-code).name
    guess = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"Its process was ended by {name}{guess}; {where}."
