"""The page on bringing data has the parameters of confounds with the defaults of the code; the reference has `bids`."""

import ast
import re
from pathlib import Path

from dynml.preparation.confounds.config import DEFAULTS, STRATEGIES

PAGE = (Path(__file__).parents[2] / "docs" / "bring_your_data.md").read_text(encoding="utf-8")


def rows_below(heading):
    """Rows `name | default | meaning` of the table under a heading row: name to default."""
    table = PAGE.split(heading, 1)[1].split("\n\n", 1)[0]
    rows = re.findall(r"^`(\w+)` \| (\S.*?) \| ", table, flags=re.MULTILINE)
    return {name: ast.literal_eval(text.strip("`")) for name, text in rows}


def test_the_parameters_of_confounds():
    assert rows_below("parameter | default | meaning") == DEFAULTS


def test_the_strategies():
    sentence = PAGE.split("### Strategies", 1)[1].split("|", 1)[0]
    assert [name for name in STRATEGIES if f"`{name}`" not in sentence] == []
