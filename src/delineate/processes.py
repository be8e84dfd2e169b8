"""The processes that do one job together: which of them this one is, and what they tell each other.

A launcher (`torchrun`, SLURM's `srun`) starts one process per GPU and says in its environment which is which;
`joined` reads that and connects them. Alone, every method here is what a single process does anyway, so the
callers are written once.

Nobody waits for ever: `share` and `together` end in every process when the work fails in one, with the same
sentence, and whoever waits for a process that has died is told so.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from delineate.checks import InputError

T = TypeVar("T")

_JOINING = timedelta(minutes=15)
_STEP = timedelta(minutes=30)
_WAITING = timedelta(days=14)
"""How long a process waits while another checks data or fills a cache; a dead process is noticed at once."""
_REASON = "reason"
_joins = count()


class FailedElsewhere(InputError):
    """Another process failed and says why itself; the message is the same sentence."""


class ProcessLostError(InputError):
    """Another process ended without a word, for example because it was killed."""


@dataclass(frozen=True)
class Place:
    """What the launcher says about this process."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number of this process on its machine, from 0."""
    address: str = ""
    """Where the processes meet, as PyTorch's rendezvous takes it."""


def place_from_environment(environment: Mapping[str, str] | None = None) -> Place:
    """Read from a launcher's environment variables which process this is.

    Understands `torchrun` (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) and a step of SLURM's
    `srun` (SLURM_STEP_NUM_TASKS, SLURM_PROCID, SLURM_LOCALID). The tasks that a batch script reserved do not
    count: what runs there without `srun` is one process.

    Raises:
        InputError: some of the variables are missing or no numbers.
    """
    environment = os.environ if environment is None else environment
    if environment.get("WORLD_SIZE", "1") != "1":
        size, rank, local_rank = (_number(environment, name) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"))
        for name in ("MASTER_ADDR", "MASTER_PORT"):
            _text(environment, name)
        return Place(rank, size, local_rank, "env://")
    if "SLURM_STEP_NUM_TASKS" not in environment:
        return Place()
    size = _number(environment, "SLURM_STEP_NUM_TASKS")
    if size == 1:
        return Place()
    rank, local_rank = (_number(environment, name) for name in ("SLURM_PROCID", "SLURM_LOCALID"))
    host = environment.get("MASTER_ADDR") or _first_node(_text(environment, "SLURM_STEP_NODELIST"))
    job = environment.get("SLURM_JOB_ID", "0")
    port = environment.get("MASTER_PORT") or 15000 + int(job[-4:])
    return Place(rank, size, local_rank, f"tcp://{host}:{port}?rank={rank}&world_size={size}")


@dataclass(frozen=True)
class Processes:
    """All processes of one job, seen from one of them; without arguments a process that is alone."""

    rank: int = 0
    """Number of this process, from 0; 0 alone writes files."""
    size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number of this process on its machine."""
    machines: int = 1
    """Number of machines."""
    device: torch.device | None = None
    """Where this process computes; None leaves the choice to the caller, who is alone."""
    _control: Any = field(default=None, repr=False)
    _store: Any = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def describe(self, device: str) -> str:
        """Say what a job ran on, for its record: "cpu", "8 x NVIDIA A100 on 2 machines".

        Args:
            device: what each process computes on.
        """
        if self.size == 1:
            return device
        return f"{self.size} x {device}" + (f" on {self.machines} machines" if self.machines > 1 else "")

    def gather(self, value: T) -> list[T]:
        """Return every process's value, in the order of their ranks, in every process.

        Raises:
            FailedElsewhere: another process failed meanwhile.
            ProcessLostError: another process has ended.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self._partners():
            dist.all_gather_object(values, value, group=self._control)
        return values

    def share(self, work: Callable[[], T]) -> T:
        """Let the first process work while the others wait; all get its result, or its error.

        Raises:
            FailedElsewhere: in the others, when the first one failed.
        """
        if self.size == 1:
            return work()
        message: list[Any] = [None, None]
        error: Exception | None = None
        if self.first:
            try:
                message[0] = work()
            except Exception as raised:
                error, message[1] = raised, _sentence(raised)
        try:
            with self._partners():
                dist.broadcast_object_list(message, src=0, group=self._control)
        finally:
            if error is not None:
                raise error
        if message[1] is not None:
            raise FailedElsewhere(message[1])
        return message[0]

    def together(self, work: Callable[[], T]) -> T:
        """Let every process work; when it fails in one, it fails in all.

        Raises:
            FailedElsewhere: in those in which it did not fail.
        """
        if self.size == 1:
            return work()
        error: Exception | None = None
        result: T | None = None
        try:
            result = work()
        except Exception as raised:
            error = raised
        reasons = self.gather(None if error is None else _sentence(error))
        if error is not None:
            raise error
        for reason in reasons:
            if reason is not None:
                raise FailedElsewhere(reason)
        return result  # type: ignore[return-value]  # there is one where there was no error

    def one_after_another(self, work: Callable[[bool], T]) -> T:
        """Let one process of every machine work, then the others, who find its downloads and cache entries.

        Args:
            work: called with whether this process is its machine's first.

        Raises:
            FailedElsewhere: it failed in another process.
        """
        leads = self.local_rank == 0
        result: list[T] = []

        def turn(now: bool) -> None:
            if leads == now:
                result.append(work(leads))

        for now in (True, False):
            self.together(partial(turn, now))
        return result[0]

    def add_up(self, values: Tensor) -> Tensor:
        """Return the sum of all processes' tensors, of the device they compute on; without a gradient."""
        if self.size == 1:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    def join_batches(self, part: Tensor) -> Tensor:
        """Join the (B_r, ...) tensors of all processes to (sum of B_r, ...), in the order of their ranks.

        The gradient reaches every part: it is the sum of what all processes computed for it.
        """
        return part if self.size == 1 else _Join.apply(part, self.rank, self.size)

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Run work in which the processes wait for each other, such as training, so that no error is lost.

        Raises:
            FailedElsewhere: this process only noticed that another one failed.
            ProcessLostError: or that it is gone.
        """
        try:
            yield
        except Exception as error:
            if self.size == 1:
                raise
            if isinstance(error, FailedElsewhere | ProcessLostError):
                raise
            if _is_of_the_connection(error):
                raise self._failure() from error
            with suppress(Exception):  # the store may have ended with the process that kept it
                self._store.set(_REASON, _sentence(error))
            raise

    @contextmanager
    def _partners(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise self._failure() from error

    def _failure(self) -> InputError:
        """What to raise when an exchange broke off: what another process said last, or that it is gone."""
        with suppress(Exception):  # the store may have ended with the process that kept it
            if self._store.check([_REASON]):
                return FailedElsewhere(self._store.get(_REASON).decode())
        return ProcessLostError(
            f"One of the {self.size} processes has ended, so the others end too; mend what it says (a killed "
            "one says nothing), and go on with --resume."
        )


@contextmanager
def joined() -> Iterator[Processes]:
    """Connect to the processes that the launcher started with this one, until the block ends.

    Alone it connects to nothing. Processes that the caller has connected already are used as they are.

    Raises:
        InputError: the launcher's environment is not understood, some process did not come, or two of them
            would share a GPU.
    """
    known = dist.is_available() and dist.is_initialized()
    place = place_from_environment()
    if not known and place.size == 1:
        yield Processes()
        return
    if not dist.is_available():
        raise InputError("This PyTorch was built without torch.distributed; start one process only.")
    device = _own_device(place.local_rank)
    hook = sys.excepthook  # PyTorch puts one of its own before it, each time
    store = None if known else _connect(place, device)
    failed = True
    try:
        control = dist.new_group(backend="gloo", timeout=_WAITING)
        yield _checked(
            Processes(dist.get_rank(), dist.get_world_size(), place.local_rank, 1, device, control, store)
        )
        failed = False
    finally:
        # After a failure on GPUs the others may be in the middle of an exchange, which this would wait for.
        if not known and not (failed and device.type == "cuda"):
            dist.destroy_process_group()
        sys.excepthook = hook


def _first_node(nodes: str) -> str:
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment  # takes seconds to load

    return SLURMEnvironment.resolve_root_node_address(nodes)


def _connect(place: Place, device: torch.device) -> Any:
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(rendezvous(place.address, timeout=_JOINING))
        # Several jobs of one launcher, one after the other, must not read each other's addresses.
        store = PrefixStore(f"delineate/{next(_joins)}", store)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.size, timeout=_STEP)
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"Process {place.rank} of {place.size} could not meet the others ({str(error).splitlines()[0]}); "
            "check the launcher's address and port, and that every machine started its processes."
        ) from error
    return store


def _checked(processes: Processes) -> Processes:
    """Count the machines, and see that no two processes compute on one GPU."""
    device = processes.device
    unit = str(torch.cuda.get_device_properties(device).uuid) if device and device.type == "cuda" else None
    told = processes.gather((processes.local_rank, unit))
    units = [unit for _, unit in told if unit is not None]
    if len(set(units)) < len(units):
        raise InputError(
            f"{processes.size} processes would share {len(set(units))} GPU(s); start one process per GPU."
        )
    machines = sum(local_rank == 0 for local_rank, _ in told)
    return Processes(
        processes.rank,
        processes.size,
        processes.local_rank,
        max(1, machines),
        device,
        processes._control,
        processes._store,
    )


def _own_device(local_rank: int) -> torch.device:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus == 0:
        return torch.device("cpu")
    if gpus > 1 and local_rank >= gpus:
        raise InputError(
            f"Process {local_rank} of this machine has no GPU, there are {gpus}; start one process per GPU."
        )
    device = torch.device("cuda", 0 if gpus == 1 else local_rank)  # SLURM may show each task its own GPU only
    torch.cuda.set_device(device)
    return device


class _Join(torch.autograd.Function):
    """Concatenate along the batch over processes whose parts may differ in length."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, rank: int, size: int) -> Tensor:
        lengths = part.new_zeros(size, dtype=torch.int64)
        lengths[rank] = len(part)
        dist.all_reduce(lengths)
        counts: list[int] = lengths.tolist()
        padded = part.new_zeros((max(counts), *part.shape[1:]))
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in range(size)]
        dist.all_gather(parts, padded)
        start = sum(counts[:rank])
        ctx.own = slice(start, start + counts[rank])
        return torch.cat([other[:length] for other, length in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.own], None, None


def _is_of_the_connection(error: Exception) -> bool:
    known = isinstance(error, dist.DistError)
    return known or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def _number(environment: Mapping[str, str], name: str) -> int:
    text = _text(environment, name)
    if not text.isdecimal():
        raise InputError(f"The launcher's variable {name} must be a whole number, got {text!r}.")
    return int(text)


def _text(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise InputError(
            f"The environment has variables of a launcher but no {name}; start the processes with torchrun "
            "or srun, or remove these variables to run alone."
        )
    return environment[name]
