"""Finding a publisher's folders and pairing images with masks, with sentences that say what is missing."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from delineate.checks import InputError
from delineate.data.readers.about import About

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_LEFT_BEHIND = ("thumbs.db", "desktop.ini")


def find_folder(root: Path, about: About, *candidates: str) -> Path:
    """Return the first of the folders below `root` that exists.

    Args:
        root: what the user calls the data set's folder.
        about: for the message.
        candidates: paths relative to `root`, the publisher's own first.

    Raises:
        InputError: none exists; the message says what was expected and what is there.
    """
    found = optional_folder(root, *candidates)
    if found is None:
        raise not_this_dataset(root, about, "the folder " + " or ".join(candidates))
    return found


def optional_folder(root: Path, *candidates: str) -> Path | None:
    """Return the first of the folders below `root` that exists, or None."""
    return next((root / name for name in candidates if (root / name).is_dir()), None)


def not_this_dataset(root: Path, about: About, expected: str) -> InputError:
    """The error for a folder that does not hold what a reader needs."""
    if not root.is_dir():
        return InputError(f"The data folder {root} does not exist; check the path.")
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return InputError(
        f"{root} is not {about.title}: expected {expected}, found {shown or 'nothing'}; "
        f"unpack the publisher's archives there ({about.home})."
    )


def files_by_stem(folder: Path, *, suffix: str = "", endings: Iterable[str] = PICTURES) -> dict[str, Path]:
    """Map id to file for the pictures directly inside a folder.

    Args:
        folder: where to look; its hidden files and what file managers leave behind are passed over.
        suffix: end of the name before the ending, which is not part of the id ("_segmentation").
        endings: in lower case, with the dot; other files are passed over.

    Raises:
        InputError: two files have one id, for example x.jpg and x.png.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        if path.name.startswith((".", "__MACOSX", "@")) or name in _LEFT_BEHIND or not path.is_file():
            continue
        ending = next((ending for ending in endings if name.endswith(ending)), None)
        if ending is None or not path.name[: -len(ending)].endswith(suffix):
            continue
        stem = path.name[: len(path.name) - len(ending) - len(suffix)]
        if stem in found:
            raise InputError(f"{found[stem]} and {path} have the same id {stem!r}; remove one.")
        found[stem] = path
    return found


def check_pairs(images: Mapping[str, Path], masks: Mapping[str, Path], about: About, where: Path) -> None:
    """Refuse a part in which images and masks do not belong together one to one.

    Args:
        images: id -> file.
        masks: id -> file.
        about: for the message.
        where: the folder that both lie below, for the message.

    Raises:
        InputError: an image has no mask, a mask no image, or there is neither.
    """
    if not images and not masks:
        raise InputError(
            f"{where} holds no images of {about.title}; unpack the publisher's archives there ({about.home})."
        )
    for kind, there, missing in (
        ("mask", images, sorted(images.keys() - masks.keys())),
        ("image", masks, sorted(masks.keys() - images.keys())),
    ):
        if missing:
            other = "images" if kind == "mask" else "masks"
            raise InputError(
                f"{where}: {len(missing)} of {len(there)} {other} of {about.title} have no {kind}, "
                f"{missing[0]!r} for example; unpack the publisher's archives again."
            )
