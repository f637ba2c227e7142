"""Every recipe of configs/ parses as its first lines say, and those of the published tutorials have their settings."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from dynml.cli.commands.train import parse_training
from dynml.configuration import config_to_dictionary

RECIPES = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
DYNEMO = {
    "inference_n_units": 64,
    "inference_normalization": "layer",
    "model_n_units": 64,
    "model_normalization": "layer",
    "learn_alpha_temperature": True,
    "initial_alpha_temperature": 1.0,
    "learn_means": False,
    "learn_covariances": True,
    "do_kl_annealing": True,
    "kl_annealing_curve": "tanh",
    "n_modes": 6,
}
PUBLISHED = {
    "dynemo_prepared": {
        "model": {**DYNEMO, "sequence_length": 100, "kl_annealing_sharpness": 5, "n_kl_annealing_epochs": 10},
        "sampler": {"batch_size_training": 256},
        "trainer": {"learning_rate": 0.01, "max_epochs": 20},
    },
    "dynemo_soft_mixture": {
        "model": {**DYNEMO, "sequence_length": 200, "kl_annealing_sharpness": 10, "n_kl_annealing_epochs": 100},
        "sampler": {"batch_size_training": 16},
        "trainer": {"learning_rate": 0.01, "max_epochs": 200},
    },
    "hmm_prepared": {
        "model": {"n_states": 6, "learn_means": False, "learn_covariances": True},
        "trainer": {"max_epochs": 20},
    },
    "learning_from_brains_autoencoder": {
        "model": {"embedding_dim": 768, "n_layers": 2, "dropout": 0.2, "teacher_forcing_ratio": 0.5},
        "sampler": {"batch_size_training": 192},
        "trainer": {"learning_rate": 0.0002, "weight_decay": 0.1},
    },
    "learning_from_brains_decoding": {
        "model": {"backbone": None, "fine_tuning": "full", "pooling": "class_token", "linear_answer": "none"},
        "sampler": {"batch_size_training": 64},
        "trainer": {"learning_rate": 0.0001, "max_epochs": None, "max_steps": 10000, "warmup_steps": 100},
    },
}
"""What the tutorials of osl-dynamics pass to their Config, and the published settings of learning-from-brains."""


def comments_of(recipe):
    return [line[1:].strip() for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("#")]


def request_of(recipe, monkeypatch, *options):
    """The run that the recipe's own command asks for, with further options."""
    command = next(line for line in comments_of(recipe) if line.startswith("dynml_train_model.py "))
    words = shlex.split(command)
    assert Path(words[words.index("--config") + 1]).name == recipe.name
    words[words.index("--config") + 1] = str(recipe)
    monkeypatch.setattr("sys.argv", [*words, *options])
    return parse_training(None)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_is_what_its_command_runs(recipe, monkeypatch):
    request = request_of(recipe, monkeypatch)
    for group, settings in yaml.safe_load(recipe.read_text(encoding="utf-8")).items():
        in_force = config_to_dictionary(request.configs[group])
        assert {name: in_force[name] for name in settings} == settings, group


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_what_a_recipe_offers_beside_itself_is_accepted(recipe, monkeypatch):
    offered = [word for line in comments_of(recipe) if line.startswith("--") for word in shlex.split(line)]
    configs = request_of(recipe, monkeypatch, *offered).configs
    for option, text in zip(offered[::2], offered[1::2]):
        group, name = re.fullmatch(r"--(\w+)\.(\w+)", option).groups()
        assert getattr(configs[group], name) == yaml.safe_load(text), option


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_of_tutorials_have_the_published_settings(name, monkeypatch):
    recipe = next(path for path in RECIPES if path.stem == name)
    request = request_of(recipe, monkeypatch)
    for group, settings in PUBLISHED[name].items():
        in_force = config_to_dictionary(request.configs[group])
        assert {key: in_force[key] for key in settings} == settings, group
