"""Tables as CSV, Markdown and LaTeX, and the classes of sizes."""

import numpy as np
import pandas as pd
import pytest

from delineate.study.page import large, probability
from delineate.study.sizes import reference_percent, size_classes
from delineate.study.statistics import critical_difference
from delineate.study.study_charts import Cost, Estimate, score_against_cost, versus, wrapped
from delineate.study.study_charts import critical_difference as draw_ranks
from delineate.study.tables import Cell, Column, Row, Table, write_tables

TABLE = Table(
    name="small",
    caption="50 % of a_b & more",
    heads=("system",),
    columns=(
        Column("dice", "up"),
        Column("hd95", "down", "px"),
        Column("p", style="p"),
        Column("says", style="text"),
    ),
    rows=(
        Row(
            ("a|b_c",),
            (Cell(0.9, 0.01, 0.88, 0.92, "best"), Cell(3.0, low=2.0, high=4.0), Cell(0.0001), Cell("<tie>")),
        ),
        Row(("x",), (Cell(0.89, mark="tie"), Cell(None), Cell(0.25), Cell("no"))),
    ),
    notes=("A note.",),
)


def test_markdown():
    assert TABLE.to_markdown().splitlines() == [
        r"**50 % of a\_b & more**",
        "",
        "| system | dice ↑ | hd95 (px) ↓ | p | says |",
        "| --- | ---: | ---: | ---: | --- |",
        r"| a\|b\_c | **0.900 ± 0.010** (0.880 to 0.920) | 3.0 (2.0 to 4.0) | \< 0.001 | \<tie\> |",
        "| x | 0.890 ≈ | – | 0.250 | no |",
        "",
        "A note. **bold**: best of its column. ≈: a tie with the best.",
    ]


def test_latex():
    lines = TABLE.to_latex().splitlines()
    assert lines[3:10] == [
        r"\caption{50 \% of a\_b \& more}",
        r"\label{tab:small}",
        r"\begin{tabular}{lrrrl}",
        r"\toprule",
        r"system & dice $\uparrow$ & hd95 (px) $\downarrow$ & p & says \\",
        r"\midrule",
        r"a|b\_c & \textbf{0.900} $\pm$ 0.010 {\scriptsize [0.880, 0.920]} & 3.0 {\scriptsize [2.0, 4.0]} & "
        r"$<$ 0.001 & $<$tie$>$ \\",
    ]
    assert lines[10] == r"x & \underline{0.890} & -- & 0.250 & no \\"
    assert lines[11:13] == [r"\bottomrule", r"\end{tabular}"]


def test_differences_carry_their_sign():
    column = Column("difference", style="difference")
    table = Table(
        "t",
        "c",
        ("pair",),
        (column,),
        tuple(Row(("",), (Cell(v, low=v - 1, high=v + 1),)) for v in (0.5, -0.5)),
    )
    assert "| +0.500 (-0.500 to 1.500) |" in table.to_markdown()
    assert r"$-$0.500 {\scriptsize [$-$1.500, 0.500]}" in table.to_latex()
    (_, (cell,)) = table.lines()[1]
    assert (cell.text, cell.interval) == ("−0.500", "−1.500 to 0.500")


def test_files_hold_plain_numbers(tmp_path):
    write_tables(tmp_path, [TABLE])
    table = pd.read_csv(tmp_path / "small.csv")
    assert list(table) == [
        "system", "dice", "dice_sd", "dice_low", "dice_high", "dice_mark",
        "hd95", "hd95_low", "hd95_high", "p", "says",
    ]  # fmt: skip
    assert table["dice"].tolist() == [0.9, 0.89]
    assert table["dice_mark"].tolist() == ["best", "tie"]
    assert np.isnan(table["hd95"][1])
    assert {path.name for path in tmp_path.iterdir()} == {"small.csv", "small.md", "small.tex"}


def test_formats():
    assert [probability(0.0009), probability(0.05), probability(None)] == ["< 0.001", "0.050", "–"]
    assert [large(950), large(31_400), large(999_960), large(28.6e6), large(12e9), large(None)] == [
        "950",
        "31.4 k",
        "1.0 M",
        "28.6 M",
        "12.0 G",
        "–",
    ]


def sized(pixels):
    table = pd.DataFrame({"image_id": [f"c{i}" for i in range(len(pixels))], "reference_pixels": pixels})
    return table.assign(tp=table["reference_pixels"], fp=0, fn=0, tn=1000 - table["reference_pixels"])


def test_thirds_by_size_leave_out_empty_references():
    found = size_classes(sized([0, 60, 10, 50, 20, 40, 30]))
    assert [(part.name, part.ids) for part in found] == [
        ("small", ("c2", "c4")),
        ("medium", ("c5", "c6")),
        ("large", ("c1", "c3")),
    ]
    assert [(part.low, part.high) for part in found] == [(1, 2), (3, 4), (5, 6)]
    assert found[0].range == "1 to 2 %"


def test_equal_sizes_stay_together_and_few_cases_have_no_classes():
    assert [part.name for part in size_classes(sized([10] * 8))] == ["small"]
    assert size_classes(sized([10, 20, 30, 40, 50])) == ()
    assert size_classes(pd.DataFrame({"image_id": ["a"], "dice": [1.0]})) == ()


def test_sizes_of_several_classes_use_the_counts_of_one():
    table = sized([10, 20]).rename(columns={name: f"{name}[rim]" for name in ("tp", "fp", "fn", "tn")})
    assert reference_percent(table).tolist() == [1, 2]


def test_the_ranking_figure_names_every_system_and_draws_every_clique():
    scores = pd.DataFrame({"a": [3.0, 3, 3, 3, 3], "b": [2.0, 2, 2, 2, 2], "c": [1.0, 1, 1, 1, 1]})
    found = critical_difference(scores, better="up")
    svg = draw_ranks(found)
    for word in (
        "a",
        "b",
        "c",
        "1.00",
        "2.00",
        "3.00",
        f"critical difference {found.critical_difference:.2f}",
    ):
        assert f">{word}<" in svg
    assert len(found.cliques) == 2
    assert svg.count("stroke-width: 4") == 2


def test_many_systems_keep_apart_in_a_legend():
    points = [Cost(f"s{i}", i + 1.0, Estimate(f"s{i}", 0.5, 0.4, 0.6)) for i in range(8)]
    svg = score_against_cost(points, xlabel="cost", ylabel="dice")
    assert all(f">s{i}<" in svg for i in range(8))


@pytest.mark.parametrize("unit_range", [True, False])
@pytest.mark.parametrize("values", [[], [np.nan], [0.5]])
def test_few_or_no_pairs(values, unit_range):
    assert versus(values, values, xlabel="x", ylabel="y", unit_range=unit_range)


def test_long_names_are_broken():
    assert wrapped("unet") == "unet"
    assert all(len(line) <= 22 for line in wrapped("a-very-long-name-of-a-system-in-a-study").splitlines())
    assert wrapped("x" * 100).endswith("…")
