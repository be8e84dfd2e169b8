"""The public names: few, present, and quick to import."""

import subprocess
import sys

import pytest

import delineate

NAMES = {
    "Case", "InputError", "Prediction", "Predictor", "Recipe", "__version__", "activation_map",
    "create_model", "evaluate", "list_models", "load_recipe", "train",
}  # fmt: skip


def test_public_names_are_these_and_not_more():
    assert set(delineate.__all__) == NAMES  # a removal breaks users: say so in CHANGELOG.md
    assert len(NAMES) <= 12


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_public_name_loads(name):
    assert getattr(delineate, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(delineate, "nothing")  # noqa: B009 - the plain form is a useless expression


def test_import_is_light_and_changes_nothing_global():
    heavy = "{'torch', 'lightning', 'timm', 'monai', 'matplotlib'}"
    code = f"import sys, delineate; print({heavy} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"
