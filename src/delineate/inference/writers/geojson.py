"""Contours as GeoJSON, one file per picture."""

import json
from typing import Any

from delineate.files import write_text
from delineate.inference.writers.base import Output, PictureWriter
from delineate.inference.writers.contours import Region, mean_probability, regions, rounded

CONVENTION = "pixels; x to the right, y down; (0, 0) is the upper left corner of the upper left pixel"
"""What the coordinates are; written into every file."""


def geojson(output: Output) -> dict[str, Any]:
    """Describe the contours of one prediction.

    Returns:
        A FeatureCollection: one feature for each connected region of each class, a Polygon, or a
        MultiPolygon where parts touch at corners only. It has the form of RFC 7946, but pixel coordinates
        instead of longitude and latitude, for which the RFC asks for an agreement: it stands in the member
        `coordinates`.

    Raises:
        InputError: the model gives no mask.
    """
    mask, prediction = output.need_mask(), output.prediction
    spacing = output.spacing
    features = []
    for class_index, name in enumerate(output.info.classes, 1):
        for region in regions(mask == class_index):
            properties: dict[str, Any] = {
                "class": name,
                "region": region.index,
                "area_px": region.area,
                "probability": mean_probability(output, region, class_index),
            }
            if spacing is not None:
                properties["area_mm2"] = round(region.area * spacing[0] * spacing[1], 6)
            features.append({"type": "Feature", "geometry": geometry(region), "properties": properties})
    uncertainty = prediction.uncertainty
    return {
        "type": "FeatureCollection",
        "coordinates": CONVENTION,
        "image": {
            "id": output.id,
            "file": output.case.image.name,
            "slice": output.case.slice,
            "height": mask.shape[0],
            "width": mask.shape[1],
            "spacing_mm": None if spacing is None else list(spacing),
        },
        "model": output.identity,
        "labels": rounded(prediction.label),
        "look": None if uncertainty is None else round(uncertainty.look, 6),
        "features": features,
    }


def geometry(region: Region) -> dict[str, Any]:
    """The polygons of a region as a GeoJSON geometry, rings closed."""
    polygons = [[[*ring.tolist(), ring[0].tolist()] for ring in polygon] for polygon in region.polygons]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


class GeoJsonWriter(PictureWriter):
    """`contours/<id>.geojson`."""

    def add(self, output: Output) -> None:
        """Write the contours of one picture."""
        text = json.dumps(geojson(output), allow_nan=False)  # in ASCII: file names may be no valid text
        write_text(self.place("contours", f"{output.id}.geojson"), text + "\n")
