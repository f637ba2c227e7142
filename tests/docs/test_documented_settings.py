"""Tables of settings in the guide are made from the code, every script is shown in use; test_reference has the rest."""

import re
import sys
from pathlib import Path

import pytest

from dynml.cli.commands.simulate import KINDS
from dynml.models.registry import FAMILIES
from dynml.simulation import PhaseMultiplicationSimulationConfig

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
tables = pytest.importorskip("reference_tables")
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
CHOSEN = re.compile(r"^```\{settings\} (\S+) ?(\S*)\n(.+?)^```$", flags=re.MULTILINE | re.DOTALL)
SHOWN = [(page, *found) for page, text in PAGES.items() for found in CHOSEN.findall(text)]
WITH_SETTINGS = {
    *("training_hmm", "training_dynemo", "training_sequence_models", "decoding", "own_model", "store"),
    *("comet_and_tensorboard", "simulation", "simulation_dynamics"),
}


def test_pages_of_the_guide_show_the_usual_settings():
    assert {page for page, *_ in SHOWN} >= WITH_SETTINGS


@pytest.mark.parametrize(
    ("page", "what", "name", "chosen"), SHOWN, ids=[f"{one[0]}-{one[1]}-{one[2]}" for one in SHOWN]
)
def test_chosen_settings_are_those_of_the_code(page, what, name, chosen):
    rows = re.findall(r"^\| `([\w.]+)` \| .+ \|$", tables.rows_of(what, name, chosen.split()), flags=re.MULTILINE)
    assert rows == chosen.split()


def test_a_setting_that_there_is_not_is_refused():
    with pytest.raises(KeyError, match=r"model\.n_stats"):
        tables.rows_of("family", "hmm", ["model.n_stats"])


def test_no_page_has_a_table_of_settings_by_hand():
    """Defaults that stand in a page go stale."""
    assert {page for page, text in PAGES.items() if re.search(r"^\|? ?setting \| default", text, re.M)} == set()


def test_every_script_is_shown_in_use():
    pages = [(ROOT / "README.md").read_text(encoding="utf-8"), *PAGES.values()]
    commands = "\n".join(block for page in pages for block in re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S))
    for script in sorted((ROOT / "scripts_python").glob("dynml_*.py")):
        assert re.search(rf"^{script.name} ", commands, flags=re.MULTILINE), script.name


def test_simulated_nonlinear_maps_have_the_channels_that_the_page_says():
    page = " ".join(PAGES["simulation_dynamics"].split())
    assert f"`n_channels` is {PhaseMultiplicationSimulationConfig().n_channels} here" in page


def test_there_is_no_family_or_simulation_that_the_guide_does_not_know():
    families = ["autoencoder", "csm", "decoding", "dynemo", "hmm", "network_bert", "sequence_bert"]
    kinds = ["hmm", "hsmm", "mixed_sine", "phase_multiplication", "sines", "switching_var", "var"]
    assert (sorted(FAMILIES), sorted(KINDS)) == (families, kinds)


def test_every_dependency_is_explained():
    needed = re.findall(r"^([\w-]+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    rows = re.findall(r"^([\w ,-]+) \| ", PAGES["installation"], flags=re.MULTILINE)
    assert set(needed) <= {name for row in rows for name in row.split(", ")}
