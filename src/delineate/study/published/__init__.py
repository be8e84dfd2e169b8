"""Published values of the five papers' tables, and what a measured score has to be called to stand beside."""

from delineate.study.published.beside import beside_published
from delineate.study.published.conventions import Convention, averaging_gap, conventions
from delineate.study.published.reader import PAPERS, PublishedValue, load_published, published_values

__all__ = [
    "PAPERS",
    "Convention",
    "PublishedValue",
    "averaging_gap",
    "beside_published",
    "conventions",
    "load_published",
    "published_values",
]
