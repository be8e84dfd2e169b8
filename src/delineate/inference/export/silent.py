"""OpenVINO and NNCF without their usage statistics.

Both report to a server of their makers when they are imported and used, without being asked to. They do
without where the package `openvino_telemetry` is missing; so it is missing while they are imported.
"""

import sys
from types import ModuleType
from typing import Any, cast

from delineate.checks import require

_STATISTICS = "openvino_telemetry"


def openvino() -> Any:
    """Import OpenVINO.

    Raises:
        InputError: it is not installed.
    """
    return _import("openvino")


def nncf() -> Any:
    """Import NNCF.

    Raises:
        InputError: it is not installed.
    """
    _import("openvino")
    return _import("nncf")


def _import(package: str) -> ModuleType:
    if package in sys.modules:
        return sys.modules[package]
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    hidden = {name: modules.pop(name) for name in list(modules) if name.split(".")[0] == _STATISTICS}
    modules[_STATISTICS] = None  # an import of it fails
    try:
        return require(package, "export")
    finally:
        del modules[_STATISTICS]
        modules.update(hidden)
