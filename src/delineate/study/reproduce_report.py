"""The page that shows a published table beside what was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from delineate.files import write_text
from delineate.study.published import PAPERS
from delineate.study.reproduce_plan import Plan
from delineate.version import __version__

_STATES = {
    "run": "Run",
    "cost": "Measured without data",
    "data": "Not run",
    "cannot": "Cannot be run",
}


def write_reproduction_report(plan: Plan, table: pd.DataFrame, failed: Mapping[str, str], out: Path) -> Path:
    """Write `report.html`: one file that needs nothing else.

    Args:
        plan: what was to be repeated.
        table: what `reproduce.beside` gives.
        failed: run -> reason.
        out: folder to write to.
    """
    first = likeliest(table)
    shown = first[first["measured"].notna()]
    page = {
        "paper": plan.paper,
        "table": plan.table,
        "title": plan.wanted.title[0].upper() + plan.wanted.title[1:],
        "cited": PAPERS[plan.paper],
        "version": __version__,
        "figures": len(first),
        "measured": len(shown),
        "inside": int((shown["inside"] == True).sum()),  # noqa: E712 - None and NaN are not False
        "caveats": plan.caveats(),
        "parts": [
            {"title": dataset or plan.wanted.title, "lines": [_line(row) for row in rows.to_dict("records")]}
            for dataset, rows in shown.groupby("dataset", sort=False)
        ],
        "rows": [
            {
                "title": f"{entry.method}{f', {entry.dataset}' if entry.dataset else ''}",
                "text": " ".join(t for t in (f"{_STATES[entry.state]}.", entry.reason, entry.note) if t),
            }
            for entry in plan.entries
        ],
        "places": [
            {
                "title": name,
                "text": place.reason
                or f"{place.folder}: {place.cases} cases, reader {place.dataset}, protocol {place.protocol}",
            }
            for name, place in plan.places.items()
        ],
        "failed": dict(failed),
        "readings": [_line(row) for row in _ambiguous(table).to_dict("records")],
    }
    path = out / "report.html"
    write_text(path, _render(page))
    return path


def likeliest(table: pd.DataFrame) -> pd.DataFrame:
    """One row per published figure: its likeliest reading that was measured, else its likeliest."""
    kept = []
    for _, rows in table.groupby(["method", "dataset", "metric"], sort=False):
        known = rows[rows["measured"].notna()]
        kept.append((known if len(known) else rows).index[0])
    return table.loc[kept]


def _ambiguous(table: pd.DataFrame) -> pd.DataFrame:
    """The measured readings of figures that have more than one."""
    known = table[table["measured"].notna()]
    readings = known.groupby(["method", "dataset", "metric"], sort=False)["measured"].transform("size")
    return known[readings > 1]


def figure(value: Any) -> str:
    """Format a score or a cost: four decimals below 10, two above; "–" when undefined."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def _line(row: Mapping[Any, Any]) -> dict[str, Any]:
    low, high = figure(row["low"]), figure(row["high"])
    sd, published_sd = figure(row["sd"]), figure(row["published_sd"])
    gap = row["gap"]
    cases = "" if pd.isna(row["n"]) else f"{row['n']} cases, "
    return {
        "method": row["method"],
        "dataset": row["dataset"],
        "metric": row["metric"],
        "score": row["score"] or "–",
        "reason": row["reason"],
        "published": figure(row["published"]) + ("" if published_sd == "–" else f" ± {published_sd}"),
        "measured": figure(row["measured"]) + ("" if sd == "–" else f" ± {sd}"),
        "interval": "–" if "–" in (low, high) else f"{low} – {high}",
        "gap": "–" if pd.isna(gap) else f"{'+' if gap > 0 else ''}{figure(gap)}",
        "inside": row["inside"] is True,
        "n": f"{cases}{row['runs']} {'run' if row['runs'] == 1 else 'runs'}",
    }


def _render(page: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # slow to import

    environment = Environment(
        loader=PackageLoader("delineate.study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("reproduction.html").render(page).strip() + "\n"
