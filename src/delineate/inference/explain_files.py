"""Explain files: one picture per image and method, a table, and how faithful each map is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from delineate.checks import InputError, choose
from delineate.data.case import Case
from delineate.data.images import read_case_image
from delineate.explain.explanation import EXPLANATIONS, explanation_map, lesion_region, parse_place
from delineate.explain.faithfulness import Faithfulness, faithfulness
from delineate.explain.overlay import map_method, overlay_map
from delineate.explain.perturb import Fill
from delineate.explain.targets import Target, fix_score, region_at
from delineate.files import atomic_path
from delineate.inference.predictor import Predictor
from delineate.inference.results import found_to_explain
from delineate.inference.writers.pictures import draw_outline, write_png

TABLE = "explanations.csv"
FILLS: dict[Target, Fill] = {"label": "blur", "mask": "mean"}
"""Target -> what hidden pixels show when faithfulness is measured. A blurred lesion is still found at its
place, so that for masks only a plain colour hides anything."""


@dataclass(frozen=True)
class Question:
    """What to explain in each image."""

    target: Target | None = None
    """"label", "mask", or None for the label of a model that has one."""
    name: str | None = None
    """Name of the label or class; None for the one that is found."""
    region: str = "all"
    """Of a mask: "all", "largest", or "ROW,COLUMN" of a pixel of the image inside the region."""


@dataclass
class ExplainReport:
    """What `explain_files` did."""

    table: pd.DataFrame
    """One row per image and method; empty when no image could be read."""
    failed: dict[str, str] = field(default_factory=dict)
    """File -> why it was left out."""


def explain_files(
    predictor: Predictor,
    cases: Mapping[str, Case],
    out: Path,
    *,
    methods: Sequence[str] = (),
    question: Question | None = None,
    measure: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExplainReport:
    """Draw the maps of images and write explanations.csv.

    Writes `<id>.<method>.png` (the map over the image, with the outline of what was explained: the class or
    the one region; of a label, which speaks of the whole image, all that was found) and
    `<id>.<method>.map.png` (the map alone, grey, 255 = 1), both at the image's size.

    Args:
        predictor: a loaded run; PyTorch runs it.
        cases: id -> image, as `find_images` gives them.
        out: folder to write to.
        methods: names of `EXPLANATIONS`; none for the one that suits the model.
        question: what to explain; None for what the model finds.
        measure: also measure how faithful each map is (deletion and insertion).
        progress: called with (done, all).

    Raises:
        InputError: no image, unknown method, label or class, a region of a label or one that is named
            wrongly, a model without what the question needs, or exported files run the network.
    """
    _ = predictor.torch  # says so at once when there is none
    if not cases:
        raise InputError("There is no image to explain; name at least one file or folder.")
    chosen = tuple(dict.fromkeys(methods)) or (map_method(predictor.info.model),)
    for method in chosen:
        choose("explanation", method, EXPLANATIONS)
    question = question or Question()
    target = question.target or ("label" if predictor.info.labels else "mask")
    index = _index(predictor, target, question.name)
    if question.region != "all":
        if target == "label":
            raise InputError(
                "A region belongs to a mask, while a label speaks of the whole image; use --target mask, or "
                "leave --region out."
            )
        parse_place(question.region)
    report = ExplainReport(pd.DataFrame())
    rows: list[dict[str, object]] = []
    for done, (name, case) in enumerate(cases.items(), 1):
        try:
            rows += _explain(predictor, name, case, out, chosen, target, index, question.region, measure)
        except InputError as error:
            report.failed[str(case.image)] = str(error)
        if progress is not None:
            progress(done, len(cases))
    report.table = pd.DataFrame(rows)
    if rows:
        with atomic_path(out / TABLE) as temporary:
            report.table.to_csv(temporary, index=False, float_format="%.6g")
    return report


def mean_figures(table: pd.DataFrame, seed: int = 0) -> list[dict[str, Any]]:
    """Average the figures of each method over images.

    Returns:
        One dictionary per method: method, images, the mean of each figure, and for `gain` the bounds of the
        95 % percentile bootstrap interval over images, `gain_low` and `gain_high`, None for one image.
    """
    from scipy.stats import bootstrap  # slow to import

    rows = []
    for method, part in table.groupby("method", sort=False):
        row: dict[str, Any] = {"method": method, "images": len(part), "score": float(part["score"].mean())}
        for name in ("deletion", "random_deletion", "insertion", "random_insertion", "gain"):
            if name in part:
                row[name] = float(part[name].mean())
        if "gain" in part:
            row |= {"gain_low": None, "gain_high": None}
            if part["gain"].nunique() > 1:
                rng = np.random.default_rng(seed)
                found = bootstrap(
                    (part["gain"].to_numpy(),), np.mean, n_resamples=2000, method="percentile", rng=rng
                ).confidence_interval
                row |= {"gain_low": float(found.low), "gain_high": float(found.high)}
        rows.append(row)
    return rows


def _explain(
    predictor: Predictor,
    name: str,
    case: Case,
    out: Path,
    methods: Sequence[str],
    target: Target,
    index: int | None,
    place: str,
    measure: bool,
) -> list[dict[str, object]]:
    image = read_case_image(predictor.with_window(case))
    size = (image.shape[0], image.shape[1])
    batch = predictor.prepare(image)
    with torch.inference_mode():
        prediction = predictor.model(batch)
    found = predictor(image, uncertainty=False)
    chosen, inside = found_to_explain(found, predictor.info, target, index)
    if place != "all" and found.mask is not None:
        # A named class is searched alone; without a name, the place also says which class it is.
        inside = lesion_region(found.mask if index is None else (found.mask == index).astype(np.uint8), place)
        chosen = int(found.mask[inside][0])
    region = None if inside is None else region_at(inside, (batch.shape[2], batch.shape[3]))
    score = fix_score(prediction, target, chosen, region)
    # Drawn in the colour of the class; background, which has none, in the first.
    outlined = found.mask if inside is None else inside * np.uint8(max(score.index, 1))
    asked: dict[str, Any] = {"target": target, "index": score.index, "region": score.region}
    maps = {m: explanation_map(predictor.model, batch, method=m, **asked) for m in methods}
    fill = FILLS[target]
    measured = faithfulness(predictor.model, batch, maps, fill=fill, **asked) if measure else {}
    rows = []
    for method, small in maps.items():
        large = explanation_map_at(small, size)
        shown = overlay_map(image, large)
        write_png(out / f"{name}.{method}.png", shown if outlined is None else draw_outline(shown, outlined))
        write_png(out / f"{name}.{method}.map.png", np.round(large * 255).astype(np.uint8))
        row: dict[str, object] = {
            "image": name,
            "method": method,
            "target": target,
            "explained": _named(predictor, target, score.index),
            "score": float(score.probability(prediction)[0]),
        }
        rows.append(row | ({"fill": fill} | _figures(measured[method]) if measure else {}))
    return rows


def explanation_map_at(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a map (h, w) in [0, 1] to `size` = (height, width), bilinearly."""
    source = torch.from_numpy(values)[None, None]
    grown = torch.nn.functional.interpolate(source, size, mode="bilinear", align_corners=False)[0, 0]
    return np.ascontiguousarray(grown.clamp(0, 1).numpy())


def _figures(found: Faithfulness) -> dict[str, object]:
    return {
        "deletion": found.deletion,
        "insertion": found.insertion,
        "random_deletion": found.random_deletion,
        "random_insertion": found.random_insertion,
        "gain": found.gain,
    }


def _index(predictor: Predictor, target: Target, name: str | None) -> int | None:
    info = predictor.info
    if target == "label" and not info.labels:
        raise InputError("This model has no labels to explain; use --target mask.")
    if target == "mask" and not info.classes:
        raise InputError("This model only classifies, so it has no mask to explain; use --target label.")
    if name is None:
        return None
    names = info.labels if target == "label" else ("background", *info.classes)
    return choose(target, name, {key: i for i, key in enumerate(names)})


def _named(predictor: Predictor, target: Target, index: int) -> str:
    info = predictor.info
    return info.labels[index] if target == "label" else ("background", *info.classes)[index]
