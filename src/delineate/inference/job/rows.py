"""The rows of the tables: one of predictions.csv and .jsonl per image, of measurements.csv per lesion."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from delineate.inference.results import choose_label
from delineate.inference.writers import Output
from delineate.models.checkpoint import ModelInfo

TABLE, LINES, MEASURED, FAILED = "predictions.csv", "predictions.jsonl", "measurements.csv", "failed.csv"
PLACE = ("top", "left", "bottom", "right", "centroid_row", "centroid_column")


def csv_line(values: Sequence[object]) -> str:
    """One line of a CSV table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def heads(info: ModelInfo, *, uncertainty: bool, measure: bool) -> dict[str, str]:
    """Name -> first line of each table of a job; every row has these columns."""
    columns = ["image_id", "file", "height", "width"]
    if info.labels:
        columns += ["label", *(f"label_probability[{label}]" for label in info.labels)]
    columns += [f"pixels[{name}]" for name in info.classes]
    if uncertainty:
        columns.append("look")
    found = {TABLE: csv_line(columns), LINES: ""}
    if measure:
        from delineate.inference.measurements import MEASUREMENTS

        found[MEASURED] = csv_line(["image_id", "class", "lesion", *PLACE, *MEASUREMENTS])
    return found


class Rows:
    """Collects the rows of one file's images.

    Args:
        info: classes and labels of the model.
        uncertainty: whether there is a column `look`.
        measure: whether to measure the lesions.
    """

    def __init__(self, info: ModelInfo, *, uncertainty: bool, measure: bool) -> None:
        self._info, self._uncertainty, self._measure = info, uncertainty, measure
        self.images = 0
        self._parts: dict[str, list[str]] = {}

    def add(self, output: Output, file: str) -> None:
        """Add the rows of one image.

        Args:
            output: the prediction.
            file: where the image came from, as the tables show it.

        Raises:
            InputError: the mask cannot be measured.
        """
        prediction, info = output.prediction, self._info
        height, width = output.image.shape[:2]
        row: list[object] = [output.id, file, height, width]
        line: dict[str, Any] = {"id": output.id, "file": file, "height": height, "width": width}
        if output.case.slice is not None:
            line["slice"] = output.case.slice
        if prediction.label is not None:
            label = choose_label(prediction.label, info)
            row += [label, *(f"{value:.6f}" for value in prediction.label.values())]
            line["label"] = label
            line["labels"] = {name: round(value, 6) for name, value in prediction.label.items()}
        if prediction.mask is not None:
            pixels = {
                name: int((prediction.mask == index).sum()) for index, name in enumerate(info.classes, 1)
            }
            row += pixels.values()
            line["pixels"] = pixels
        if self._uncertainty:
            look = None if prediction.uncertainty is None else prediction.uncertainty.look
            row.append("" if look is None else f"{look:.6f}")
            line["look"] = None if look is None else round(look, 6)
        if self._measure:
            line["measurements"] = self._lesions(output)
        self.images += 1
        self._append(TABLE, csv_line(row))
        self._append(LINES, json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")

    @property
    def text(self) -> dict[str, str]:
        """Table -> its new lines."""
        return {table: "".join(parts) for table, parts in self._parts.items()}

    def _lesions(self, output: Output) -> list[dict[str, Any]]:
        from delineate.inference.measurements import measure

        if output.prediction.mask is None:
            return []
        lesions = measure(
            output.prediction.mask, output.image, classes=self._info.classes, spacing=output.case.spacing
        )
        found = []
        for lesion in lesions:
            values = {name: _figure(value) for name, value in lesion.values.items()}
            centre = [round(float(side), 2) for side in lesion.centroid]
            cells = ["" if value is None else value for value in values.values()]
            self._append(
                MEASURED,
                csv_line([output.id, lesion.class_name, lesion.index, *lesion.bbox, *centre, *cells]),
            )
            found.append(
                {
                    "class": lesion.class_name,
                    "lesion": lesion.index,
                    "bbox": [int(side) for side in lesion.bbox],
                    "centroid": centre,
                    "values": values,
                }
            )
        return found

    def _append(self, table: str, text: str) -> None:
        self._parts.setdefault(table, []).append(text)


def _figure(value: float | None) -> float | None:
    """Six significant digits, which is more than a mask is worth."""
    return None if value is None else float(f"{value:.6g}")
