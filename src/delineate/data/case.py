"""One image on disk and all that is known about it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MaskEncoding:
    """How the pixel values of a mask file become class indices: 0 background, 1 the first class, and so on.

    With neither `values` nor `threshold` the mask is binary and holds 0/1 or 0/255.
    """

    classes: tuple[str, ...] = ("foreground",)
    """Names of the foreground classes; class i + 1 is `classes[i]`."""
    values: tuple[int | tuple[int, ...], ...] | None = None
    """File value of each class, as long as `classes`, or several values that all mean it; any value but these
    and `background` is an error."""
    background: int = 0
    """File value of the background."""
    threshold: int | None = None
    """Binary masks stored with losses (JPEG): values at or above it are foreground."""


@dataclass(frozen=True, slots=True)
class Case:
    """One image with what belongs to it; paths are not opened before they are needed."""

    id: str
    """Unique in its data set; the file name without its ending, unless the data set has ids of its own."""
    image: Path
    """The image file."""
    mask: Path | None = None
    """The mask file, or None: the case then counts only towards the label's loss and scores."""
    label: str | None = None
    """The class of the whole image, or None: the case then counts only towards the mask's loss and scores."""
    group: str | None = None
    """Patient, lesion or video; all cases of a group stay in one split."""
    split: str | None = None
    """"train", "val" or "test", or None when the data set has no split of its own."""
    spacing: tuple[float, float] | None = None
    """Millimetres per pixel, (row, column), or None when unknown."""
    encoding: MaskEncoding = MaskEncoding()
    """How to read the mask."""
    more_masks: tuple[Path, ...] = ()
    """Further binary mask files of the same image; foreground is the union of all."""
    slice: int | None = None
    """Position, from 0, of the slice of a volume or the frame of a stack; None for one picture."""
    window: tuple[float, float] | None = None
    """Grey values that become 0 and 255, for files of more than 8 bits; None for the file's own window or,
    without one, its smallest and largest value."""

    @property
    def masks(self) -> tuple[Path, ...]:
        """All mask files of the image, `mask` first; empty without a mask."""
        return () if self.mask is None else (self.mask, *self.more_masks)
