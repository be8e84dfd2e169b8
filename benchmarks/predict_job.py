"""What a prediction job costs beside the network: listing, memory, and what reading ahead gains.

    python benchmarks/predict_job.py [--names 1000000] [--images 200 --size 600 450] [--run RUN] [--json FILE]

Lists a zip, a tar and a source of made-up names, each in a process of its own, and finds how much memory each
name takes while the plan of a job is written and read; then reads the journal of a finished job of so many
files, as a resumed one does. With a run it also predicts photographs one after the other and as a job, in
turns, and compares the time. Exit status 1 when a name takes more than 0.1 kB of memory.
"""

import argparse
import json
import resource
import statistics
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

REQUIRED_KB = 0.1
GROUP = 8


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def name_of(number: int) -> str:
    return f"ward{number // 1000:04d}/image_{number:07d}.png"


def write_zip(path: Path, count: int) -> None:
    """A zip of empty files, written by hand: `zipfile` would need as much memory as it is compared with."""
    with path.open("wb") as file:
        table = bytearray()
        for number in range(count):
            name = name_of(number).encode()
            place = file.tell()
            file.write(struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name)
            table += (
                struct.pack(
                    "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, place
                )
                + name
            )
        start, size = file.tell(), len(table)
        file.write(table)
        end = file.tell()
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))


def write_tar(path: Path, count: int) -> None:
    with path.open("wb") as file:
        for number in range(count):
            file.write(tarfile.TarInfo(name_of(number)).tobuf())
        file.write(bytes(1024))


def list_source(kind: str, folder: Path, count: int) -> dict[str, float | str | int]:
    """List names, write and read the plan, write and read the journal; in a process of its own."""
    from delineate.inference.job.journal import Journal, read_done
    from delineate.inference.job.plan import write_plan
    from delineate.inference.job.sources import Unit, id_of, list_units

    def made_up() -> Iterator[Unit]:
        for number in range(count):
            yield Unit(id_of(name_of(number).split("/")), f"/data/{name_of(number)}")

    units = made_up() if kind == "made-up names" else list_units([folder / f"names.{kind}"])
    before, start, busy = peak_mb(), time.perf_counter(), time.process_time()
    plan = write_plan(units, folder / "plan", GROUP)
    listed, busy = time.perf_counter() - start, time.process_time() - busy
    journal = Journal(folder, folder / "journal", {"rows.csv": "id\n"})
    start = time.perf_counter()
    for group in plan.groups():
        journal.commit(group, len(group), {"rows.csv": "x\n" * len(group)})
    committed = time.perf_counter() - start
    journal.close()
    planned = peak_mb() - before
    start = time.perf_counter()
    done = read_done(folder / "journal")
    held = sum(done.holds(unit) for group in plan.groups() for unit in group)
    resumed = time.perf_counter() - start
    (folder / "journal").unlink()
    return {
        "source": kind,
        "names": plan.files,
        "found_done": held,
        "memory_mb": round(planned, 1),
        "memory_with_resume_mb": round(peak_mb() - before, 1),
        "listing_seconds": round(listed, 1),
        "listing_processor_seconds": round(busy, 1),
        "journal_seconds": round(committed, 1),
        "resume_seconds": round(resumed, 1),
    }


def with_zipfile(folder: Path) -> dict[str, float | str | int]:
    """The same table of contents read by the standard library, for comparison."""
    import zipfile

    before, start = peak_mb(), time.perf_counter()
    names = len(zipfile.ZipFile(folder / "names.zip").filelist)
    seconds = time.perf_counter() - start
    return {"source": "zipfile alone", "names": names, "memory_mb": round(peak_mb() - before, 1),
            "listing_seconds": round(seconds, 1)}  # fmt: skip


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> None:
    folder.mkdir()
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        photograph = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        photograph.save(folder / f"{number:05d}.jpg", quality=92)


def one_by_one(run: Path, source: Path, out: Path) -> float:
    """Read, predict and write each image before the next is read."""
    from delineate.data.case import Case
    from delineate.inference.predictor import Predictor
    from delineate.inference.writers import WRITERS, Output

    predictor = Predictor.load(run, "cpu")
    writers = [WRITERS[name].make(out, predictor.info) for name in ("masks", "overlays")]
    start = time.perf_counter()
    for file in sorted(source.iterdir()):
        case = Case(file.stem, file)
        prediction = predictor(case)
        output = Output(file.stem, case, prediction.image, prediction, predictor.info, predictor.identity)
        for writer in writers:
            writer.add(output)
    return time.perf_counter() - start


def as_a_job(run: Path, source: Path, out: Path) -> float:
    from delineate.inference.job import predict_files
    from delineate.inference.predictor import Predictor

    predictor = Predictor.load(run, "cpu")
    start = time.perf_counter()
    predict_files(predictor, [source], out, batch_size=GROUP)
    return time.perf_counter() - start


def compare(run: Path, folder: Path, count: int, size: tuple[int, int], repeats: int) -> dict[str, object]:
    source = folder / "photographs"
    write_photographs(source, count, size)
    seconds: dict[str, list[float]] = {"one_by_one": [], "job": []}
    for repeat in range(repeats):
        seconds["one_by_one"].append(one_by_one(run, source, folder / f"one{repeat}"))
        seconds["job"].append(as_a_job(run, source, folder / f"job{repeat}"))
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    # A batch rounds otherwise than a single image does, so that pixels at the threshold may turn.
    differ = [
        float(
            (np.array(Image.open(file)) != np.array(Image.open(folder / "job0" / "masks" / file.name))).mean()
        )
        for file in (folder / "one0" / "masks").iterdir()
    ]
    return {
        "images": count,
        "size": list(size),
        "one_by_one_images_per_second": round(count / middle["one_by_one"], 2),
        "job_images_per_second": round(count / middle["job"], 2),
        "gain": round(middle["one_by_one"] / middle["job"], 2),
        "mask_pixels_that_differ": float(np.mean(differ)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure a prediction job beside its network.")
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, nargs=2, default=[1022, 767], help="width and height")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, folder = arguments.one[0], Path(arguments.one[1])
        found = with_zipfile(folder) if kind == "zipfile" else list_source(kind, folder, arguments.names)
        print(json.dumps(found))
        return 0
    result: dict[str, object] = {}
    worst = 0.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if arguments.names:
            write_zip(folder / "names.zip", arguments.names)
            write_tar(folder / "names.tar", arguments.names)
            rows = []
            for kind in ("made-up names", "zip", "tar", "zipfile"):
                command = [sys.executable, __file__, "--one", kind, place, "--names", str(arguments.names)]
                row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                rows.append(row)
                print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
                if kind != "zipfile":
                    worst = max(worst, 1024 * row["memory_with_resume_mb"] / arguments.names)
            result["listing"] = rows
            print(f"each name: at most {worst:.3f} kB")
        if arguments.run:
            width, height = arguments.size
            found = compare(arguments.run, folder, arguments.images, (width, height), arguments.repeats)
            result["overlap"] = found
            print("  ".join(f"{name} {value}" for name, value in found.items()))
    if arguments.json:
        from delineate.record import describe_environment  # late: imports count in what is measured

        result["environment"] = describe_environment("cpu").model_dump(mode="json")
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(worst > REQUIRED_KB)


if __name__ == "__main__":
    sys.exit(main())
