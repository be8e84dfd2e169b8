"""Predict in processes that are killed at chosen moments, until one comes to its end.

    python killed_job.py RUN SOURCE OUT MOMENT...

A moment is a number of seconds, or one of "rows:N", "half:N", "line:N": at the N-th commit, before its rows
are written, with half of a row written, or with half of the journal's line written. Prints, per process, the
images that it predicted, after the files that were finished before it began.
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch

from delineate.inference.job import Loading, predict_files
from delineate.inference.job.journal import Journal

torch.set_num_threads(1)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment):
    """Make this process end at a moment."""
    what, _, number = moment.partition(":")
    commit, left = Journal.commit, [int(number)]

    def dying(self, units, images, rows):
        left[0] -= 1
        if left[0] == 0:
            if what == "rows":
                die()
            for name, text in rows.items():
                data = text.encode()
                self._files[name].write(data[: len(data) // 2 if what == "half" else len(data)])
                self._files[name].flush()
            if what == "half":
                die()
            self._journal.write(b'{"ids":[12')
            self._journal.flush()
            die()
        commit(self, units, images, rows)

    Journal.commit = dying


def child(predictor, source, out, moment):
    if moment and ":" in moment:
        arm(moment)

    def note(name, image, prediction, folder):
        os.write(1, f"{name} ".encode())
        time.sleep(0.003)

    predict_files(predictor, [source], out, resume=True, measure=True, batch_size=2, extra=note)


def main():
    run, source, out, *moments = sys.argv[1:]
    predictor = Loading.of([run]).load("cpu")
    for moment in [*moments, ""]:
        journal = Path(out) / ".job" / "journal"
        groups = journal.read_bytes().count(b"}\n") if journal.exists() else 0
        print(f"\nfinished {groups}:", flush=True)
        process = os.fork()
        if process == 0:
            try:
                child(predictor, source, Path(out), moment)
            except BaseException as error:
                print(f"\n{error!r}", flush=True)
                os._exit(1)
            os._exit(0)
        if moment and ":" not in moment:
            time.sleep(float(moment))
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        print(f"\nended {os.waitstatus_to_exitcode(status)}", flush=True)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
