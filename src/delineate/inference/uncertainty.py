"""How sure a prediction is: entropy, variance and disagreement, and one number per image to sort by.

With p_k(x, c) the probability of class c at pixel x that pass k gives (a pass is one member on one view), p
the mean over the K passes, m the decided mask, C the number of classes with the background:

    entropy(x)     -sum_c p(x, c) log p(x, c) / log C
    variance(x)    max_c 1/K sum_k (p_k(x, c) - p(x, c))^2
    doubt          sum_x expected wrong pixels / (sum_x p + sum_x m + s), pooled over the foreground classes;
                   without s it is 1 - 2 sum p m / (sum p + sum m), one minus the Dice that the mask has with
                   its own probabilities
    disagreement   sum_{j<k} (|m_j| + |m_k| - 2 |m_j and m_k|) / sum_{j<k} (|m_j| + |m_k| + s), pooled over
                   the foreground classes; without s it is one minus the Dice between the masks of the passes,
                   1 - 2 sum |m_j and m_k| / sum (|m_j| + |m_k|), pooled over all pairs
    label doubt    the larger of 1 - p(label) and 1 - share of passes that choose the label
    mask doubt     doubt of a single pass; the mean of doubt and disagreement of several
    look           1 - (1 - mask doubt) (1 - label doubt); what a model does not have counts 0

s is `SLACK` of the image's pixels. It is what decides about an empty mask: where the background is certain,
sum p is far below s and the doubt is near 0; where pixels are unsure, it is far above s and the doubt near 1.

All is added up one pass after another (Welford, Technometrics 4, 1962, for the variance), so that memory does
not grow with the number of members.
"""

import numpy as np
from numpy.typing import NDArray

from delineate.inference.results import Uncertainty, choose_label, decide
from delineate.models.checkpoint import ModelInfo

SLACK = 0.001
"""Share of an image's pixels that may be wrong before an otherwise empty mask is in doubt."""


class Running:
    """The mean over passes of what they say about one image, and how far they differ.

    Args:
        info: classes, labels and threshold.
        passes: how many there will be.
        uncertainty: whether `uncertainty` will be asked for.
    """

    def __init__(self, info: ModelInfo, passes: int, uncertainty: bool) -> None:
        self.info = info
        self.passes = passes
        self.probability: NDArray[np.float32] | None = None
        self.label: NDArray[np.float32] | None = None
        self._spread = uncertainty and passes > 1
        self._done = 0
        self._squares: NDArray[np.float32] | None = None
        self._label_squares: NDArray[np.float32] | None = None
        self._votes: NDArray[np.uint16] | None = None
        self._label_votes: dict[str, int] = {}

    def add(self, probability: NDArray[np.float32] | None, label: NDArray[np.float32] | None) -> None:
        """Add a pass.

        Args:
            probability: (H, W) or (C, H, W), or None; taken over, not copied.
            label: (labels,), or None; taken over, not copied.
        """
        self._done += 1
        if probability is not None:
            if self._spread:
                self._vote(decide(probability, self.info.threshold))
            self.probability, squares = _welford(self.probability, probability, self._done, self._spread)
            if squares is not None:
                self._squares = (
                    squares if self._squares is None else np.add(self._squares, squares, self._squares)
                )
        if label is not None:
            if self._spread:
                name = choose_label(self._named(label), self.info)
                self._label_votes[name] = self._label_votes.get(name, 0) + 1
            self.label, squares = _welford(self.label, label, self._done, self._spread)
            if squares is not None:
                self._label_squares = (
                    squares if self._label_squares is None else self._label_squares + squares
                )

    def mask(self) -> NDArray[np.uint8] | None:
        """The class of each pixel by the mean probability."""
        return None if self.probability is None else decide(self.probability, self.info.threshold)

    def label_probability(self) -> dict[str, float] | None:
        """Label -> mean probability."""
        return None if self.label is None else self._named(self.label)

    def uncertainty(self, mask: NDArray[np.uint8] | None) -> Uncertainty:
        """What all passes together leave open; `mask` is that of `mask()`."""
        certain = 1.0
        if self.probability is not None and mask is not None:
            doubt = mask_doubt(self.probability, mask)
            if self._votes is not None:
                doubt = (doubt + disagreement(self._votes, self._done)) / 2
            certain *= 1 - doubt
        label = self.label_probability()
        if label is not None:
            chosen = choose_label(label, self.info)
            votes = self._label_votes.get(chosen, 0) / self._done if self._label_votes else 1.0
            certain *= min(label[chosen], votes)
        return Uncertainty(
            entropy=None if self.probability is None else entropy(self.probability),
            variance=None if self._squares is None else _largest(self._squares) / np.float32(self._done),
            label_entropy=None if self.label is None else _label_entropy(self.label),
            label_variance=None
            if self._label_squares is None
            else self._named(self._label_squares / np.float32(self._done)),
            look=float(np.clip(1 - certain, 0, 1)),
        )

    def _vote(self, mask: NDArray[np.uint8]) -> None:
        if self._votes is None:
            self._votes = np.zeros((len(self.info.classes), *mask.shape), np.uint16)
        for index in range(len(self.info.classes)):
            self._votes[index] += mask == index + 1

    def _named(self, values: NDArray[np.float32]) -> dict[str, float]:
        return dict(zip(self.info.labels, map(float, values), strict=True))


def entropy(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Entropy of each pixel over its largest possible value.

    Args:
        probability: (H, W) of one class, or (C, H, W) that sum to 1.

    Returns:
        (H, W) in [0, 1].
    """
    from scipy.special import entr  # -p log p, 0 at 0

    if probability.ndim == 2:
        total, classes = entr(probability) + entr(1 - probability), 2
    else:
        total, classes = entr(probability).sum(0), len(probability)
    found: NDArray[np.float32] = np.clip(total / np.float32(np.log(classes)), 0, 1).astype(np.float32)
    return found


def mask_doubt(probability: NDArray[np.float32], mask: NDArray[np.uint8], slack: float = SLACK) -> float:
    """One minus the Dice that a mask has with its own probabilities; see the module's docstring.

    Args:
        probability: (H, W) of one class, or (C, H, W) with the background first.
        mask: (H, W) class indices.
        slack: share of the pixels that is added to the denominator.

    Returns:
        In [0, 1].
    """
    classes = [probability] if probability.ndim == 2 else list(probability[1:])
    wrong = both = slack * mask.size
    wrong -= both
    for index, of_class in enumerate(classes, 1):
        found = mask == index
        total, inside, pixels = _sum(of_class), _sum(of_class[found]), float(np.count_nonzero(found))
        wrong += (pixels - inside) + (total - inside)
        both += pixels + total
    return min(max(wrong / both, 0.0), 1.0)


def disagreement(votes: NDArray[np.uint16], passes: int, slack: float = SLACK) -> float:
    """One minus the Dice between the masks of several passes, pooled over all pairs of them.

    Args:
        votes: (classes, H, W), how many of the passes found a class at a pixel; with v votes there, v (v - 1)
            / 2 pairs agree on it, so the pairs need not be formed.
        passes: how many there were, at least 2.
        slack: share of the pixels that is added to the denominator of each pair.

    Returns:
        In [0, 1].
    """
    pixels = votes.shape[1] * votes.shape[2]
    # How often each number of votes occurs, in parts, because bincount widens what it counts to 8 bytes.
    parts = np.array_split(votes.ravel(), max(votes.size >> 20, 1))
    counts = sum((np.bincount(part, minlength=passes + 1) for part in parts), np.zeros(passes + 1, np.int64))
    number = np.arange(passes + 1)
    agreed = float((number * (number - 1) * counts).sum())
    both = (passes - 1) * float((number * counts).sum())
    # Each of the K (K - 1) / 2 pairs has slack; `both` counts every pair's pixels once.
    room = passes * (passes - 1) / 2 * slack * pixels
    return min(max((both - agreed) / (both + room), 0.0), 1.0)


def _welford(
    mean: NDArray[np.float32] | None, value: NDArray[np.float32], count: int, spread: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the new mean, and what the value adds to the sum of squared differences."""
    if mean is None:
        return value, None
    before = value - mean
    mean += before / np.float32(count)
    return mean, before * (value - mean) if spread else None


def _label_entropy(label: NDArray[np.float32]) -> float:
    positive = label[label > 0].astype(np.float64)
    return float(np.clip(-(positive * np.log(positive)).sum() / np.log(len(label)), 0, 1))


def _largest(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    return maps if maps.ndim == 2 else maps.max(0)


def _sum(values: NDArray[np.float32]) -> float:
    return float(values.sum(dtype=np.float64))
