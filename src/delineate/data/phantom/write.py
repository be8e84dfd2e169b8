"""Write a phantom data set to a folder: all of it, or nothing."""

import csv
import io
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from delineate.checks import InputError
from delineate.data.phantom.anatomy import (
    LABELS,
    LesionParameters,
    PhantomOptions,
    sample_lesion,
    sample_skin,
)
from delineate.data.phantom.picture import check_size, render_phantom
from delineate.data.phantom.plan import IMAGE, SKIN, SPLITS, Plan, plan_images, split_patients, stream
from delineate.version import __version__

GENERATOR = 1
"""Version of the generator: raised whenever the same seed gives other pictures."""

_TITLE = "# Phantom dermoscopy images"
_TABLES = ("labels.csv", "split.csv", "groups.csv", "parameters.csv")
_PICTURE = re.compile(r"phantom_\d{5,}\.png")


@dataclass(frozen=True)
class PhantomReport:
    """What was written."""

    out: Path
    """The folder."""
    count: int
    """Number of images."""
    patients: int
    """Number of synthetic patients."""
    labels: dict[str, int]
    """Images of each label."""
    splits: dict[str, int]
    """Images of each split."""


def write_phantom(
    out: Path,
    *,
    count: int,
    size: int = 256,
    seed: int = 0,
    options: PhantomOptions | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
) -> PhantomReport:
    """Write a synthetic dermoscopy data set in the plain-folder layout.

    `images/<id>.png`, `masks/<id>.png` (0 and 255), `labels.csv`, `split.csv` (train, val, test 70/15/15,
    stratified by label, a patient in one split only), `groups.csv` (the patient, with one to three images on
    one skin), `parameters.csv` (the true signs and artefacts of every image) and `SOURCE.md`.

    The same arguments give the same bytes, with any number of workers. An image depends on `seed`, `size`,
    `options` and its index alone, so that a shorter run is the beginning of a longer one (the split is not).

    Args:
        out: the folder; created, or replaced when it is empty or holds nothing but a phantom.
        count: number of images, >= 1.
        size: side of the images, pixels, 32 to 4096.
        seed: >= 0.
        options: what lesions, skins and artefacts to draw; None means `PhantomOptions()`.
        progress: called with the number of images done so far, after each.
        workers: processes that render; more than one pays from some hundred images on.

    Raises:
        InputError: an argument is out of range, `out` holds something else, or it cannot be written.
    """
    _check(count, size, seed, workers)
    options = PhantomOptions() if options is None else options
    plans = plan_images(count, seed, options)
    splits = split_patients(plans, seed)
    rows = []
    with _whole_folder(Path(out)) as folder:
        for name in ("images", "masks"):
            (folder / name).mkdir()
        job = partial(_write_image, folder, seed, size, options)
        for done, row in enumerate(_run(job, plans, workers), start=1):
            rows.append(row)
            if progress is not None:
                progress(done)
        ids = [plan.id for plan in plans]
        _write_table(folder / "labels.csv", ("image_id", "label"), [(p.id, p.label) for p in plans])
        _write_table(folder / "split.csv", ("image_id", "split"), list(zip(ids, splits, strict=True)))
        groups = [(plan.id, f"patient_{plan.patient:05d}") for plan in plans]
        _write_table(folder / "groups.csv", ("image_id", "group"), groups)
        _write_table(folder / "parameters.csv", tuple(rows[0]), [tuple(row.values()) for row in rows])
        _write(folder / "SOURCE.md", _source(count, size, seed, options))
    labels = Counter(plan.label for plan in plans)
    return PhantomReport(
        out=Path(out),
        count=count,
        patients=len({plan.patient for plan in plans}),
        labels={label: labels[label] for label in LABELS},
        splits={split: splits.count(split) for split in SPLITS},
    )


def _check(count: int, size: int, seed: int, workers: int) -> None:
    if count < 1:
        raise InputError(f"A phantom needs a count of at least 1 image, got {count}.")
    if seed < 0:
        raise InputError(f"A phantom's seed must be 0 or larger, got {seed}.")
    if workers < 1:
        raise InputError(f"A phantom needs at least 1 worker, got {workers}.")
    check_size(size)


def _write_image(
    folder: Path, seed: int, size: int, options: PhantomOptions, plan: Plan
) -> dict[str, str | int | float]:
    """Render and write one image and its mask; return its row of `parameters.csv`."""
    skin = sample_skin(options, stream(seed, SKIN, plan.patient))
    rng = stream(seed, IMAGE, plan.index)
    parameters = sample_lesion(plan.label, options, rng, skin=skin)
    image, mask = render_phantom(parameters, rng, size=size)
    _write(folder / "images" / f"{plan.id}.png", _png(image, run_length=True))
    _write(folder / "masks" / f"{plan.id}.png", _png(mask, run_length=False))
    return {"image_id": plan.id, **_flat(parameters), "area": round(float((mask > 0).mean()), 6)}


def _png(pixels: np.ndarray, run_length: bool) -> bytes:
    """Compress: sensor noise has no repeats, so run lengths are as small as a search and twice as fast."""
    buffer = io.BytesIO()
    strategy = {"compress_type": 3} if run_length else {}  # 3 = zlib's Z_RLE
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6, **strategy)
    return buffer.getvalue()


def _flat(parameters: LesionParameters) -> dict[str, str | int | float]:
    row = asdict(parameters)
    skin = row.pop("skin")
    row |= {key if key == "fitzpatrick" else f"skin_{key}": value for key, value in skin.items()}
    values = {key: int(value) if isinstance(value, bool) else value for key, value in row.items()}
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()}


def _run(
    job: Callable[[Plan], dict[str, str | int | float]], plans: Sequence[Plan], workers: int
) -> Iterator[dict[str, str | int | float]]:
    if workers == 1:
        yield from map(job, plans)
        return
    # Spawned, not forked: a fork copies locks that threads of the caller (torch, BLAS) may hold.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield from pool.map(job, plans, chunksize=8)
    finally:
        pool.shutdown(cancel_futures=True)


def _write(path: Path, content: bytes | str) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _write_table(path: Path, header: tuple[str, ...], rows: Sequence[tuple]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    _write(path, text.getvalue())


def _source(count: int, size: int, seed: int, options: PhantomOptions) -> str:
    return f"""{_TITLE}

Synthetic dermoscopy-like images with masks, labels and the parameters they were drawn from. No patient, no
photograph and no trained model was used; nothing here says how well a method works on real skin.

- Generator: delineate {__version__}, phantom generator {GENERATOR}
- Images: {count}, {size} x {size} pixels, 16 x 16 mm of skin
- Seed: {seed}
- Licence: Apache-2.0

| file | content |
|---|---|
| `images/<id>.png` | RGB image, 8 bits |
| `masks/<id>.png` | true outline: 255 inside, 0 outside; hairs over the lesion count as lesion |
| `labels.csv` | `image_id,label`: benign or malignant |
| `split.csv` | `image_id,split`: train, val, test (70/15/15), stratified by label, patients kept whole |
| `groups.csv` | `image_id,group`: the synthetic patient; one skin per patient |
| `parameters.csv` | the true signs (asymmetry, irregularity, variegation, diameter, contrast) and artefacts |

## Options

```json
{json.dumps(asdict(options), indent=2)}
```
"""


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder to fill; put it at `out` when the block succeeds, else leave no trace.

    Raises:
        InputError: `out` holds something else than a phantom, or cannot be written.
    """
    out = out.expanduser().absolute()
    if out.is_symlink():
        out = out.resolve()
    workplace: Path | None = None
    try:
        _refuse_foreign(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        folder = workplace / "new"  # made by mkdir, so that it gets the user's usual permissions
        folder.mkdir()
        yield folder
        _refuse_foreign(out)  # rendering takes minutes in which somebody may have put a file there
        if out.exists():
            os.replace(out, workplace / "old")
        try:
            os.replace(folder, out)
        except OSError:
            if (workplace / "old").exists():
                os.replace(workplace / "old", out)
            raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(
            f"Cannot write the phantom to {out}: {reason}. Free space or choose a folder you may write to."
        ) from error
    finally:
        if workplace is not None:
            shutil.rmtree(workplace, ignore_errors=True)


def _refuse_foreign(out: Path) -> None:
    """Raise InputError unless `out` is absent, empty, or a phantom and nothing else."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file, but a phantom needs a folder; choose another name.")
    source = out / "SOURCE.md"
    own = source.is_file() and source.read_text("utf-8", "replace").startswith(_TITLE)
    expected = {"images", "masks", "SOURCE.md", *_TABLES} if own else set()
    foreign = sorted(path.name for path in out.iterdir() if path.name not in expected)
    for picture in (*out.glob("images/*"), *out.glob("masks/*")) if not foreign else ():
        if not _PICTURE.fullmatch(picture.name):
            foreign.append(picture.relative_to(out).as_posix())
    if foreign:
        raise InputError(
            f"{out} holds other files ({min(foreign)}) and is not replaced by a phantom; "
            f"choose a new or empty folder."
        )
