import csv

import numpy as np
import pytest

from dynml.errors import DataError
from dynml.readers.text_table import TextReader

READER = TextReader()
SIGNALS = np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32)


def written(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " ", "  "])
@pytest.mark.parametrize("header", [None, ["Fz", "Links, vorn", 'a "b"']])
def test_what_csv_writes_is_read_exactly(tmp_path, delimiter, header):
    path = tmp_path / "run.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, delimiter=delimiter[0], quoting=csv.QUOTE_MINIMAL)
        if header:
            table.writerow(header)
        for row in SIGNALS:
            table.writerow([repr(float(value)) for value in row])
    if delimiter == "  ":
        path.write_text(path.read_text().replace("-", "  -"), encoding="utf-8")
    signals = READER.read(path)
    np.testing.assert_array_equal(signals.astype(np.float32), SIGNALS)
    description = READER.describe(path)
    assert (description.n_samples, description.n_channels) == (25, 3)
    assert description.channel_names == (tuple(header) if header else None)
    assert description.warned == ()


def test_what_numpy_writes_is_read_exactly_and_its_remarks_are_skipped(tmp_path):
    path = tmp_path / "run.txt"
    np.savetxt(path, SIGNALS, header="Fz Cz Pz\nmade by numpy")
    np.testing.assert_array_equal(READER.read(path).astype(np.float32), SIGNALS)
    assert READER.describe(path).channel_names is None
    assert "start with # were skipped" in READER.describe(path).warned[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n,4\n", [[1, 2], [np.nan, 4]]),
        ("a\tb\r\n1\t n/a\r\n\r\nNaN\t4e-1\r\n", [[1, np.nan], [np.nan, 0.4]]),
        ("\ufeff1;-inf\n.5;+3.\n", [[1, -np.inf], [0.5, 3]]),
        ('"a" "b"\n"1.5" 2\n3 4\n', [[1.5, 2], [3, 4]]),
        ("one\n1\n2\n3", [[1], [2], [3]]),
        ("1 2 3", [[1, 2, 3]]),
        ("1, 2\n3, 4", [[1, 2], [3, 4]]),
    ],
)
def test_values_and_gaps(tmp_path, text, expected):
    path = written(tmp_path / "run.tsv", text)
    np.testing.assert_array_equal(READER.read(path), expected)
    assert READER.describe(path).n_samples == len(expected)


def test_time_may_be_the_last_axis(tmp_path):
    path = tmp_path / "run.txt"
    np.savetxt(path, SIGNALS.T, delimiter="\t")
    reader = TextReader(TextReader.Config(time_axis="last"))
    np.testing.assert_array_equal(reader.read(path).astype(np.float32), SIGNALS)
    assert (reader.describe(path).n_samples, reader.describe(path).n_channels) == (25, 3)
    with pytest.raises(DataError, match=r"its first line names the columns \('a', \.\.\), which would be samples"):
        reader.describe(written(path, "a,b\n1,2\n"))


@pytest.mark.parametrize(("text", "n_channels"), [("", 0), ("\n\n", 0), ("a,b\n", 2), ("# only warned\n", 0)])
def test_tables_without_samples_are_empty(tmp_path, text, n_channels):
    description = READER.describe(written(tmp_path / "run.csv", text))
    assert (description.n_samples, description.n_channels) == (0, n_channels)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n3\n", r"Line 3 of .*run\.csv has 1 values separated by commas, but there are 2 columns"),
        ("a,b\n1,2,3\n4,5,6\n", r"Line 2 of .* has 3 values separated by commas, but there are 2 columns"),
        ("1 2\n3 4\n5 6 7\n", r"Line 3 of .* has 3 values separated by spaces, but there are 2 columns"),
        ("1,2\n3,rest\n", r"Line 2 of .*, column 2, holds 'rest', which is not a real number\."),
        ("1,2\n3,1+2j\n", r"column 2, holds '1\+2j', which is not a real number"),
        ("1\t2\n3,5\t1\n", r"column 1, holds '3,5', .* write a decimal point instead of a comma"),
        ("1,5\n2,25\n-0,5\n", r"holds '-0,5', which looks like one number with a decimal comma"),
        ("1,5\n2,05\n1,25\n", r"holds '2,05', which looks like one number with a decimal comma"),
        ("1,2\n3,4\n# gap\n", r"Line 3 of .* has 1 values"),
        ("a,1.5\n1,2\n", r"Line 1 of .* holds both names and numbers, such as 'a' and '1\.5'"),
        ("a,,c\n1,2,3\n", r"Line 1 of .* names channels, but column 2 has no name"),
        ("a,b,a\n1,2,3\n", r"Line 1 of .* gives the name 'a' to two channels"),
        (",0,1,2\n0,.1,.2,.3\n", r"Line 1 of .* looks like numbers of the columns \(0, 1, 2, \.\.\)"),
        ("0,1,2\n5,6,7\n", "looks like numbers of the columns"),
        ("2001,2002,2101\n.1,.2,.3\n", "looks like numbers of the columns"),
        ("Time,a\n0.0,1\n0.5,2\n", r"has a column 'Time' that counts the samples and is not a channel; remove it"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, sentence):
    with pytest.raises(DataError, match=sentence):
        READER.describe(written(tmp_path / "run.csv", text))


def test_integers_that_rise_from_channel_to_channel_are_no_header(tmp_path):
    path = written(tmp_path / "run.csv", "10,20,31\n9,22,30\n")
    np.testing.assert_array_equal(READER.read(path), [[10, 20, 31], [9, 22, 30]])


def test_a_column_that_looks_like_time_is_remarked_on(tmp_path):
    np.savetxt(tmp_path / "run.txt", np.column_stack([np.arange(25) * 0.004, SIGNALS]))
    assert "as if it counted samples" in READER.describe(tmp_path / "run.txt").warned[0]


def test_other_encodings_and_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"run\.csv is not text in utf-8: character 1 is NUL"):
        READER.describe(written(tmp_path / "run.csv", "1,2\n", encoding="utf-16-le"))
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        READER.describe(tmp_path / "none.csv")
