"""Work on many files in several processes, in order and with bounded memory."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

import torch

FILES_PER_WORKER = 50
"""A further process costs a few seconds to start; it pays from about this number of cases on."""
WAITING = 64
"""Results that may wait for an earlier one."""

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def pool(workers: int | None, cases: int) -> Iterator[ProcessPoolExecutor | None]:
    """Start processes of one thread each where they pay.

    Args:
        workers: how many; None lets the number of cases and of cores decide.
        cases: how many cases there are to work on.

    Yields:
        The processes, or None when one process is enough. They end with the block, also after an error.
    """
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, cases // FILES_PER_WORKER)
    if workers < 2:
        yield None
        return
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as processes:
        try:
            yield processes
        except BaseException:
            processes.shutdown(wait=True, cancel_futures=True)
            raise


def in_order(
    processes: ProcessPoolExecutor | None, work: Callable[[T], R], items: Sequence[T]
) -> Iterator[R]:
    """Yield the results of `work` in the order of the items.

    Args:
        processes: what `pool` gave.
        work: a function that can be pickled, when there are processes.
        items: its arguments.
    """
    if processes is None:
        yield from map(work, items)
        return
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(processes.submit(work, item))
        if len(waiting) > WAITING:  # bounds the memory that results wait in
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
