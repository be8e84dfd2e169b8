"""Claims that processes make on shared work, and that end with the process, however it ends."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_POLL_SECONDS = 0.02


@contextmanager
def claim(path: Path, *, patience: float = 0.0) -> Iterator[bool]:
    """Hold an advisory lock on a file while the block runs; other threads and processes see it as taken.

    The operating system releases the lock when the process ends, also after SIGKILL, so a claim is never left
    behind. The file stays, empty: removing it would let two processes lock two files of one name.

    Args:
        path: the lock file; made when it is absent, with its folder.
        patience: seconds to wait for somebody else's claim to end.

    Yields:
        True when the claim is held, or when the file system has no locks or the system is Windows: work may
        then be done twice, but never wrongly. False when somebody else holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield True  # whether the folder can be written to is for those who write to it to say
        return
    try:
        yield _lock(handle, time.monotonic() + patience)
    finally:
        with suppress(OSError):
            os.close(handle)  # which ends the lock


def _lock(handle: int, deadline: float) -> bool:
    if sys.platform == "win32":
        return True
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        except OSError:
            return True
        else:
            return True
