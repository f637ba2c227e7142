"""Tidy tables, as pandas reads them back."""

import json

import numpy as np
import pandas

from dynml.analysis.tidy import Column, write_tidy

COLUMNS = (
    Column("subject", "Name of the subject."),
    Column("state", "State, from 1."),
    Column("lifetime", "Mean duration of a visit.", "s"),
)


def test_pandas_reads_what_was_written(tmp_path):
    rows = [("01", 1, np.float64(0.1)), ("01", 2, np.float32("nan")), ("with a\ttab", 1, None)]
    write_tidy(tmp_path / "table.tsv", COLUMNS, rows, method="hard")
    found = pandas.read_csv(tmp_path / "table.tsv", sep="\t", na_values="n/a", dtype={"subject": str})
    assert found["subject"].tolist() == ["01", "01", "with a\ttab"]
    assert found["lifetime"].tolist()[0] == 0.1
    assert found["lifetime"].isna().tolist() == [False, True, True]
    sidecar = json.loads((tmp_path / "table.json").read_text())
    assert sidecar["lifetime"] == {"Description": "Mean duration of a visit.", "Units": "s"}
    assert sidecar["method"] == "hard"
    assert "Units" not in sidecar["state"]
