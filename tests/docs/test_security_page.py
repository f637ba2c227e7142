"""Each promise of SECURITY.md names a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))))


def test_the_page_names_tests():
    assert len(NAMED) > 5


@pytest.mark.parametrize("path", NAMED)
def test_what_the_page_names_exists(path):
    assert (ROOT / path).exists()
