"""Stands in for the process of a run: does what its script says, in milliseconds instead of minutes.

Called as `python scripted_run.py SCRIPT`; SCRIPT is a JSON file {key: what}, with what one of done, fail,
exit, crash, crash once, wait, meet. It imports nothing of the package, which would take seconds.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

script = Path(sys.argv[1])
job = json.loads(sys.stdin.buffer.readline())
folder, log = Path(job["run"]), Path(job["log"])
attempt = log.read_text().count("process") + 1
cores, gpu = (os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"))
print(f"process {os.getpid()} of {os.getppid()}, {cores} threads, GPU {gpu}", flush=True)
what = json.loads(script.read_text()).get(job["key"], "done")
if what == "fail":
    log.with_suffix(".reason").write_text("The data is wrong; mend it.\n")
    sys.exit(1)
if what == "crash" or (what == "crash once" and attempt == 1):
    os.kill(os.getpid(), signal.SIGKILL)
if what == "exit":
    sys.exit(7)
if what == "wait" and attempt == 1:
    time.sleep(60)
if what == "meet":  # ends only when another run is there at the same time
    (script.parent / f"here-{job['key']}").touch()
    while len(list(script.parent.glob("here-*"))) < 2:
        time.sleep(0.01)
shutil.copytree(script.parent / "finished" / job["key"].split("__")[0], folder)
