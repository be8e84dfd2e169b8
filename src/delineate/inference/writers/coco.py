"""All predictions of a job in one file of the COCO format.

Each picture is first written as a file of its own, `coco/<id>.json`; `finish` joins all that lie there, so
that a job may be resumed or run in several processes.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delineate.files import atomic_path, write_text
from delineate.inference.writers.base import Output, PictureWriter
from delineate.inference.writers.contours import Region, mean_probability, regions, rounded

FOLDER, JOINED = "coco", "coco.json"


class CocoWriter(PictureWriter):
    """`coco/<id>.json` for each picture and `coco.json` for all."""

    def add(self, output: Output) -> None:
        """Write the part of one picture."""
        write_text(self.place(FOLDER, f"{output.id}.json"), _text(picture(output)) + "\n")

    def finish(self) -> None:
        """Join the parts, sorted by id and read one after the other; pictures and regions count from 1."""
        names = self._parts()
        categories = [{"id": i, "name": name} for i, name in enumerate(self.info.classes, 1)]
        with atomic_path(self.out / JOINED) as temporary, temporary.open("w", encoding="utf-8") as file:
            info = {"description": f"Predictions of the model {self.info.recipe}"}
            file.write(f'{{"info": {_text(info)},\n"categories": {_text(categories)},\n"images": [')
            _write_items(file, self._images(names))
            file.write('],\n"annotations": [')
            _write_items(file, self._annotations(names))
            file.write("]}\n")

    def _parts(self) -> list[str]:
        """Names of the files to join, sorted: about 100 bytes each."""
        if not (self.out / FOLDER).is_dir():
            return []
        with os.scandir(self.out / FOLDER) as entries:
            return sorted(e.name for e in entries if e.name.endswith(".json") and e.name[0] != ".")

    def _images(self, names: list[str]) -> Iterator[dict[str, Any]]:
        for number, name in enumerate(names, 1):
            yield {"id": number} | self._read(name)["image"]

    def _annotations(self, names: list[str]) -> Iterator[dict[str, Any]]:
        count = 0
        for number, name in enumerate(names, 1):
            for annotation in self._read(name)["annotations"]:
                count += 1
                yield {"id": count, "image_id": number} | annotation

    def _read(self, name: str) -> Any:
        return json.loads((self.out / FOLDER / name).read_text(encoding="utf-8"))


def picture(output: Output) -> dict[str, Any]:
    """Describe one picture: `image` and `annotations`, whose numbers `finish` gives.

    A region without holes is a list of polygons along pixel edges (x to the right, y down, (0, 0) the upper
    left corner of the upper left pixel). COCO's polygons know no holes, so one with holes is a run-length
    code: numbers of pixels outside, inside, outside ... in the order of columns.

    Raises:
        InputError: the model gives no mask.
    """
    mask, prediction = output.need_mask(), output.prediction
    image: dict[str, Any] = {
        "file_name": output.case.image.name,
        "height": mask.shape[0],
        "width": mask.shape[1],
        "name": output.id,
    }
    if output.case.slice is not None:
        image["slice"] = output.case.slice
    if prediction.label is not None:
        image["labels"] = rounded(prediction.label)
    if prediction.uncertainty is not None:
        image["look"] = round(prediction.uncertainty.look, 6)
    annotations = []
    for class_index, _ in enumerate(output.info.classes, 1):
        for region in regions(mask == class_index):
            annotation: dict[str, Any] = {
                "category_id": class_index,
                "segmentation": segmentation(region, mask.shape),
                "area": region.area,
                "bbox": list(region.box),
                "iscrowd": 0,
            }
            score = mean_probability(output, region, class_index)
            if score is not None:
                annotation["score"] = score
            annotations.append(annotation)
    return {"image": image, "annotations": annotations}


def segmentation(region: Region, shape: tuple[int, ...]) -> list[list[int]] | dict[str, Any]:
    """The pixels of a region: polygons [x, y, x, y, ...], or a run-length code where it has holes."""
    if all(len(polygon) == 1 for polygon in region.polygons):
        return [polygon[0].ravel().tolist() for polygon in region.polygons]
    full = np.zeros(shape, dtype=bool)
    x, y, width, height = region.box
    full[y : y + height, x : x + width] = region.pixels
    return {"counts": run_lengths(full), "size": list(shape)}


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of pixels outside, inside, outside ..., column after column from the left."""
    values = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(values[1:] != values[:-1])
    return np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()


def _write_items(file: Any, items: Iterator[dict[str, Any]]) -> None:
    for position, item in enumerate(items):
        file.write(("\n" if position == 0 else ",\n") + _text(item))


def _text(content: Any) -> str:
    return json.dumps(content, allow_nan=False)  # in ASCII: file names may be no valid text
