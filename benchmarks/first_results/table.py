"""Print the table of docs/explanation/first-results.md from run folders, and copy what proves it.

python benchmarks/first_results/table.py RUN:SPLIT ... [--copy docs/explanation/first-results]
"""

import argparse
import json
import shutil
from pathlib import Path

from delineate.models.checkpoint import build_model
from delineate.recipe_io import load_recipe
from delineate.record import read_record

SCORES = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "s_measure",
    "e_measure_max",
    "weighted_f",
    "mae",
    "hd95",
)
LABEL_SCORES = ("auc", "average_precision", "balanced_accuracy")
KEPT = ("recipe.yaml", "record.json", "summary.json", "history.csv")


def main() -> None:
    """Read the runs that are named and print one column for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", metavar="RUN:SPLIT")
    parser.add_argument("--copy", type=Path)
    arguments = parser.parse_args()
    columns = []
    for name in arguments.runs:
        folder, _, split = name.rpartition(":")
        columns.append(column(Path(folder), split))
        if arguments.copy:
            target = arguments.copy / Path(folder).name
            target.mkdir(parents=True, exist_ok=True)
            for file in KEPT:
                shutil.copy(Path(folder) / file, target / file)
    rows = list(dict.fromkeys(row for found in columns for row in found))
    print("| | " + " | ".join(Path(name.rpartition(":")[0]).name for name in arguments.runs) + " |")
    print("|---|" + "---|" * len(columns))
    for row in rows:
        print(f"| {row} | " + " | ".join(found.get(row, "-") for found in columns) + " |")


def column(run: Path, split: str) -> dict[str, str]:
    """Collect what one run says of itself and scored on one split."""
    record = read_record(run / "record.json")
    recipe = load_recipe(run / "recipe.yaml", ["model.pretrained=false"])
    summary = json.loads((run / "summary.json").read_text())[split]
    weights = sum(weight.numel() for weight in build_model(recipe).parameters())
    found = {
        "parameters": f"{weights / 1e6:.2f} M",
        "training cases": str(record.cases["train"]),
        "epochs (selected)": f"{record.epochs} ({record.selected_epoch})",
        "minutes of training": f"{record.wall_seconds / 60:.1f}",
        "cases scored": f"{record.evaluations[split].cases} ({split})",
    }
    for name in (*SCORES, *LABEL_SCORES):
        if name in summary:
            score = summary[name]
            found[f"`{name}`"] = f"{score['mean']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
    for name in ("empty_references", "empty_predictions"):
        found[f"`{name}`"] = str(int(summary[name]["mean"]))
    return found


if __name__ == "__main__":
    main()
