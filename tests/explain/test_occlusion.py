"""Occlusion against windows computed by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from delineate.checks import InputError
from delineate.explain.explanation import EXPLANATIONS, explanation_map, lesion_region
from delineate.explain.occlusion import occlusion_map
from delineate.explain.targets import region_at
from delineate.models.prediction import Prediction


class Looks(nn.Module):
    """The label's logit is the mean of a patch; the mask's logit is the first channel."""

    def __init__(self, rows=slice(0, 4), columns=slice(0, 4)):
        super().__init__()
        self.place = (rows, columns)
        self.layer = nn.Identity()

    def activation_layers(self):
        return (self.layer,)

    def forward(self, image):
        image = self.layer(image)
        patch = image[:, 0, self.place[0], self.place[1]]
        return Prediction(mask=image[:, :1], label=patch.mean((1, 2))[:, None])


def picture(height=12, width=16):
    image = torch.zeros(1, 3, height, width)
    image[:, :, :4, :4] = 4.0
    return image


def test_only_windows_on_the_patch_count():
    found = occlusion_map(Looks(), picture(), window=4, stride=4)
    assert found.shape == (12, 16)
    assert (found[:4, :4] == 1).all()
    assert (found[4:] == 0).all()
    assert (found[:, 4:] == 0).all()


def test_a_pixel_is_the_mean_over_its_windows():
    image = picture()
    whole = torch.sigmoid(torch.tensor(4.0))
    mean = image[0, 0].mean()
    falls = {}
    for y in (0, 2, 4, 6, 8):
        for x in (0, 2, 4, 6, 8, 10, 12):
            hidden = image[0, 0].clone()
            hidden[y : y + 4, x : x + 4] = mean
            falls[y, x] = float(whole - torch.sigmoid(hidden[:4, :4].mean()))
    raw = np.zeros((12, 16))
    for row in range(12):
        for column in range(16):
            over = [f for (y, x), f in falls.items() if y <= row < y + 4 and x <= column < x + 4]
            raw[row, column] = max(0.0, np.mean(over))
    found = occlusion_map(Looks(), image, window=4, stride=2, batch_size=3)
    np.testing.assert_allclose(found, raw / raw.max(), atol=1e-6)


def test_windows_reach_the_far_edge():
    place = slice(11, 13), slice(9, 11)
    image = torch.zeros(1, 3, 13, 11)
    image[..., 11:, 9:] = 3.0
    found = occlusion_map(Looks(*place), image, window=4, stride=3)
    assert found[12, 10] == 1


def test_nothing_lowers_the_score():
    assert occlusion_map(Looks(), torch.zeros(1, 3, 12, 12)).max() == 0


def test_a_mask_is_asked_about_its_own_region():
    found = occlusion_map(Looks(), picture(), target="mask", window=4, stride=4, size=(24, 32))
    assert found.shape == (24, 32)
    assert found[2, 2] == 1
    assert found[20, 20] == 0


def test_the_model_is_left_as_it_was():
    model = Looks().train()
    occlusion_map(model, picture())
    assert model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "The window of an occlusion map must be 1 to 12 pixels, got 0."),
        ({"window": 13}, "The window of an occlusion map must be 1 to 12 pixels, got 13."),
        (
            {"window": 4, "stride": 5},
            "must be 1 to the window's 4 pixels, so that no pixel is left out, got 5",
        ),
        ({"fill": "grey"}, "Unknown fill of hidden pixels 'grey'"),
        ({"target": "label", "region": torch.ones(12, 16, dtype=torch.bool)}, "A region belongs to target"),
        ({"target": "mask", "region": torch.zeros(12, 16, dtype=torch.bool)}, "with at least one pixel set"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message):
        occlusion_map(Looks(), picture(), **options)


def test_one_call_for_all():
    for method in EXPLANATIONS:
        assert explanation_map(Looks(), picture(), method=method, target="mask").shape == (12, 16)
    with pytest.raises(InputError, match="Unknown explanation 'gradcan'. Did you mean 'gradcam'?"):
        explanation_map(Looks(), picture(), method="gradcan")


def test_regions_at_another_size():
    small = np.zeros((400, 300), np.bool_)
    small[123, 45] = True
    shrunk = region_at(small, (32, 32))
    assert shrunk.sum() == 1
    assert shrunk[123 * 32 // 400, 45 * 32 // 300]
    disc = np.hypot(*(np.indices((90, 60)) - 29.5)) < 20
    assert (
        abs(float(region_at(disc, (32, 32)).float().mean()) - disc.mean()) < 0.01
    )  # neither grows nor falls
    np.testing.assert_array_equal(region_at(np.eye(4) > 0, (8, 8)), np.kron(np.eye(4), np.ones((2, 2))) > 0)
    assert region_at(np.zeros((4, 4), np.bool_), (2, 3)).all()


def test_regions_of_a_mask():
    mask = np.zeros((6, 8), np.uint8)
    mask[0, 0] = 1
    mask[1, 1] = 1  # touches by a corner: one region
    mask[3:6, 4:8] = 1
    mask[3:6, 3] = 2  # touches, but is another class
    assert lesion_region(mask, "largest").sum() == 12
    assert lesion_region(mask, "1,1").sum() == 2
    assert lesion_region(mask, "4,3").sum() == 3
    for place in ("0,7", "9,9"):
        with pytest.raises(InputError, match=f"pixel must be one of those found .* 6 x 8, got '{place}'"):
            lesion_region(mask, place)
    for place in ("-1,-1", "middle", "1,2,3"):
        with pytest.raises(InputError, match=f"must be all, largest, or ROW,COLUMN .* got '{place}'"):
            lesion_region(mask, place)
    with pytest.raises(InputError, match="Nothing of what is to be explained was found"):
        lesion_region(np.zeros((4, 4), np.uint8), "largest")
