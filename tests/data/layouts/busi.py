"""BUSI: a folder per class, one mask file per lesion, some of them in colour as in the original."""

from tiny_data import disc, picture, save

from delineate.data.readers import busi
from layouts import Expected

READER = busi


def build(root):
    top = root / "Dataset_BUSI_with_GT"
    expected = []
    for label, numbers in (("benign", (1, 2, 10)), ("malignant", (1,)), ("normal", (1, 2))):
        for number in numbers:
            name = f"{label} ({number})"
            save(picture(number), top / label / f"{name}.png")
            mask = disc(number) * (label != "normal")
            mask = mask.repeat(3).reshape(*mask.shape, 3) if number == 2 else mask > 0
            save(mask, top / label / f"{name}_mask.png")
            indices = {0} if label == "normal" else {0, 1}
            expected.append(Expected(name, label=label, indices=frozenset(indices)))
    for number in (1, 2):
        save(disc(number + 5), top / "benign" / f"benign (10)_mask_{number}.png")
    return expected
