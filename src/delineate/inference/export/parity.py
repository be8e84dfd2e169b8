"""Does an exported graph say what PyTorch says?"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from delineate.checks import InputError
from delineate.inference.export.record import Parity
from delineate.inference.export.running import Run
from delineate.inference.predictor import Predictor

TOLERANCE = 1e-3
"""Largest difference of a probability, fp32; rounding gives about 1e-6, a grey level of a resized picture
up to about 1e-4."""
LOGITS_TOLERANCE = 1e-2
"""Largest difference of a logit, fp32, as a share of the largest logit (at least of 1). Where the network is
sure of every pixel, probabilities agree whatever the graph computes; logits do not."""
SHARE = 1e-3
"""Largest share of mask pixels of another class, fp32: pixels whose probability lies at the threshold."""


def builtin_pictures(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return batches of pictures, uint8 (B, H, W, 3), of sizes that exporters get wrong.

    The network's own size; larger, odd and oblong; smaller; a strip; a single pixel. Half of the pictures
    are smooth blobs, on which masks have outlines, half are noise, on which resizing errors show.

    Args:
        size: (height, width) of the network.
    """
    rng = np.random.default_rng(6)
    height, width = size
    larger = (height * 5 // 4 + 1, width * 7 // 4 + 3)
    sizes = [(1, height, width), (2, *larger), (3, height // 2 + 1, width // 3 + 2), (2, 5, 47), (1, 1, 1)]
    return [np.stack([_picture(rng, h, w, i % 2 == 0) for i in range(count)]) for count, h, w in sizes]


def _picture(rng: np.random.Generator, height: int, width: int, smooth: bool) -> NDArray[np.uint8]:
    if not smooth:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    rows, columns = np.mgrid[0:height, 0:width]
    place, reach = rng.uniform(0.3, 0.7, 2), rng.uniform(0.15, 0.35, 2)
    distance = ((rows / height - place[0]) / reach[0]) ** 2 + ((columns / width - place[1]) / reach[1]) ** 2
    inside = 1 / (1 + np.exp(8 * (distance - 1)))
    colours = rng.uniform((150, 110, 90), (230, 180, 160)), rng.uniform((40, 20, 10), (120, 70, 60))
    clean = colours[0] + inside[..., None] * (colours[1] - colours[0])
    return np.clip(clean + rng.normal(0, 4, clean.shape), 0, 255).astype(np.uint8)


def compare(
    predictor: Predictor,
    run: Run,
    batches: Iterable[NDArray[np.uint8]],
    *,
    pictures: str = "built-in",
    tolerance: float | None = TOLERANCE,
) -> Parity:
    """Run pictures through PyTorch and through an exported graph.

    Args:
        predictor: the run in PyTorch, on the CPU: reads pictures as `delineate predict` does.
        run: the exported graph, see `open_whole`.
        batches: uint8 (B, H, W, 3).
        pictures: where they come from.
        tolerance: stated in the result; `accept` applies it.

    Returns:
        The differences.
    """
    cases: list[tuple[int, int, int]] = []
    largest = dict.fromkeys(("probability", "label_probability", "mask_logits", "label_logits"), 0.0)
    scales = {"mask_logits": 1.0, "label_logits": 1.0}
    pixels = differ = 0
    for batch in batches:
        cases.append((batch.shape[0], batch.shape[1], batch.shape[2]))
        found = run(batch)
        logits = predictor.forward(list(batch))
        for name, expected in (("mask_logits", logits.mask), ("label_logits", logits.label)):
            if expected is not None:
                _widen(largest, name, found[name], expected.numpy())
                scales[name] = max(scales[name], float(expected.abs().max()))
        for i, one in enumerate(predictor.predict(list(batch))):
            if one.mask is not None and one.probability is not None:
                _widen(largest, "probability", found["probability"][i], one.probability)
                pixels += one.mask.size
                differ += int((found["mask"][i] != one.mask).sum())
            if one.label is not None:
                labels = np.array([*one.label.values()])
                _widen(largest, "label_probability", found["label_probability"][i], labels)
    return Parity(
        pictures=pictures,
        cases=tuple(cases),
        tolerance=tolerance,
        probability=largest["probability"],
        label_probability=largest["label_probability"] if predictor.info.labels else None,
        mask_logits=largest["mask_logits"],
        label_logits=largest["label_logits"] if predictor.info.labels else None,
        largest_mask_logit=scales["mask_logits"],
        largest_label_logit=scales["label_logits"],
        pixels=pixels,
        pixels_that_differ=differ,
    )


def _widen(
    largest: dict[str, float], name: str, found: NDArray[np.floating], expected: NDArray[np.floating]
) -> None:
    if found.shape != expected.shape:
        raise InputError(
            f"The exported graph gives {name} of shape {found.shape}, PyTorch {expected.shape}; "
            "it was not written."
        )
    difference = float(np.abs(found.astype(np.float64) - expected).max(initial=0.0))
    # A NaN on either side must not pass as small.
    largest[name] = max(largest[name], difference) if np.isfinite(difference) else float("inf")


def accept(parity: Parity, name: str) -> None:
    """Refuse an export that differs from PyTorch by more than the tolerance, or whose numbers are none.

    Args:
        parity: the differences; without a tolerance only what is not finite is refused.
        name: of the export, for the message.

    Raises:
        InputError: a probability, a logit or too many mask pixels differ.
    """
    logits = (parity.mask_logits, parity.label_logits or 0.0)
    if not np.isfinite([parity.probability, parity.label_probability or 0.0, *logits]).all():
        raise InputError(
            f"The {name} export gives numbers that are not finite; it was not written, choose another "
            "precision or format."
        )
    if parity.tolerance is None:
        return
    worst = max(parity.probability, parity.label_probability or 0.0)
    if worst > parity.tolerance:
        raise InputError(
            f"The {name} export differs from PyTorch by {worst:.2g} in probability, more than "
            f"{parity.tolerance:g}; it was not written."
        )
    for difference, scale in zip(
        logits, (parity.largest_mask_logit, parity.largest_label_logit), strict=True
    ):
        if difference > LOGITS_TOLERANCE * scale:
            raise InputError(
                f"The {name} export differs from PyTorch by {difference:.2g} in a logit, more than a "
                "hundredth of the largest; it was not written."
            )
    if parity.pixels_that_differ > SHARE * parity.pixels:
        raise InputError(
            f"The {name} export gives {parity.pixels_that_differ} of {parity.pixels} mask pixels another "
            f"class than PyTorch, more than {SHARE:.1%}; it was not written."
        )


def check_network(network: Run, whole: Run, size: tuple[int, int], name: str, *, exact: bool) -> None:
    """See to it that the network alone, which a backend runs, says what the whole graph says.

    Args:
        network: from uint8 (B, 3, h, w) to the logits.
        whole: from uint8 (B, H, W, 3) to all outputs.
        size: (height, width) of the network.
        name: of the export, for the message.
        exact: compare the logits; else only see whether it runs (in int8 and bf16 either may round apart).

    Raises:
        InputError: it does not run, or the logits differ.
    """
    pictures = np.concatenate([builtin_pictures(size)[0]] * 2)
    alone, expected = network(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))), whole(pictures)
    for key, value in alone.items():
        scale = max(1.0, float(np.abs(expected[key]).max()))
        if exact and not np.allclose(value, expected[key], atol=TOLERANCE * scale, rtol=0):
            raise InputError(f"The network in the {name} export differs from the whole graph in {key}.")
