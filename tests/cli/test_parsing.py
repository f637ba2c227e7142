"""Values with a form of their own, as the guide writes them: on the command line and in a YAML file."""

from pathlib import Path

import pytest

from dynml.cli.commands.train import parse_training
from dynml.cli.errors import user_errors_in_one_sentence


def parsed(monkeypatch, family, *arguments):
    command = ["dynml_train_model.py", family, "experiments", "run", "store.hdf5", "signals", *arguments]
    monkeypatch.setattr("sys.argv", command)
    return parse_training("Train.").configs


@pytest.mark.parametrize(
    ("family", "option", "text", "value"),
    [
        ("csm", "sampler.window_length", "40", 40),
        ("csm", "sampler.window_length", "10,50", [10, 50]),
        ("csm", "sampler.window_length", "10, 50", [10, 50]),
        ("csm", "sampler.window_length", "[10,50]", [10, 50]),
        ("decoding", "model.classes", "A,B", ["A", "B"]),
        ("decoding", "model.classes", "[A, B]", ["A", "B"]),
        ("decoding", "model.classes", "null", None),
        ("csm", "loader.labels", "trial", ("trial",)),
        ("csm", "loader.labels", "trial,block", ("trial", "block")),
        ("csm", "trainer.learning_rate", "1e-3", 0.001),
        ("csm", "trainer.learning_rate", "0.001*3 0.0001", "0.001*3 0.0001"),
        ("csm", "dataset.subsets", "a,b", "a,b"),
        ("csm", "dataset.subsets", "1:30", "1:30"),
    ],
)
@pytest.mark.parametrize("is_one_word", [False, True])
def test_a_value_on_the_command_line_is_read_as_the_guide_writes_it(
    monkeypatch, family, option, text, value, is_one_word
):
    arguments = [f"--{option}={text}"] if is_one_word else [f"--{option}", text]
    further = ["--model.target", "label"] if family == "decoding" else []
    group, name = option.split(".")
    assert getattr(parsed(monkeypatch, family, *arguments, *further)[group], name) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("window_length: [10, 50]", [10, 50]), ("window_length: 40", 40)],
)
def test_a_value_in_a_yaml_file_is_read_as_the_guide_writes_it(monkeypatch, tmp_path, text, value):
    (tmp_path / "settings.yaml").write_text(f"sampler:\n  {text}\n")
    found = parsed(monkeypatch, "csm", "--config", str(tmp_path / "settings.yaml"))["sampler"]
    assert found.window_length == value


@pytest.mark.parametrize(
    ("option", "text", "sentence"),
    [
        ("sampler.window_length", "10 50", "Expected a whole number or list or null; given: 10 50."),
        ("sampler.window_length", "10:50", "sampler.window_length is 10:50, but must be a number."),
        ("trainer.max_epochs", "010", "trainer.max_epochs is 010, but must be a number."),
        ("trainer.max_time", "1:30", "trainer.max_time is 1:30, but must be a number."),
        ("trainer.max_epochs", "two", "Expected a whole number or null; given: two."),
    ],
)
def test_what_is_no_value_is_refused_in_one_sentence(monkeypatch, capsys, option, text, sentence):
    with pytest.raises(SystemExit) as ended:
        parsed(monkeypatch, "csm", f"--{option}", text)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_path_that_is_no_name_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as ended, user_errors_in_one_sentence(debug=False):
        Path("x" * 5000).stat()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"Error: {'x' * 200} cannot be opened: File name too long.\n"


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--initialization.from", "--initialization.from is not an argument of this script"),
        ("-x", "-x is not an argument of this script (a name that begins with - stands behind --)."),
    ],
)
def test_an_option_that_is_none_is_named_as_it_was_given(monkeypatch, capsys, option, sentence):
    with pytest.raises(SystemExit):
        parsed(monkeypatch, "hmm", option, "y")
    assert sentence in capsys.readouterr().err


def test_a_path_from_home_is_found_where_no_shell_has_written_it_out(monkeypatch, tmp_path):
    """As behind an equals sign, in quotes, and from a notebook; else a folder called ~ would be made."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = parsed(monkeypatch, "hmm", "--model.n_states=2", "--dataset.subsets=~/subsets.json")
    assert found["dataset"].subsets == str(tmp_path / "subsets.json")
    monkeypatch.setattr(
        "sys.argv", ["train", "hmm", "~/experiments", "run", "store.hdf5", "s", "--model.n_states", "2"]
    )
    assert parse_training("Train.").experiments_path == str(tmp_path / "experiments")
