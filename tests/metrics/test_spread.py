"""One prediction set, six conventions: the Dice differs by some 17 points.

60 discs, seeds 0 to 59, in pictures of 96 x 96; the radius is drawn between 3 and 26 pixels, evenly in its
logarithm, so that small discs, which are found worst, are many, and large ones hold most of the pixels. The
prediction is a disc at a slightly wrong place with an edge that is soft over a few pixels.
"""

import numpy as np
import pandas as pd
import pytest

from delineate.metrics import score_image, summarise
from delineate.metrics.names import expand_names

SIDE = 96
NAMES = expand_names(
    ["dice_fgbg", "dice_batch@8", "pranet_meanDic", "msnet_mdice", "dice_batch@1", "dice_batch@60"]
)


def disc(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    radius = np.exp(rng.uniform(np.log(3), np.log(26)))
    centre = rng.uniform(radius + 2, SIDE - radius - 2, 2)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    reference = np.hypot(rows - centre[0], columns - centre[1]) <= radius
    found = centre + rng.normal(0, 1.95, 2)
    depth = radius * np.exp(rng.normal(0, 0.1)) - np.hypot(rows - found[0], columns - found[1])
    return reference.astype(np.uint8), 1 / (1 + np.exp(-depth / 1.4))


@pytest.fixture(scope="module")
def summary():
    options = {"classes": ("disc",), "surface": False, "saliency": False, "extra": NAMES}
    rows = [score_image(*disc(seed), **options) for seed in range(60)]
    return {name: s.mean for name, s in summarise(pd.DataFrame(rows), resamples=0, extra=NAMES).items()}


FROZEN = {
    "dice": 0.7864,  # per image
    "dice_pooled": 0.8617,
    "dice_batch@8": 0.8561,
    "dice_fgbg": 0.8889,
    "pranet_meanDic": 0.6991,
    "msnet_mdice": 0.7052,
}


@pytest.mark.parametrize("name", FROZEN)
def test_each_convention_has_its_own_value(summary, name):
    assert summary[name] == pytest.approx(FROZEN[name], abs=5e-5)


def test_the_conventions_differ_by_seventeen_points_or_more(summary):
    values = {name: summary[name] for name in FROZEN}
    assert max(values, key=values.get) == "dice_fgbg"
    assert max(values.values()) - min(values.values()) > 0.17
    assert summary["dice_pooled"] - summary["dice"] > 0.05  # small discs are found worse


def test_batches_reach_from_one_image_to_all(summary):
    assert summary["dice_batch@1"] == pytest.approx(summary["dice"])
    assert summary["dice_batch@60"] == pytest.approx(summary["dice_pooled"])
