"""What one reading of a case's files tells the checks: about 1.5 kB per case, whatever its images' size."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.images import read_case_image, read_case_mask
from delineate.files import sha256_of

if TYPE_CHECKING:
    from delineate.data.gate.store import FactStore

Progress = Callable[[int, int], None]

THUMBNAIL = 32
"""Side of the grey thumbnail in pixels."""
_CHUNK = 256  # cases that are looked up in the store and written to it at once
_FILE_VALUES = MaskEncoding(tuple(map(str, range(1, 256))), tuple(range(1, 256)))  # reads values as they are


@dataclass(frozen=True, slots=True)
class MaskValues:
    """Which values a mask file holds; 76 bytes instead of a histogram."""

    present: bytes
    """32 bytes, one bit per value (`numpy.packbits`): it occurs."""
    frequent: bytes
    """32 bytes, one bit per value: at least one pixel in a thousand has it."""
    middle: float
    """Share of the pixels with a value from 32 to 223."""


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What one reading of a case's files tells; None where a file is absent or unreadable."""

    image_error: str | None = None
    """Why the image cannot be read."""
    mask_error: str | None = None
    """Why the mask cannot be read."""
    image_pixels: bytes | None = None
    """Digest of size and decoded pixels: the same image in another format or compression level is found."""
    mask_pixels: bytes | None = None
    """Digest of size and index map."""
    image_size: tuple[int, int] | None = None
    """(height, width)."""
    mask_size: tuple[int, int] | None = None
    """(height, width)."""
    mask_counts: tuple[int, ...] | None = None
    """Pixels of the background and of each class."""
    mask_border: float | None = None
    """Share of the pixels along the mask's border that are foreground."""
    mask_values: MaskValues | None = None
    """Values of a mask that cannot be read with its encoding, or that is read with a threshold."""
    mask_is_image: bool = False
    """Whether the mask file is the image itself."""
    mean: float | None = None
    """Mean grey level, 0 to 255."""
    contrast: float | None = None
    """Standard deviation of the grey levels."""
    thumbnail: bytes | None = None
    """`THUMBNAIL` x `THUMBNAIL` mean grey levels, row by row."""
    transparent: bool = False
    """Whether a pixel of the image is not opaque, so that the colour behind it had to be chosen."""
    raw_range: tuple[int, int] | None = None
    """Smallest and largest value of an image file of 16 bits; None for others."""


Facts = Mapping[str, CaseFacts]


def gather(
    cases: Sequence[Case],
    *,
    store: "FactStore | None" = None,
    workers: int | None = None,
    progress: Callable[[], None] | None = None,
) -> dict[str, CaseFacts]:
    """Read every file of a data set once, in threads (Pillow decodes outside the interpreter lock).

    Only a few cases are in flight at any time, so memory grows by the facts alone.

    Args:
        cases: cases with unique ids.
        store: facts of earlier runs, which it also receives; None reads everything.
        workers: number of threads; None for one per core.
        progress: called from the calling thread after each case.

    Returns:
        id -> facts, in the order of `cases`.

    Raises:
        InputError: two cases have one id.
    """
    facts: dict[str, CaseFacts] = {}
    threads = max(1, workers if workers is not None else os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(cases), _CHUNK):
            chunk = cases[start : start + _CHUNK]
            known = {} if store is None else store.get(chunk)
            stamps = (
                {} if store is None else {i: store.stamp(c) for i, c in enumerate(chunk) if i not in known}
            )
            todo = (case for i, case in enumerate(chunk) if i not in known)
            read = _windowed(pool, todo, 4 * threads)
            fresh: list[tuple[Case, CaseFacts]] = []
            for i, case in enumerate(chunk):
                if case.id in facts:
                    raise InputError(f"Two cases have the id {case.id!r}; ids must be unique in a data set.")
                fact = known.get(i)
                if fact is None:
                    fact = next(read)
                    fresh.append((case, fact))
                facts[case.id] = fact
                if progress is not None:
                    progress()
            if store is not None:
                store.put(fresh, list(stamps.values()))
    return facts


def read_facts(case: Case) -> CaseFacts:
    """Read the files of one case and keep what the checks need; bad files are facts, not exceptions."""
    image: NDArray[np.uint8] | None = None
    mask: NDArray[np.uint8] | None = None
    image_error = mask_error = None
    values: MaskValues | None = None
    try:
        image = read_case_image(case)
    except InputError as error:
        image_error = str(error)
    if case.mask is not None:
        try:
            mask = read_case_mask(case)
        except InputError as error:
            mask_error = str(error)
        if mask is None or case.encoding.threshold is not None:
            values = file_values(case)
    facts = CaseFacts(
        image_error=image_error,
        mask_error=mask_error,
        mask_values=values,
        mask_is_image=_mask_is_image(case, image, mask),
    )
    if mask is not None:
        facts = replace(
            facts,
            mask_pixels=_digest(mask),
            mask_size=(mask.shape[0], mask.shape[1]),
            mask_counts=tuple(np.bincount(mask.ravel(), minlength=len(case.encoding.classes) + 1).tolist()),
            mask_border=_border(mask),
        )
    if image is None:
        return facts
    grey = Image.fromarray(image).convert("L")
    histogram = np.array(grey.histogram(), dtype=np.float64)
    levels = np.arange(256)
    mean = float(histogram @ levels / histogram.sum())
    transparent, raw_range = _beyond_rgb(case)
    return replace(
        facts,
        image_pixels=_digest(image),
        image_size=(image.shape[0], image.shape[1]),
        mean=mean,
        contrast=float(np.sqrt(histogram @ (levels - mean) ** 2 / histogram.sum())),
        thumbnail=grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes(),
        transparent=transparent,
        raw_range=raw_range,
    )


def bits(flags: bytes) -> set[int]:
    """The values whose bits are set, see `MaskValues`."""
    return set(np.flatnonzero(np.unpackbits(np.frombuffer(flags, np.uint8))).tolist())


def _windowed(pool: ThreadPoolExecutor, cases: Iterator[Case], ahead: int) -> Iterator[CaseFacts]:
    """`pool.map(read_facts, cases)` that submits only a few cases ahead."""
    waiting: deque[Future[CaseFacts]] = deque(pool.submit(read_facts, case) for case in islice(cases, ahead))
    try:
        while waiting:
            fact = waiting.popleft().result()
            waiting.extend(pool.submit(read_facts, case) for case in islice(cases, 1))
            yield fact
    finally:
        for future in waiting:
            future.cancel()


def file_values(case: Case) -> MaskValues | None:
    """The values in a case's mask files whatever they mean; None when the files cannot be read at all."""
    try:
        values = read_case_mask(replace(case, encoding=_FILE_VALUES))
    except InputError:
        return None  # not a question of values
    histogram = np.bincount(values.ravel(), minlength=256)
    return MaskValues(
        np.packbits(histogram > 0).tobytes(),
        np.packbits(histogram * 1000 >= values.size).tobytes(),
        float(histogram[32:224].sum() / values.size),
    )


def _border(mask: NDArray[np.uint8]) -> float:
    edges = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return float(np.count_nonzero(edges) / edges.size)


def _digest(pixels: NDArray[np.uint8]) -> bytes:
    digest = blake2b(f"{pixels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _beyond_rgb(case: Case) -> tuple[bool, tuple[int, int] | None]:
    """Transparency, and the range of 16-bit values: what 8-bit RGB no longer shows."""
    transparent, raw_range = False, None
    try:
        with Image.open(case.image) as image:
            if "A" in image.getbands() or "transparency" in image.info:
                smallest, _ = image.convert("RGBA").getchannel("A").getextrema()
                transparent = bool(smallest < 255)  # type: ignore[operator]  # one band gives two numbers
            elif image.mode.startswith("I"):
                low, high = image.getextrema()
                raw_range = (int(low), int(high))  # type: ignore[arg-type]  # one band gives two numbers
    except Exception:  # a volume, a DICOM file, a bomb: Pillow raises many kinds, and none is news here
        return False, None
    return transparent, raw_range


def _mask_is_image(case: Case, image: NDArray[np.uint8] | None, mask: NDArray[np.uint8] | None) -> bool:
    if case.mask is None:
        return False
    try:
        if _same_bytes(case.mask, case.image):
            return True
        if image is None or mask is not None:
            return False
        # Saved again in another format, the copy is no valid mask, so only then are pixels compared.
        return np.array_equal(read_case_image(replace(case, image=case.mask)), image)
    except (InputError, OSError):
        return False


def _same_bytes(first: Path, second: Path) -> bool:
    return first.stat().st_size == second.stat().st_size and sha256_of(first) == sha256_of(second)
