"""The exported graph's parts against Pillow and against what `delineate predict` does."""

import numpy as np
import pytest
import torch
from PIL import Image

from delineate.checks import InputError
from delineate.inference.export.graph import (
    Deciding,
    Resizing,
    export_program,
    filter_weights,
    logit_names,
    output_names,
)
from delineate.inference.predictor import decide, native_probability
from delineate.models.prediction import label_probability


def pillow(image, size):
    """Across, then down: some versions of Pillow choose the other order for some sizes."""
    height, width = size
    across = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(across.resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    "size",
    [(32, 48), (64, 96), (16, 24), (75, 53), (31, 49), (33, 47), (1, 1), (5, 203), (700, 6), (411, 635)],
)
def test_resizing_is_pillows_bit_for_bit(size):
    pictures = np.random.default_rng(1).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    found = Resizing((32, 48))(torch.from_numpy(pictures)).permute(0, 2, 3, 1).numpy()
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.stack([pillow(p, (32, 48)) for p in pictures]))


def test_weights_by_hand():
    high, low = filter_weights(4, 2)  # each result sees a triangle that is four pixels wide
    weights = high / 2**11 + low / 2**22
    np.testing.assert_allclose(weights, [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]], atol=2**-22)


def test_weights_of_very_long_lines_stay_exact():
    high, low = filter_weights(60_000, 7)
    assert (high * 2**11 + low).sum(1).numpy() == pytest.approx(2**22, abs=60_000 / 2)
    assert high.min() >= 0


@pytest.mark.parametrize(("channels", "columns"), [(1, 1), (3, 1), (1, 4)])
def test_deciding_is_what_the_predictor_does(channels, columns):
    generator = torch.Generator().manual_seed(2)
    mask = 3 * torch.randn(2, channels, 9, 7, generator=generator)
    label = torch.randn(2, columns, generator=generator)
    image = torch.zeros(2, 20, 31, 3, dtype=torch.uint8)
    decided, probability, labels = Deciding(0.4, segments=True, classifies=True)(image, mask, label)
    for i in range(2):
        expected = native_probability(mask[i : i + 1], (20, 31))
        np.testing.assert_allclose(probability[i].numpy(), expected, atol=1e-6)
        np.testing.assert_array_equal(decided[i].numpy(), decide(expected, 0.4))
    assert torch.equal(labels, label_probability(label))
    assert decided.dtype == torch.uint8


def test_names_follow_the_branches(toys):
    both = toys.info()
    assert output_names(both) == (
        "mask",
        "probability",
        "label_probability",
        "mask_logits",
        "label_logits",
    )
    assert logit_names(both) == ("mask_logits", "label_logits")
    assert output_names(toys.info(labels=())) == ("mask", "probability", "mask_logits")
    assert output_names(toys.info(classes=())) == ("label_probability", "label_logits")


class Branching(torch.nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_traced_is_named_as_the_reason():
    with pytest.raises(InputError, match="^This model cannot be exported: torch.export says: "):
        export_program(Branching(), (torch.zeros(2, 3),), ("b",))
