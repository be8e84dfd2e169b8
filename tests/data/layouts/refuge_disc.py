"""REFUGE with rim and cup together as the disc."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

from layouts import refuge

READER = SimpleNamespace(
    ABOUT=replace(refuge.READER.ABOUT, classes=("disc",)), index=partial(refuge.READER.index, classes="disc")
)
build = partial(refuge.build, indices=(0, 1))
remove_part = refuge.remove_part
