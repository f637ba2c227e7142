"""What a family can do is read off its `Family`: the scripts compare no names, and nothing below names the scripts."""

import ast

import pytest
import structure

from dynml.models.registry import family_names, get_family, load

COMPONENT_COUNTS = {"n_states", "n_modes"}
CAPABILITIES = (
    *("model", "trainer", "inference", "n_free_parameters", "settle", "settle_with_data"),
    *("decode", "write_inference"),
)


def constants(node):
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def questions_for_a_family(tree):
    """Lines that compare something with a family's name, or guess the family by its model's settings."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Compare() | ast.MatchValue():
                asks = bool(constants(node) & set(family_names())) or "family.name" in ast.unparse(node)
            case ast.Call(func=ast.Name("hasattr" | "getattr")):
                asks = bool(constants(node) & COMPONENT_COUNTS)
            case _:
                asks = False
        if asks:
            found.append(node.lineno)
    return found


def names_of_scripts(tree):
    return sorted(text for text in constants(tree) if text.startswith("dynml.cli"))


def trees(*, of_scripts):
    return {
        name: ast.parse(path.read_text(encoding="utf-8"))
        for name, path in structure.modules().items()
        if (name.split(".")[1:2] == ["cli"]) == of_scripts
    }


def test_scripts_do_not_ask_for_a_familys_name():
    found = {name: questions_for_a_family(tree) for name, tree in trees(of_scripts=True).items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_nothing_below_the_scripts_names_them():
    found = {name: names_of_scripts(tree) for name, tree in trees(of_scripts=False).items()}
    assert {name: texts for name, texts in found.items() if texts} == {}


@pytest.mark.parametrize(
    "line",
    [
        "x = 1 if experiment.family.name == 'dynemo' else 2",
        "x = family.name in ('hmm', 'other')",
        "x = known.family != name or family.name is other",
        "x = hasattr(model.config, 'n_modes')",
        "match family.name:\n    case 'csm':\n        pass",
    ],
)
def test_a_question_is_found(line):
    assert questions_for_a_family(ast.parse(line))


def test_a_name_of_a_script_is_found():
    assert names_of_scripts(ast.parse("FAMILY = Family(write_inference='dynml.cli.outputs.decoding:write_decoding')"))


@pytest.mark.parametrize("name", family_names())
def test_what_a_family_declares_is_there(name):
    family = get_family(name)
    declared = [getattr(family, capability) for capability in CAPABILITIES]
    assert all(callable(load(one)) for one in declared if one is not None)
    assert family.can_be_inferred_from


def test_a_family_says_what_its_alpha_is_made_of():
    assert (get_family("hmm").components, get_family("dynemo").components) == ("states", "modes")
    assert [name for name in family_names() if get_family(name).n_free_parameters is not None] == ["hmm"]
