"""Segment, classify, explain and honestly measure 2-D medical images. For research, not for diagnosis.

The names below are loaded when they are first used, so that `import delineate` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from delineate.version import __version__

if TYPE_CHECKING:
    from delineate.checks import InputError
    from delineate.config import Recipe
    from delineate.data.case import Case
    from delineate.explain.activation import activation_map
    from delineate.inference.evaluate import evaluate
    from delineate.inference.predictor import Predictor
    from delineate.models import create_model, list_models
    from delineate.models.prediction import Prediction
    from delineate.recipe_io import load_recipe
    from delineate.training.fit import train

_HOME = {
    "Case": "delineate.data.case",
    "InputError": "delineate.checks",
    "Prediction": "delineate.models.prediction",
    "Predictor": "delineate.inference.predictor",
    "Recipe": "delineate.config",
    "activation_map": "delineate.explain.activation",
    "create_model": "delineate.models",
    "evaluate": "delineate.inference.evaluate",
    "list_models": "delineate.models",
    "load_recipe": "delineate.recipe_io",
    "train": "delineate.training.fit",
}

__all__ = [
    "Case",
    "InputError",
    "Prediction",
    "Predictor",
    "Recipe",
    "__version__",
    "activation_map",
    "create_model",
    "evaluate",
    "list_models",
    "load_recipe",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'delineate' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
