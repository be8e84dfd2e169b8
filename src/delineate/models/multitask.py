"""What makes one network segment and classify: the branches of the hybrid loss function (HLF), and the FPM.

Paper: Liu et al., FCP-Net: A Feature-Compression-Pyramid Network Guided by Game-Theoretic Interactions for
Medical Image Segmentation, IEEE TMI 2022, sections III.A and III.F.
Released code: none found.

    equation                                      here
    section III.A: classification branch          ClassBranch.forward
    section III.F.3: interaction branch           InteractionBranch.forward
    (10) Shapley value of a player                losses/interaction.py
    (11) interaction of two players               losses/interaction.py
    (12) difference that makes the interaction    losses/interaction.py
    (13) I(c,s) = (g({c,s}) - g({s})) / 12        losses/interaction.py
    (14) L_seg, binary cross-entropy of pixels    losses/entropy.py
    (15) L_cls, binary cross-entropy of labels    losses/entropy.py
    (16) f = 12 I(c,s)                            losses/interaction.py
    (17) L_int = mean |f|                         losses/interaction.py
    (18) L = L_seg + alpha L_cls + beta L_int     training/objective.py

Known differences and readings:
  - The hidden width of the class branch is not given. Table VI is met by 32: U-Net 31.03 -> 31.06 M (1024
    channels), DeepLabv3+ 41.25 -> 41.26 M (256 channels). ReLU stands between the two layers; the activation
    after them is left to the loss, as everywhere in this package.
  - Of the interaction branch only the purpose is given: pixel probabilities when both tasks work together, in
    training only. Here the end of the encoder, the hidden features of the class branch (at every pixel) and
    the mask logits are concatenated and convolved, batch normalised and rectified, and a 1x1 convolution
    gives the joint logits. It has the width of the class branch.
  - The feature passing module (FPM) of table VI is from another paper, which is not at hand; `FeaturePassing`
    says how it is read.
  - Eq. (18) has no term that compares the joint map with the reference, so none is added: the branch learns
    only through L_int, whose gradient reaches the segmentation, the classification and the shared encoder.

Exact rewrite (test_multitask.py::test_interaction_branch_is_a_convolution_of_the_concatenation): convolving a
concatenation is the sum of convolving its parts, so each part is convolved at its own size: the encoder's map
before it is upsampled (a 1x1 convolution commutes with bilinear upsampling), the class features once per
image.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from delineate.layers.conv import resize_like
from delineate.models.base import Tap


class ClassBranch(nn.Module):
    """Global average pooling and two fully connected layers.

    Args:
        channels: channels of the map at the end of the encoder.
        labels: columns of class scores, at least 1.
        hidden: width between the two layers.

    Shape:
        (B, channels, h, w), any h and w -> logits (B, labels), hidden features (B, hidden), non-negative.
    """

    def __init__(self, channels: int, labels: int, hidden: int = 32) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden)
        self.classify = nn.Linear(hidden, labels)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.squeeze(features.mean((2, 3))))  # (B, hidden)
        return self.classify(hidden), hidden


class InteractionBranch(nn.Module):
    """Make a second map of pixel logits from both tasks together: g({c,s}); exists in training only.

    Args:
        channels: channels of the map at the end of the encoder.
        hidden: width of the class features and of this branch.
        classes: mask channels.

    Shape:
        features (B, channels, h, w), class features (B, hidden), mask logits (B, classes, H, W)
        -> joint logits (B, classes, H, W).
    """

    def __init__(self, channels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.from_features = nn.Conv2d(channels, hidden, kernel_size=1, bias=False)
        self.from_class = nn.Linear(hidden, hidden, bias=False)
        self.from_mask = nn.Conv2d(classes, hidden, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.head = nn.Conv2d(hidden, classes, kernel_size=1)

    def forward(self, features: Tensor, class_features: Tensor, mask: Tensor) -> Tensor:
        both = self.from_features(features) + self.from_class(class_features)[:, :, None, None]
        y = resize_like(both, mask) + self.from_mask(mask)  # (B, hidden, H, W)
        return self.head(F.relu(self.norm(y)))


class FeaturePassing(nn.Module):
    """Let both tasks pass messages to each other, each weighed by a gate; it stays after training.

    A gate is a sigmoid per pixel and channel, computed from the sender's features; what it lets through is
    added to the receiver's features. The segmentation's features come from the mask logits, and what they
    have become corrects these; the class scores are made of the class features, globally pooled.

    Args:
        channels: channels of the map at the end of the encoder.
        classes: mask channels.
        labels: columns of class scores, at least 1.
        width: channels in which the messages are exchanged.
        hidden: channels of the class map.

    Shape:
        features (B, channels, h, w), mask logits (B, classes, H, W) -> mask logits (B, classes, H, W) and
        class logits (B, labels).

    Source:
        Chen et al., A Multi-Task Framework with Feature Passing Module for Skin Lesion Classification and
        Segmentation, ISBI 2018, as used in table VI of FCP-Net.

    Known differences and readings:
        Neither paper's details are at hand; known is that messages go both ways and are gated. Table VI
        settles the size: the module costs U-Net (1024 channels at its end) 0.12 M and DeepLabv3+ (256) 0.09 M
        parameters, so it hardly depends on the encoder; and it costs both over 2 ms, which 0.1 M weights only
        cost at the image's size. A 3x3 convolution of 64 to 64 channels per message, gates from 1x1
        convolutions, and a class map of the HLF's 32 channels give 31.15 and 41.34 M. A message to the
        segmentation is computed at the class map's size and then upsampled.
    """

    def __init__(self, channels: int, classes: int, labels: int, width: int = 64, hidden: int = 32) -> None:
        super().__init__()
        self.class_map = nn.Conv2d(channels, hidden, kernel_size=1)
        self.lift_class = nn.Conv2d(hidden, width, kernel_size=1)
        self.lift_mask = nn.Conv2d(classes, width, kernel_size=3, padding=1)
        self.to_mask = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.to_class = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.gate_to_mask = nn.Conv2d(hidden, width, kernel_size=1)
        self.gate_to_class = nn.Conv2d(width, width, kernel_size=1)
        self.passed = Tap()
        self.correct = nn.Conv2d(width, classes, kernel_size=1)
        self.classify = nn.Linear(width, labels)

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.class_map(features))  # (B, hidden, h, w)
        f_class = F.relu(self.lift_class(hidden))  # (B, width, h, w)
        f_mask = F.relu(self.lift_mask(mask))  # (B, width, H, W)

        to_mask = self.gate_to_mask(hidden).sigmoid() * self.to_mask(f_class)  # (B, width, h, w)
        to_class = self.gate_to_class(f_mask).sigmoid() * self.to_class(f_mask)  # (B, width, H, W)

        f_mask = f_mask + resize_like(to_mask, f_mask)
        f_class = self.passed(resize_like(f_class, to_class) + to_class)  # (B, width, H, W)
        return mask + self.correct(f_mask), self.classify(f_class.mean((2, 3)))
