"""Help shows a screen of usual settings first, all that the family uses on demand, and types in words."""

import dataclasses
import re
from typing import Any, Literal

import pytest

from dynml.cli.commands.selection.select_model import parse_selection
from dynml.cli.commands.train import parse_training
from dynml.cli.help import type_in_words
from dynml.dataset.config import CONDITIONING, FURTHER_GROUPS
from dynml.models.hmm.config import AUGMENTATIONS
from dynml.models.registry import family_names, get_family

LINES_OF_A_SCREEN = 80


def help_of(family, option, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["dynml_train_model.py", family, option])
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        parse_training("Train a model.")
    assert end.value.code == 0
    return capsys.readouterr().out


def is_offered(setting, text):
    """Followed by its values, or, from Python 3.13 on, by its other name."""
    return re.search(rf"--{re.escape(setting)}[ ,\n]", text) is not None


@pytest.mark.parametrize("name", family_names())
def test_usual_settings_fill_a_screen_and_all_others_are_shown_on_demand(name, monkeypatch, capsys):
    family = get_family(name)
    first, everything = (help_of(name, option, monkeypatch, capsys) for option in ("--help", "--help-all"))
    assert len(first.splitlines()) <= LINES_OF_A_SCREEN
    assert "--help-all shows them" in first
    of_all = {
        f"{group}.{field.name}" for group, kind in family.config_classes().items() for field in dataclasses.fields(kind)
    }
    # masking_rate is the only usual setting that not all sequence models have
    assert set(family.usual_settings) - of_all <= {"dataset.n_embeddings", "dataset.n_components", "model.masking_rate"}
    assert set(family.unused_settings) <= of_all | set(CONDITIONING)
    assert is_offered(CONDITIONING[0], everything) == (name in ("csm", "decoding"))
    assert is_offered(FURTHER_GROUPS, everything) == (name not in ("hmm", "dynemo", "decoding"))
    for setting in of_all:
        assert is_offered(setting, first) == (setting in family.usual_settings), setting
        assert is_offered(setting, everything) == (setting not in family.unused_settings), setting


def test_what_an_hmm_refuses_is_in_none_of_its_help(monkeypatch, capsys):
    shown = help_of("hmm", "--help-all", monkeypatch, capsys)
    assert [name for name in (*AUGMENTATIONS, "window_length", "trial_length") if f".{name} " in shown] == []
    assert "Path to a configuration file" not in shown


@pytest.mark.parametrize("family", [None, "hmm", "csm"])
def test_a_selection_shows_its_own_options_and_the_usual_settings_as_training_does(family, monkeypatch, capsys):
    texts = []
    for option in ("--help", "--help-all"):
        monkeypatch.setattr("sys.argv", ["dynml_select_model.py", *([family] if family else []), option])
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as end:
            parse_selection("Try settings.")
        assert end.value.code == 0
        texts.append(capsys.readouterr().out)
    first, everything = texts
    usage = " ".join(first.partition("\n\n")[0].split())
    assert usage.endswith("HDF5 GROUP --grid KEY=VALUES .. [--config FILE_OR_RECIPE] [--SETTING VALUE ..]")
    assert len(first.splitlines()) <= 1.2 * LINES_OF_A_SCREEN
    usual = get_family(family).usual_settings if family else ()
    assert [one for one in ("--grid", "--seeds", "--split_halves") if f"  {one} " not in first] == []
    assert [one for one in usual if (f"  --{one} " in first) != (f"  --{one} " in everything)] == []
    assert [one for one in ("--trainer.seed", "--dataset.held_out", "--comet.mode") if one in everything] == []
    assert ("--dataset.cache_embedded" in first, "--dataset.cache_embedded" in everything) == (False, True)


def test_what_is_missing_is_named_as_help_names_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["dynml_train_model.py", "hmm", "experiments", "name", "store.hdf5"])
    with pytest.raises(SystemExit):
        parse_training(None)
    assert "Error: INPUT_GROUP, --model.n_states are missing." in capsys.readouterr().err


def test_what_no_help_shows_is_parsed_nevertheless(monkeypatch):
    command = ["dynml_train_model.py", "hmm", "e", "n", "s.hdf5", "g", "--model.n_states", "3", "--loader.noise", "0.5"]
    monkeypatch.setattr("sys.argv", [*command, "--dataset.seed", "7"])
    configs = parse_training(None).configs
    assert (configs["loader"].noise, configs["dataset"].seed) == (0.5, 7)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int | None, "whole number or null"),
        (float | str, "number or text"),
        (int | list[int] | None, "whole number or list of whole numbers or null"),
        (Literal["full", "diagonal"], "full, diagonal"),
        (tuple[str, ...], "list of texts"),
        (list[list[float]], "list of lists of numbers"),
        (dict[str, Any] | None, "mapping or null"),
    ],
)
def test_types_are_said_in_words(hint, words):
    assert type_in_words(hint) == words
