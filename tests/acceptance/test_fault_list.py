"""Each fault of the list has tests that exist."""

import ast
import functools
from pathlib import Path

import pytest
from fault_list import FAULTS

TESTS = Path(__file__).parents[1]


@functools.cache
def names_in(file):
    """Names of a file's tests."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_list_is_whole():
    assert len(FAULTS) == 36


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_tests(fault):
    assert FAULTS[fault]
    for test in FAULTS[fault]:
        file, name = test.split("::")
        assert name in names_in(file), f"{file} has no {name}"
