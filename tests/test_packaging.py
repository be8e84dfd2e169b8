"""A built wheel holds the data files and works without the source tree."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from delineate.recipe_io import recipe_names

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"  # setuptools writes build/ into its source tree; keep that out of the checkout
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "src").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_recipes_templates_and_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"delineate/recipes/{name}.yaml" for name in recipe_names()} <= names
    assert {"delineate/py.typed", "delineate/study/templates/run.html"} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]


def test_the_wheel_runs_from_itself(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import delineate; "
        "from delineate.recipe_io import load_recipe, recipe_names; "
        "assert delineate.__file__.startswith(sys.argv[1]); "
        "print(len([load_recipe(name) for name in recipe_names()]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert int(output) == len(recipe_names())


def test_the_lock_holds_names_and_versions_only():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert len(lines) > 50
    for line in lines:
        requirement = line.partition(" ; ")[0]
        assert requirement.count("==") == 1, line
        assert not set(requirement) & set("@/:\\ "), line
