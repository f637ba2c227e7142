"""Tables with a first line of names."""

import pytest

from dynml.errors import DataError
from dynml.tables import read_table


def test_a_table_is_its_columns(tmp_path):
    (tmp_path / "t.tsv").write_text("participant_id\tage\nsub-1\t20\nsub-2\t\n")
    assert read_table(tmp_path / "t.tsv").columns == {"participant_id": ["sub-1", "sub-2"], "age": ["20", "n/a"]}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("a\ta", "two of one name: 'a', 'a'"),
        ("a\t\tb", "a column without a name"),
        ("a\t" + "b" * 70_000, "cannot be used: 'bbbbb"),
        ("a\tb\0c", "character 3 is NUL"),
    ],
)
def test_names_that_are_none_are_told(tmp_path, header, words):
    (tmp_path / "t.tsv").write_text(f"{header}\n" + "\t".join("1" * (header.count("\t") + 1)) + "\n")
    with pytest.raises(DataError, match=words):
        read_table(tmp_path / "t.tsv")
