"""Contours keep every pixel: rasterised by the rules of GeoJSON and of COCO they give back the mask."""

import json

import numpy as np
import pytest

from delineate.data.case import Case
from delineate.inference.results import Uncertainty
from delineate.inference.writers import WRITERS
from delineate.inference.writers.contours import regions, signed_area

HOLE = ["#####", "#...#", "#.#.#", "#...#", "#####"]
CORNER_HOLE = ["##..", "#.#.", "###."]  # the hole meets the outside at a corner of two pixels of one part
STAIRS = ["#..", ".#.", "..#"]
SHAPES = {
    "pixel": ["#"],
    "hole with an island": HOLE,
    "hole at a corner": CORNER_HOLE,
    "two holes meeting at a corner": ["####", "#.##", "##.#", "####"],
    "stairs": STAIRS,
    "full": ["###", "###"],
    "empty": ["...", "..."],
    "line at the frame": ["....", "####"],
    "comb": ["#.#.#", "#####", "#.#.#"],
}


def mask_of(rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def random_masks(count):
    rng = np.random.default_rng(7)
    for _ in range(count):
        yield rng.random(rng.integers(1, 12, 2)) < rng.random()


def inside(rings, shape):
    """Which pixel centres lie inside rings, by the edges to their left: an odd number means inside."""
    found = np.zeros(shape, bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if x0 == x1:
                found[min(y0, y1) : max(y0, y1), x0:] ^= True
    return found


def masks():
    return [*map(mask_of, SHAPES.values()), *random_masks(150)]


def test_every_pixel_comes_back():
    for mask in masks():
        found = np.zeros(mask.shape, int)
        for region in regions(mask):
            polygons = sum(
                inside(polygon, mask.shape).astype(int) for polygon in map(listed, region.polygons)
            )
            x, y, width, height = region.box
            np.testing.assert_array_equal(polygons[y : y + height, x : x + width], region.pixels)
            assert polygons.sum() == region.area == region.pixels.sum()
            found += polygons
        np.testing.assert_array_equal(found, mask)


def listed(polygon):
    return [[tuple(vertex) for vertex in ring.tolist()] for ring in polygon]


def test_rings_are_simple_and_turn_the_right_way():
    for mask in masks():
        for region in regions(mask):
            for outer, *holes in region.polygons:
                assert signed_area(outer) > 0
                assert all(signed_area(hole) < 0 for hole in holes)
                for ring in (outer, *holes):
                    assert len(ring) >= 4
                    assert len(set(map(tuple, ring.tolist()))) == len(ring), "no ring touches itself"
                    steps = np.diff([*ring.tolist(), ring[0].tolist()], axis=0)
                    assert ((steps == 0).sum(1) == 1).all(), "edges follow pixels"
                    assert ((steps[:, 0] == 0) != (np.roll(steps[:, 0], 1) == 0)).all(), "every vertex turns"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pixel", [[1]]),
        ("hole with an island", [[2], [1]]),
        ("hole at a corner", [[2]]),
        ("two holes meeting at a corner", [[3]]),
        ("stairs", [[1, 1, 1]]),
        ("empty", []),
    ],
)
def test_regions_polygons_and_rings_by_hand(name, found):
    """For each region, for each of its polygons the number of rings."""
    assert [[len(polygon) for polygon in r.polygons] for r in regions(mask_of(SHAPES[name]))] == found


def test_the_coordinates_of_one_pixel_by_hand():
    (region,) = regions(np.eye(4, dtype=bool)[:, [0, 1, 3, 2]][2:3])  # row 0, column 3
    assert region.polygons[0][0].tolist() == [[3, 0], [4, 0], [4, 1], [3, 1]]
    assert region.box == (3, 0, 1, 1)


UNSURE = Uncertainty(None, None, None, None, look=0.25)


def test_geojson_by_hand(info, output, tmp_path):
    mask = np.zeros((5, 7), np.uint8)
    mask[:, 1:6] = mask_of(HOLE)
    mask[1, 2:5] = 2
    case = Case("a_s001", tmp_path / "a.png", slice=1, spacing=(0.5, 0.2))
    written = output(mask, case, ("lesion", "core"), label={"good": 0.1, "bad": 0.9}, uncertainty=UNSURE)
    writer = WRITERS["geojson"].make(tmp_path, info("lesion", "core"))
    writer.add(written)
    found = json.loads((tmp_path / "contours" / "a_s001.geojson").read_text())
    assert found["type"] == "FeatureCollection"
    assert found["image"] == {
        "id": "a_s001",
        "file": "a.png",
        "slice": 1,
        "height": 5,
        "width": 7,
        "spacing_mm": [0.5, 0.2],
    }
    assert (found["labels"], found["look"]) == ({"good": 0.1, "bad": 0.9}, 0.25)
    assert "upper left corner" in found["coordinates"]
    assert [f["properties"]["class"] for f in found["features"]] == ["lesion", "lesion", "core"]
    core = found["features"][2]
    assert core["geometry"] == {"type": "Polygon", "coordinates": [[[2, 1], [5, 1], [5, 2], [2, 2], [2, 1]]]}
    assert core["properties"] == {
        "class": "core",
        "region": 1,
        "area_px": 3,
        "probability": 0.75,
        "area_mm2": 0.3,
    }

    rebuilt = np.zeros_like(mask)
    for feature in found["features"]:
        geometry = feature["geometry"]
        several = geometry["type"] == "MultiPolygon"
        for polygon in geometry["coordinates"] if several else [geometry["coordinates"]]:
            assert all(ring[0] == ring[-1] for ring in polygon)
            index = ("lesion", "core").index(feature["properties"]["class"]) + 1
            rebuilt[inside([ring[:-1] for ring in polygon], mask.shape)] = index
    np.testing.assert_array_equal(rebuilt, mask)


def test_parts_that_touch_at_corners_are_one_multipolygon(output):
    from delineate.inference.writers.geojson import geojson

    (feature,) = geojson(output(mask_of(STAIRS).astype(np.uint8)))["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert len(feature["geometry"]["coordinates"]) == 3


def decode(segmentation, shape):
    """Draw a COCO segmentation: polygons are joined, run lengths go down the columns, outside first."""
    if isinstance(segmentation, dict):
        assert segmentation["size"] == list(shape)
        flat = np.repeat(np.arange(len(segmentation["counts"])) % 2, segmentation["counts"])
        return flat.reshape(shape, order="F").astype(bool)
    found = np.zeros(shape, bool)
    for flat in segmentation:
        assert len(flat) >= 6
        found |= inside([list(zip(flat[::2], flat[1::2], strict=True))], shape)
    return found


def test_coco_joins_all_pictures(info, output, tmp_path):
    wanted = {}
    for number, mask in enumerate(masks()):
        name = f"p{number:03d}"
        wanted[name] = mask
        # A writer for each picture, as after a restart or in several processes.
        writer = WRITERS["coco"].make(tmp_path, info())
        label = {"good": 0.25, "bad": 0.75} if number % 2 else None
        writer.add(output(mask.astype(np.uint8), Case(name, tmp_path / f"{name}.png"), label=label))
    for _ in range(2):  # a job may be finished again
        WRITERS["coco"].make(tmp_path, info()).finish()
    joined = json.loads((tmp_path / "coco.json").read_text())
    assert joined["categories"] == [{"id": 1, "name": "lesion"}]
    assert [image["id"] for image in joined["images"]] == list(range(1, len(wanted) + 1))
    assert [image["name"] for image in joined["images"]] == list(wanted)
    numbers = [annotation["id"] for annotation in joined["annotations"]]
    assert numbers == list(range(1, len(numbers) + 1))
    rebuilt = {name: np.zeros(mask.shape, bool) for name, mask in wanted.items()}
    for annotation in joined["annotations"]:
        image = joined["images"][annotation["image_id"] - 1]
        shape = (image["height"], image["width"])
        pixels = decode(annotation["segmentation"], shape)
        rows, columns = np.nonzero(pixels)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation["bbox"] == [int(side) for side in box]
        assert annotation["area"] == pixels.sum()
        assert (annotation["category_id"], annotation["iscrowd"]) == (1, 0)
        assert annotation["score"] == 0.75
        rebuilt[image["name"]] |= pixels
    for name, mask in wanted.items():
        np.testing.assert_array_equal(rebuilt[name], mask, err_msg=name)


def test_a_job_without_pictures_gives_an_empty_list(info, tmp_path):
    WRITERS["coco"].make(tmp_path, info("a", "b")).finish()
    joined = json.loads((tmp_path / "coco.json").read_text())
    assert (joined["images"], joined["annotations"]) == ([], [])
    assert [category["name"] for category in joined["categories"]] == ["a", "b"]
