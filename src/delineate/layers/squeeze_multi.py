"""Squeeze and multi-excitation (SME): channel attention with swish and dropout."""

import torch
from torch import Tensor, nn

from delineate.checks import InputError


class Swish(nn.Module):
    """x sigmoid(beta x), element by element.

    Args:
        beta: slope of the gate; 1 is SiLU, large values approach ReLU.
        trainable: learn beta, starting from `beta`; else it is a constant.

    Shape:
        any float tensor -> the same shape.

    Source:
        Ramachandran et al., Searching for Activation Functions, 2017, arXiv:1710.05941.
    """

    def __init__(self, beta: float = 1.0, trainable: bool = False) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(beta)) if trainable else beta

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.beta * x)


class SqueezeMultiExcite(nn.Module):
    """Rescale every channel by a gate that sees only the channels' global averages.

    Differs from squeeze-and-excitation by swish for ReLU and by dropout after both fully connected layers. A
    dropped logit leaves its channel with the gate 1/2. The gates s are the output of the module `gate`, where
    a forward hook can read them, (B, C, 1, 1) in (0, 1).

    Args:
        channels: C, number of feature channels.
        reduction: how many times narrower the hidden layer is than the input; the width is at least 1.
        dropout: probability that a value behind W1 or W2 is zeroed in training.
        beta: slope of swish, or its start.
        trainable_beta: learn beta.

    Shape:
        input (B, C, H, W) float, any H and W; output the same shape.

    Raises:
        InputError: `reduction` is below 1 or `dropout` is not from 0 to below 1.

    Source:
        FCP-Net (Liu et al., IEEE Transactions on Medical Imaging 2022), Eqs. (1)-(4).
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        dropout: float = 0.1,
        beta: float = 1.0,
        trainable_beta: bool = False,
    ) -> None:
        super().__init__()
        if reduction < 1 or not 0 <= dropout < 1:
            raise InputError(
                f"Squeeze and multi-excitation needs a reduction of at least 1 and a dropout from 0 to "
                f"below 1, got {reduction} and {dropout}."
            )
        hidden = max(channels // reduction, 1)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1),  # W1
            nn.Dropout(dropout),
            Swish(beta, trainable_beta),
            nn.Conv2d(hidden, channels, kernel_size=1),  # W2
            nn.Dropout(dropout),
        )
        self.gate = nn.Sigmoid()

    def forward(self, sep: Tensor) -> Tensor:
        return self.weights(sep) * sep  # Eqs. (3) and (4): x_i = s_i Sep_i    (B, C, H, W)

    def weights(self, sep: Tensor) -> Tensor:
        """Return the gates s (B, C, 1, 1) of a map (B, C, H, W)."""
        z = self.squeeze(sep)  # Eq. (1): mean over H, W                       (B, C, 1, 1)
        s: Tensor = self.gate(self.excite(z))  # Eq. (2)                       (B, C, 1, 1)
        return s
