"""Latency of exported files beside PyTorch on the CPU, batch 1, all in one run; and what they cost in Dice.

    python benchmarks/export_latency.py RUN [--size 352] [--repeats 15] [--data FOLDER --dataset folder]
        [--cases 100] [--calibration 100] [--picture 1022x767] [--threads N] [--json FILE]

Variants take turns in blocks of a few calls, so that a busy machine slows them all; the first call of a
block does not count. "network" is the time from 8-bit pixels at the network's size to logits, "whole" from a
picture of any size to its mask at that size. With --size other than the run's own the network is timed at
that size, and no Dice is measured. Without --data the run's own data set is used, where it still lies in its
place. "eager" is the model as this package runs it; "eager, published" is its literal form, for models whose
usual form is an exact rewrite; goals are judged against both. Where the processor computes bf16 only by way
of float32, its Dice is measured all the same, its time is not.

Exit status 1 when a goal that can be judged on this processor is missed:
    OpenVINO fp32 at least 3 times as fast as eager PyTorch, ONNX Runtime at least 2 times, bf16 at least 9
    times; int8 faster than bf16, or than fp32 where there is no bf16; |change of the mean Dice| at most 0.002
    in bf16 and 0.005 in int8.
Where other programs keep more than half of the cores busy, speed is measured but not judged: eager PyTorch
suffers more from them than the others.
"""

import argparse
import copy
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from delineate.data.cache import resize_image
from delineate.data.case import Case
from delineate.inference.evaluate import _start
from delineate.inference.export import int8, onnx_format, openvino_format, running, score_change, silent
from delineate.inference.export.graph import INPUT, SIZED, logit_names, output_names
from delineate.inference.export.make import ScoreData
from delineate.inference.predictor import Predictor
from delineate.models.checkpoint import ModelInfo, load_model
from delineate.models.chnet import CHNet
from delineate.models.prediction import Prediction
from delineate.record import describe_environment

BLOCK = 4
Call = Callable[[], object]
GOALS = {"openvino fp32": 3.0, "onnx fp32": 2.0, "openvino bf16": 9.0}


class Sessions:
    """The variants of one network: functions of uint8 pictures, for the network alone and for the whole."""

    def __init__(
        self, model: torch.nn.Module, info: ModelInfo, pictures: list[np.ndarray], threads: int
    ) -> None:
        openvino = silent.openvino()
        self.info = info
        self.network: dict[str, running.Run] = {}
        self.whole: dict[str, running.Run] = {}
        self.emulated: dict[str, running.Run] = {}
        self.calibration = {}
        exported = onnx_format.onnx_model(model, info)
        converted = openvino_format.openvino_model(exported)
        files = {"onnx fp32": exported, "openvino fp32": converted}
        files["openvino bf16"] = converted
        if pictures:
            sized = [resize_image(picture, info.size)[None] for picture in pictures]
            fresh = openvino_format.openvino_model(exported)
            files["openvino int8"], self.calibration["openvino int8"] = int8.quantise_openvino(fresh, sized)
            files["onnx int8"], self.calibration["onnx int8"] = int8.quantise_onnx(exported, sized)
        names, outputs = logit_names(info), output_names(info)
        with tempfile.TemporaryDirectory() as folder:
            for name, file in files.items():
                if name.startswith("onnx"):
                    part = onnx_format.cut_onnx(file, SIZED, names)
                    self.network[name] = running.onnx_session(part, SIZED, names, threads)
                    self.whole[name] = running.onnx_session(
                        file.SerializeToString(), INPUT, outputs[:1], threads
                    )
                    continue
                path = Path(folder) / f"{name}.xml"  # cutting a model uses it up, so it is read twice
                openvino_format.save_openvino(file, path)
                precision = name.split()[1]
                read = openvino.Core().read_model
                part = openvino_format.cut_openvino(read(path), SIZED, names)
                if precision == "bf16" and not running.has_bf16():
                    session = emulated_bf16(part, names)
                    if session is not None:
                        self.emulated[name] = session
                    continue
                self.network[name] = running.openvino_session(part, names, precision, threads)
                self.whole[name] = running.openvino_session(read(path), outputs[:1], precision, threads)

    def backend(self, name: str) -> Any:
        """The network of a variant as a backend of a predictor."""
        run, info = (self.network | self.emulated)[name], self.info

        class Variant:
            device_name, notes = "cpu", ()

            def __init__(self) -> None:
                self.info, self.name = info, name

            def forward(self, images: np.ndarray) -> Prediction:
                found = run(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
                return Prediction(
                    mask=torch.from_numpy(found["mask_logits"]) if "mask_logits" in found else None,
                    label=torch.from_numpy(found["label_logits"]) if "label_logits" in found else None,
                )

        return Variant()


def emulated_bf16(model: Any, names: tuple[str, ...]) -> running.Run | None:
    """Round to bf16 as OpenVINO does on processors that compute bf16 in float32; None where it does not."""
    compiled = silent.openvino().Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    kinds = {
        op.get_rt_info()["runtimePrecision"].astype(str) for op in compiled.get_runtime_model().get_ops()
    }
    if not any("bf16" in kind.lower() for kind in kinds):
        return None
    outputs = [compiled.output(name) for name in names]

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        found = compiled([images])
        return {name: found[output].copy() for name, output in zip(names, outputs, strict=True)}

    return run


def published(model: torch.nn.Module) -> torch.nn.Module | None:
    """The model in its literal form with the same weights; None where that is the only one."""
    if not isinstance(model, CHNet) or model.head.form == "literal":
        return None
    literal = copy.deepcopy(model)
    literal.head.form = "literal"
    return literal


def milliseconds(calls: dict[str, Call], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each call; the variants take turns in blocks."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-(-repeats // (BLOCK - 1)) + 1):
        for name, call in calls.items():
            for i in range(BLOCK):
                start = time.perf_counter()
                call()
                if turn and i:
                    times[name].append(1e3 * (time.perf_counter() - start))
    return times


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def data_of(run: Path, root: Path | None, dataset: str | None) -> dict[str, list[Case]]:
    """Training and test cases, empty where the data is not at hand."""
    found = {}
    for split in ("train", "test"):
        try:
            found[split] = _start(run, root, dataset, split)[1]
        except ValueError as error:
            print(f"no {split} cases: {error}", file=sys.stderr)
            found[split] = []
    return found


def some(cases: list[Case], count: int) -> list[Case]:
    """At most `count` of the cases, spread evenly over all of them."""
    return [cases[i] for i in np.unique(np.linspace(0, len(cases) - 1, count).astype(int))] if cases else []


def goals(network: dict[str, float], dice: dict[str, dict], busy: bool) -> list[dict]:
    """What was asked for, what was found, and whether that is met (None: cannot be judged here)."""
    rows: list[dict[str, Any]] = []
    bases = [base for base in ("eager", "eager, published") if base in network]
    for base, (name, least) in itertools.product(bases, GOALS.items()):
        ratio = round(network[base] / network[name], 2) if name in network else None
        rows.append({"goal": f"{name}, times as fast as {base}", "least": least, "found": ratio})
        rows[-1]["met"] = None if ratio is None else ratio >= least
    if "openvino int8" in network:
        rival = "openvino bf16" if "openvino bf16" in network else "openvino fp32"
        ratio = round(network[rival] / network["openvino int8"], 2)
        rows.append({"goal": f"int8, times as fast as {rival}", "least": 1, "found": ratio, "met": ratio > 1})
    if busy:
        rows = [row | {"met": None} for row in rows]
    for name, change in dice.items():
        limit = score_change.LIMITS[name.split()[1]]
        found = round(change["mean_change"], 5)
        rows.append({"goal": f"{name}, change of the mean Dice", "most": limit, "found": found})
        rows[-1]["met"] = abs(found) <= limit
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--size", type=int)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--dataset")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--calibration", type=int, default=100)
    parser.add_argument("--picture", default="1022x767", help="width x height of the picture of `whole`")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    busy = load > 0.5 * arguments.threads
    torch.set_num_threads(arguments.threads)
    model, own = load_model(arguments.run)
    size = (arguments.size, arguments.size) if arguments.size else own.size
    info = own.model_copy(update={"size": size})
    eager = Predictor(model, info, device="cpu")
    literal = published(model)
    other = None if literal is None else Predictor(literal, info, device="cpu")
    cases = data_of(arguments.run, arguments.data, arguments.dataset)
    pictures = [eager.open(case).pixels for case in some(cases["train"], arguments.calibration)]
    sessions = Sessions(model, info, pictures, arguments.threads)

    width, height = map(int, arguments.picture.split("x"))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if cases["test"]:
        image = resize_image(eager.open(cases["test"][0]).pixels, (height, width))
    sized = resize_image(image, size)[None]
    planes = np.ascontiguousarray(sized.transpose(0, 3, 1, 2))
    alone: dict[str, Call] = {"eager": lambda: eager.backend.forward(sized)}
    if other is not None:
        alone["eager, published"] = lambda: other.backend.forward(sized)
    alone |= {name: lambda run=run: run(planes) for name, run in sessions.network.items()}
    whole: dict[str, Call] = {"eager": lambda: eager(image).mask}
    if other is not None:
        whole["eager, published"] = lambda: other(image).mask
    whole |= {name: lambda run=run: run(image[None]) for name, run in sessions.whole.items()}
    network = milliseconds(alone, arguments.repeats)
    result: dict[str, Any] = {
        "run": arguments.run.name,
        "model": info.model,
        "size": size,
        "picture": (height, width),
        "threads": arguments.threads,
        "environment": describe_environment("cpu").model_dump(mode="json"),
        "load before": round(load, 2),
        "capabilities": capabilities(),
        "bf16": "available" if running.has_bf16() else "not available on this processor",
        "network, ms": medians(network),
        "network, fastest call, ms": {name: round(min(values), 1) for name, values in network.items()},
        "whole, ms": medians(milliseconds(whole, arguments.repeats)),
    }
    for part in ("network", "whole"):
        times = result[f"{part}, ms"]
        for base in ("eager", "eager, published"):
            if base in times:
                result[f"{part}, times as fast as {base}"] = {
                    k: round(times[base] / v, 2) for k, v in times.items()
                }
    dice: dict[str, dict] = {}
    chosen = some(cases["test"], arguments.cases)
    if chosen and size == own.size and info.classes:
        data = ScoreData(chosen, str(arguments.data or "the run's own"), "test")
        for name in sessions.network | sessions.emulated:
            change = score_change.measure(eager, Predictor(sessions.backend(name)), data)
            dice[name] = change.model_dump(exclude={"changes"})
    result["Dice"] = dice
    result["calibration"] = {"pictures": len(pictures)} | sessions.calibration
    result["goals"] = goals(result["network, ms"], dice, busy)
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(any(row["met"] is False for row in result["goals"]))


def capabilities() -> list[str]:
    """What OpenVINO says the processor can compute in."""
    return list(silent.openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


if __name__ == "__main__":
    main()
