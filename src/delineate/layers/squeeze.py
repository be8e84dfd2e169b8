"""Squeeze-and-excitation: channel attention computed from a global average."""

from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Rescale every channel by a gate that sees only the channels' global averages.

    Args:
        channels: C, number of feature channels.
        reduction: r, how many times narrower the hidden layer is than the input.

    Shape:
        input (B, C, H, W) float, any H and W; output the same shape and dtype.

    Raises:
        ValueError: `reduction` is not between 1 and `channels`.

    Source:
        Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507, Eqs. (2)-(4).
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(f"reduction must be between 1 and channels={channels}, got {reduction}.")
        hidden = channels // reduction
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1),  # W1
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, kernel_size=1),  # W2
            nn.Sigmoid(),
        )

    def forward(self, u: Tensor) -> Tensor:
        z = self.squeeze(u)  # Eq. (2): z_c = mean of u_c over H, W     (B, C, 1, 1)
        s = self.excite(z)  # Eq. (3): s = sigmoid(W2 relu(W1 z))      (B, C, 1, 1)
        return s * u  # Eq. (4): x_c = s_c u_c                         (B, C, H, W)
