"""The process of one run: `python -m delineate.study.engines.one_run`, the job on standard input.

Trains, or goes on from the last whole epoch, and evaluates what has not been evaluated. Exit code 0 when both
are done, 1 when not, with the reason in the job's file.
"""

import os
import shutil
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import IO

from delineate.checks import InputError
from delineate.files import write_text
from delineate.study.engines.jobs import Job

_PATIENCE_SECONDS = 60.0


def main() -> int:
    """Run the job and return the exit code."""
    stream = sys.stdin.buffer
    job = Job.from_json(stream.readline())
    threading.Thread(target=_die_with_parent, args=(stream,), daemon=True).start()
    _say(f"{job.key}: process {os.getpid()} of {os.getppid()} on {socket.gethostname()}")
    try:
        from delineate.data.locks import claim  # after the thread, because it brings PyTorch

        # A process that was left behind by a machine's failure ends by itself; nobody may write beside it.
        with claim(Path(job.log).with_suffix(".lock"), patience=_PATIENCE_SECONDS) as free:
            if not free:
                raise InputError("Another process still works on this run; stop it, then resume the study.")
            run(job)
    except Exception as error:  # whatever it is, it is the result of this run
        traceback.print_exc()
        write_text(job.reason, describe(error) + "\n")
        return 1
    _say("done")
    return 0


def run(job: Job) -> None:
    """Train and evaluate, leaving out what is done.

    Raises:
        InputError: as `train` and `evaluate`.
    """
    from delineate.inference.evaluate import evaluate
    from delineate.recipe_io import parse_recipe
    from delineate.record import read_record
    from delineate.training.fit import Listener, train
    from delineate.training.run import RunFolder
    from delineate.training.splitting import ProtocolChoice

    folder = RunFolder(Path(job.run))
    if folder.root.exists() and not (folder.recipe.is_file() and folder.splits.is_file()):
        shutil.rmtree(folder.root)  # killed before its first file was whole: nothing there is worth keeping
    if not folder.record.is_file():
        choice = None
        if job.protocol is not None:
            choice = ProtocolChoice(job.protocol, job.fold, job.number_of_folds, job.split_seed)
        resume = folder.recipe.is_file()
        _say("training goes on" if resume else "training")
        train(
            parse_recipe(job.recipe, where=job.key),
            Path(job.root),
            folder.root,
            dataset=job.dataset,
            split=choice,
            resume=resume,
            accept=job.accept,
            listener=Listener(on_epoch=lambda row: _say("  ".join(f"{k} {v:.4g}" for k, v in row.items()))),
        )
    if job.split not in read_record(folder.record).evaluations:
        _say(f"evaluating on {job.split}")
        evaluate(folder.root, root=Path(job.root), dataset=job.dataset, split=job.split, metrics=job.metrics)


def describe(error: BaseException) -> str:
    """Put an error into one line; a sentence for users stands alone, others carry their kind."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def _die_with_parent(stream: IO[bytes]) -> None:
    """Wait for the end of the input, which is the end of the parent, and take every process along."""
    stream.read()
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread that waits for the parent would hold up an ordinary end
