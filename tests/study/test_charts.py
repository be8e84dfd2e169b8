"""Charts: what they show, that they stand alone, and that they can stand in a page."""

import re
import xml.etree.ElementTree as ET
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams

from delineate.metrics.calibration import calibration
from delineate.study import charts

HISTORY = pd.DataFrame({"epoch": [1, 2, 3], "train_loss": [3.0, 2.0, 1.0], "val_loss": [3.0, np.nan, 2.0]})

NAMES = ["curves", "distribution", "distance", "scatter", "roc", "reliability"]


@cache
def drawings():
    return {
        "curves": charts.curves(HISTORY, {"train_loss": "training"}, selected=2, label="loss", log=True),
        "distribution": charts.distribution({"dice": [0.1, np.nan, 0.9]}, label="score", unit_range=True),
        "distance": charts.distribution({"hd": [0.0, 3.0, 400.0]}, label="distance", unit_range=False),
        "scatter": charts.scatter(
            [1.0, 20.0, 0.0], [0.5, 0.9, np.nan], ["a", "b", "a"], xlabel="x", ylabel="y"
        ),
        "reliability": charts.reliability(
            {"one": calibration([0.1, 0.4, 0.9], [0, 1, 1])}, xlabel="probability", ylabel="share"
        ),
        "roc": charts.roc({"AUC 1": ([0, 0, 1], [0, 1, 1])}, point=(0.0, 1.0)),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_is_whole_svg(name):
    assert ET.fromstring(drawings()[name]).tag.endswith("svg")


@pytest.mark.parametrize("name", NAMES)
def test_inline_leaves_no_colour_of_its_own_and_no_address(name):
    svg = drawings()[name]
    markup = charts.inline(svg)
    assert markup.startswith("<svg") and markup.endswith("</svg>")  # noqa: PT018 (one thing: the frame)
    assert "http" not in markup
    assert "DejaVu" not in markup
    assert not re.findall(r"#[0-9a-f]{6}\b", markup)
    assert set(re.findall(r"var\(--(\w+)\)", markup)) <= set(charts.PALETTE)


def test_ids_differ_between_charts():
    ids = [set(re.findall(r' id="([^"]*)"', charts.inline(svg))) for svg in drawings().values()]
    assert sum(map(len, ids)) == len(set.union(*ids))


def test_the_same_chart_may_stand_on_a_page_twice():
    markup = charts.inline(drawings()["curves"], "first-")
    ids = re.findall(r' id="([^"]*)"', markup)
    assert ids
    assert all(name.startswith("first-") for name in ids)
    assert set(re.findall(r"#([^\")]*)[\")]", markup)) == set(ids)  # every reference has its target


def test_text_is_escaped_and_never_mathematics():
    svg = charts.roc({"<script>alert(1)</script> $x_1$": ([0, 1], [0, 1])})
    assert "<script" not in svg
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $x_1$" in svg


def test_the_selected_epoch_is_marked():
    svg = charts.curves(HISTORY, {"train_loss": "a", "val_loss": "b"}, selected=3, label="loss")
    assert "selected: 3" in svg
    assert ">b<" in svg
    assert "selected" not in charts.curves(HISTORY, {"train_loss": "a"}, selected=None, label="loss")


def test_every_case_is_one_dot():
    svg = charts.distribution(
        {"dice": np.linspace(0, 1, 50), "iou": [np.nan]}, label="score", unit_range=True
    )
    dots = max(re.findall(r'<path d="([^"]*)"', svg), key=len)
    assert dots.count("M") == 50
    assert "iou" in svg


def test_global_settings_are_left_alone():
    before = dict(rcParams)
    again = drawings.__wrapped__()
    assert dict(rcParams) == before
    assert again == drawings()  # the same each time
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("values", [[], [np.nan], [0.5]])
def test_few_or_no_values(values):
    assert charts.distribution({"dice": values}, label="score", unit_range=True)
    assert charts.scatter(values, values, xlabel="x", ylabel="y")
