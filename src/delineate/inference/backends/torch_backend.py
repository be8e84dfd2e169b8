"""The network as it was trained, run by PyTorch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from delineate.inference.backends.base import choose_device, device_name
from delineate.layers.normalise import Normalise
from delineate.models.checkpoint import ModelInfo
from delineate.models.prediction import Prediction


class TorchBackend:
    """Run a network in PyTorch, in evaluation mode and channels-last.

    Args:
        model: the network.
        info: what `model.json` says.
        device: "auto" takes a GPU when there is one.

    Raises:
        InputError: there is no such device.
    """

    name = "torch"

    def __init__(self, model: nn.Module, info: ModelInfo, device: str = "auto") -> None:
        self.info = info
        self.device = choose_device(device)
        self.device_name = device_name(self.device)
        self.notes: tuple[str, ...] = ()
        self.model = model.eval().to(self.device).to(memory_format=torch.channels_last)
        self.normalise = Normalise.named(info.normalisation).to(self.device)

    def prepare(self, images: NDArray[np.uint8]) -> Tensor:
        """Normalise uint8 RGB (B, h, w, 3) to what the model takes: float32 (B, 3, h, w), on its device."""
        batch = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)
        normalised: Tensor = self.normalise(batch)
        return normalised.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self, images: NDArray[np.uint8]) -> Prediction:
        """Run the network; see `Backend.forward`."""
        prediction: Prediction = self.model(self.prepare(images))
        return Prediction(
            mask=None if prediction.mask is None else prediction.mask.float().cpu(),
            label=None if prediction.label is None else prediction.label.float().cpu(),
        )
