"""Checks at the border of the package: choose from a table, ask for an optional package."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Something a user gave is wrong; the message is one sentence: the thing, the rule, the remedy."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the option closest to `name`, or the list of all options.

    The result starts with a space, so it can be appended to a sentence; without options it is empty.
    """
    known = sorted(options)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Choose from: {', '.join(known)}." if known else ""


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Look `name` up in `table`, never falling back to something else.

    Args:
        kind: what the table holds, for the message: "model", "loss", "metric".
        name: the key that was asked for.
        table: all there is.

    Raises:
        InputError: `name` is not a key of `table`; the message offers the closest one.
    """
    if name not in table:
        raise InputError(f"Unknown {kind} {name!r}.{did_you_mean(name, table)}")
    return table[name]


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Args:
        package: import name, for example "nibabel".
        extra: the extra of delineate that installs it, for example "nifti".

    Raises:
        InputError: the package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        remedy = f"pip install 'delineate[{extra}]'"
        raise InputError(f"This needs the package {package!r}; run: {remedy}.") from error
