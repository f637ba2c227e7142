"""Tables with a first line of names."""

import pytest

from dynml.errors import DataError
from dynml.tables import read_table


def test_a_table_is_its_columns(tmp_path):
    (tmp_path / "t.tsv").write_text("participant_id\tage\nsub-1\t20\nsub-2\t\n")
    assert read_table(tmp_path / "t.tsv").columns == {"participant_id": ["sub-1", "sub-2"], "age": ["20", "n/a"]}


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_semicolons_separate_where_each_line_has_as_many(tmp_path, delimiter):
    """As spreadsheets write tables in German or French; what is within quotes separates nothing."""
    (tmp_path / "t.csv").write_text('\ufeffparticipant_id;age;note\r\nsub-1;20,5;"a;b"\r\nsub-2;;c\r\n;;\r\n')
    found = read_table(tmp_path / "t.csv", delimiter).columns
    assert found == {"participant_id": ["sub-1", "sub-2"], "age": ["20,5", "n/a"], "note": ["a;b", "c"]}


@pytest.mark.parametrize("text", ["a;b\n1;2\n3\n", "a;b\n1;2;3\n", "a;b,c\n1;2,3\n"])
def test_semicolons_that_may_be_something_else_are_named(tmp_path, text):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(DataError, match="not separated by tabs, nor by as many semicolons in each line: its first"):
        read_table(tmp_path / "t.tsv")


@pytest.mark.parametrize(
    "rows",
    [
        'on the left\tface\n2\t"open\n3\thouse\n',
        'a\t"x\nb\ty"\nc\tz\n',
    ],
)
def test_a_quotation_mark_takes_no_lines_into_its_cell(tmp_path, rows):
    (tmp_path / "t.tsv").write_text(f"onset\tlabel\n{rows}")
    with pytest.raises(DataError, match="opens a quotation mark at '(open|x)' and does not close it"):
        read_table(tmp_path / "t.tsv")
    (tmp_path / "t.tsv").write_text('onset\tlabel\n1\t"two\nlines"\n2\tsay "hi"\n')
    assert read_table(tmp_path / "t.tsv").columns["label"] == ["two\nlines", 'say "hi"']


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
