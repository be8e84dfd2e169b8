"""What the readers of polyp data sets share: pairs of folders, numbered frames, clips of videos."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from delineate.checks import InputError
from delineate.data.case import Case, MaskEncoding
from delineate.data.readers.about import About
from delineate.data.readers.layout import check_pairs, files_by_stem, not_this_dataset, optional_folder

# Several of these sets were once stored as JPEG or resized with interpolation, so that values between 0 and
# 255 occur even in PNG files; the usual evaluation code cuts at half.
POLYP = MaskEncoding(classes=("polyp",), threshold=128)
MASK_VALUES = "0 background, 255 polyp; values in between come from compression and are cut at 128"

Group = Callable[[str], str | None]


def no_group(stem: str) -> str | None:
    """The group of a frame about which nothing is known."""
    return None


def paired_cases(
    images: Path,
    masks: Path,
    about: About,
    *,
    name: Callable[[str], str] = str,
    group: Group = no_group,
    split: str | None = None,
) -> list[Case]:
    """List the cases of a folder of images and a folder of masks with the same stems.

    Args:
        images: the folder of images.
        masks: the folder of masks.
        about: the data set, for messages.
        name: makes the case's id from the file's stem.
        group: makes the case's group from the file's stem.
        split: of all the cases.

    Returns:
        The cases, sorted by id.

    Raises:
        InputError: an image has no mask, a mask no image, or there is neither.
    """
    return cases_of(pictures_in(images), pictures_in(masks), about, images.parent, name, group, split)


def cases_of(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    about: About,
    where: Path,
    name: Callable[[str], str] = str,
    group: Group = no_group,
    split: str | None = None,
) -> list[Case]:
    """List the cases of files that are already found; arguments as `paired_cases`, `where` for messages."""
    check_pairs(images, masks, about, where)
    cases = [
        Case(
            id=name(stem),
            image=image,
            mask=masks[stem],
            group=group(stem),
            split=split,
            encoding=POLYP,
        )
        for stem, image in images.items()
    ]
    return sorted(cases, key=lambda case: case.id)


def frame_number(stem: str, last: int, about: About, where: Path) -> int:
    """Read the number of a frame from its file's name.

    Args:
        stem: the file's name without its ending.
        last: number of the last frame; the first is 1.
        about: the data set, for messages.
        where: the folder, for messages.

    Raises:
        InputError: the name is not a number from 1 to `last`.
    """
    if not (stem.isascii() and stem.isdigit() and 1 <= int(stem) <= last):
        raise InputError(
            f"{where}: {stem!r} is not a frame of {about.title}, whose files are numbered 1 to {last}; "
            "remove the file or unpack the publisher's archive again."
        )
    return int(stem)


def without_letter_p(files: Mapping[str, Path]) -> dict[str, Path]:
    """The masks that publishers name p<number>, under the number; other files are left out."""
    return {stem[1:]: path for stem, path in files.items() if stem[:1] == "p" and stem[1:].isdigit()}


def clip_cases(root: Path, about: About, parts: Mapping[str, str]) -> list[Case]:
    """List the frames of PNS-Net's video data, of the parts that are there.

    Args:
        root: the folder into which the archive was unpacked, or its MICCAI-VPS-dataset folder.
        about: the data set, for messages.
        parts: split -> folder below the data set's, which holds `<clip>/Frame` and `<clip>/GT`, or
            `Frame/<clip>` and `GT/<clip>`.

    Returns:
        The cases, sorted by id, which is `<clip>_<frame>`; the group is `clip-<clip>`.

    Raises:
        InputError: no part is there, a clip lacks its frames, its masks or some of them, or one frame of a
            clip is in two parts.
    """
    cases: dict[str, Case] = {}
    for split, part in parts.items():
        folder = optional_folder(root, part, f"MICCAI-VPS-dataset/{part}")
        if folder is None:
            continue
        for case in _cases_of_clips(folder, about, split):
            if case.id in cases:
                raise InputError(
                    f"{case.image} and {cases[case.id].image} are both frame {case.id!r} of {about.title}; "
                    "unpack the publisher's archive again."
                )
            cases[case.id] = case
    if not cases:
        raise not_this_dataset(root, about, "the folder " + " or ".join(parts.values()))
    return [cases[case_id] for case_id in sorted(cases)]


def _cases_of_clips(folder: Path, about: About, split: str) -> list[Case]:
    """The frames of all clips of one part, of which there must be one."""
    frames_first = (folder / "Frame").is_dir() or (folder / "GT").is_dir()
    cases = []
    for clip in _clips(folder, frames_first):
        frames, masks = (
            folder / (f"{kind}/{clip}" if frames_first else f"{clip}/{kind}") for kind in ("Frame", "GT")
        )
        for part in (frames, masks):
            if not part.is_dir():
                raise InputError(
                    f"{folder}: clip {clip!r} of {about.title} lacks the folder {part.relative_to(folder)}; "
                    "unpack the publisher's archive again."
                )
        cases += paired_cases(
            frames, masks, about, name=partial(_frame_id, clip), group=partial(_clip_group, clip), split=split
        )
    if not cases:
        raise InputError(
            f"{folder} holds no clips of {about.title}; unpack the publisher's archive again ({about.home})."
        )
    return cases


def _frame_id(clip: str, stem: str) -> str:
    return f"{clip}_{stem}"


def _clip_group(clip: str, stem: str) -> str:
    return f"clip-{clip}"


def _clips(folder: Path, frames_first: bool) -> list[str]:
    """Names of the clips, from both sides, so that one without frames or without masks is seen."""
    parents = [folder / "Frame", folder / "GT"] if frames_first else [folder]
    names = {
        path.name
        for parent in parents
        if parent.is_dir()
        for path in parent.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__MACOSX", "@"))
    }
    return sorted(names)


def folders_of_pairs(root: Path, *tops: str) -> tuple[Path, Path] | None:
    """The first of the folders below `root` that holds images/ and masks/, or image/ and mask/.

    Args:
        root: what the user calls the data set's folder.
        tops: paths relative to `root`, "." for the root itself.

    Returns:
        (images, masks), of which the second may not exist, or None.
    """
    for top in tops:
        for images, masks in (("images", "masks"), ("image", "mask")):
            # Some copies of PraNet's bundle mix the two forms, for example image/ beside masks/.
            found = optional_folder(root / top, images)
            if found is not None:
                return found, optional_folder(root / top, masks, "masks", "mask") or root / top / masks
    return None


def pictures_in(folder: Path) -> dict[str, Path]:
    """The pictures directly inside a folder by stem, none when the folder does not exist."""
    return files_by_stem(folder) if folder.is_dir() else {}
