"""What every kind of image file has in common: one sentence for whatever may go wrong, and grey windows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError

MAX_PIXELS = 178_956_970
"""Largest picture that is decoded: the size from which Pillow itself refuses, as a guard against bombs."""


@contextmanager
def naming_faults(path: Path, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong in the block into an `InputError` that names the file.

    Args:
        path: the file that the block reads.
        remedy: end of the sentence about a file that cannot be decoded, without its full stop.

    Raises:
        InputError: anything but an `InputError` or a lack of memory was raised.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, but an image file was expected.") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read by this user; change its permissions.") from error
    except Exception as error:  # the decoders raise many kinds for damaged files
        reason = " ".join(str(error).split()).rstrip(".")
        reason = reason if len(reason) <= 160 else reason[:157] + "..."
        raise InputError(f"{path} cannot be decoded ({reason or type(error).__name__}); {remedy}.") from error


def check_not_empty(path: Path, data: bytes | None = None) -> None:
    """Refuse a file without bytes, which every library reports in other words.

    Raises:
        InputError: the file is empty.
        OSError: there is no such file.
    """
    if (path.stat().st_size if data is None else len(data)) == 0:
        raise InputError(f"{path} is an empty file; copy it again from its source.")


def check_pixels(path: Path, height: int, width: int) -> None:
    """Refuse a picture that would fill the memory.

    Raises:
        InputError: it has more than `MAX_PIXELS` pixels.
    """
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{path} has more than {MAX_PIXELS} pixels; cut it into tiles or make it smaller first."
        )


def to_8_bits(values: NDArray, window: tuple[float, float]) -> NDArray[np.uint8]:
    """Map grey values linearly to 0..255: `window[0]` and below become 0, `window[1]` and above 255.

    Args:
        values: of any shape, finite.
        window: (low, high); where both are equal everything above becomes 255 and the rest 0.

    Returns:
        uint8 of the same shape, rounded to the nearest level.
    """
    low, high = float(window[0]), float(window[1])
    if not high > low:
        return np.where(values > high, np.uint8(255), np.uint8(0))
    scaled = (values.astype(np.float64) - low) * 255.0 / (high - low)  # in this order .5 stays exact
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
