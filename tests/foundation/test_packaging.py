"""What is built and published has all that the documented commands need, and says so of itself."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dynml.version import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The package as a wheel would hold it."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "setup.py", "-q", "egg_info", "-e", str(folder), "build_py", "-d", str(folder / "lib")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder / "lib" / "dynml"


def metadata():
    """Keywords of `setup(...)` that are plain values."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    call = next(
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    return {keyword.arg: keyword.value for keyword in call.keywords}


@pytest.mark.parametrize(
    ("folder", "pattern", "source"),
    [
        ("configs", "*.yaml", "configs"),
        ("scripts_python", "dynml_*.py", "scripts_python"),
        ("datasets/haxby2001", "*", "dynml/datasets/haxby2001"),
        ("report/templates", "*", "dynml/report/templates"),
    ],
)
def test_recipes_scripts_data_and_templates_are_in_the_package(built, folder, pattern, source):
    there = {path.name: path.read_bytes() for path in (built / folder).glob(pattern)}
    assert there == {path.name: path.read_bytes() for path in (ROOT / source).glob(pattern)}
    assert there


def test_the_built_package_finds_its_own_recipes_and_scripts(built, tmp_path):
    statement = (
        "from dynml.cli.shipped import recipe_path; from dynml.cli.console import commands; "
        "print(recipe_path('haxby_hmm')); print(commands()['train'])"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(built.parent)!r}); {statement}"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    recipe, script = map(Path, done.stdout.split())
    assert built in recipe.parents
    assert built in script.parents


def test_the_core_needs_neither_comet_nor_dipy():
    settings = metadata()
    core = ast.literal_eval(settings["install_requires"])
    assert not [name for name in core if name.startswith(("comet", "dipy"))]
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert "dipy==" in pinned
    assert "comet-ml==" in pinned


def test_the_same_version_and_requirements_stand_everywhere():
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (recipe["context"]["version"], citation["version"]) == (__version__, __version__)
    conda_names = {"torch": "pytorch", "matplotlib": "matplotlib-base", "jsonargparse[signatures]": "jsonargparse"}
    needed = [requirement.split(">=") for requirement in ast.literal_eval(metadata()["install_requires"])]
    assert {f"{conda_names.get(name, name.lower())} >={least}" for name, least in needed} <= set(
        recipe["requirements"]["run"]
    )


def test_all_versions_of_python_that_are_claimed_are_tried():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["wheel"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_the_source_distribution_has_what_its_manifest_names():
    manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8")
    files = re.findall(r"^include (.*)$", manifest, flags=re.MULTILINE)[0].split()
    folders = re.findall(r"^graft (.*)$", manifest, flags=re.MULTILINE)
    assert [name for name in files if not (ROOT / name).is_file()] == []
    assert [name for name in folders if not (ROOT / name).is_dir()] == []
    assert {"tests", "docs", "configs", "scripts_python"} <= set(folders)


def test_the_assumed_address_of_the_repository_stands_in_one_place_and_in_the_links_of_the_readme():
    files = ["CITATION.cff", "Dockerfile", "pyproject.toml", "packaging/conda/recipe.yaml"]
    address = re.search(r'^REPOSITORY = "(.+)"$', (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert [name for name in files if address in (ROOT / name).read_text(encoding="utf-8")] == []
    linked = re.findall(r"https://github\.com/[\w-]+/[\w-]+", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert set(linked) == {address}
