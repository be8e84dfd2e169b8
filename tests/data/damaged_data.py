"""Several hundred ways to damage a tiny data set, each the same on every run."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

from healthy_data import PICTURES, VOLUMES, Variant, image_bytes, mask_bytes
from lying_data import lying_pictures, lying_volumes, wild_masks


def _truncated_and_flipped(file: str, whole: bytes, seed: int) -> Iterator[Variant]:
    """Damage that any file may suffer on its way."""
    kind = file.replace("/bad", "")
    for part in (0.05, 0.3, 0.6, 0.9):
        content = whole[: int(len(whole) * part)]
        yield Variant(f"{kind}-cut-{part}", file, content, refused=part < 0.5)
    for length in (0, 1, 20):
        yield Variant(f"{kind}-first-{length}", file, whole[:length], refused=True)
    yield Variant(f"{kind}-last-byte-lost", file, whole[:-1])
    yield Variant(f"{kind}-start-lost", file, whole[len(whole) // 10 :])
    middle = len(whole) // 2
    yield Variant(f"{kind}-end-zeroed", file, whole[:middle] + bytes(len(whole) - middle))
    yield Variant(f"{kind}-twice", file, whole + whole)
    yield Variant(f"{kind}-zeros", file, bytes(len(whole)), refused=True)
    yield Variant(f"{kind}-random", file, random.Random(seed).randbytes(len(whole)), refused=True)
    page = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
    yield Variant(f"{kind}-web-page", file, page, refused=True)
    for number in range(6):
        chance = random.Random(f"{kind} {number}")
        content = bytearray(whole)
        reach = min(len(content), 400) if number % 2 else len(content)  # headers suffer the strangest faults
        for _ in range(1 if number < 4 else 25):
            content[chance.randrange(reach)] ^= 1 << chance.randrange(8)
        yield Variant(f"{kind}-flipped-{number}", file, bytes(content))


def _swapped() -> Iterator[Variant]:
    """The ending says one thing, the content another."""
    families = (PICTURES, ("nii", "nii.gz"), ("dcm",))  # within a family the content decides
    for family in families:
        for ending in family:
            for content in (*PICTURES, *VOLUMES):
                if content != ending:
                    name, file = f"{content}-named-{ending}", f"images/bad.{ending}"
                    yield Variant(name, file, image_bytes(content), refused=content not in family)
    for ending in PICTURES:
        yield Variant(f"image-as-mask-{ending}", f"masks/bad.{ending}", image_bytes(ending), refused=True)


def _tables() -> Iterator[Variant]:
    head = {
        "labels": ("image_id,label", "benign"),
        "split": ("image_id,split", "train"),
        "groups": ("image_id,group", "p1"),
        "spacing": ("image_id,row_mm,column_mm", "0.5,0.5"),
        "classes": ("value,name", "lesion"),
    }
    for table, (columns, cells) in head.items():
        key = "255" if table == "classes" else "bad"
        good = f"{columns}\n{key},{cells}\n"
        contents = {
            "empty": b"",
            "nul-bytes": good.encode() + b"\0\0\0,\0\n",
            "utf-16": good.encode("utf-16"),
            "latin-1": good.encode() + "fine,\xe9\xff".encode("latin-1"),
            "semicolons": good.replace(",", ";").encode(),
            "open-quote": good.encode() + b'fine,"x\n',
            "quote-in-cell": good.encode() + b'fine,"x"y\n',
            "more-cells": good.encode() + b"fine,x,x,x,x\n",
            "fewer-cells": good.encode() + b"fine\n",
            "twice": good.encode() + good.partition("\n")[2].encode(),
            "empty-cell": good.encode() + b"fine,,\n",
            "giant-cell": good.encode() + b"fine," + b"x" * 200_000 + b"\n",
            "unknown-image": f"{columns}\nnobody,{cells}\n".encode(),
            "random": random.Random(table).randbytes(500),
            "picture": image_bytes("png"),
        }
        harmless = {"classes-unknown-image"}
        for name, content in contents.items():
            may_pass = f"{table}-{name}" in harmless or (name in ("giant-cell", "empty-cell", "fewer-cells"))
            yield Variant(f"{table}-{name}", f"{table}.csv", content, refused=not may_pass)
        for number in range(3):
            chance, content = random.Random(f"{table}{number}"), bytearray(good.encode())
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            yield Variant(f"{table}-flipped-{number}", f"{table}.csv", bytes(content))
    for cell in ("nan", "inf", "-1", "0", "1e999", "0x10", "", "١"):
        content = f"image_id,row_mm,column_mm\nbad,{cell},0.5\n".encode()
        yield Variant(f"spacing-of-{cell}", "spacing.csv", content, refused=cell != "١")
    for row in (
        "256,lesion",
        "-1,lesion",
        "1.5,lesion",
        "²,lesion",
        "255,background",
        "0,lesion",
        "255,a\n255,b",
    ):
        content = f"value,name\n{row}\n".encode()
        yield Variant(f"classes-of-{row!r}", "classes.csv", content, refused=True)
    yield Variant("split-of-nobody", "split.csv", b"image_id,split\nbad,holdout\n", refused=True)


def _strange_files() -> Iterator[Variant]:
    def folder(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.mkdir()

    def link(path: Path, to: str) -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(to)

    for where in ("images", "masks"):
        file = f"{where}/bad.png"
        yield Variant(f"{where}-folder", file, change=folder, refused=True)
        yield Variant(f"{where}-link-to-nothing", file, change=lambda path: link(path, "gone"), refused=True)
        yield Variant(
            f"{where}-link-to-itself", file, change=lambda path: link(path, path.name), refused=True
        )
        yield Variant(f"{where}-removed", file, change=os.remove, refused=where == "images")
    for name in (
        "bad\nline.png",
        "bad\udcff.png",
        "bad'\"`$(x).png",
        "bad" + "x" * 240 + ".png",
        "bad.png.png",
    ):
        yield Variant(f"name-{name[:12]!r}", f"images/{name}", image_bytes("png"))
    for name in ("bad.gif", "bad", "bad.png.part", "bad.webp"):
        yield Variant(f"name-{name}", f"images/{name}", image_bytes("png"), refused=True)


def variants() -> list[Variant]:
    """All of them; the names are unique."""
    found: list[Variant] = []
    for ending in (*PICTURES, *VOLUMES):
        found += _truncated_and_flipped(f"images/bad.{ending}", image_bytes(ending), len(found))
    for ending in ("png", "tif", "nii.gz"):
        found += _truncated_and_flipped(f"masks/bad.{ending}", mask_bytes(ending), len(found))
    for some in (_swapped, lying_pictures, wild_masks, lying_volumes, _tables, _strange_files):
        found += some()
    return found
