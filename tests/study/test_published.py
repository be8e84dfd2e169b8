"""Published values: nothing changed on the way, numbers read rightly, words mapped with evidence."""

import csv
import hashlib
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from delineate.checks import InputError
from delineate.metrics.catalogue import METRICS
from delineate.study.published import (
    PAPERS,
    averaging_gap,
    beside_published,
    conventions,
    load_published,
    published_values,
)

ROWS = {"fcp-net": 464, "ulffn": 70, "clnet": 53, "chnet": 166, "m2snet": 616}
ADDED = 56
SHA256 = "9e770a6b43c3447f7a8ccc7f75f167db9587664a80dcde7d4936f7ff2505c817"
ADDED_SHA256 = "b2b48ad5203bb74e0d7e8779fe6203b7d31da13c474b54eaa1a790c58b68317f"
DICE, IOU = ("dice", "mdice", "f1", "dsc"), ("jaccard", "iou", "miou")
TEXT = ["paper", "table", "dataset", "task", "method", "metric", "value", "note"]


def text_of(name):
    return files("delineate.study.published").joinpath(f"{name}.csv").read_text(encoding="utf-8")


def test_files_hold_what_was_read_from_the_papers():
    heads, bodies = zip(*(text_of(name).split("\n", 1) for name in PAPERS), strict=True)
    assert len(set(heads)) == 1
    assert {name: body.count("\n") for name, body in zip(PAPERS, bodies, strict=True)} == ROWS
    whole = heads[0] + "\n" + "".join(bodies)
    assert hashlib.sha256(whole.encode()).hexdigest() == SHA256
    assert hashlib.sha256(text_of("additions").encode()).hexdigest() == ADDED_SHA256


def test_every_row_is_loaded_once():
    frame = load_published()
    assert len(frame) == sum(ROWS.values()) + ADDED
    assert not frame.duplicated(["paper", "table", "dataset", "method", "metric"]).any()
    assert set(frame["paper"]) == set(PAPERS)


def test_no_value_differs_from_the_shared_file():
    shared = os.environ.get("DELINEATE_SHARED")
    if not shared:
        pytest.skip("DELINEATE_SHARED names no folder that holds published/published_results.csv")
    path = Path(shared) / "published" / "published_results.csv"
    with path.open(encoding="utf-8", newline="") as file:
        wanted = [tuple(row.values()) for row in csv.DictReader(file)]
    ours = load_published()
    ours = ours[~((ours["paper"] == "m2snet") & (ours["table"] == "8") & (ours["task"] == "ablation"))]
    assert [tuple(row) for row in ours[TEXT].itertuples(index=False)] == wanted


@pytest.mark.parametrize(
    ("paper", "table", "method", "dataset", "metric", "wanted"),
    [
        ("m2snet", "1", "M2SNet", "Kvasir", "mdice", (0.912, None, False, 0.001)),
        ("m2snet", "4", "M2SNet", "busi", "dice", (0.7921, 0.0128, True, 0.0001)),
        ("clnet", "1", "ResNet50 + UNet (Ours)", "isic2017 melanoma", "auc", (0.8491, None, True, 0.0001)),
        ("clnet", "1", "ResNet50", "isic2017 mean of both", "auc", (0.85745, None, True, 0.00001)),
        ("fcp-net", "XIII", "U-Net", "ph2", "hd_mm", (5.9895, None, False, 0.0001)),
        ("fcp-net", "XII", "FCP-Net (ours)", "isic2017+isic2018+ph2", "params_m", (46.0, None, False, 1.0)),
    ],
)
def test_numbers_as_printed_and_in_our_unit(paper, table, method, dataset, metric, wanted):
    value = next(
        v
        for v in published_values(paper, table)
        if (v.method, v.dataset, v.metric) == (method, dataset, metric)
    )
    assert (value.mean, value.sd, value.percent, value.resolution) == wanted


def test_fractions_and_percent_are_told_apart():
    """A score that stays above 1 was printed in percent and not seen; one below 0.01 was seen twice."""
    scores = [v for v in published_values() if conventions(v.paper, v.table, v.metric)]
    bounded = [v for v in scores if v.metric not in ("hd", "hd_mm", "med")]
    assert len(bounded) > 1200
    assert all(0 <= v.mean <= 1 for v in bounded)
    assert all(v.mean > 0.2 for v in bounded if v.percent)
    assert {(v.paper, v.table) for v in published_values() if v.sd is not None} == {
        ("chnet", "2"),
        ("m2snet", "4"),
        ("m2snet", "8"),
    }


def test_one_paper_and_table_can_be_chosen():
    assert set(load_published("clnet")["table"]) == {"1", "2"}
    assert len(load_published("ulffn", 2)) == 25
    with pytest.raises(InputError, match=r"^Unknown paper 'm2net'. Did you mean 'm2snet'\?$"):
        load_published("m2net")
    with pytest.raises(InputError, match=r"^Unknown table of clnet '3'. Choose from: 1, 2\.$"):
        load_published("clnet", 3)
    with pytest.raises(InputError, match="^Table 2 of which paper"):
        load_published(table=2)


def test_words_are_mapped_to_scores_that_exist():
    for value in published_values():
        for candidate in conventions(value.paper, value.table, value.metric):
            assert candidate.name in METRICS, (value.paper, value.table, value.metric)
            assert candidate.reason.endswith(".")


def names(paper, table, metric):
    return [candidate.name for candidate in conventions(paper, table, metric)]


def test_what_words_mean_depends_on_the_table():
    assert names("m2snet", 1, "mdice") == ["msnet_mdice", "pranet_meanDic", "dice"]
    assert names("m2snet", 4, "dice") == ["dice"]
    assert names("m2snet", 5, "med") == ["med"]
    assert names("clnet", 1, "sensitivity") == ["label_sensitivity"]
    assert names("clnet", 2, "jaccard") == ["iou_pooled", "iou"]
    assert names("fcp-net", "XI", "dice") == ["dice_pooled", "dice"]
    assert names("fcp-net", "XI", "auc") == ["auc_pixel_pooled", "auc_pixel"]
    assert names("fcp-net", "II", "f1") == []  # a p-value
    assert names("chnet", 5, "gmacs") == []
    assert names("chnet", 6, "second column (header lost)") == []
    with pytest.raises(InputError, match=r"^Unknown metric of table 1 of clnet 'acuracy'. Did you mean"):
        conventions("clnet", 1, "acuracy")


def test_only_scores_of_predictions_have_candidates():
    without = {v.metric for v in published_values() if not conventions(v.paper, v.table, v.metric)}
    in_table_2 = {v.metric for v in published_values("fcp-net", "II")}
    assert without - in_table_2 == {
        "params_m",
        "gmacs",
        "inference_ms",
        "epochs_to_early_stop",
        "second column (header lost)",
        "third column (header lost)",
    }


# The evidence that the reasons cite.


def test_averaging_gap_by_hand():
    assert averaging_gap(0.8, 2 / 3) == pytest.approx(0)
    # two images with Dice 1 and 0.5, IoU 1 and 1/3: means 0.75 and 2/3; 0.75 / 1.25 = 0.6
    assert averaging_gap(0.75, 2 / 3) == pytest.approx(2 / 3 - 0.6)


def gaps(paper):
    """(gap, rounding bounds) of every row with both scores."""
    rows = {}
    for v in published_values(paper):
        if v.task != "t-test p-value":
            rows.setdefault((v.table, v.dataset, v.method), {})[v.metric] = v
    found = []
    for row in rows.values():
        d = next((row[word] for word in DICE if word in row), None)
        j = next((row[word] for word in IOU if word in row), None)
        if d is not None and j is not None:
            half = d.resolution / 2
            least = averaging_gap(d.mean + half, j.mean - half)
            most = averaging_gap(d.mean - half, j.mean + half)
            found.append((averaging_gap(d.mean, j.mean), least, most))
    return np.array(found)


def test_tables_that_fit_summed_counts():
    clnet = gaps("clnet")
    assert len(clnet) == 4
    assert ((clnet[:, 1] <= 0) & (clnet[:, 2] >= 0)).all()
    fcp_net = np.abs(gaps("fcp-net")[:, 0])
    assert (len(fcp_net), int((fcp_net < 0.001).sum())) == (73, 64)
    assert "in 64 of its 73 rows" in conventions("fcp-net", "VII", "f1")[0].reason


@pytest.mark.parametrize(("paper", "rows"), [("ulffn", 14), ("chnet", 20), ("m2snet", 104)])
def test_tables_that_summed_counts_cannot_give(paper, rows):
    found = gaps(paper)
    assert len(found) == rows
    assert (found[:, 1] > 0).all()


def values_of(paper, table, dataset, method, words):
    table = {
        v.metric: v.value
        for v in published_values(paper, table)
        if (v.dataset, v.method) == (dataset, method)
    }
    return [table[word] for word in words]


@pytest.mark.parametrize("dataset", ["ColonDB", "ETIS"])
def test_the_lost_header_of_table_7_is_the_e_measure(dataset):
    first = values_of("m2snet", 1, dataset, "MSNet", ["mdice", "miou", "weighted_f", "e_measure_max"])
    words = ["mdice", "miou", "weighted_f", "s_measure or e_measure (header lost)"]
    assert values_of("m2snet", 7, dataset, "+ LossNet", words) == first


def test_table_8_repeats_tables_1_to_4():
    columns = {
        ("1", "ETIS"): ["mdice", "miou", "weighted_f", "e_measure_max"],
        ("2", "CVC-300-TV"): ["mdice", "miou", "s_measure", "mae"],
        ("3", "covid19-lung"): ["dsc", "s_measure", "mae"],
        ("4", "busi"): ["jaccard", "specificity", "dice"],
    }
    different = []
    for (table, dataset), words in columns.items():
        for method, there in (("MSNet", "MSNet"), ("M2SNet (Ours)", "M2SNet")):
            for word in words:
                a = values_of("m2snet", 8, dataset, method, [word])
                b = values_of("m2snet", table, dataset, there, [word])
                different += [(dataset, method, word, *a, *b)] if a != b else []
    assert different == [("busi", "M2SNet (Ours)", "dice", "79.21±1.38", "79.21±1.28")]


def test_chnet_and_m2snet_share_rows():
    words = ["mdice", "miou", "weighted_f", "s_measure", "e_measure_max", "mae"]
    for ours, theirs in (("cvc-clinicdb", "ClinicDB"), ("kvasir-seg", "Kvasir")):
        table = "3" if ours == "cvc-clinicdb" else "4"
        assert values_of("chnet", table, ours, "UTNet", words) == values_of(
            "m2snet", 1, theirs, "UTNet", words
        )


# Measured beside published.


def test_measured_scores_stand_beside_the_published():
    summary = {
        "dice": {"mean": 0.9, "low": 0.88, "high": 0.9115, "n": 100},
        "msnet_mdice": {"mean": 0.85, "low": None, "high": None, "n": 100},
    }
    frame = beside_published(summary, "m2snet", 1, dataset="Kvasir", method="M2SNet")
    assert frame["metric"].unique().tolist() == [
        "mdice",
        "miou",
        "weighted_f",
        "s_measure",
        "e_measure_max",
        "mae",
    ]
    rows = frame.set_index("score")
    assert rows.loc["dice", "published"] == 0.912
    assert rows.loc["dice", "gap"] == pytest.approx(-0.012)
    assert rows.loc["dice", "inside"] is True  # 0.912 is 0.9115 to 0.9125 before rounding
    assert rows.loc["dice", "n"] == 100
    assert rows.loc["msnet_mdice", "gap"] == pytest.approx(-0.062)
    assert rows.loc["msnet_mdice", "inside"] is None
    assert np.isnan(rows.loc["pranet_meanDic", ["measured", "gap"]].astype(float)).all()


def test_percent_and_deviation_stand_in_our_unit():
    summary = {"dice": {"mean": 0.75, "low": 0.7, "high": 0.8, "n": 780}}
    frame = beside_published(summary, "m2snet", 4, dataset="busi", method="M2SNet").set_index("score")
    assert frame.loc["dice", "published"] == 0.7921
    assert frame.loc["dice", "published_sd"] == 0.0128
    assert frame.loc["dice", "inside"] is True


def test_figures_without_a_score_stay_in_the_list():
    frame = beside_published({}, "m2snet", 6, dataset="", method="M2SNet")
    assert frame["metric"].tolist() == ["gmacs", "params_m"]
    assert frame["score"].tolist() == ["", ""]
    assert pd.isna(frame["measured"]).all()


def test_unknown_rows_are_refused():
    with pytest.raises(
        InputError, match=r"^Unknown data set of table 1 of m2snet 'kvasir'. Did you mean 'Kvasir'"
    ):
        beside_published({}, "m2snet", 1, dataset="kvasir", method="M2SNet")
    with pytest.raises(
        InputError, match=r"^Unknown method of table 1 of m2snet 'M2Net'. Did you mean 'M2SNet'"
    ):
        beside_published({}, "m2snet", 1, dataset="Kvasir", method="M2Net")
