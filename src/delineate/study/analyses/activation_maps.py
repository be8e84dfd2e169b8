"""CLNet's activation maps beside Grad-CAM and Grad-CAM++, with figures that say where they look.

    share in the prediction    sum of the map inside the predicted mask / sum of the whole map
    share in the reference     the same inside the reference mask
    hit                        whether the map's largest value lies inside the reference ("pointing game",
                               Zhang et al., Excitation Backprop, IJCV 2018, arXiv:1608.00507; here without
                               its tolerance of 15 pixels)

A map that is zero everywhere has no share and does not hit. The formulas of the maps, CLNet's Eqs. (2) and
(3) among them, are in explain/activation.py.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from delineate.checks import InputError
from delineate.data.images import read_case_image
from delineate.explain.activation import Method
from delineate.explain.overlay import overlay_map
from delineate.files import atomic_path
from delineate.inference.predict import find_images
from delineate.inference.predictor import ImagePrediction, Predictor
from delineate.study.analyses.canvas import SERIES, sheet
from delineate.study.analyses.references import read_reference
from delineate.study.pictures import fitted_size

METHODS: dict[Method, str] = {
    "clnet": "CLNet, Eq. (2) and (3)",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
}
TABLE = "activation_maps.csv"
_LONGEST = 512  # pixels of a panel
_PANEL = 2.9  # inches


class Looked(NamedTuple):
    """Where a map looks; None where there is nothing to measure."""

    in_prediction: float | None
    in_reference: float | None
    hit: bool | None


def write_activation_maps(
    run: Path,
    images: Sequence[Path],
    out: Path,
    *,
    masks: Path | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Draw the three maps of each image, `<id>.png`, and write activation_maps.csv.

    The maps explain the predicted label; for a model without labels, the class with the largest predicted
    region. They are drawn and measured at the image's own size.

    Args:
        run: folder of a finished run.
        images: image files and folders.
        out: folder to write to.
        masks: folder with reference masks named as the images, or None; an image may lack one. Binary masks
            hold 0/1 or 0/255, those of several classes the index of the class.
        device: "auto" takes a GPU when there is one.
        progress: called with (done, all).

    Returns:
        The table: image, method, label, label_probability, share_in_prediction, share_in_reference, hit.

    Raises:
        InputError: no run, no images, an image or mask that cannot be read, a mask of another size than its
            image, or no mask for any image.
    """
    predictor = Predictor.load(run, device)
    files = find_images(images)
    references = {} if masks is None else find_images([masks])
    if masks is not None and not references.keys() & files.keys():
        raise InputError(f"{masks} holds no mask named as one of the images; give each the image's name.")
    rows: list[dict[str, object]] = []
    for done, (name, case) in enumerate(files.items(), 1):
        image = read_case_image(predictor.with_window(case))
        reference = read_reference(references.get(name), predictor.info.classes, image)
        prediction = predictor(image)
        label = None if prediction.label is None else predictor.choose_label(prediction.label)
        maps = {method: predictor.explain(image, method=method, prediction=prediction) for method in METHODS}
        looked = {method: where_it_looks(m, prediction.mask, reference) for method, m in maps.items()}
        for method, found in looked.items():
            probability = None if prediction.label is None or label is None else prediction.label[label]
            rows.append(
                {
                    "image": name,
                    "method": method,
                    "label": label,
                    "label_probability": probability,
                    "share_in_prediction": found.in_prediction,
                    "share_in_reference": found.in_reference,
                    "hit": None if found.hit is None else int(found.hit),
                }
            )
        title = _title(name, label, prediction)
        draw_maps(out / f"{name}.png", title, image, maps, looked, mask=prediction.mask, reference=reference)
        if progress is not None:
            progress(done, len(files))
    table = pd.DataFrame(rows).astype({"hit": "Int64"})
    with atomic_path(out / TABLE) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    return table


def where_it_looks(
    activation: NDArray[np.float32],
    mask: NDArray[np.uint8] | None,
    reference: NDArray[np.uint8] | None,
) -> Looked:
    """Measure a map against masks.

    Args:
        activation: (H, W), at least 0.
        mask: (H, W) predicted class indices, 0 background, or None.
        reference: the same of the reference, or None.

    Returns:
        Shares in [0, 1]. Of several equal largest values the first, row by row, decides the hit.
    """
    total = float(activation.sum(dtype=np.float64))
    if total <= 0:
        return Looked(None, None, None if reference is None else False)

    def share(region: NDArray[np.uint8] | None) -> float | None:
        return None if region is None else float(activation[region > 0].sum(dtype=np.float64)) / total

    hit = None if reference is None else bool(reference.ravel()[int(activation.argmax())] > 0)
    return Looked(share(mask), share(reference), hit)


def draw_maps(
    path: Path,
    title: str,
    image: NDArray[np.uint8],
    maps: dict[Method, NDArray[np.float32]],
    looked: dict[Method, Looked],
    *,
    mask: NDArray[np.uint8] | None,
    reference: NDArray[np.uint8] | None,
) -> None:
    """Draw the image and its maps side by side, with the outlines of prediction and reference.

    Args:
        path: the picture.
        title: above all panels.
        image: (H, W, 3) uint8.
        maps: method -> (H, W) in [0, 1].
        looked: method -> its figures, written below the panel.
        mask: (H, W) predicted class indices, or None.
        reference: the same of the reference, or None.
    """
    from matplotlib.lines import Line2D  # slow to import

    height, width = fitted_size(image, _LONGEST)
    small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    outlines: dict[str, tuple[NDArray[np.uint8] | None, str, Literal["-", "--"]]] = {
        "predicted outline": (mask, SERIES[1], "-"),
        "reference outline": (reference, "white", "--"),
    }
    panels = 1 + len(maps)
    with sheet(path, width=panels * _PANEL, height=_PANEL * height / width + 1.15) as figure:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
        axes = figure.subplots(1, panels)
        for panel, (method, text) in zip(axes, [(None, "image"), *METHODS.items()], strict=True):
            shown = small
            if method is not None:
                shown = overlay_map(small, _resized(maps[method], (height, width)))
                panel.set_xlabel(_caption(looked[method]), fontsize=8.5)
            panel.imshow(shown, interpolation="lanczos")
            drawn = [
                (_resized((region > 0).astype(np.float32), (height, width)), colour, line)
                for region, colour, line in outlines.values()
                if region is not None and region.any()
            ]
            for inside, _, _ in drawn:  # dark casings below all outlines keep them visible on any ground
                panel.contour(inside, [0.5], colors="black", linewidths=2.6, alpha=0.55)
            for inside, colour, line in drawn:
                panel.contour(inside, [0.5], colors=[colour], linewidths=1.5, linestyles=line)
            panel.set(title=text, xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
        lines = [
            Line2D([], [], color=colour if colour != "white" else "#9aa2ab", linestyle=line, label=text)
            for text, (region, colour, line) in outlines.items()
            if region is not None
        ]
        if lines:
            figure.legend(handles=lines, loc="outside lower left", ncols=2, frameon=False)


def _resized(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    picture = Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.float32)


def _title(name: str, label: str | None, prediction: ImagePrediction) -> str:
    if label is None or prediction.label is None:
        return f"{name}: what raises the predicted mask"
    return f"{name}: what raises the label {label} (probability {prediction.label[label]:.2f})"


def _caption(looked: Looked) -> str:
    parts = [
        f"{100 * share:.1f} % {words}"
        for share, words in (
            (looked.in_prediction, "inside the prediction"),
            (looked.in_reference, "inside the reference"),
        )
        if share is not None
    ]
    if parts and looked.hit is not None:
        parts.append("maximum inside the reference" if looked.hit else "maximum outside the reference")
    return "\n".join(parts) if parts else "nothing raises it"
