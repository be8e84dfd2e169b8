"""Augmentation of image and mask together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import disc, picture

from delineate.checks import InputError
from delineate.data import Augmentation, augment

ALL = Augmentation(
    horizontal_flip=0.5,
    vertical_flip=0.5,
    rotation=30,
    crop=0.125,
    scale=(0.8, 1.2),
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    hue=0.1,
    blur=0.5,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def image_and_mask(size=(24, 32)):
    return torch.from_numpy(picture(1, size)).permute(2, 0, 1), torch.from_numpy(disc(1, size) // 255 * 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(8, 40), width=st.integers(8, 40))
def test_shapes_types_and_indices_stay(seed, height, width):
    image, mask = image_and_mask((height, width))
    before = image.clone(), mask.clone()
    changed, changed_mask = augment(image, mask, ALL, generator(seed))
    assert (changed.shape, changed.dtype, type(changed)) == (image.shape, torch.uint8, torch.Tensor)
    assert (changed_mask.shape, changed_mask.dtype, type(changed_mask)) == (
        mask.shape,
        torch.uint8,
        torch.Tensor,
    )
    assert set(changed_mask.unique().tolist()) <= set(mask.unique().tolist()) | {0}
    assert torch.equal(image, before[0])
    assert torch.equal(mask, before[1])


def test_chance_comes_from_the_generator_alone():
    image, mask = image_and_mask()
    torch.manual_seed(1)
    first = augment(image, mask, ALL, generator(3))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = augment(image, mask, ALL, generator(3))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first[0], augment(image, mask, ALL, generator(4))[0])


def test_nothing_is_varied_by_default():
    image, mask = image_and_mask()
    same, same_mask = augment(image, mask, Augmentation(), generator())
    assert torch.equal(same, image)
    assert torch.equal(same_mask, mask)
    assert augment(image, None, ALL, generator())[1] is None


def test_flips():
    image, mask = image_and_mask()
    flipped, flipped_mask = augment(image, mask, Augmentation(horizontal_flip=1.0), generator())
    assert torch.equal(flipped, image.flip(2))
    assert torch.equal(flipped_mask, mask.flip(1))
    flipped, flipped_mask = augment(image, mask, Augmentation(vertical_flip=1.0), generator())
    assert torch.equal(flipped, image.flip(1))
    assert torch.equal(flipped_mask, mask.flip(0))
    mirrored = sum(
        bool(
            torch.equal(
                augment(image, None, Augmentation(horizontal_flip=0.3), generator(s))[0], image.flip(2)
            )
        )
        for s in range(400)
    )
    assert 80 < mirrored < 160


@pytest.mark.parametrize(
    "geometry",
    [Augmentation(rotation=40), Augmentation(crop=0.4), Augmentation(scale=(0.7, 1.4))],
    ids=["rotation", "crop", "scale"],
)
def test_mask_moves_exactly_with_the_image(geometry):
    """An image that shows its own mask must still show it, up to the half-tones of the border."""
    square = torch.zeros(96, 96, dtype=torch.uint8)
    square[24:60, 30:78] = 1
    for seed in range(12):
        image, mask = augment((square * 255).expand(3, -1, -1), square, geometry, generator(seed))
        shown = (image[0] >= 128).to(torch.uint8)
        assert (shown != mask).float().mean() < 0.001  # a shift by half a pixel would give about 0.01


def test_scale_and_rotation_do_what_they_say():
    mask = torch.zeros(101, 101, dtype=torch.uint8)
    mask[40:61, 40:61] = 1
    image = mask.expand(3, -1, -1)
    _, doubled = augment(image, mask, Augmentation(scale=(2.0, 2.0)), generator())
    assert 0.95 < doubled.sum() / (4 * mask.sum()) < 1.05
    areas = [
        augment(image, mask, Augmentation(rotation=180), generator(s))[1].sum() / mask.sum() for s in range(5)
    ]
    assert all(0.93 < area < 1.07 for area in areas)


@pytest.mark.parametrize("field", ["brightness", "contrast", "saturation", "hue"])
def test_colours_change_and_masks_do_not(field):
    image, mask = image_and_mask()
    changed, same = augment(image, mask, Augmentation(**{field: 0.4}), generator(1))
    assert not torch.equal(changed, image)
    assert torch.equal(same, mask)


def test_blur_smooths():
    image, _ = image_and_mask()
    blurred, _ = augment(image, None, Augmentation(blur=1.0), generator())
    assert blurred.float().std() < image.float().std()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"horizontal_flip": 1.5}, "augmentation horizontal_flip must be between 0 and 1, got 1.5"),
        ({"rotation": -1}, "augmentation rotation must be between 0 and 180, got -1"),
        ({"hue": 0.6}, "augmentation hue must be between 0 and 0.5, got 0.6"),
        ({"crop": 1.0}, "augmentation crop must be between 0 and below 1, got 1.0"),
        ({"scale": (1.2, 0.8)}, r"augmentation scale must be two numbers 0 < low <= high, got \(1.2, 0.8\)"),
        ({"scale": (0, 1)}, "augmentation scale must be two numbers"),
        ({"brightness": float("nan")}, "augmentation brightness must be between 0 and 1, got nan"),
    ],
)
def test_values_out_of_range(fields, message):
    with pytest.raises(InputError, match=message):
        Augmentation(**fields)
