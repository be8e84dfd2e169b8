"""The interface of a backend, and the choice of a torch device."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.models.checkpoint import ModelInfo
from delineate.models.prediction import Prediction


class Backend(Protocol):
    """A trained network behind one call; safe to call from one thread at a time."""

    info: ModelInfo
    """What `model.json` says."""
    name: str
    """"torch", or the format and the precision of an exported file, for example "openvino-int8"."""
    device_name: str
    """The processor that runs it, for run records: "cpu" or the name of the GPU."""
    notes: tuple[str, ...]
    """What differs here from what the name promises, one sentence each."""

    def forward(self, images: NDArray[np.uint8]) -> Prediction:
        """Run the network.

        Args:
            images: uint8 RGB (B, h, w, 3), already at `info.size`.

        Returns:
            Mask and label logits, float32, on the CPU.
        """
        ...


def choose_device(name: str) -> torch.device:
    """Return a torch device; "auto" takes a GPU when there is one.

    Raises:
        InputError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"The device {name!r} cannot be used on this machine; choose auto or cpu."
        ) from error


def device_name(device: torch.device) -> str:
    """Return "cpu" or the name of the GPU, for run records."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
