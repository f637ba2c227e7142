"""YAML files of settings that cannot be used, or not safely, are refused before anything is made of them."""

import pytest
import yaml

from dynml.cli.config_text import check_argument, config_text
from dynml.errors import DataError, DataWarning

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 12)
)


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: " + "[" * 100_000, "line 1: more than 50 nested lists or mappings"),
        ("".join(" " * depth + "a:\n" for depth in range(3000)), "line 51: more than 50 nested lists or mappings"),
        (LAUGHS, "it unfolds to more than 100000 values"),
        ("a: &a [*a]\n", r"\*a stands within what it names"),
        ("trainer:\n  max_epochs: 1\n  max_epochs: 2\n", "line 3: the key 'max_epochs' is repeated"),
        ("trainer: !!python/object/apply:os.system [echo]\n", "the type 'tag:yaml.org,2002:python"),
        ("trainer:\n  max_epochs: " + "9" * 5000, "a number has 5000 digits"),
        ("trainer:\n\tmax_epochs: 1\n", "is not valid YAML: line 2, column 1"),
        ("? [a, b]\n: 1\n", "unhashable key"),
        ("a: 1\n---\nb: 2\n", "another document"),
        ("model:\n  n_states: 010\n", "line 2: write 010 without zeros before it"),  # YAML has 8 there
        ("trainer: {max_epochs: 2, tolerance: 1,5}\n", "line 1: 5 stands where a setting's name is due"),
        ("- 1\n", "must hold settings by name"),
        (" \n", "is empty"),
        (bytes(range(256)), "is not text in UTF-8"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, text, words):
    with pytest.raises(DataError, match=rf"config\.yaml.*{words}"):
        config_text(written(tmp_path, text))


@pytest.mark.parametrize("argument", ["[" * 100_000, "--model.n_states=" + "[" * 100_000, "- " * 60_000, LAUGHS])
def test_arguments_that_nest_or_unfold_without_measure_are_refused(argument):
    with pytest.raises(DataError, match="nested lists or mappings|unfolds to more than"):
        check_argument(argument)
    check_argument("/a folder/: of [ long " * 100)
    check_argument("[" + "1, " * 1000 + "]")


def test_anchors_merges_and_other_encodings_are_fine(tmp_path):
    text = "base: &base {a: 1, b: für}\nother: {<<: *base, a: 2}\n"
    assert yaml.safe_load(config_text(written(tmp_path, text)))["other"] == {"a": 2, "b": "für"}
    with pytest.warns(DataWarning, match=r"config\.yaml is not UTF-8 and was read as cp1252"):
        assert config_text(written(tmp_path, text, "latin-1")) == text
