"""One correction, checked before it is stored."""

import io
import math
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from unicodedata import category

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from delineate.checks import InputError

LONGEST_NAME, LONGEST_COMMENT = 200, 5000
_MOST_PIXELS = 200_000_000
_BREAKS = {"comment": "\n\r\t"}  # control characters that a text may hold


@dataclass(frozen=True)
class Correction:
    """What a person made of one image. The masks are 8-bit grey PNG files of the image's size."""

    filename: str
    """Name of the image file, without a path; for showing and for the id in a data set."""
    image: bytes
    """The image file, byte for byte."""
    model: str
    """Name of the model as it was served."""
    identity: str
    """Which weights and which way of running them; see `Predictor.identity`."""
    classes: tuple[str, ...]
    """Mask classes without the background."""
    labels: tuple[str, ...]
    """Labels that the model knows."""
    mask: bytes | None
    """Corrected mask: class indices, 0 background; of one class also 0 and 255."""
    predicted_mask: bytes | None
    """What the model had drawn, in the same form."""
    label: str | None
    """Corrected label, one of `labels`."""
    author: str
    """Who corrected it."""
    comment: str = ""
    seconds: float | None = None
    """How long it took."""
    window: tuple[float, float] | None = None
    """Grey values that became 0 and 255 for the model, for images of more than 8 bits; None for the file's
    own window or, without one, its smallest and largest value."""

    def check(self, size: tuple[int, int] | None = None) -> None:
        """Refuse what could not be trained on later.

        Args:
            size: (height, width) of the image, when it is known; a mask of another size is then refused
                before it is decoded.

        Raises:
            InputError: nothing is corrected, there is no author, a text is too long or holds control
                characters, the label is unknown, the window is none, a mask is no 8-bit grey PNG, names an
                unknown class, or the masks differ in size.
        """
        if self.mask is None and self.label is None:
            raise InputError("A correction needs a mask or a label; give one of them.")
        if not self.author.strip() or len(self.author) > LONGEST_NAME:
            raise InputError(f"A correction needs an author of 1 to {LONGEST_NAME} characters.")
        if len(self.comment) > LONGEST_COMMENT:
            raise InputError(f"A comment has at most {LONGEST_COMMENT} characters, got {len(self.comment)}.")
        for name in ("filename", "model", "identity", "author", "comment", "label"):
            text = getattr(self, name) or ""
            if any(category(c) in ("Cc", "Cs") and c not in _BREAKS.get(name, "") for c in text):
                raise InputError(f"The {name} of a correction holds control characters; take them out.")
        if not self.image:
            raise InputError("A correction needs the image that it belongs to; it is empty.")
        if self.label is not None and self.label not in self.labels:
            known = ", ".join(self.labels) or "it has none"
            raise InputError(f"The label {self.label!r} is not one of the model's ({known}); choose one.")
        if self.seconds is not None and not 0 <= self.seconds < 1e7:
            raise InputError(f"The seconds of a correction must be 0 or more, got {self.seconds}.")
        if self.window is not None and not -math.inf < self.window[0] < self.window[1] < math.inf:
            raise InputError(f"The window {self.window} is none; give two numbers, the lower one first.")
        shapes = [
            read_index_mask(mask, len(self.classes), size).shape
            for mask in (self.mask, self.predicted_mask)
            if mask is not None
        ]
        if len(set(shapes)) > 1:
            raise InputError(f"The masks have {shapes[0]} and {shapes[1]} pixels; both must fit the image.")

    def fingerprint(self, salt: str = "") -> str:
        """SHA-256 of `salt` and of all that a person said; how long it took does not count."""
        digest = sha256()
        parts = (self.image, self.mask, self.predicted_mask, self.filename, self.model, self.identity)
        for part in (*parts, self.label, self.author, self.comment, salt):
            raw = part.encode() if isinstance(part, str) else part
            digest.update(b"-" if raw is None else b"+" + len(raw).to_bytes(8, "big") + raw)
        return digest.hexdigest()


@dataclass(frozen=True)
class Stored:
    """A correction with what the store knows about it."""

    id: int
    stored_at: datetime
    """In UTC."""
    image_sha256: str
    correction: Correction


def read_index_mask(png: bytes, classes: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Decode a mask to class indices (H, W).

    Args:
        png: 8-bit grey PNG: class indices, 0 background; of one class also 0 and 255.
        classes: number of classes without the background.
        size: (height, width) of its image; another size is refused before anything is decoded.

    Raises:
        InputError: it is no 8-bit grey PNG, too large or of another size, damaged, or holds a class that
            there is not.
    """
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            if picture.mode not in ("L", "1"):
                raise InputError(f"A mask must be an 8-bit grey PNG, got one of mode {picture.mode}.")
            if size is not None and (picture.height, picture.width) != size:
                raise InputError(
                    f"The mask has {picture.height} x {picture.width} pixels, its image {size[0]} x "
                    f"{size[1]}; send a mask of the image's size."
                )
            if picture.width * picture.height > _MOST_PIXELS:
                raise InputError(f"A mask has at most {_MOST_PIXELS} pixels, got {picture.size}.")
            mask = np.asarray(picture.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("The mask is no readable PNG; send it again.") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"A mask has at most {_MOST_PIXELS} pixels; this one has more.") from error
    values = np.unique(mask)
    if classes == 1 and set(values.tolist()) <= {0, 255}:
        return (mask > 0).astype(np.uint8)
    if values.size and values.max() > classes:
        raise InputError(
            f"The mask holds the value {int(values.max())}, but there are {classes} class(es); use 0 for the "
            "background and 1 to that number."
        )
    return mask
