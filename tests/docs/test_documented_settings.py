"""Tables of the guide have the defaults of the code, every script is shown in use; test_reference has the rest."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from dynml.cli.commands.simulate import KINDS
from dynml.cli.commands.train import LOGGERS
from dynml.conversion.config import StoreConfig, defaults_of_keys
from dynml.dataset.config import DatasetConfig
from dynml.models.registry import FAMILIES, get_family
from dynml.models.sequence.decoding.config import FREE_SETTINGS, SIZES
from dynml.simulation import (
    HMMSimulationConfig,
    HSMMSimulationConfig,
    MixedSineSimulationConfig,
    PhaseMultiplicationSimulationConfig,
    SinesSimulationConfig,
    SwitchingVarSimulationConfig,
    VarSimulationConfig,
)
from dynml.store.layout import TOP_LEVEL_KEYS
from dynml.training.config import RunConfig, TrainerConfig

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([\w.]+)` \| (\S.*?) \| (\S.*?) \|$", flags=re.MULTILINE)
BACKBONE_OR_SETTLED = {
    *(*SIZES, *FREE_SETTINGS),
    *(
        "class_names",
        "class_counts",
        "n_training_trials",
        "value_moments",
        "trial_length",
        "answer_bands",
        "backbone_settings",
        "pretraining_overlap",
    ),
}
JSON_WORDS = {"null": None, "true": True, "false": False}


def rows_of(page):
    """Rows `name | default | meaning` of a page's tables: name to default."""
    return {name: default for name, default, _ in ROW.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))}


def documented_value(text):
    """A default as a Python value; "needed" where there is none, a word where it is not in quotes."""
    if text == "needed":
        return dataclasses.MISSING
    assert re.fullmatch(r"`.*`", text), text
    word = text.strip("`")
    if word in JSON_WORDS:
        return JSON_WORDS[word]
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


def defaults_of(config_class):
    return {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(config_class)
    }


def hmm_settings():
    family = get_family("hmm")
    groups = {"dataset": DatasetConfig, **family.config_classes()}
    settings = {f"{group}.{name}": value for group, kind in groups.items() for name, value in defaults_of(kind).items()}
    for group, defaults in {"sampler": family.sampler_defaults, "loader": family.loader_defaults}.items():
        settings |= {f"{group}.{name}": value for name, value in defaults.items()}
    return settings


def dynemo_settings():
    """Model, start and trainer; what stands on the HMM's page only where DyNeMo states it anew."""
    family = get_family("dynemo")
    classes = family.config_classes()
    groups = {group: defaults_of(kind) for group, kind in classes.items()}
    own = {*defaults_of(TrainerConfig), *classes["trainer"].__annotations__} - set(defaults_of(RunConfig)) | {
        "max_epochs"
    }
    trainer = {name: value for name, value in groups["trainer"].items() if name in own}
    chosen = {"model": groups["model"], "initialization": groups["initialization"], "trainer": trainer}
    settings = {f"{group}.{name}": value for group, own in chosen.items() for name, value in own.items()}
    for group, defaults in {"sampler": family.sampler_defaults, "loader": family.loader_defaults}.items():
        settings |= {f"{group}.{name}": value for name, value in defaults.items()}
    return settings


def sequence_settings():
    """Models of the sequence families, and what their trainer and sampler state anew; deviations stand in the text."""
    settings = {}
    for name in ("autoencoder", "network_bert", "sequence_bert", "csm"):
        classes = get_family(name).config_classes()
        settings |= {f"model.{key}": value for key, value in defaults_of(classes["model"]).items()}
    trainer = get_family("csm").config_classes()["trainer"]
    return settings | {f"trainer.{key}": defaults_of(trainer)[key] for key in trainer.__annotations__}


def decoding_settings():
    """What only a decoder has: sizes of its backbone are those of the sequence models."""
    classes = get_family("decoding").config_classes()
    model = {name: value for name, value in defaults_of(classes["model"]).items() if name not in BACKBONE_OR_SETTLED}
    trainer = {name: defaults_of(classes["trainer"])[name] for name in classes["trainer"].__annotations__}
    settings = {"model": model, "trainer": trainer}
    return {f"{group}.{name}": value for group, own in settings.items() for name, value in own.items()}


def gradient_settings():
    own = defaults_of(TrainerConfig)
    return {f"trainer.{name}": value for name, value in own.items() if name not in defaults_of(RunConfig)}


def logger_settings():
    return {f"{group}.{name}": value for group, kind in LOGGERS.items() for name, value in defaults_of(kind).items()}


def store_settings():
    whole = {name: value for name, value in defaults_of(StoreConfig).items() if name in TOP_LEVEL_KEYS}
    return defaults_of_keys() | whole


def without(settings, name):
    return {other: value for other, value in settings.items() if other != name}


SETTINGS_OF_PAGES = [
    ("training_hmm.md", hmm_settings()),
    ("training_dynemo.md", dynemo_settings()),
    ("training_sequence_models.md", sequence_settings()),
    ("decoding.md", decoding_settings()),
    ("own_model.md", gradient_settings()),
    ("store.md", store_settings()),
    ("comet_and_tensorboard.md", logger_settings()),
    ("simulation.md", defaults_of(HMMSimulationConfig)),
    ("simulation.md", defaults_of(HSMMSimulationConfig)),
    ("simulation.md", defaults_of(MixedSineSimulationConfig)),
    ("simulation_dynamics.md", defaults_of(VarSimulationConfig)),
    ("simulation_dynamics.md", defaults_of(SwitchingVarSimulationConfig)),
    ("simulation_dynamics.md", defaults_of(SinesSimulationConfig)),
    # Its number of channels is another one, and stands in its own section.
    ("simulation_dynamics.md", without(defaults_of(PhaseMultiplicationSimulationConfig), "n_channels")),
]


@pytest.mark.parametrize(
    ("page", "settings"),
    SETTINGS_OF_PAGES,
    ids=[
        "hmm",
        "dynemo",
        "sequence",
        "decoding",
        "gradients",
        "store",
        "loggers",
        "simulation",
        "hsmm",
        "mixed_sine",
        "var",
        "switching_var",
        "sines",
        "phase_multiplication",
    ],
)
def test_every_row_has_the_default_of_the_code(page, settings):
    rows = {name: default for name, default in rows_of(page).items() if name in settings}
    assert rows, "no usual setting is shown"
    assert {name: documented_value(default) for name, default in rows.items()} == {
        name: settings[name] for name in rows
    }


@pytest.mark.parametrize("page", sorted({page for page, _ in SETTINGS_OF_PAGES}))
def test_no_row_names_a_setting_that_there_is_not(page):
    known = {name for other, settings in SETTINGS_OF_PAGES if other == page for name in settings}
    dotted = {name for name in rows_of(page) if name.split(".")[0] in {setting.split(".")[0] for setting in known}}
    assert {name for name in dotted if "." in name} <= known, "rows of settings that there are not"


def test_every_script_is_shown_in_use():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    commands = "\n".join(
        block for page in pages for block in re.findall(r"^```bash\n(.*?)^```$", page.read_text(), re.M | re.S)
    )
    for script in sorted((ROOT / "scripts_python").glob("dynml_*.py")):
        assert re.search(rf"^{script.name} ", commands, flags=re.MULTILINE), script.name


def test_simulated_nonlinear_maps_have_the_channels_that_the_page_says():
    page = (ROOT / "docs" / "simulation_dynamics.md").read_text(encoding="utf-8")
    assert f"`n_channels` is {PhaseMultiplicationSimulationConfig().n_channels} here" in " ".join(page.split())


def test_there_is_no_family_or_simulation_that_the_guide_does_not_know():
    families = ["autoencoder", "csm", "decoding", "dynemo", "hmm", "network_bert", "sequence_bert"]
    kinds = ["hmm", "hsmm", "mixed_sine", "phase_multiplication", "sines", "switching_var", "var"]
    assert (sorted(FAMILIES), sorted(KINDS)) == (families, kinds)


def test_every_dependency_is_explained():
    needed = re.findall(r"^([\w-]+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    page = (ROOT / "docs" / "installation.md").read_text()
    explained = {name for row in re.findall(r"^\| ([\w ,-]+) \|", page, flags=re.MULTILINE) for name in row.split(", ")}
    assert set(needed) <= explained
