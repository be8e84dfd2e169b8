"""Read weights from files, without unpickling, and say clearly when they do not fit."""

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from delineate.checks import InputError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict: `.safetensors`, or `.pth`/`.pt`/`.bin` restricted to plain tensors.

    A state dict inside "state_dict" or "model" is unwrapped, and so is the prefix "module." of parallel
    training.

    Raises:
        InputError: the file is missing, has another ending, is damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise InputError(f"There is no weights file {path}; give the path of a .safetensors or .pth file.")
    ending = path.suffix.lower()
    if ending not in (".safetensors", ".pth", ".pt", ".bin"):
        raise InputError(f"Weights file {path} must end in .safetensors, .pth, .pt or .bin, not {ending!r}.")
    try:
        if ending == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            f"Cannot read weights from {path}: it is damaged or holds more than plain tensors; "
            f"save the state dict with safetensors."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"Weights file {path} must hold a state dict (names to tensors); save one to it.")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def check_weights(
    weights: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    path: Path,
    network: str,
    optional: Collection[str] = (),
) -> None:
    """Refuse weights that do not fill a network exactly, so that none is ever loaded in part.

    Args:
        weights: what the file holds.
        expected: the network's own state dict (values may be on the meta device).
        path: the file, for the message.
        network: the network's name, for the message.
        optional: prefixes of names that may be absent, extra or of another shape: the classifier's.

    Raises:
        InputError: a name is missing or unknown, or a shape differs; the message names the first ones.
    """
    prefixes = tuple(optional)
    needed = {name for name in expected if not name.startswith(prefixes)}
    given = {name for name in weights if not name.startswith(prefixes)}
    # The step counter of batch normalisation is absent from old files, and no output depends on it.
    missing = sorted(name for name in needed - given if not name.endswith("num_batches_tracked"))
    unknown = sorted(given - needed)
    if missing or unknown:
        what = f"lacks {_first(missing)}" if missing else f"holds the unknown {_first(unknown)}"
        raise InputError(f"Weights file {path} does not fit {network}: it {what}; give weights of {network}.")
    for name in sorted(needed & given):
        if weights[name].shape != expected[name].shape:
            raise InputError(
                f"Weights file {path} does not fit {network}: {name} has shape {[*weights[name].shape]}, "
                f"not {[*expected[name].shape]}; give weights of {network}."
            )


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
