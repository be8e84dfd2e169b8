"""BUSI as papers read it that overlook all but the first mask file."""

from functools import partial
from types import SimpleNamespace

from layouts import busi

READER = SimpleNamespace(ABOUT=busi.READER.ABOUT, index=partial(busi.READER.index, masks="first"))
build = busi.build
