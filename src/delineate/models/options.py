"""Check the options of a model or plug-in against the types in its table row."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from delineate.checks import InputError, did_you_mean

OptionTable = Mapping[str, tuple[Any, Any]]
"""Name -> (type, default) of each option. A type is int (positive), float (at least 0), bool, str, a Literal,
tuple[int, ...] or a union of the plain ones."""


def check_options(name: str, options: Mapping[str, object], table: OptionTable) -> dict[str, Any]:
    """Return `options` with lists as tuples and whole numbers as floats where a float is wanted.

    Args:
        name: of the model, for messages.
        options: what the user gave.
        table: what there is.

    Raises:
        InputError: an unknown option, or a value of the wrong type.
    """
    checked: dict[str, Any] = {}
    for option, value in options.items():
        if option not in table:
            hint = did_you_mean(option, table) or " It has none."
            raise InputError(f"Unknown option {option!r} of model {name!r}.{hint}")
        checked[option] = _checked(name, option, value, table[option][0])
    return checked


def _checked(name: str, option: str, value: object, kind: Any) -> object:
    start = f"Option {option!r} of model {name!r} must be"
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        # 1 == True in Python, so the type has to agree too.
        if not any(value == a and type(value) is type(a) for a in allowed):
            raise InputError(f"{start} one of {', '.join(map(repr, allowed))}, got {value!r}.")
        return value
    if get_origin(kind) is tuple:
        if isinstance(value, (list, tuple)) and value and all(type(v) is int and v > 0 for v in value):
            return tuple(value)
        raise InputError(f"{start} a list of positive whole numbers, got {value!r}.")
    if kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
            return float(value)
        raise InputError(f"{start} a number of at least 0, got {value!r}.")
    kinds = get_args(kind) or (kind,)
    if type(value) not in kinds or (type(value) is int and value <= 0):
        names = {int: "a positive whole number", bool: "true or false", str: "a text"}
        raise InputError(f"{start} {' or '.join(names[k] for k in kinds)}, got {value!r}.")
    return value
