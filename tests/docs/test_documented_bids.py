"""The page on bringing data has the settings of BIDS derivatives and confounds, with the defaults of the code."""

import ast
import dataclasses
import re
from pathlib import Path

from dynml.conversion.bids.config import BidsConfig
from dynml.preparation.confounds.config import DEFAULTS, STRATEGIES

PAGE = (Path(__file__).parents[2] / "docs" / "bring_your_data.md").read_text(encoding="utf-8")
WORDS = {"`null`": None, "`true`": True, "`false`": False, "needed": dataclasses.MISSING}


def rows_below(heading):
    """Rows `name | default | meaning` of the table under a heading row: name to default."""
    table = PAGE.split(heading, 1)[1].split("\n\n", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \| (\S.*?) \| ", table, flags=re.MULTILINE)
    return {name: WORDS[text] if text in WORDS else ast.literal_eval(text.strip("`")) for name, text in rows}


def test_the_keys_of_bids():
    defaults = {field.name: field.default for field in dataclasses.fields(BidsConfig)}
    assert rows_below("| key of `bids` | default | meaning |") == defaults


def test_the_parameters_of_confounds():
    assert rows_below("| parameter | default | meaning |") == DEFAULTS


def test_the_strategies():
    table = PAGE.split("| strategy | what is removed |", 1)[1].split("\n\n", 1)[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == STRATEGIES
